//! Feature matching: generated samples should look like real ones to a layer of the discriminator.

use super::{gradient::check_samples, parts::l1};
use crate::{
    LossError, MeanOver, Reduction, Result, check,
    error::unwrap,
    loss::{Loss, named_loss, option_enum},
    reduce::reduce,
};
use tch::{Kind, Tensor};

/// How [`FeatureMatchingLoss`] compares two mean features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeatureDistance {
    /// Absolute differences, as StudioGAN.
    #[default]
    L1,
    /// Squared differences, as the paper.
    L2,
}

option_enum!(FeatureDistance { FeatureDistance::L1 => "l1", FeatureDistance::L2 => "l2" });

/// Feature matching of batches: the mean features of generated samples against those of real ones.
///
/// ```text
/// loss = mean_d |mean_n f(fake_n)_d - mean_m f(real_m)_d|
/// ```
///
/// The samples need not correspond, so it says less of a sample than [`LayerMatchingLoss`], and works
/// for generators without an input image. The real features are detached.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `distance` | `L1` | absolute or squared differences |
/// | `reduction` | `Mean` | over the features |
///
/// Presets: [`FeatureMatchingLoss::salimans`].
///
/// # Shapes
///
/// - input: features of generated samples (N, d1, ..)
/// - target: features of real samples (M, d1, ..)
/// - loss: a scalar, or (d1, ..) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of features of a sample. The mean over no samples is 0.
///
/// # Errors
///
/// Shape, kind or device of the target. There is no weighted form.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, adversarial::FeatureMatchingLoss};
///
/// let fake = Tensor::from_slice(&[1.0f64, 3.0, 0.0, 0.0]).view([2, 2]);
/// let real = Tensor::from_slice(&[0.5f64, 3.5]).view([1, 2]);
/// let value = |loss: FeatureMatchingLoss| loss.forward(&fake, &real).double_value(&[]);
/// assert_eq!(value(FeatureMatchingLoss::default()), (0.0 + 2.0) / 2.0);
/// assert_eq!(value(FeatureMatchingLoss::salimans()), 0.0 + 4.0);
/// ```
///
/// # Reference
///
/// Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.1. Follows StudioGAN's
/// `feature_matching_loss`.
#[derive(Debug, Clone)]
pub struct FeatureMatchingLoss {
    distance: FeatureDistance,
    reduction: Reduction,
}

impl Default for FeatureMatchingLoss {
    fn default() -> Self {
        FeatureMatchingLoss { distance: FeatureDistance::L1, reduction: Reduction::Mean }
    }
}

impl FeatureMatchingLoss {
    const NAME: &str = "FeatureMatchingLoss";

    /// The squared Euclidean distance of the paper: `L2`, summed.
    pub fn salimans() -> Self {
        FeatureMatchingLoss { distance: FeatureDistance::L2, reduction: Reduction::Sum }
    }

