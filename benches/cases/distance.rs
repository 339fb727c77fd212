//! Distance transforms, and the losses and metrics that are made of them.

use super::{CPU, Inputs, Job, forward_only, job as of_loss};
use tch::{Kind, Tensor};
use tch_losses::{
    BoundaryLoss, ClDiceLoss, DistBinaryDiceLoss, DistancePenalizedCrossEntropyLoss,
    HausdorffDtLoss, HausdorffErLoss, Loss, ShapeAwareLoss,
    metrics::SurfaceDistances,
    segmentation::{
        Nonlinearity, WeightMapOptions, distance_transform_edt, signed_distance_transform_edt,
        unet_weight_map,
    },
};

/// The case of that name, or nothing for a name that is not there.
pub fn job(case: &str, inputs: &Inputs) -> Option<Job> {
    Some(match case {
        "edt" | "edt_volume" => {
            let mask = blobs(inputs);
            let spacing = vec![1.0; mask.dim() - 1];
            forward_only(move || distance_transform_edt(&mask, &spacing))
        }
        "edt_spacing" => {
            let mask = blobs(inputs);
            forward_only(move || distance_transform_edt(&mask, &[3.0, 0.7]))
        }
        "edt_signed" => {
            let mask = blobs(inputs);
            forward_only(move || signed_distance_transform_edt(&mask, &[1.0, 1.0]))
        }
        "hd95" => {
            let (prediction, target) = (blobs(inputs), blobs(inputs));
            forward_only(move || {
                SurfaceDistances::new(&prediction, &target, &[1.0, 1.0]).percentile(95.0)
            })
        }
        "unet_weight_map" => {
            let instances = cells(inputs);
            forward_only(move || unet_weight_map(&instances, WeightMapOptions::default()))
        }
        "cl_dice" | "cl_dice_volume" => regions(inputs, ClDiceLoss::monai()),
        "boundary" => regions(inputs, BoundaryLoss::default()),
        "boundary_map" => {
            let (logits, target) = (inputs.logits(), index(inputs));
            let boundary = BoundaryLoss::default();
            let map = boundary.distance_map(&target, inputs.size[1]);
            let leaves = vec![logits.shallow_clone()];
            let forward = move || boundary.forward_with_map(&logits, &map, None);
            Job { forward: Box::new(forward), leaves }
        }
        "hausdorff_dt" => regions(inputs, HausdorffDtLoss::monai()),
        "hausdorff_er" => {
            regions(inputs, HausdorffErLoss::kornia().apply_nonlin(Nonlinearity::Softmax))
        }
        "dist_binary_dice" => regions(inputs, DistBinaryDiceLoss::default()),
        "distance_penalized_ce" => regions(inputs, DistancePenalizedCrossEntropyLoss::default()),
        "shape_aware" => regions(inputs, ShapeAwareLoss::default()),
        _ => return None,
    })
}

/// Noise (N, 1, d1, ..) without its fine parts.
fn smooth(noise: Tensor) -> Tensor {
    let once = |x: Tensor| match x.dim() {
        4 => x.avg_pool2d(9, 1, 4, false, true, None),
        _ => x.avg_pool3d(5, 1, 2, false, true, None),
    };
    once(once(noise))
}

/// Blobs of some ten pixels, (N, d1, ..).
fn blobs(inputs: &Inputs) -> Tensor {
    let noise = Tensor::rand(inputs.size, CPU).unsqueeze(1);
    inputs.put(smooth(noise).squeeze_dim(1).gt(0.5))
}

/// Some of the squares of a grid, each with a number of its own, (N, H, W).
fn cells(inputs: &Inputs) -> Tensor {
    let [images, height, width] = [inputs.size[0], inputs.size[1], inputs.size[2]];
    let numbers = Tensor::arange(16, (Kind::Int64, CPU.1)).view([4, 4]) + 1;
    let kept = Tensor::rand([images, 4, 4], CPU).lt(0.8);
    let grown = (numbers * kept)
        .repeat_interleave_self_int(height / 4, 1, None)
        .repeat_interleave_self_int(width / 4, 2, None);
    let rim = Tensor::ones([height / 4 - 4, width / 4 - 4], (Kind::Int64, CPU.1));
    inputs.put(grown * rim.constant_pad_nd([2, 2, 2, 2]).repeat([4, 4]))
}

/// Regions of classes, (N, C, d1, ..) to (N, d1, ..).
fn index(inputs: &Inputs) -> Tensor {
    let noise = Tensor::rand(inputs.size, CPU);
    let of_images = noise.flatten(0, 1).unsqueeze(1);
    inputs.put(smooth(of_images).view_as(&noise).argmax(1, false))
}

fn regions(inputs: &Inputs, loss: impl Loss + 'static) -> Job {
    let logits = inputs.logits();
    of_loss(loss, logits, index(inputs))
}
