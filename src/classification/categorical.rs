//! Cross entropy and focal losses of probabilities, as Keras has them.

use super::{
    binary::{check_clip, clipped, smoothed, without_ignored},
    focal::modulated,
    target::{ClassTarget, along_classes, per_class},
};
use crate::{
    MeanOver, Reduction, Result, check,
    fused::{BinaryCrossEntropy, ClassTerms, Composed, NormalisedTerms, Scores},
    loss::{named_loss, weighted_loss},
    reduce::{Kept, reduce, weights},
};
use tch::{Kind, Tensor};

/// Probabilities that sum to 1 over dimension 1, limited to [clip, 1-clip].
struct Normalised<'a> {
    probabilities: &'a Tensor,
    total: Tensor,
    clip: f64,
}

impl<'a> Normalised<'a> {
    fn new(probabilities: &'a Tensor, clip: f64) -> Result<Self> {
        let total = probabilities.f_sum_dim_intlist([1i64].as_slice(), true, None::<Kind>)?;
        // Where all are 0 there is nothing to normalise.
        Ok(Normalised { probabilities, total: total.f_threshold(0.0, 1.0)?, clip })
    }

    /// `Σ_c t[c] factor[c] term(p[c])`, (N, d1, ..), of the target smoothed by the share ε.
    fn expected(
        &self,
        target: &ClassTarget,
        label_smoothing: f64,
        factor: Option<&Tensor>,
        term: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let limited = |p: Tensor| p.f_clamp(self.clip, 1.0 - self.clip);
        match target {
            // Of one class only.
            ClassTarget::Index(classes) if label_smoothing == 0.0 => {
                let own = classes.pick(self.probabilities)?;
                let loss = term(&limited(own.f_div(&self.total.f_squeeze_dim(1)?)?)?)?;
                match factor {
                    Some(factor) => Ok(loss.f_mul(&classes.pick_per_class(factor)?)?),
                    None => Ok(loss),
                }
            }
            target => {
                let terms = term(&limited(self.probabilities.f_div(&self.total)?)?)?;
                let terms = match factor {
                    Some(factor) => terms.f_mul(&along_classes(factor, &terms)?)?,
                    None => terms,
                };
                target.expected(&terms, label_smoothing)
            }
        }
    }
}

