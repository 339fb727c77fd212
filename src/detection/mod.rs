//! Boxes, their overlap, and the losses of a detector.

pub mod boxes;
mod iou;

pub use boxes::BoxFormat;
pub use iou::{IouKind, bbox_iou, f_bbox_iou, f_pairwise_iou, pairwise_iou};
