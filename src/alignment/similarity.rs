//! Turn, scale and shift.

use crate::{LossError, Result, check, error::unwrap};
use tch::Tensor;

/// The map `x ↦ scale R x + translation` of points in D dimensions, one or a batch (..).
#[derive(Debug)]
pub struct Similarity {
    /// Scale, (..).
    pub scale: Tensor,
    /// R, orthogonal, (.., D, D); its determinant is -1 if it mirrors.
    pub rotation: Tensor,
    /// Translation, (.., D).
    pub translation: Tensor,
}

impl Similarity {
    /// The images of `points` (.., N, D).
    ///
    /// # Errors
    ///
    /// [`LossError::Shape`] if the last dimension is not D.
    pub fn f_apply(&self, points: &Tensor) -> Result<Tensor> {
        let dims = self.translation.size().last().copied().unwrap_or(0);
        let ok = matches!(points.size().as_slice(), [.., d] if *d == dims);
        check::shape_is("Similarity", "points", points, ok, &format!("[.., N, {dims}]"))?;
        let points = check::in_kind("Similarity", "points", points, self.scale.f_kind()?)?;
        let turned = points.f_matmul(&self.rotation.f_transpose(-2, -1)?)?;
        let scale = self.scale.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
        Ok(turned.f_mul(&scale)?.f_add(&self.translation.f_unsqueeze(-2)?)?)
    }

    /// [`Similarity::f_apply`], or a panic with its error.
    #[track_caller]
    pub fn apply(&self, points: &Tensor) -> Tensor {
        unwrap(self.f_apply(points))
    }

    /// The map the other way.
    pub fn f_inverse(&self) -> Result<Similarity> {
        let scale = self.scale.f_reciprocal()?;
        let rotation = self.rotation.f_transpose(-2, -1)?;
        let back = rotation.f_matmul(&self.translation.f_unsqueeze(-1)?)?.f_squeeze_dim(-1)?;
        let translation = back.f_mul(&scale.f_unsqueeze(-1)?)?.f_neg()?;
        Ok(Similarity { scale, rotation, translation })
    }

    /// [`Similarity::f_inverse`], or a panic with its error.
    #[track_caller]
    pub fn inverse(&self) -> Similarity {
        unwrap(self.f_inverse())
    }

    /// `[scale R | translation]`, (.., D, D+1), as [`f_warp_affine`](super::f_warp_affine) takes it.
    pub fn f_matrix(&self) -> Result<Tensor> {
        let scale = self.scale.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
        let linear = self.rotation.f_mul(&scale)?;
        Ok(Tensor::f_cat(&[linear, self.translation.f_unsqueeze(-1)?], -1)?)
    }

    /// [`Similarity::f_matrix`], or a panic with its error.
    #[track_caller]
    pub fn matrix(&self) -> Tensor {
        unwrap(self.f_matrix())
    }
}

/// `[A | b]`, (.., D, D+1), the other way.
pub(super) fn inverse_affine(name: &'static str, matrix: &Tensor) -> Result<Tensor> {
    let dims = matrix.size()[matrix.dim() - 2];
    let linear = matrix.f_narrow(-1, 0, dims)?;
    if Tensor::f_linalg_det(&linear)?.f_eq(0.0)?.f_any()?.f_int64_value(&[])? == 1 {
        let message = "the matrix has no inverse";
        return Err(LossError::Unsupported { loss: name, message });
    }
    let inverse = linear.f_inverse()?;
    let back = inverse.f_matmul(&matrix.f_narrow(-1, dims, 1)?)?.f_neg()?;
    Ok(Tensor::f_cat(&[inverse, back], -1)?)
}
