//! The Unified Focal loss and its two halves.

use super::{
    log_pixels::{LogPixels, sums},
    region::{Aggregate, Region, Smoothing, power},
    statistics::{IgnoreIndex, Nonlinearity, Target},
};
use crate::{
    MeanOver, Reduction, Result, check,
    loss::{named_loss, weighted_loss},
    reduce::reduce,
};
use tch::{Kind, Tensor};

/// Setters that the losses of this file share.
macro_rules! setters {
    () => {
        /// What turns the input into probabilities; `Softmax` by default.
        pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
            self.apply_nonlin = apply_nonlin;
            self
        }

        /// δ, in [0, 1]: the weight of the foreground.
        pub fn delta(mut self, delta: f64) -> Self {
            self.delta = delta;
            self
        }

        /// γ.
        pub fn gamma(mut self, gamma: f64) -> Self {
            self.gamma = gamma;
            self
        }

        /// Whether foreground and background have the same exponent; false by default.
        pub fn symmetric(mut self, symmetric: bool) -> Self {
            self.symmetric = symmetric;
            self
        }

        /// The target values that mark what to leave out: `255`, or `[0, 255]`.
        pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
            self.ignore_index = ignore_index.into();
            self
        }
    };
    (over_classes) => {
        /// Whether cross entropy is divided by the number of classes too; false by default.
        pub fn over_classes(mut self, over_classes: bool) -> Self {
            self.over_classes = over_classes;
            self
        }
    };
    (aggregate) => {
        /// Whether each image has its own scores; `PerImage` by default.
        pub fn aggregate(mut self, aggregate: Aggregate) -> Self {
            self.aggregate = aggregate;
            self
        }
    };
}

/// The loss of each pixel, (N, 1, P).
fn focal(pixels: &LogPixels, delta: f64, gamma: f64, symmetric: bool) -> Result<Tensor> {
    let (logarithms, probabilities) = (&pixels.logarithms, &pixels.pixels.probabilities);
    match &pixels.pixels.target {
        Target::Index(class) => {
            let entropy = logarithms.f_gather(1, class, false)?.f_neg()?;
            let background = class.f_eq(0)?.f_to_kind(entropy.f_kind()?)?;
            let share = background.f_mul_scalar(1.0 - 2.0 * delta)?.f_add_scalar_(delta)?;
            if gamma == 0.0 {
                return Ok(entropy.f_mul(&share)?);
            }
            let suppressed = power(&entropy.f_neg()?.f_expm1()?.f_neg()?, gamma)?;
            let factor = match symmetric {
                true => suppressed,
                false => Tensor::f_ones_like(&share)?.f_where_self(&class.f_ne(0)?, &suppressed)?,
            };
            Ok(entropy.f_mul(&share.f_mul(&factor)?)?)
        }
        Target::Dense(dense) => {
            let entropy = dense.f_mul(logarithms)?.f_neg()?;
            let suppressed = |first: i64, count: i64| {
                let miss = probabilities.f_narrow(1, first, count)?.f_rsub_scalar(1.0)?;
                entropy.f_narrow(1, first, count)?.f_mul(&power(&miss, gamma)?).map_err(Into::into)
            };
            let others = pixels.pixels.grid.classes - 1;
            let foreground: Result<Tensor> = match symmetric {
                true => suppressed(1, others),
                false => Ok(entropy.f_narrow(1, 1, others)?),
            };
            let foreground = foreground?.f_sum_dim_intlist(1, true, None::<Kind>)?;
            let background = suppressed(0, 1)?.f_mul_scalar(1.0 - delta)?;
            Ok(background.f_add(&foreground.f_mul_scalar(delta)?)?)
        }
    }
}

/// The loss of Tversky indices (rows, C).
fn tversky(index: &Tensor, gamma: f64, symmetric: bool) -> Result<Tensor> {
    let loss = index.f_rsub_scalar(1.0)?;
    let raised = power(&loss, 1.0 - gamma)?;
    if symmetric || gamma == 0.0 {
        return Ok(raised);
    }
    let others = loss.size()[1] - 1;
    Ok(Tensor::f_cat(&[loss.f_narrow(1, 0, 1)?, raised.f_narrow(1, 1, others)?], 1)?)
}

/// What keeps a Tversky index in bounds.
fn smoothing() -> Smoothing {
    Smoothing::new(1e-7, 1e-7, 1e-30)
}