    /// How mean features are compared; `L1` by default.
    pub fn distance(mut self, distance: FeatureDistance) -> Self {
        self.distance = distance;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl Loss for FeatureMatchingLoss {
    fn f_forward(&self, input: &Tensor, target: &Tensor) -> Result<Tensor> {
        check::reduction(Self::NAME, self.reduction)?;
        check_samples(Self::NAME, "input", input)?;
        let dims = input.size();
        let of_target = target.size();
        let ok = of_target.len() == dims.len() && of_target[1..] == dims[1..];
        let each: Vec<String> = dims[1..].iter().map(|dim| format!(", {dim}")).collect();
        check::shape_is(Self::NAME, "target", target, ok, &format!("[M{}]", each.concat()))?;
        check::device(Self::NAME, "target", target, input)?;
        let input = check::accumulated(Self::NAME, "input", input)?;
        let target = check::in_kind(Self::NAME, "target", &target.f_detach()?, input.f_kind()?)?;
        let mean = |features: &Tensor| -> Result<Tensor> {
            let count = features.size()[0].max(1) as f64;
            Ok(features.f_sum_dim_intlist(0, false, None::<Kind>)?.f_div_scalar(count)?)
        };
        let difference = mean(&input)?.f_sub(&mean(&target)?)?;
        let unreduced = match self.distance {
            FeatureDistance::L1 => difference.f_abs()?,
            FeatureDistance::L2 => difference.f_square()?,
        };
        reduce(unreduced, None, MeanOver::Elements, self.reduction)
    }

    fn f_forward_weighted(
        &self,
        _input: &Tensor,
        _target: &Tensor,
        _weight: &Tensor,
    ) -> Result<Tensor> {
        let message = "samples of the two batches do not correspond; there is no element weight";
        Err(LossError::Unsupported { loss: Self::NAME, message })
    }
}

named_loss! {
    FeatureMatchingLoss: "feature_matching", Embeddings => Dense, "StudioGAN `feature_matching_loss`",
    [distance, reduction],
    presets { "feature_matching_salimans" => Self::salimans(), "Salimans et al. 2016" },
}

/// Feature matching layer by layer: an image against the real one that it should be.
///
/// ```text
/// loss = λ Σ_l w_l mean |f_l(fake) - f_l(real)|
/// ```
///
/// The features are those of a discriminator's layers, its scores left out; of several discriminators, the
/// mean of their losses. The real features are detached.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `lambda` | 10 | λ |
/// | `weights` | 4/L each of L layers | w_l |
///
/// # Shapes
///
/// - `fake`, `real`: as many layers, each of the same shape
/// - loss: a scalar; `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// Each mean divides by the number of its elements; of nothing it is 0.
///
/// # Errors
///
/// Shape, kind or device of a layer; another number of layers or weights; no layers; `lambda` below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::adversarial::LayerMatchingLoss;
///
/// let fake = [Tensor::from_slice(&[1.0f64, 2.0]), Tensor::from_slice(&[0.5f64])];
/// let real = [Tensor::from_slice(&[1.0f64, 1.0]), Tensor::from_slice(&[0.0f64])];
/// let loss = LayerMatchingLoss::default().forward(&fake, &real);
/// assert_eq!(loss.double_value(&[]), 10.0 * (2.0 * 0.5 + 2.0 * 0.5));
/// ```
///
/// # Reference
///
/// Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs".
/// Follows pix2pixHD, whose code has the factor 4/L, with L its `n_layers_D + 1`.
#[derive(Debug, Clone)]
pub struct LayerMatchingLoss {
    lambda: f64,
    weights: Option<Vec<f64>>,
}

impl Default for LayerMatchingLoss {
    fn default() -> Self {
        LayerMatchingLoss { lambda: 10.0, weights: None }
    }
}

impl LayerMatchingLoss {
    const NAME: &str = "LayerMatchingLoss";

    /// λ, at least 0; 10 by default.
    pub fn lambda(mut self, lambda: f64) -> Self {
        self.lambda = lambda;
        self
    }

    /// A weight for each layer; 4/L by default.
    pub fn weights(mut self, weights: impl Into<Option<Vec<f64>>>) -> Self {
        self.weights = weights.into();
        self
    }

    /// The loss of the features of a generated and of a real image.
    pub fn f_forward(&self, fake: &[Tensor], real: &[Tensor]) -> Result<Tensor> {
        const NAME: &str = LayerMatchingLoss::NAME;
        check::at_least_zero(NAME, "lambda", self.lambda)?;
        let layers = fake.len();
        let count =
            |option, got: usize, ok, expected| check::param(NAME, option, got as f64, ok, expected);
        count("layers", layers, layers > 0, "at least 1")?;
        count("real layers", real.len(), real.len() == layers, "as many as of the generated")?;
        let given = self.weights.as_ref().map_or(layers, Vec::len);
        count("weights", given, given == layers, "as many as layers")?;
        let mut total: Option<Tensor> = None;
        for (layer, (fake, real)) in fake.iter().zip(real).enumerate() {
            let weight = match &self.weights {
                Some(weights) => weights[layer],
                None => 4.0 / layers as f64,
            };
            check::param(NAME, "weights", weight, weight.is_finite(), "finite")?;
            let term = l1(NAME, ("fake", fake), ("real", &real.f_detach()?))?
                .f_mul_scalar(self.lambda * weight)?;
            total = Some(match total {
                Some(total) => total.f_add(&term)?,
                None => term,
            });
        }
        total.ok_or(LossError::Unsupported { loss: NAME, message: "there are no layers" })
    }

    /// [`LayerMatchingLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, fake: &[Tensor], real: &[Tensor]) -> Tensor {
        unwrap(self.f_forward(fake, real))
    }
}

named_loss! {
    apart LayerMatchingLoss: "layer_matching", "pix2pixHD", Self::default(), [lambda, weights],
}
