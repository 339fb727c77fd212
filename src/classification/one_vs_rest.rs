//! Binary cross entropy of each class against the rest.

use super::{
    binary::smoothed,
    focal::pos_weight,
    target::{Classes, class_count, per_class_sum},
};
use crate::{
    BceWithLogitsLoss, Loss, MeanOver, Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    reduce::{Kept, weights},
};
use tch::Tensor;

/// Binary cross entropy of each class against the rest, with a class index as target if wanted.
///
/// ```text
/// l[c] = BCE(x[c], t[c])
/// index target y:  t[y] = 1 - ε + ε/C,  t[c] = ε/C elsewhere
/// dense target:    t = y, or y (1-ε) + ε/2 with `smooth_dense`
/// threshold θ:     t > θ instead of t
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `label_smoothing` | 0.1 | ε |
/// | `smooth_dense` | false | smooth dense targets too |
/// | `target_threshold` | none | θ: what makes soft targets (Mixup) hard |
/// | `weight` | none | counts, broadcastable to the input: (C) for (N, C) |
/// | `pos_weight` | none | weight of the positive term, broadcastable to the input |
/// | `ignore_index` | -100 | index targets of this value count for nothing |
/// | `sum_classes` | false | `Mean` sums over the classes first |
/// | `mean_over` | `Weights` | what a weighted mean divides by |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C), or dense, of the input's shape:
///   floating-point in [0, 1], integer or bool
/// - element weight: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of the weights (0 where ignored); with
/// `sum_classes` that is times C. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `label_smoothing` outside [0, 1];
/// `target_threshold` that is not finite; a class index out of range (on CUDA libtorch asserts on the
/// device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, OneVsRestBceLoss};
///
/// let logits = Tensor::from_slice(&[1.0f64, -2.0, 0.5]).view([1, 3]);
/// let loss = OneVsRestBceLoss::default().label_smoothing(0.0).sum_classes(true);
/// let softplus = |x: f64| x.exp().ln_1p();
/// let expected = softplus(1.0) + softplus(2.0) + softplus(0.5);
/// let value = loss.forward(&logits, &Tensor::from_slice(&[1i64])).double_value(&[]);
/// assert!((value - expected).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// timm divides a weighted mean by the number of elements: `mean_over(MeanOver::Elements)`; and it has
/// no `ignore_index`.
///
/// # Reference
///
/// Wightman, Touvron and Jégou 2021, "ResNet strikes back: An improved training procedure in timm".
/// Follows timm 1.0.31 `BinaryCrossEntropy`. See also [`BceWithLogitsLoss`].
#[derive(Debug, Clone)]
pub struct OneVsRestBceLoss {
    label_smoothing: f64,
    smooth_dense: bool,
    target_threshold: Option<f64>,
    weight: Option<Kept>,
    pos_weight: Option<Kept>,
    ignore_index: i64,
    sum_classes: bool,
    mean_over: MeanOver,
    reduction: Reduction,
}

impl Default for OneVsRestBceLoss {
    fn default() -> Self {
        OneVsRestBceLoss {
            label_smoothing: 0.1,
            smooth_dense: false,
            target_threshold: None,
            weight: None,
            pos_weight: None,
            ignore_index: -100,
            sum_classes: false,
            mean_over: MeanOver::Weights,
            reduction: Reduction::Mean,
        }
    }
}

impl OneVsRestBceLoss {
    /// ε, in [0, 1]; 0.1 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// Whether dense targets are smoothed too.
    pub fn smooth_dense(mut self, smooth_dense: bool) -> Self {
        self.smooth_dense = smooth_dense;
        self
    }

    /// The value above which a target is 1, and else 0.
    pub fn target_threshold(mut self, target_threshold: impl Into<Option<f64>>) -> Self {
        self.target_threshold = target_threshold.into();
        self
    }

    /// How much each element counts, broadcastable to the input.
    pub fn weight(mut self, weight: impl Into<Option<Tensor>>) -> Self {
        self.weight = weight.into().map(Kept);
        self
    }

    /// The weight of the positive term, broadcastable to the input.
    pub fn pos_weight(mut self, pos_weight: impl Into<Option<Tensor>>) -> Self {
        self.pos_weight = pos_weight.into().map(Kept);
        self
    }

    /// The index that marks targets to leave out; -100 by default.
    pub fn ignore_index(mut self, ignore_index: i64) -> Self {
        self.ignore_index = ignore_index;
        self
    }

    /// Whether `Mean` sums over the classes first.
    pub fn sum_classes(mut self, sum_classes: bool) -> Self {
        self.sum_classes = sum_classes;
        self
    }

    /// What a weighted mean divides by.
    pub fn mean_over(mut self, mean_over: MeanOver) -> Self {
        self.mean_over = mean_over;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "OneVsRestBceLoss";
        check::reduction(NAME, self.reduction)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        if let Some(threshold) = self.target_threshold {
            check::param(NAME, "target_threshold", threshold, threshold.is_finite(), "finite")?;
        }
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        let logits = check::accumulated(NAME, "input", input)?;
        let classes = class_count(NAME, input, self.sum_classes)?;
        let (dense, valid) = match target.size() == input.size() {
            true => {
                check::device(NAME, "target", target, input)?;
                (self.dense(check::in_kind(NAME, "target", target, logits.f_kind()?)?)?, None)
            }
            false => {
                let classes = Classes::new(NAME, &logits, target, self.ignore_index)?;
                (self.of_indices(&logits, &classes)?, Some(classes.valid().f_unsqueeze(1)?))
            }
        };
        let bce = BceWithLogitsLoss::default()
            .pos_weight(pos_weight(NAME, self.pos_weight.as_ref(), input, logits.f_kind()?)?)
            .mean_over(self.mean_over)
            .reduction(self.reduction);
        let own = self.weight.as_ref().map(|kept| &kept.0);
        let loss = match weights(NAME, [own, weight, valid.as_ref()], &logits)? {
            Some(weight) => bce.f_forward_weighted(&logits, &dense, &weight)?,
            None => bce.f_forward(&logits, &dense)?,
        };
        per_class_sum(loss, classes, self.reduction)
    }

    fn dense(&self, target: Tensor) -> Result<Tensor> {
        let smoothing = if self.smooth_dense { self.label_smoothing } else { 0.0 };
        let target = smoothed(target, smoothing)?;
        match self.target_threshold {
            Some(threshold) => Ok(target.f_gt(threshold)?.f_to_kind(target.f_kind()?)?),
            None => Ok(target),
        }
    }

    fn of_indices(&self, logits: &Tensor, classes: &Classes) -> Result<Tensor> {
        let off = self.label_smoothing / logits.size()[1].max(1) as f64;
        let hard = |t: f64| self.target_threshold.map_or(t, |threshold| f64::from(t > threshold));
        let (on, off) = (hard(1.0 - self.label_smoothing + off), hard(off));
        classes.put(&logits.f_full_like(off)?, on)
    }
}

weighted_loss!(OneVsRestBceLoss);

named_loss! {
    OneVsRestBceLoss: "one_vs_rest_bce", BinaryLogits => IndexOrDense, "timm `BinaryCrossEntropy`",
    [label_smoothing, smooth_dense, target_threshold, weight, pos_weight, ignore_index, sum_classes,
        mean_over, reduction],
    aliases ["timm_binary_cross_entropy"],
}
