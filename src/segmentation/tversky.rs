//! Tversky losses.

use super::{
    region::{
        Aggregate, Average, EmptyClass, Region, Smoothing, WeightNorm, one_minus_or_log, setters,
    },
    statistics::{IgnoreIndex, Nonlinearity, Terms},
};
use crate::{
    Reduction, Result, check,
    loss::{named_loss, weighted_loss},
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
/// | `average` | `Macro` | `Micro`: one score of the sums over the classes, each times its weight |
/// | `soft_label` | false | `tp = Σ m min(p, y)`, for soft targets |
/// | `log_loss` | false | `-log(max(score, 1e-7))` |
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
    average: Average,
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
            average: Average::Macro,
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

    /// α, the price of a false positive; at least 0.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// β, the price of a false negative; at least 0.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    setters!(soft_label);
    setters!(log_loss);
    setters!(average);
    setters!(smoothing);
    setters!(region);

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "TverskyLoss";
        self.smoothing.check(NAME)?;
        check::at_least_zero(NAME, "alpha", self.alpha)?;
        check::at_least_zero(NAME, "beta", self.beta)?;
        let terms = if self.soft_label { Terms::Minimum } else { Terms::Product };
        let sums = self.region.sums(NAME, input, target, weight, terms, self.average)?;
        let score = self.smoothing.similarity(&sums.overlap, [1.0, self.alpha, self.beta])?;
        sums.reduce(score, one_minus_or_log(self.log_loss))
    }
}

weighted_loss!(TverskyLoss);

named_loss! {
    TverskyLoss: "tversky", Logits => IndexOrDense, "MONAI `TverskyLoss`",
    [..region, ..smoothing, alpha, beta, average, soft_label, log_loss],
    presets {
        "tversky_smp" => Self::smp(), "smp `TverskyLoss`";
        "tversky_monai" => Self::monai(), "MONAI `TverskyLoss`";
        "tversky_kornia" => Self::kornia(), "kornia `tversky_loss`";
        "tversky_keras" (Probabilities => IndexOrDense) => Self::keras(), "Keras `Tversky`";
    },
}
