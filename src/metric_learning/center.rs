//! Centre loss: embeddings near the centre of their class.

use super::pairs::class_vectors;
use crate::{
    Reduction, Result, check,
    classification::Classes,
    error::unwrap,
    loss::{Entry, Reader, weighted_loss},
    reduce::Kept,
};
use tch::{Kind, Tensor};

const NAME: &str = "CenterLoss";

/// Centre loss: half the squared distance of an embedding from the centre of its class.
///
/// ```text
/// l = ½ ‖x - c_y‖²
/// ```
///
/// It keeps classes together but not apart; the paper adds 0.003 times it to a cross entropy. The centres
/// are learned, in one of two ways: hand over a variable of your `VarStore` and the optimiser moves them,
/// or a tensor without a gradient and call [`CenterLoss::update`] after each step.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `centers` | | c, one a class (C, D) |
/// | `ignore_index` | -100 | targets of this value count for nothing |
/// | `reduction` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer (N) with values in [0, C)
/// - element weight: broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// # Reduction
///
/// `Mean` divides by the number of targets that are not ignored, or by the sum of their element
/// weights. Where nothing counts it is 0. The paper has the `Sum`.
///
/// # Errors
///
/// Shape, kind or device of the input, the target, the centres or a weight; a class index out of range
/// (on CUDA libtorch asserts on the device instead).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{CenterLoss, Loss};
///
/// let centers = Tensor::from_slice(&[0.0f64, 0.0, 1.0, 1.0]).view([2, 2]);
/// let loss = CenterLoss::new(&centers);
/// let embeddings = Tensor::from_slice(&[3.0f64, 4.0]).view([1, 2]);
/// let labels = Tensor::from_slice(&[0i64]);
/// assert_eq!(loss.forward(&embeddings, &labels).double_value(&[]), 12.5);
/// // One sample: the centre goes half of half the way.
/// loss.update(&embeddings, &labels, 0.5);
/// assert_eq!(Vec::<f64>::try_from(centers.get(0)).unwrap(), [0.75, 1.0]);
/// ```
///
/// # Differences
///
/// The much-used PyTorch copy leaves out the ½ and has the optimiser move the centres, 1/N as fast.
///
/// # Reference
///
/// Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition".
#[derive(Debug, Clone)]
pub struct CenterLoss {
    centers: Kept,
    ignore_index: i64,
    reduction: Reduction,
}

impl CenterLoss {
    /// The loss of the centres of the classes, (C, D).
    pub fn new(centers: &Tensor) -> Self {
        CenterLoss {
            centers: Kept(centers.shallow_clone()),
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
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

    /// Moves the centres in place, as the paper: `c -= rate · Σ_y (c - x) / (1 + n_y)`. The paper's rate
    /// is 0.5.
    ///
    /// # Errors
    ///
    /// As the loss; a `rate` outside [0, 1].
    pub fn f_update(&self, input: &Tensor, target: &Tensor, rate: f64) -> Result<()> {
        check::fraction(NAME, "rate", rate)?;
        let (apart, classes) = self.apart(&input.f_detach()?, target)?;
        let valid = classes.valid().f_to_kind(apart.f_kind()?)?;
        let apart = apart.f_mul(&valid.f_unsqueeze(1)?)?;
        let size = self.centers.0.size();
        let options = (apart.f_kind()?, apart.device());
        let class = classes.flat()?;
        let counts = Tensor::f_zeros([size[0]], options)?.f_index_add(0, &class, &valid)?;
        let sums = Tensor::f_zeros(size, options)?.f_index_add(0, &class, &apart.f_detach()?)?;
        let step = sums.f_div(&counts.f_add_scalar(1.0)?.f_unsqueeze(1)?)?.f_mul_scalar(rate)?;
        let mut centers = self.centers.0.f_detach()?;
        let step = step.f_to_kind(centers.f_kind()?)?;
        let _ = centers.f_add_(&step)?;
        Ok(())
    }

    /// [`CenterLoss::f_update`], or a panic with its error.
    #[track_caller]
    pub fn update(&self, input: &Tensor, target: &Tensor, rate: f64) {
        unwrap(self.f_update(input, target, rate));
    }

    pub(super) fn read(mut self, options: &Reader) -> Result<Self> {
        options.read("ignore_index", &mut self.ignore_index)?;
        options.read("reduction", &mut self.reduction)?;
        Ok(self)
    }

    /// `x - c_y`, (N, D).
    fn apart(&self, input: &Tensor, target: &Tensor) -> Result<(Tensor, Classes)> {
        let embeddings = check::accumulated(NAME, "input", input)?;
        let centers = class_vectors(NAME, "centers", &self.centers.0, &embeddings)?;
        let classes = Classes::new(NAME, &embeddings, target, self.ignore_index)?;
        let own = centers.f_index_select(0, &classes.flat()?)?;
        Ok((embeddings.f_sub(&own)?, classes))
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        check::reduction(NAME, self.reduction)?;
        let (apart, classes) = self.apart(input, target)?;
        let each = apart
            .f_mul(&apart)?
            .f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?
            .f_mul_scalar(0.5)?;
        classes.reduce(NAME, each, weight, self.reduction)
    }

    pub(crate) fn entries() -> Vec<Entry> {
        let entry = Entry::apart("center", |options| {
            CenterLoss::new(&Tensor::new()).read(options).map(drop)
        });
        vec![entry.of_type("CenterLoss", module_path!()).follows("Wen et al. 2016")]
    }
}

weighted_loss!(CenterLoss);
