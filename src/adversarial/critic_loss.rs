//! The objectives that take scores for values of a critic: Wasserstein and hinge.

use super::gan_loss::{GanLoss, both, one, reduced};
use crate::{Reduction, Result, loss::named_loss};
use tch::Tensor;

/// The objectives of the Wasserstein GAN.
///
/// ```text
/// D: mean fake - mean real
/// G: -mean fake
/// ```
///
/// The critic must be Lipschitz: by a [`GradientPenalty`](crate::GradientPenalty), by
/// [`clip_weights`](super::clip_weights) after each of its steps, or by
/// [`SpectralNorm`](super::SpectralNorm).
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// Scores, without a sigmoid; see [`GanLoss`]. `Half` and `BFloat16` are computed and returned in
/// `Float`.
///
/// # Reduction
///
/// `Mean` divides each term by its number of scores; a term of no scores is 0.
///
/// # Errors
///
/// Kind or device of `fake`; without reduction its shape.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GanLoss, WassersteinGanLoss};
///
/// let (real, fake) = (Tensor::from_slice(&[3.0f64, 1.0]), Tensor::from_slice(&[0.5f64]));
/// let gan = WassersteinGanLoss::default();
/// assert_eq!(gan.discriminator(&real, &fake).double_value(&[]), 0.5 - 2.0);
/// assert_eq!(gan.generator(None, &fake).double_value(&[]), -0.5);
/// ```
///
/// # Reference
///
/// Arjovsky et al. 2017, "Wasserstein GAN", which clips weights to 0.01 and takes five steps of the
/// critic to one of the generator ([`CriticSchedule`](super::CriticSchedule)) with RMSProp at 5e-5.
#[derive(Debug, Clone)]
pub struct WassersteinGanLoss {
    reduction: Reduction,
}

impl Default for WassersteinGanLoss {
    fn default() -> Self {
        WassersteinGanLoss { reduction: Reduction::Mean }
    }
}

impl WassersteinGanLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl GanLoss for WassersteinGanLoss {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        let (real, fake) = both("WassersteinGanLoss", real, fake, self.reduction)?;
        Ok(reduced(fake, self.reduction)?.f_sub(&reduced(real, self.reduction)?)?)
    }

    fn f_generator(&self, _real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        less(one("WassersteinGanLoss", fake, self.reduction)?, self.reduction)
    }
}

named_loss! {
    pair WassersteinGanLoss: "wasserstein_gan", "Arjovsky et al. 2017", [reduction],
    aliases ["wgan"],
}

/// The hinge objectives, of SNGAN and BigGAN.
///
/// ```text
/// D: mean max(0, 1 - real) + mean max(0, 1 + fake)
/// G: -mean fake
/// ```
///
/// A score beyond its margin costs nothing and has no gradient.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// Scores, without a sigmoid or tanh; see [`GanLoss`]. `Half` and `BFloat16` are computed and
/// returned in `Float`.
///
/// # Reduction
///
/// `Mean` divides each term by its number of scores, those beyond the margin too; a term of no
/// scores is 0.
///
/// # Errors
///
/// Kind or device of `fake`; without reduction its shape.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GanLoss, HingeGanLoss};
///
/// let (real, fake) = (Tensor::from_slice(&[0.5f64, 7.0]), Tensor::from_slice(&[-0.5f64, -7.0]));
/// let gan = HingeGanLoss::default();
/// assert_eq!(gan.discriminator(&real, &fake).double_value(&[]), 0.25 + 0.25);
/// assert_eq!(gan.generator(None, &fake).double_value(&[]), 3.75);
/// ```
///
/// # Differences
///
/// MONAI's hinge puts the scores through a tanh first.
///
/// # Reference
///
/// Lim and Ye 2017, "Geometric GAN"; Miyato et al. 2018, "Spectral Normalization for Generative
/// Adversarial Networks", with [`SpectralNorm`](super::SpectralNorm). Follows StudioGAN.
#[derive(Debug, Clone)]
pub struct HingeGanLoss {
    reduction: Reduction,
}

impl Default for HingeGanLoss {
    fn default() -> Self {
        HingeGanLoss { reduction: Reduction::Mean }
    }
}

impl HingeGanLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl GanLoss for HingeGanLoss {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        let (real, fake) = both("HingeGanLoss", real, fake, self.reduction)?;
        let real = reduced(real.f_rsub_scalar(1.0)?.f_relu_()?, self.reduction)?;
        Ok(real.f_add(&reduced(fake.f_add_scalar(1.0)?.f_relu_()?, self.reduction)?)?)
    }

    fn f_generator(&self, _real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        less(one("HingeGanLoss", fake, self.reduction)?, self.reduction)
    }
}

named_loss! {
    pair HingeGanLoss: "hinge_gan", "Miyato et al. 2018; StudioGAN", [reduction],
    aliases ["sngan", "geometric_gan"],
}

/// The negated scores of generated samples, reduced.
fn less(fake: Tensor, reduction: Reduction) -> Result<Tensor> {
    Ok(reduced(fake, reduction)?.f_neg()?)
}
