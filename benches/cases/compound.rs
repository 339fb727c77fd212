//! Lovász, structural similarity and compound losses.

use super::{Inputs, Job};
use tch::Kind;
use tch_losses::{LovaszHingeLoss, LovaszSoftmaxLoss};

/// The case of that name, or nothing for a name that is not there.
pub fn case(case: &str, inputs: &Inputs) -> Option<Job> {
    Some(match case {
        "lovasz_hinge" => inputs.hard(LovaszHingeLoss::kornia(), Kind::Float),
        "lovasz_softmax" => inputs.classes(LovaszSoftmaxLoss::default()),
        "lovasz_softmax_image" => inputs.classes(LovaszSoftmaxLoss::kornia()),
        _ => return None,
    })
}
