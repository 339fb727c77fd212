//! Lovász, structural similarity and compound losses.

use super::{CPU, Inputs, Job, job as of_loss};
use tch::{Kind, Tensor};
use tch_losses::{
    BasnetHybridLoss, ComboLoss, DiceBceLoss, DiceCeLoss, DiceClDiceLoss, DiceFocalLoss,
    DiceTopKLoss, ExponentialLogarithmicLoss, Loss, LovaszHingeLoss, LovaszSoftmaxLoss, MsSsimLoss,
    SsimLoss, StructuralCorrelationLoss, Unet3PlusHybridLoss, UnifiedFocalLoss,
    metrics::SsimOptions,
    segmentation::{DeepSupervision, SupervisionWeights},
};

/// The case of that name, or nothing for a name that is not there.
pub fn job(case: &str, inputs: &Inputs) -> Option<Job> {
    Some(match case {
        "lovasz_hinge" => inputs.hard(LovaszHingeLoss::kornia(), Kind::Float),
        "lovasz_softmax" => inputs.classes(LovaszSoftmaxLoss::default()),
        "lovasz_softmax_image" => inputs.classes(LovaszSoftmaxLoss::kornia()),
        "ssim" => images(inputs, SsimLoss::default()),
        "ssim_reflect" => images(inputs, SsimLoss::new(SsimOptions::torchmetrics(1.0))),
        "ms_ssim" => images(inputs, MsSsimLoss::default()),
        "unified_focal" => inputs.classes(UnifiedFocalLoss::default()),
        "exp_log" => inputs.classes(ExponentialLogarithmicLoss::default()),
        "combo" => inputs.hard(ComboLoss::default(), Kind::Float),
        "structural_correlation" => inputs.hard(StructuralCorrelationLoss::default(), Kind::Float),
        "dice_ce" => inputs.classes(DiceCeLoss::monai()),
        "dice_ce_nnunet" => inputs.classes(DiceCeLoss::nnunet()),
        "dice_bce" => inputs.hard(DiceBceLoss::nnunet(), Kind::Float),
        "dice_focal" => inputs.hard(DiceFocalLoss::monai(), Kind::Float),
        "dice_top_k" => inputs.classes(DiceTopKLoss::nnunet()),
        "dice_cl_dice" => inputs.classes(DiceClDiceLoss::monai()),
        "basnet_hybrid" => inputs.hard(BasnetHybridLoss::default(), Kind::Float),
        "unet3plus_hybrid" => near(inputs, Unet3PlusHybridLoss::default()),
        "deep_supervision" => deep(inputs),
        _ => return None,
    })
}

/// Logits of a map near its target, so that no scale of MS-SSIM is below 0.
fn near(inputs: &Inputs, loss: impl Loss + 'static) -> Job {
    let target = Tensor::rand(inputs.size, CPU).gt(0.5).to_kind(Kind::Float);
    let logits = inputs.leaf(&target * 4.0 - 2.0 + Tensor::randn(inputs.size, CPU) * 0.5);
    of_loss(loss, logits, inputs.put(target))
}

/// Outputs of four scales.
fn deep(inputs: &Inputs) -> Job {
    let &[images, classes, side, _] = inputs.size else { panic!("expected N x C x H x W") };
    let outputs = [1, 2, 4, 8]
        .map(|by| inputs.leaf(Tensor::randn([images, classes, side / by, side / by], CPU) * 2.0));
    let target = inputs.put(inputs.index());
    let loss = DeepSupervision::new(DiceCeLoss::monai()).weights(SupervisionWeights::Exp);
    let leaves = outputs.each_ref().map(Tensor::shallow_clone).into();
    Job { forward: Box::new(move || loss.forward(&outputs, &target).total), leaves }
}

/// An image and one like it, in [0, 1].
fn images(inputs: &Inputs, loss: impl Loss + 'static) -> Job {
    let target = Tensor::rand(inputs.size, CPU);
    let input = inputs.leaf(&target * 0.7 + Tensor::rand(inputs.size, CPU) * 0.3);
    of_loss(loss, input, inputs.put(target))
}
