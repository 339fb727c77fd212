//! Inception score.

use crate::{LossError, Result, check, error::unwrap};
use tch::{Device, Kind, Tensor, no_grad};

const NAME: &str = "inception_score";

/// Mean and standard deviation over the splits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InceptionScore {
    /// Mean of the splits' scores, in [1, K].
    pub mean: f64,
    /// Their standard deviation, that of a population (divided by the number of splits).
    pub std: f64,
}

/// Inception score of a classifier's logits of generated images.
///
/// ```text
/// score = exp( mean_n Σ_k p_nk (log p_nk - log q_k) ),   p = softmax(logits),  q = mean_n p
/// ```
///
/// within each split: samples `s N / splits` up to `(s+1) N / splits`, rounded down, in the order
/// in which they come; shuffle them first if that has a meaning. Computed in Double from log
/// probabilities: finite for every logit.
///
/// # Shapes
///
/// `logits` (N, K), floating-point.
///
/// # Errors
///
/// Shape or kind; no split, or more splits than samples.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::inception_score;
///
/// // Sure of each of three classes equally often.
/// let logits = Tensor::eye(3, (Kind::Float, Device::Cpu)) * 1e4;
/// assert!((inception_score(&logits, 1).mean - 3.0).abs() < 1e-12);
/// let unsure = Tensor::zeros([3, 3], (Kind::Float, Device::Cpu));
/// assert!((inception_score(&unsure, 1).mean - 1.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// torch-fidelity shuffles with a seed of its own by default, and torchmetrics without one; both
/// take the logits without the bias of the last layer. torchmetrics and piq divide by one split
/// less in the deviation.
///
/// # Reference
///
/// Salimans et al. 2016, "Improved Techniques for Training GANs". Follows torch-fidelity 0.4.
pub fn f_inception_score(logits: &Tensor, splits: i64) -> Result<InceptionScore> {
    let size = logits.size();
    check::shape_is(NAME, "logits", logits, size.len() == 2 && size[1] > 0, "[N, K]")?;
    if splits < 1 || splits > size[0] {
        return Err(LossError::Param {
            loss: NAME,
            option: "splits",
            expected: "from 1 to the number of samples",
            got: splits.to_string(),
        });
    }
    let mut sums = InceptionScoreSums::f_new(splits)?;
    for split in 0..splits {
        let (first, last) = (split * size[0] / splits, (split + 1) * size[0] / splits);
        sums.f_add(split, &logits.f_narrow(0, first, last - first)?)?;
    }
    sums.f_score()
}

/// [`f_inception_score`], or a panic with its error.
#[track_caller]
pub fn inception_score(logits: &Tensor, splits: i64) -> InceptionScore {
    unwrap(f_inception_score(logits, splits))
}

/// What the inception score needs of logits that arrive batch by batch.
///
/// Memory does not grow with the number of samples: it is that of one row of probabilities a split.
///
/// # Examples
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_losses::metrics::{InceptionScoreSums, inception_score};
///
/// let logits = Tensor::randn([40, 5], (Kind::Double, Device::Cpu));
/// let mut sums = InceptionScoreSums::f_new(2)?;
/// for (i, batch) in logits.split(10, 0).iter().enumerate() {
///     sums.f_add(i as i64 / 2, batch)?;
/// }
/// assert!((sums.f_score()?.mean - inception_score(&logits, 2).mean).abs() < 1e-12);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
#[derive(Debug)]
pub struct InceptionScoreSums {
    splits: Vec<Split>,
}

#[derive(Debug)]
struct Split {
    count: i64,
    /// Σ p, (K) in Double on the CPU; (0) before the first sample.
    p: Tensor,
    /// Σ p log p over samples and classes.
    negentropy: f64,
}

impl InceptionScoreSums {
    /// No samples yet, in so many splits.
    ///
    /// # Errors
    ///
    /// No split.
    pub fn f_new(splits: i64) -> Result<Self> {
        check::param(NAME, "splits", splits as f64, splits >= 1, "at least 1")?;
        let none = |_| Split {
            count: 0,
            p: Tensor::zeros([0], (Kind::Double, Device::Cpu)),
            negentropy: 0.0,
        };
        Ok(InceptionScoreSums { splits: (0..splits).map(none).collect() })
    }

    /// The split of sample `i` of `n`, counted from 0, as [`f_inception_score`] splits them.
    pub fn split_of(&self, i: i64, n: i64) -> i64 {
        let splits = self.splits.len() as i64;
        (((i + 1) * splits - 1) / n.max(1)).clamp(0, splits - 1)
    }

    /// Adds logits (N, K) to a split, of any floating-point kind and on any device.
    ///
    /// # Errors
    ///
    /// Shape or kind; another number of classes than before; a split that there is not.
    pub fn f_add(&mut self, split: i64, logits: &Tensor) -> Result<()> {
        let size = logits.size();
        check::shape_is(NAME, "logits", logits, size.len() == 2 && size[1] > 0, "[N, K]")?;
        let kind = logits.f_kind()?;
        if !check::is_float(kind) {
            let (what, expected) = ("logits", "floating-point");
            return Err(LossError::Kind { loss: NAME, what, expected, got: kind });
        }
        let splits = self.splits.len();
        let found = usize::try_from(split).ok().and_then(|split| self.splits.get_mut(split));
        let Some(sums) = found else {
            return Err(LossError::Param {
                loss: NAME,
                option: "split",
                expected: "below the number of splits",
                got: format!("{split} of {splits}"),
            });
        };
        if sums.count > 0 {
            check::shape(NAME, "logits", logits, &[size[0], sums.p.size()[0]])?;
        }
        if size[0] == 0 {
            return Ok(());
        }
        no_grad(|| {
            let logits = logits.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?;
            let log_p = logits.f_log_softmax(1, Kind::Double)?;
            let p = log_p.f_exp()?;
            sums.negentropy += times_log(&p, &log_p)?;
            let sum = p.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double)?;
            sums.p = if sums.count > 0 { sums.p.f_add(&sum)? } else { sum };
            sums.count += size[0];
            Ok(())
        })
    }

    /// The score of what was added.
    ///
    /// # Errors
    ///
    /// A split without samples.
    pub fn f_score(&self) -> Result<InceptionScore> {
        let score = |split: &Split| -> Result<f64> {
            if split.count == 0 {
                let message = "a split has no samples; take fewer splits";
                return Err(LossError::Unsupported { loss: NAME, message });
            }
            let count = split.count as f64;
            let q = split.p.f_div_scalar(count)?;
            Ok((split.negentropy / count - times_log(&q, &q.f_log()?)?).exp())
        };
        let scores = self.splits.iter().map(score).collect::<Result<Vec<f64>>>()?;
        let count = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
        Ok(InceptionScore { mean, std: variance.sqrt() })
    }
}

/// Σ p log p. Where p underflows to 0 its logarithm may be infinite, and their product counts 0.
fn times_log(p: &Tensor, log_p: &Tensor) -> Result<f64> {
    let terms = p.f_mul(log_p)?.f_masked_fill(&p.f_eq(0.0)?, 0.0)?;
    Ok(terms.f_sum(Kind::Double)?.f_double_value(&[])?)
}
