//! Exponential logarithmic loss.

use super::{
    log_pixels::{LogPixels, sums},
    region::{Aggregate, Region, Smoothing, power},
    statistics::{IgnoreIndex, Nonlinearity, Target},
};
use crate::{
    LossError, Result, check,
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// Exponential logarithmic loss of a segmentation: Dice and cross entropy, their logarithms raised
/// to a power that turns the easy ones down.
///
/// ```text
/// l = w_dice mean_c (-log D_c)^γ_dice + w_cross mean_i w_y (-log p_y)^γ_cross
/// D = (2 tp + s) / (2 tp + fp + fn + s),   w_c = sqrt(Σ_k f_k / f_c)
/// ```
///
/// f are the frequencies of the labels. Below 1e-6 the powers give way to a line, whose slope is
/// finite where D or p is 1.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `weight_dice`, `weight_cross` | 0.8, 0.2 | w_dice and w_cross |
/// | `gamma_dice`, `gamma_cross` | 0.3 | their powers, above 0; `gamma` sets both |
/// | `frequencies` | those of the batch | f, one for each class, above 0: how often labels are in the training data |
/// | `smooth` | 1 | s |
/// | `apply_nonlin` | `Softmax` | what makes probabilities: `Softmax`, `Sigmoid` for one map, or `None` where the input holds them |
/// | `aggregate` | `PerImage` | `Batch`: D is of sums over the batch |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
#[doc = include_str!("doc/two_classes.md")]
/// - loss: a scalar. `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// The Dice part divides by the number of classes, then by that of images in which a pixel counts;
/// the other by the number of pixels that count, or by the sum of their weights, whatever w_y.
/// Where nothing counts it is 0.
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
/// use tch_losses::{ExponentialLogarithmicLoss, Loss};
///
/// let logits = Tensor::zeros([1, 2, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// // tp = fp = fn = 0.5 and s = 1: D = 2/3; each label is half of the pixels: w = sqrt(2).
/// let loss = ExponentialLogarithmicLoss::default().forward(&logits, &target).double_value(&[]);
/// let cross = 2f64.sqrt() * 2f64.ln().powf(0.3);
/// assert!((loss - (0.8 * 1.5f64.ln().powf(0.3) + 0.2 * cross)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// SegLossOdyssey raises the Dice part only, of an D held at 1e-6, and has an infinite slope at 1.
///
/// # Reference
///
/// Wong et al. 2018, "3D Segmentation with Exponential Logarithmic Loss for Highly Unbalanced
/// Object Sizes"; f there are of the training data.
#[derive(Debug, Clone)]
pub struct ExponentialLogarithmicLoss {
    weight_dice: f64,
    weight_cross: f64,
    gamma_dice: f64,
    gamma_cross: f64,
    frequencies: Option<Vec<f64>>,
    smooth: f64,
    apply_nonlin: Nonlinearity,
    aggregate: Aggregate,
    ignore_index: IgnoreIndex,
}

impl Default for ExponentialLogarithmicLoss {
    fn default() -> Self {
        ExponentialLogarithmicLoss {
            weight_dice: 0.8,
            weight_cross: 0.2,
            gamma_dice: 0.3,
            gamma_cross: 0.3,
            frequencies: None,
            smooth: 1.0,
            apply_nonlin: Nonlinearity::Softmax,
            aggregate: Aggregate::PerImage,
            ignore_index: IgnoreIndex::default(),
        }
    }
}

impl ExponentialLogarithmicLoss {
    /// w_dice, at least 0; 0.8 by default.
    pub fn weight_dice(mut self, weight_dice: f64) -> Self {
        self.weight_dice = weight_dice;
        self
    }

    /// w_cross, at least 0; 0.2 by default.
    pub fn weight_cross(mut self, weight_cross: f64) -> Self {
        self.weight_cross = weight_cross;
        self
    }

    /// Both powers.
    pub fn gamma(self, gamma: f64) -> Self {
        self.gamma_dice(gamma).gamma_cross(gamma)
    }

    /// γ_dice, above 0; 0.3 by default.
    pub fn gamma_dice(mut self, gamma_dice: f64) -> Self {
        self.gamma_dice = gamma_dice;
        self
    }

    /// γ_cross, above 0; 0.3 by default.
    pub fn gamma_cross(mut self, gamma_cross: f64) -> Self {
        self.gamma_cross = gamma_cross;
        self
    }

    /// How often each label is in the training data, in any unit; counted in the batch by default.
    pub fn frequencies(mut self, frequencies: impl Into<Vec<f64>>) -> Self {
        self.frequencies = Some(frequencies.into());
        self
    }

    /// s, at least 0; 1 by default.
    pub fn smooth(mut self, smooth: f64) -> Self {
        self.smooth = smooth;
        self
    }

    /// What turns the input into probabilities; `Softmax` by default.
    pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
        self.apply_nonlin = apply_nonlin;
        self
    }

    /// Whether each image has its own scores; `PerImage` by default.
    pub fn aggregate(mut self, aggregate: Aggregate) -> Self {
        self.aggregate = aggregate;
        self
    }

    /// The target values that mark what to leave out: `255`, or `[0, 255]`.
    pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "ExponentialLogarithmicLoss";
        check::at_least_zero(NAME, "weight_dice", self.weight_dice)?;
        check::at_least_zero(NAME, "weight_cross", self.weight_cross)?;
        check::at_least_zero(NAME, "smooth", self.smooth)?;
        let above_0 = |option, value: f64| {
            let ok = value > 0.0 && value.is_finite();
            check::param(NAME, option, value, ok, "above 0 and finite")
        };
        above_0("gamma_dice", self.gamma_dice)?;
        above_0("gamma_cross", self.gamma_cross)?;
        for &frequency in self.frequencies.iter().flatten() {
            above_0("frequencies", frequency)?;
        }
        let region = Region { aggregate: self.aggregate, ..Region::default() };
        let ignored = &self.ignore_index;
        let pixels = LogPixels::of(NAME, input, self.apply_nonlin, target, weight, ignored)?;
        let sums = sums(NAME, &region, &pixels)?;
        let weights = self.label_weights(NAME, &pixels, &sums.overlap.actual)?;

        let smoothing = Smoothing::new(self.smooth, self.smooth, 1e-30);
        let dice = smoothing.similarity(&sums.overlap, [2.0, 1.0, 1.0])?;
        let dice = sums.reduce(dice, |dice| {
            power(&dice.f_clamp_min(1e-30)?.f_log()?.f_neg()?, self.gamma_dice)
        })?;
        let cross = match &pixels.pixels.target {
            Target::Index(class) => {
                let entropy = pixels.logarithms.f_gather(1, class, false)?.f_neg()?;
                let weights = weights.f_index_select(0, &class.f_flatten(0, -1)?)?;
                power(&entropy, self.gamma_cross)?.f_mul(&weights.f_view_as(&entropy)?)?
            }
            Target::Dense(dense) => {
                let raised = power(&pixels.logarithms.f_neg()?, self.gamma_cross)?;
                let shares = dense.f_mul(&weights.f_view([1, -1, 1])?)?;
                raised.f_mul(&shares)?.f_sum_dim_intlist(1, true, None::<Kind>)?
            }
        };
        let cross = pixels.mean(&cross)?;
        Ok(dice.f_mul_scalar(self.weight_dice)?.f_add(&cross.f_mul_scalar(self.weight_cross)?)?)
    }

    /// w, (C), of the frequencies given or of those counted, (rows, C).
    fn label_weights(
        &self,
        loss: &'static str,
        pixels: &LogPixels,
        counted: &Tensor,
    ) -> Result<Tensor> {
        let frequencies = match &self.frequencies {
            Some(given) => {
                let (classes, got) = (pixels.pixels.grid.classes, given.len() as i64);
                if got != classes {
                    let (what, expected) = ("frequencies", format!("[{classes}]"));
                    return Err(LossError::Shape { loss, what, expected, got: vec![got] });
                }
                Tensor::f_from_slice(given)?
                    .f_to_kind(counted.f_kind()?)?
                    .f_to_device(counted.device())?
            }
            None => counted.f_detach()?.f_sum_dim_intlist(0, false, None::<Kind>)?,
        };
        // A label that is nowhere has no pixel to weigh.
        let there = frequencies.f_threshold(0.0, f64::INFINITY)?;
        Ok(frequencies.f_sum(None::<Kind>)?.f_div(&there)?.f_sqrt()?)
    }
}

weighted_loss!(ExponentialLogarithmicLoss);

named_loss! {
    ExponentialLogarithmicLoss: "exponential_logarithmic", Logits => IndexOrDense,
    "Wong et al. 2018",
    [
        weight_dice, weight_cross, gamma_dice, gamma_cross, frequencies, smooth, apply_nonlin,
        aggregate, ignore_index,
    ],
    aliases ["exp_log"],
}
