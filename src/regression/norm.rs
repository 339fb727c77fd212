//! Norms with a gradient that is finite everywhere.

use crate::{LossError, Result, check, error::unwrap};
use tch::{Kind, Tensor};

/// The square root of what is not negative; where it is 0, its derivatives of every order are 0.
pub(crate) fn root(square: &Tensor) -> Result<Tensor> {
    // By factors of 0 and 1: on the CPU filling by a mask takes ten times as long.
    let some = square.f_detach()?.f_sign()?;
    Ok(square.f_add(&some.f_rsub_scalar(1.0)?)?.f_sqrt()?.f_mul(&some)?)
}

/// The p-norm of a tensor over some dimensions.
///
/// ```text
/// ‖x‖_p = (Σ |x|^p)^(1/p),   ‖x‖_∞ = max |x|
/// ```
///
/// Where the norm is 0 its gradient is 0, never NaN. For p < 1, which gives no norm in the strict
/// sense, an element that is 0 has the gradient 0 too. The gradient of a maximum is shared by the
/// elements that reach it.
///
/// # Shapes
///
/// - x: floating-point, any shape
/// - `dims`: those that the sum is over, all if there is none
/// - result: x's shape without them, or with a 1 for each with `keepdim`; `Half` and `BFloat16` are
///   computed and returned in `Float`. Over no element it is 0
///
/// # Errors
///
/// An integer tensor; a `p` that is not above 0; a dimension that is not there or comes twice.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::regression::{l2_norm, lp_norm};
///
/// let x = Tensor::from_slice(&[3.0f64, -4.0, 0.0, 0.0]).view([2, 2]).set_requires_grad(true);
/// let norm = l2_norm(&x, &[1], false);
/// assert_eq!(Vec::<f64>::try_from(norm.detach()).unwrap(), [5.0, 0.0]);
/// norm.sum(tch::Kind::Double).backward();
/// assert!((x.grad().double_value(&[0, 1]) + 0.8).abs() < 1e-12);
/// assert_eq!(x.grad().get(1).abs().max().double_value(&[]), 0.0);
/// assert_eq!(lp_norm(&x, f64::INFINITY, &[], false).double_value(&[]), 4.0);
/// ```
///
/// # Differences
///
/// `(x ** p).sum() ** (1 / p)` has a NaN gradient at 0, `torch.linalg.vector_norm` a NaN second
/// derivative, and overflows for large p where this scales first. An empty maximum is an error there.
///
/// # Reference
///
/// Follows PyTorch 2.13 `torch.linalg.vector_norm`. See also [`l2_norm`], which can be differentiated
/// twice at 0 as well, [`l1_norm`] and [`l0_norm`].
pub fn f_lp_norm(x: &Tensor, p: f64, dims: &[i64], keepdim: bool) -> Result<Tensor> {
    const NAME: &str = "lp_norm";
    check::param(NAME, "p", p, p > 0.0, "above 0")?;
    let x = check::accumulated(NAME, "x", x)?;
    if p == 2.0 {
        return of_squares(NAME, &x, dims, keepdim);
    }
    let dims = all_or(NAME, dims, &x)?;
    let norm = |x: &Tensor| x.f_norm_scalaropt_dim(p, dims.as_slice(), keepdim);
    if x.numel() == 0 {
        return Ok(x.f_abs()?.f_sum_dim_intlist(dims.as_slice(), keepdim, None::<Kind>)?);
    }
    // Up to 4, the power of 1e4 is in reach of Float.
    if p <= 4.0 || p.is_infinite() {
        return Ok(norm(&x)?);
    }
    // The norm is as large as x is: with a constant scale its gradient is that of the quotient.
    let scale = x.f_detach()?.f_abs()?.f_amax(dims.as_slice(), true)?;
    let scale = scale.f_masked_fill(&scale.f_eq(0.0)?, 1.0)?;
    let norm = norm(&x.f_div(&scale)?)?;
    Ok(norm.f_mul(&scale.f_view_as(&norm)?)?)
}

