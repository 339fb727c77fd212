//! Kullback-Leibler and Jensen-Shannon divergences, and the consistency loss of AugMix.

use super::{
    binary::check_clip,
    focal::smallest,
    target::{ClassTarget, Classes, positions, sum_classes},
};
use crate::{
    LossError, MeanOver, Reduction, Result, check,
    loss::{named_loss, option_enum, weighted_loss},
    reduce::{reduce, weights},
};
use tch::{Kind, Tensor};

/// What a tensor says of classes along dimension 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Logits: their softmax is meant.
    Logits,
    /// Probabilities.
    Probabilities,
    /// Logarithms of probabilities.
    LogProbabilities,
}

option_enum!(Distribution {
    Distribution::Logits => "logits",
    Distribution::Probabilities => "probabilities",
    Distribution::LogProbabilities => "log_probabilities",
});

/// Kullback-Leibler divergence of the input from the target.
///
/// ```text
/// l = t (log t - x),   x = log-probabilities;   0 where t = 0
/// ```
///
/// | option | default | `keras()` | meaning |
/// |---|---|---|---|
/// | `input` | `LogProbabilities` | `Probabilities` | what the input is; logits go through a log-softmax over dimension 1 |
/// | `log_target` | false | false | the target holds log t |
/// | `clip` | none | 1e-7 | probabilities, of the input and of the target, are first limited to [clip, 1] |
/// | `batch_mean` | false | true | `Mean` divides by the batch alone: the divergence as it is defined |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: any shape; (N, C, d1, ..) for logits
/// - target: the input's shape
/// - element weight: broadcastable to the input
/// - loss: a scalar, or the input's shape without reduction; `Half` and `BFloat16` are computed
///   and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of elements, classes included, or by the sum of the element weights.
/// With `batch_mean` that is times the number of elements in an image, so that without weights it
/// divides by N, dimension 0. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; `clip` outside [0, 0.5); `clip` with `log_target`.
///
/// # Examples
///
/// Distillation: the student's distribution from the teacher's, both softened.
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_losses::{KlDivLoss, Loss, classification::log_softmax_with_temperature};
///
/// let student = Tensor::from_slice(&[1.0f64, 0.0]).view([1, 2]);
/// let teacher = Tensor::from_slice(&[3.0f64, 0.0]).view([1, 2]);
/// let soft = |logits: &Tensor| log_softmax_with_temperature(logits, 2.0, 1);
/// let loss = KlDivLoss::default().log_target(true).batch_mean(true);
/// let value = loss.forward(&soft(&student), &soft(&teacher)).double_value(&[]) * 2.0 * 2.0;
/// let p = |logit: f64| 1.0 / (1.0 + (-logit / 2.0).exp());
/// let (s, t) = (p(1.0), p(3.0));
/// let by_hand = 4.0 * (t * (t / s).ln() + (1.0 - t) * ((1.0 - t) / (1.0 - s)).ln());
/// assert!((value - by_hand).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// Keras limits an input of probabilities, which then gets no gradient below 1e-7, and sums over the
/// last dimension.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.KLDivLoss`; `keras()` follows Keras 3 `KLDivergence`. See also
/// [`JsDivLoss`], which is symmetric and bounded.
#[derive(Debug, Clone)]
pub struct KlDivLoss {
    input: Distribution,
    log_target: bool,
    clip: Option<f64>,
    batch_mean: bool,
    reduction: Reduction,
}

impl Default for KlDivLoss {
    fn default() -> Self {
        KlDivLoss {
            input: Distribution::LogProbabilities,
            log_target: false,
            clip: None,
            batch_mean: false,
            reduction: Reduction::Mean,
        }
    }
}

impl KlDivLoss {
    /// Keras' `KLDivergence`: of probabilities, limited to [1e-7, 1], mean over the batch.
    pub fn keras() -> Self {
        KlDivLoss::default().input(Distribution::Probabilities).clip(1e-7).batch_mean(true)
    }

