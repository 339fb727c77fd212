//! Tversky loss, its focal form, and the F-beta loss.

use super::{
    region::{
        Aggregate, Average, Averaging, EmptyClass, Region, Smoothing, WeightNorm, one_minus_or_log,
        power, setters,
    },
    statistics::{IgnoreIndex, Nonlinearity, Terms},
};
use crate::{
    LossError, Reduction, Result, check,
    loss::{named_loss, option_enum, weighted_loss},
};
use tch::Tensor;

/// Tversky loss of a segmentation: Dice with a price for each kind of mistake.
///
/// ```text
/// l = 1 - (tp + s_n) / max(tp + α fp + β fn + s_d, eps)    for each image and class
/// tp = Σ m p y,   fp = Σ m p (1-y),   fn = Σ m (1-p) y     over the pixels
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel.
/// α = β = 0.5 is Dice, α = β = 1 Jaccard.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `alpha` | 0.5 | α, the price of a false positive |
/// | `beta` | 0.5 | β, the price of a false negative |
/// | `smooth_nr`, `smooth_dr` | 1e-5 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-8 | the least denominator |
/// | `soft_label` | false | `tp = Σ m min(p, y)`, for soft targets |
/// | `log_loss` | false | `-log(max(score, 1e-7))` |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
///
/// | preset | sets | numbers of |
/// |---|---|---|
/// | `smp()` | `Batch`, `smooth` 0, `eps` 1e-7, `soft_label`, `EmptyClass::Zero`, `WeightNorm::All` | smp `TverskyLoss("multiclass")` |
/// | `monai()` | `WeightNorm::None` | MONAI `TverskyLoss(softmax=True, to_onehot_y=True)` |
/// | `kornia()` | `smooth_nr` 0, `smooth_dr` 1e-8, `EmptyClass::Skip` | kornia `tversky_loss` |
/// | `keras()` | `None` nonlinearity, `Batch`, `Micro`, `smooth_nr` 0, `smooth_dr` 1e-7 | Keras `Tversky`, see below |
///
/// For binary and multi-label maps add `apply_nonlin(Nonlinearity::Sigmoid)`.
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, TverskyLoss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // tp = fp = fn = 0.5 for both classes: 1 - 0.5 / (0.5 + 0.5 * 0.3 + 0.5 * 0.7)
/// let tversky = TverskyLoss::default().alpha(0.3).beta(0.7).smooth(0.0);
/// assert!((tversky.forward(&logits, &target).double_value(&[]) - 0.5).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// α weighs false positives, as in the paper, smp, MONAI and kornia; Abraham and Khan, and Jadon,
/// give it to false negatives. Keras up to 3.15 swaps the two against its own documentation: to
/// repeat its numbers, swap them here. kornia counts 1 for an image without any pixel that counts;
/// here it leaves the mean. See also [`DiceLoss`](crate::DiceLoss).
///
/// # Reference
///
/// Salehi et al. 2017, "Tversky loss function for image segmentation using 3D fully convolutional
/// deep networks". Follows MONAI 1.6, smp 0.6, kornia 0.9 and Keras 3.15 by its presets.
#[derive(Debug, Clone)]
pub struct TverskyLoss {
    region: Region,
    smoothing: Smoothing,
    alpha: f64,
    beta: f64,
    averaging: Averaging,
    soft_label: bool,
    log_loss: bool,
}

impl Default for TverskyLoss {
    fn default() -> Self {
        TverskyLoss {
            region: Region::default(),
            smoothing: Smoothing::new(1e-5, 1e-5, 1e-8),
            alpha: 0.5,
            beta: 0.5,
            averaging: Averaging::default(),
            soft_label: false,
            log_loss: false,
        }
    }
}

impl TverskyLoss {
    /// smp's `TverskyLoss("multiclass")`.
    pub fn smp() -> Self {
        TverskyLoss::default()
            .aggregate(Aggregate::Batch)
            .smooth(0.0)
            .eps(1e-7)
            .soft_label(true)
            .empty_class(EmptyClass::Zero)
            .weight_norm(WeightNorm::All)
    }

    /// MONAI's `TverskyLoss(softmax=True, to_onehot_y=True)`.
    pub fn monai() -> Self {
        TverskyLoss::default().weight_norm(WeightNorm::None)
    }

    /// kornia's `tversky_loss`.
    pub fn kornia() -> Self {
        TverskyLoss::default()
            .smooth_nr(0.0)
            .smooth_dr(1e-8)
            .eps(1e-30)
            .empty_class(EmptyClass::Skip)
    }

    /// Keras' `Tversky`, of probabilities, with the α and β that Keras documents.
    pub fn keras() -> Self {
        TverskyLoss::default()
            .apply_nonlin(Nonlinearity::None)
            .aggregate(Aggregate::Batch)
            .average(Average::Micro)
            .smooth_nr(0.0)
            .smooth_dr(1e-7)
    }

