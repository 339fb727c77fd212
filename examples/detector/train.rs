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
    report::{self, COLUMNS},
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    interrupt::Interrupt,
    progress::{Progress, clock},
    run::{self, BEST, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{Averaged, cosine},
};
use std::{path::PathBuf, sync::Arc, time::Instant};
use tch::{Device, Tensor, nn::VarStore};
use tch_losses::detection::{Gains, YoloV5Loss};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 200.0;
/// Least score of a detection in validation.
const EVAL_CONF: f64 = 0.001;

/// Everything that changes while training.
struct Run {
    options: Train,
    training: Arc<Cache>,
    validation: Arc<Cache>,
    folder: PathBuf,
    device: Device,
    model: Averaged<Detector>,
    loss: YoloV5Loss,
    meta: Meta,
    table: Table,
}

/// A row of results.csv.
type Row = [Option<f64>; COLUMNS.len()];

pub fn run(options: &Train, interrupt: &Interrupt) -> Result<()> {
    check(options)?;
    let device = options.run.device()?;
    tch::manual_seed(options.run.seed as i64);
    let spec = options.data.spec(options.img(), options.run.seed);
    let (training, validation) = Dataset::open_both(&spec)?;
    println!("train: {}\nval:   {}", training.summary(), validation.summary());
    let shared = training.shared_with(&validation);
    if shared > 0 {
        println!("note: {shared} validation images are training images too");
    }
    let cache = |dataset: Dataset| {
        Cache::fill(Arc::new(dataset), options.img(), CACHE_BYTES, |_| {}).map(Arc::new)
    };
    let (training, validation) = (cache(training)?, cache(validation)?);
    // Last of all, because it may empty an old run.
    let folder = options.run.folder("detector")?;
    let mut run = Run::new(options, training, validation, folder, device)?;
    if options.run.resume {
        run.resume()?;
    }
    println!(
        "network: {} weights, anchors {:?}, on {device:?}",
        run.model.weights(),
        run.meta.anchors.iter().flatten().map(|a| [a[0].round(), a[1].round()]).collect::<Vec<_>>(),
    );
    run.train(interrupt)
}

fn check(options: &Train) -> Result<()> {
    ensure!(
        options.img() >= 32 && options.img().is_multiple_of(16),
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
    fn new(
        options: &Train,
        training: Arc<Cache>,
        validation: Arc<Cache>,
        folder: PathBuf,
        device: Device,
    ) -> Result<Self> {
        let classes = training.dataset.classes.len();
        let network = || {
            let vs = VarStore::new(device);
            (Detector::new(&vs.root(), classes, options.width, options.img()), vs)
        };
        let anchors = model::anchors(&sizes(&training.dataset, options.img()))
            .context("no box in the training data to fit anchors to")?;
        let meta = Meta {
            classes: training.dataset.classes.clone(),
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
            model: Averaged::new(network, options.ema, EMA_RAMP, options.weight_decay),
            loss: loss(options, &meta)?,
            options: options.clone(),
            table: Table::new(COLUMNS.map(str::to_owned)),
            training,
            validation,
            folder,
            device,
            meta,
        })
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = weights::read(&path)?;
        let mut load = || -> Result<()> {
            ensure!(
                (meta.side, meta.width) == (self.meta.side, self.meta.width),
                "it was trained with --img {} --width {}",
                meta.side,
                meta.width
            );
            ensure!(meta.classes == self.meta.classes, "its classes are {:?}", meta.classes);
            self.model.restore(&checkpoint, meta.ema_updates)
        };
        load().with_context(|| format!("cannot go on from {}", path.display()))?;
        if meta.options != self.meta.options {
            println!("note: the run began with {}, now {}", meta.options, self.meta.options);
        }
        self.meta = Meta { epochs: self.meta.epochs, options: self.meta.options.clone(), ..meta };
        self.loss = loss(&self.options, &self.meta)?;
        if self.meta.epochs_done > 0 {
            self.table.read(&self.folder.join(RESULTS), self.meta.epochs_done)?;
        }
        println!("going on after epoch {}", self.meta.epochs_done);
        Ok(())
    }

    fn train(mut self, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        let (epochs, folder) = (self.meta.epochs, self.folder.clone());
        let left = self.meta.epochs_done..epochs;
        if run::epochs(&mut self, left, &folder, interrupt)? {
            println!(
                "{epochs} epochs in {}; best mAP50-95 {:.3}\nin {}: {BEST}, {LAST}, {RESULTS}, \
                 {CURVES}, val.png",
                clock(started.elapsed()),
                self.meta.best_map,
                folder.display()
            );
        }
        Ok(())
    }

    /// One epoch; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<Row>> {
        let (epochs, training) = (self.meta.epochs, &self.training);
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
                seed: self.options.run.seed,
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
            let outputs = self.model.net.forward(&infer::images(&batch, self.device), true);
            let losses = self.loss.f_forward(&outputs, &boxes)?;
            // The loss is a sum over the batch; the learning rate is for its mean.
            let total = &losses.total / batch.n as f64;
            self.model.step(&total, learning_rate, self.options.clip_grad);

            let terms = Tensor::stack(&[&losses.boxes, &losses.objectness, &losses.classes], 0);
            let terms = Vec::<f64>::try_from(terms.to_kind(tch::Kind::Double))?;
            run::check_finite(&terms, epoch, i, &self.folder)?;
            sums.iter_mut().zip(&terms).for_each(|(sum, term)| *sum += term);
            images += batch.n;
            targets += losses.report.targets;
            dropped += losses.report.dropped.len();
            let speed = images as f64 / started.elapsed().as_secs_f64();
            let [b, o, c] = sums.map(|sum| sum / (i + 1) as f64);
            let map = self.table.last("map50").unwrap_or(0.0);
            progress.batch(
                i + 1,
                &format!("box {b:.4} obj {o:.4} cls {c:.4}  mAP50 {map:.3}  {speed:.0} images/s"),
            );
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let [boxes, objectness, classes] = sums.map(|sum| sum / batches.max(1) as f64);
        let matched = 1.0 - dropped as f64 / targets.max(1) as f64;
        let speed = images as f64 / started.elapsed().as_secs_f64();
        let mut row = [None; COLUMNS.len()];
        let numbers = [boxes, objectness, classes, matched, learning_rate, speed];
        row[..6].copy_from_slice(&numbers.map(Some));
        Ok(Some(row))
    }

    fn validate(&mut self, row: &mut Row, progress: &mut Progress) -> Result<()> {
        let validation = &self.validation;
        let batch = self.options.batch().max(16);
        progress.phase("validation", validation.dataset.len().div_ceil(batch));
        let outcome = evaluate::evaluate(
            &self.model.average,
            self.loss.anchors(),
            validation,
            batch,
            self.options.thresholds.above(EVAL_CONF),
            self.device,
            |done| progress.batch(done, ""),
        )?;
        row[6..].copy_from_slice(&[outcome.summary.map50, outcome.summary.map]);
        let [boxes, objectness, classes, _, _, speed, map50, map] =
            row.map(|value| value.unwrap_or(0.0));
        progress.line(&format!(
            "epoch {:3}/{}  box {boxes:.4} obj {objectness:.4} cls {classes:.4}  mAP50 {map50:.3} \
             mAP50-95 {map:.3}  {speed:.0} images/s",
            self.meta.epochs_done, self.meta.epochs,
        ));
        if map > self.meta.best_map {
            self.meta.best_map = map;
            let best = self.model.to_use(serde_json::to_string(&self.meta)?);
            best.save(&self.folder.join(BEST))?;
        }
        if self.meta.epochs_done == self.meta.epochs {
            report::mosaic(&self.folder.join("val.png"), validation, &outcome.found)?;
            progress.finish();
            println!("{}", outcome.summary);
            print!("{}", report::per_class(&validation.dataset.classes, &outcome.summary));
        }
        Ok(())
    }
}

