//! Overlap statistics of a segmentation and the losses made of them.

mod dice;
mod distance;
mod statistics;

use crate::loss::Entry;

pub use dice::{DiceForm, SoftDiceLoss};
pub use distance::{
    distance_transform_edt, f_distance_transform_edt, f_signed_distance_transform_edt,
    signed_distance_transform_edt,
};
pub use statistics::{Nonlinearity, Statistics, StatisticsOptions, f_tp_fp_fn, tp_fp_fn};

pub(crate) fn entries() -> Vec<Entry> {
    [SoftDiceLoss::entries()].concat()
}
