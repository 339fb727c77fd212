//! Boxes, their overlap, and the losses of a detector.

pub mod boxes;
mod iou;
mod iou_loss;

pub use boxes::BoxFormat;
pub use iou::{IouKind, bbox_iou, f_bbox_iou, f_pairwise_iou, pairwise_iou};
pub use iou_loss::{CIoULoss, DIoULoss, GIoULoss, IoULoss};
