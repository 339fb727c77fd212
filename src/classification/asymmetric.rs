//! Asymmetric losses: focusing that differs between positives and negatives.

use super::{
    binary::{smoothed, without_ignored},
    focal::{modulated, pos_weight, smallest},
    target::{Classes, class_count, per_class_sum, sum_classes},
};
use crate::{
    MeanOver, Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    reduce::{Kept, reduce, weights},
};
use tch::{Kind, Tensor};

/// Asymmetric loss of logits with many labels: easy negatives, which are most, count least.
///
/// ```text
/// l = -(1-p_t)^γ_t (w_p t log p + (1-t) log q),   q = min(1 - p + clip, 1)
/// p = sigmoid(x),  p_t = p t + q (1-t),  γ_t = γ₊ t + γ₋ (1-t),  t = y (1-ε) + ε/2
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gamma_neg` | 4 | γ₋ |
/// | `gamma_pos` | 1 | γ₊ |
/// | `clip` | 0.05 | negatives of a probability up to this have no loss; 0 for none |
/// | `disable_torch_grad_focal_loss` | false | no gradient through (1-p_t)^γ_t |
/// | `label_smoothing` | 0 | ε |
/// | `weight` | none | counts, broadcastable to the input |
/// | `pos_weight` | none | w_p, broadcastable to the input |
/// | `ignore_index` | none | targets of this value count for nothing |
/// | `sum_classes` | true | `Mean` sums over the classes first, timm's `batchmean` |
/// | `mean_over` | `Weights` | what a weighted mean divides by |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: the input's shape; floating-point in [0, 1], integer or bool
/// - element weight: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of the weights (0 where ignored); with
/// `sum_classes` that is times C, so that for (N, C) without weights it divides by N.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a `gamma` below 0; `clip` outside [0, 1);
/// `label_smoothing` outside [0, 1].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{AsymmetricLossMultiLabel, Loss, Reduction};
///
/// let logits = Tensor::from_slice(&[0.0f64, 0.0, -4.0]).view([1, 3]);
/// let target = Tensor::from_slice(&[1i64, 0, 0]).view([1, 3]);
/// let asymmetric = AsymmetricLossMultiLabel::default().reduction(Reduction::None);
/// let loss = Vec::<f64>::try_from(asymmetric.forward(&logits, &target).view(-1)).unwrap();
/// assert!((loss[0] - 0.5 * std::f64::consts::LN_2).abs() < 1e-12);
/// assert!((loss[1] + 0.45f64.powi(4) * 0.55f64.ln()).abs() < 1e-12);
/// assert_eq!(loss[2], 0.0);
/// ```
///
/// # Differences
///
/// timm limits probabilities to at least 1e-8 inside the logarithms, and so has next to no gradient for a
/// positive whose logit is below -18.4; here it has its own. timm computes in `Float` even where the input
/// is `Double`. Before 1.0.31 it summed over the batch too: `reduction(Reduction::Sum)`.
///
/// # Reference
///
/// Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification". Follows timm 1.0.31
/// `AsymmetricLossMultiLabel`.
#[derive(Debug, Clone)]
pub struct AsymmetricLossMultiLabel {
    gamma_neg: f64,
    gamma_pos: f64,
    clip: f64,
    disable_torch_grad_focal_loss: bool,
    label_smoothing: f64,
    weight: Option<Kept>,
    pos_weight: Option<Kept>,
    ignore_index: Option<i64>,
    sum_classes: bool,
    mean_over: MeanOver,
    reduction: Reduction,
}

impl Default for AsymmetricLossMultiLabel {
    fn default() -> Self {
        AsymmetricLossMultiLabel {
            gamma_neg: 4.0,
            gamma_pos: 1.0,
            clip: 0.05,
            disable_torch_grad_focal_loss: false,
            label_smoothing: 0.0,
            weight: None,
            pos_weight: None,
            ignore_index: None,
            sum_classes: true,
            mean_over: MeanOver::Weights,
            reduction: Reduction::Mean,
        }
    }
}

impl AsymmetricLossMultiLabel {
    /// γ₋, at least 0.
    pub fn gamma_neg(mut self, gamma_neg: f64) -> Self {
        self.gamma_neg = gamma_neg;
        self
    }

