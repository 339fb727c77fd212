//! Overlap statistics of a segmentation and the losses made of them.

mod combo;
mod compound;
mod confusion;
mod deep_supervision;
mod dice;
mod exp_log;
mod generalized_dice;
mod log_pixels;
mod lovasz;
mod region;
mod soft_dice;
mod statistics;
mod structural;
mod tversky;
mod unified_focal;

use crate::loss::Entry;

pub use combo::ComboLoss;
pub use compound::{
    BasnetHybridLoss, DiceBceLoss, DiceCeLoss, DiceFocalLoss, DiceTopKLoss, Unet3PlusHybridLoss,
};
pub use confusion::{MccLoss, SensitivitySpecificityLoss};
pub use deep_supervision::{DeepSupervision, SupervisionWeights};
pub use dice::{DiceLoss, JaccardLoss, LogCoshDiceLoss};
pub use exp_log::ExponentialLogarithmicLoss;
pub use generalized_dice::{
    AbsentWeight, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss, VolumeWeight,
    WassersteinWeighting,
};
pub use lovasz::{LovaszHingeLoss, LovaszSoftmaxLoss};
pub use region::{Aggregate, Average, EmptyClass, WeightNorm};
pub use soft_dice::{DiceForm, SoftDiceLoss};
pub use statistics::{
    IgnoreIndex, Nonlinearity, Statistics, StatisticsOptions, f_tp_fp_fn, tp_fp_fn,
};
pub use structural::StructuralCorrelationLoss;
pub use tversky::{FBetaLoss, FocalTverskyLoss, PowerOf, TverskyLoss};
pub use unified_focal::{AsymmetricFocalLoss, AsymmetricFocalTverskyLoss, UnifiedFocalLoss};

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
    ]
    .concat()
}
