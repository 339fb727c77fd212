//! Cross entropy and its kin, binary and softmax, with the focal family.

mod binary;
mod cross_entropy;
mod focal;

use crate::loss::Entry;

pub use binary::{BceLoss, BceWithLogitsLoss};
pub use cross_entropy::{CrossEntropyLoss, LabelSmoothing};
pub use focal::{FocalLoss, SoftmaxFocalLoss};

pub(crate) fn entries() -> Vec<Entry> {
    [
        CrossEntropyLoss::entries(),
        LabelSmoothing::entries(),
        BceWithLogitsLoss::entries(),
        BceLoss::entries(),
        FocalLoss::entries(),
        SoftmaxFocalLoss::entries(),
    ]
    .concat()
}
