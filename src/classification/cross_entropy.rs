//! Softmax cross entropy, and its label-smoothed form.

use super::target::{per_class, positions};
use crate::{
    LossError, MeanOver, Reduction, Result, check,
    fused::{ClassTerms, Composed, SoftmaxCrossEntropy, SoftmaxFormula, SoftmaxTerms},
    loss::{Entry, Input, Target, named_loss, weighted_loss},
    reduce::{Kept, ratio, reduce, weights},
};
use tch::{Kind, Tensor};

/// Softmax cross entropy of logits, with class indices or class probabilities as target.
///
/// ```text
/// index target:        l = -w[y] (1-ε) log p[y] - ε/C Σ_c w[c] log p[c]
/// probability target:  l = -Σ_c w[c] ((1-ε) y[c] + ε/C) log p[c]
/// p = softmax(input) over dimension 1
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight` | none | w, one number per class (C) |
/// | `ignore_index` | -100 | index targets of this value count for nothing |
/// | `label_smoothing` | 0 | ε |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C), (N, C, H, W), (N, C, D, H, W), in general (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C), or floating-point probabilities of the
///   input's shape
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the sum of `w[y]` (times the element weight) over the targets that are not
/// ignored; with probability targets by the number of positions (or the sum of the element
/// weights). Where nothing counts it is 0 with a zero gradient.
///
/// # Errors
///
/// Shape, kind or device of the target; `label_smoothing` outside [0, 1]; a class index out of
/// range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CrossEntropyLoss, Loss};
///
/// let logits = Tensor::from_slice(&[2.0f64, 0.0, 0.0, 2.0]).view([2, 2]);
/// let target = Tensor::from_slice(&[0i64, 255]);
/// let loss = CrossEntropyLoss::default().ignore_index(255).forward(&logits, &target);
/// assert!((loss.double_value(&[]) - (1.0 + (-2.0f64).exp()).ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch gives NaN when every target is ignored; here the loss is 0. PyTorch's mean over a large
/// `Half` input overflows on the CPU; here it is computed in `Float`.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.CrossEntropyLoss`. Keras' `CategoricalCrossentropy` and
/// `SparseCategoricalCrossentropy` with `from_logits=True` are this loss too; without it they are
/// [`CategoricalCrossEntropyLoss`](crate::CategoricalCrossEntropyLoss). See also [`NllLoss`] for
/// log-probabilities, [`LabelSmoothing`], [`SoftTargetCrossEntropy`] and
/// [`SoftmaxFocalLoss`](crate::SoftmaxFocalLoss).
#[derive(Debug, Clone)]
pub struct CrossEntropyLoss {
    weight: Option<Kept>,
    ignore_index: i64,
    label_smoothing: f64,
    reduction: Reduction,
}

impl Default for CrossEntropyLoss {
    fn default() -> Self {
        CrossEntropyLoss {
            weight: None,
            ignore_index: -100,
            label_smoothing: 0.0,
            reduction: Reduction::Mean,
        }
    }
}

const NAME: &str = "CrossEntropyLoss";

impl CrossEntropyLoss {
    /// One weight per class, of shape (C).
    pub fn weight(mut self, weight: impl Into<Option<Tensor>>) -> Self {
        self.weight = weight.into().map(Kept);
        self
    }

    /// The index that marks targets to leave out; -100 by default.
    pub fn ignore_index(mut self, ignore_index: i64) -> Self {
        self.ignore_index = ignore_index;
        self
    }

