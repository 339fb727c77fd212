//! Inception score.

use crate::{LossError, Result, check, error::unwrap};
use tch::{Kind, Tensor};

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
    const NAME: &str = "inception_score";
    let size = logits.size();
    check::shape_is(NAME, "logits", logits, size.len() == 2 && size[1] > 0, "[N, K]")?;
    let kind = logits.f_kind()?;
    if !check::is_float(kind) {
        let (what, expected) = ("logits", "floating-point");
        return Err(LossError::Kind { loss: NAME, what, expected, got: kind });
    }
    if splits < 1 || splits > size[0] {
        return Err(LossError::Param {
            loss: NAME,
            option: "splits",
            expected: "from 1 to the number of samples",
            got: splits.to_string(),
        });
    }
    let log_p = logits.f_detach()?.f_to_kind(Kind::Double)?.f_log_softmax(1, Kind::Double)?;
    let scores = (0..splits).map(|split| -> Result<f64> {
        let (first, last) = (split * size[0] / splits, (split + 1) * size[0] / splits);
        let log_p = log_p.f_narrow(0, first, last - first)?;
        let log_q = log_p
            .f_logsumexp([0i64].as_slice(), true)?
            .f_sub_scalar(((last - first) as f64).ln())?;
        // Where p underflows to 0 the logarithms may be infinite, and their product counts 0.
        let p = log_p.f_exp()?;
        let terms = p.f_mul(&log_p.f_sub(&log_q)?)?.f_masked_fill(&p.f_eq(0.0)?, 0.0)?;
        let divergence = terms.f_sum(Kind::Double)?.f_double_value(&[])? / (last - first) as f64;
        Ok(divergence.exp())
    });
    let scores = scores.collect::<Result<Vec<f64>>>()?;
    let mean = scores.iter().sum::<f64>() / splits as f64;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / splits as f64;
    Ok(InceptionScore { mean, std: variance.sqrt() })
}

/// [`f_inception_score`], or a panic with its error.
#[track_caller]
pub fn inception_score(logits: &Tensor, splits: i64) -> InceptionScore {
    unwrap(f_inception_score(logits, splits))
}
