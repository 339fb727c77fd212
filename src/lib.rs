//! Computer-vision losses for [`tch`].

mod check;
mod error;
mod loss;
mod reduce;

pub mod adversarial;
pub mod classification;
pub mod cuda;
pub mod detection;
pub mod metrics;
pub mod segmentation;

pub use adversarial::{GradientPenalty, f_gradient_penalty, gradient_penalty};
pub use classification::{
    BceLoss, BceWithLogitsLoss, CrossEntropyLoss, FocalLoss, LabelSmoothing, SoftmaxFocalLoss,
};
pub use detection::{
    BoxFormat, CIoULoss, DIoULoss, GIoULoss, IoULoss, IouKind, bbox_iou, f_bbox_iou,
    f_pairwise_iou, pairwise_iou,
};
pub use error::{LossError, Result};
pub use loss::{FnLoss, Loss, LossParts, WeightedSum};
pub use reduce::MeanOver;
pub use segmentation::SoftDiceLoss;
pub use tch::Reduction;
