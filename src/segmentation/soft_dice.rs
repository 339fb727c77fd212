//! Soft Dice.

use super::statistics::{Counting, IgnoreIndex, Nonlinearity, Overlap, Terms, overlap};
use crate::{
    LossError, MeanOver, Reduction, Result, check,
    loss::{named_loss, option_enum, weighted_loss},
    reduce::reduce,
};
use tch::Tensor;

/// What a [`SoftDiceLoss`] makes of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiceForm {
    /// `-dc`, in [-1, 0]
    #[default]
    Negative,
    /// `1 - dc`, in [0, 1]
    OneMinus,
}

/// Soft Dice loss of a segmentation.
///
/// ```text
/// l = -dc,   dc = (2 tp + s) / max(2 tp + fp + fn + s, 1e-8)   for each image and class
/// tp = Σ m p y,   fp = Σ m p (1-y),   fn = Σ m (1-p) y         over the pixels
/// ```
///
/// p are the probabilities, y the target (one-hot or soft), m the mask.
///
/// | option | default | `nnunet()` | meaning |
/// |---|---|---|---|
/// | `apply_nonlin` | `None` | `Softmax` | what turns the input into probabilities |
/// | `batch_dice` | false | true | tp, fp and fn are summed over the batch too |
/// | `do_bg` | true | false | false leaves class 0 out |
/// | `smooth` | 1 | 1e-5 | s |
/// | `square` | false | false | square each pixel's tp, fp and fn before they are summed |
/// | `ignore_index` | none | none | targets of this value, or of these, count for nothing |
/// | `form` | `Negative` | `Negative` | `OneMinus` for `1 - dc` |
/// | `reduction` | `Mean` | `Mean` | |
///
/// A class that is neither there nor predicted scores s/s = 1, or 0 without smoothing, and has no
/// gradient; so does everything where all is masked.
///
/// # Shapes
///
/// - input: (N, C, d1, ..): logits with an `apply_nonlin`, else probabilities
/// - target: class indices, integer, (N, d1, ..) or (N, 1, d1, ..) with values in [0, C); or
///   one-hot or soft, of any kind, (N, C, d1, ..). With C = 1 both are the map itself
/// - `loss_mask`, the weight of [`forward_weighted`](crate::Loss::forward_weighted): how much each
///   pixel counts, (N, d1, ..) or (N, 1, d1, ..), of any kind
/// - loss: a scalar; without reduction (N, C), or (C) with `batch_dice`, of the classes kept.
///   `Half` and `BFloat16` are computed and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of scores: images times classes kept, or classes kept with
/// `batch_dice`. Without any score it is 0.
///
/// # Errors
///
/// Shape, kind or device of a tensor; `smooth` below 0; `do_bg(false)` or `Softmax` with one class
/// only; a class index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, SoftDiceLoss, segmentation::{DiceForm, Nonlinearity}};
///
/// // One image of two pixels and two classes.
/// let logits = Tensor::from_slice(&[0.0f64, 0.0, 0.0, 0.0]).view([1, 2, 2]);
/// let target = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let dice = SoftDiceLoss::default().apply_nonlin(Nonlinearity::Softmax);
/// // tp = fp = fn = 0.5 for both classes: -(1 + 1) / (1 + 0.5 + 0.5 + 1)
/// let loss = dice.forward(&logits, &target).double_value(&[]);
/// assert!((loss + 2.0 / 3.0).abs() < 1e-12);
/// let loss = dice.form(DiceForm::OneMinus).forward(&logits, &target).double_value(&[]);
/// assert!((loss - 1.0 / 3.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The value is in [-1, 0] as in the originals; `form(DiceForm::OneMinus)` gives the usual
/// `1 - dc`. SegLossOdyssey's denominator is not held above 1e-8, so that without smoothing an
/// absent class is NaN; its `do_bg=False` with one class is NaN too. `nnunet()` is what nnU-Net's
/// trainer builds for 2-D data and for 3-D data with a cascade; its plans say `batch_dice(false)`
/// otherwise, and regions take `Sigmoid` and `do_bg(true)`. nnU-Net has no `square` in its loss
/// and sums over the processes of a distributed run.
///
/// # Reference
///
/// Milletari et al. 2016, "V-Net"; Drozdzal et al. 2016, "The Importance of Skip Connections in
/// Biomedical Image Segmentation". Follows SegLossOdyssey's `SoftDiceLoss`; `nnunet()` follows
/// nnU-Net 2.8 `MemoryEfficientSoftDiceLoss`. See also [`tp_fp_fn`](super::tp_fp_fn).
#[derive(Debug, Clone)]
pub struct SoftDiceLoss {
    apply_nonlin: Nonlinearity,
    batch_dice: bool,
    do_bg: bool,
    smooth: f64,
    square: bool,
    ignore_index: IgnoreIndex,
    form: DiceForm,
    reduction: Reduction,
}

