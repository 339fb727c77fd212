//! Overlap statistics of a segmentation and the losses made of them.

mod dice;
mod dice_loss;
mod region;
mod statistics;
mod tversky;

use crate::loss::Entry;

pub use dice::{DiceForm, SoftDiceLoss};
pub use dice_loss::{DiceLoss, JaccardLoss};
pub use region::{Aggregate, Average, EmptyClass, WeightNorm};
pub use statistics::{
    IgnoreIndex, Nonlinearity, Statistics, StatisticsOptions, f_tp_fp_fn, tp_fp_fn,
};
pub use tversky::TverskyLoss;

pub(crate) fn entries() -> Vec<Entry> {
    [SoftDiceLoss::entries(), DiceLoss::entries(), JaccardLoss::entries(), TverskyLoss::entries()]
        .concat()
}
