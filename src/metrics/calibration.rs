//! How far a classifier's confidence can be trusted.

use super::confusion::{in_range, indices, with_classes};
use crate::{LossError, Result, check, error::unwrap};
use tch::{Kind, Tensor};

const NAME: &str = "Calibration";

/// Confidence against accuracy, in bins of equal width: the reliability diagram and its errors.
///
/// ```text
/// bin i of M holds the elements of confidence in (i/M, (i+1)/M], and 0 is in the first
/// gap_i = accuracy_i - confidence_i, the means over bin i,   share_i = n_i/n
/// ECE = Σ share_i |gap_i|,   MCE = max |gap_i|,   RMSCE = sqrt(Σ share_i gap_i²)
/// ```
///
/// The confidence of an element is its largest probability, which is right or not. Add one batch
/// after another; sums are kept in `f64`.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `ignore_index` | none | targets of this value count for nothing |
///
/// # Shapes
///
/// - probabilities: (N, C, d1, ..), floating-point in [0, 1]
/// - target: class indices (N, d1, ..), integer or bool
///
/// # Errors
///
/// [`Calibration::f_update`]: shape, kind or device of a tensor; a largest probability outside
/// [0, 1], such as that of logits; a class outside [0, C). Nothing of the batch is counted then.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::metrics::Calibration;
///
/// let mut calibration = Calibration::new(10);
/// // Three elements of confidence 0.75, of which two are right.
/// let probabilities = Tensor::from_slice(&[0.75f64, 0.25, 0.75, 0.25, 0.25, 0.75]).view([3, 2]);
/// calibration.update(&probabilities, &Tensor::from_slice(&[0i64, 1, 1]));
/// let gap = 0.75 - 2.0 / 3.0;
/// assert!((calibration.ece().unwrap() - gap).abs() < 1e-12);
/// let bin = calibration.bins()[7];
/// assert_eq!((bin.count, bin.confidence, bin.accuracy), (3, Some(0.75), Some(2.0 / 3.0)));
/// ```
///
/// # Differences
///
/// torchmetrics closes bins on the left, and puts a confidence of exactly 1 into a bin of its own;
/// here bins are closed on the right, as in the paper. Both agree where no confidence lies on the
/// border of a bin.
///
/// # Reference
///
/// Guo et al. 2017, "On Calibration of Modern Neural Networks". Follows torchmetrics 1.9
/// `MulticlassCalibrationError` (`l1`, `max`, `l2`).
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    ignore_index: Option<i64>,
    sums: Vec<Sums>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    count: u64,
    confidence: f64,
    right: f64,
}

/// One bar of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Confidences above this; the first bin holds 0 too.
    pub low: f64,
    /// Confidences up to this.
    pub high: f64,
    /// Elements in the bin.
    pub count: u64,
    /// Their mean confidence; `None` without elements.
    pub confidence: Option<f64>,
    /// The share of them that is right; `None` without elements.
    pub accuracy: Option<f64>,
}

/// What rounding may add to a probability of 1.
const SLACK: f64 = 1e-3;

impl Calibration {
    /// No element yet in `bins` bins, at least one; 10 or 15 is usual.
    pub fn new(bins: usize) -> Self {
        Calibration { ignore_index: None, sums: vec![Sums::default(); bins.max(1)] }
    }

    /// The target value that marks elements to leave out.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// Takes a batch in. It reads its sums back to the host.
    pub fn f_update(&mut self, probabilities: &Tensor, target: &Tensor) -> Result<()> {
        let classes = probabilities.size().get(1).copied().unwrap_or(0);
        with_classes(NAME, probabilities, target, classes)?;
        let ok = classes > 0;
        check::shape_is(NAME, "input", probabilities, ok, "[N, C, ..] with C at least 1")?;
        check::device(NAME, "target", target, probabilities)?;
        let probabilities = check::accumulated(NAME, "input", probabilities)?;
        let actual = indices(NAME, "target", target)?;
        let counts = self.ignore_index.map(|ignored| actual.f_ne(ignored)).transpose()?;
        let actual = match &counts {
            Some(counts) => actual.f_mul(counts)?,
            None => actual,
        };
        in_range(NAME, "target", &actual, classes)?;
        let (confidence, predicted) = probabilities.f_max_dim(1, false)?;
        let right = predicted.f_eq_tensor(&actual)?;
        self.add(&confidence, &right, counts.as_ref())
    }

    /// [`Calibration::f_update`], or a panic with its error.
    #[track_caller]
    pub fn update(&mut self, probabilities: &Tensor, target: &Tensor) {
        unwrap(self.f_update(probabilities, target));
    }

    /// Takes confidences in [0, 1] of any shape in, and whether each was right: bool, integer or
    /// floating-point of that shape. For a binary classifier these are the probability of the
    /// positive class and the target.
    pub fn f_update_confidence(&mut self, confidence: &Tensor, right: &Tensor) -> Result<()> {
        check::shape(NAME, "right", right, &confidence.size())?;
        check::device(NAME, "right", right, confidence)?;
        let confidence = check::accumulated(NAME, "confidence", confidence)?;
        self.add(&confidence, right, None)
    }

