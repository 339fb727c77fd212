//! Cross entropy with a matrix of what is mistaken for what.

use super::{
    binary::check_clip,
    target::{ClassTarget, sum_classes},
};
use crate::{
    Reduction, Result, check,
    error::unwrap,
    loss::{named_loss, weighted_loss},
    reduce::{Kept, ratio},
};
use tch::{Kind, Tensor};

/// Cross entropy of class probabilities that also charges for what classes are mistaken for.
///
/// ```text
/// l = -Σ_i t[i] log2 o[i] + Σ_i (A t)[i] e^o[i] - Σ_i t[i] e^o[i],   o limited to [clip, 1]
/// ```
///
/// `A[i][j]` is how much of the output goes to class i where class j is right. The first call has no
/// matrix, and so no second term; [`update`](Self::update) then makes and moves it:
///
/// ```text
/// A[i][j] += (Ō[i][j] - A[i][j]) / step   for i ≠ j;   A[j][j] = 0
/// Ō[i][j] = Σ_n t_n[j] o_n[i] / Σ_n t_n[j], the mean output for class i where j is right
/// ```
///
/// | option | default | meaning |
/// |---|---|---|
/// | `step` | 4 | how many updates A remembers, roughly; 1 keeps the last batch alone |
/// | `clip` | 1e-7 | how near to 0 a probability may come |
/// | `ignore_index` | -100 | index targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// The state is in the value and changes in `update` alone, never in `forward`. [`matrix`](Self::matrix)
/// reads it, to save it beside a model, and [`with_matrix`](Self::with_matrix) puts it back.
///
/// # Shapes
///
/// - input: probabilities (N, C, d1, ..), such as a softmax gives
/// - target: integer (N, d1, ..) with values in [0, C), or floating-point probabilities of the
///   input's shape
/// - element weight: broadcastable to (N, d1, ..)
/// - A: (C, C)
/// - loss: a scalar, or (N, d1, ..) without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights. Where nothing counts it is 0.
///
/// # Errors
///
/// Shape, kind or device of the target, a weight or A; `step` below 1; `clip` outside [0, 0.5); a class
/// index out of range (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, MatrixCrossEntropyLoss};
///
/// let mut loss = MatrixCrossEntropyLoss::default();
/// let (output, target) = (Tensor::from_slice(&[0.75f64, 0.25]).view([1, 2]), Tensor::from_slice(&[0i64]));
/// let plain = -0.75f64.log2() - 0.75f64.exp();
/// assert!((loss.forward(&output, &target).double_value(&[]) - plain).abs() < 1e-12);
///
/// // A quarter of the way to 0.25, which class 1 gets where class 0 is right.
/// loss.update(&output, &target);
/// assert_eq!(loss.matrix().unwrap().double_value(&[1, 0]), 0.0625);
/// let charged = plain + 0.0625 * 0.25f64.exp();
/// assert!((loss.forward(&output, &target).double_value(&[]) - charged).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The article that describes this loss calls `exponential(o)` and `updateMatrix(A, t, o, 4)` and
/// defines neither, nor where A starts; no code of it is known. Both are therefore definitions of ours:
/// the exponential is e^o, and A follows the soft confusion matrix, since `A t` is then the usual
/// output for a target of that class, and what is confused often costs more. Its diagonal is 0, as the
/// third term speaks of the right class already. The 4 is taken for the number of updates that the mean
/// goes over.
///
/// # Reference
///
/// The formula is that of the article's "matrix-based cross entropy"; see also
/// [`CategoricalCrossEntropyLoss`](crate::CategoricalCrossEntropyLoss).
#[derive(Debug, Clone)]
pub struct MatrixCrossEntropyLoss {
    matrix: Option<Kept>,
    step: f64,
    clip: f64,
    ignore_index: i64,
    reduction: Reduction,
}

