//! Dice, Jaccard and log-cosh Dice losses.

use super::{
    region::{
        Aggregate, Average, Averaging, EmptyClass, Region, Smoothing, WeightNorm, one_minus_or_log,
        setters,
    },
    statistics::{IgnoreIndex, Nonlinearity, Terms},
};
use crate::{
    Reduction, Result,
    loss::{named_loss, weighted_loss},
};
use tch::Tensor;

/// Which sums a ratio is made of.
fn terms(squared_pred: bool, soft_label: bool) -> Terms {
    match (squared_pred, soft_label) {
        (true, _) => Terms::SquaredDenominator,
        (false, true) => Terms::Minimum,
        (false, false) => Terms::Product,
    }
}

/// Dice loss of a segmentation.
///
/// ```text
/// l = 1 - (2 tp + s_n) / max(2 tp + fp + fn + s_d, eps)    for each image and class
/// tp = Σ m p y,   fp = Σ m p (1-y),   fn = Σ m (1-p) y     over the pixels
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `smooth_nr`, `smooth_dr` | 1e-5 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-8 | the least denominator |
/// | `squared_pred` | false | the denominator is `Σ m p² + Σ m y² + s_d` |
/// | `soft_label` | false | `tp = Σ m min(p, y)`, for soft targets |
/// | `log_loss` | false | `-log(max(score, 1e-7))` |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
///
/// | preset | sets | numbers of |
/// |---|---|---|
/// | `smp()` | `Batch`, `smooth` 0, `eps` 2e-7, `soft_label`, `EmptyClass::Zero`, `WeightNorm::All` | smp `DiceLoss("multiclass")`; its `smooth` is half of ours |
/// | `monai()` | `WeightNorm::None` | MONAI `DiceLoss(softmax=True, to_onehot_y=True)` |
/// | `kornia()` | `Micro`, `smooth_nr` 0, `smooth_dr` 1e-8 | kornia `dice_loss` |
/// | `kornia_macro()` | the same, `Macro`, `EmptyClass::Skip` | kornia `dice_loss(average="macro")` |
/// | `keras()` | `None` nonlinearity, `Batch`, `Micro`, `smooth_nr` 0, `smooth_dr` 1e-7 | Keras `Dice` |
///
/// For binary and multi-label maps add `apply_nonlin(Nonlinearity::Sigmoid)`.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{DiceLoss, Loss, segmentation::EmptyClass};
///
/// // One image of two pixels and three classes, of which the third is not there.
/// let logits = Tensor::zeros([1, 3, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let dice = DiceLoss::default().smooth(0.0);
/// // p = 1/3 everywhere: 1 - (2/3) / (2/3 + 1) for two classes, 1 for the third.
/// let loss = dice.forward(&logits, &target).double_value(&[]);
/// assert!((loss - (0.6 + 0.6 + 1.0) / 3.0).abs() < 1e-12);
/// let skipped = dice.clone().empty_class(EmptyClass::Skip).forward(&logits, &target);
/// assert!((skipped.double_value(&[]) - 0.6).abs() < 1e-12);
/// let unlearned = dice.empty_class(EmptyClass::FalsePositives).forward(&logits, &target);
/// assert!((unlearned.double_value(&[]) - (0.6 + 0.6 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// An image of which no pixel counts leaves the mean; MONAI counts 0 for it, kornia 1. smp and
/// MONAI sum `Half` in `Half`, which gives NaN and a constant 1 for 512 x 512 pixels. MONAI's
/// `weight` has no entry for a background left out, `class_weights` has.
///
/// # Reference
///
/// Milletari et al. 2016, "V-Net"; Wang et al. 2023, "Dice Semimetric Losses" for `soft_label`.
/// Follows MONAI 1.6 `DiceLoss`, smp 0.6, kornia 0.9 and Keras 3.15 by its presets. See also
/// [`SoftDiceLoss`](crate::SoftDiceLoss), which is nnU-Net's.
#[derive(Debug, Clone)]
pub struct DiceLoss {
    region: Region,
    smoothing: Smoothing,
    averaging: Averaging,
    squared_pred: bool,
    soft_label: bool,
    log_loss: bool,
}

impl Default for DiceLoss {
    fn default() -> Self {
        DiceLoss {
            region: Region::default(),
            smoothing: Smoothing::new(1e-5, 1e-5, 1e-8),
            averaging: Averaging::default(),
            squared_pred: false,
            soft_label: false,
            log_loss: false,
        }
    }
}

