//! Accuracy and calibration of a network on a validation split.

use crate::{
    model::Classifier,
    objective::{Link, Objective},
    options::Eval,
    report, weights,
};
use anyhow::{Result, ensure};
use examples_support::{
    labelled::{Dataset, store::Store},
    progress::Pass,
    train,
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor, no_grad_guard};
use tch_losses::metrics::{Calibration, ConfusionMatrix};

/// What a network does on a split.
pub struct Outcome {
    pub matrix: ConfusionMatrix,
    pub calibration: Calibration,
    /// Negative log likelihood: the mean of -log p of the true class.
    pub nll: f64,
    /// The mean loss, where there is an objective.
    pub loss: Option<f64>,
    /// What was taken for another class, the least likely truth first.
    pub mistakes: Vec<Mistake>,
}

/// An image that was taken for another class.
#[derive(Debug, Clone, Copy)]
pub struct Mistake {
    pub image: usize,
    pub predicted: usize,
    /// The probability of the predicted class, and of the true one.
    pub probability: [f64; 2],
}

impl Outcome {
    pub fn accuracy(&self) -> f64 {
        self.matrix.accuracy().unwrap_or(0.0)
    }

    pub fn ece(&self) -> f64 {
        self.calibration.ece().unwrap_or(0.0)
    }

    pub fn confidence(&self) -> f64 {
        self.calibration.confidence().unwrap_or(0.0)
    }
}

/// How a split is run through a network.
#[derive(Clone, Copy)]
pub struct How<'a> {
    pub link: Link,
    pub objective: Option<&'a Objective>,
    pub bins: usize,
    pub batch: usize,
    pub workers: usize,
    pub device: Device,
}

/// Runs the network over the split; `progress` gets the batches done.
pub fn evaluate(
    net: &Classifier,
    store: &Arc<Store>,
    how: How,
    mut progress: impl FnMut(usize),
) -> Result<Outcome> {
    let _guard = no_grad_guard();
    let mut matrix = ConfusionMatrix::new(store.data.classes.len());
    let mut calibration = Calibration::new(how.bins);
    let (mut nll, mut loss, mut mistakes) = (0.0, how.objective.map(|_| 0.0), Vec::new());
    let batches = store.batches((0..store.data.len()).collect(), how.batch, how.workers);
    for (done, batch) in batches.enumerate() {
        let batch = batch?;
        let (images, target) = batch.tensors(how.device);
        let logits = net.forward(&images, false);
        let log_p = how.link.log_probabilities(&logits);
        let p = log_p.exp();
        matrix.f_update(&p, &target)?;
        calibration.f_update(&p, &target)?;
        let own = log_p.gather(1, &target.unsqueeze(1), false).squeeze_dim(1);
        nll -= own.sum(Kind::Double).double_value(&[]);
        if let (Some(sum), Some(objective)) = (&mut loss, how.objective) {
            *sum += objective.loss(&logits, &target)?.double_value(&[]) * batch.len() as f64;
        }
        let (confidence, predicted) = p.max_dim(1, false);
        let wrong = predicted.ne_tensor(&target).nonzero().squeeze_dim(1);
        let places = Vec::<i64>::try_from(&wrong)?;
        let of = |t: &Tensor| Vec::<f64>::try_from(t.index_select(0, &wrong).to_kind(Kind::Double));
        let parts =
            places.into_iter().zip(of(&predicted)?).zip(of(&confidence)?).zip(of(&own.exp())?);
        mistakes.extend(parts.map(|(((at, predicted), confidence), own)| Mistake {
            image: done * how.batch + at as usize,
            predicted: predicted as usize,
            probability: [confidence, own],
        }));
        progress(done + 1);
    }
    let images = store.data.len() as f64;
    mistakes.sort_by(|a, b| a.probability[1].total_cmp(&b.probability[1]));
    let loss = loss.map(|sum| sum / images);
    Ok(Outcome { matrix, calibration, nll: nll / images, loss, mistakes })
}

pub fn run(options: &Eval) -> Result<()> {
    ensure!(options.batch > 0, "--batch: expected at least 1");
    ensure!(options.bins > 0, "--bins: expected at least 1");
    let device = train::device(&options.device)?;
    let (net, _vs, meta) = weights::load(&options.weights, device)?;
    let spec = options.data.spec(options.seed);
    let classes = spec.classes.as_ref().unwrap_or(&meta.classes);
    let dataset = Dataset::open_val(&spec, classes)?;
    ensure!(
        dataset.classes == meta.classes && dataset.channels == meta.channels,
        "the weights know the classes {:?} in images of {} channels, the data have {:?} in {}",
        meta.classes,
        meta.channels,
        dataset.classes,
        dataset.channels
    );
    println!("{}", dataset.summary());
    let store = Arc::new(Store::fill(dataset, meta.side, options.data.skip_unreadable)?);
    let pass = Pass::new("eval", store.data.len().div_ceil(options.batch));
    let how = How {
        link: meta.link,
        objective: None,
        bins: options.bins,
        batch: options.batch,
        workers: 2,
        device,
    };
    let outcome = evaluate(&net, &store, how, |done| pass.done(done))?;
    drop(pass);
    print!("{}{}", report::summary(&outcome), report::per_class(&meta.classes, &outcome.matrix));
    if let Some(out) = &options.out {
        report::pictures(out, &meta.loss, &store, &outcome)?;
        println!("pictures in {}", out.display());
    }
    Ok(())
}
