//! Procrustes analysis.

use super::{Mirror, Similarity, centred, energy, points, spread, turn, umeyama::shifted};
use crate::{Result, error::unwrap};
use tch::Tensor;

/// Whether [`f_procrustes`] may mirror the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reflection {
    /// Where that fits better.
    #[default]
    IfBetter,
    /// Turns only.
    Never,
    /// Always: the best of the maps that mirror.
    Always,
}

/// What [`f_procrustes`] may do to the source.
///
/// | option | default | meaning |
/// |---|---|---|
/// | `scale` | true | change the size |
/// | `reflection` | `IfBetter` | mirror |
/// | `translation` | true | shift; false keeps the origin |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcrustesOptions {
    scale: bool,
    reflection: Reflection,
    translation: bool,
}

impl Default for ProcrustesOptions {
    fn default() -> Self {
        ProcrustesOptions { scale: true, reflection: Reflection::IfBetter, translation: true }
    }
}

impl ProcrustesOptions {
    /// Whether the size may change; true by default.
    pub fn scale(mut self, scale: bool) -> Self {
        self.scale = scale;
        self
    }

    /// Whether the source may be mirrored; where that fits better by default.
    pub fn reflection(mut self, reflection: Reflection) -> Self {
        self.reflection = reflection;
        self
    }

    /// Whether the source may be shifted; true by default.
    pub fn translation(mut self, translation: bool) -> Self {
        self.translation = translation;
        self
    }
}

/// What [`f_procrustes`] returns.
#[derive(Debug)]
pub struct Procrustes {
    /// Takes the source to its place on the target.
    pub transform: Similarity,
    /// The source there, (.., N, D).
    pub aligned: Tensor,
    /// What is left: the squared distances to the target by the target's own squares about its
    /// mean, (..).
    pub disparity: Tensor,
}

/// Procrustes analysis: shift, turn, mirror and scale `source` onto `target`.
///
/// ```text
/// minimise Σ_n ‖b_n - (c R a_n + t)‖²  over orthogonal R, c >= 0, t
/// disparity = Σ_n ‖b_n - (c R a_n + t)‖² / Σ_n ‖b_n - b̄‖²
/// ```
///
/// Without `translation` t is 0 and nothing is centred.
///
/// # Shapes
///
/// `source` and `target` (.., N, D) with N, D >= 1, in any unit. `Half` and `BFloat16` are computed
/// in `Float`.
///
/// # Errors
///
/// Shape, kind or device; a set whose points are all in one place.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::alignment::{ProcrustesOptions, Reflection, procrustes};
///
/// let source = Tensor::from_slice(&[0.0f64, 0.0, 1.0, 0.0, 0.0, 2.0]).view([3, 2]);
/// let mirrored = Tensor::from_slice(&[0.0f64, 0.0, -1.0, 0.0, 0.0, 2.0]).view([3, 2]);
/// let found = procrustes(&source, &mirrored, ProcrustesOptions::default());
/// assert!(found.disparity.double_value(&[]) < 1e-12);
/// let turns = ProcrustesOptions::default().reflection(Reflection::Never);
/// assert!(procrustes(&source, &mirrored, turns).disparity.double_value(&[]) > 0.1);
/// ```
///
/// # Differences
///
/// scipy's `procrustes(target, source)` returns both sets about 0 and at size 1, ours the source on
/// the target as it is; the disparity is the same.
///
/// # Reference
///
/// Gower 1975, "Generalized Procrustes Analysis"; Schönemann 1966. Follows scipy 1.17
/// `spatial.procrustes`. See also [`f_umeyama`](super::f_umeyama).
pub fn f_procrustes(
    source: &Tensor,
    target: &Tensor,
    options: ProcrustesOptions,
) -> Result<Procrustes> {
    const NAME: &str = "procrustes";
    let (source, target) = points(NAME, source, target)?;
    let ((a, mean_a), (b, mean_b)) = (centred(&source)?, centred(&target)?);
    let of_target = energy(&b)?;
    spread(NAME, "source", &energy(&a)?)?;
    spread(NAME, "target", &of_target)?;
    let (a, b, mean_a, mean_b) = match options.translation {
        true => (a, b, mean_a, mean_b),
        false => (
            source.shallow_clone(),
            target.shallow_clone(),
            mean_a.f_zeros_like()?,
            mean_b.f_zeros_like()?,
        ),
    };
    let mirror = match options.reflection {
        Reflection::IfBetter => Mirror::IfBetter,
        Reflection::Never => Mirror::Never,
        Reflection::Always => Mirror::Always,
    };
    let (rotation, trace) = turn(&b.f_transpose(-2, -1)?.f_matmul(&a)?, mirror)?;
    let scale = match options.scale {
        // Where every turn points the wrong way, the best size is none.
        true => trace.f_clamp_min(0.0)?.f_div(&energy(&a)?)?,
        false => trace.f_ones_like()?,
    };
    let transform = shifted(scale, rotation, &mean_a, &mean_b)?;
    let aligned = transform.f_apply(&source)?;
    let disparity = energy(&target.f_sub(&aligned)?)?.f_div(&of_target)?;
    Ok(Procrustes { transform, aligned, disparity })
}

/// [`f_procrustes`], or a panic with its error.
#[track_caller]
pub fn procrustes(source: &Tensor, target: &Tensor, options: ProcrustesOptions) -> Procrustes {
    unwrap(f_procrustes(source, target, options))
}

/// The orthogonal matrix that takes the rows of `source` nearest to those of `target`, and the sum
/// of the singular values of `sourceᵀ target`.
///
/// ```text
/// R = argmin ‖A R - B‖_F,   Rᵀ R = I
/// ```
///
/// # Shapes
///
/// `source` and `target` (.., N, D); R (.., D, D), to be multiplied from the right; the sum (..).
///
/// # Errors
///
/// Shape, kind or device.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::alignment::orthogonal_procrustes;
///
/// let a = Tensor::from_slice(&[2.0f64, 0.0, 0.0, 1.0]).view([2, 2]);
/// let b = Tensor::from_slice(&[0.0f64, 2.0, -1.0, 0.0]).view([2, 2]);
/// let (r, sum) = orthogonal_procrustes(&a, &b);
/// assert!((a.matmul(&r) - b).abs().max().double_value(&[]) < 1e-12);
/// assert!((sum.double_value(&[]) - 5.0).abs() < 1e-12);
/// ```
///
/// # Reference
///
/// Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem". Follows scipy
/// 1.17 `linalg.orthogonal_procrustes`.
pub fn f_orthogonal_procrustes(source: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
    let (source, target) = points("orthogonal_procrustes", source, target)?;
    let covariance = target.f_transpose(-2, -1)?.f_matmul(&source)?;
    let (rotation, sum) = turn(&covariance, Mirror::IfBetter)?;
    Ok((rotation.f_transpose(-2, -1)?, sum))
}

/// [`f_orthogonal_procrustes`], or a panic with its error.
#[track_caller]
pub fn orthogonal_procrustes(source: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
    unwrap(f_orthogonal_procrustes(source, target))
}