impl DiceLoss {
    /// smp's `DiceLoss("multiclass")`.
    pub fn smp() -> Self {
        DiceLoss::default()
            .aggregate(Aggregate::Batch)
            .smooth(0.0)
            .eps(2e-7)
            .soft_label(true)
            .empty_class(EmptyClass::Zero)
            .weight_norm(WeightNorm::All)
    }

    /// MONAI's `DiceLoss(softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        DiceLoss::default().weight_norm(WeightNorm::None)
    }

    /// kornia's `dice_loss`, which is micro-averaged.
    pub fn kornia() -> Self {
        DiceLoss::default().average(Average::Micro).smooth_nr(0.0).smooth_dr(1e-8).eps(1e-30)
    }

    /// kornia's `dice_loss(average="macro")`.
    pub fn kornia_macro() -> Self {
        DiceLoss::kornia().average(Average::Macro).empty_class(EmptyClass::Skip)
    }

    /// Keras' `Dice`, of probabilities.
    pub fn keras() -> Self {
        DiceLoss::default()
            .apply_nonlin(Nonlinearity::None)
            .aggregate(Aggregate::Batch)
            .average(Average::Micro)
            .smooth_nr(0.0)
            .smooth_dr(1e-7)
    }

    setters!(squared_pred);
    setters!(soft_label);
    setters!(log_loss);
    setters!(averaging);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "DiceLoss";
        self.smoothing.check(NAME)?;
        let terms = terms(self.squared_pred, self.soft_label);
        let sums = self.region.sums(NAME, input, target, weight, terms, self.averaging)?;
        let score = self.smoothing.similarity(&sums.overlap, [2.0, 1.0, 1.0])?;
        sums.reduce(score, one_minus_or_log(self.log_loss))
    }
}

weighted_loss!(DiceLoss);

named_loss! {
    DiceLoss: "dice", Logits => IndexOrDense, "MONAI `DiceLoss`",
    [..region, ..averaging, ..smoothing, squared_pred, soft_label, log_loss],
    presets {
        "dice_smp" => Self::smp(), "smp `DiceLoss`";
        "dice_monai" => Self::monai(), "MONAI `DiceLoss`";
        "dice_kornia" => Self::kornia(), "kornia `dice_loss`";
        "dice_kornia_macro" => Self::kornia_macro(), "kornia `dice_loss(average=\"macro\")`";
        "dice_keras" (Probabilities => IndexOrDense) => Self::keras(), "Keras `Dice`";
    },
}

/// Jaccard loss of a segmentation, or IoU loss; that of boxes is [`IoULoss`](crate::IoULoss).
///
/// ```text
/// l = 1 - (tp + s_n) / max(tp + fp + fn + s_d, eps)        for each image and class
/// tp = Σ m p y,   fp = Σ m p (1-y),   fn = Σ m (1-p) y     over the pixels
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `smooth_nr`, `smooth_dr` | 1e-5 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-8 | the least denominator |
/// | `squared_pred` | false | the denominator is `Σ m p² + Σ m y² - tp + s_d` |
/// | `soft_label` | false | `tp = Σ m min(p, y)`, for soft targets |
/// | `log_loss` | false | `-log(max(score, 1e-7))` |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
///
/// | preset | sets | numbers of |
/// |---|---|---|
/// | `smp()` | `Batch`, `smooth` 0, `eps` 1e-7, `soft_label`, `EmptyClass::Zero`, `WeightNorm::All` | smp `JaccardLoss("multiclass")` |
/// | `monai()` | `smooth` 5e-6, `WeightNorm::None` | MONAI `DiceLoss(jaccard=True, ..)`; its smoothing is twice ours |
///
/// For binary and multi-label maps add `apply_nonlin(Nonlinearity::Sigmoid)`.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{JaccardLoss, Loss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // tp = fp = fn = 0.5 for both classes.
/// let loss = JaccardLoss::default().smooth(0.0).forward(&logits, &target).double_value(&[]);
/// assert!((loss - 2.0 / 3.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// As [`DiceLoss`]. Without smoothing Jadon's and Keras-style code is 0/0 for an empty mask; here
/// the denominator is held at `eps`.
///
/// # Reference
///
/// Rahman and Wang 2016, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
/// Segmentation"; Wang et al. 2023, "Jaccard Metric Losses" for `soft_label`. Follows MONAI 1.6
/// and smp 0.6 by its presets.
#[derive(Debug, Clone)]
#[doc(alias = "IoULoss")]
pub struct JaccardLoss {
    region: Region,
    smoothing: Smoothing,
    averaging: Averaging,
    squared_pred: bool,
    soft_label: bool,
    log_loss: bool,
}