    /// The share ε of the target that is spread evenly over the classes, in [0, 1]; 0 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        check::reduction(NAME, self.reduction)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        let dims = input.size();
        check::shape_is(NAME, "input", input, dims.len() >= 2, "[N, C, ..]")?;
        check::device(NAME, "target", target, input)?;
        let CrossEntropyLoss { label_smoothing, ignore_index, reduction, .. } = *self;
        let class_weight = self.weight.as_ref().map(|kept| &kept.0);
        if check::is_float(target.f_kind()?) {
            let terms = SoftmaxTerms;
            ClassTerms { terms, class_weight, label_smoothing, ignore_index, reduction }.loss(
                self,
                [input, target],
                weight,
            )
        } else {
            let formula = SoftmaxFormula::CrossEntropy { label_smoothing };
            SoftmaxCrossEntropy { formula, class_weight, ignore_index, reduction }.loss(
                self,
                [input, target],
                weight,
            )
        }
    }

    fn libtorch(
        &self,
        logits: &Tensor,
        target: &Tensor,
        class_weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        Ok(logits.f_cross_entropy_loss(
            target,
            class_weight,
            reduction,
            self.ignore_index,
            self.label_smoothing,
        )?)
    }

    fn probabilities(
        &self,
        logits: &Tensor,
        target: &Tensor,
        class_weight: Option<&Tensor>,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        check::shape(NAME, "probability target", target, &logits.size())?;
        // libtorch refuses an ignore_index >= 0 here, where it has no meaning.
        let plain = CrossEntropyLoss { ignore_index: -100, ..self.clone() };
        let target = check::in_kind(NAME, "target", target, logits.f_kind()?)?;
        let unreduced = plain.libtorch(logits, &target, class_weight, Reduction::None)?;
        let weight = weights(NAME, [weight], &unreduced)?;
        reduce(unreduced, weight.as_ref(), MeanOver::Weights, self.reduction)
    }

    fn indices(
        &self,
        logits: &Tensor,
        target: &Tensor,
        class_weight: Option<&Tensor>,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        check::shape(NAME, "index target", target, &positions(&logits.size()))?;
        let target = check::index(NAME, "target", target)?;
        let label_smoothing = self.label_smoothing;
        let targets = IndexTargets { target: &target, class_weight, weight, label_smoothing };
        targets.reduce(NAME, self.ignore_index, self.reduction, |reduction| {
            self.libtorch(logits, &target, class_weight, reduction)
        })
    }
}

impl Composed for CrossEntropyLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let logits = check::accumulated(NAME, "input", input)?;
        let class_weight = per_class(NAME, "weight", self.weight.as_ref(), &logits)?;
        if check::is_float(target.f_kind()?) {
            self.probabilities(&logits, target, class_weight.as_ref(), weight)
        } else {
            self.indices(&logits, target, class_weight.as_ref(), weight)
        }
    }
}

/// Index targets, and how much they count.
pub(super) struct IndexTargets<'a> {
    pub(super) target: &'a Tensor,
    pub(super) class_weight: Option<&'a Tensor>,
    pub(super) weight: Option<&'a Tensor>,
    pub(super) label_smoothing: f64,
}

impl IndexTargets<'_> {
    /// Reduces what `losses` gives, which knows class weights and ignored targets already.
    pub(super) fn reduce(
        &self,
        name: &'static str,
        ignore_index: i64,
        reduction: Reduction,
        losses: impl Fn(Reduction) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if let (Some(class_weight), None, Reduction::Mean) =
            (self.class_weight, self.weight, reduction)
            && self.label_smoothing == 0.0
            && check::on_host(class_weight, Tensor::f_min)?.is_some_and(|least| least > 0.0)
        {
            // libtorch sums the weights as it goes; its 0/0 is where every target is ignored.
            let mean = losses(Reduction::Mean)?;
            let counts = self.target.f_ne(ignore_index)?.f_any()?;
            return Ok(mean.f_where_self(&counts, &mean.f_zeros_like()?)?);
        }
        let (total, weight) = match (self.weight, reduction) {
            (None, Reduction::None) => return losses(Reduction::None),
            (None, _) => (losses(Reduction::Sum)?, None),
            (Some(weight), reduction) => {
                let unreduced = losses(Reduction::None)?;
                let weight = weights(name, [Some(weight)], &unreduced)?;
                let weighted =
                    reduce(unreduced, weight.as_ref(), MeanOver::Weights, Reduction::None)?;
                if reduction == Reduction::None {
                    return Ok(weighted);
                }
                (weighted.f_sum(None::<Kind>)?, weight)
            }
        };
        if reduction == Reduction::Sum {
            return Ok(total);
        }
        let counts = match (self.class_weight, weight) {
            (None, None) => return over_count(&total, &self.target.f_ne(ignore_index)?),
            (None, Some(weight)) => self.target.f_ne(ignore_index)?.f_mul(&weight)?,
            (Some(class_weight), None) => of_class(class_weight, self.target, ignore_index)?,
            (Some(class_weight), Some(weight)) => {
                of_class(class_weight, self.target, ignore_index)?.f_mul(&weight)?
            }
        };
        ratio(&total, &counts.f_sum(total.f_kind()?)?)
    }
}