    /// γ₊, at least 0.
    pub fn gamma_pos(mut self, gamma_pos: f64) -> Self {
        self.gamma_pos = gamma_pos;
        self
    }

    /// The probability up to which a negative has no loss, in [0, 1); 0 for none.
    pub fn clip(mut self, clip: f64) -> Self {
        self.clip = clip;
        self
    }

    /// Whether (1-p_t)^γ_t is a mere weight, without a gradient, as in the authors' code.
    pub fn disable_torch_grad_focal_loss(mut self, disable: bool) -> Self {
        self.disable_torch_grad_focal_loss = disable;
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

    /// The weight of the positive term, broadcastable to the input.
    pub fn pos_weight(mut self, pos_weight: impl Into<Option<Tensor>>) -> Self {
        self.pos_weight = pos_weight.into().map(Kept);
        self
    }

    /// The target value that marks elements to leave out.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// Whether `Mean` sums over dimension 1 first; true by default.
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
        const NAME: &str = "AsymmetricLossMultiLabel";
        let AsymmetricLossMultiLabel { gamma_neg, gamma_pos, clip, .. } = *self;
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "gamma_neg", gamma_neg)?;
        check::at_least_zero(NAME, "gamma_pos", gamma_pos)?;
        check::param(NAME, "clip", clip, (0.0..1.0).contains(&clip), "in [0, 1)")?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        check::same_shape(NAME, input, target)?;
        let classes = class_count(NAME, input, self.sum_classes)?;
        let logits = check::accumulated(NAME, "input", input)?;
        let kind = logits.f_kind()?;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let positive = check::in_kind(NAME, "target", &target, kind)?;
        let positive = smoothed(positive, self.label_smoothing)?;
        let pos_weight = pos_weight(NAME, self.pos_weight.as_ref(), input, kind)?;
        let own = self.weight.as_ref().map(|kept| &kept.0);
        let weight = weights(NAME, [own, weight, valid.as_ref()], &logits)?;

        let negative = positive.f_neg()?.f_add_scalar_(1.0)?;
        let not_p = logits.f_neg()?.f_sigmoid()?;
        let log_p = logits.f_log_sigmoid()?;
        let log_p = match pos_weight {
            Some(pos_weight) => log_p.f_mul(&pos_weight)?,
            None => log_p,
        };
        // 1-q is what clipping leaves of p, exact and at least 0.
        let (log_q, not_q) = match clip {
            0.0 => (logits.f_neg()?.f_log_sigmoid()?, logits.f_sigmoid()?),
            clip => (
                not_p.f_add_scalar(clip)?.f_clamp_max(1.0)?.f_log()?,
                not_p.f_neg()?.f_add_scalar_(1.0 - clip)?.f_relu_()?,
            ),
        };
        let mut loss = log_p.f_mul(&positive)?.f_addcmul(&log_q, &negative)?;
        drop((log_p, log_q));
        if gamma_neg > 0.0 || gamma_pos > 0.0 {
            let miss = not_p.f_mul(&positive)?.f_addcmul(&not_q, &negative)?;
            drop((not_p, not_q, negative));
            // Below 1 a power has an infinite slope at 0.
            let steep = |gamma: f64| gamma > 0.0 && gamma < 1.0;
            let miss = match steep(gamma_neg) || steep(gamma_pos) {
                true => miss.f_clamp_min(smallest(&miss)?)?,
                false => miss,
            };
            let gamma = positive.f_mul_scalar(gamma_pos - gamma_neg)?.f_add_scalar_(gamma_neg)?;
            let focus = miss.f_pow(&gamma)?;
            loss = match self.disable_torch_grad_focal_loss {
                true => loss.f_mul(&focus.f_detach()?)?,
                false => loss.f_mul(&focus)?,
            };
        }
        let loss = reduce(loss.f_neg()?, weight.as_ref(), self.mean_over, self.reduction)?;
        per_class_sum(loss, classes, self.reduction)
    }
}

weighted_loss!(AsymmetricLossMultiLabel);