    /// What the input is; log-probabilities by default.
    pub fn input(mut self, input: Distribution) -> Self {
        self.input = input;
        self
    }

    /// Whether the target holds log-probabilities.
    pub fn log_target(mut self, log_target: bool) -> Self {
        self.log_target = log_target;
        self
    }

    /// How near to 0 a probability may come, in [0, 0.5).
    pub fn clip(mut self, clip: impl Into<Option<f64>>) -> Self {
        self.clip = clip.into();
        self
    }

    /// Whether `Mean` is over the batch alone: PyTorch's `reduction="batchmean"`.
    pub fn batch_mean(mut self, batch_mean: bool) -> Self {
        self.batch_mean = batch_mean;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "KlDivLoss";
        check::reduction(NAME, self.reduction)?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let mut target = check::in_kind(NAME, "target", target, input.f_kind()?)?;
        let limited = |p: Tensor| match self.clip {
            Some(clip) => Ok::<_, LossError>(p.f_clamp(clip, 1.0)?),
            None => Ok(p),
        };
        if let Some(clip) = self.clip {
            check_clip(NAME, clip)?;
            if self.log_target {
                let message = "clip limits probabilities, and log_target says that there are none";
                return Err(LossError::Unsupported { loss: NAME, message });
            }
            target = limited(target)?;
        }
        let input = match self.input {
            Distribution::LogProbabilities => input,
            Distribution::Probabilities => limited(input)?.f_log()?,
            Distribution::Logits => {
                check::shape_is(NAME, "input", &input, input.dim() >= 2, "[N, C, ..]")?;
                input.f_log_softmax(1, None::<Kind>)?
            }
        };
        let per_image = match input.size()[..] {
            [batch, ..] if self.batch_mean && batch > 0 => input.numel() as f64 / batch as f64,
            _ => 1.0,
        };
        let weight = weights(NAME, [weight], &input)?;
        let loss = input.f_kl_div(&target, Reduction::None, self.log_target)?;
        let loss = reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)?;
        match self.reduction {
            Reduction::Mean if per_image != 1.0 => Ok(loss.f_mul_scalar(per_image)?),
            _ => Ok(loss),
        }
    }
}

weighted_loss!(KlDivLoss);

named_loss! {
    KlDivLoss: "kl_div", LogProbabilities => Dense, "torch.nn.KLDivLoss",
    [input, log_target, clip, batch_mean, reduction],
    presets { "kl_divergence" (Probabilities => Dense) => Self::keras(), "Keras `KLDivergence`" },
}

/// Jensen-Shannon divergence of input and target: symmetric, and at most log 2.
///
/// ```text
/// l = (KL(p || m) + KL(q || m)) / 2,   m = (p + q) / 2,   KL(p || m) = Σ_c p[c] (log p[c] - log m[c])
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `input` | `Logits` | what the input is; logits go through a softmax over dimension 1 |
/// | `target` | `Probabilities` | what the target is |
/// | `reduction` | `Mean` | |
///
/// Both sides get a gradient if they want one. That of a probability is unbounded at 0 by its nature;
/// here it stops at the smallest normal number, and is finite.
///
/// # Shapes
///
/// - input: (N, C, d1, ..)
/// - target: the input's shape, floating-point
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of positions N * d1 * .., or by the sum of the element weights. Where
/// nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight.
///
/// # Examples
///
/// Distributions that have nothing in common are log 2 apart:
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{JsDivLoss, Loss, classification::Distribution};
///
/// let loss = JsDivLoss::default().input(Distribution::Probabilities);
/// let p = Tensor::from_slice(&[0.5f64, 0.5, 0.0]).view([1, 3]);
/// let q = Tensor::from_slice(&[0.0f64, 0.0, 1.0]).view([1, 3]);
/// assert!((loss.forward(&p, &q).double_value(&[]) - std::f64::consts::LN_2).abs() < 1e-12);
/// assert!(loss.forward(&p, &p).double_value(&[]).abs() < 1e-15);
/// ```
///
/// # Differences
///
/// scipy's `jensenshannon` is the square root of it.
///
/// # Reference
///
/// Lin 1991, "Divergence Measures Based on the Shannon Entropy". See also [`KlDivLoss`], and
/// [`JsdCrossEntropy`] for more than two distributions.
#[derive(Debug, Clone)]
pub struct JsDivLoss {
    input: Distribution,
    target: Distribution,
    reduction: Reduction,
}

