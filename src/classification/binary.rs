//! Binary cross entropy, of logits and of probabilities.

use super::focal::pos_weight;
use crate::{
    MeanOver, Reduction, Result, check,
    fused::{self, Composed, Scores},
    loss::{named_loss, weighted_loss},
    reduce::{Kept, reduce, weighted_mean, weights},
};
use tch::Tensor;

/// Smooths binary targets: `cp = 1 - ε/2` for a positive, `cn = ε/2` for a negative.
pub(super) fn smoothed(target: Tensor, label_smoothing: f64) -> Result<Tensor> {
    if label_smoothing == 0.0 {
        return Ok(target);
    }
    Ok(target.f_mul_scalar(1.0 - label_smoothing)?.f_add_scalar(label_smoothing / 2.0)?)
}

/// Probabilities limited to [clip, 1-clip].
pub(super) fn clipped(
    loss: &'static str,
    probabilities: Tensor,
    clip: Option<f64>,
) -> Result<Tensor> {
    let Some(clip) = clip else { return Ok(probabilities) };
    check_clip(loss, clip)?;
    Ok(probabilities.f_clamp(clip, 1.0 - clip)?)
}

pub(super) fn check_clip(loss: &'static str, clip: f64) -> Result<()> {
    check::param(loss, "clip", clip, (0.0..0.5).contains(&clip), "in [0, 0.5)")
}

/// Where a target counts, and the target with what does not count replaced by 0.
pub(super) fn without_ignored(
    target: &Tensor,
    ignore_index: Option<i64>,
) -> Result<(Tensor, Option<Tensor>)> {
    let Some(ignore_index) = ignore_index else { return Ok((target.shallow_clone(), None)) };
    let ignored = target.f_eq(ignore_index)?;
    Ok((target.f_masked_fill(&ignored, 0)?, Some(ignored.f_logical_not()?)))
}

/// Binary cross entropy of logits.
///
/// ```text
/// l = w_p t softplus(-x) + (1-t) softplus(x)
/// t = y (1-ε) + ε/2, so that cp = 1 - ε/2 stands for a positive and cn = ε/2 for a negative
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight` | none | counts of the elements, on top of `forward_weighted` |
/// | `pos_weight` | none | w_p, broadcastable to the input: one number per class of the last dimension, say; above 1 it costs false negatives more, below 1 false positives |
/// | `label_smoothing` | 0 | ε |
/// | `ignore_index` | none | targets of this value count for nothing |
/// | `mean_over` | `Weights` | what a weighted mean divides by |
/// | `reduction` | `Mean` | |
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
/// `Mean` divides by the sum of the element weights (1 each where none is given, 0 where ignored);
/// with [`MeanOver::Elements`] by the number of elements. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `label_smoothing` outside [0, 1].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BceWithLogitsLoss, Loss};
///
/// let logits = Tensor::from_slice(&[0.0f64, 1e4]);
/// let target = Tensor::from_slice(&[1.0f64, 1.0]);
/// let loss = BceWithLogitsLoss::default().forward(&logits, &target);
/// assert!((loss.double_value(&[]) - 0.5 * std::f64::consts::LN_2).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch divides a weighted mean by the number of elements: `mean_over(MeanOver::Elements)`. It
/// has no `ignore_index`, and gives NaN for an empty batch.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.BCEWithLogitsLoss`; cp and cn as in YOLOv5. With `pos_weight` it is
/// the weighted cross entropy of TensorFlow, `weighted_cross_entropy_with_logits`. See also [`BceLoss`]
/// for probabilities, [`BalancedBceWithLogitsLoss`](crate::BalancedBceWithLogitsLoss), which finds the
/// weight in the targets, and [`FocalLoss`](crate::FocalLoss).
#[derive(Debug, Clone)]
pub struct BceWithLogitsLoss {
    weight: Option<Kept>,
    pos_weight: Option<Kept>,
    label_smoothing: f64,
    ignore_index: Option<i64>,
    mean_over: MeanOver,
    reduction: Reduction,
}

