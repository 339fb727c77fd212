//! Quantile loss.

use super::{elementwise, pair};
use crate::{
    Reduction, Result, check,
    fused::{Composed, Quantile, of_error},
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Quantile or pinball loss: least where the input is the q-quantile of the targets.
///
/// ```text
/// l = max(q (t - x), (q - 1) (t - x))
/// ```
///
/// Where the error is 0 the gradient is that between the two sides, ½ - q.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `quantile` | 0.5 | q, in [0, 1]; 0.5 gives half of [`L1Loss`](crate::L1Loss) |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `quantile` outside [0, 1].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, QuantileLoss};
///
/// // To guess too low costs nine times what it costs to guess too high.
/// let (input, target) = (Tensor::from_slice(&[1.0f64, 3.0]), Tensor::from_slice(&[2.0f64, 2.0]));
/// let loss = QuantileLoss::default().quantile(0.9).forward(&input, &target);
/// assert!((loss.double_value(&[]) - (0.9 + 0.1) / 2.0).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Koenker and Bassett 1978, "Regression Quantiles". The formula of scikit-learn's
/// `mean_pinball_loss`.
#[derive(Debug, Clone)]
pub struct QuantileLoss {
    quantile: f64,
    reduction: Reduction,
}

impl Default for QuantileLoss {
    fn default() -> Self {
        QuantileLoss { quantile: 0.5, reduction: Reduction::Mean }
    }
}

impl QuantileLoss {
    /// q, in [0, 1]; 0.5 by default.
    pub fn quantile(mut self, quantile: f64) -> Self {
        self.quantile = quantile;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "QuantileLoss";
        check::reduction(NAME, self.reduction)?;
        check::fraction(NAME, "quantile", self.quantile)?;
        of_error(
            Quantile { slant: 0.5 - self.quantile },
            self,
            [input, target],
            weight,
            self.reduction,
        )
    }
}

impl Composed for QuantileLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "QuantileLoss";
        let (input, target) = pair(NAME, input, target)?;
        // ½ |d| + (½ - q) d: two sums, where a maximum would need masks for its gradient.
        let error = input.f_sub(&target)?;
        let size = elementwise(NAME, error.f_abs()?, weight, self.reduction)?;
        let slant = elementwise(NAME, error, weight, self.reduction)?;
        Ok(size.f_mul_scalar(0.5)?.f_add(&slant.f_mul_scalar(0.5 - self.quantile)?)?)
    }
}

weighted_loss!(QuantileLoss);

named_loss! {
    QuantileLoss: "quantile", Values => Dense, "Koenker and Bassett 1978",
    [quantile, reduction], aliases ["pinball"],
}