/// `total` by the number of targets that are `valid`, 0 where none is.
pub(crate) fn over_count(total: &Tensor, valid: &Tensor) -> Result<Tensor> {
    Ok(total.f_div(&valid.f_count_nonzero(None)?.f_clamp_min(1)?)?)
}

/// The weight of each target's class, 0 where the target is ignored.
fn of_class(class_weight: &Tensor, target: &Tensor, ignore_index: i64) -> Result<Tensor> {
    // The quickest look-up that knows ignored targets; the table is a view of the weights.
    let table = class_weight.f_neg()?.f_expand([target.numel() as i64, -1], false)?;
    let flat = target.f_reshape([-1])?;
    let found = table.f_nll_loss_nd(&flat, None::<&Tensor>, Reduction::None, ignore_index)?;
    Ok(found.f_view_as(target)?)
}

weighted_loss!(CrossEntropyLoss);

named_loss! {
    CrossEntropyLoss: "cross_entropy", Logits => IndexOrDense, "torch.nn.CrossEntropyLoss",
    [weight, ignore_index, label_smoothing, reduction], aliases
    ["ce", "softmax_cross_entropy", "softmax_cross_entropy_with_logits", "weighted_cross_entropy"],
}

/// Cross entropy with smoothed labels: the share `label_smoothing` of each target is spread evenly.
///
/// ```text
/// l = (1-ε) (-log p[y]) + ε mean_c(-log p[c])
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `label_smoothing` | 0.1 | ε |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// As [`CrossEntropyLoss`] with index targets: the classes are dimension 1.
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored (or the sum of their element
/// weights).
///
/// # Errors
///
/// As [`CrossEntropyLoss`].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{LabelSmoothing, Loss};
///
/// let logits = Tensor::from_slice(&[0.0f64, 0.0, 0.0, 0.0]).view([1, 4]);
/// let loss = LabelSmoothing::default().forward(&logits, &Tensor::from_slice(&[2i64]));
/// assert!((loss.double_value(&[]) - 4f64.ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// timm's class takes the last dimension as classes and has no `ignore_index`.
///
/// # Reference
///
/// Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision". Follows timm
/// `LabelSmoothingCrossEntropy`.
#[derive(Debug, Clone)]
pub struct LabelSmoothing(CrossEntropyLoss);

impl Default for LabelSmoothing {
    fn default() -> Self {
        LabelSmoothing(CrossEntropyLoss::default().label_smoothing(0.1))
    }
}

impl LabelSmoothing {
    /// ε, in [0, 1]; 0.1 by default.
    pub fn label_smoothing(self, label_smoothing: f64) -> Self {
        LabelSmoothing(self.0.label_smoothing(label_smoothing))
    }

    /// The index that marks targets to leave out; -100 by default.
    pub fn ignore_index(self, ignore_index: i64) -> Self {
        LabelSmoothing(self.0.ignore_index(ignore_index))
    }

    /// `Mean` by default.
    pub fn reduction(self, reduction: Reduction) -> Self {
        LabelSmoothing(self.0.reduction(reduction))
    }

    pub(crate) fn entries() -> Vec<Entry> {
        let entry = Entry::new("label_smoothing", |options| {
            let mut loss = Self::default();
            options.read("label_smoothing", &mut loss.0.label_smoothing)?;
            options.read("ignore_index", &mut loss.0.ignore_index)?;
            options.read("reduction", &mut loss.0.reduction)?;
            Ok(Box::new(loss))
        });
        vec![
            entry
                .of_type("LabelSmoothing", module_path!())
                .aliases(&["label_smoothing_cross_entropy"])
                .follows("timm `LabelSmoothingCrossEntropy`")
                .takes(Input::Logits, Target::Index),
        ]
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let kind = target.f_kind()?;
        if check::is_float(kind) {
            let expected = "integer";
            return Err(LossError::Kind {
                loss: "LabelSmoothing",
                what: "target",
                expected,
                got: kind,
            });
        }
        self.0.compute(input, target, weight)
    }
}

weighted_loss!(LabelSmoothing);

/// Cross entropy of logits with soft targets, such as Mixup and CutMix make.
///
/// ```text
/// l = -Σ_c y[c] log p[c],   p = softmax(input) over dimension 1
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: floating-point class probabilities of the input's shape
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of positions N * d1 * .., or by the sum of the element weights.
///
/// # Errors
///
/// Shape, kind or device of the target; class indices, which [`CrossEntropyLoss`] takes.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, SoftTargetCrossEntropy};
///
/// let logits = Tensor::from_slice(&[0.0f64, 3f64.ln()]).view([1, 2]);
/// let target = Tensor::from_slice(&[0.75f64, 0.25]).view([1, 2]);
/// let loss = SoftTargetCrossEntropy::default().forward(&logits, &target);
/// assert!((loss.double_value(&[]) - (0.75 * 4f64.ln() + 0.25 * (4.0f64 / 3.0).ln())).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// timm takes the last dimension for the classes.
///
/// # Reference
///
/// Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization". Follows timm 1.0.31
/// `SoftTargetCrossEntropy`.
#[derive(Debug, Clone)]
pub struct SoftTargetCrossEntropy {
    reduction: Reduction,
}

impl Default for SoftTargetCrossEntropy {
    fn default() -> Self {
        SoftTargetCrossEntropy { reduction: Reduction::Mean }
    }
}

impl SoftTargetCrossEntropy {
    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let kind = target.f_kind()?;
        if !check::is_float(kind) {
            return Err(LossError::Kind {
                loss: "SoftTargetCrossEntropy",
                what: "target",
                expected: "floating-point",
                got: kind,
            });
        }
        CrossEntropyLoss::default().reduction(self.reduction).compute(input, target, weight)
    }
}

