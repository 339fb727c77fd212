//! Focal losses: cross entropy with the easy examples turned down.

use super::{
    binary::{smoothed, without_ignored},
    target::{Classes, per_class},
};
use crate::{
    MeanOver, Reduction, Result, check,
    fused::{self, Composed, Scores, SoftmaxFormula},
    loss::{named_loss, weighted_loss},
    reduce::{Kept, reduce, weights},
};
use tch::{Kind, Tensor};

/// Sigmoid focal loss of logits.
///
/// ```text
/// l = α_t (1-p_t)^γ BCE(x, t)
/// p = sigmoid(x),  p_t = p t + (1-p)(1-t),  α_t = α t + (1-α)(1-t)
/// ```
///
/// A soft target enters the product form above as it stands. The loss and its gradient are finite
/// for every γ >= 0 and every finite logit, and exact where p_t is within rounding of 1.
///
/// | option | default | `torchvision()` | `yolov5()` | meaning |
/// |---|---|---|---|---|
/// | `gamma` | 2 | 2 | 1.5 | γ; 0 gives BCE |
/// | `alpha` | 0.25 | 0.25 | 0.25 | α in [0, 1]; `None` leaves α_t out |
/// | `pos_weight` | none | none | none | weight of the positive term inside BCE |
/// | `label_smoothing` | 0 | 0 | 0 | ε of [`BceWithLogitsLoss`](crate::BceWithLogitsLoss) |
/// | `ignore_index` | none | none | none | targets of this value count for nothing |
/// | `reduction` | `Mean` | `None` | `Mean` | |
///
/// # Shapes
///
/// - input: logits of any shape
/// - target: the input's shape; floating-point in [0, 1], integer or bool
/// - element weight: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of the element weights (0 where
/// ignored). RetinaNet divides the `Sum` by the number of positives instead.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `gamma` below 0; `alpha` or `label_smoothing`
/// outside [0, 1].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{FocalLoss, Loss, Reduction};
///
/// let logits = Tensor::from_slice(&[0.0f64, 0.0]);
/// let target = Tensor::from_slice(&[1.0f64, 0.0]);
/// let focal = FocalLoss::default().gamma(2.0).alpha(0.25).reduction(Reduction::None);
/// let loss = Vec::<f64>::try_from(focal.forward(&logits, &target)).unwrap();
/// let bce = std::f64::consts::LN_2;
/// assert!((loss[0] - 0.25 * 0.25 * bce).abs() < 1e-12);
/// assert!((loss[1] - 0.75 * 0.25 * bce).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// torchvision, smp and MONAI give NaN gradients for 0 < γ < 1 and saturated logits, and lose the
/// loss of easy examples to rounding (37 % off at logit 15 in `Float`). kornia splits a soft target
/// into a positive and a negative focal term, which is another loss.
///
/// # Reference
///
/// Lin et al. 2017, "Focal Loss for Dense Object Detection". Follows torchvision 0.28
/// `sigmoid_focal_loss`; `yolov5()` follows YOLOv5's `FocalLoss`. See also [`SoftmaxFocalLoss`].
#[derive(Debug, Clone)]
pub struct FocalLoss {
    gamma: f64,
    alpha: Option<f64>,
    pos_weight: Option<Kept>,
    label_smoothing: f64,
    ignore_index: Option<i64>,
    reduction: Reduction,
}

impl Default for FocalLoss {
    fn default() -> Self {
        FocalLoss {
            gamma: 2.0,
            alpha: Some(0.25),
            pos_weight: None,
            label_smoothing: 0.0,
            ignore_index: None,
            reduction: Reduction::Mean,
        }
    }
}

impl FocalLoss {
    /// torchvision's `sigmoid_focal_loss`: γ 2, α 0.25, no reduction.
    pub fn torchvision() -> Self {
        FocalLoss::default().reduction(Reduction::None)
    }

    /// YOLOv5's focal loss: γ 1.5, α 0.25, mean.
    pub fn yolov5() -> Self {
        FocalLoss::default().gamma(1.5)
    }

    /// γ, at least 0.
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// α in [0, 1], or `None` to weigh positives and negatives alike.
    pub fn alpha(mut self, alpha: impl Into<Option<f64>>) -> Self {
        self.alpha = alpha.into();
        self
    }

    /// The weight of the positive term, broadcastable to the input.
    pub fn pos_weight(mut self, pos_weight: impl Into<Option<Tensor>>) -> Self {
        self.pos_weight = pos_weight.into().map(Kept);
        self
    }

