//! Losses of the angle between vectors.

use super::elementwise;
use crate::{
    LossError, Reduction, Result, check,
    classification::smallest,
    error::unwrap,
    loss::{named_loss, option_enum, weighted_loss},
};
use tch::{Kind, Tensor};

/// What a [`CosineSimilarityLoss`] makes of a cosine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CosineForm {
    /// `1 - cos`, which is 0 for vectors of the same direction.
    #[default]
    OneMinus,
    /// `-cos`, as in Keras.
    Negative,
}

option_enum!(CosineForm {
    CosineForm::OneMinus => "one_minus",
    CosineForm::Negative => "negative",
});

/// The cosine of the angle between vectors along a dimension; 0 without gradient for one of length 0.
fn cosine(loss: &'static str, [a, b]: [&Tensor; 2], dim: i64, eps: f64) -> Result<Tensor> {
    let rank = a.dim() as i64;
    if !(-rank..rank).contains(&dim) {
        return Err(LossError::Param {
            loss,
            option: "dim",
            expected: "a dimension of the input",
            got: format!("{dim} of {:?}", a.size()),
        });
    }
    let product = |x: &Tensor, y: &Tensor| -> Result<Tensor> {
        Ok(x.f_mul(y)?.f_sum_dim_intlist(dim, false, None::<Kind>)?)
    };
    let (dot, a, b) = (product(a, b)?, product(a, a)?, product(b, b)?);
    // 0 where a square is 0, 1 elsewhere.
    let some = a.f_detach()?.f_minimum(&b.f_detach()?)?.f_sign()?;
    // Clamped before the root, which has no gradient at 0.
    let least = (eps * eps).max(smallest(&dot)?);
    let length = |square: &Tensor| square.f_clamp_min(least)?.f_sqrt();
    Ok(dot.f_div(&length(&a)?.f_mul(&length(&b)?)?)?.f_mul(&some)?)
}

/// Cosine similarity loss: what the angle between input and target costs, whatever their lengths.
///
/// ```text
/// l = 1 - cos,   cos = Σ x t / (max(‖x‖, ε) max(‖t‖, ε))    over dimension `dim`
/// ```
///
/// A vector of length 0 has no direction: its cosine is 0 and it gets no gradient.
///
/// | option | default | `keras()` | meaning |
/// |---|---|---|---|
/// | `form` | `OneMinus` | `Negative` | `Negative`: l = -cos, as in Keras |
/// | `dim` | 1 | -1 | the dimension that holds a vector |
/// | `eps` | 1e-8 | 1e-6 | ε, above 0: the least length |
/// | `reduction` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: real values of any shape that has `dim`: embeddings (N, D), say
/// - target: the input's shape; floating-point, integer or bool
/// - element weight: broadcastable to the input's shape without `dim`
/// - loss: a scalar, or the input's shape without `dim` without reduction; `Half` and `BFloat16` are
///   computed and returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of vectors, or by the sum of their weights; where nothing counts it
/// is 0.
///
/// # Errors
///
/// Shape, kind or device of the target or a weight; a `dim` that the input has not; `eps` not above
/// 0.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CosineSimilarityLoss, Loss};
///
/// let input = Tensor::from_slice(&[3.0f64, 4.0, 0.0, 0.5]).view([2, 2]);
/// let target = Tensor::from_slice(&[2.0f64, 0.0, 0.0, 7.0]).view([2, 2]);
/// let loss = CosineSimilarityLoss::default().forward(&input, &target).double_value(&[]);
/// assert!((loss - (0.4 + 0.0) / 2.0).abs() < 1e-12);
/// let keras = CosineSimilarityLoss::keras().forward(&input, &target).double_value(&[]);
/// assert!((keras + (0.6 + 1.0) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// The gradient of a zero vector is 1e8 times the other's direction in PyTorch and 1e6 times in
/// Keras.
///
/// # Reference
///
/// Follows `1 - torch.nn.CosineSimilarity` of PyTorch 2.13; `keras()` follows Keras 3.15
/// `CosineSimilarity`. See also [`CosineEmbeddingLoss`].
#[derive(Debug, Clone)]
pub struct CosineSimilarityLoss {
    form: CosineForm,
    dim: i64,
    eps: f64,
    reduction: Reduction,
}

impl Default for CosineSimilarityLoss {
    fn default() -> Self {
        CosineSimilarityLoss {
            form: CosineForm::OneMinus,
            dim: 1,
            eps: 1e-8,
            reduction: Reduction::Mean,
        }
    }
}

impl CosineSimilarityLoss {
    /// Keras' `CosineSimilarity`: -cos over the last dimension.
    pub fn keras() -> Self {
        CosineSimilarityLoss::default().form(CosineForm::Negative).dim(-1).eps(1e-6)
    }

    /// What is made of the cosine; `OneMinus` by default.
    pub fn form(mut self, form: CosineForm) -> Self {
        self.form = form;
        self
    }

    /// The dimension that holds a vector, from the last if negative; 1 by default.
    pub fn dim(mut self, dim: i64) -> Self {
        self.dim = dim;
        self
    }

