//! PolyLoss: the first coefficient of the expansion of cross entropy, turned up or down.

use super::{
    binary::{smoothed, without_ignored},
    focal::{LikelyMargin, modulated},
    target::{ClassTarget, class_count, per_class_sum, sum_classes},
};
use crate::{
    MeanOver, Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    reduce::{reduce, weights},
};
use tch::{Kind, Tensor};

/// Poly-1 softmax cross entropy of logits.
///
/// ```text
/// l = -Σ_c t[c] log p[c] + ε₁ (1 - Σ_c t[c] p[c]),   p = softmax(input) over dimension 1
/// t = (1-ε) y + ε/C, where y is one-hot for an index target
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `epsilon` | 2 | ε₁; 0 gives cross entropy, below 0 less confident predictions |
/// | `label_smoothing` | 0 | ε |
/// | `ignore_index` | -100 | index targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (N, C, d1, ..)
/// - target: integer (N, d1, ..) with values in [0, C), or floating-point probabilities of the
///   input's shape
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
/// Shape, kind or device of the target or a weight; `epsilon` that is not finite; `label_smoothing`
/// outside [0, 1]; a class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, PolyCrossEntropyLoss};
///
/// let (logits, target) = (Tensor::from_slice(&[0.0f64, 0.0]).view([1, 2]), Tensor::from_slice(&[0i64]));
/// let loss = PolyCrossEntropyLoss::default().epsilon(1.0).forward(&logits, &target);
/// assert!((loss.double_value(&[]) - (std::f64::consts::LN_2 + 0.5)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// timm smooths index targets only, and computes in `Float` even where the input is `Double`.
///
/// # Reference
///
/// Leng et al. 2022, "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions".
/// Follows timm 1.0.31 `PolyCrossEntropy`. See also [`PolyBceWithLogitsLoss`].
#[derive(Debug, Clone)]
pub struct PolyCrossEntropyLoss {
    epsilon: f64,
    label_smoothing: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for PolyCrossEntropyLoss {
    fn default() -> Self {
        PolyCrossEntropyLoss {
            epsilon: 2.0,
            label_smoothing: 0.0,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl PolyCrossEntropyLoss {
    /// ε₁, of any sign; 2 by default.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
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
        const NAME: &str = "PolyCrossEntropyLoss";
        let PolyCrossEntropyLoss { epsilon, label_smoothing, .. } = *self;
        check::reduction(NAME, self.reduction)?;
        check::param(NAME, "epsilon", epsilon, epsilon.is_finite(), "finite")?;
        check::fraction(NAME, "label_smoothing", label_smoothing)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        let logits = check::accumulated(NAME, "input", input)?;
        let target = ClassTarget::new(NAME, &logits, target, self.ignore_index)?;
        let log_p = logits.f_log_softmax(1, None::<Kind>)?;
        let mut loss = target.expected(&log_p, label_smoothing)?.f_neg()?;
        if epsilon != 0.0 {
            // Of 1 - Σ t p the sharp part, and the 1 - 1/C of the even one.
            let sharp = match &target {
                ClassTarget::Index(classes) => classes.pick(&log_p)?.f_expm1()?.f_neg()?,
                ClassTarget::Dense(target) => {
                    sum_classes(&log_p.f_exp()?.f_mul(target)?)?.f_neg()?.f_add_scalar(1.0)?
                }
            };
            let even = 1.0 - 1.0 / logits.size()[1].max(1) as f64;
            loss = loss
                .f_add(&sharp.f_mul_scalar(epsilon * (1.0 - label_smoothing))?)?
                .f_add_scalar(epsilon * label_smoothing * even)?;
        }
        target.reduce(NAME, loss, weight, None, self.reduction)
    }
}

weighted_loss!(PolyCrossEntropyLoss);

named_loss! {
    PolyCrossEntropyLoss: "poly_cross_entropy", Logits => IndexOrDense, "timm `PolyCrossEntropy`",
    [epsilon, label_smoothing, ignore_index, reduction], aliases ["poly1_cross_entropy", "poly"],
}

/// Poly-1 binary cross entropy of logits, focal if wanted.
///
/// ```text
/// l = α_t ((1-p_t)^γ BCE(x, t) + ε₁ (1-p_t)^(γ+1))
/// p = sigmoid(x),  p_t = p t + (1-p)(1-t),  α_t = α t + (1-α)(1-t),  t = y (1-ε) + ε/2
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `epsilon` | 2 | ε₁; 0 gives BCE, or the focal loss |
/// | `gamma` | 0 | γ |
/// | `alpha` | none | α in [0, 1]; `None` leaves α_t out |
/// | `label_smoothing` | 0 | ε |
/// | `ignore_index` | none | targets of this value count for nothing |
/// | `sum_classes` | false | `Mean` sums over dimension 1 first |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// As [`FocalLoss`](crate::FocalLoss).
///
/// # Reduction
///
/// `Mean` divides by the number of elements, or by the sum of the element weights (0 where ignored);
/// with `sum_classes` that is times the number of classes, dimension 1.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `epsilon` that is not finite; `gamma` below 0;
/// `alpha` or `label_smoothing` outside [0, 1]; `sum_classes` of an input without dimension 1.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, PolyBceWithLogitsLoss};
///
/// let (logit, target) = (Tensor::from(0.0f64), Tensor::from(1.0f64));
/// let loss = PolyBceWithLogitsLoss::default().epsilon(1.0).gamma(1.0).forward(&logit, &target);
/// assert!((loss.double_value(&[]) - (0.5 * std::f64::consts::LN_2 + 0.25)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// timm computes in `Float` even where the input is `Double`, and rounds 1-p_t away for easy examples.
///
/// # Reference
///
/// Leng et al. 2022, "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions".
/// Follows timm 1.0.31 `PolyBinaryCrossEntropy`; `sum_classes` is its `batchmean`. See also
/// [`FocalLoss`](crate::FocalLoss).
#[derive(Debug, Clone)]
pub struct PolyBceWithLogitsLoss {
    epsilon: f64,
    gamma: f64,
    alpha: Option<f64>,
    label_smoothing: f64,
    ignore_index: Option<i64>,
    sum_classes: bool,
    reduction: Reduction,
}

impl Default for PolyBceWithLogitsLoss {
    fn default() -> Self {
        PolyBceWithLogitsLoss {
            epsilon: 2.0,
            gamma: 0.0,
            alpha: None,
            label_smoothing: 0.0,
            ignore_index: None,
            sum_classes: false,
            reduction: Reduction::Mean,
        }
    }
}

impl PolyBceWithLogitsLoss {
    /// ε₁, of any sign; 2 by default.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
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

    /// Whether `Mean` sums over dimension 1 first.
    pub fn sum_classes(mut self, sum_classes: bool) -> Self {
        self.sum_classes = sum_classes;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "PolyBceWithLogitsLoss";
        check::reduction(NAME, self.reduction)?;
        check::param(NAME, "epsilon", self.epsilon, self.epsilon.is_finite(), "finite")?;
        check::at_least_zero(NAME, "gamma", self.gamma)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        if let Some(alpha) = self.alpha {
            check::fraction(NAME, "alpha", alpha)?;
        }
        check::same_shape(NAME, input, target)?;
        let classes = class_count(NAME, input, self.sum_classes)?;
        let logits = check::accumulated(NAME, "input", input)?;
        let hard = !check::is_float(target.f_kind()?) && self.label_smoothing == 0.0;
        let (target, valid) = without_ignored(target, self.ignore_index)?;
        let target = check::in_kind(NAME, "target", &target, logits.f_kind()?)?;
        let target = smoothed(target, self.label_smoothing)?;
        let weight = weights(NAME, [weight, valid.as_ref()], &logits)?;

        let likely = LikelyMargin::new(&logits, &target, hard)?;
        let mut loss = match hard {
            true => likely.bce(&logits, &target, None)?,
            // With fewer buffers than that of a soft margin.
            false => logits.f_binary_cross_entropy_with_logits::<&Tensor>(
                &target,
                None,
                None,
                Reduction::None,
            )?,
        };
        let miss = likely.miss()?;
        let epsilon = Tensor::f_full([0i64; 0], self.epsilon, (miss.f_kind()?, miss.device()))?;
        loss = loss.f_addcmul_(&miss, &epsilon)?;
        loss = match self.gamma {
            0.0 => loss,
            gamma => modulated(loss, miss, gamma)?,
        };
        if let Some(alpha) = self.alpha {
            let alpha_t = target.f_mul_scalar(2.0 * alpha - 1.0)?.f_add_scalar_(1.0 - alpha)?;
            loss = loss.f_mul(&alpha_t)?;
        }
        let loss = reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)?;
        per_class_sum(loss, classes, self.reduction)
    }
}

weighted_loss!(PolyBceWithLogitsLoss);

named_loss! {
    PolyBceWithLogitsLoss: "poly_bce_with_logits", BinaryLogits => Dense,
    "timm `PolyBinaryCrossEntropy`",
    [epsilon, gamma, alpha, label_smoothing, ignore_index, sum_classes, reduction],
    aliases ["poly_binary_cross_entropy", "poly_bce", "poly_focal"],
}
