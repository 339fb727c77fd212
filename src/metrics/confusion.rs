//! Which class was taken for which.

use crate::{LossError, Result, check, error::unwrap};
use tch::{Kind, Tensor};

const NAME: &str = "ConfusionMatrix";

/// How often each class was predicted for each actual class, and the scores that follow from it.
///
/// ```text
/// n[a][p] = number of elements of class a that were predicted as p
/// tp = n[c][c],   fp = Σ_a n[a][c] - tp,   fn = Σ_p n[c][p] - tp
/// precision = tp/(tp+fp),   recall = tp/(tp+fn),   F1 = Dice = 2tp/(2tp+fp+fn),   IoU = tp/(tp+fp+fn)
/// ```
///
/// Images, pixels or voxels: an element is whatever has a target. Add one batch after another.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `ignore_index` | none | targets of this value count for nothing |
///
/// # Shapes
///
/// - input: logits or probabilities (N, C, d1, ..), floating-point, of which the largest is the
///   prediction; or predicted classes in the target's shape, integer or bool
/// - target: class indices (N, d1, ..), integer or bool
///
/// # Errors
///
/// [`ConfusionMatrix::f_update`]: shape, kind or device of a tensor; a class outside [0, C), in
/// which case nothing of the batch is counted.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::metrics::ConfusionMatrix;
///
/// let mut matrix = ConfusionMatrix::new(3).ignore_index(255);
/// let predicted = Tensor::from_slice(&[0i64, 1, 1, 2, 0]);
/// let actual = Tensor::from_slice(&[0i64, 1, 2, 2, 255]);
/// matrix.update(&predicted, &actual);
/// assert_eq!(matrix.count(2, 1), 1);
/// assert_eq!(matrix.accuracy(), Some(0.75));
/// assert_eq!((matrix.precision(1), matrix.recall(1)), (Some(0.5), Some(1.0)));
/// assert_eq!((matrix.iou(2), matrix.dice(2)), (Some(0.5), Some(2.0 / 3.0)));
/// ```
///
/// # Differences
///
/// A ratio without a denominator is `None`; torchmetrics gives 0. Means over classes leave out what
/// is `None`: `mean_recall` the classes that never occur, as scikit-learn's balanced accuracy,
/// where torchmetrics' macro recall counts 0 for one that was predicted. torchmetrics takes no
/// batch without elements.
///
/// # Reference
///
/// Follows torchmetrics 1.9 `MulticlassConfusionMatrix`, `MulticlassPrecision`, `MulticlassRecall`,
/// `MulticlassF1Score`, `MulticlassJaccardIndex`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    ignore_index: Option<i64>,
    /// `[actual][predicted]`
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// No element of any of `classes` classes yet.
    pub fn new(classes: usize) -> Self {
        ConfusionMatrix { classes, ignore_index: None, counts: vec![0; classes * classes] }
    }

    /// The target value that marks elements to leave out.
    pub fn ignore_index(mut self, ignore_index: impl Into<Option<i64>>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// Counts a batch. It reads its counts back to the host.
    pub fn f_update(&mut self, input: &Tensor, target: &Tensor) -> Result<()> {
        let classes = self.classes as i64;
        let predicted = predictions(NAME, input, target, classes)?;
        check::device(NAME, "target", target, input)?;
        let actual = indices(NAME, "target", target)?.f_reshape([-1])?;
        let ignored = self.ignore_index.map(|ignored| actual.f_eq(ignored)).transpose()?;
        let (actual, predicted) = match &ignored {
            Some(ignored) => {
                (actual.f_masked_fill(ignored, 0)?, predicted.f_masked_fill(ignored, 0)?)
            }
            None => (actual, predicted),
        };
        in_range(NAME, "target", &actual, classes)?;
        in_range(NAME, "input", &predicted, classes)?;
        let cell = actual.f_mul_scalar(classes)?.f_add(&predicted)?;
        // What is ignored goes to a cell of its own.
        let cell = match &ignored {
            Some(ignored) => cell.f_masked_fill(ignored, classes * classes)?,
            None => cell,
        };
        let counts = cell.f_bincount(None::<&Tensor>, classes * classes + 1)?;
        let counts = Vec::<i64>::try_from(counts)?;
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count as u64);
        Ok(())
    }

    /// [`ConfusionMatrix::f_update`], or a panic with its error.
    #[track_caller]
    pub fn update(&mut self, input: &Tensor, target: &Tensor) {
        unwrap(self.f_update(input, target));
    }

    /// Adds the counts of another matrix, such as that of another process.
    ///
    /// # Errors
    ///
    /// Another number of classes.
    pub fn f_merge(&mut self, other: &ConfusionMatrix) -> Result<()> {
        if self.classes != other.classes {
            return Err(LossError::Shape {
                loss: NAME,
                what: "other",
                expected: format!("{:?}", [self.classes; 2]),
                got: vec![other.classes as i64; 2],
            });
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        Ok(())
    }

    /// [`ConfusionMatrix::f_merge`], or a panic with its error.
    #[track_caller]
    pub fn merge(&mut self, other: &ConfusionMatrix) {
        unwrap(self.f_merge(other));
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Elements of class `actual` that were predicted as `predicted`; 0 for a class that is not there.
    pub fn count(&self, actual: usize, predicted: usize) -> u64 {
        let inside = actual < self.classes && predicted < self.classes;
        if inside { self.counts[actual * self.classes + predicted] } else { 0 }
    }

    /// All counts, a row for each actual class.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.classes.max(1))
    }

    /// Elements counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Elements of a class: tp + fn.
    pub fn actual(&self, class: usize) -> u64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    /// Elements predicted as a class: tp + fp.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|actual| self.count(actual, class)).sum()
    }

    /// The share of elements whose class was predicted. `None` without elements.
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        ratio(right, self.total())
    }

    /// tp/(tp+fp). `None` for a class that was never predicted.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.predicted(class))
    }

    /// tp/(tp+fn). `None` for a class that never occurs.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.actual(class))
    }

    /// 2tp/(2tp+fp+fn). `None` for a class that neither occurs nor was predicted.
    pub fn f1(&self, class: usize) -> Option<f64> {
        ratio(2 * self.count(class, class), self.actual(class) + self.predicted(class))
    }

    /// The Dice coefficient: another name of [`ConfusionMatrix::f1`].
    pub fn dice(&self, class: usize) -> Option<f64> {
        self.f1(class)
    }

    /// tp/(tp+fp+fn), the Jaccard index. `None` for a class that neither occurs nor was predicted.
    pub fn iou(&self, class: usize) -> Option<f64> {
        let tp = self.count(class, class);
        ratio(tp, self.actual(class) + self.predicted(class) - tp)
    }

    /// The mean recall of the classes that occur: balanced accuracy.
    pub fn mean_recall(&self) -> Option<f64> {
        self.mean(Self::recall)
    }

    /// The mean F1 of the classes that occur or were predicted: macro F1.
    pub fn mean_f1(&self) -> Option<f64> {
        self.mean(Self::f1)
    }

    /// The mean Dice coefficient: another name of [`ConfusionMatrix::mean_f1`].
    pub fn mean_dice(&self) -> Option<f64> {
        self.mean_f1()
    }

    /// The mean IoU of the classes that occur or were predicted: mIoU.
    pub fn mean_iou(&self) -> Option<f64> {
        self.mean(Self::iou)
    }

    fn mean(&self, score: impl Fn(&Self, usize) -> Option<f64>) -> Option<f64> {
        let scores: Vec<f64> = (0..self.classes).filter_map(|class| score(self, class)).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Class indices, integer or bool, as Int64.
pub(super) fn indices(metric: &'static str, what: &'static str, tensor: &Tensor) -> Result<Tensor> {
    match tensor.f_kind()? {
        Kind::Bool => Ok(tensor.f_to_kind(Kind::Int64)?),
        _ => check::index(metric, what, tensor),
    }
}

/// The predicted class of each target, flat: `input` holds it, or logits of which it is the largest.
fn predictions(
    metric: &'static str,
    input: &Tensor,
    target: &Tensor,
    classes: i64,
) -> Result<Tensor> {
    if !check::is_float(input.f_kind()?) {
        check::shape(metric, "input", input, &target.size())?;
        return Ok(indices(metric, "input", input)?.f_reshape([-1])?);
    }
    with_classes(metric, input, target, classes)?;
    Ok(input.f_argmax(1, false)?.f_reshape([-1])?)
}

/// Checks that `input` is `target` with `classes` numbers for each element, along dimension 1.
pub(super) fn with_classes(
    metric: &'static str,
    input: &Tensor,
    target: &Tensor,
    classes: i64,
) -> Result<()> {
    let target = target.size();
    let (images, positions) = target.split_at(target.len().min(1));
    check::shape(metric, "input", input, &[images, &[classes], positions].concat())
}

/// Checks that every index is a class.
pub(super) fn in_range(
    metric: &'static str,
    what: &'static str,
    index: &Tensor,
    classes: i64,
) -> Result<()> {
    if index.numel() == 0 {
        return Ok(());
    }
    let (low, high) = index.f_aminmax(None, false)?;
    let (low, high) = (low.f_int64_value(&[])?, high.f_int64_value(&[])?);
    if low >= 0 && high < classes {
        return Ok(());
    }
    let got = if low < 0 { low } else { high };
    Err(LossError::Param {
        loss: metric,
        option: what,
        expected: "at least 0 and below the number of classes",
        got: format!("{got} for {classes} classes"),
    })
}
