//! Overlap statistics of a segmentation and the losses made of them.

mod boundary;
mod cldice;
mod confusion;
mod dice;
mod distance;
mod generalized_dice;
mod hausdorff;
mod maps;
mod region;
mod soft_dice;
mod statistics;
mod tversky;

use crate::loss::Entry;

pub use boundary::BoundaryLoss;
pub use cldice::{ClDiceLoss, f_soft_skeletonize, soft_skeletonize};
pub use confusion::{MccLoss, SensitivitySpecificityLoss};
pub use dice::{DiceLoss, JaccardLoss, LogCoshDiceLoss};
pub use distance::{
    distance_transform_edt, f_distance_transform_edt, f_signed_distance_transform_edt,
    signed_distance_transform_edt,
};
pub use generalized_dice::{
    AbsentWeight, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss, VolumeWeight,
    WassersteinWeighting,
};
pub use hausdorff::{HausdorffDtLoss, HausdorffErLoss};
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
        ClDiceLoss::entries(),
        BoundaryLoss::entries(),
        HausdorffDtLoss::entries(),
        HausdorffErLoss::entries(),
    ]
    .concat()
}
