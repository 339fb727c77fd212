//! From a network's raw outputs to detections in pixels of the original image.

use crate::{
    data::{
        augment::Transform,
        cache::Cache,
        loader::{Batch, Loader, Options},
    },
    model::Detector,
    options::Thresholds,
};
use anyhow::Result;
use std::sync::Arc;
use tch::{Device, IndexOp, Kind, Tensor, no_grad_guard};
use tch_losses::detection::{Anchors, BoxFormat, batched_nms, boxes::convert};

/// One found object.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub class: usize,
    /// Left, top, right, bottom in pixels of the original image.
    pub xyxy: [f32; 4],
    pub score: f32,
}

/// Scores above which boxes go into the suppression, at most; the best are kept.
const CANDIDATES: i64 = 3000;

/// Images of a batch in [0, 1] on the device.
pub fn images(batch: &Batch, device: Device) -> Tensor {
    let shape = [batch.n as i64, 3, batch.side as i64, batch.side as i64];
    Tensor::from_slice(&batch.images).view(shape).to_device(device).to_kind(Kind::Float) / 255.0
}

/// A loader of whole images in order.
pub fn in_order(cache: Arc<Cache>, batch: usize) -> Loader {
    Loader::new(cache, Options::plain(batch))
}

/// The detections of each image of a batch, best first.
pub fn detect(
    net: &Detector,
    anchors: &Anchors,
    images: &Tensor,
    transforms: &[Transform],
    conf: f64,
    thresholds: Thresholds,
) -> Result<Vec<Vec<Found>>> {
    let _guard = no_grad_guard();
    let decoded = anchors.f_decode(&net.forward(images, false))?;
    transforms
        .iter()
        .enumerate()
        .map(|(image, transform)| one_image(&decoded.i(image as i64), transform, conf, thresholds))
        .collect()
}

fn one_image(
    decoded: &Tensor,
    transform: &Transform,
    conf: f64,
    thresholds: Thresholds,
) -> Result<Vec<Found>> {
    let classes = decoded.size()[1] - 5;
    // Every class above the threshold counts, not only the best of a box.
    let scores = (decoded.narrow(1, 5, classes) * decoded.narrow(1, 4, 1)).flatten(0, 1);
    let (scores, order) = scores.topk(CANDIDATES.min(scores.size()[0]), 0, true, true);
    let confident = scores.gt(conf).sum(Kind::Int64).int64_value(&[]);
    let (scores, order) = (scores.narrow(0, 0, confident), order.narrow(0, 0, confident));
    let boxes =
        decoded.index_select(0, &order.divide_scalar_mode(classes, "floor")).narrow(1, 0, 4);
    let boxes = convert(&boxes, BoxFormat::Cxcywh, BoxFormat::Xyxy);
    let class = order.remainder(classes);
    let kept = batched_nms(&boxes, &scores, &class, thresholds.nms);
    let kept = kept.narrow(0, 0, kept.size()[0].min(thresholds.max_det as i64));
    let boxes =
        Vec::<f32>::try_from(boxes.index_select(0, &kept).to_kind(Kind::Float).flatten(0, 1))?;
    let scores = Vec::<f32>::try_from(scores.index_select(0, &kept).to_kind(Kind::Float))?;
    let class = Vec::<i64>::try_from(class.index_select(0, &kept))?;
    Ok(boxes
        .chunks_exact(4)
        .zip(scores)
        .zip(class)
        .map(|((xyxy, score), class)| Found {
            class: class as usize,
            xyxy: transform.inverse([xyxy[0], xyxy[1], xyxy[2], xyxy[3]]),
            score,
        })
        .collect())
}