impl Default for SoftDiceLoss {
    fn default() -> Self {
        SoftDiceLoss {
            apply_nonlin: Nonlinearity::None,
            batch_dice: false,
            do_bg: true,
            smooth: 1.0,
            square: false,
            ignore_index: IgnoreIndex::default(),
            form: DiceForm::Negative,
            reduction: Reduction::Mean,
        }
    }
}

impl SoftDiceLoss {
    /// nnU-Net's trainer: softmax, one score per class over the batch, no background, s 1e-5.
    pub fn nnunet() -> Self {
        SoftDiceLoss::default()
            .apply_nonlin(Nonlinearity::Softmax)
            .batch_dice(true)
            .do_bg(false)
            .smooth(1e-5)
    }

    /// What turns the input into probabilities; `None` by default.
    pub fn apply_nonlin(mut self, apply_nonlin: Nonlinearity) -> Self {
        self.apply_nonlin = apply_nonlin;
        self
    }

    /// Whether a class has one score for the whole batch; false by default.
    pub fn batch_dice(mut self, batch_dice: bool) -> Self {
        self.batch_dice = batch_dice;
        self
    }

    /// Whether class 0 has a score too; true by default.
    pub fn do_bg(mut self, do_bg: bool) -> Self {
        self.do_bg = do_bg;
        self
    }

    /// s, at least 0; 1 by default.
    pub fn smooth(mut self, smooth: f64) -> Self {
        self.smooth = smooth;
        self
    }

    /// Whether to square each pixel's tp, fp and fn before they are summed; false by default.
    pub fn square(mut self, square: bool) -> Self {
        self.square = square;
        self
    }

    /// The target values that mark what to leave out: `255`, or `[0, 255]`.
    pub fn ignore_index(mut self, ignore_index: impl Into<IgnoreIndex>) -> Self {
        self.ignore_index = ignore_index.into();
        self
    }

    /// `Negative` by default.
    pub fn form(mut self, form: DiceForm) -> Self {
        self.form = form;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(
        &self,
        input: &Tensor,
        target: &Tensor,
        loss_mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        const NAME: &str = "SoftDiceLoss";
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "smooth", self.smooth)?;
        let classes = input.size().get(1).copied().unwrap_or(0);
        if !self.do_bg && classes == 1 {
            return Err(LossError::Param {
                loss: NAME,
                option: "do_bg",
                expected: "true for one class",
                got: "false".to_owned(),
            });
        }
        let counting = Counting {
            mask: loss_mask,
            ignore_index: &self.ignore_index,
            terms: if self.square { Terms::Square } else { Terms::Product },
        };
        let mut sums = overlap(NAME, "input", input, self.apply_nonlin, target, &counting)?;
        if self.batch_dice {
            sums = sums.over_batch()?;
        }
        let Overlap { tp, predicted, actual, .. } = sums;
        let numerator = tp.f_mul_scalar(2.0)?.f_add_scalar(self.smooth)?;
        let denominator = predicted.f_add(&actual)?.f_add_scalar(self.smooth)?;
        let mut score = numerator.f_div(&denominator.f_clamp_min(1e-8)?)?;
        if !self.do_bg {
            score = score.f_narrow(-1, 1, classes - 1)?;
        }
        let loss = match self.form {
            DiceForm::Negative => score.f_neg()?,
            DiceForm::OneMinus => score.f_rsub_scalar(1.0)?,
        };
        reduce(loss, None, MeanOver::Elements, self.reduction)
    }
}

weighted_loss!(SoftDiceLoss);

option_enum!(DiceForm { DiceForm::Negative => "negative", DiceForm::OneMinus => "one_minus" });

named_loss! {
    SoftDiceLoss: "soft_dice", Probabilities => IndexOrDense, "SegLossOdyssey `SoftDiceLoss`",
    [apply_nonlin, batch_dice, do_bg, smooth, square, ignore_index, form, reduction],
    presets { "soft_dice_nnunet" (Logits => IndexOrDense) => Self::nnunet(), "nnU-Net `MemoryEfficientSoftDiceLoss`" },
}
