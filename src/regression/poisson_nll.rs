//! Negative log-likelihood of Poisson counts.

use super::{elementwise, largest_exponent, pair};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Negative log-likelihood of counts under a Poisson distribution.
///
/// ```text
/// l = exp(x) - t x            of a logarithm of the rate
///     x - t log(x + ε)        of a rate, with `log_input(false)`
/// ```
///
/// `full` adds Stirling's approximation of log t!, which has no gradient for the input:
/// `t log t - t + ½ log(2π t)` where t > 1.
///
/// A logarithm of the rate above 70 counts as 70 and has no gradient (600 in `Double`, 11 in
/// `Half`), so that everything stays finite; a rate of 0 or below counts as 0 and has none either.
///
/// | option | default | `keras()` | meaning |
/// |---|---|---|---|
/// | `log_input` | true | false | whether the input is the logarithm of the rate |
/// | `full` | false | false | whether to add the Stirling term |
/// | `eps` | 1e-8 | 1e-7 | ε, above 0, beside a rate |
/// | `reduction` | `Mean` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `eps` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, PoissonNllLoss};
///
/// let (rate, target) = (Tensor::from_slice(&[2.0f64, 1.0]), Tensor::from_slice(&[3i64, 0]));
/// let loss = PoissonNllLoss::default().forward(&rate.log(), &target).double_value(&[]);
/// assert!((loss - (2.0 - 3.0 * 2f64.ln() + 1.0) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch and Keras give infinity for a large logarithm of a rate and NaN for a negative rate.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.PoissonNLLLoss`; `keras()` follows Keras 3.15 `Poisson`. See also
/// [`GaussianNllLoss`](crate::GaussianNllLoss).
#[derive(Debug, Clone)]
pub struct PoissonNllLoss {
    log_input: bool,
    full: bool,
    eps: f64,
    reduction: Reduction,
}

impl Default for PoissonNllLoss {
    fn default() -> Self {
        PoissonNllLoss { log_input: true, full: false, eps: 1e-8, reduction: Reduction::Mean }
    }
}

impl PoissonNllLoss {
    /// Keras' `Poisson`, of a rate.
    pub fn keras() -> Self {
        PoissonNllLoss::default().log_input(false).eps(1e-7)
    }

    /// Whether the input is the logarithm of the rate; true by default.
    pub fn log_input(mut self, log_input: bool) -> Self {
        self.log_input = log_input;
        self
    }

    /// Whether to add the Stirling term; false by default.
    pub fn full(mut self, full: bool) -> Self {
        self.full = full;
        self
    }

    /// ε, above 0; 1e-8 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "PoissonNllLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "eps", self.eps)?;
        let most = largest_exponent(input.f_kind()?);
        let (input, target) = pair(NAME, input, target)?;
        // Negated until the end, so that the last step needs no memory of its own.
        let (mut negated, rate) = if self.log_input {
            let log = input.f_clamp_max(most)?;
            (target.f_mul(&log)?, log.f_exp()?)
        } else {
            let rate = input.f_relu()?;
            (target.f_mul(&rate.f_add_scalar(self.eps)?.f_log()?)?, rate)
        };
        let _ = negated.f_sub_(&rate)?;
        drop(rate);
        if self.full {
            let _ = negated.f_sub_(&stirling(&target)?)?;
        }
        Ok(elementwise(NAME, negated, weight, self.reduction)?.f_neg()?)
    }
}

/// About log t!, and 0 for t up to 1.
fn stirling(target: &Tensor) -> Result<Tensor> {
    let count = target.f_clamp_min(1.0)?;
    let log = count.f_log()?;
    let half_of_circle = 0.5 * std::f64::consts::TAU.ln();
    let sum = count.f_mul(&log)?.f_sub(&count)?.f_add(&log.f_mul_scalar(0.5)?)?;
    Ok(sum.f_add_scalar(half_of_circle)?.f_masked_fill(&target.f_le(1.0)?, 0.0)?)
}

weighted_loss!(PoissonNllLoss);

named_loss! {
    PoissonNllLoss: "poisson_nll", Values => Dense, "torch.nn.PoissonNLLLoss",
    [log_input, full, eps, reduction],
    presets { "poisson" => Self::keras(), "Keras `Poisson`" },
}