impl Default for BceWithLogitsLoss {
    fn default() -> Self {
        BceWithLogitsLoss {
            weight: None,
            pos_weight: None,
            label_smoothing: 0.0,
            ignore_index: None,
            mean_over: MeanOver::Weights,
            reduction: Reduction::Mean,
        }
    }
}

impl BceWithLogitsLoss {
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
        const NAME: &str = "BceWithLogitsLoss";
        check::reduction(NAME, self.reduction)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        check::same_shape(NAME, input, target)?;
        let kernel = fused::BinaryCrossEntropy {
            pos_weight: self.pos_weight.as_ref().map(|kept| &kept.0),
            label_smoothing: self.label_smoothing,
            ignore_index: self.ignore_index,
            own_weight: self.weight.as_ref().map(|kept| &kept.0),
            mean_over: self.mean_over,
            ..fused::BinaryCrossEntropy::new(Scores::Logits, self.reduction)
        };
        kernel.loss(self, [input, target], weight)
    }
}

impl Composed for BceWithLogitsLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "BceWithLogitsLoss";
        let logits = check::accumulated(NAME, "input", input)?;
        let kind = logits.f_kind()?;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let target =
            smoothed(check::in_kind(NAME, "target", &target, kind)?, self.label_smoothing)?;
        let pos_weight = pos_weight(NAME, self.pos_weight.as_ref(), input, kind)?;
        let own = self.weight.as_ref().map(|kept| &kept.0);
        let weight = weights(NAME, [own, weight, valid.as_ref()], &logits)?;
        let bce = |weight: Option<&Tensor>, reduction| {
            logits.f_binary_cross_entropy_with_logits(
                &target,
                weight,
                pos_weight.as_ref(),
                reduction,
            )
        };
        match &weight {
            None if logits.numel() > 0 => Ok(bce(None, self.reduction)?),
            // libtorch weighs in place, but gives a weight no gradient.
            Some(weight) if self.reduction != Reduction::None && !weight.requires_grad() => {
                let total = bce(Some(weight), Reduction::Sum)?;
                match self.reduction {
                    Reduction::Mean => {
                        weighted_mean(&total, weight, logits.numel(), self.mean_over)
                    }
                    _ => Ok(total),
                }
            }
            weight => {
                let unreduced = bce(None, Reduction::None)?;
                reduce(unreduced, weight.as_ref(), self.mean_over, self.reduction)
            }
        }
    }
}

weighted_loss!(BceWithLogitsLoss);

named_loss! {
    BceWithLogitsLoss: "bce_with_logits", BinaryLogits => Dense, "torch.nn.BCEWithLogitsLoss",
    [weight, pos_weight, label_smoothing, ignore_index, mean_over, reduction],
    aliases
    ["binary_cross_entropy_with_logits", "weighted_cross_entropy_with_logits", "weighted_bce"],
}

