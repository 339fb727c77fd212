//! Alignment of point sets, and of images by it.

mod procrustes;
mod similarity;
mod umeyama;
mod warp;

pub use procrustes::{
    Procrustes, ProcrustesOptions, Reflection, f_orthogonal_procrustes, f_procrustes,
    orthogonal_procrustes, procrustes,
};
pub use similarity::Similarity;
pub use umeyama::{f_umeyama, umeyama};
pub use warp::{Border, f_warp_affine, warp_affine};

use crate::{LossError, Result, check};
use tch::{Kind, Tensor};

/// Two point sets of the same shape (.., N, D), as Float or Double.
fn points(name: &'static str, source: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
    let size = source.size();
    let ok = matches!(size.as_slice(), [.., n, d] if *n > 0 && *d > 0);
    check::shape_is(name, "source", source, ok, "[.., N, D] with N and D at least 1")?;
    check::same_shape(name, source, target)?;
    let source = check::accumulated(name, "source", source)?;
    let target = check::in_kind(name, "target", target, source.f_kind()?)?;
    Ok((source, target))
}

/// Points about their mean, and the mean (.., 1, D).
fn centred(points: &Tensor) -> Result<(Tensor, Tensor)> {
    let mean = points.f_mean_dim([-2i64].as_slice(), true, None::<Kind>)?;
    Ok((points.f_sub(&mean)?, mean))
}

/// The sum of squares of each set (..).
fn energy(points: &Tensor) -> Result<Tensor> {
    Ok(points.f_square()?.f_sum_dim_intlist([-2i64, -1].as_slice(), false, None::<Kind>)?)
}

/// An error where a set has all its points in one place.
fn spread(name: &'static str, what: &'static str, energy: &Tensor) -> Result<()> {
    // NaN fails too.
    if energy.f_gt(0.0)?.f_all()?.f_int64_value(&[])? == 1 {
        return Ok(());
    }
    let message = match what {
        "source" => "the source points are all in one place (or not finite): no turn fits better",
        _ => "the target points are all in one place (or not finite): no turn fits better",
    };
    Err(LossError::Unsupported { loss: name, message })
}

/// Whether a turn may mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mirror {
    IfBetter,
    Never,
    Always,
}

/// The turn R (.., D, D) for which `tr(Rᵀ covariance)` is greatest, and that trace (..).
///
/// `covariance` is Σ b aᵀ of points a to be turned onto b. Of turns that do equally well one is
/// returned.
fn turn(covariance: &Tensor, mirror: Mirror) -> Result<(Tensor, Tensor)> {
    let (u, singular, v) = covariance.f_svd(true, true)?;
    let vt = v.f_transpose(-2, -1)?;
    let signs = match mirror {
        Mirror::IfBetter => singular.f_ones_like()?,
        Mirror::Never | Mirror::Always => {
            let sign = Tensor::f_linalg_det(&u.f_matmul(&vt)?)?.f_sign()?.f_unsqueeze(-1)?;
            let last = if mirror == Mirror::Never { sign } else { sign.f_neg()? };
            let dims = singular.size().last().copied().unwrap_or(1);
            let others = singular.f_narrow(-1, 0, dims - 1)?.f_ones_like()?;
            Tensor::f_cat(&[others, last], -1)?
        }
    };
    let rotation = u.f_mul(&signs.f_unsqueeze(-2)?)?.f_matmul(&vt)?;
    let trace = singular.f_mul(&signs)?.f_sum_dim_intlist(-1, false, None::<Kind>)?;
    Ok((rotation, trace))
}
