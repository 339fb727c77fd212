//! Guiding a generator by embeddings, as CLIP guides VQGAN: spherical distances, prompts, and an anchor
//! for the latents.

use super::gradient::root;
use crate::{
    LossError, MeanOver, Reduction, Result, check,
    loss::{Loss, named_loss, weighted_loss},
    reduce::{Kept, reduce, weights},
};
use tch::{Kind, Tensor};

/// Half the squared angle between two embeddings.
///
/// ```text
/// loss = 2 asin(½ ‖â - t̂‖)² = ½ θ²,   â = input / ‖input‖,  t̂ = target / ‖target‖
/// ```
///
/// The gradient is no longer than θ / ‖input‖, and 0 where the embeddings are equal or opposite.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input, target: embeddings (.., D), the same shape
/// - element weight: broadcastable to (..)
/// - loss: a scalar, or (..) without reduction; `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of embeddings, or by the sum of their element weights.
///
/// # Errors
///
/// Shape, kind or device of the target or the weight.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, adversarial::SphericalDistanceLoss};
///
/// let loss = SphericalDistanceLoss::default();
/// let (x, y) = (Tensor::from_slice(&[2.0f64, 0.0]), Tensor::from_slice(&[0.0f64, 5.0]));
/// let angle = std::f64::consts::FRAC_PI_2;
/// assert!((loss.forward(&x, &y).double_value(&[]) - 0.5 * angle * angle).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// As written, the gradient is infinite or NaN at opposite embeddings, and NaN at equal ones where the norm is
/// a plain root. An embedding of zeros counts as orthogonal to all.
///
/// # Reference
///
/// Crowson et al. 2022, "VQGAN-CLIP: Open Domain Image Generation and Editing with Natural Language
/// Guidance". Follows their `spherical_dist_loss`. See also [`PromptLoss`].
#[derive(Debug, Clone)]
pub struct SphericalDistanceLoss {
    reduction: Reduction,
}

impl Default for SphericalDistanceLoss {
    fn default() -> Self {
        SphericalDistanceLoss { reduction: Reduction::Mean }
    }
}

impl SphericalDistanceLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SphericalDistanceLoss";
        check::reduction(NAME, self.reduction)?;
        check::shape_is(NAME, "input", input, input.dim() > 0, "[.., D]")?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let target = check::in_kind(NAME, "target", target, input.f_kind()?)?;
        let ((input, no_input), (target, no_target)) = (unit(&input)?, unit(&target)?);
        let square = input.f_mse_loss(&target, Reduction::None)?;
        let chord = square.f_sum_dim_intlist(-1, false, None::<Kind>)?;
        let loss = half_squared_angle(&chord.f_add(&no_input)?.f_add(&no_target)?)?;
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(SphericalDistanceLoss);

named_loss! {
    SphericalDistanceLoss: "spherical_distance", Embeddings => Dense,
    "VQGAN-CLIP `spherical_dist_loss`", [reduction], aliases ["spherical_dist"],
}

/// `½ θ²` of unit vectors from the square of their chord.
fn half_squared_angle(chord: &Tensor) -> Result<Tensor> {
    // The chord of the one vector and the opposite of the other; of zero its root has no slope.
    let opposite = chord.f_rsub_scalar(4.0)?.f_relu()?;
    let half = root(chord)?.f_atan2(&root(&opposite)?)?;
    Ok(half.f_square()?.f_mul_scalar(2.0)?)
}

/// Vectors of the last dimension at length 1, where zeros stay zeros, and which are zeros.
fn unit(vectors: &Tensor) -> Result<(Tensor, Tensor)> {
    let square = vectors.f_square()?.f_sum_dim_intlist(-1, true, None::<Kind>)?;
    let zero = square.f_eq(0.0)?;
    let unit = vectors.f_div(&square.f_masked_fill(&zero, 1.0)?.f_sqrt()?)?;
    Ok((unit, zero.f_squeeze_dim(-1)?))
}