/// Asymmetric focal loss of a segmentation: easy background counts less, foreground all.
///
/// ```text
/// l = -δ log p[y]                      for a pixel of the foreground, y >= 1
/// l = -(1-δ) (1-p[0])^γ log p[0]       for one of the background
/// ```
///
/// A soft target has the sum of both, each class times its share. With `symmetric` the foreground
/// has the factor `(1-p[y])^γ` too.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `apply_nonlin` | `Softmax` | what makes probabilities: `Softmax`, `Sigmoid` for one map, or `None` where the input holds them |
/// | `delta` | 0.7 | δ, in [0, 1] |
/// | `gamma` | 2 | γ, at least 0 |
/// | `symmetric` | false | the same exponent for all classes |
/// | `over_classes` | false | divide by the number of classes too |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
/// | `reduction` | `Mean` | |
///
/// `monai()` sets `None` and `over_classes`, which gives the numbers of MONAI.
#[doc = include_str!("doc/two_classes.md")]
/// - loss: a scalar, or (N, d1, ..) without reduction. `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of pixels that count, or by the sum of their weights. Where nothing
/// counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of a tensor; an option out of its range; `Softmax` with one class,
/// `Sigmoid` with several; a class index out of range (on CUDA libtorch asserts on the device
/// instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{AsymmetricFocalLoss, Loss, Reduction};
///
/// // One image of two pixels and two classes, all as likely.
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let loss = AsymmetricFocalLoss::default().reduction(Reduction::None).forward(&logits, &target);
/// let ln2 = std::f64::consts::LN_2;
/// assert!((loss.double_value(&[0, 0]) - 0.3 * 0.25 * ln2).abs() < 1e-12);
/// assert!((loss.double_value(&[0, 1]) - 0.7 * ln2).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// MONAI takes probabilities of two classes, and its mean divides by two as well: `monai()`. It
/// holds probabilities in [1e-7, 1-1e-7], as is done here for those given as such; logits need no
/// bound.
///
/// # Reference
///
/// Yeung et al. 2022, "Unified Focal loss: Generalising Dice and cross entropy-based losses to
/// handle class imbalanced medical image segmentation". `monai()` follows MONAI 1.6
/// `AsymmetricFocalLoss`. See also [`UnifiedFocalLoss`].
#[derive(Debug, Clone)]
pub struct AsymmetricFocalLoss {
    apply_nonlin: Nonlinearity,
    delta: f64,
    gamma: f64,
    symmetric: bool,
    over_classes: bool,
    ignore_index: IgnoreIndex,
    reduction: Reduction,
}

impl Default for AsymmetricFocalLoss {
    fn default() -> Self {
        AsymmetricFocalLoss {
            apply_nonlin: Nonlinearity::Softmax,
            delta: 0.7,
            gamma: 2.0,
            symmetric: false,
            over_classes: false,
            ignore_index: IgnoreIndex::default(),
            reduction: Reduction::Mean,
        }
    }
}

impl AsymmetricFocalLoss {
    /// MONAI's, of probabilities.
    pub fn monai() -> Self {
        AsymmetricFocalLoss::default().apply_nonlin(Nonlinearity::None).over_classes(true)
    }

    setters!();
    setters!(over_classes);

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "AsymmetricFocalLoss";
        check::reduction(NAME, self.reduction)?;
        check::fraction(NAME, "delta", self.delta)?;
        check::at_least_zero(NAME, "gamma", self.gamma)?;
        let ignored = &self.ignore_index;
        let pixels = LogPixels::of(NAME, input, self.apply_nonlin, target, weight, ignored)?;
        let mut loss = focal(&pixels, self.delta, self.gamma, self.symmetric)?;
        if self.over_classes {
            loss = loss.f_div_scalar(pixels.pixels.grid.classes as f64)?;
        }
        let mask = pixels.pixels.mask.as_ref();
        let loss = reduce(loss, mask, MeanOver::Weights, self.reduction)?;
        match self.reduction {
            Reduction::None => Ok(loss.f_view(pixels.positions.as_slice())?),
            _ => Ok(loss),
        }
    }
}

weighted_loss!(AsymmetricFocalLoss);

named_loss! {
    AsymmetricFocalLoss: "asymmetric_focal", Logits => IndexOrDense, "Yeung et al. 2022",
    [apply_nonlin, delta, gamma, symmetric, over_classes, ignore_index, reduction],
    presets {
        "asymmetric_focal_monai" (Probabilities => IndexOrDense) => Self::monai(),
            "MONAI `AsymmetricFocalLoss`";
    },
}

