//! Boxes, their overlap, and the losses of a detector.

mod anchors;
pub mod boxes;
mod iou;
mod iou_loss;
mod nms;
mod yolo_box;
mod yolo_v5;

use crate::loss::{Entry, option_enum};

pub use anchors::Anchors;
pub use boxes::BoxFormat;
pub(crate) use iou::{ASPECT, THINNEST, limits};
pub use iou::{IouKind, bbox_iou, f_bbox_iou, f_pairwise_iou, pairwise_iou};
pub use iou_loss::{CIoULoss, DIoULoss, GIoULoss, IoULoss};
pub use nms::{batched_nms, f_batched_nms, f_nms, nms};
pub(crate) use yolo_box::SHORTEST_SIDE;
pub use yolo_box::{BoxSize, YoloBoxLoss};
pub use yolo_v5::{DropReason, Dropped, Duplicates, Gains, MatchReport, YoloV5Loss, YoloV5Losses};

option_enum!(BoxFormat {
    BoxFormat::Xyxy => "xyxy",
    BoxFormat::Xywh => "xywh",
    BoxFormat::Cxcywh => "cxcywh",
});
option_enum!(IouKind {
    IouKind::Iou => "iou",
    IouKind::GIoU => "giou",
    IouKind::DIoU => "diou",
    IouKind::CIoU => "ciou",
});
option_enum!(Duplicates { Duplicates::Last => "last", Duplicates::Max => "max" });

pub(crate) fn entries() -> Vec<Entry> {
    [
        IoULoss::entries(),
        GIoULoss::entries(),
        DIoULoss::entries(),
        CIoULoss::entries(),
        YoloBoxLoss::entries(),
        YoloV5Loss::entries(),
    ]
    .concat()
}
