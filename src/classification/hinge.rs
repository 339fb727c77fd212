//! Hinge losses: no loss for a score that is on the right side by a margin.

use super::{
    binary::without_ignored,
    target::{ClassTarget, Classes, per_class, sum_classes},
};
use crate::{
    MeanOver, Reduction, Result, check,
    error::unwrap,
    fused::{ClassTerms, Composed, MarginTerms},
    loss::{named_loss, option_enum, weighted_loss},
    reduce::{Kept, reduce, weights},
};
use tch::{Kind, Tensor};

/// What stands for the negative and the positive class in a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryLabels {
    /// -1 and 1.
    Signs,
    /// 0 and 1; bool targets too.
    ZeroOne,
}

option_enum!(BinaryLabels { BinaryLabels::Signs => "signs", BinaryLabels::ZeroOne => "zero_one" });

impl BinaryLabels {
    /// The target as -1 and 1, in a kind.
    pub(super) fn signs(self, loss: &'static str, target: &Tensor, kind: Kind) -> Result<Tensor> {
        let target = check::in_kind(loss, "target", target, kind)?;
        Ok(match self {
            BinaryLabels::Signs => target,
            BinaryLabels::ZeroOne => target.f_mul_scalar(2.0)?.f_sub_scalar_(1.0)?,
        })
    }
}

fn check_margin(loss: &'static str, margin: f64) -> Result<()> {
    check::param(loss, "margin", margin, margin.is_finite(), "finite")
}

/// Hinge loss of scores, plain or squared.
///
/// ```text
/// l = max(0, margin - y x)       y = -1 or 1
/// l = max(0, margin - y x)²      `squared`
/// ```
///
/// | option | default | `squared()` | meaning |
/// |---|---|---|---|
/// | `labels` | `Signs` | `Signs` | what the target holds: -1 and 1, or 0 and 1 |
/// | `margin` | 1 | 1 | |
/// | `square` | false | true | |
/// | `ignore_index` | none | none | targets of this value count for nothing |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: scores of any shape
/// - target: the input's shape
/// - element weight: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of the element weights (0 where ignored).
/// Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a `margin` that is not finite.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{HingeLoss, Loss, classification::BinaryLabels};
///
/// let scores = Tensor::from_slice(&[0.5f64, 2.0]);
/// let loss = HingeLoss::default().forward(&scores, &Tensor::from_slice(&[-1i64, 1]));
/// assert_eq!(loss.double_value(&[]), 0.75);
/// let squared = HingeLoss::squared().labels(BinaryLabels::ZeroOne);
/// assert_eq!(squared.forward(&scores, &Tensor::from_slice(&[0i64, 1])).double_value(&[]), 1.125);
/// ```
///
/// # Differences
///
/// Keras maps labels of 0 and 1 to -1 and 1 if no other value is in the tensor, so that one stray value
/// changes what every 0 means. Here `labels` says it.
///
/// # Reference
///
/// Follows Keras 3 `Hinge`; `squared()` follows `SquaredHinge`. See also [`CategoricalHingeLoss`] and
/// [`MultiMarginLoss`](crate::MultiMarginLoss), for classes.
#[derive(Debug, Clone)]
pub struct HingeLoss {
    labels: BinaryLabels,
    margin: f64,
    square: bool,
    ignore_index: Option<i64>,
    reduction: Reduction,
}

impl Default for HingeLoss {
    fn default() -> Self {
        HingeLoss {
            labels: BinaryLabels::Signs,
            margin: 1.0,
            square: false,
            ignore_index: None,
            reduction: Reduction::Mean,
        }
    }
}

impl HingeLoss {
    /// The squared hinge loss.
    pub fn squared() -> Self {
        HingeLoss::default().square(true)
    }

    /// What the target holds; -1 and 1 by default.
    pub fn labels(mut self, labels: BinaryLabels) -> Self {
        self.labels = labels;
        self
    }

