//! Losses of images.

use super::{CPU, Inputs, Job, job as of_pair};
use tch::Tensor;
use tch_losses::{
    Loss,
    metrics::PsnrLoss,
    perceptual::{
        EdgeLoss, FnExtractor, FocalFrequencyLoss, GramNorm, StyleLoss, TotalVariation,
        TotalVariationLoss,
    },
};

/// The case of that name, or nothing for a name that is not there.
pub fn job(case: &str, inputs: &Inputs) -> Option<Job> {
    let pair = |loss: Box<dyn Loss>| {
        let images = inputs.leaf(Tensor::rand(inputs.size, CPU));
        of_pair(loss, images, inputs.put(Tensor::rand(inputs.size, CPU)))
    };
    let variation = |loss: TotalVariationLoss| {
        let images = inputs.leaf(Tensor::rand(inputs.size, CPU));
        let leaves = vec![images.shallow_clone()];
        Job { forward: Box::new(move || loss.forward(&images)), leaves }
    };
    Some(match case {
        "psnr" => pair(Box::<PsnrLoss>::default()),
        "edge" => pair(Box::<EdgeLoss>::default()),
        "focal_frequency" => pair(Box::<FocalFrequencyLoss>::default()),
        "gram" => {
            let maps = FnExtractor::new("maps", |x: &Tensor| Ok(vec![x.shallow_clone()]));
            pair(Box::new(StyleLoss::new(maps).norm(GramNorm::Normalised)))
        }
        "total_variation" => variation(TotalVariationLoss::default()),
        "total_variation_isotropic" => {
            variation(TotalVariationLoss::default().form(TotalVariation::Isotropic))
        }
        _ => return None,
    })
}
