//! Overlap losses of segmentations.

use super::{Inputs, Job};
use tch::Kind;
use tch_losses::{
    DiceLoss, FBetaLoss, FocalTverskyLoss, GeneralizedDiceLoss, GeneralizedWassersteinDiceLoss,
    JaccardLoss, LogCoshDiceLoss, MccLoss, SensitivitySpecificityLoss, TverskyLoss,
    segmentation::Nonlinearity,
};

/// The case of that name, or nothing for a name that is not there.
pub fn job(case: &str, inputs: &Inputs) -> Option<Job> {
    Some(match case {
        "dice" => inputs.classes(DiceLoss::monai()),
        "dice_kornia_macro" => inputs.classes(DiceLoss::kornia_macro()),
        "dice_smp_ignore" => inputs.classes_ignored(DiceLoss::smp().ignore_index(255)),
        "dice_multilabel" => {
            inputs.hard(DiceLoss::monai().apply_nonlin(Nonlinearity::Sigmoid), Kind::Float)
        }
        "jaccard" => inputs.classes(JaccardLoss::monai()),
        "tversky" => inputs.classes(TverskyLoss::kornia().alpha(0.3).beta(0.7)),
        "focal_tversky" => inputs.classes(FocalTverskyLoss::default()),
        "f_beta" => inputs.classes(FBetaLoss::default()),
        "log_cosh_dice" => inputs.classes(LogCoshDiceLoss::default()),
        "generalized_dice" => inputs.classes(GeneralizedDiceLoss::monai()),
        "wasserstein_dice" => {
            let classes = inputs.size[1];
            let apart = |i: i64| (0..classes).map(|j| (i - j).abs() as f64).collect();
            let distances: Vec<Vec<f64>> = (0..classes).map(apart).collect();
            inputs.classes(GeneralizedWassersteinDiceLoss::default().dist_matrix(distances))
        }
        "sensitivity_specificity" => inputs.classes(SensitivitySpecificityLoss::default()),
        "mcc" => inputs.classes(MccLoss::default()),
        _ => return None,
    })
}
