//! Metrics that say how good a model is.

mod calibration;
mod cl_dice;
mod coco;
mod confusion;
mod coverage;
mod fid;
mod frechet;
mod inception;
mod inception_score;
mod kernel_distance;
mod psnr;
mod resize;
mod retrieval;
mod ssim;
mod surface;
mod window;

pub use calibration::{Calibration, ReliabilityBin};
pub use cl_dice::{cl_dice, f_cl_dice};
pub use coco::{
    Area, ClassSummary, CocoEval, CocoSummary, Curve, Detection, GroundTruth, MatchRule,
};
pub use confusion::ConfusionMatrix;
pub use coverage::{ManifoldMetrics, f_manifold_metrics, manifold_metrics};
pub use fid::{Fid, FidResult};
pub use frechet::FeatureStatistics;
pub use inception::{FidInception, FidMode, InceptionLayer};
pub use inception_score::{InceptionScore, InceptionScoreSums, f_inception_score, inception_score};
pub use kernel_distance::{
    KernelDistance, KernelDistanceOptions, f_kernel_distance, f_polynomial_mmd, kernel_distance,
    polynomial_mmd,
};
pub use psnr::{PsnrLoss, f_psnr, psnr};
pub use resize::{Resize, f_resize, resize};
pub use retrieval::{
    RetrievalMetrics, f_retrieval_metrics, f_retrieval_metrics_of, retrieval_metrics,
    retrieval_metrics_of,
};
pub use ssim::{
    MS_SSIM_WEIGHTS, MsSsimLoss, SsimLoss, SsimOptions, SsimPadding, SsimWindow, f_ms_ssim, f_ssim,
    f_ssim_map, ms_ssim, ssim, ssim_map,
};
pub use surface::SurfaceDistances;

use crate::{LossError, Result, check, loss::Entry};
use tch::{Kind, Tensor};

/// Two sets of features (N, D) and (M, D) in Double, each of at least `least` samples.
fn features(
    name: &'static str,
    real: &Tensor,
    generated: &Tensor,
    least: i64,
) -> Result<(Tensor, Tensor)> {
    let dims = real.size().get(1).copied().unwrap_or(0);
    let expected = format!("[N, {dims}] with N at least {least}");
    check::device(name, "generated", generated, real)?;
    let in_double = |what: &'static str, features: &Tensor| -> Result<Tensor> {
        let ok = matches!(features.size().as_slice(), &[n, d] if d == dims && n >= least);
        check::shape_is(name, what, features, ok, &expected)?;
        match features.f_kind()? {
            kind if check::is_float(kind) => Ok(features.f_detach()?.f_to_kind(Kind::Double)?),
            got => Err(LossError::Kind { loss: name, what, expected: "floating-point", got }),
        }
    };
    Ok((in_double("real", real)?, in_double("generated", generated)?))
}

pub(crate) fn entries() -> Vec<Entry> {
    [PsnrLoss::entries(), SsimLoss::entries(), MsSsimLoss::entries()].concat()
}
