//! Metrics that say how good a model is.

mod calibration;
mod coco;
mod confusion;

pub use calibration::{Calibration, ReliabilityBin};
pub use coco::{
    Area, ClassSummary, CocoEval, CocoSummary, Curve, Detection, GroundTruth, MatchRule,
};
pub use confusion::ConfusionMatrix;
