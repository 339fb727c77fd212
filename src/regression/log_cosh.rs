//! Log-cosh.

use super::{elementwise, pair};
use crate::{
    Reduction, Result, check,
    fused::{Composed, LogCosh, of_error},
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Log-cosh loss: half the square of a small error, the size of a large one less log 2.
///
/// ```text
/// l = log cosh(x - t)
/// ```
///
/// Finite for every finite error, with a gradient of tanh(x - t). In `Float` rounding may leave 1e-7
/// instead of 0.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{LogCoshLoss, Loss};
///
/// let (input, target) = (Tensor::from_slice(&[0.5f64, 1e4]), Tensor::from_slice(&[0.0f64, 0.0]));
/// let loss = LogCoshLoss::default().forward(&input, &target).double_value(&[]);
/// assert!((loss - (0.5f64.cosh().ln() + 1e4 - 2f64.ln()) / 2.0).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// The cosh of an error of 90 is infinite in `Float`; as in Keras and pytorch-toolbelt it is never
/// taken. Their softplus is exact to 2e-9 only in `Double`.
///
/// # Reference
///
/// Follows Keras 3.15 `LogCosh` and pytorch-toolbelt 0.8 `LogCoshLoss`. See also
/// [`HuberLoss`](crate::HuberLoss).
#[derive(Debug, Clone)]
pub struct LogCoshLoss {
    reduction: Reduction,
}

impl Default for LogCoshLoss {
    fn default() -> Self {
        LogCoshLoss { reduction: Reduction::Mean }
    }
}

impl LogCoshLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "LogCoshLoss";
        check::reduction(NAME, self.reduction)?;
        of_error(LogCosh {}, self, [input, target], weight, self.reduction)
    }
}

impl Composed for LogCoshLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "LogCoshLoss";
        let (input, target) = pair(NAME, input, target)?;
        // log cosh d = d - log sigmoid(2 d) - log 2, negated until the end.
        let error = input.f_sub(&target)?;
        let mut negated = error.f_mul_scalar(2.0)?.f_log_sigmoid()?;
        let _ = negated.f_sub_(&error)?.f_add_scalar_(std::f64::consts::LN_2)?;
        drop(error);
        Ok(elementwise(NAME, negated, weight, self.reduction)?.f_neg()?)
    }
}

weighted_loss!(LogCoshLoss);

named_loss! {
    LogCoshLoss: "log_cosh", Values => Dense, "Keras `LogCosh`", [reduction],
}