    /// 1 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// Whether to square the loss.
    pub fn square(mut self, square: bool) -> Self {
        self.square = square;
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
        const NAME: &str = "HingeLoss";
        check::reduction(NAME, self.reduction)?;
        check_margin(NAME, self.margin)?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let signs = self.labels.signs(NAME, &target, input.f_kind()?)?;
        let weight = weights(NAME, [weight, valid.as_ref()], &input)?;
        let short = input.f_mul(&signs)?.f_neg_()?.f_add_scalar_(self.margin)?.f_relu_()?;
        let loss = if self.square { short.f_square()? } else { short };
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(HingeLoss);

named_loss! {
    HingeLoss: "hinge", Scores => Sign, "Keras `Hinge`",
    [labels, margin, square, ignore_index, reduction],
    presets { "squared_hinge" => Self::squared(), "Keras `SquaredHinge`" },
}

/// Hinge loss of class scores: the right class against the best of the others.
///
/// ```text
/// l = max(0, margin + max_c (1-y[c]) x[c] - Σ_c y[c] x[c])
/// ```
///
/// As the formula has it, the best of the others is at least 0: the right class itself enters with 0.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `margin` | 1 | |
/// | `ignore_index` | -100 | index targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: scores (N, C, d1, ..) with C at least 1
/// - target: integer (N, d1, ..) with values in [0, C), or floating-point, one-hot, of the input's shape
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
/// Shape, kind or device of the target or a weight; a `margin` that is not finite; a class index out of
/// range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CategoricalHingeLoss, Loss};
///
/// let scores = Tensor::from_slice(&[0.5f64, 0.25, -1.0]).view([1, 3]);
/// let loss = CategoricalHingeLoss::default().forward(&scores, &Tensor::from_slice(&[1i64]));
/// assert_eq!(loss.double_value(&[]), 1.0 + 0.5 - 0.25);
/// ```
///
/// # Differences
///
/// Keras takes one-hot targets only, with the classes in the last dimension.
///
/// # Reference
///
/// Follows Keras 3 `CategoricalHinge`. See also [`MultiMarginLoss`](crate::MultiMarginLoss), which
/// counts every class that comes too near.
#[derive(Debug, Clone)]
pub struct CategoricalHingeLoss {
    margin: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for CategoricalHingeLoss {
    fn default() -> Self {
        CategoricalHingeLoss { margin: 1.0, ignore_index: -100, reduction: Reduction::Mean }
    }
}

impl CategoricalHingeLoss {
    /// 1 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
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
        const NAME: &str = "CategoricalHingeLoss";
        check::reduction(NAME, self.reduction)?;
        check_margin(NAME, self.margin)?;
        let ok = input.dim() >= 2 && input.size()[1] >= 1;
        check::shape_is(NAME, "input", input, ok, "[N, C, ..] with C at least 1")?;
        let scores = check::accumulated(NAME, "input", input)?;
        let target = ClassTarget::new(NAME, &scores, target, self.ignore_index)?;
        let others = match &target {
            ClassTarget::Index(classes) => classes.put(&scores, 0.0)?,
            ClassTarget::Dense(target) => scores.f_mul(&target.f_neg()?.f_add_scalar_(1.0)?)?,
        };
        let (best, _) = others.f_max_dim(1, false)?;
        let own = target.expected(&scores, 0.0)?;
        let loss = best.f_sub(&own)?.f_add_scalar_(self.margin)?.f_relu_()?;
        target.reduce(NAME, loss, weight, None, self.reduction)
    }
}

weighted_loss!(CategoricalHingeLoss);

named_loss! {
    CategoricalHingeLoss: "categorical_hinge", Scores => IndexOrDense, "Keras `CategoricalHinge`",
    [margin, ignore_index, reduction],
}

/// Multi-class margin loss of scores: every class that comes within a margin of the right one.
///
/// ```text
/// l = w[y]/C Σ_{c≠y} max(0, margin - x[y] + x[c])^p
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `p` | 1 | 1 or 2 |
/// | `margin` | 1 | |
/// | `weight` | none | w, one number per class (C) |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: scores (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C)
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights; as in PyTorch the class weight is not a count. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `p` that is not 1 or 2; a `margin` that is not
/// finite; a class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MultiMarginLoss};
///
/// let scores = Tensor::from_slice(&[0.1f64, 0.2, 0.4, 0.8]).view([1, 4]);
/// let loss = MultiMarginLoss::default().forward(&scores, &Tensor::from_slice(&[3i64]));
/// assert!((loss.double_value(&[]) - (0.3 + 0.4 + 0.6) / 4.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch takes (N, C) and (C) only, and has no `ignore_index`.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.MultiMarginLoss`.
#[derive(Debug, Clone)]
pub struct MultiMarginLoss {
    p: i64,
    margin: f64,
    weight: Option<Kept>,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for MultiMarginLoss {
    fn default() -> Self {
        MultiMarginLoss {
            p: 1,
            margin: 1.0,
            weight: None,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl MultiMarginLoss {
    /// The power, 1 or 2.
    pub fn p(mut self, p: i64) -> Self {
        self.p = p;
        self
    }

    /// 1 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

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
        const NAME: &str = "MultiMarginLoss";
        check::reduction(NAME, self.reduction)?;
        check::param(NAME, "p", self.p as f64, self.p == 1 || self.p == 2, "1 or 2")?;
        check_margin(NAME, self.margin)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        let kernel = ClassTerms {
            terms: MarginTerms { margin: self.margin, squared: self.p == 2 },
            class_weight: self.weight.as_ref().map(|kept| &kept.0),
            label_smoothing: 0.0,
            ignore_index: self.ignore_index,
            reduction: self.reduction,
        };
        kernel.loss(self, [input, target], weight)
    }
}

impl Composed for MultiMarginLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "MultiMarginLoss";
        let scores = check::accumulated(NAME, "input", input)?;
        let classes = Classes::new(NAME, &scores, target, self.ignore_index)?;
        let class_weight = per_class(NAME, "weight", self.weight.as_ref(), &scores)?;
        let own = scores.f_gather(1, &classes.along_classes()?, false)?;
        let short = scores.f_sub(&own)?.f_add_scalar_(self.margin)?.f_relu_()?;
        let short = if self.p == 2 { short.f_square()? } else { short };
        // The right class is in the sum with its margin, as that is rounded there.
        let margin = match scores.f_kind()? {
            Kind::Double => self.margin,
            _ => (self.margin as f32).into(),
        };
        let itself = margin.max(0.0).powi(self.p as i32);
        let loss = sum_classes(&short)?.f_sub_scalar_(itself)?;
        let loss = loss.f_div_scalar(scores.size()[1].max(1))?;
        let loss = match class_weight {
            Some(class_weight) => loss.f_mul(&classes.pick_per_class(&class_weight)?)?,
            None => loss,
        };
        classes.reduce(NAME, loss, weight, self.reduction)
    }
}

weighted_loss!(MultiMarginLoss);

named_loss! {
    MultiMarginLoss: "multi_margin", Scores => Index, "torch.nn.MultiMarginLoss",
    [p, margin, weight, ignore_index, reduction],
}

/// Loss of distances: a similar pair is pulled together, another pushed beyond a margin.
///
/// ```text
/// l = x                    y = 1
/// l = max(0, margin - x)   y = -1
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `labels` | `Signs` | what the target holds: -1 and 1, or 0 and 1 |
/// | `margin` | 1 | |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// As [`HingeLoss`].
///
/// # Reduction
///
/// As [`HingeLoss`].
///
/// # Errors
///
/// As [`HingeLoss`].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{HingeEmbeddingLoss, Loss};
///
/// let distances = Tensor::from_slice(&[0.25f64, 0.5]);
/// let loss = HingeEmbeddingLoss::default().forward(&distances, &Tensor::from_slice(&[1i64, -1]));
/// assert_eq!(loss.double_value(&[]), (0.25 + 0.5) / 2.0);
/// ```
///
/// # Differences
///
/// PyTorch adds both terms for a label that is neither; here the sign decides. `labels` is ours.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.HingeEmbeddingLoss`.
#[derive(Debug, Clone)]
pub struct HingeEmbeddingLoss {
    labels: BinaryLabels,
    margin: f64,
    reduction: Reduction,
}

impl Default for HingeEmbeddingLoss {
    fn default() -> Self {
        HingeEmbeddingLoss { labels: BinaryLabels::Signs, margin: 1.0, reduction: Reduction::Mean }
    }
}

impl HingeEmbeddingLoss {
    /// What the target holds; -1 and 1 by default.
    pub fn labels(mut self, labels: BinaryLabels) -> Self {
        self.labels = labels;
        self
    }

    /// 1 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "HingeEmbeddingLoss";
        check::reduction(NAME, self.reduction)?;
        check_margin(NAME, self.margin)?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let similar = self.labels.signs(NAME, target, input.f_kind()?)?.f_gt(0.0)?;
        let apart = input.f_neg()?.f_add_scalar_(self.margin)?.f_relu_()?;
        let loss = input.f_where_self(&similar, &apart)?;
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(HingeEmbeddingLoss);

named_loss! {
    HingeEmbeddingLoss: "hinge_embedding", Scores => Sign, "torch.nn.HingeEmbeddingLoss",
    [labels, margin, reduction],
}

/// Loss of two scores of which one should be the larger by a margin.
///
/// ```text
/// l = max(0, margin - y (x1 - x2))    y = 1: x1 should be larger;  y = -1: x2
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `labels` | `Signs` | what the target holds: -1 and 1, or 0 and 1 |
/// | `margin` | 0 | |
/// | `reduction` | `Mean` | |
///
/// It takes two inputs and so is not a [`Loss`](crate::Loss).
///
/// # Shapes
///
/// - inputs: scores of any shape, the same for both
/// - target: the inputs' shape
/// - loss: a scalar, or the inputs' shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements; an empty batch has a loss of 0.
///
/// # Errors
///
/// Shape, kind or device of the second input or the target; a `margin` that is not finite.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::MarginRankingLoss;
///
/// let (better, worse) = (Tensor::from_slice(&[1.0f64, 0.5]), Tensor::from_slice(&[0.0f64, 0.75]));
/// let target = Tensor::from_slice(&[1i64, 1]);
/// let loss = MarginRankingLoss::default().margin(0.5).forward(&better, &worse, &target);
/// assert_eq!(loss.double_value(&[]), (0.0 + 0.75) / 2.0);
/// ```
///
/// # Differences
///
/// `labels` is ours.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.MarginRankingLoss`.
#[derive(Debug, Clone)]
pub struct MarginRankingLoss {
    labels: BinaryLabels,
    margin: f64,
    reduction: Reduction,
}

impl Default for MarginRankingLoss {
    fn default() -> Self {
        MarginRankingLoss { labels: BinaryLabels::Signs, margin: 0.0, reduction: Reduction::Mean }
    }
}

impl MarginRankingLoss {
    /// What the target holds; -1 and 1 by default.
    pub fn labels(mut self, labels: BinaryLabels) -> Self {
        self.labels = labels;
        self
    }

    /// 0 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The loss of two scores and which of them should be larger.
    pub fn f_forward(&self, input1: &Tensor, input2: &Tensor, target: &Tensor) -> Result<Tensor> {
        const NAME: &str = "MarginRankingLoss";
        check::reduction(NAME, self.reduction)?;
        check_margin(NAME, self.margin)?;
        check::shape(NAME, "input2", input2, &input1.size())?;
        check::device(NAME, "input2", input2, input1)?;
        check::same_shape(NAME, input1, target)?;
        let input1 = check::accumulated(NAME, "input1", input1)?;
        let input2 = check::accumulated(NAME, "input2", input2)?;
        let apart = input1.f_sub(&input2)?;
        let signs = self.labels.signs(NAME, target, apart.f_kind()?)?;
        let loss = apart.f_mul(&signs)?.f_neg_()?.f_add_scalar_(self.margin)?.f_relu_()?;
        reduce(loss, None, MeanOver::Weights, self.reduction)
    }

    /// [`MarginRankingLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, input1: &Tensor, input2: &Tensor, target: &Tensor) -> Tensor {
        unwrap(self.f_forward(input1, input2, target))
    }
}

named_loss! {
    apart MarginRankingLoss: "margin_ranking", "torch.nn.MarginRankingLoss", Self::default(),
    [labels, margin, reduction],
}
