//! Huber and smooth L1: squared small errors, absolute large ones.

use super::{elementwise, native, pair};
use crate::{
    Reduction, Result, check,
    fused::{Composed, Huber, SmoothL1, of_error},
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Huber loss.
///
/// ```text
/// l = ½ d²             where d < δ,   d = |x - t|
///     δ (d - ½ δ)      elsewhere
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `delta` | 1 | δ, above 0: where squared turns into absolute |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `delta` not above 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{HuberLoss, Loss};
///
/// let (input, target) = (Tensor::from_slice(&[1.0f64, 3.0]), Tensor::from_slice(&[0.0f64, 0.0]));
/// let loss = HuberLoss::default().delta(2.0).forward(&input, &target);
/// assert_eq!(loss.double_value(&[]), (0.5 + 2.0 * 2.0) / 2.0);
/// ```
///
/// # Differences
///
/// PyTorch divides the mean of `F.huber_loss(weight=..)` by the number of elements, those of
/// `l1_loss` and `mse_loss` by the sum of the weights, as all are here. Copies without the ½ of the
/// first branch jump at δ.
///
/// # Reference
///
/// Huber 1964, "Robust Estimation of a Location Parameter". Follows PyTorch 2.13
/// `torch.nn.HuberLoss` and Keras 3.15 `Huber`. See also [`SmoothL1Loss`].
#[derive(Debug, Clone)]
pub struct HuberLoss {
    delta: f64,
    reduction: Reduction,
}

impl Default for HuberLoss {
    fn default() -> Self {
        HuberLoss { delta: 1.0, reduction: Reduction::Mean }
    }
}

impl HuberLoss {
    /// δ, above 0; 1 by default.
    pub fn delta(mut self, delta: f64) -> Self {
        self.delta = delta;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "HuberLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "delta", self.delta)?;
        of_error(Huber { delta: self.delta }, self, [input, target], weight, self.reduction)
    }
}

impl Composed for HuberLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "HuberLoss";
        let (input, target) = pair(NAME, input, target)?;
        native(NAME, &input, weight, self.reduction, |reduction| {
            input.f_huber_loss(&target, reduction, self.delta)
        })
    }
}

weighted_loss!(HuberLoss);

named_loss! {
    HuberLoss: "huber", Values => Dense, "torch.nn.HuberLoss", [delta, reduction],
}

/// Smooth L1 loss: Huber's over β, with slope 1 however small β.
///
/// ```text
/// l = ½ d² / β     where d < β,   d = |x - t|
///     d - ½ β      elsewhere
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `beta` | 1 | β, at least 0: where squared turns into absolute; 0 gives L1 |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/elementwise.md")]
/// # Errors
///
/// Shape, kind or device of the target or a weight; `beta` below 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, SmoothL1Loss};
///
/// let (input, target) = (Tensor::from_slice(&[1.0f64, 3.0]), Tensor::from_slice(&[0.0f64, 0.0]));
/// let loss = SmoothL1Loss::default().beta(2.0).forward(&input, &target);
/// assert_eq!(loss.double_value(&[]), (0.25 + 2.0) / 2.0);
/// ```
///
/// # Differences
///
/// PyTorch gives NaN for an empty batch.
///
/// # Reference
///
/// Girshick 2015, "Fast R-CNN". Follows PyTorch 2.13 `torch.nn.SmoothL1Loss`; torchvision's
/// detectors take β = 1/9. See also [`BalancedL1Loss`](crate::BalancedL1Loss).
#[derive(Debug, Clone)]
pub struct SmoothL1Loss {
    beta: f64,
    reduction: Reduction,
}

impl Default for SmoothL1Loss {
    fn default() -> Self {
        SmoothL1Loss { beta: 1.0, reduction: Reduction::Mean }
    }
}

impl SmoothL1Loss {
    /// β, at least 0; 1 by default.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SmoothL1Loss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "beta", self.beta)?;
        of_error(SmoothL1 { beta: self.beta }, self, [input, target], weight, self.reduction)
    }
}

impl Composed for SmoothL1Loss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SmoothL1Loss";
        let (input, target) = pair(NAME, input, target)?;
        if self.beta == 0.0 {
            return elementwise(NAME, input.f_sub(&target)?.f_abs()?, weight, self.reduction);
        }
        native(NAME, &input, weight, self.reduction, |reduction| {
            input.f_smooth_l1_loss(&target, reduction, self.beta)
        })
    }
}

weighted_loss!(SmoothL1Loss);

named_loss! {
    SmoothL1Loss: "smooth_l1", Values => Dense, "torch.nn.SmoothL1Loss", [beta, reduction],
}