impl Default for JaccardLoss {
    fn default() -> Self {
        JaccardLoss {
            region: Region::default(),
            smoothing: Smoothing::new(1e-5, 1e-5, 1e-8),
            averaging: Averaging::default(),
            squared_pred: false,
            soft_label: false,
            log_loss: false,
        }
    }
}

impl JaccardLoss {
    /// smp's `JaccardLoss("multiclass")`.
    pub fn smp() -> Self {
        JaccardLoss::default()
            .aggregate(Aggregate::Batch)
            .smooth(0.0)
            .eps(1e-7)
            .soft_label(true)
            .empty_class(EmptyClass::Zero)
            .weight_norm(WeightNorm::All)
    }

    /// MONAI's `DiceLoss(jaccard=True, softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        JaccardLoss::default().smooth(5e-6).weight_norm(WeightNorm::None)
    }

    setters!(squared_pred);
    setters!(soft_label);
    setters!(log_loss);
    setters!(averaging);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "JaccardLoss";
        self.smoothing.check(NAME)?;
        let terms = terms(self.squared_pred, self.soft_label);
        let sums = self.region.sums(NAME, input, target, weight, terms, self.averaging)?;
        let score = self.smoothing.similarity(&sums.overlap, [1.0, 1.0, 1.0])?;
        sums.reduce(score, one_minus_or_log(self.log_loss))
    }
}

weighted_loss!(JaccardLoss);

named_loss! {
    JaccardLoss: "jaccard", Logits => IndexOrDense, "MONAI `DiceLoss(jaccard=True)`",
    [..region, ..averaging, ..smoothing, squared_pred, soft_label, log_loss],
    aliases ["mask_iou"],
    presets {
        "jaccard_smp" => Self::smp(), "smp `JaccardLoss`";
        "jaccard_monai" => Self::monai(), "MONAI `DiceLoss(jaccard=True)`";
    },
}

/// Log-cosh Dice loss of a segmentation: Dice, flat where it is nearly met.
///
/// ```text
/// l = log(cosh(d)),   d the Dice loss        for each image and class
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `smooth_nr`, `smooth_dr` | 1e-5 | s_n and s_d of [`DiceLoss`]; `smooth` sets both |
/// | `eps` | 1e-8 | the least denominator |
/// | `squared_pred` | false | the denominator is `Σ m p² + Σ m y² + s_d` |
/// | `soft_label` | false | `tp = Σ m min(p, y)`, for soft targets |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{LogCoshDiceLoss, Loss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // Dice is 0.5 for both classes.
/// let loss = LogCoshDiceLoss::default().smooth(0.0).forward(&logits, &target).double_value(&[]);
/// assert!((loss - 0.5f64.cosh().ln()).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Jadon's code sums over everything and adds 1: `average(Average::Micro)`,
/// `aggregate(Aggregate::Batch)`, `smooth(1.0)`. Written as `log(cosh(d))` the loss is 0 in `Float`
/// for d below 3e-4; here it is not.
///
/// # Reference
///
/// Jadon 2020, "A survey of loss functions for semantic segmentation". See also [`DiceLoss`].
#[derive(Debug, Clone)]
pub struct LogCoshDiceLoss {
    region: Region,
    averaging: Averaging,
    smoothing: Smoothing,
    squared_pred: bool,
    soft_label: bool,
}

impl Default for LogCoshDiceLoss {
    fn default() -> Self {
        LogCoshDiceLoss {
            region: Region::default(),
            averaging: Averaging::default(),
            smoothing: Smoothing::new(1e-5, 1e-5, 1e-8),
            squared_pred: false,
            soft_label: false,
        }
    }
}

impl LogCoshDiceLoss {
    setters!(squared_pred);
    setters!(soft_label);
    setters!(averaging);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "LogCoshDiceLoss";
        self.smoothing.check(NAME)?;
        let terms = terms(self.squared_pred, self.soft_label);
        let sums = self.region.sums(NAME, input, target, weight, terms, self.averaging)?;
        let score = self.smoothing.similarity(&sums.overlap, [2.0, 1.0, 1.0])?;
        sums.reduce(score, |score| {
            // cosh d = 1 + 2 sinh²(d/2), which keeps the digits of a small d.
            let half = score.f_rsub_scalar(1.0)?.f_mul_scalar(0.5)?;
            Ok(half.f_sinh()?.f_square()?.f_mul_scalar(2.0)?.f_log1p()?)
        })
    }
}

weighted_loss!(LogCoshDiceLoss);

named_loss! {
    LogCoshDiceLoss: "log_cosh_dice", Logits => IndexOrDense, "Jadon 2020",
    [..region, ..averaging, ..smoothing, squared_pred, soft_label],
}
