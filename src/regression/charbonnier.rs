//! Charbonnier's loss.

use super::{elementwise, pair};
use crate::{
    Reduction, Result, check,
    fused::{Charbonnier, Composed, of_error},
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Charbonnier loss: an absolute error with a rounded tip.
///
/// ```text
/// l = √((x - t)² + ε²)
/// ```
///
/// | option | default | `kornia()` | `basicsr()` | meaning |
/// |---|---|---|---|---|
/// | `eps` | 1e-3 | 1 | 1e-6 | ε, above 0, squared under the root |
/// | `offset` | false | true | false | subtract ε, so that no error costs nothing |
/// | `reduction` | `Mean` | `None` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `eps` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CharbonnierLoss, Loss};
///
/// let (input, target) = (Tensor::from_slice(&[3.0f64, 0.0]), Tensor::from_slice(&[0.0f64, 0.0]));
/// let loss = CharbonnierLoss::default().eps(4.0).forward(&input, &target);
/// assert_eq!(loss.double_value(&[]), (5.0 + 4.0) / 2.0);
/// let offset = CharbonnierLoss::default().eps(4.0).offset(true).forward(&input, &target);
/// assert_eq!(offset.double_value(&[]), (1.0 + 0.0) / 2.0);
/// ```
///
/// # Differences
///
/// BasicSR does not square its `eps`: 1e-12 there is 1e-6 here. kornia's scale is 1, fixed.
///
/// # Reference
///
/// Charbonnier et al. 1994, "Two Deterministic Half-Quadratic Regularization Algorithms for Computed
/// Imaging"; Lai et al. 2017, "Deep Laplacian Pyramid Networks", ε = 1e-3. `kornia()` follows
/// kornia 0.9 `charbonnier_loss`, `basicsr()` BasicSR's `CharbonnierLoss`.
#[derive(Debug, Clone)]
pub struct CharbonnierLoss {
    eps: f64,
    offset: bool,
    reduction: Reduction,
}

impl Default for CharbonnierLoss {
    fn default() -> Self {
        CharbonnierLoss { eps: 1e-3, offset: false, reduction: Reduction::Mean }
    }
}

impl CharbonnierLoss {
    /// kornia's `charbonnier_loss`: `√(d² + 1) - 1`, not reduced.
    pub fn kornia() -> Self {
        CharbonnierLoss { eps: 1.0, offset: true, reduction: Reduction::None }
    }

    /// BasicSR's `CharbonnierLoss`, whose `eps` is 1e-12 before the square.
    pub fn basicsr() -> Self {
        CharbonnierLoss::default().eps(1e-6)
    }

    /// ε, above 0; 1e-3 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether ε is subtracted; false by default.
    pub fn offset(mut self, offset: bool) -> Self {
        self.offset = offset;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "CharbonnierLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "eps", self.eps)?;
        let offset = if self.offset { self.eps } else { 0.0 };
        of_error(
            Charbonnier { eps: self.eps, offset },
            self,
            [input, target],
            weight,
            self.reduction,
        )
    }
}

impl Composed for CharbonnierLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "CharbonnierLoss";
        let (input, target) = pair(NAME, input, target)?;
        // One pass for square, sum and root, and no square that could be lost to rounding or overflow.
        let eps =
            Tensor::f_full([0i64; 0].as_slice(), self.eps, (input.f_kind()?, input.device()))?;
        let mut each = input.f_sub(&target)?.f_hypot(&eps)?;
        if self.offset {
            each = each.f_sub_scalar(self.eps)?;
        }
        elementwise(NAME, each, weight, self.reduction)
    }
}

weighted_loss!(CharbonnierLoss);

named_loss! {
    CharbonnierLoss: "charbonnier", Values => Dense, "Lai et al. 2017", [eps, offset, reduction],
    presets {
        "charbonnier_kornia" => Self::kornia(), "kornia `charbonnier_loss`";
        "charbonnier_basicsr" => Self::basicsr(), "BasicSR `CharbonnierLoss`";
    },
}
