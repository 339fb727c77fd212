//! Path length regularisation of StyleGAN2's generator.

use super::gradient::{check_gradients_are_on, check_samples, pulled, root};
use crate::{
    LossError, MeanOver, Reduction, Result, check,
    error::unwrap,
    loss::named_loss,
    reduce::{Kept, reduce},
};
use tch::{Kind, Tensor};

/// Path length penalty of a generator: a step of the latents should change the image by as much
/// everywhere.
///
/// ```text
/// length_n = sqrt(mean_l Σ_d (∂ Σ(images * noise) / ∂latents)²),   noise ~ N(0, 1) / √(H W)
/// a <- a + decay (mean length - a),   a starts at 0
/// penalty = weight mean_n (length_n - a)²
/// ```
///
/// Each call moves a, which stays on the device. Computed every k-th step only (StyleGAN2: every 4th),
/// the penalty is multiplied by k.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight` | 2 | |
/// | `decay` | 0.01 | how far a moves to the mean length of a batch |
///
/// # Shapes
///
/// - images: (N, C, H, W), with a graph to the latents
/// - latents: (N, D), or (N, L, D) for one latent a layer; they need a gradient, and may be leaves or
///   the output of a mapping network
/// - noise: the images' shape, of N(0, 1)
/// - penalty: a scalar; of `Half` and `BFloat16` gradients it is computed and returned in `Float`
///
/// # Reduction
///
/// The mean divides by N. It is 0 for an empty batch, which leaves a as it is.
///
/// # Errors
///
/// Shape, kind or device of the images, the latents or the noise; `weight` below 0; `decay` outside
/// [0, 1]; images without a graph or independent of the latents; a call inside `no_grad`.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::adversarial::PathLengthPenalty;
///
/// let latents = Tensor::ones([2, 1], (Kind::Double, Device::Cpu)).set_requires_grad(true);
/// let images = (&latents * 3.0).view([2, 1, 1, 1]);
/// let noise = Tensor::ones([2, 1, 1, 1], (Kind::Double, Device::Cpu));
/// let mut paths = PathLengthPenalty::default();
/// // Lengths of 3, and a = 0.03.
/// let penalty = paths.forward_with_noise(&images, &latents, &noise);
/// assert!((penalty.double_value(&[]) - 2.0 * 2.97f64.powi(2)).abs() < 1e-12);
/// assert!((paths.average().unwrap().double_value(&[]) - 0.03).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B. Follows
/// StyleGAN2-ADA, where the gradient passes through a batch's share of a as well.
#[derive(Debug, Clone)]
pub struct PathLengthPenalty {
    weight: f64,
    decay: f64,
    average: Option<Kept>,
}

impl Default for PathLengthPenalty {
    fn default() -> Self {
        PathLengthPenalty { weight: 2.0, decay: 0.01, average: None }
    }
}

impl PathLengthPenalty {
    const NAME: &str = "PathLengthPenalty";

    /// The weight of the penalty, at least 0; 2 by default.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// How far a moves to the mean length of a batch, in [0, 1]; 0.01 by default.
    pub fn decay(mut self, decay: f64) -> Self {
        self.decay = decay;
        self
    }

    /// a, to save; none before the first call.
    pub fn average(&self) -> Option<Tensor> {
        self.average.as_ref().map(|kept| kept.0.shallow_clone())
    }

    /// Goes on from a saved a, a scalar.
    pub fn resume(mut self, average: &Tensor) -> Self {
        self.average = Some(Kept(average.detach()));
        self
    }

    /// The penalty with noise drawn from tch's random numbers.
    pub fn f_forward(&mut self, images: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let noise = Tensor::f_randn(images.size(), (images.f_kind()?, images.device()))?;
        self.f_forward_with_noise(images, latents, &noise)
    }

    /// The penalty with the noise given.
    pub fn f_forward_with_noise(
        &mut self,
        images: &Tensor,
        latents: &Tensor,
        noise: &Tensor,
    ) -> Result<Tensor> {
        const NAME: &str = PathLengthPenalty::NAME;
        check::at_least_zero(NAME, "weight", self.weight)?;
        check::fraction(NAME, "decay", self.decay)?;
        check_samples(NAME, "images", images)?;
        check_samples(NAME, "latents", latents)?;
        let (size, dims) = (images.size(), latents.size());
        check::shape_is(NAME, "images", images, size.len() == 4, "[N, C, H, W]")?;
        let ok = matches!(dims.len(), 2 | 3) && dims[0] == size[0];
        let expected = format!("[{0}, D] or [{0}, L, D]", size[0]);
        check::shape_is(NAME, "latents", latents, ok, &expected)?;
        check::shape(NAME, "noise", noise, &size)?;
        check::device(NAME, "noise", noise, images)?;
        check_gradients_are_on(NAME)?;
        if !images.requires_grad() || !latents.requires_grad() {
            let message = "the images need a graph to the latents, and the latents a gradient";
            return Err(LossError::Graph { loss: NAME, message });
        }
        let noise = check::in_kind(NAME, "noise", &noise.f_detach()?, images.f_kind()?)?;
        let scale = ((size[2] * size[3]).max(1) as f64).sqrt();
        let projected = images.f_mul(&noise.f_div_scalar(scale)?)?;
        let gradient = pulled(projected, latents)?.ok_or(LossError::Graph {
            loss: NAME,
            message: "the images do not depend on the latents",
        })?;

        let square = check::accumulated(NAME, "gradient", &gradient)?.f_square()?;
        let mut square = square.f_sum_dim_intlist(-1, false, None::<Kind>)?;
        if dims.len() == 3 {
            let layers = dims[1].max(1) as f64;
            square = square.f_sum_dim_intlist(1, false, None::<Kind>)?.f_div_scalar(layers)?;
        }
        let lengths = root(&square)?;
        let average = match &self.average {
            Some(Kept(average)) => {
                check::shape(NAME, "average", average, &[])?;
                check::in_kind(NAME, "average", average, lengths.f_kind()?)?
                    .f_to_device(lengths.device())?
            }
            None => Tensor::f_zeros([0i64; 0], (lengths.f_kind()?, lengths.device()))?,
        };
        let average = match dims[0] {
            0 => average,
            _ => average.f_lerp(&lengths.f_mean(None::<Kind>)?, self.decay)?,
        };
        self.average = Some(Kept(average.f_detach()?));
        let square = lengths.f_sub(&average)?.f_square()?;
        let mean = reduce(square, None, MeanOver::Elements, Reduction::Mean)?;
        Ok(mean.f_mul_scalar(self.weight)?)
    }

    /// [`PathLengthPenalty::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&mut self, images: &Tensor, latents: &Tensor) -> Tensor {
        unwrap(self.f_forward(images, latents))
    }

    /// [`PathLengthPenalty::f_forward_with_noise`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_noise(
        &mut self,
        images: &Tensor,
        latents: &Tensor,
        noise: &Tensor,
    ) -> Tensor {
        unwrap(self.f_forward_with_noise(images, latents, noise))
    }
}

named_loss! {
    apart PathLengthPenalty: "path_length_penalty", "StyleGAN2-ADA", Self::default(),
    [weight, decay], aliases ["path_length"],
}
