//! Soft margins, and margins of many labels.

use super::{
    binary::without_ignored,
    focal::softplus,
    hinge::BinaryLabels,
    target::{along_classes, per_class, sum_classes},
};
use crate::{
    MeanOver, Reduction, Result, check,
    fused::{self, Composed},
    loss::{named_loss, weighted_loss},
    reduce::{Kept, reduce, weights},
};
use tch::{Kind, Tensor, no_grad};

/// Logistic loss of scores and signs.
///
/// ```text
/// l = log(1 + exp(-y x)),   y = -1 or 1
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `labels` | `Signs` | what the target holds: -1 and 1, or 0 and 1 |
/// | `ignore_index` | none | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// As [`HingeLoss`](crate::HingeLoss).
///
/// # Reduction
///
/// As [`HingeLoss`](crate::HingeLoss).
///
/// # Errors
///
/// As [`HingeLoss`](crate::HingeLoss).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, SoftMarginLoss};
///
/// let scores = Tensor::from_slice(&[0.0f64, -1e4]);
/// let loss = SoftMarginLoss::default().forward(&scores, &Tensor::from_slice(&[1i64, 1]));
/// assert!((loss.double_value(&[]) - (std::f64::consts::LN_2 + 1e4) / 2.0).abs() < 1e-9);
/// ```
///
/// # Differences
///
/// PyTorch overflows where y x is below -88 in `Float` (-709 in `Double`): the loss is infinite and the
/// gradient NaN. `labels` is ours; with `ZeroOne` the loss is
/// [`BceWithLogitsLoss`](crate::BceWithLogitsLoss) of hard targets.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.SoftMarginLoss`.
#[derive(Debug, Clone)]
pub struct SoftMarginLoss {
    labels: BinaryLabels,
    ignore_index: Option<i64>,
    reduction: Reduction,
}

impl Default for SoftMarginLoss {
    fn default() -> Self {
        SoftMarginLoss {
            labels: BinaryLabels::Signs,
            ignore_index: None,
            reduction: Reduction::Mean,
        }
    }
}

