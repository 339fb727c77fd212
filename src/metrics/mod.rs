//! Metrics that say how good a model is.

mod coco;

pub use coco::{
    Area, ClassSummary, CocoEval, CocoSummary, Curve, Detection, GroundTruth, MatchRule,
};
