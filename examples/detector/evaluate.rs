//! COCO evaluation of a network on a validation split.

use crate::{
    data::{Dataset, Item, Split, cache::Cache},
    infer::{self, Found},
    model::Detector,
    options::{Eval, Selection},
    report, weights,
};
use anyhow::{Result, bail};
use examples_support::{files, progress::Pass, train};
use std::sync::Arc;
use tch::Device;
use tch_losses::{
    detection::Anchors,
    metrics::{CocoEval, CocoSummary, Detection, GroundTruth},
};

/// Bytes of decoded images kept in memory.
pub const CACHE_BYTES: usize = 4 << 30;

pub struct Outcome {
    pub summary: CocoSummary,
    /// The detections of each image of the split.
    pub found: Vec<Vec<Found>>,
}

/// Runs the network over the cached split; `progress` gets the batches done.
pub fn evaluate(
    net: &Detector,
    anchors: &Anchors,
    cache: &Arc<Cache>,
    batch: usize,
    selection: Selection,
    device: Device,
    mut progress: impl FnMut(usize),
) -> Result<Outcome> {
    let mut eval = CocoEval::new(cache.dataset.classes.len());
    let mut found = Vec::with_capacity(cache.dataset.len());
    let loader = infer::in_order(cache.clone(), batch);
    for (done, batch) in loader.epoch(0).enumerate() {
        let batch = batch?;
        let images = infer::images(&batch, device);
        let detected = infer::detect(net, anchors, &images, &batch.transforms, selection)?;
        for (&index, detected) in batch.indices.iter().zip(detected) {
            eval.add(&detections(&detected), &ground_truth(&cache.dataset.items[index]))?;
            found.push(detected);
        }
        progress(done + 1);
    }
    Ok(Outcome { summary: eval.summarize(), found })
}

fn detections(found: &[Found]) -> Vec<Detection> {
    let one = |f: &Found| Detection::xyxy(f.class, f.xyxy.map(f64::from), f64::from(f.score));
    found.iter().map(one).collect()
}

fn ground_truth(item: &Item) -> Vec<GroundTruth> {
    item.labels
        .iter()
        .map(|label| {
            let truth =
                GroundTruth::xyxy(label.class, label.xyxy.map(f64::from)).crowd(label.crowd);
            match label.area {
                Some(area) => truth.area(area),
                None => truth,
            }
        })
        .collect()
}

pub fn run(options: &Eval) -> Result<()> {
    let device = train::device(&options.device)?;
    let (net, _vs, meta) = weights::load(&options.weights, device)?;
    let mut spec = options.data.spec(meta.side, options.seed);
    spec.classes.get_or_insert_with(|| meta.classes.clone());
    let dataset = Dataset::open(&spec, Split::Val)?;
    if dataset.classes != meta.classes {
        bail!(
            "the weights know the classes {:?}, the data have {:?}; name them in the weights' order \
             with --classes",
            meta.classes,
            dataset.classes
        );
    }
    println!("{}", dataset.summary());
    let cache = Arc::new(Cache::fill(Arc::new(dataset), meta.side, CACHE_BYTES, |_| {})?);
    let pass = Pass::new("eval", cache.dataset.len().div_ceil(options.batch));
    let outcome = evaluate(
        &net,
        &meta.anchors()?,
        &cache,
        options.batch,
        options.thresholds.above(options.conf),
        device,
        |done| pass.done(done),
    )?;
    drop(pass);
    println!("{}", outcome.summary);
    print!("{}", report::per_class(&cache.dataset.classes, &outcome.summary));
    if let Some(path) = &options.json {
        files::write(path, report::coco_results(&cache.dataset, &outcome.found)?.as_bytes())?;
        println!("COCO results in {}", path.display());
    }
    Ok(())
}
