//! Relativistic GANs.

use super::{
    gan_loss::{GanLoss, Halve, both, needed, reduced},
    least_squares::squared_distance,
};
use crate::{
    Reduction, Result, check,
    classification::softplus,
    loss::{named_loss, option_enum},
};
use tch::Tensor;

/// What a difference of scores costs that should be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RelativisticCost {
    /// `softplus(-d)`: RaSGAN, RSGAN.
    #[default]
    Logistic,
    /// `(d - 1)²`: RaLSGAN.
    LeastSquares,
    /// `max(0, 1 - d)`: RaHingeGAN.
    Hinge,
}

option_enum!(RelativisticCost {
    RelativisticCost::Logistic => "logistic",
    RelativisticCost::LeastSquares => "least_squares",
    RelativisticCost::Hinge => "hinge",
});

/// What a score is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Against {
    /// The mean score of the other kind of sample: the relativistic average GANs.
    #[default]
    Average,
    /// The score at the same place of the other kind of sample: relativistic pairing GANs.
    Pairs,
}

option_enum!(Against { Against::Average => "average", Against::Pairs => "pairs" });

/// Relativistic objectives: a real sample should score higher than generated ones do.
///
/// ```text
/// average   D: mean f(real - mean fake) + mean f(mean real - fake)
///           G: mean f(fake - mean real) + mean f(mean fake - real)
/// pairs     D: mean f(real - fake)
///           G: mean f(fake - real)
/// f(d) = softplus(-d), (d - 1)² or max(0, 1 - d)
/// ```
///
/// Adding a number to all scores changes nothing. The generator's objective needs the scores of real
/// samples; they can be computed inside `no_grad`, as the generator's gradient does not pass through
/// them.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `cost` | `Logistic` | f |
/// | `against` | `Average` | what a score is compared with |
/// | `halve` | `Neither` | which objectives are multiplied by ½ |
/// | `reduction` | `Mean` | |
///
/// Presets: [`RelativisticGanLoss::rasgan`], [`RelativisticGanLoss::ralsgan`],
/// [`RelativisticGanLoss::rahinge`], [`RelativisticGanLoss::rpgan`].
///
/// # Shapes
///
/// Scores, without a sigmoid; see [`GanLoss`]. `Pairs` wants `fake` of the shape of `real`. `Half` and
/// `BFloat16` are computed and returned in `Float`.
///
/// # Reduction
///
/// `Mean` divides each term by its number of scores; a term of no scores is 0. The mean that scores are
/// compared with is over all scores, whatever the reduction, and 0 where there are none.
///
/// # Errors
///
/// Kind or device of `fake`; for `Pairs` and without reduction its shape; a generator's objective
/// without the scores of real samples.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{GanLoss, RelativisticGanLoss};
///
/// let (real, fake) = (Tensor::from_slice(&[2.0f64, 4.0]), Tensor::from_slice(&[1.0f64]));
/// let gan = RelativisticGanLoss::ralsgan();
/// // ½ ((2-1-1)² + (4-1-1)²) + (1-3+1)²
/// assert_eq!(gan.discriminator(&real, &fake).double_value(&[]), 3.0);
/// // (1-3-1)² + ½ ((2-1+1)² + (4-1+1)²)
/// assert_eq!(gan.generator(Some(&real), &fake).double_value(&[]), 19.0);
/// assert!(gan.needs_real() && gan.f_generator(None, &fake).is_err());
/// ```
///
/// # Differences
///
/// The equations of the paper have no ½; its author's code and ESRGAN halve both objectives of the
/// average GANs: `halve(Halve::Both)`.
///
/// # Reference
///
/// Jolicoeur-Martineau 2019, "The relativistic discriminator: a key element missing from standard
/// GAN". `Pairs` with the logistic cost, an [`R1Penalty`](super::R1Penalty) and an
/// [`R2Penalty`](super::R2Penalty) is R3GAN's (Huang et al. 2024).
#[derive(Debug, Clone)]
pub struct RelativisticGanLoss {
    cost: RelativisticCost,
    against: Against,
    halve: Halve,
    reduction: Reduction,
}

