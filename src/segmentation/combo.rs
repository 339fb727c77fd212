//! Combo loss.

use super::{
    log_pixels::{BinaryLogs, mean},
    region::{Aggregate, Region, Smoothing, WeightNorm},
    statistics::{Counting, IgnoreIndex, Nonlinearity, Pixels, Target, Terms, overlap},
};
use crate::{
    BceWithLogitsLoss, Loss, Reduction, Result, check,
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// Combo loss of a segmentation: weighted binary cross entropy less a Dice score.
///
/// ```text
/// l = -α mean(β y log p + (1-β) (1-y) log(1-p)) - (1-α) mean_c D_c
/// D = (2 tp + s) / (2 tp + fp + fn + s)
/// ```
///
/// β above 0.5 makes false negatives dearer than false positives. The value may be below 0: it is
/// `-(1-α)` for a perfect prediction.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `alpha` | 0.5 | α, in [0, 1] |
/// | `beta` | 0.5 | β, in [0, 1] |
/// | `smooth` | 1 | s |
/// | `apply_nonlin` | `Sigmoid` | what makes probabilities: `Sigmoid`, `Softmax`, or `None` where the input holds them |
/// | `aggregate` | `Batch` | `PerImage`: each image has its own D |
/// | `ignore_index` | none | targets of this value, or of these, count for nothing |
#[doc = include_str!("doc/shapes_scalar.md")]
///
/// # Reduction
///
/// Cross entropy divides by the number of pixels that count, or by the sum of their weights, times
/// that of classes; D is the mean over the classes, then over the images in which a pixel counts.
/// Where nothing counts the loss is 0.
///
/// # Errors
///
/// Shape, kind or device of a tensor; an option out of its range; `Softmax` with one class only; a
/// class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{ComboLoss, Loss};
///
/// let logits = Tensor::zeros([1, 1, 2], (tch::Kind::Double, tch::Device::Cpu));
/// let mask = Tensor::from_slice(&[1i64, 0]).view([1, 1, 2]);
/// // p = 0.5: tp = fp = fn = 0.5.
/// let loss = ComboLoss::default().beta(0.7).forward(&logits, &mask).double_value(&[]);
/// assert!((loss - 0.5 * (0.5 * 2f64.ln() - 2.0 / 3.0)).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The paper's formula has `y - log p` for `y log p`, a slip of the pen, and sums D over the
/// classes. Jadon's code takes one map and calls β `ALPHA`.
///
/// # Reference
///
/// Taghanaki et al. 2019, "Combo loss: Handling input and output imbalance in multi-organ
/// segmentation".
#[derive(Debug, Clone)]
pub struct ComboLoss {
    alpha: f64,
    beta: f64,
    smooth: f64,
    apply_nonlin: Nonlinearity,
    aggregate: Aggregate,
    ignore_index: IgnoreIndex,
}

impl Default for ComboLoss {
    fn default() -> Self {
        ComboLoss {
            alpha: 0.5,
            beta: 0.5,
            smooth: 1.0,
            apply_nonlin: Nonlinearity::Sigmoid,
            aggregate: Aggregate::Batch,
            ignore_index: IgnoreIndex::default(),
        }
    }
}

impl ComboLoss {
    /// α, the share of cross entropy, in [0, 1]; 0.5 by default.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// β, the share of the positives, in [0, 1]; 0.5 by default.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// s, at least 0; 1 by default.
    pub fn smooth(mut self, smooth: f64) -> Self {
        self.smooth = smooth;
        self
    }

    /// What turns the input into probabilities; `Sigmoid` by default.
    pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
        self.apply_nonlin = apply_nonlin;
        self
    }

    /// Whether the batch has one score for each class; `Batch` by default.
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
        const NAME: &str = "ComboLoss";
        check::fraction(NAME, "alpha", self.alpha)?;
        check::fraction(NAME, "beta", self.beta)?;
        check::at_least_zero(NAME, "smooth", self.smooth)?;
        let ignore_index = &self.ignore_index;
        let counting = Counting { mask: weight, ignore_index, terms: Terms::Product };
        let plain = input.size() == target.size() && weight.is_none() && ignore_index.0.is_empty();
        let (mut rows, entropy) = match self.weighs_positives() {
            // Both are fused losses of the logits.
            Some(pos_weight) if plain => {
                let nonlinearity = self.apply_nonlin;
                let rows = overlap(NAME, "input", input, nonlinearity, target, &counting)?;
                let options = (Kind::Double, input.device());
                let pos_weight = pos_weight.map(|ratio| Tensor::f_full(1, ratio, options));
                let bce = BceWithLogitsLoss::default().pos_weight(pos_weight.transpose()?);
                (rows, bce.f_forward(input, target)?.f_mul_scalar(1.0 - self.beta)?)
            }
            _ => {
                let raw = Pixels::of(NAME, "input", input, Nonlinearity::None, target, &counting)?;
                let (probabilities, entropy) = self.entropy(NAME, &raw)?;
                (Pixels { probabilities, ..raw }.overlap(Terms::Product)?, entropy)
            }
        };
        if self.aggregate == Aggregate::Batch {
            rows.pixels *= input.size()[0];
            rows = rows.map(|sum| Ok(sum.f_sum_dim_intlist(0, true, None::<Kind>)?))?;
        }
        let region = Region { aggregate: self.aggregate, ..Region::default() };
        let sums = region.of_rows(NAME, input, rows, WeightNorm::Present)?;
        let smoothing = Smoothing::new(self.smooth, self.smooth, 1e-30);
        let score = smoothing.similarity(&sums.overlap, [2.0, 1.0, 1.0])?;
        let score = sums.reduce(score, Ok)?;
        Ok(entropy.f_mul_scalar(self.alpha)?.f_sub(&score.f_mul_scalar(1.0 - self.alpha)?)?)
    }

    /// Where cross entropy is that of logits with negatives weighing 1-β: what positives weigh beside them, if not as much.
    fn weighs_positives(&self) -> Option<Option<f64>> {
        let beta = self.beta;
        (self.apply_nonlin == Nonlinearity::Sigmoid && beta < 0.99)
            .then(|| (beta != 0.5).then(|| beta / (1.0 - beta)))
    }

    /// Probabilities, and the mean of the cross entropies.
    fn entropy(&self, loss: &'static str, raw: &Pixels) -> Result<(Tensor, Tensor)> {
        let beta = self.beta;
        let (probabilities, entropy) = match (&raw.target, self.weighs_positives()) {
            (Target::Dense(dense), Some(pos_weight)) => {
                let logits = &raw.probabilities;
                let options = (logits.f_kind()?, logits.device());
                let pos_weight = pos_weight.map(|ratio| Tensor::f_full(1, ratio, options));
                let entropy = logits.f_binary_cross_entropy_with_logits(
                    dense,
                    None::<&Tensor>,
                    pos_weight.transpose()?.as_ref(),
                    Reduction::None,
                )?;
                (logits.f_sigmoid()?, entropy.f_mul_scalar(1.0 - beta)?)
            }
            (Target::Dense(dense), None) => {
                let logs = BinaryLogs::of(loss, raw, self.apply_nonlin)?;
                let rest = dense.f_rsub_scalar(1.0)?.f_mul_scalar(1.0 - beta)?;
                let sought = dense.f_mul_scalar(beta)?.f_mul(&logs.positive)?;
                (logs.probabilities, sought.f_add(&logs.negative.f_mul(&rest)?)?)
            }
            (Target::Index(class), _) => {
                let logs = BinaryLogs::of(loss, raw, self.apply_nonlin)?;
                let own = |t: &Tensor| t.f_gather(1, class, false);
                let others = logs.negative.f_sum_dim_intlist(1, true, None::<Kind>)?;
                let others = others.f_sub(&own(&logs.negative)?)?.f_mul_scalar(1.0 - beta)?;
                let of_pixel = own(&logs.positive)?.f_mul_scalar(beta)?.f_add(&others)?;
                (logs.probabilities, of_pixel.f_div_scalar(raw.grid.classes as f64)?)
            }
        };
        Ok((probabilities, mean(&entropy, raw.mask.as_ref())?))
    }
}

weighted_loss!(ComboLoss);

named_loss! {
    ComboLoss: "combo", BinaryLogits => IndexOrDense, "Taghanaki et al. 2019",
    [alpha, beta, smooth, apply_nonlin, aggregate, ignore_index],
}