    /// [`Calibration::f_update_confidence`], or a panic with its error.
    #[track_caller]
    pub fn update_confidence(&mut self, confidence: &Tensor, right: &Tensor) {
        unwrap(self.f_update_confidence(confidence, right));
    }

    fn add(&mut self, confidence: &Tensor, right: &Tensor, counts: Option<&Tensor>) -> Result<()> {
        let confidence = confidence.f_detach()?.f_to_kind(Kind::Double)?.f_reshape([-1])?;
        let right = check::in_kind(NAME, "right", right, Kind::Double)?.f_reshape([-1])?;
        let (confidence, counts) = match counts {
            Some(counts) => {
                let counts = counts.f_reshape([-1])?;
                (confidence.f_where_self(&counts, &confidence.f_zeros_like()?)?, Some(counts))
            }
            None => (confidence, None),
        };
        if confidence.numel() == 0 {
            return Ok(());
        }
        let (low, high) = confidence.f_aminmax(None, false)?;
        for value in [low.f_double_value(&[])?, high.f_double_value(&[])?] {
            // Written so that NaN fails.
            let inside = (-SLACK..=1.0 + SLACK).contains(&value);
            check::param(NAME, "probabilities", value, inside, "in [0, 1]")?;
        }
        let bins = self.sums.len() as i64;
        let bin = confidence.f_mul_scalar(bins as f64)?.f_ceil()?.f_sub_scalar(1.0)?;
        let bin = bin.f_clamp(0.0, (bins - 1) as f64)?.f_to_kind(Kind::Int64)?;
        // What is ignored goes to a bin of its own.
        let bin = match &counts {
            Some(counts) => bin.f_masked_fill(&counts.f_logical_not()?, bins)?,
            None => bin,
        };
        let sum = |of: Option<&Tensor>| -> Result<Vec<f64>> {
            Ok(Vec::try_from(bin.f_bincount(of, bins + 1)?.f_to_kind(Kind::Double)?)?)
        };
        let (counts, confidence, right) = (sum(None)?, sum(Some(&confidence))?, sum(Some(&right))?);
        for (i, bin) in self.sums.iter_mut().enumerate() {
            bin.count += counts[i] as u64;
            bin.confidence += confidence[i];
            bin.right += right[i];
        }
        Ok(())
    }

    /// Adds what another has taken in, such as that of another process.
    ///
    /// # Errors
    ///
    /// Another number of bins.
    pub fn f_merge(&mut self, other: &Calibration) -> Result<()> {
        if self.sums.len() != other.sums.len() {
            return Err(LossError::Shape {
                loss: NAME,
                what: "other",
                expected: format!("{:?}", [self.sums.len()]),
                got: vec![other.sums.len() as i64],
            });
        }
        for (sum, other) in self.sums.iter_mut().zip(&other.sums) {
            sum.count += other.count;
            sum.confidence += other.confidence;
            sum.right += other.right;
        }
        Ok(())
    }

    /// [`Calibration::f_merge`], or a panic with its error.
    #[track_caller]
    pub fn merge(&mut self, other: &Calibration) {
        unwrap(self.f_merge(other));
    }

    /// The bars of the reliability diagram, from low to high confidence.
    pub fn bins(&self) -> Vec<ReliabilityBin> {
        let width = 1.0 / self.sums.len() as f64;
        let bin = |(i, sums): (usize, &Sums)| {
            let mean = |sum: f64| (sums.count > 0).then(|| sum / sums.count as f64);
            ReliabilityBin {
                low: i as f64 * width,
                high: (i + 1) as f64 * width,
                count: sums.count,
                confidence: mean(sums.confidence),
                accuracy: mean(sums.right),
            }
        };
        self.sums.iter().enumerate().map(bin).collect()
    }

    /// Elements taken in.
    pub fn total(&self) -> u64 {
        self.sums.iter().map(|bin| bin.count).sum()
    }

    /// The mean confidence of all elements. `None` without elements, as all that follows.
    pub fn confidence(&self) -> Option<f64> {
        self.mean(|bin| bin.confidence)
    }

    /// The share of elements that is right.
    pub fn accuracy(&self) -> Option<f64> {
        self.mean(|bin| bin.right)
    }

    /// Expected calibration error: the mean gap between confidence and accuracy.
    pub fn ece(&self) -> Option<f64> {
        self.mean(|bin| (bin.right - bin.confidence).abs())
    }

    /// Maximum calibration error: the largest gap of a bin that holds anything.
    pub fn mce(&self) -> Option<f64> {
        let filled = self.sums.iter().filter(|bin| bin.count > 0);
        filled.map(|bin| (bin.right - bin.confidence).abs() / bin.count as f64).reduce(f64::max)
    }

    /// Root mean square calibration error.
    pub fn rmsce(&self) -> Option<f64> {
        let square = |bin: &Sums| match bin.count {
            0 => 0.0,
            count => (bin.right - bin.confidence).powi(2) / count as f64,
        };
        Some(self.mean(square)?.sqrt())
    }

    fn mean(&self, term: impl Fn(&Sums) -> f64) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.sums.iter().map(term).sum::<f64>() / total as f64)
    }
}