    setters!(alpha_beta);
    setters!(soft_label);
    setters!(log_loss);
    setters!(averaging);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "TverskyLoss";
        self.smoothing.check(NAME)?;
        check::at_least_zero(NAME, "alpha", self.alpha)?;
        check::at_least_zero(NAME, "beta", self.beta)?;
        let terms = if self.soft_label { Terms::Minimum } else { Terms::Product };
        let sums = self.region.sums(NAME, input, target, weight, terms, self.averaging)?;
        let score = self.smoothing.similarity(&sums.overlap, [1.0, self.alpha, self.beta])?;
        sums.reduce(score, one_minus_or_log(self.log_loss))
    }
}

weighted_loss!(TverskyLoss);

named_loss! {
    TverskyLoss: "tversky", Logits => IndexOrDense, "MONAI `TverskyLoss`",
    [..region, ..averaging, ..smoothing, alpha, beta, soft_label, log_loss],
    presets {
        "tversky_smp" => Self::smp(), "smp `TverskyLoss`";
        "tversky_monai" => Self::monai(), "MONAI `TverskyLoss`";
        "tversky_kornia" => Self::kornia(), "kornia `tversky_loss`";
        "tversky_keras" (Probabilities => IndexOrDense) => Self::keras(), "Keras `Tversky`";
    },
}

/// What a [`FocalTverskyLoss`] raises to its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PowerOf {
    /// The loss of each score, before the mean.
    #[default]
    Score,
    /// The mean.
    Mean,
}

option_enum!(PowerOf { PowerOf::Score => "score", PowerOf::Mean => "mean" });

/// Focal Tversky loss of a segmentation: Tversky that turns to the classes that fare badly.
///
/// ```text
/// l = (1 - T)^κ,   T = (tp + s_n) / max(tp + α fp + β fn + s_d, eps)    for each image and class
/// tp = Σ m p y,   fp = Σ m p (1-y),   fn = Σ m (1-p) y                  over the pixels
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel. Below a
/// `1 - T` of 1e-6 a κ < 1 gives way to a line, whose slope at an exact match is finite.
///
/// | option | default | `smp()` | meaning |
/// |---|---|---|---|
/// | `alpha` | 0.3 | 0.5 | α, the price of a false positive |
/// | `beta` | 0.7 | 0.5 | β, the price of a false negative |
/// | `power` | 0.75 | 1 | κ; the paper's 1/γ, the γ of smp and of SegLossOdyssey |
/// | `power_of` | `Score` | `Mean` | what is raised, see [`PowerOf`] |
///
/// `smp()` sets the rest as [`TverskyLoss::smp`] does.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `smooth_nr`, `smooth_dr` | 1e-5 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-8 | the least denominator |
/// | `soft_label` | false | `tp = Σ m min(p, y)`, for soft targets |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// `PowerOf::Mean` with another reduction than `Mean` is an error too.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{FocalTverskyLoss, Loss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // tp = fp = fn = 0.5 and α + β = 1: T = 0.5 for both classes.
/// let loss = FocalTverskyLoss::default().smooth(0.0).forward(&logits, &target).double_value(&[]);
/// assert!((loss - 0.5f64.powf(0.75)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// smp and SegLossOdyssey raise the mean, the paper each class before it is summed. The paper sums
/// over the classes; here they are averaged (`reduction(Reduction::Sum)` sums). In the paper and
/// in Jadon α is the price of false negatives. With a power below 1 all of them have an infinite
/// slope at an exact match, which turns into NaN.
///
/// # Reference
///
/// Abraham and Khan 2019, "A Novel Focal Tversky loss function with improved Attention U-Net for
/// lesion segmentation". `smp()` follows smp 0.6 `TverskyLoss(gamma=..)`. See also
/// [`TverskyLoss`].
#[derive(Debug, Clone)]
pub struct FocalTverskyLoss {
    region: Region,
    averaging: Averaging,
    smoothing: Smoothing,
    alpha: f64,
    beta: f64,
    power: f64,
    power_of: PowerOf,
    soft_label: bool,
}

impl Default for FocalTverskyLoss {
    fn default() -> Self {
        FocalTverskyLoss {
            region: Region::default(),
            averaging: Averaging::default(),
            smoothing: Smoothing::new(1e-5, 1e-5, 1e-8),
            alpha: 0.3,
            beta: 0.7,
            power: 0.75,
            power_of: PowerOf::Score,
            soft_label: false,
        }
    }
}

impl FocalTverskyLoss {
    /// smp's `TverskyLoss("multiclass", gamma=power)`.
    pub fn smp() -> Self {
        let TverskyLoss { region, averaging, smoothing, alpha, beta, soft_label, .. } =
            TverskyLoss::smp();
        let (power, power_of) = (1.0, PowerOf::Mean);
        FocalTverskyLoss { region, averaging, smoothing, alpha, beta, power, power_of, soft_label }
    }

    setters!(alpha_beta);

    /// κ, above 0; 0.75 by default.
    pub fn power(mut self, power: f64) -> Self {
        self.power = power;
        self
    }

