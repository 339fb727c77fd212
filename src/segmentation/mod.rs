//! Overlap statistics of a segmentation and the losses made of them.

mod boundary;
mod cldice;
mod combo;
mod compound;
mod confusion;
mod deep_supervision;
mod dice;
mod distance;
mod exp_log;
mod generalized_dice;
mod hausdorff;
mod log_pixels;
mod lovasz;
mod maps;
mod penalty;
mod region;
mod shape_aware;
mod soft_dice;
mod statistics;
mod structural;
mod tversky;
mod unified_focal;
mod weight_map;

use crate::loss::Entry;

pub use boundary::BoundaryLoss;
pub use cldice::{ClDiceLoss, f_soft_skeletonize, soft_skeletonize};
pub use combo::ComboLoss;
pub use compound::{
    BasnetHybridLoss, DiceBceLoss, DiceCeLoss, DiceClDiceLoss, DiceFocalLoss, DiceTopKLoss,
    Unet3PlusHybridLoss,
};
pub use confusion::{MccLoss, SensitivitySpecificityLoss};
pub use deep_supervision::{DeepSupervision, SupervisionWeights};
pub use dice::{DiceLoss, JaccardLoss, LogCoshDiceLoss};
pub use distance::{
    distance_transform_edt, f_distance_transform_edt, f_signed_distance_transform_edt,
    signed_distance_transform_edt,
};
pub use exp_log::ExponentialLogarithmicLoss;
pub use generalized_dice::{
    AbsentWeight, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss, VolumeWeight,
    WassersteinWeighting,
};
pub use hausdorff::{HausdorffDtLoss, HausdorffErLoss};
pub use lovasz::{LovaszHingeLoss, LovaszSoftmaxLoss};
pub use penalty::{DistBinaryDiceLoss, DistancePenalizedCrossEntropyLoss};
pub use region::{Aggregate, Average, EmptyClass, WeightNorm};
pub use shape_aware::ShapeAwareLoss;
pub use soft_dice::{DiceForm, SoftDiceLoss};
pub use statistics::{
    IgnoreIndex, Nonlinearity, Statistics, StatisticsOptions, f_tp_fp_fn, tp_fp_fn,
};
pub use structural::StructuralCorrelationLoss;
pub use tversky::{FBetaLoss, FocalTverskyLoss, PowerOf, TverskyLoss};
pub use unified_focal::{AsymmetricFocalLoss, AsymmetricFocalTverskyLoss, UnifiedFocalLoss};
pub use weight_map::{WeightMapOptions, f_unet_weight_map, unet_weight_map};

pub(crate) fn entries() -> Vec<Entry> {
    [
        SoftDiceLoss::entries(),
        DiceLoss::entries(),
        JaccardLoss::entries(),
        TverskyLoss::entries(),
        LovaszHingeLoss::entries(),
        LovaszSoftmaxLoss::entries(),
        AsymmetricFocalLoss::entries(),
        AsymmetricFocalTverskyLoss::entries(),
        UnifiedFocalLoss::entries(),
        ExponentialLogarithmicLoss::entries(),
        ComboLoss::entries(),
        StructuralCorrelationLoss::entries(),
        DiceCeLoss::entries(),
        DiceBceLoss::entries(),
        DiceFocalLoss::entries(),
        DiceTopKLoss::entries(),
        DiceClDiceLoss::entries(),
        BasnetHybridLoss::entries(),
        Unet3PlusHybridLoss::entries(),
        DeepSupervision::entries(),
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
        DistBinaryDiceLoss::entries(),
        DistancePenalizedCrossEntropyLoss::entries(),
        ShapeAwareLoss::entries(),
    ]
    .concat()
}
