//! R1 and R2, the gradient penalties centred on zero.

use super::gradient::{check_samples, gradient};
use crate::{Result, check, error::unwrap, loss::named_loss};
use tch::{Kind, Tensor};

/// Gradient penalty of a discriminator at real samples, centred on zero (R1).
///
/// ```text
/// penalty = γ/2 mean_n ‖∇ D(x_n)‖₂²
/// ```
///
/// `backward` on the penalty fills the gradients of the discriminator's parameters; the samples are
/// detached and get none. Computed every k-th step only (StyleGAN2: every 16th), it is multiplied by k.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gamma` | 10 | γ |
/// | `halve` | true | whether the ½ is there |
///
/// # Shapes
///
/// - samples: (N, ..), floating-point
/// - critic: takes that shape, returns any; several scores of a sample are added up. A sample's
///   scores must not depend on other samples: no batch normalisation, no mean over the batch
/// - penalty: a scalar; of `Half` and `BFloat16` gradients it is computed and returned in `Float`
///
/// # Reduction
///
/// The mean divides by N. It is 0 for an empty batch.
///
/// # Errors
///
/// Shape or kind of the samples or of the critic's output; `gamma` below 0; a critic whose output has no
/// graph or does not depend on its input; a call inside `no_grad`; what the critic itself returns.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::adversarial::R1Penalty;
///
/// // D(x) = w·x has gradient w everywhere: 10/2 · 25, and 10 w for w.
/// let w = Tensor::from_slice(&[3.0f64, 4.0]).set_requires_grad(true);
/// let real = Tensor::randn([8, 2], (Kind::Double, Device::Cpu));
/// let penalty = R1Penalty::default().forward(|x| x.matmul(&w), &real);
/// assert!((penalty.double_value(&[]) - 125.0).abs() < 1e-9);
/// penalty.backward();
/// assert!((w.grad().double_value(&[0]) - 30.0).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// The ½ is the paper's, StyleGAN2's and StudioGAN's; the paper's own code and BasicSR leave it out:
/// `halve(false)`.
///
/// # Reference
///
/// Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?". See also
/// [`R2Penalty`] and [`GradientPenalty`](crate::GradientPenalty).
#[derive(Debug, Clone, Copy)]
pub struct R1Penalty {
    gamma: f64,
    halve: bool,
}

/// [`R1Penalty`] for generated samples, by the same formula: R2.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::adversarial::{R1Penalty, R2Penalty};
///
/// let critic = |x: &Tensor| x.square();
/// let [real, fake] = [3.0, 1.0].map(|x| Tensor::full([4], x, (Kind::Double, Device::Cpu)));
/// let r1 = R1Penalty::default().forward(critic, &real);
/// let r2 = R2Penalty::default().forward(critic, &fake);
/// assert_eq!((r1 + r2).double_value(&[]), 5.0 * (36.0 + 4.0));
/// ```
pub type R2Penalty = R1Penalty;

impl Default for R1Penalty {
    fn default() -> Self {
        R1Penalty { gamma: 10.0, halve: true }
    }
}

impl R1Penalty {
    const NAME: &str = "R1Penalty";

    /// γ, at least 0; 10 by default.
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// Whether the penalty is multiplied by ½; true by default.
    pub fn halve(mut self, halve: bool) -> Self {
        self.halve = halve;
        self
    }

    /// The penalty at `samples`.
    pub fn f_forward(
        &self,
        critic: impl FnOnce(&Tensor) -> Result<Tensor>,
        samples: &Tensor,
    ) -> Result<Tensor> {
        check::at_least_zero(Self::NAME, "gamma", self.gamma)?;
        check_samples(Self::NAME, "samples", samples)?;
        let gradient = gradient(Self::NAME, critic, samples)?;
        let gradient = check::accumulated(Self::NAME, "gradient", &gradient)?;
        let gamma = if self.halve { 0.5 * self.gamma } else { self.gamma };
        let samples = samples.size()[0].max(1) as f64;
        Ok(gradient.f_square()?.f_sum(None::<Kind>)?.f_mul_scalar(gamma / samples)?)
    }

    /// [`R1Penalty::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, critic: impl FnOnce(&Tensor) -> Tensor, samples: &Tensor) -> Tensor {
        unwrap(self.f_forward(|x| Ok(critic(x)), samples))
    }
}

named_loss! {
    apart R1Penalty: "r1_penalty", "Mescheder et al. 2018", Self::default(), [gamma, halve],
    aliases ["r1", "r2_penalty", "r2"],
}