impl Trainer for Run {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let Some(mut row) = self.steps(epoch, interrupt, progress)? else { return Ok(false) };
        self.meta.epochs_done = epoch + 1;
        if epoch + 1 == self.meta.epochs || (epoch + 1).is_multiple_of(self.options.eval_every) {
            self.validate(&mut row, progress)?;
        }
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        report::curves(&self.folder.join(CURVES), &self.options.run.name, &self.table)?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        self.meta.ema_updates = self.model.updates();
        let last = self.model.to_go_on(serde_json::to_string(&self.meta)?);
        last.save(&self.folder.join(LAST))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Cli, Command};
    use clap::Parser;

    fn options(runs: &std::path::Path, more: &str) -> Train {
        let line = format!(
            "detector train --runs {} --device cpu --img 64 --batch 8 --epoch-size 32 --val-size 4 \
             --width 0.5 {more}",
            runs.display()
        );
        match Cli::parse_from(line.split_whitespace()).command {
            Command::Train(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_goes_down_saves_and_resumes() {
        let runs = std::env::temp_dir().join(format!("detector-{}", std::process::id()));
        let folder = runs.join("detector").join("run");
        let never = Interrupt::default();
        run(&options(&runs, "--epochs 2"), &never).unwrap();
        for file in [LAST, BEST, RESULTS, CURVES, "val.png"] {
            assert!(folder.join(file).exists(), "{file}");
        }
        let again = run(&options(&runs, "--epochs 2"), &never).unwrap_err().to_string();
        assert!(again.contains("--resume") && again.contains("--overwrite"), "{again}");
        let other = run(&options(&runs, "--epochs 4 --resume --width 1"), &never).unwrap_err();
        assert!(format!("{other:#}").contains("--width 0.5"), "{other:#}");

        run(&options(&runs, "--epochs 4 --resume"), &never).unwrap();
        let table = Table::open(&folder.join(RESULTS)).unwrap();
        let loss = |column| table.series(column);
        assert_eq!(loss("box_loss").iter().map(|row| row.0).collect::<Vec<_>>(), [1., 2., 3., 4.]);
        let total =
            |epoch: usize| COLUMNS[..3].iter().map(|column| loss(column)[epoch].1).sum::<f64>();
        assert!(total(3) < total(0), "{table:?}");

        let (net, vs, meta) = weights::load(&folder.join(BEST), Device::Cpu).unwrap();
        assert_eq!((meta.side, meta.classes.len()), (64, 10));
        let outputs =
            net.forward(&Tensor::zeros([1, 3, 64, 64], (tch::Kind::Float, vs.device())), false);
        assert_eq!(outputs[0].size(), [1, 3, 8, 8, 15]);
        std::fs::remove_dir_all(runs).unwrap();
    }

    #[test]
    fn wrong_options_name_themselves() {
        let runs = std::env::temp_dir();
        for (wrong, named) in [("--img 50", "--img"), ("--batch 0", "--batch"), ("--lr -1", "--lr")]
        {
            let more = format!("{wrong} --epochs 1").replace("--lr -1", "--lr=-1");
            let error = run(&options(&runs, &more), &Interrupt::default()).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