    /// ε, in [0, 1]; 0 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// The target value that marks elements to leave out.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "FocalLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "gamma", self.gamma)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        if let Some(alpha) = self.alpha {
            check::fraction(NAME, "alpha", alpha)?;
        }
        check::same_shape(NAME, input, target)?;
        let kernel = fused::BinaryCrossEntropy {
            gamma: self.gamma,
            alpha: self.alpha,
            pos_weight: self.pos_weight.as_ref().map(|kept| &kept.0),
            label_smoothing: self.label_smoothing,
            ignore_index: self.ignore_index,
            ..fused::BinaryCrossEntropy::new(Scores::Logits, self.reduction)
        };
        kernel.loss(self, [input, target], weight)
    }
}

impl Composed for FocalLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "FocalLoss";
        let logits = check::accumulated(NAME, "input", input)?;
        let kind = logits.f_kind()?;
        let hard = !check::is_float(target.f_kind()?) && self.label_smoothing == 0.0;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let target =
            smoothed(check::in_kind(NAME, "target", &target, kind)?, self.label_smoothing)?;

        let pos_weight = pos_weight(NAME, self.pos_weight.as_ref(), input, kind)?;
        let likely = LikelyMargin::new(&logits, &target, hard)?;
        let mut loss = likely.bce(&logits, &target, pos_weight.as_ref())?;
        if self.gamma != 0.0 {
            loss = modulated(loss, likely.miss()?, self.gamma)?;
        }
        if let Some(alpha) = self.alpha {
            let alpha_t = target.f_mul_scalar(2.0 * alpha - 1.0)?.f_add_scalar_(1.0 - alpha)?;
            let _ = loss.f_mul_(&alpha_t)?;
        }
        let weight = weights(NAME, [weight, valid.as_ref()], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(FocalLoss);

named_loss! {
    FocalLoss: "focal", BinaryLogits => Dense, "torchvision `sigmoid_focal_loss`",
    [gamma, alpha, pos_weight, label_smoothing, ignore_index, reduction],
    aliases ["sigmoid_focal", "binary_focal"],
    presets { "focal_yolov5" => Self::yolov5(), "YOLOv5 `FocalLoss`" },
}

/// The weight of the positive term, checked, in the kind that is computed in.
pub(super) fn pos_weight(
    loss: &'static str,
    option: Option<&Kept>,
    input: &Tensor,
    kind: Kind,
) -> Result<Option<Tensor>> {
    let Some(Kept(pos_weight)) = option else { return Ok(None) };
    check::broadcastable(loss, "pos_weight", pos_weight, &input.size())?;
    check::device(loss, "pos_weight", pos_weight, input)?;
    check::in_kind(loss, "pos_weight", pos_weight, kind).map(Some)
}

/// The logit of the less likely class, and its share of the target where that is soft.
///
/// softplus(margin) and sigmoid(margin) are exact however small, and nothing cancels.
pub(super) struct LikelyMargin {
    margin: Tensor,
    share: Option<Tensor>,
}

impl LikelyMargin {
    pub(super) fn new(logits: &Tensor, target: &Tensor, hard: bool) -> Result<Self> {
        let likely = if hard { target.shallow_clone() } else { target.f_round()? };
        let margin = logits.f_mul(&likely.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?)?;
        let share = if hard { None } else { Some(target.f_sub(&likely)?.f_abs()?) };
        Ok(LikelyMargin { margin, share })
    }

    /// Binary cross entropy.
    pub(super) fn bce(
        &self,
        logits: &Tensor,
        target: &Tensor,
        pos_weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        let LikelyMargin { margin, share } = self;
        if pos_weight.is_some() {
            return Ok(logits.f_binary_cross_entropy_with_logits(
                target,
                None,
                pos_weight,
                Reduction::None,
            )?);
        }
        Ok(match share {
            Some(share) => softplus(margin)?.f_sub_(&margin.f_mul(share)?)?,
            None => softplus(margin)?,
        })
    }

    /// `1-p_t`
    pub(super) fn miss(self) -> Result<Tensor> {
        let LikelyMargin { margin, share } = self;
        let miss = margin.f_sigmoid()?;
        drop(margin);
        Ok(match share {
            Some(share) => miss.f_addcmul(&share, &miss.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?)?,
            None => miss,
        })
    }
}

/// `log(1 + exp(x))`.
pub(crate) fn softplus(x: &Tensor) -> Result<Tensor> {
    Ok(match x.f_kind()? {
        // libtorch's own returns x above 20, which only `Float` rounds to.
        Kind::Double => x.f_neg()?.f_log_sigmoid()?.f_neg()?,
        _ => x.f_softplus()?,
    })
}

/// `miss^γ * loss`, where `miss = 1-p_t`.
pub(super) fn modulated(loss: Tensor, miss: Tensor, gamma: f64) -> Result<Tensor> {
    // Below 1 the power has an infinite slope at 0, which `miss` reaches by underflow only.
    let miss = if gamma < 1.0 { miss.f_clamp_min(smallest(&miss)?)? } else { miss };
    let factor = if gamma == 1.0 { miss } else { miss.f_pow_tensor_scalar(gamma)? };
    Ok(factor.f_mul(&loss)?)
}

/// The smallest normal number of a tensor's kind.
pub(crate) fn smallest(tensor: &Tensor) -> Result<f64> {
    Ok(if tensor.f_kind()? == Kind::Double { f64::MIN_POSITIVE } else { f32::MIN_POSITIVE.into() })
}

/// Softmax focal loss of logits with index targets.
///
/// ```text
/// l = -α[y] (1-p[y])^γ log p[y],   p = softmax(input) over dimension 1
/// ```
///
/// Finite with its gradient for every γ >= 0 and every finite logit, without a one-hot target:
/// `1-p[y]` is taken from `log p[y]`, not from a rounded one.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gamma` | 2 | γ; 0 gives cross entropy |
/// | `alpha` | none | one weight per class (C) |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..) with C >= 2
/// - target: integer (N, d1, ..) with values in [0, C)
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights; α is not a count. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target, `alpha` or a weight; `gamma` below 0; a class index out of
/// range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, SoftmaxFocalLoss};
///
/// let logits = Tensor::from_slice(&[0.0f64, 0.0]).view([1, 2]);
/// let focal = SoftmaxFocalLoss::default().alpha(Tensor::from_slice(&[0.5f64, 1.0]));
/// let loss = focal.forward(&logits, &Tensor::from_slice(&[0i64]));
/// assert!((loss.double_value(&[]) - 0.5 * 0.25 * std::f64::consts::LN_2).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// kornia and MONAI give class 0 the weight 1-α and all others α, and their mean divides by C times
/// the number of pixels, ignored ones included.
///
/// # Reference
///
/// Lin et al. 2017, "Focal Loss for Dense Object Detection", in its softmax form. See also
/// [`FocalLoss`].
#[derive(Debug, Clone)]
pub struct SoftmaxFocalLoss {
    gamma: f64,
    alpha: Option<Kept>,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for SoftmaxFocalLoss {
    fn default() -> Self {
        SoftmaxFocalLoss { gamma: 2.0, alpha: None, ignore_index: -100, reduction: Reduction::Mean }
    }
}

impl SoftmaxFocalLoss {
    /// γ, at least 0.
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// One weight per class, of shape (C).
    pub fn alpha(mut self, alpha: impl Into<Option<Tensor>>) -> Self {
        self.alpha = alpha.into().map(Kept);
        self
    }

    /// The index that marks targets to leave out; -100 by default.
    pub fn ignore_index(mut self, ignore_index: i64) -> Self {
        self.ignore_index = ignore_index;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SoftmaxFocalLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "gamma", self.gamma)?;
        let dims = input.size();
        let classes = dims.get(1).copied().unwrap_or(0);
        check::shape_is(NAME, "input", input, classes >= 2, "[N, C, ..] with C at least 2")?;
        let kernel = fused::SoftmaxCrossEntropy {
            formula: SoftmaxFormula::Focal { gamma: self.gamma },
            class_weight: self.alpha.as_ref().map(|kept| &kept.0),
            ignore_index: self.ignore_index,
            reduction: self.reduction,
        };
        kernel.loss(self, [input, target], weight)
    }
}

impl Composed for SoftmaxFocalLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "SoftmaxFocalLoss";
        let logits = check::accumulated(NAME, "input", input)?;
        let classes = Classes::new(NAME, &logits, target, self.ignore_index)?;
        let mut loss = classes.pick(&logits.f_log_softmax(1, None::<Kind>)?)?.f_neg()?;
        if self.gamma != 0.0 {
            let miss = loss.f_neg()?.f_expm1()?.f_neg()?;
            loss = modulated(loss, miss, self.gamma)?;
        }
        if let Some(alpha) = per_class(NAME, "alpha", self.alpha.as_ref(), &logits)? {
            loss = loss.f_mul(&classes.pick_per_class(&alpha)?)?;
        }
        classes.reduce(NAME, loss, weight, self.reduction)
    }
}

weighted_loss!(SoftmaxFocalLoss);

named_loss! {
    SoftmaxFocalLoss: "softmax_focal", Logits => Index, "Lin et al. 2017",
    [gamma, alpha, ignore_index, reduction], aliases ["multiclass_focal"],
}