named_loss! {
    AsymmetricLossMultiLabel: "asymmetric_multi_label", BinaryLogits => Dense,
    "timm `AsymmetricLossMultiLabel`",
    [gamma_neg, gamma_pos, clip, disable_torch_grad_focal_loss, label_smoothing, weight, pos_weight,
        ignore_index, sum_classes, mean_over, reduction],
    aliases ["asl", "asymmetric"],
}

/// Asymmetric loss of logits with one label: the softmax form, with smoothed labels.
///
/// ```text
/// l = -t[y] (1-p[y])^γ₊ log p[y] - Σ_{c≠y} t[c] p[c]^γ₋ log p[c]
/// t[y] = 1 - ε + ε/C,  t[c] = ε/C,  p = softmax(input) over dimension 1
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gamma_pos` | 1 | γ₊ |
/// | `gamma_neg` | 4 | γ₋ |
/// | `label_smoothing` | 0.1 | ε, timm's `eps`; without it only the label's class has a loss |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C)
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a `gamma` below 0; `label_smoothing` outside
/// [0, 1]; a class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{AsymmetricLossSingleLabel, Loss};
///
/// let (logits, target) = (Tensor::from_slice(&[0.0f64, 0.0]).view([1, 2]), Tensor::from_slice(&[0i64]));
/// let loss = AsymmetricLossSingleLabel::default().forward(&logits, &target);
/// let expected = (0.95 * 0.5 + 0.05 * 0.5f64.powi(4)) * std::f64::consts::LN_2;
/// assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// timm makes a one-hot target, and has NaN gradients for 0 < γ < 1 where a probability is 0 or 1.
///
/// # Reference
///
/// Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification". Follows timm 1.0.31
/// `AsymmetricLossSingleLabel`.
#[derive(Debug, Clone)]
pub struct AsymmetricLossSingleLabel {
    gamma_pos: f64,
    gamma_neg: f64,
    label_smoothing: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for AsymmetricLossSingleLabel {
    fn default() -> Self {
        AsymmetricLossSingleLabel {
            gamma_pos: 1.0,
            gamma_neg: 4.0,
            label_smoothing: 0.1,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl AsymmetricLossSingleLabel {
    /// γ₊, at least 0.
    pub fn gamma_pos(mut self, gamma_pos: f64) -> Self {
        self.gamma_pos = gamma_pos;
        self
    }

    /// γ₋, at least 0.
    pub fn gamma_neg(mut self, gamma_neg: f64) -> Self {
        self.gamma_neg = gamma_neg;
        self
    }

    /// ε, in [0, 1]; 0.1 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
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
        const NAME: &str = "AsymmetricLossSingleLabel";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "gamma_pos", self.gamma_pos)?;
        check::at_least_zero(NAME, "gamma_neg", self.gamma_neg)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        let logits = check::accumulated(NAME, "input", input)?;
        let classes = Classes::new(NAME, &logits, target, self.ignore_index)?;

        let log_p = logits.f_log_softmax(1, None::<Kind>)?;
        let own = classes.pick(&log_p)?.f_neg()?;
        let focused = match self.gamma_pos {
            0.0 => own.shallow_clone(),
            gamma => modulated(own.shallow_clone(), own.f_neg()?.f_expm1()?.f_neg()?, gamma)?,
        };
        let even = self.label_smoothing / logits.size()[1].max(1) as f64;
        let mut loss = focused.f_mul_scalar(1.0 - self.label_smoothing + even)?;
        if self.label_smoothing > 0.0 {
            // p^γ log p of every class, less that of the label's.
            let negative = |log: &Tensor| log.f_mul(&log.f_mul_scalar(self.gamma_neg)?.f_exp()?);
            let others =
                sum_classes(&negative(&log_p)?)?.f_add(&negative(&own.f_neg()?)?.f_neg()?)?;
            loss = loss.f_sub(&others.f_mul_scalar(even)?)?;
        }
        classes.reduce(NAME, loss, weight, self.reduction)
    }
}

weighted_loss!(AsymmetricLossSingleLabel);

named_loss! {
    AsymmetricLossSingleLabel: "asymmetric_single_label", Logits => Index,
    "timm `AsymmetricLossSingleLabel`",
    [gamma_pos, gamma_neg, label_smoothing, ignore_index, reduction],
}