/// Binary cross entropy of probabilities.
///
/// ```text
/// l = -t log p - (1-t) log(1-p),   each log at least -100
/// t = y (1-ε) + ε/2
/// ```
///
/// | option | default | `keras()` | meaning |
/// |---|---|---|---|
/// | `clip` | none | 1e-7 | p is first limited to [clip, 1-clip] |
/// | `label_smoothing` | 0 | 0 | ε |
/// | `weight` | none | none | counts of the elements, on top of `forward_weighted` |
/// | `ignore_index` | none | none | targets of this value count for nothing |
/// | `mean_over` | `Weights` | `Weights` | what a weighted mean divides by |
/// | `reduction` | `Mean` | `Mean` | |
///
/// A probability that `clip` limits gets no gradient.
///
/// # Shapes
///
/// - input: probabilities in [0, 1], of any shape
/// - target: the input's shape; floating-point in [0, 1], integer or bool
/// - element weight: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// As [`BceWithLogitsLoss`].
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `clip` outside [0, 0.5); `label_smoothing` outside
/// [0, 1]; without `clip` a probability outside [0, 1] (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BceLoss, Loss};
///
/// let loss = BceLoss::default().forward(&Tensor::from(0.25f64), &Tensor::from(0.0f64));
/// assert!((loss.double_value(&[]) + 0.75f64.ln()).abs() < 1e-12);
/// assert_eq!(BceLoss::default().forward(&Tensor::from(0.0), &Tensor::from(1.0)).double_value(&[]), 100.0);
/// ```
///
/// # Differences
///
/// As [`BceWithLogitsLoss`], which is to be preferred: logits keep their precision near 0 and 1.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.BCELoss`; `keras()` follows Keras 3 `BinaryCrossentropy`.
#[derive(Debug, Clone)]
pub struct BceLoss {
    clip: Option<f64>,
    label_smoothing: f64,
    weight: Option<Kept>,
    ignore_index: Option<i64>,
    mean_over: MeanOver,
    reduction: Reduction,
}

impl Default for BceLoss {
    fn default() -> Self {
        BceLoss {
            clip: None,
            label_smoothing: 0.0,
            weight: None,
            ignore_index: None,
            mean_over: MeanOver::Weights,
            reduction: Reduction::Mean,
        }
    }
}

impl BceLoss {
    /// Keras' `BinaryCrossentropy`: probabilities limited to [1e-7, 1 - 1e-7].
    pub fn keras() -> Self {
        BceLoss::default().clip(1e-7)
    }

    /// How near to 0 and 1 a probability may come, in [0, 0.5).
    pub fn clip(mut self, clip: impl Into<Option<f64>>) -> Self {
        self.clip = clip.into();
        self
    }

    /// ε, in [0, 1]; 0 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// How much each element counts, broadcastable to the input.
    pub fn weight(mut self, weight: impl Into<Option<Tensor>>) -> Self {
        self.weight = weight.into().map(Kept);
        self
    }

    /// The target value that marks elements to leave out.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
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
        const NAME: &str = "BceLoss";
        check::reduction(NAME, self.reduction)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        let clip = self.clip.unwrap_or(0.0);
        check_clip(NAME, clip)?;
        check::same_shape(NAME, input, target)?;
        let kernel = fused::BinaryCrossEntropy {
            label_smoothing: self.label_smoothing,
            ignore_index: self.ignore_index,
            own_weight: self.weight.as_ref().map(|kept| &kept.0),
            mean_over: self.mean_over,
            ..fused::BinaryCrossEntropy::new(Scores::Probabilities { clip }, self.reduction)
        };
        kernel.loss(self, [input, target], weight)
    }
}

impl Composed for BceLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "BceLoss";
        let input = clipped(NAME, check::accumulated(NAME, "input", input)?, self.clip)?;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let target = check::in_kind(NAME, "target", &target, input.f_kind()?)?;
        let target = smoothed(target, self.label_smoothing)?;
        let own = self.weight.as_ref().map(|kept| &kept.0);
        let weight = weights(NAME, [own, weight, valid.as_ref()], &input)?;
        let bce = |reduction| input.f_binary_cross_entropy(&target, None::<&Tensor>, reduction);
        if weight.is_none() && input.numel() > 0 {
            return Ok(bce(self.reduction)?);
        }
        reduce(bce(Reduction::None)?, weight.as_ref(), self.mean_over, self.reduction)
    }
}

weighted_loss!(BceLoss);

named_loss! {
    BceLoss: "bce", BinaryProbabilities => Dense, "torch.nn.BCELoss",
    [clip, label_smoothing, weight, ignore_index, mean_over, reduction],
    aliases ["binary_cross_entropy"],
    presets { "bce_keras" => Self::keras(), "Keras `BinaryCrossentropy`" },
}