/// [`f_lp_norm`], or a panic with its error.
#[track_caller]
pub fn lp_norm(x: &Tensor, p: f64, dims: &[i64], keepdim: bool) -> Tensor {
    unwrap(f_lp_norm(x, p, dims, keepdim))
}

/// The Euclidean norm, [`lp_norm`] with p = 2. Its derivatives of every order are 0 where it is 0.
///
/// # Errors
///
/// As [`f_lp_norm`].
pub fn f_l2_norm(x: &Tensor, dims: &[i64], keepdim: bool) -> Result<Tensor> {
    const NAME: &str = "l2_norm";
    of_squares(NAME, &check::accumulated(NAME, "x", x)?, dims, keepdim)
}

/// [`f_l2_norm`], or a panic with its error.
#[track_caller]
pub fn l2_norm(x: &Tensor, dims: &[i64], keepdim: bool) -> Tensor {
    unwrap(f_l2_norm(x, dims, keepdim))
}

fn of_squares(loss: &'static str, x: &Tensor, dims: &[i64], keepdim: bool) -> Result<Tensor> {
    let dims = all_or(loss, dims, x)?;
    // A product, whose gradient takes fewer passes than that of a power.
    root(&x.f_mul(x)?.f_sum_dim_intlist(dims.as_slice(), keepdim, None::<Kind>)?)
}

/// The sum of absolute values, [`lp_norm`] with p = 1. The gradient of an element is its sign, 0 at 0.
///
/// # Errors
///
/// As [`f_lp_norm`].
pub fn f_l1_norm(x: &Tensor, dims: &[i64], keepdim: bool) -> Result<Tensor> {
    const NAME: &str = "l1_norm";
    let x = check::accumulated(NAME, "x", x)?;
    Ok(x.f_norm_scalaropt_dim(1.0, all_or(NAME, dims, &x)?.as_slice(), keepdim)?)
}

/// [`f_l1_norm`], or a panic with its error.
#[track_caller]
pub fn l1_norm(x: &Tensor, dims: &[i64], keepdim: bool) -> Tensor {
    unwrap(f_l1_norm(x, dims, keepdim))
}

/// The number of elements that are not 0, in the kind that [`lp_norm`] returns.
///
/// A count has no gradient: the result has no graph, and cannot be trained on by itself.
///
/// # Errors
///
/// As [`f_lp_norm`].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::regression::l0_norm;
///
/// let x = Tensor::from_slice(&[3.0f64, 0.0, -1e-30]).set_requires_grad(true);
/// let count = l0_norm(&x, &[], false);
/// assert_eq!(count.double_value(&[]), 2.0);
/// assert!(!count.requires_grad());
/// ```
pub fn f_l0_norm(x: &Tensor, dims: &[i64], keepdim: bool) -> Result<Tensor> {
    const NAME: &str = "l0_norm";
    let x = check::accumulated(NAME, "x", &x.f_detach()?)?;
    let (dims, kind) = (all_or(NAME, dims, &x)?, x.f_kind()?);
    Ok(x.f_ne(0.0)?.f_sum_dim_intlist(dims.as_slice(), keepdim, kind)?)
}

/// [`f_l0_norm`], or a panic with its error.
#[track_caller]
pub fn l0_norm(x: &Tensor, dims: &[i64], keepdim: bool) -> Tensor {
    unwrap(f_l0_norm(x, dims, keepdim))
}

/// The dimensions, or every one. They are checked here, as tch panics where libtorch refuses a call
/// with a scalar in it.
fn all_or(loss: &'static str, dims: &[i64], x: &Tensor) -> Result<Vec<i64>> {
    let rank = x.dim() as i64;
    if dims.is_empty() {
        return Ok((0..rank).collect());
    }
    let mut wanted: Vec<i64> =
        dims.iter().map(|&dim| if dim < 0 { dim + rank } else { dim }).collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.len() == dims.len() && wanted.iter().all(|dim| (0..rank).contains(dim)) {
        return Ok(wanted);
    }
    let (option, expected) = ("dims", "of x, each once");
    Err(LossError::Param { loss, option, expected, got: format!("{dims:?} of {:?}", x.size()) })
}