impl Default for RelativisticGanLoss {
    fn default() -> Self {
        RelativisticGanLoss {
            cost: RelativisticCost::Logistic,
            against: Against::Average,
            halve: Halve::Neither,
            reduction: Reduction::Mean,
        }
    }
}

impl RelativisticGanLoss {
    const NAME: &str = "RelativisticGanLoss";

    /// The relativistic average GAN with the logistic cost.
    pub fn rasgan() -> Self {
        RelativisticGanLoss::default()
    }

    /// The relativistic average GAN with least squares.
    pub fn ralsgan() -> Self {
        RelativisticGanLoss::default().cost(RelativisticCost::LeastSquares)
    }

    /// The relativistic average GAN with the hinge.
    pub fn rahinge() -> Self {
        RelativisticGanLoss::default().cost(RelativisticCost::Hinge)
    }

    /// The relativistic pairing GAN with the logistic cost.
    pub fn rpgan() -> Self {
        RelativisticGanLoss::default().against(Against::Pairs)
    }

    /// What a difference of scores costs; `Logistic` by default.
    pub fn cost(mut self, cost: RelativisticCost) -> Self {
        self.cost = cost;
        self
    }

    /// What a score is compared with; `Average` by default.
    pub fn against(mut self, against: Against) -> Self {
        self.against = against;
        self
    }

    /// Which objectives are multiplied by ½; `Neither` by default.
    pub fn halve(mut self, halve: Halve) -> Self {
        self.halve = halve;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn both(&self, real: &Tensor, fake: &Tensor) -> Result<(Tensor, Tensor)> {
        if self.against == Against::Pairs {
            check::shape(Self::NAME, "fake", fake, &real.size())?;
        }
        both(Self::NAME, real, fake, self.reduction)
    }

    /// What it costs that `high` should score higher than `low`.
    fn objective(&self, high: &Tensor, low: &Tensor) -> Result<Tensor> {
        match self.against {
            Against::Pairs => self.reduced(low.f_sub(high)?),
            Against::Average => {
                let mean = |scores: &Tensor| reduced(scores.shallow_clone(), Reduction::Mean);
                let above = self.reduced(mean(low)?.f_sub(high)?)?;
                Ok(above.f_add(&self.reduced(low.f_sub(&mean(high)?)?)?)?)
            }
        }
    }

    /// f of a difference that is given negated, as the costs want it.
    fn reduced(&self, mut negated: Tensor) -> Result<Tensor> {
        match self.cost {
            RelativisticCost::Logistic => reduced(softplus(&negated)?, self.reduction),
            RelativisticCost::LeastSquares => squared_distance(&negated, -1.0, self.reduction),
            RelativisticCost::Hinge => {
                reduced(negated.f_add_scalar_(1.0)?.f_relu_()?, self.reduction)
            }
        }
    }
}

impl GanLoss for RelativisticGanLoss {
    fn f_discriminator(&self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        let (real, fake) = self.both(real, fake)?;
        self.halve.of_discriminator(self.objective(&real, &fake)?)
    }

    fn f_generator(&self, real: Option<&Tensor>, fake: &Tensor) -> Result<Tensor> {
        let real = needed(Self::NAME, real)?;
        let (real, fake) = self.both(real, fake)?;
        self.halve.of_generator(self.objective(&fake, &real)?)
    }

    fn needs_real(&self) -> bool {
        true
    }
}

named_loss! {
    pair RelativisticGanLoss: "relativistic_gan", "Jolicoeur-Martineau 2019",
    [cost, against, halve, reduction],
    presets {
        "rasgan" => Self::rasgan(), "Jolicoeur-Martineau 2019", ["relativistic_average_gan"];
        "ralsgan" => Self::ralsgan(), "Jolicoeur-Martineau 2019", [];
        "rahinge_gan" => Self::rahinge(), "Jolicoeur-Martineau 2019", [];
        "rpgan" => Self::rpgan(), "Jolicoeur-Martineau 2019; R3GAN", ["rsgan"];
        "esrgan" => Self::rasgan().halve(Halve::Both), "ESRGAN, BasicSR", ["ragan"]
    },
}
