//! Umeyama's least-squares similarity.

use super::{Mirror, Similarity, centred, energy, points, spread, turn};
use crate::{Result, error::unwrap};
use tch::Tensor;

/// The turn, scale and shift that bring `source` nearest to `target`, without mirroring.
///
/// ```text
/// minimise Σ_n ‖b_n - (c R a_n + t)‖²  over R with Rᵀ R = I and det R = 1
/// Σ (b - b̄)(a - ā)ᵀ = U D Vᵀ,   R = U S Vᵀ,   S = diag(1, .., 1, det U det V)
/// c = tr(D S) / Σ ‖a - ā‖²,   t = b̄ - c R ā
/// ```
///
/// Points on a line (2-D) or in a plane (3-D) have one best turn, which a proper S gives; on a line
/// in 3-D there are many, of which one is returned. Mirrored sets get the best turn that does not
/// mirror. Differentiable where the singular values differ.
///
/// # Shapes
///
/// `source` and `target` (.., N, D) with N, D >= 1, in any unit. `Half` and `BFloat16` are computed
/// in `Float`.
///
/// # Errors
///
/// Shape, kind or device; a source whose points are all in one place.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::alignment::umeyama;
///
/// // A quarter turn, twice the size, one to the right.
/// let source = Tensor::from_slice(&[0.0f64, 0.0, 1.0, 0.0, 0.0, 2.0]).view([3, 2]);
/// let target = Tensor::from_slice(&[1.0f64, 0.0, 1.0, 2.0, -3.0, 0.0]).view([3, 2]);
/// let found = umeyama(&source, &target, true);
/// assert!((found.scale.double_value(&[]) - 2.0).abs() < 1e-12);
/// assert!((found.translation.double_value(&[0]) - 1.0).abs() < 1e-12);
/// assert!((found.apply(&source) - target).abs().max().double_value(&[]) < 1e-12);
/// ```
///
/// # Differences
///
/// scikit-image gives NaN where all source points are in one place.
///
/// # Reference
///
/// Umeyama 1991, "Least-squares estimation of transformation parameters between two point
/// patterns". Follows scikit-image 0.26 `SimilarityTransform` (`estimate_scale`) and
/// `EuclideanTransform`. See also [`f_procrustes`](super::f_procrustes).
pub fn f_umeyama(source: &Tensor, target: &Tensor, estimate_scale: bool) -> Result<Similarity> {
    const NAME: &str = "umeyama";
    let (source, target) = points(NAME, source, target)?;
    let ((a, mean_a), (b, mean_b)) = (centred(&source)?, centred(&target)?);
    let of_source = energy(&a)?;
    spread(NAME, "source", &of_source)?;
    let (rotation, trace) = turn(&b.f_transpose(-2, -1)?.f_matmul(&a)?, Mirror::Never)?;
    let scale = if estimate_scale { trace.f_div(&of_source)? } else { trace.f_ones_like()? };
    shifted(scale, rotation, &mean_a, &mean_b)
}

/// [`f_umeyama`], or a panic with its error.
#[track_caller]
pub fn umeyama(source: &Tensor, target: &Tensor, estimate_scale: bool) -> Similarity {
    unwrap(f_umeyama(source, target, estimate_scale))
}

/// The similarity of that scale and turn that takes one mean (.., 1, D) to the other.
pub(super) fn shifted(
    scale: Tensor,
    rotation: Tensor,
    from: &Tensor,
    to: &Tensor,
) -> Result<Similarity> {
    let turned = from.f_matmul(&rotation.f_transpose(-2, -1)?)?.f_squeeze_dim(-2)?;
    let translation = to.f_squeeze_dim(-2)?.f_sub(&turned.f_mul(&scale.f_unsqueeze(-1)?)?)?;
    Ok(Similarity { scale, rotation, translation })
}