/// Cross entropy of class probabilities: what a network that ends in a softmax gives.
///
/// ```text
/// l = -Σ_c w[c] t[c] log q[c],   q = p / Σ_c p[c], limited to [clip, 1-clip]
/// t = (1-ε) y + ε/C, where y is one-hot for an index target
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `clip` | 1e-7 | how near to 0 and 1 a probability may come |
/// | `label_smoothing` | 0 | ε |
/// | `weight` | none | w, one number per class (C) |
/// | `ignore_index` | -100 | index targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// Where `clip` limits a probability there is no gradient. Logits have no such limit:
/// [`CrossEntropyLoss`](crate::CrossEntropyLoss) is to be preferred where they are at hand.
///
/// # Shapes
///
/// - input: probabilities (N, C, d1, ..), at least 0; they need not sum to 1
/// - target: integer (N, d1, ..) with values in [0, C), or floating-point probabilities of the
///   input's shape
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the sum of `w[y]`, times the element weight, over the targets that are not
/// ignored; with probability targets by the number of positions, or the sum of the element weights.
/// Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `clip` outside [0, 0.5); `label_smoothing` outside
/// [0, 1]; a class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CategoricalCrossEntropyLoss, Loss};
///
/// let probabilities = Tensor::from_slice(&[0.05f64, 0.95, 0.0, 0.1, 0.8, 0.1]).view([2, 3]);
/// let target = Tensor::from_slice(&[1i64, 2]);
/// let loss = CategoricalCrossEntropyLoss::default().forward(&probabilities, &target);
/// assert!((loss.double_value(&[]) + (0.95f64.ln() + 0.1f64.ln()) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Keras has the classes in the last dimension (with another `axis` its smoothing still divides by the
/// last), a class for each sort of target, no smoothing of indices, and NaN where all probabilities of
/// a position are 0. Its `ignore_class` is `ignore_index`.
///
/// # Reference
///
/// Follows Keras 3 `CategoricalCrossentropy` and `SparseCategoricalCrossentropy` with
/// `from_logits=False`; with `from_logits=True` they are [`CrossEntropyLoss`](crate::CrossEntropyLoss).
#[derive(Debug, Clone)]
pub struct CategoricalCrossEntropyLoss {
    clip: f64,
    label_smoothing: f64,
    weight: Option<Kept>,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for CategoricalCrossEntropyLoss {
    fn default() -> Self {
        CategoricalCrossEntropyLoss {
            clip: 1e-7,
            label_smoothing: 0.0,
            weight: None,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl CategoricalCrossEntropyLoss {
    /// How near to 0 and 1 a probability may come, in [0, 0.5); 1e-7 by default.
    pub fn clip(mut self, clip: f64) -> Self {
        self.clip = clip;
        self
    }

    /// The share ε of the target that is spread evenly over the classes, in [0, 1]; 0 by default.
    pub fn label_smoothing(mut self, label_smoothing: f64) -> Self {
        self.label_smoothing = label_smoothing;
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
        const NAME: &str = "CategoricalCrossEntropyLoss";
        check::reduction(NAME, self.reduction)?;
        check_clip(NAME, self.clip)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        // The kernel's logarithm is of normal numbers.
        if self.clip < f32::MIN_POSITIVE.into() {
            return self.composed(input, target, weight);
        }
        let kernel = ClassTerms {
            terms: NormalisedTerms { clip: self.clip },
            class_weight: self.weight.as_ref().map(|kept| &kept.0),
            label_smoothing: self.label_smoothing,
            ignore_index: self.ignore_index,
            reduction: self.reduction,
        };
        kernel.loss(self, [input, target], weight)
    }
}

impl Composed for CategoricalCrossEntropyLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "CategoricalCrossEntropyLoss";
        let probabilities = check::accumulated(NAME, "input", input)?;
        let target = ClassTarget::new(NAME, &probabilities, target, self.ignore_index)?;
        let class_weight = per_class(NAME, "weight", self.weight.as_ref(), &probabilities)?;
        let class_weight = class_weight.as_ref();
        let likelihood = Normalised::new(&probabilities, self.clip)?.expected(
            &target,
            self.label_smoothing,
            class_weight,
            |p| Ok(p.f_log()?),
        )?;
        target.reduce(NAME, likelihood.f_neg()?, weight, class_weight, self.reduction)
    }
}

weighted_loss!(CategoricalCrossEntropyLoss);

named_loss! {
    CategoricalCrossEntropyLoss: "categorical_cross_entropy", Probabilities => IndexOrDense,
    "Keras `CategoricalCrossentropy`, `SparseCategoricalCrossentropy`",
    [clip, label_smoothing, weight, ignore_index, reduction],
    aliases ["sparse_categorical_cross_entropy"],
}

/// Focal loss of class probabilities.
///
/// ```text
/// l = -Σ_c α t[c] (1-q[c])^γ log q[c],   q = p / Σ_c p[c], limited to [clip, 1-clip]
/// t = (1-ε) y + ε/C, where y is one-hot for an index target
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gamma` | 2 | γ; 0 gives α times cross entropy |
/// | `alpha` | 0.25 | α, for all classes alike, or one number per class (C) |
/// | `clip` | 1e-7 | how near to 0 and 1 a probability may come |
/// | `label_smoothing` | 0 | ε |
/// | `ignore_index` | -100 | index targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// As [`CategoricalCrossEntropyLoss`].
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights; α is not a count. Where nothing counts it is 0.
///
/// # Errors
///
/// As [`CategoricalCrossEntropyLoss`]; `gamma` below 0; an `alpha` of another shape than () or (C).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CategoricalFocalCrossEntropyLoss, Loss};
///
/// let probabilities = Tensor::from_slice(&[0.1f64, 0.85, 0.05]).view([1, 3]);
/// let focal = CategoricalFocalCrossEntropyLoss::default();
/// let loss = focal.forward(&probabilities, &Tensor::from_slice(&[2i64]));
/// assert!((loss.double_value(&[]) + 0.25 * 0.95f64.powi(2) * 0.05f64.ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Keras takes one-hot targets only, with the classes in the last dimension. Its α is for every class,
/// the background too, and so no more than a scale.
///
/// # Reference
///
/// Lin et al. 2017, "Focal Loss for Dense Object Detection". Follows Keras 3
/// `CategoricalFocalCrossentropy`. See also [`SoftmaxFocalLoss`](crate::SoftmaxFocalLoss), for logits.
#[derive(Debug, Clone)]
pub struct CategoricalFocalCrossEntropyLoss {
    gamma: f64,
    alpha: Kept,
    clip: f64,
    label_smoothing: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for CategoricalFocalCrossEntropyLoss {
    fn default() -> Self {
        CategoricalFocalCrossEntropyLoss {
            gamma: 2.0,
            alpha: Kept(Tensor::from(0.25)),
            clip: 1e-7,
            label_smoothing: 0.0,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl CategoricalFocalCrossEntropyLoss {
    /// γ, at least 0.
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// α: a number, or a tensor of one per class.
    pub fn alpha(mut self, alpha: impl Into<Tensor>) -> Self {
        self.alpha = Kept(alpha.into());
        self
    }

    /// How near to 0 and 1 a probability may come, in [0, 0.5); 1e-7 by default.
    pub fn clip(mut self, clip: f64) -> Self {
        self.clip = clip;
        self
    }

    /// The share ε of the target that is spread evenly over the classes, in [0, 1]; 0 by default.
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
        const NAME: &str = "CategoricalFocalCrossEntropyLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "gamma", self.gamma)?;
        check_clip(NAME, self.clip)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        let probabilities = check::accumulated(NAME, "input", input)?;
        let target = ClassTarget::new(NAME, &probabilities, target, self.ignore_index)?;
        let alpha = match self.alpha.0.dim() {
            0 => None,
            _ => per_class(NAME, "alpha", Some(&self.alpha), &probabilities)?,
        };
        let loss = Normalised::new(&probabilities, self.clip)?.expected(
            &target,
            self.label_smoothing,
            alpha.as_ref(),
            |p| {
                let loss = p.f_log()?.f_neg()?;
                match self.gamma {
                    0.0 => Ok(loss),
                    gamma => modulated(loss, p.f_neg()?.f_add_scalar_(1.0)?, gamma),
                }
            },
        )?;
        let loss = match alpha {
            Some(_) => loss,
            None => loss.f_mul(&self.alpha.0)?,
        };
        target.reduce(NAME, loss, weight, None, self.reduction)
    }
}

weighted_loss!(CategoricalFocalCrossEntropyLoss);

named_loss! {
    CategoricalFocalCrossEntropyLoss: "categorical_focal_cross_entropy", Probabilities => IndexOrDense,
    "Keras `CategoricalFocalCrossentropy`",
    [gamma, alpha, clip, label_smoothing, ignore_index, reduction], aliases ["categorical_focal"],
}

/// Focal loss of probabilities of which each stands for itself.
///
/// ```text
/// l = α_t (1-p_t)^γ BCE(p limited to [clip, 1-clip], t)
/// p_t = p t + (1-p)(1-t),  α_t = α t + (1-α)(1-t),  t = y (1-ε) + ε/2
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `gamma` | 2 | γ; 0 gives BCE |
/// | `alpha` | none | α in [0, 1]; `None` leaves α_t out |
/// | `clip` | 1e-7 | how near to 0 and 1 a probability may come inside BCE |
/// | `label_smoothing` | 0 | ε |
/// | `ignore_index` | none | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// As [`BceLoss`](crate::BceLoss).
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of the element weights (0 where ignored).
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `gamma` below 0; `alpha` or `label_smoothing`
/// outside [0, 1]; `clip` outside [0, 0.5).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BinaryFocalCrossEntropyLoss, Loss};
///
/// let (probability, target) = (Tensor::from(0.8f64), Tensor::from(1.0f64));
/// let plain = BinaryFocalCrossEntropyLoss::default();
/// let expected = -0.2f64.powi(2) * 0.8f64.ln();
/// assert!((plain.forward(&probability, &target).double_value(&[]) - expected).abs() < 1e-12);
/// let balanced = plain.alpha(0.25);
/// assert!((balanced.forward(&probability, &target).double_value(&[]) - 0.25 * expected).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// `alpha(0.25)` is Keras' `apply_class_balancing=True`, whose own α counts for nothing without it.
///
/// # Reference
///
/// Lin et al. 2017, "Focal Loss for Dense Object Detection". Follows Keras 3 `BinaryFocalCrossentropy`
/// with `from_logits=False`. [`FocalLoss`](crate::FocalLoss) is for logits, and to be preferred.
#[derive(Debug, Clone)]
pub struct BinaryFocalCrossEntropyLoss {
    gamma: f64,
    alpha: Option<f64>,
    clip: f64,
    label_smoothing: f64,
    ignore_index: Option<i64>,
    reduction: Reduction,
}

impl Default for BinaryFocalCrossEntropyLoss {
    fn default() -> Self {
        BinaryFocalCrossEntropyLoss {
            gamma: 2.0,
            alpha: None,
            clip: 1e-7,
            label_smoothing: 0.0,
            ignore_index: None,
            reduction: Reduction::Mean,
        }
    }
}

impl BinaryFocalCrossEntropyLoss {
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

    /// How near to 0 and 1 a probability may come inside BCE, in [0, 0.5); 1e-7 by default.
    pub fn clip(mut self, clip: f64) -> Self {
        self.clip = clip;
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
        const NAME: &str = "BinaryFocalCrossEntropyLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "gamma", self.gamma)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        if let Some(alpha) = self.alpha {
            check::fraction(NAME, "alpha", alpha)?;
        }
        check_clip(NAME, self.clip)?;
        check::same_shape(NAME, input, target)?;
        let kernel = BinaryCrossEntropy {
            gamma: self.gamma,
            alpha: self.alpha,
            label_smoothing: self.label_smoothing,
            ignore_index: self.ignore_index,
            ..BinaryCrossEntropy::new(Scores::Probabilities { clip: self.clip }, self.reduction)
        };
        kernel.loss(self, [input, target], weight)
    }
}

impl Composed for BinaryFocalCrossEntropyLoss {
    fn composed(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "BinaryFocalCrossEntropyLoss";
        let p = check::accumulated(NAME, "input", input)?;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let target = check::in_kind(NAME, "target", &target, p.f_kind()?)?;
        let target = smoothed(target, self.label_smoothing)?;
        let weight = weights(NAME, [weight, valid.as_ref()], &p)?;

        let limited = clipped(NAME, p.shallow_clone(), Some(self.clip))?;
        let mut loss = limited.f_binary_cross_entropy(&target, None::<&Tensor>, Reduction::None)?;
        if self.gamma != 0.0 {
            let slope = target.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?;
            loss = modulated(loss, target.f_addcmul(&p, &slope)?, self.gamma)?;
        }
        if let Some(alpha) = self.alpha {
            let alpha_t = target.f_mul_scalar(2.0 * alpha - 1.0)?.f_add_scalar_(1.0 - alpha)?;
            loss = loss.f_mul(&alpha_t)?;
        }
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

weighted_loss!(BinaryFocalCrossEntropyLoss);

named_loss! {
    BinaryFocalCrossEntropyLoss: "binary_focal_cross_entropy", BinaryProbabilities => Dense,
    "Keras `BinaryFocalCrossentropy`", [gamma, alpha, clip, label_smoothing, ignore_index, reduction],
}
