//! Metrics that say how good a model is.

mod coco;
mod ssim;

use crate::loss::Entry;

pub use coco::{
    Area, ClassSummary, CocoEval, CocoSummary, Curve, Detection, GroundTruth, MatchRule,
};
pub use ssim::{
    MS_SSIM_WEIGHTS, MsSsimLoss, SsimLoss, SsimOptions, SsimPadding, SsimWindow, f_ms_ssim, f_ssim,
    f_ssim_map, ms_ssim, ssim, ssim_map,
};

pub(crate) fn entries() -> Vec<Entry> {
    [SsimLoss::entries(), MsSsimLoss::entries()].concat()
}