impl SoftMarginLoss {
    /// What the target holds; -1 and 1 by default.
    pub fn labels(mut self, labels: BinaryLabels) -> Self {
        self.labels = labels;
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
        const NAME: &str = "SoftMarginLoss";
        check::reduction(NAME, self.reduction)?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let signs = self.labels.signs(NAME, &target, input.f_kind()?)?;
        let weight = weights(NAME, [weight, valid.as_ref()], &input)?;
        let loss = softplus(&input.f_mul(&signs)?.f_neg_()?)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(SoftMarginLoss);

named_loss! {
    SoftMarginLoss: "soft_margin", Scores => Sign, "torch.nn.SoftMarginLoss",
    [labels, ignore_index, reduction],
}

/// Margin loss of many labels: every wrong class against every right one.
///
/// ```text
/// l = 1/C Σ_{j in labels} Σ_{c not in labels} max(0, 1 - (x[j] - x[c]))
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: scores (N, C)
/// - target: integer (N, C): in each row the labels, then -1, then anything
/// - element weight: broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by N, or by the sum of the element weights. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a label out of range (on CUDA libtorch asserts on the
/// device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MultiLabelMarginLoss};
///
/// let scores = Tensor::from_slice(&[0.1f64, 0.2, 0.4, 0.8]).view([1, 4]);
/// let labels = Tensor::from_slice(&[3i64, 0, -1, 1]).view([1, 4]);
/// let loss = MultiLabelMarginLoss::default().forward(&scores, &labels);
/// // classes 1 and 2 against 3, then against 0
/// let expected = ((0.4 + 0.6) + (1.1 + 1.3)) / 4.0;
/// assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch takes (C) too.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.MultiLabelMarginLoss`. See also [`MultiLabelSoftMarginLoss`], whose
/// target is multi-hot.
#[derive(Debug, Clone)]
pub struct MultiLabelMarginLoss {
    reduction: Reduction,
}

impl Default for MultiLabelMarginLoss {
    fn default() -> Self {
        MultiLabelMarginLoss { reduction: Reduction::Mean }
    }
}

impl MultiLabelMarginLoss {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "MultiLabelMarginLoss";
        check::reduction(NAME, self.reduction)?;
        check::shape_is(NAME, "input", input, input.dim() == 2, "[N, C]")?;
        check::same_shape(NAME, input, target)?;
        fused::label_margins(self, [input, target], weight, self.reduction)
    }
}

impl Composed for MultiLabelMarginLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "MultiLabelMarginLoss";
        let scores = check::accumulated(NAME, "input", input)?;
        let target = check::index(NAME, "target", target)?;
        let loss = match scores.numel() {
            0 => sum_classes(&scores)?,
            _ => label_margins(&scores, &target)?,
        };
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

/// libtorch's losses of (N, C) scores, which it can differentiate once only. They are piecewise linear:
/// with their slope as a constant they can be differentiated as often as wanted.
fn label_margins(scores: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let leaf = scores.f_detach()?.f_set_requires_grad(scores.requires_grad())?;
    let loss = leaf.f_multilabel_margin_loss(labels, Reduction::None)?;
    if !loss.requires_grad() {
        return Ok(loss);
    }
    let slopes = Tensor::f_run_backward(&[loss.f_sum(None::<Kind>)?], &[leaf], false, false)?;
    let mut line = sum_classes(&scores.f_mul(&slopes[0])?)?;
    no_grad(|| line.f_copy_(&loss))?;
    Ok(line)
}

weighted_loss!(MultiLabelMarginLoss);

named_loss! {
    MultiLabelMarginLoss: "multi_label_margin", Scores => Dense, "torch.nn.MultiLabelMarginLoss",
    [reduction],
}

/// Binary cross entropy of many labels, averaged over the classes of each position.
///
/// ```text
/// l = 1/C Σ_c w[c] (y[c] softplus(-x[c]) + (1-y[c]) softplus(x[c]))
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight` | none | w, one number per class (C) |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: the input's shape; floating-point in [0, 1], integer or bool
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of positions, or by the sum of the element weights; as in PyTorch the
/// class weight is not a count. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MultiLabelSoftMarginLoss};
///
/// let logits = Tensor::from_slice(&[0.0f64, 0.0]).view([1, 2]);
/// let target = Tensor::from_slice(&[1i64, 0]).view([1, 2]);
/// let loss = MultiLabelSoftMarginLoss::default().weight(Tensor::from_slice(&[1.0f64, 3.0]));
/// assert!((loss.forward(&logits, &target).double_value(&[]) - 2.0 * std::f64::consts::LN_2).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch takes the last dimension for the classes.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.MultiLabelSoftMarginLoss`. See also
/// [`BceWithLogitsLoss`](crate::BceWithLogitsLoss), to which it is equal without weights.
#[derive(Debug, Clone)]
pub struct MultiLabelSoftMarginLoss {
    weight: Option<Kept>,
    reduction: Reduction,
}

impl Default for MultiLabelSoftMarginLoss {
    fn default() -> Self {
        MultiLabelSoftMarginLoss { weight: None, reduction: Reduction::Mean }
    }
}

impl MultiLabelSoftMarginLoss {
    /// One weight per class, of shape (C).
    pub fn weight(mut self, weight: impl Into<Option<Tensor>>) -> Self {
        self.weight = weight.into().map(Kept);
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "MultiLabelSoftMarginLoss";
        check::reduction(NAME, self.reduction)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        check::same_shape(NAME, input, target)?;
        let logits = check::accumulated(NAME, "input", input)?;
        let target = check::in_kind(NAME, "target", target, logits.f_kind()?)?;
        let class_weight = match per_class(NAME, "weight", self.weight.as_ref(), &logits)? {
            Some(class_weight) => Some(along_classes(&class_weight, &logits)?),
            None => None,
        };
        let bce = logits.f_binary_cross_entropy_with_logits(
            &target,
            class_weight.as_ref(),
            None::<&Tensor>,
            Reduction::None,
        )?;
        let loss = sum_classes(&bce)?.f_div_scalar(logits.size()[1].max(1))?;
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(MultiLabelSoftMarginLoss);

named_loss! {
    MultiLabelSoftMarginLoss: "multi_label_soft_margin", BinaryLogits => Dense,
    "torch.nn.MultiLabelSoftMarginLoss", [weight, reduction],
}