impl Default for JsDivLoss {
    fn default() -> Self {
        JsDivLoss {
            input: Distribution::Logits,
            target: Distribution::Probabilities,
            reduction: Reduction::Mean,
        }
    }
}

impl JsDivLoss {
    /// What the input is; logits by default.
    pub fn input(mut self, input: Distribution) -> Self {
        self.input = input;
        self
    }

    /// What the target is; probabilities by default.
    pub fn target(mut self, target: Distribution) -> Self {
        self.target = target;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "JsDivLoss";
        check::reduction(NAME, self.reduction)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        check::same_shape(NAME, input, target)?;
        let input = check::accumulated(NAME, "input", input)?;
        let target = check::in_kind(NAME, "target", target, input.f_kind()?)?;
        let (p, log_p) = distribution(input, self.input)?;
        let (q, log_q) = distribution(target, self.target)?;
        let mixture = log_of(&p.f_add(&q)?.f_mul_scalar_(0.5)?)?;
        let from = |p: Tensor, log_p: Tensor| sum_classes(&p.f_mul(&log_p.f_sub(&mixture)?)?);
        let loss = from(p, log_p)?.f_add(&from(q, log_q)?)?.f_mul_scalar(0.5)?;
        let weight = weights(NAME, [weight], &loss)?;
        reduce(loss, weight.as_ref(), MeanOver::Weights, self.reduction)
    }
}

/// The logarithm of probabilities, finite where they are 0 or rounded to it.
fn log_of(probabilities: &Tensor) -> Result<Tensor> {
    Ok(probabilities.f_add_scalar(smallest(probabilities)?)?.f_log()?)
}

/// Probabilities and their logarithms.
fn distribution(tensor: Tensor, what: Distribution) -> Result<(Tensor, Tensor)> {
    match what {
        Distribution::Logits => {
            let log = tensor.f_log_softmax(1, None::<Kind>)?;
            Ok((log.f_exp()?, log))
        }
        Distribution::Probabilities => {
            let log = log_of(&tensor)?;
            Ok((tensor, log))
        }
        Distribution::LogProbabilities => Ok((tensor.f_exp()?, tensor)),
    }
}

weighted_loss!(JsDivLoss);

named_loss! {
    JsDivLoss: "js_div", Logits => Dense, "Lin 1991", [input, target, reduction],
    aliases ["jensen_shannon", "js_divergence"],
}

