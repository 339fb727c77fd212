//! Cross entropy and its kin, binary and softmax, with the focal family.

mod binary;
mod cross_entropy;
mod focal;

pub use binary::{BceLoss, BceWithLogitsLoss};
pub use cross_entropy::{CrossEntropyLoss, LabelSmoothing};
pub use focal::{FocalLoss, SoftmaxFocalLoss};