    /// ε, the least length, above 0; 1e-8 by default.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        const NAME: &str = "CosineSimilarityLoss";
        check::reduction(NAME, self.reduction)?;
        check::above_zero(NAME, "eps", self.eps)?;
        let (input, target) = super::pair(NAME, input, target)?;
        let cosine = cosine(NAME, [&input, &target], self.dim, self.eps)?;
        let each = match self.form {
            CosineForm::OneMinus => cosine.f_rsub_scalar(1.0)?,
            CosineForm::Negative => cosine.f_neg()?,
        };
        elementwise(NAME, each, weight, self.reduction)
    }
}

weighted_loss!(CosineSimilarityLoss);

named_loss! {
    CosineSimilarityLoss: "cosine_similarity", Embeddings => Dense,
    "1 - torch.nn.CosineSimilarity", [form, dim, eps, reduction],
    presets { "cosine_similarity_keras" => Self::keras(), "Keras `CosineSimilarity`" },
}

/// Cosine embedding loss: draws vectors together that are alike and apart that are not.
///
/// ```text
/// l = 1 - cos              where label = 1
///     max(0, cos - m)      where label = -1
/// ```
///
/// A pair of any other label counts for nothing. A vector of length 0 has cosine 0 and no gradient.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `margin` | 0 | m, in [-1, 1]: the cosine from which unlike vectors cost |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - `input1`, `input2`: real values (N, D), or (D)
/// - label: 1 or -1 of any real kind, (N), or () for (D)
/// - loss: a scalar, or the label's shape without reduction; `Half` and `BFloat16` are computed and
///   returned in `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of pairs with label 1 or -1; without any it is 0.
///
/// # Errors
///
/// Shape, kind or device of an input or the label; `margin` outside [-1, 1].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::CosineEmbeddingLoss;
///
/// let a = Tensor::from_slice(&[3.0f64, 4.0, 3.0, 4.0]).view([2, 2]);
/// let b = Tensor::from_slice(&[2.0f64, 0.0, 2.0, 0.0]).view([2, 2]);
/// let label = Tensor::from_slice(&[1i64, -1]);
/// let loss = CosineEmbeddingLoss::default().margin(0.5).forward(&a, &b, &label);
/// assert!((loss.double_value(&[]) - (0.4 + 0.1) / 2.0).abs() < 1e-12);
/// ```
///
/// # Differences
///
/// PyTorch counts pairs of another label in the mean, and lengthens each vector: 1e-12 is added to
/// its square.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.nn.CosineEmbeddingLoss`. See also [`CosineSimilarityLoss`].
#[derive(Debug, Clone)]
pub struct CosineEmbeddingLoss {
    margin: f64,
    reduction: Reduction,
}

impl Default for CosineEmbeddingLoss {
    fn default() -> Self {
        CosineEmbeddingLoss { margin: 0.0, reduction: Reduction::Mean }
    }
}

impl CosineEmbeddingLoss {
    /// m, in [-1, 1]; 0 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The loss of pairs of vectors.
    pub fn f_forward(&self, input1: &Tensor, input2: &Tensor, label: &Tensor) -> Result<Tensor> {
        const NAME: &str = "CosineEmbeddingLoss";
        check::reduction(NAME, self.reduction)?;
        let ok = (-1.0..=1.0).contains(&self.margin);
        check::param(NAME, "margin", self.margin, ok, "in [-1, 1]")?;
        let size = input1.size();
        let pairs = size.split_last().filter(|(_, pairs)| pairs.len() <= 1).map(|(_, pairs)| pairs);
        check::shape_is(NAME, "input1", input1, pairs.is_some(), "[N, D] or [D]")?;
        check::shape(NAME, "input2", input2, &size)?;
        check::device(NAME, "input2", input2, input1)?;
        check::shape(NAME, "label", label, pairs.unwrap_or_default())?;
        check::device(NAME, "label", label, input1)?;
        let a = check::accumulated(NAME, "input1", input1)?;
        let b = check::in_kind(NAME, "input2", input2, a.f_kind()?)?;
        let label = check::in_kind(NAME, "label", label, a.f_kind()?)?;

        let cosine = cosine(NAME, [&a, &b], -1, 1e-12)?;
        let [alike, unlike] = [label.f_eq(1.0)?, label.f_eq(-1.0)?];
        let apart = cosine.f_sub_scalar(self.margin)?.f_relu()?;
        let each = cosine.f_rsub_scalar(1.0)?.f_where_self(&alike, &apart)?;
        let counts = alike.f_logical_or(&unlike)?;
        elementwise(NAME, each, Some(&counts), self.reduction)
    }

    /// [`CosineEmbeddingLoss::f_forward`], or a panic with its error.
    #[track_caller]
    pub fn forward(&self, input1: &Tensor, input2: &Tensor, label: &Tensor) -> Tensor {
        unwrap(self.f_forward(input1, input2, label))
    }
}

named_loss! {
    apart CosineEmbeddingLoss: "cosine_embedding", "torch.nn.CosineEmbeddingLoss",
    Self::default(), [margin, reduction],
}