    /// `Score` by default.
    pub fn power_of(mut self, power_of: PowerOf) -> Self {
        self.power_of = power_of;
        self
    }

    setters!(soft_label);
    setters!(averaging);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "FocalTverskyLoss";
        self.smoothing.check(NAME)?;
        check::at_least_zero(NAME, "alpha", self.alpha)?;
        check::at_least_zero(NAME, "beta", self.beta)?;
        let ok = self.power > 0.0 && self.power.is_finite();
        check::param(NAME, "power", self.power, ok, "above 0 and finite")?;
        if self.power_of == PowerOf::Mean && self.region.reduction != Reduction::Mean {
            return Err(LossError::Param {
                loss: NAME,
                option: "power_of",
                expected: "Score where nothing is averaged",
                got: "Mean".to_owned(),
            });
        }
        let terms = if self.soft_label { Terms::Minimum } else { Terms::Product };
        let sums = self.region.sums(NAME, input, target, weight, terms, self.averaging)?;
        let score = self.smoothing.similarity(&sums.overlap, [1.0, self.alpha, self.beta])?;
        match self.power_of {
            PowerOf::Score => {
                sums.reduce(score, |score| power(&score.f_rsub_scalar(1.0)?, self.power))
            }
            PowerOf::Mean => power(&sums.reduce(score, one_minus_or_log(false))?, self.power),
        }
    }
}

weighted_loss!(FocalTverskyLoss);

named_loss! {
    FocalTverskyLoss: "focal_tversky", Logits => IndexOrDense, "Abraham and Khan 2019",
    [..region, ..averaging, ..smoothing, alpha, beta, power, power_of, soft_label],
    presets { "focal_tversky_smp" => Self::smp(), "smp `TverskyLoss(gamma=..)`" },
}

/// F-beta loss of a segmentation, or asymmetric similarity loss: recall counts β times as much as
/// precision.
///
/// ```text
/// l = 1 - ((1+β²) tp + s_n) / max((1+β²) tp + fp + β² fn + s_d, eps)    for each image and class
/// tp = Σ m p y,   fp = Σ m p (1-y),   fn = Σ m (1-p) y                  over the pixels
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the weight of a pixel. β = 1 is
/// Dice.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `beta` | 1.5 | β |
/// | `smooth_nr`, `smooth_dr` | 1e-5 | s_n and s_d; `smooth` sets both |
/// | `eps` | 1e-8 | the least denominator |
/// | `soft_label` | false | `tp = Σ m min(p, y)`, for soft targets |
/// | `log_loss` | false | `-log(max(score, 1e-7))` |
#[doc = include_str!("doc/averaging.md")]
#[doc = include_str!("doc/region.md")]
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction_average.md")]
#[doc = include_str!("doc/errors.md")]
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{FBetaLoss, Loss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // tp = fp = fn = 0.5 for both classes, so every F is 0.5.
/// let loss = FBetaLoss::default().beta(2.0).smooth(0.0).forward(&logits, &target);
/// assert!((loss.double_value(&[]) - 0.5).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// SegLossOdyssey's `AsymLoss` is the negative score, of which this is 1 less; it divides
/// numerator and denominator by 1 + β², so that its smoothing is ours over 1 + β².
///
/// # Reference
///
/// Hashemi et al. 2018, "Asymmetric Loss Functions and Deep Densely-Connected Networks for Highly
/// Imbalanced Medical Image Segmentation". See also [`TverskyLoss`], which this is with
/// α = 1/(1+β²) and β²/(1+β²).
#[derive(Debug, Clone)]
#[doc(alias = "AsymLoss")]
pub struct FBetaLoss {
    region: Region,
    averaging: Averaging,
    smoothing: Smoothing,
    beta: f64,
    soft_label: bool,
    log_loss: bool,
}

impl Default for FBetaLoss {
    fn default() -> Self {
        FBetaLoss {
            region: Region::default(),
            averaging: Averaging::default(),
            smoothing: Smoothing::new(1e-5, 1e-5, 1e-8),
            beta: 1.5,
            soft_label: false,
            log_loss: false,
        }
    }
}

impl FBetaLoss {
    /// β, at least 0.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    setters!(soft_label);
    setters!(log_loss);
    setters!(averaging);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "FBetaLoss";
        self.smoothing.check(NAME)?;
        check::at_least_zero(NAME, "beta", self.beta)?;
        let terms = if self.soft_label { Terms::Minimum } else { Terms::Product };
        let sums = self.region.sums(NAME, input, target, weight, terms, self.averaging)?;
        let square = self.beta * self.beta;
        let score = self.smoothing.similarity(&sums.overlap, [1.0 + square, 1.0, square])?;
        sums.reduce(score, one_minus_or_log(self.log_loss))
    }
}

weighted_loss!(FBetaLoss);

named_loss! {
    FBetaLoss: "f_beta", Logits => IndexOrDense, "Hashemi et al. 2018",
    [..region, ..averaging, ..smoothing, beta, soft_label, log_loss],
    aliases ["asymmetric_similarity"],
}