weighted_loss!(SoftTargetCrossEntropy);

named_loss! {
    SoftTargetCrossEntropy: "soft_target_cross_entropy", Logits => Dense,
    "timm `SoftTargetCrossEntropy`", [reduction], aliases ["soft_cross_entropy"],
}

/// Negative log-likelihood of log-probabilities.
///
/// ```text
/// l = -w[y] x[y]
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight` | none | w, one number per class (C) |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: log-probabilities (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C)
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// As [`CrossEntropyLoss`] with index targets: `Mean` divides by the sum of `w[y]`, times the element
/// weight, over the targets that are not ignored.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a class index out of range (on CUDA libtorch
/// asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, NllLoss};
///
/// let log_probabilities = Tensor::from_slice(&[0.25f64, 0.75]).log().view([1, 2]);
/// let loss = NllLoss::default().forward(&log_probabilities, &Tensor::from_slice(&[1i64]));
/// assert!((loss.double_value(&[]) + 0.75f64.ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch gives NaN when every target is ignored; here the loss is 0.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.NLLLoss`. See also [`CrossEntropyLoss`], for logits.
#[derive(Debug, Clone)]
pub struct NllLoss {
    weight: Option<Kept>,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for NllLoss {
    fn default() -> Self {
        NllLoss { weight: None, ignore_index: -100, reduction: Reduction::Mean }
    }
}

impl NllLoss {
    /// One weight per class, of shape (C).
    pub fn weight(mut self, weight: impl Into<Option<Tensor>>) -> Self {
        self.weight = weight.into().map(Kept);
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
        const NAME: &str = "NllLoss";
        check::reduction(NAME, self.reduction)?;
        let dims = input.size();
        check::shape_is(NAME, "input", input, dims.len() >= 2, "[N, C, ..]")?;
        check::shape(NAME, "target", target, &positions(&dims))?;
        check::device(NAME, "target", target, input)?;
        let input = check::accumulated(NAME, "input", input)?;
        let target = check::index(NAME, "target", target)?;
        let class_weight = per_class(NAME, "weight", self.weight.as_ref(), &input)?;
        let class_weight = class_weight.as_ref();
        let targets = IndexTargets { target: &target, class_weight, weight, label_smoothing: 0.0 };
        targets.reduce(NAME, self.ignore_index, self.reduction, |reduction| {
            Ok(input.f_nll_loss_nd(&target, class_weight, reduction, self.ignore_index)?)
        })
    }
}

weighted_loss!(NllLoss);

named_loss! {
    NllLoss: "nll", LogProbabilities => Index, "torch.nn.NLLLoss", [weight, ignore_index, reduction],
    aliases ["negative_log_likelihood"],
}