/// Cross entropy of the images as they are, and the divergence among their augmented copies (AugMix).
///
/// ```text
/// l = CE(x_1, y) + α/K Σ_k KL(p_k || m),   p_k = softmax(x_k),   m = Σ_k p_k / K
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `num_splits` | 3 | K: the input is K batches one after another, the first of them not augmented |
/// | `alpha` | 12 | α |
/// | `label_smoothing` | 0.1 | ε of the cross entropy |
/// | `ignore_index` | -100 | targets of this value count for nothing, and have no divergence either |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: logits (K N, C, d1, ..)
/// - target: integer (K N, d1, ..), of which only the first N count, or just those (N, d1, ..)
/// - element weight: broadcastable to (N, d1, ..)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets among the first N that are not ignored, or by the sum of
/// their element weights. Where nothing counts it is 0.
///
/// # Errors
///
/// A batch that K does not divide; shape, kind or device of the target or a weight; `num_splits` below
/// 2; `alpha` below 0; `label_smoothing` outside [0, 1].
///
/// # Examples
///
/// Copies that agree leave the cross entropy alone:
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CrossEntropyLoss, JsdCrossEntropy, Loss};
///
/// let logits = Tensor::from_slice(&[1.0f64, 2.0, 0.5]).view([1, 3]);
/// let target = Tensor::from_slice(&[1i64]);
/// let loss = JsdCrossEntropy::default().forward(&logits.repeat([3, 1]), &target);
/// let alone = CrossEntropyLoss::default().label_smoothing(0.1).forward(&logits, &target);
/// assert!((loss.double_value(&[]) - alone.double_value(&[])).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// timm limits m to at least 1e-7, below which it has no gradient; here its logarithm is exact.
///
/// # Reference
///
/// Hendrycks et al. 2020, "AugMix: A Simple Data Processing Method to Improve Robustness and
/// Uncertainty". Follows timm 1.0.31 `JsdCrossEntropy`.
#[derive(Debug, Clone)]
pub struct JsdCrossEntropy {
    num_splits: i64,
    alpha: f64,
    label_smoothing: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for JsdCrossEntropy {
    fn default() -> Self {
        JsdCrossEntropy {
            num_splits: 3,
            alpha: 12.0,
            label_smoothing: 0.1,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl JsdCrossEntropy {
    /// K, at least 2.
    pub fn num_splits(mut self, num_splits: i64) -> Self {
        self.num_splits = num_splits;
        self
    }

    /// α, at least 0.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// ε, in [0, 1]; 0.1 by default.
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
        const NAME: &str = "JsdCrossEntropy";
        let splits = self.num_splits;
        check::reduction(NAME, self.reduction)?;
        check::param(NAME, "num_splits", splits as f64, splits >= 2, "at least 2")?;
        check::at_least_zero(NAME, "alpha", self.alpha)?;
        check::fraction(NAME, "label_smoothing", self.label_smoothing)?;
        let dims = input.size();
        let ok = dims.len() >= 2 && dims[0] % splits == 0;
        check::shape_is(NAME, "input", input, ok, &format!("[{splits} N, C, ..]"))?;
        let logits = check::accumulated(NAME, "input", input)?;
        let clean = dims[0] / splits;
        let target = match target.size() == positions(&dims) {
            true => target.f_narrow(0, 0, clean)?,
            false => target.shallow_clone(),
        };
        let first = logits.f_narrow(0, 0, clean)?;
        let likelihood =
            ClassTarget::Index(Classes::new(NAME, &first, &target, self.ignore_index)?);

        let split = |logits| distribution(logits, Distribution::Logits);
        let parts: Vec<_> =
            logits.f_chunk(splits, 0)?.into_iter().map(split).collect::<Result<_>>()?;
        let mut sum = parts[0].0.f_add(&parts[1].0)?;
        for (p, _) in &parts[2..] {
            sum = sum.f_add_(p)?;
        }
        let mixture = log_of(&sum.f_div_scalar_(splits)?)?;
        drop(sum);
        let cross_entropy = likelihood.expected(&parts[0].1, self.label_smoothing)?.f_neg()?;
        let mut divergence = cross_entropy.f_zeros_like()?;
        for (p, log_p) in parts {
            divergence = divergence.f_add(&sum_classes(&p.f_mul(&log_p.f_sub(&mixture)?)?)?)?;
        }
        let loss = cross_entropy.f_add(&divergence.f_mul_scalar(self.alpha / splits as f64)?)?;
        likelihood.reduce(NAME, loss, weight, None, self.reduction)
    }
}

weighted_loss!(JsdCrossEntropy);

named_loss! {
    JsdCrossEntropy: "jsd_cross_entropy", Logits => Index, "timm `JsdCrossEntropy`",
    [num_splits, alpha, label_smoothing, ignore_index, reduction], aliases ["jsd", "augmix"],
}
