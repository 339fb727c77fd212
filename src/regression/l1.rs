//! Mean absolute error.

use super::{elementwise, pair};
use crate::{
    Reduction, Result, check,
    fused::{Absolute, Composed, of_error},
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Mean absolute error (MAE).
///
/// ```text
/// l = |x - t|
/// ```
///
/// Where the error is 0 its gradient is 0.
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
/// use tch_losses::{L1Loss, Loss};
///
/// let (input, target) = (Tensor::from_slice(&[1.0f64, -2.0]), Tensor::from_slice(&[0.0, 2.0]));
/// assert_eq!(L1Loss::default().forward(&input, &target).double_value(&[]), 2.5);
/// ```
///
/// # Differences
///
/// PyTorch gives NaN for an empty batch.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.L1Loss` and Keras 3.15 `MeanAbsoluteError`. See also
/// [`SmoothL1Loss`](crate::SmoothL1Loss).
#[derive(Debug, Clone)]
pub struct L1Loss {
    reduction: Reduction,
}

impl Default for L1Loss {
    fn default() -> Self {
        L1Loss { reduction: Reduction::Mean }
    }
}

impl L1Loss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "L1Loss";
        check::reduction(NAME, self.reduction)?;
        of_error(Absolute {}, self, [input, target], weight, self.reduction)
    }
}

impl Composed for L1Loss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "L1Loss";
        let (input, target) = pair(NAME, input, target)?;
        elementwise(NAME, input.f_sub(&target)?.f_abs()?, weight, self.reduction)
    }
}

weighted_loss!(L1Loss);

named_loss! {
    L1Loss: "l1", Values => Dense, "torch.nn.L1Loss", [reduction],
    aliases ["mae", "mean_absolute_error"],
}
