//! Overlap statistics of a segmentation and the losses made of them.

mod dice;
mod lovasz;
mod statistics;

use crate::loss::Entry;

pub use dice::{DiceForm, SoftDiceLoss};
pub use lovasz::{LovaszClasses, LovaszHingeLoss, LovaszSoftmaxLoss};
pub use statistics::{Nonlinearity, Statistics, StatisticsOptions, f_tp_fp_fn, tp_fp_fn};

pub(crate) fn entries() -> Vec<Entry> {
    [SoftDiceLoss::entries(), LovaszHingeLoss::entries(), LovaszSoftmaxLoss::entries()].concat()
}