/// Asymmetric focal Tversky loss of a segmentation: poor foreground counts more.
///
/// ```text
/// l = 1 - T_0 for the background,  (1 - T_c)^(1-γ) for the foreground, c >= 1
/// T = (tp + 1e-7) / (tp + δ fn + (1-δ) fp + 1e-7)
/// ```
///
/// Below `1 - T` of 1e-6 the power gives way to a line, whose slope at an exact match is finite.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `apply_nonlin` | `Softmax` | what makes probabilities: `Softmax`, `Sigmoid` for one map, or `None` where the input holds them |
/// | `delta` | 0.7 | δ, in [0, 1]: the price of a false negative, that of a false positive is 1-δ |
/// | `gamma` | 0.75 | γ, in [0, 1) |
/// | `symmetric` | false | the power for all classes |
/// | `aggregate` | `PerImage` | `Batch`: summed over the batch too |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
/// | `reduction` | `Mean` | |
#[doc = include_str!("doc/two_classes.md")]
/// - loss: a scalar; without reduction (N, C), or (C) for `Batch`. `Half` and `BFloat16` are
///   computed and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of classes, then by the number of images in which a pixel counts.
/// Where nothing counts it is 0.
///
/// # Errors
///
/// As [`AsymmetricFocalLoss`].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{AsymmetricFocalTverskyLoss, Loss, Reduction};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // tp = fp = fn = 0.5 for both classes: T = 0.5.
/// let loss = AsymmetricFocalTverskyLoss::default().reduction(Reduction::None);
/// let loss = loss.forward(&logits, &target);
/// assert!((loss.double_value(&[0, 0]) - 0.5).abs() < 1e-6);
/// assert!((loss.double_value(&[0, 1]) - 0.5f64.powf(0.25)).abs() < 1e-6);
/// ```
///
/// # Differences
///
/// MONAI takes probabilities of two classes (`apply_nonlin(Nonlinearity::None)`), and its power has
/// an infinite slope at an exact match.
///
/// # Reference
///
/// Yeung et al. 2022, "Unified Focal loss". Follows MONAI 1.6 `AsymmetricFocalTverskyLoss`. See
/// also [`FocalTverskyLoss`](crate::FocalTverskyLoss), where the power is of all classes.
#[derive(Debug, Clone)]
pub struct AsymmetricFocalTverskyLoss {
    apply_nonlin: Nonlinearity,
    delta: f64,
    gamma: f64,
    symmetric: bool,
    aggregate: Aggregate,
    ignore_index: IgnoreIndex,
    reduction: Reduction,
}

impl Default for AsymmetricFocalTverskyLoss {
    fn default() -> Self {
        AsymmetricFocalTverskyLoss {
            apply_nonlin: Nonlinearity::Softmax,
            delta: 0.7,
            gamma: 0.75,
            symmetric: false,
            aggregate: Aggregate::PerImage,
            ignore_index: IgnoreIndex::default(),
            reduction: Reduction::Mean,
        }
    }
}

impl AsymmetricFocalTverskyLoss {
    setters!();
    setters!(aggregate);

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "AsymmetricFocalTverskyLoss";
        check::fraction(NAME, "delta", self.delta)?;
        check_power(NAME, self.gamma)?;
        let region =
            Region { aggregate: self.aggregate, reduction: self.reduction, ..Region::default() };
        let ignored = &self.ignore_index;
        let pixels = LogPixels::of(NAME, input, self.apply_nonlin, target, weight, ignored)?;
        let sums = sums(NAME, &region, &pixels)?;
        let index = smoothing().similarity(&sums.overlap, [1.0, 1.0 - self.delta, self.delta])?;
        sums.reduce(index, |index| tversky(&index, self.gamma, self.symmetric))
    }
}

weighted_loss!(AsymmetricFocalTverskyLoss);

named_loss! {
    AsymmetricFocalTverskyLoss: "asymmetric_focal_tversky", Logits => IndexOrDense,
    "MONAI `AsymmetricFocalTverskyLoss`",
    [apply_nonlin, delta, gamma, symmetric, aggregate, ignore_index, reduction],
}

/// γ where 1-γ is the exponent.
fn check_power(loss: &'static str, gamma: f64) -> Result<()> {
    check::param(loss, "gamma", gamma, (0.0..1.0).contains(&gamma), "in [0, 1)")
}

