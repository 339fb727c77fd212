//! The least squares GAN.

use super::gan_loss::{GanLoss, Halve, both, one};
use crate::{Reduction, Result, check, loss::named_loss};
use tch::Tensor;

/// The objectives of the least squares GAN (LSGAN).
///
/// ```text
/// D: ½ mean (real - b)² + ½ mean (fake - a)²
/// G: ½ mean (fake - c)²
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `a` | 0 | what the discriminator should say of generated samples |
/// | `b` | 1 | what it should say of real ones |
/// | `c` | 1 | what the generator wants it to say |
/// | `halve` | `Both` | which objectives have the ½ |
/// | `reduction` | `Mean` | |
///
/// With b - c = 1 and b - a = 2 (a -1, b 1, c 0) it minimises the Pearson χ² divergence. Presets:
/// [`LeastSquaresGanLoss::cyclegan`], [`LeastSquaresGanLoss::basicsr`].
///
/// # Shapes
///
/// Scores; see [`GanLoss`]. `Half` and `BFloat16` are computed and returned in `Float`.
///
/// # Reduction
///
/// `Mean` divides each term by its number of scores; a term of no scores is 0.
///
/// # Errors
///
/// Kind or device of `fake`; without reduction its shape; `a`, `b` or `c` that is not finite.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GanLoss, LeastSquaresGanLoss};
///
/// let (real, fake) = (Tensor::from_slice(&[3.0f64]), Tensor::from_slice(&[2.0f64]));
/// let value = |gan: LeastSquaresGanLoss| gan.discriminator(&real, &fake).double_value(&[]);
/// assert_eq!(value(LeastSquaresGanLoss::default()), 0.5 * (4.0 + 4.0));
/// assert_eq!(value(LeastSquaresGanLoss::cyclegan()), 0.5 * (4.0 + 4.0));
/// assert_eq!(value(LeastSquaresGanLoss::basicsr()), 4.0 + 4.0);
/// ```
///
/// # Differences
///
/// The ½ is the paper's, StudioGAN's and torchgan's; BasicSR has none, and CycleGAN halves the
/// discriminator's objective alone, which makes its generator twice as fast as the paper's. MONAI
/// puts the scores through a leaky ReLU first.
///
/// # Reference
///
/// Mao et al. 2017, "Least Squares Generative Adversarial Networks".
#[derive(Debug, Clone)]
pub struct LeastSquaresGanLoss {
    a: f64,
    b: f64,
    c: f64,
    halve: Halve,
    reduction: Reduction,
}

impl Default for LeastSquaresGanLoss {
    fn default() -> Self {
        LeastSquaresGanLoss {
            a: 0.0,
            b: 1.0,
            c: 1.0,
            halve: Halve::Both,
            reduction: Reduction::Mean,
        }
    }
}

impl LeastSquaresGanLoss {
    const NAME: &str = "LeastSquaresGanLoss";

    /// CycleGAN's objectives: the discriminator's halved, the generator's not.
    pub fn cyclegan() -> Self {
        LeastSquaresGanLoss::default().halve(Halve::Discriminator)
    }

    /// BasicSR's `lsgan`: neither halved.
    pub fn basicsr() -> Self {
        LeastSquaresGanLoss::default().halve(Halve::Neither)
    }

    /// The discriminator's target for generated samples; 0 by default.
    pub fn a(mut self, a: f64) -> Self {
        self.a = a;
        self
    }

    /// The discriminator's target for real samples; 1 by default.
    pub fn b(mut self, b: f64) -> Self {
        self.b = b;
        self
    }

    /// The generator's target; 1 by default.
    pub fn c(mut self, c: f64) -> Self {
        self.c = c;
        self
    }

    /// Which objectives are multiplied by ½; `Both` by default.
    pub fn halve(mut self, halve: Halve) -> Self {
        self.halve = halve;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn check(&self) -> Result<()> {
        for (option, value) in [("a", self.a), ("b", self.b), ("c", self.c)] {
            check::param(Self::NAME, option, value, value.is_finite(), "finite")?;
        }
        Ok(())
    }
}

impl GanLoss for LeastSquaresGanLoss {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        self.check()?;
        let (real, fake) = both(Self::NAME, real, fake, self.reduction)?;
        let real = squared_distance(&real, self.b, self.reduction)?;
        let fake = squared_distance(&fake, self.a, self.reduction)?;
        self.halve.of_discriminator(real.f_add(&fake)?)
    }

    fn f_generator(&self, _real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        self.check()?;
        let fake = one(Self::NAME, fake, self.reduction)?;
        self.halve.of_generator(squared_distance(&fake, self.c, self.reduction)?)
    }
}

named_loss! {
    pair LeastSquaresGanLoss: "least_squares_gan", "Mao et al. 2017", [a, b, c, halve, reduction],
    aliases ["lsgan"],
    presets {
        "lsgan_cyclegan" => Self::cyclegan(), "CycleGAN", [];
        "lsgan_basicsr" => Self::basicsr(), "BasicSR `lsgan`", []
    },
}

/// `(scores - to)²`, without a tensor of targets.
pub(super) fn squared_distance(scores: &Tensor, to: f64, reduction: Reduction) -> Result<Tensor> {
    let to = Tensor::f_scalar_tensor(to, (scores.f_kind()?, scores.device()))?;
    // The mean of nothing is 0, not NaN.
    let reduction = if scores.numel() == 0 && reduction == Reduction::Mean {
        Reduction::Sum
    } else {
        reduction
    };
    Ok(scores.f_mse_loss(&to.f_expand_as(scores)?, reduction)?)
}