/// Images towards prompts, each with a weight, and away from those whose weight is negative.
///
/// ```text
/// loss = Σ_p w_p mean_n d(input_n, target_p),   d = ½ θ² as in SphericalDistanceLoss
/// ```
///
/// Where `sign(w_p) d` is below `stop` it has its value, and no gradient: a prompt that is met, or fled far
/// enough, pulls no more.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `prompt_weight` | 1 each | w_p: a number, or one a prompt |
/// | `stop` | -∞ | a number, or one a prompt |
/// | `average` | false | the mean of the target's rows is the only prompt |
/// | `reduction` | `Mean` | over the images |
///
/// # Shapes
///
/// - input: embeddings of images or of cutouts (N, D)
/// - target: embeddings of prompts (P, D)
/// - `prompt_weight`, `stop`: () or (P); () when `average`
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by N. The weights of the prompts are no counts: they are summed.
///
/// # Errors
///
/// Shapes, kinds and devices. There is no weighted form.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, adversarial::PromptLoss};
///
/// let image = Tensor::from_slice(&[1.0f64, 0.0]).view([1, 2]);
/// let prompts = Tensor::from_slice(&[0.0f64, 1.0, 1.0, 1.0]).view([2, 2]);
/// // Towards the first, at 90°, and away from the second, at 45°.
/// let loss = PromptLoss::default().prompt_weight(Tensor::from_slice(&[1.0f64, -0.5]));
/// let half_square = |degrees: f64| 0.5 * degrees.to_radians().powi(2);
/// let expected = half_square(90.0) - 0.5 * half_square(45.0);
/// assert!((loss.forward(&image, &prompts).double_value(&[]) - expected).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Follows VQGAN-CLIP's `Prompt`, one for each row of the target.
#[derive(Debug, Clone)]
pub struct PromptLoss {
    prompt_weight: Option<Kept>,
    stop: Option<Kept>,
    average: bool,
    reduction: Reduction,
}

impl Default for PromptLoss {
    fn default() -> Self {
        PromptLoss { prompt_weight: None, stop: None, average: false, reduction: Reduction::Mean }
    }
}

impl PromptLoss {
    const NAME: &str = "PromptLoss";

    /// The weight of the prompts, () or (P), of either sign; 1 by default.
    pub fn prompt_weight(mut self, prompt_weight: impl Into<Option<Tensor>>) -> Self {
        self.prompt_weight = prompt_weight.into().map(Kept);
        self
    }

    /// Below which a prompt pulls no more, () or (P); -∞ by default.
    pub fn stop(mut self, stop: impl Into<Option<Tensor>>) -> Self {
        self.stop = stop.into().map(Kept);
        self
    }

    /// Whether the prompts are averaged to one; false by default.
    pub fn average(mut self, average: bool) -> Self {
        self.average = average;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// An option that holds one number a prompt, in the kind of the distances.
    fn of_prompts(
        what: &'static str,
        kept: &Option<Kept>,
        distances: &Tensor,
    ) -> Result<Option<Tensor>> {
        let Some(Kept(numbers)) = kept else { return Ok(None) };
        let prompts = distances.size()[1];
        let ok = numbers.size().is_empty() || numbers.size() == [prompts];
        check::shape_is(Self::NAME, what, numbers, ok, &format!("[] or [{prompts}]"))?;
        check::device(Self::NAME, what, numbers, distances)?;
        Ok(Some(check::in_kind(Self::NAME, what, numbers, distances.f_kind()?)?))
    }
}

impl Loss for PromptLoss {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        check::reduction(Self::NAME, self.reduction)?;
        check::shape_is(Self::NAME, "input", input, input.dim() == 2, "[N, D]")?;
        let width = input.size()[1];
        let ok = target.dim() == 2 && target.size()[1] == width;
        check::shape_is(Self::NAME, "target", target, ok, &format!("[P, {width}]"))?;
        check::device(Self::NAME, "target", target, input)?;
        let input = check::accumulated(Self::NAME, "input", input)?;
        let mut target = check::in_kind(Self::NAME, "target", target, input.f_kind()?)?;
        if self.average {
            let prompts = target.size()[0].max(1) as f64;
            target = target.f_sum_dim_intlist(0, true, None::<Kind>)?.f_div_scalar(prompts)?;
        }
        let cosine = unit(&input)?.0.f_matmul(&unit(&target)?.0.f_tr()?)?;
        let distances =
            half_squared_angle(&cosine.f_mul_scalar(-2.0)?.f_add_scalar(2.0)?.f_relu()?)?;
        let weight = Self::of_prompts("prompt_weight", &self.prompt_weight, &distances)?;
        let stop = Self::of_prompts("stop", &self.stop, &distances)?;