/// Unified Focal loss of a segmentation: focal cross entropy and focal Tversky with shared γ and δ.
///
/// ```text
/// l = λ F + (1-λ) T
/// F = mean over the pixels of AsymmetricFocalLoss, T = mean of AsymmetricFocalTverskyLoss
/// ```
///
/// | option | default | `monai()` | meaning |
/// |---|---|---|---|
/// | `weight` | 0.5 | 0.5 | λ, in [0, 1] |
/// | `delta` | 0.6 | 0.7 | δ, in [0, 1] |
/// | `gamma` | 0.5 | 0.5 | γ, in [0, 1) |
/// | `symmetric` | false | false | the same exponents for all classes |
/// | `apply_nonlin` | `Softmax` | `None` | what makes probabilities: `Softmax`, `Sigmoid` for one map, or `None` where the input holds them |
/// | `aggregate` | `PerImage` | `PerImage` | `Batch`: T is of sums over the batch |
/// | `over_classes` | false | true | divide F by the number of classes too |
/// | `ignore_index` | none | none | targets of this value, or of these, count for nothing |
///
/// With `symmetric`, γ 0 and δ 0.5 F is half of cross entropy, and T the Dice loss.
#[doc = include_str!("doc/two_classes.md")]
/// - loss: a scalar. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// F divides by the number of pixels that count, or by the sum of their weights; T by the number
/// of classes, then by that of images in which a pixel counts. Where nothing counts it is 0.
///
/// # Errors
///
/// As [`AsymmetricFocalLoss`].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, UnifiedFocalLoss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let loss = UnifiedFocalLoss::default().forward(&logits, &target).double_value(&[]);
/// let half = 0.5f64.sqrt();
/// let focal = (0.4 * half + 0.6) * std::f64::consts::LN_2 / 2.0;
/// let tversky = (0.5 + half) / 2.0;
/// assert!((loss - (focal + tversky) / 2.0).abs() < 1e-6);
/// ```
///
/// # Differences
///
/// MONAI takes probabilities of two classes and halves F: `monai()`. Its `num_classes` other than 2
/// have no effect on either part; here classes 1 and above are the foreground.
///
/// # Reference
///
/// Yeung et al. 2022, "Unified Focal loss: Generalising Dice and cross entropy-based losses to
/// handle class imbalanced medical image segmentation". `monai()` follows MONAI 1.6
/// `AsymmetricUnifiedFocalLoss`.
#[derive(Debug, Clone)]
pub struct UnifiedFocalLoss {
    weight: f64,
    apply_nonlin: Nonlinearity,
    delta: f64,
    gamma: f64,
    symmetric: bool,
    over_classes: bool,
    aggregate: Aggregate,
    ignore_index: IgnoreIndex,
}

impl Default for UnifiedFocalLoss {
    fn default() -> Self {
        UnifiedFocalLoss {
            weight: 0.5,
            apply_nonlin: Nonlinearity::Softmax,
            delta: 0.6,
            gamma: 0.5,
            symmetric: false,
            over_classes: false,
            aggregate: Aggregate::PerImage,
            ignore_index: IgnoreIndex::default(),
        }
    }
}

impl UnifiedFocalLoss {
    /// MONAI's, of probabilities.
    pub fn monai() -> Self {
        UnifiedFocalLoss::default().apply_nonlin(Nonlinearity::None).delta(0.7).over_classes(true)
    }

    /// λ, in [0, 1]; 0.5 by default.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    setters!();
    setters!(over_classes);
    setters!(aggregate);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "UnifiedFocalLoss";
        check::fraction(NAME, "weight", self.weight)?;
        check::fraction(NAME, "delta", self.delta)?;
        check_power(NAME, self.gamma)?;
        let region = Region { aggregate: self.aggregate, ..Region::default() };
        let ignored = &self.ignore_index;
        let pixels = LogPixels::of(NAME, input, self.apply_nonlin, target, weight, ignored)?;
        let mut share = self.weight;
        if self.over_classes {
            share /= pixels.pixels.grid.classes as f64;
        }
        let entropy = pixels.mean(&focal(&pixels, self.delta, self.gamma, self.symmetric)?)?;
        let sums = sums(NAME, &region, &pixels)?;
        let index = smoothing().similarity(&sums.overlap, [1.0, 1.0 - self.delta, self.delta])?;
        let overlap = sums.reduce(index, |index| tversky(&index, self.gamma, self.symmetric))?;
        Ok(entropy.f_mul_scalar(share)?.f_add(&overlap.f_mul_scalar(1.0 - self.weight)?)?)
    }
}

weighted_loss!(UnifiedFocalLoss);

named_loss! {
    UnifiedFocalLoss: "unified_focal", Logits => IndexOrDense, "Yeung et al. 2022",
    [weight, apply_nonlin, delta, gamma, symmetric, over_classes, aggregate, ignore_index],
    aliases ["asymmetric_unified_focal"],
    presets {
        "unified_focal_monai" (Probabilities => IndexOrDense) => Self::monai(),
            "MONAI `AsymmetricUnifiedFocalLoss`";
    },
}
