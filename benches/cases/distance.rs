//! Distance transforms, and the losses and metrics that are made of them.

use super::*;
use tch_losses::segmentation::{distance_transform_edt, signed_distance_transform_edt};

pub fn job(case: &str, inputs: &Inputs) -> Option<Job> {
    Some(match case {
        "edt" | "edt_volume" => {
            let mask = inputs.blobs();
            let spacing = vec![1.0; mask.dim() - 1];
            forward_only(move || distance_transform_edt(&mask, &spacing))
        }
        "edt_spacing" => {
            let mask = inputs.blobs();
            let spacing = [3.0, 1.0, 0.7][..mask.dim() - 1].to_vec();
            forward_only(move || distance_transform_edt(&mask, &spacing))
        }
        "edt_signed" => {
            let mask = inputs.blobs();
            let spacing = vec![1.0; mask.dim() - 1];
            forward_only(move || signed_distance_transform_edt(&mask, &spacing))
        }
        _ => return None,
    })
}

impl Inputs<'_> {
    /// Blobs of some ten pixels, (N, d1, ..).
    fn blobs(&self) -> Tensor {
        let noise = Tensor::rand(self.size, CPU).unsqueeze(1);
        let smooth = |x: Tensor| match x.dim() {
            4 => x.avg_pool2d(9, 1, 4, false, true, None),
            _ => x.avg_pool3d(5, 1, 2, false, true, None),
        };
        self.put(smooth(smooth(noise)).squeeze_dim(1).gt(0.5))
    }
}