        let mut terms = match &weight {
            Some(weight) => distances.f_mul(weight)?,
            None => distances.shallow_clone(),
        };
        if let Some(stop) = stop {
            let signed = match &weight {
                Some(weight) => distances.f_detach()?.f_mul(&weight.f_sign()?)?,
                None => distances.f_detach()?,
            };
            terms = terms.f_where_self(&signed.f_ge_tensor(&stop)?, &terms.f_detach()?)?;
        }
        let each = terms.f_sum_dim_intlist(1, false, None::<Kind>)?;
        reduce(each, None, MeanOver::Elements, self.reduction)
    }

    fn f_forward_weighted(
        &self,
        _input: &Tensor,
        _target: &Tensor,
        _weight: &Tensor,
    ) -> Result<Tensor> {
        let message = "prompts are weighted by `prompt_weight`; there is no element weight";
        Err(LossError::Unsupported { loss: Self::NAME, message })
    }
}

named_loss! {
    PromptLoss: "prompt", Embeddings => Dense, "VQGAN-CLIP `Prompt`",
    [prompt_weight, stop, average, reduction],
}

/// Keeps latents near where they started.
///
/// ```text
/// loss = init_weight / 2 · mean (z - z_0)²
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `init_weight` | 1 | |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: latents z; target: the latents z_0 of the start, the same shape, detached
/// - element weight: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of their weights.
///
/// # Errors
///
/// Shape, kind or device of the target or the weight; `init_weight` below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, adversarial::LatentAnchorLoss};
///
/// let (z, start) = (Tensor::from_slice(&[2.0f64, 0.0]), Tensor::from_slice(&[0.0f64, 0.0]));
/// let loss = LatentAnchorLoss::default().init_weight(0.5).forward(&z, &start);
/// assert_eq!(loss.double_value(&[]), 0.25 * 2.0);
/// ```
///
/// # Reference
///
/// Follows VQGAN-CLIP's `init_weight`, which is 0 there unless asked for.
#[derive(Debug, Clone)]
pub struct LatentAnchorLoss {
    init_weight: f64,
    reduction: Reduction,
}

impl Default for LatentAnchorLoss {
    fn default() -> Self {
        LatentAnchorLoss { init_weight: 1.0, reduction: Reduction::Mean }
    }
}

impl LatentAnchorLoss {
    /// The weight, at least 0; 1 by default.
    pub fn init_weight(mut self, init_weight: f64) -> Self {
        self.init_weight = init_weight;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "LatentAnchorLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "init_weight", self.init_weight)?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let target = check::in_kind(NAME, "target", &target.f_detach()?, input.f_kind()?)?;
        let square = input.f_mse_loss(&target, Reduction::None)?;
        let weight = weights(NAME, [weight], &square)?;
        let reduced = reduce(square, weight.as_ref(), MeanOver::Weights, self.reduction)?;
        Ok(reduced.f_mul_scalar(0.5 * self.init_weight)?)
    }
}

weighted_loss!(LatentAnchorLoss);

named_loss! {
    LatentAnchorLoss: "latent_anchor", Values => Dense, "VQGAN-CLIP `init_weight`",
    [init_weight, reduction],
}
