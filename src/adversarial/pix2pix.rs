//! The objectives of pix2pix.

use super::{
    gan_loss::GanLoss,
    logistic::BceGanLoss,
    parts::{l1, scalar},
};
use crate::{
    Result, check,
    error::unwrap,
    loss::{LossParts, named_loss},
};
use tch::Tensor;

/// The objective of pix2pix's generator: adversarial, and close to the target.
///
/// ```text
/// total = gan + λ l1,   gan = G(D(condition, output)),   l1 = mean |output - target|
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gan` | [`BceGanLoss::pix2pix`] | the adversarial objectives |
/// | `lambda_l1` | 100 | λ |
///
/// # Shapes
///
/// - output, target: the same shape
/// - scores: of (condition, output), and for objectives that need them of (condition, target)
/// - result: [`LossParts`] of scalars; the parts, `gan` and `l1`, are before their weights
///
/// # Reduction
///
/// The mean divides by the number of elements; of nothing it is 0.
///
/// # Errors
///
/// Shapes, kinds and devices; `lambda_l1` below 0; what the adversarial objective returns, and one without
/// reduction.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::adversarial::Pix2PixLoss;
///
/// let (output, target) = (Tensor::from_slice(&[0.5f64]), Tensor::from_slice(&[0.25f64]));
/// let scores = Tensor::from_slice(&[0.0f64]);
/// let parts = Pix2PixLoss::default().forward(&output, &target, None, &scores);
/// let expected = std::f64::consts::LN_2 + 100.0 * 0.25;
/// assert!((parts.total.double_value(&[]) - expected).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks". Follows
/// pytorch-CycleGAN-and-pix2pix.
#[derive(Debug)]
pub struct Pix2PixLoss {
    gan: Box<dyn GanLoss>,
    lambda_l1: f64,
}

impl Default for Pix2PixLoss {
    fn default() -> Self {
        Pix2PixLoss { gan: Box::new(BceGanLoss::pix2pix()), lambda_l1: 100.0 }
    }
}

impl Pix2PixLoss {
    const NAME: &str = "Pix2PixLoss";

    /// The adversarial objectives; pix2pix's by default.
    pub fn gan(mut self, gan: impl GanLoss + 'static) -> Self {
        self.gan = Box::new(gan);
        self
    }

    /// λ, at least 0; 100 by default.
    pub fn lambda_l1(mut self, lambda_l1: f64) -> Self {
        self.lambda_l1 = lambda_l1;
        self
    }

    /// The discriminator's objective, of its scores of real and of generated pairs.
    pub fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        self.gan.f_discriminator(real, fake)
    }

    /// The generator's objective and its parts.
    pub fn f_forward(
        &self,
        output: &Tensor,
        target: &Tensor,
        real_scores: Option<&Tensor>,
        fake_scores: &Tensor,
    ) -> Result<LossParts> {
        check::at_least_zero(Self::NAME, "lambda_l1", self.lambda_l1)?;
        let gan = scalar(Self::NAME, self.gan.f_generator(real_scores, fake_scores)?)?;
        let l1 = l1(Self::NAME, ("output", output), ("target", target))?;
        LossParts::of(Self::NAME, vec![("gan", 1.0, gan), ("l1", self.lambda_l1, l1)])
    }

    /// [`Pix2PixLoss::f_discriminator`], or a panic with its error.
    #[track_caller]
    pub fn discriminator(&self, real: &Tensor, fake: &Tensor) -> Tensor {
        unwrap(self.f_discriminator(real, fake))
    }

    /// [`Pix2PixLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(
        &self,
        output: &Tensor,
        target: &Tensor,
        real_scores: Option<&Tensor>,
        fake_scores: &Tensor,
    ) -> LossParts {
        unwrap(self.f_forward(output, target, real_scores, fake_scores))
    }
}

named_loss! {
    apart Pix2PixLoss: "pix2pix", "pix2pix", Self::default(), [lambda_l1],
}
