//! Overlap statistics of a segmentation and the losses made of them.

mod confusion;
mod dice;
mod generalized_dice;
mod region;
mod soft_dice;
mod statistics;
mod tversky;

use crate::loss::Entry;

pub use confusion::{MccLoss, SensitivitySpecificityLoss};
pub use dice::{DiceLoss, JaccardLoss, LogCoshDiceLoss};
pub use generalized_dice::{
    AbsentWeight, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss, VolumeWeight,
    WassersteinWeighting,
};
pub use region::{Aggregate, Average, EmptyClass, WeightNorm};
pub use soft_dice::{DiceForm, SoftDiceLoss};
pub use statistics::{
    IgnoreIndex, Nonlinearity, Statistics, StatisticsOptions, f_tp_fp_fn, tp_fp_fn,
};
pub use tversky::{FBetaLoss, FocalTverskyLoss, PowerOf, TverskyLoss};

pub(crate) fn entries() -> Vec<Entry> {
    [
        SoftDiceLoss::entries(),
        DiceLoss::entries(),
        JaccardLoss::entries(),
        TverskyLoss::entries(),
        FocalTverskyLoss::entries(),
        FBetaLoss::entries(),
        LogCoshDiceLoss::entries(),
        GeneralizedDiceLoss::entries(),
        GeneralizedWassersteinDiceLoss::entries(),
        SensitivitySpecificityLoss::entries(),
        MccLoss::entries(),
    ]
    .concat()
}
