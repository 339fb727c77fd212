//! The training loop.

use crate::{
    data::{
        Dataset,
        cache::Cache,
        loader::{Loader, Options},
    },
    evaluate::{self, CACHE_BYTES},
    infer,
    model::{self, Detector},
    options::{ClsLoss, Train},
    report::{self, Row},
    weights::{self, Meta},
};
use anyhow::{Context, Result, bail, ensure};
use examples_support::{
    files::{self, Existing},
    interrupt::Interrupt,
    progress::{Progress, clock},
    train::{AdamW, Checkpoint, Ema, copy_into, cosine, device, named},
};
use std::{path::PathBuf, sync::Arc, time::Instant};
use tch::{Device, Tensor, nn::VarStore};
use tch_losses::detection::{Gains, YoloV5Loss};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 200.0;
/// Least score of a detection in validation.
const EVAL_CONF: f64 = 0.001;
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";

/// Everything that changes while training.
struct Run {
    options: Train,
    folder: PathBuf,
    device: Device,
    net: Detector,
    vs: VarStore,
    average: Detector,
    average_vs: VarStore,
    ema: Ema,
    optimiser: AdamW,
    loss: YoloV5Loss,
    meta: Meta,
    rows: Vec<Row>,
}

pub fn run(options: &Train) -> Result<()> {
    check(options)?;
    let device = device(&options.device)?;
    tch::manual_seed(options.seed as i64);
    let interrupt = Interrupt::install()?;
    let spec = options.data.spec(options.img(), options.seed);
    let (training, validation) = Dataset::open_both(&spec)?;
    println!("train: {}\nval:   {}", training.summary(), validation.summary());
    let shared = training.shared_with(&validation);
    if shared > 0 {
        println!("note: {shared} validation images are training images too");
    }
    let existing = match (options.resume, options.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let folder = files::run_folder(&options.runs, "detector", &options.name, LAST, existing)?;
    let mut run = Run::new(options, folder, device, &training)?;
    if options.resume {
        run.resume()?;
    }
    println!(
        "network: {} weights, anchors {:?}, on {device:?}",
        run.vs.trainable_variables().iter().map(Tensor::numel).sum::<usize>(),
        run.meta.anchors.iter().flatten().map(|a| [a[0].round(), a[1].round()]).collect::<Vec<_>>(),
    );

    let cache = |dataset: Dataset| {
        Cache::fill(Arc::new(dataset), options.img(), CACHE_BYTES, |_| {}).map(Arc::new)
    };
    let (training, validation) = (cache(training)?, cache(validation)?);
    run.train(training, validation, &interrupt)
}

fn check(options: &Train) -> Result<()> {
    ensure!(
        options.img() >= 32 && options.img() % 16 == 0,
        "--img: expected a multiple of 16 of at least 32, got {}",
        options.img()
    );
    ensure!(options.epochs() > 0, "--epochs: expected at least 1");
    ensure!(options.batch() > 0, "--batch: expected at least 1");
    ensure!(options.width > 0.0 && options.width <= 16.0, "--width: expected in (0, 16]");
    ensure!(options.lr() > 0.0 && options.lr().is_finite(), "--lr: expected above 0");
    ensure!(options.eval_every > 0, "--eval-every: expected at least 1");
    ensure!(options.workers > 0, "--workers: expected at least 1");
    Ok(())
}

impl Run {
    fn new(options: &Train, folder: PathBuf, device: Device, training: &Dataset) -> Result<Self> {
        let classes = training.classes.len();
        let network = || {
            let vs = VarStore::new(device);
            (Detector::new(&vs.root(), classes, options.width, options.img()), vs)
        };
        let ((net, vs), (average, average_vs)) = (network(), network());
        let anchors = model::anchors(&sizes(training, options.img()))
            .context("no box in the training data to fit anchors to")?;
        let meta = Meta {
            classes: training.classes.clone(),
            side: options.img(),
            width: options.width,
            anchors: anchors.sizes().to_vec(),
            epochs_done: 0,
            epochs: options.epochs(),
            best_map: -1.0,
            ema_updates: 0,
            options: format!("epochs {}, batch {}", options.epochs(), options.batch()),
        };
        Ok(Run {
            ema: Ema::new(&average_vs, &vs, options.ema, EMA_RAMP),
            optimiser: AdamW::new(&vs, options.weight_decay),
            loss: loss(options, &meta)?,
            options: options.clone(),
            rows: Vec::new(),
            folder,
            device,
            net,
            vs,
            average,
            average_vs,
            meta,
        })
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = weights::read(&path)?;
        let load = || -> Result<()> {
            ensure!(
                (meta.side, meta.width) == (self.meta.side, self.meta.width),
                "it was trained with --img {} --width {}",
                meta.side,
                meta.width
            );
            ensure!(meta.classes == self.meta.classes, "its classes are {:?}", meta.classes);
            copy_into(&mut named(&self.vs), &checkpoint.group("model")?)?;
            copy_into(&mut named(&self.average_vs), &checkpoint.group("ema")?)?;
            Ok(())
        };
        load().with_context(|| format!("cannot go on from {}", path.display()))?;
        self.optimiser.load(&checkpoint.group("optimiser")?)?;
        self.ema.updates = meta.ema_updates;
        if meta.options != self.meta.options {
            println!("note: the run began with {}, now {}", meta.options, self.meta.options);
        }
        self.meta = Meta { epochs: self.meta.epochs, options: self.meta.options.clone(), ..meta };
        self.loss = loss(&self.options, &self.meta)?;
        if self.meta.epochs_done > 0 {
            let path = self.folder.join("results.csv");
            self.rows = report::read_rows(&path, self.meta.epochs_done)?;
        }
        println!("going on after epoch {}", self.meta.epochs_done);
        Ok(())
    }

    fn train(
        mut self,
        training: Arc<Cache>,
        validation: Arc<Cache>,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let started = Instant::now();
        let epochs = self.options.epochs();
        let mut progress = Progress::new(epochs);
        for epoch in self.meta.epochs_done..epochs {
            let Some(mut row) = self.epoch(epoch, epochs, &training, interrupt, &mut progress)?
            else {
                self.save(LAST)?;
                progress.finish();
                println!(
                    "stopped in epoch {}; {} is saved, --resume goes on from the end of epoch {}",
                    epoch + 1,
                    self.folder.join(LAST).display(),
                    self.meta.epochs_done
                );
                return Ok(());
            };
            self.meta.epochs_done = epoch + 1;
            let last = epoch + 1 == epochs;
            if last || (epoch + 1) % self.options.eval_every == 0 {
                self.validate(&validation, &mut row, last, &mut progress)?;
            }
            self.rows.push(row);
            report::write_rows(&self.folder.join("results.csv"), &self.rows)?;
            report::curves(&self.folder.join("curves.png"), &self.options.name, &self.rows)?;
            self.save(LAST)?;
        }
        progress.finish();
        println!(
            "{epochs} epochs in {}; best mAP50-95 {:.3}\nin {}: {BEST}, {LAST}, results.csv, \
             curves.png, val.png",
            clock(started.elapsed()),
            self.meta.best_map,
            self.folder.display()
        );
        Ok(())
    }

    /// One epoch; none if the user asked to stop.
    fn epoch(
        &mut self,
        epoch: usize,
        epochs: usize,
        training: &Arc<Cache>,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<Row>> {
        let mut augment = self.options.augment();
        if epoch >= epochs - epochs / 10 {
            augment.mosaic = 0.0;
        }
        let loader = Loader::new(
            training.clone(),
            Options {
                batch: self.options.batch(),
                augment,
                shuffle: true,
                // A last batch of one image would have no batch statistics worth the name.
                drop_last: training.dataset.len() >= self.options.batch(),
                seed: self.options.seed,
                workers: self.options.workers,
                ahead: 2,
            },
        );
        let batches = loader.batches();
        let warmup = (self.options.warmup * batches as f64) as usize;
        progress.epoch(epoch + 1, batches);
        let (started, mut images, mut targets, mut dropped) = (Instant::now(), 0, 0, 0);
        let mut sums = [0.0; 3];
        let mut learning_rate = 0.0;
        for (i, batch) in loader.epoch(epoch).enumerate() {
            let batch = batch?;
            let step = epoch * batches + i;
            learning_rate =
                cosine(self.options.lr(), self.options.lr_last, warmup, step, epochs * batches);
            let boxes = Tensor::from_slice(batch.targets.as_flattened()).view([-1, 6]);
            let outputs = self.net.forward(&infer::images(&batch, self.device), true);
            let losses = self.loss.f_forward(&outputs, &boxes)?;
            // The loss is a sum over the batch; the learning rate is for its mean.
            let total = &losses.total / batch.n as f64;
            self.optimiser.backward_step_clipped(&total, learning_rate, self.options.clip_grad);
            self.ema.update();

            let terms = Tensor::stack(&[&losses.boxes, &losses.objectness, &losses.classes], 0);
            let terms = Vec::<f64>::try_from(terms.to_kind(tch::Kind::Double))?;
            if !terms.iter().all(|term| term.is_finite()) {
                bail!(
                    "the loss is not finite in epoch {}, step {}: {terms:?}; a smaller --lr may help, \
                     {} holds the last good epoch",
                    epoch + 1,
                    i + 1,
                    self.folder.join(LAST).display()
                );
            }
            sums.iter_mut().zip(&terms).for_each(|(sum, term)| *sum += term);
            images += batch.n;
            targets += losses.report.targets;
            dropped += losses.report.dropped.len();
            let speed = images as f64 / started.elapsed().as_secs_f64();
            let [b, o, c] = sums.map(|sum| sum / (i + 1) as f64);
            let map = self.rows.iter().rev().find_map(|row| row.map50).unwrap_or(0.0);
            progress.batch(
                i + 1,
                &format!("box {b:.4} obj {o:.4} cls {c:.4}  mAP50 {map:.3}  {speed:.0} images/s"),
            );
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let [boxes, objectness, classes] = sums.map(|sum| sum / batches.max(1) as f64);
        Ok(Some(Row {
            epoch: epoch + 1,
            boxes,
            objectness,
            classes,
            matched: 1.0 - dropped as f64 / targets.max(1) as f64,
            learning_rate,
            images_per_second: images as f64 / started.elapsed().as_secs_f64(),
            map50: None,
            map: None,
        }))
    }

    fn validate(
        &mut self,
        validation: &Arc<Cache>,
        row: &mut Row,
        last: bool,
        progress: &mut Progress,
    ) -> Result<()> {
        let batch = self.options.batch().max(16);
        progress.phase("validation", validation.dataset.len().div_ceil(batch));
        let outcome = evaluate::evaluate(
            &self.average,
            self.loss.anchors(),
            validation,
            batch,
            EVAL_CONF,
            self.options.thresholds,
            self.device,
            |done| progress.batch(done, ""),
        )?;
        row.map50 = outcome.summary.map50;
        row.map = outcome.summary.map;
        let (map50, map) = (row.map50.unwrap_or(0.0), row.map.unwrap_or(0.0));
        progress.line(&format!(
            "epoch {:3}/{}  box {:.4} obj {:.4} cls {:.4}  mAP50 {map50:.3} mAP50-95 {map:.3}  {:.0} images/s",
            row.epoch,
            self.options.epochs(),
            row.boxes,
            row.objectness,
            row.classes,
            row.images_per_second
        ));
        if map > self.meta.best_map {
            self.meta.best_map = map;
            self.save(BEST)?;
        }
        if last {
            report::mosaic(&self.folder.join("val.png"), validation, &outcome.found)?;
            progress.finish();
            println!("{}", outcome.summary);
            print!("{}", report::per_class(&validation.dataset.classes, &outcome.summary));
        }
        Ok(())
    }

    /// Writes a checkpoint: `best` to use, `last` to use or to go on from.
    fn save(&mut self, file: &str) -> Result<()> {
        self.meta.ema_updates = self.ema.updates;
        let mut checkpoint = Checkpoint::new(serde_json::to_string(&self.meta)?)
            .with("ema", named(&self.average_vs));
        if file == LAST {
            checkpoint =
                checkpoint.with("model", named(&self.vs)).with("optimiser", self.optimiser.state());
        }
        checkpoint.save(&self.folder.join(file))
    }
}

fn loss(options: &Train, meta: &Meta) -> Result<YoloV5Loss> {
    let classes = options.gain_cls.unwrap_or(0.15 * meta.classes.len() as f64);
    let gains = Gains { boxes: options.gain_box, objectness: options.gain_obj, classes };
    let loss = YoloV5Loss::new(meta.anchors()?)
        .gains(gains)
        .iou(options.box_loss.into())
        .label_smoothing(options.label_smoothing);
    Ok(match options.cls_loss {
        ClsLoss::Bce => loss,
        ClsLoss::Focal => loss.focal_gamma(1.5),
    })
}

/// Width and height of the training boxes in pixels of the network's input.
fn sizes(dataset: &Dataset, side: u32) -> Vec<[f64; 2]> {
    let items = dataset.items.iter();
    items
        .flat_map(|item| {
            let scale = f64::from(side) / f64::from(item.width.max(item.height));
            item.labels.iter().filter(|label| !label.crowd).map(move |label| {
                let [x1, y1, x2, y2] = label.xyxy.map(f64::from);
                [(x2 - x1) * scale, (y2 - y1) * scale]
            })
        })
        .collect()
}