impl Default for MatrixCrossEntropyLoss {
    fn default() -> Self {
        MatrixCrossEntropyLoss {
            matrix: None,
            step: 4.0,
            clip: 1e-7,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

const NAME: &str = "MatrixCrossEntropyLoss";

impl MatrixCrossEntropyLoss {
    /// A to start from, of shape (C, C).
    pub fn with_matrix(mut self, matrix: impl Into<Option<Tensor>>) -> Self {
        self.matrix = matrix.into().map(Kept);
        self
    }

    /// A, once there is one.
    pub fn matrix(&self) -> Option<&Tensor> {
        self.matrix.as_ref().map(|kept| &kept.0)
    }

    /// How many updates A remembers, at least 1; 4 by default.
    pub fn step(mut self, step: f64) -> Self {
        self.step = step;
        self
    }

    /// How near to 0 a probability may come, in [0, 0.5); 1e-7 by default.
    pub fn clip(mut self, clip: f64) -> Self {
        self.clip = clip;
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

    /// Moves A towards what these outputs mistake for what; classes that are absent stay as they are.
    pub fn f_update(&mut self, input: &Tensor, target: &Tensor) -> Result<()> {
        let (output, target) = self.checked(&input.f_detach()?, &target.f_detach()?)?;
        let classes = output.size()[1];
        let rows = |tensor: &Tensor| tensor.f_movedim_int(1, -1)?.f_reshape([-1, classes]);
        let (sums, counts) = match &target {
            ClassTarget::Index(index) => {
                let valid = index.valid().f_reshape([-1, 1])?.f_to_kind(output.f_kind()?)?;
                let zeros =
                    output.f_new_zeros([classes, classes], (output.f_kind()?, output.device()))?;
                let class = index.flat()?;
                let sums = zeros.f_index_add(0, &class, &rows(&output)?.f_mul(&valid)?)?;
                let counts = zeros.f_narrow(1, 0, 1)?.f_index_add(0, &class, &valid)?;
                (sums.f_tr()?, counts.f_reshape([1, -1])?)
            }
            ClassTarget::Dense(target) => {
                let target = rows(target)?;
                let counts = target.f_sum_dim_intlist([0i64].as_slice(), true, None::<Kind>)?;
                (rows(&output)?.f_tr()?.f_matmul(&target)?, counts)
            }
        };
        let before = match self.charges(&output)? {
            Some(matrix) => matrix,
            None => sums.f_zeros_like()?,
        };
        let towards = ratio(&sums, &counts)?.f_sub(&before)?.f_mul(&counts.f_gt(0.0)?)?;
        let moved = before.f_add(&towards.f_div_scalar(self.step)?)?;
        // The diagonal is 0.
        let moved = moved.f_tril(-1)?.f_add(&moved.f_triu(1)?)?;
        self.matrix = Some(Kept(moved));
        Ok(())
    }

    /// [`MatrixCrossEntropyLoss::f_update`], or a panic with its error.
    #[track_caller]
    pub fn update(&mut self, input: &Tensor, target: &Tensor) {
        unwrap(self.f_update(input, target));
    }

    fn checked(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, ClassTarget)> {
        let step = self.step;
        check::param(NAME, "step", step, step >= 1.0 && step.is_finite(), "at least 1 and finite")?;
        check_clip(NAME, self.clip)?;
        check::shape_is(NAME, "input", input, input.dim() >= 2, "[N, C, ..]")?;
        let output = check::accumulated(NAME, "input", input)?;
        let target = ClassTarget::new(NAME, &output, target, self.ignore_index)?;
        Ok((output.f_clamp(self.clip, 1.0)?, target))
    }

    /// A in the output's kind.
    fn charges(&self, output: &Tensor) -> Result<Option<Tensor>> {
        let Some(Kept(matrix)) = &self.matrix else { return Ok(None) };
        let classes = output.size()[1];
        check::shape(NAME, "matrix", matrix, &[classes, classes])?;
        check::device(NAME, "matrix", matrix, output)?;
        check::in_kind(NAME, "matrix", matrix, output.f_kind()?).map(Some)
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        check::reduction(NAME, self.reduction)?;
        let (output, target) = self.checked(input, target)?;
        let exponential = output.f_exp()?;
        let rewards = output.f_log2()?.f_add(&exponential)?;
        let mut loss = target.expected(&rewards, 0.0)?.f_neg()?;
        if let Some(matrix) = self.charges(&output)? {
            let charges = match &target {
                ClassTarget::Index(classes) => classes.pick_rows(&matrix.f_tr()?)?,
                ClassTarget::Dense(target) => {
                    target.f_movedim_int(1, -1)?.f_matmul(&matrix.f_tr()?)?.f_movedim_int(-1, 1)?
                }
            };
            loss = loss.f_add(&sum_classes(&exponential.f_mul(&charges)?)?)?;
        }
        target.reduce(NAME, loss, weight, None, self.reduction)
    }
}

weighted_loss!(MatrixCrossEntropyLoss);

named_loss! {
    MatrixCrossEntropyLoss: "matrix_cross_entropy", Probabilities => IndexOrDense,
    "this crate's definition of the article's formula", [matrix, step, clip, ignore_index, reduction],
}
