//! Lovász, structural similarity and compound losses.

use super::{CPU, Inputs, Job, job as of_loss};
use tch::{Kind, Tensor};
use tch_losses::{
    Loss, LovaszHingeLoss, LovaszSoftmaxLoss, MsSsimLoss, SsimLoss, metrics::SsimOptions,
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
        _ => return None,
    })
}

/// An image and one like it, in [0, 1].
fn images(inputs: &Inputs, loss: impl Loss + 'static) -> Job {
    let target = Tensor::rand(inputs.size, CPU);
    let input = inputs.leaf(&target * 0.7 + Tensor::rand(inputs.size, CPU) * 0.3);
    of_loss(loss, input, inputs.put(target))
}
