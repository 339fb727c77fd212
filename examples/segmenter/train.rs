//! The training loop.

use crate::{
    data::{
        Dataset,
        augment::GRID,
        loader::{self, Batch, Loader},
    },
    evaluate::{self, Detail, Outcome},
    model::{OUTPUTS, Shape, UNet},
    objective::Objective,
    options::Train,
    overlay,
    report::{self, Epoch},
    weights::{self, Meta},
    windows::{self, Windows},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    files,
    interrupt::Interrupt,
    progress::{Progress, clock},
    run::{self, BEST, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{Averaged, cosine},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 100.0;

/// Everything that changes while training.
struct Run<'a> {
    sets: &'a Sets,
    loader: Loader,
    options: Train,
    folder: PathBuf,
    device: Device,
    model: Averaged<UNet>,
    objective: Objective,
    windows: Windows,
    meta: Meta,
    table: Table,
}

/// The data, read and checked.
pub struct Sets {
    pub train: Arc<Dataset>,
    pub val: Arc<Dataset>,
}

impl Sets {
    pub fn open(options: &Train) -> Result<Self> {
        check(options)?;
        let side = options.tile() as u32;
        let (train, val) = Dataset::open_both(&options.data, side, options.run.seed, None)?;
        println!("{}\ntrain: {}\nval:   {}", train.origin(), train.summary(), val.summary());
        let shared = train.shared_with(&val);
        if shared > 0 {
            println!("note: {shared} validation images are training images too");
        }
        Ok(Sets { train: Arc::new(train), val: Arc::new(val) })
    }
}

/// Trains in runs/segmenter/NAME. None if the user asked to stop.
pub fn run(options: &Train, interrupt: &Interrupt) -> Result<Option<Outcome>> {
    let sets = Sets::open(options)?;
    // What is wrong with the loss is said before a run is emptied.
    objective(options, &sets.train, Device::Cpu)?;
    let folder = options.run.folder("segmenter")?;
    in_folder(options, &sets, folder, options.run.resume, interrupt)
}

/// Trains in a folder, which holds the run if it is to be gone on with.
pub fn in_folder(
    options: &Train,
    sets: &Sets,
    folder: PathBuf,
    resume: bool,
    interrupt: &Interrupt,
) -> Result<Option<Outcome>> {
    tch::manual_seed(options.run.seed as i64);
    let mut run = Run::new(options, sets, folder)?;
    if resume {
        run.resume()?;
    }
    println!(
        "network: {} weights, tiles of {} pixels, {}, on {:?}",
        run.model.weights(),
        options.tile(),
        options.loss,
        run.device
    );
    run.train(interrupt)
}

pub fn objective(options: &Train, train: &Dataset, device: Device) -> Result<Objective> {
    let scales = if options.deep_supervision { OUTPUTS.min(options.depth) } else { 1 };
    Objective::new(&options.loss, train.classes().len(), scales, device, train.ignored() > 0)
}

fn check(options: &Train) -> Result<()> {
    let (tile, depth) = (options.tile(), options.depth);
    ensure!((1..=6).contains(&depth), "--depth: expected from 1 to 6, got {depth}");
    ensure!(
        tile >= 2 << depth && tile % (1 << depth) == 0,
        "--tile: expected a multiple of {} of at least {}, got {tile}",
        1 << depth,
        2 << depth
    );
    ensure!((1..=256).contains(&options.width), "--width: expected from 1 to 256");
    ensure!(options.epochs() > 0, "--epochs: expected at least 1");
    ensure!(options.batch() > 0, "--batch: expected at least 1");
    ensure!(options.lr > 0.0 && options.lr.is_finite(), "--lr: expected above 0");
    ensure!((0.0..1.0).contains(&options.ema), "--ema: expected in [0, 1)");
    ensure!(options.eval_every > 0, "--eval-every: expected at least 1");
    ensure!(options.workers > 0, "--workers: expected at least 1");
    let augment = options.augment();
    ensure!(
        (0.0..GRID / 2.0).contains(&augment.elastic),
        "--elastic: expected from 0 to below {}, where the image would fold over",
        GRID / 2.0
    );
    ensure!((0.0..=4.0).contains(&augment.zoom), "--zoom: expected from 0 to 4");
    Windows::new(&options.windows, tile, depth)?;
    Ok(())
}

impl<'a> Run<'a> {
    fn new(options: &Train, sets: &'a Sets, folder: PathBuf) -> Result<Self> {
        let (device, train) = (options.run.device()?, &sets.train);
        let shape = Shape {
            classes: train.classes().len(),
            width: options.width,
            depth: options.depth,
            norm: options.norm,
            deep_supervision: options.deep_supervision,
        };
        let network = || {
            let vs = VarStore::new(device);
            (UNet::new(&vs.root(), shape), vs)
        };
        let objective = objective(options, train, device)?;
        let parts = if objective.parts.len() > 1 { &objective.parts[..] } else { &[] };
        let (epochs, batch) = (options.epochs(), options.batch());
        let meta = Meta {
            classes: train.classes().clone(),
            ground: train.ground(),
            shape,
            tile: options.tile(),
            resize: options.data.resize,
            epochs_done: 0,
            epochs,
            best_dice: -1.0,
            best_epoch: 0,
            ema_updates: 0,
            options: format!("epochs {epochs}, batch {batch}, loss {}", options.loss),
        };
        Ok(Run {
            loader: Loader::new(
                train.clone(),
                loader::Options {
                    batch,
                    tile: options.tile(),
                    augment: options.augment(),
                    seed: options.run.seed,
                    workers: options.workers,
                },
            ),
            model: Averaged::new(network, options.ema, EMA_RAMP, options.weight_decay),
            windows: Windows::new(&options.windows, options.tile(), options.depth)?,
            table: report::table(parts, train.classes()),
            options: options.clone(),
            sets,
            objective,
            folder,
            device,
            meta,
        })
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = weights::read(&path)?;
        let mut load = || -> Result<()> {
            let (its, ours) = (meta.shape, self.meta.shape);
            ensure!(
                its == ours,
                "it was trained with --width {} --depth {} --norm {:?}{}",
                its.width,
                its.depth,
                its.norm,
                if its.deep_supervision { " --deep-supervision" } else { "" }
            );
            ensure!(
                meta.classes == self.meta.classes,
                "its classes are {}",
                meta.classes.names.join(", ")
            );
            self.model.restore(&checkpoint, meta.ema_updates)
        };
        load().with_context(|| format!("cannot go on from {}", path.display()))?;
        if meta.options != self.meta.options {
            println!("note: the run began with {}, now {}", meta.options, self.meta.options);
        }
        let Meta { epochs, options, tile, .. } = self.meta.clone();
        self.meta = Meta { epochs, options, tile, ..meta };
        if self.meta.epochs_done > 0 {
            self.table.read(&self.folder.join(RESULTS), self.meta.epochs_done)?;
        }
        println!("going on after epoch {}", self.meta.epochs_done);
        Ok(())
    }

    fn train(mut self, interrupt: &Interrupt) -> Result<Option<Outcome>> {
        let started = Instant::now();
        let (epochs, folder) = (self.meta.epochs, self.folder.clone());
        let left = self.meta.epochs_done..epochs;
        if !run::epochs(&mut self, left, &folder, interrupt)? {
            return Ok(None);
        }
        let outcome = conclude(&folder, &self.sets.val, &self.windows, self.device)?;
        println!(
            "{epochs} epochs in {}; the best is that of epoch {}\nin {}: {BEST}, {LAST}, {RESULTS}, \
             scores.json, {CURVES}, overlay.png",
            clock(started.elapsed()),
            self.meta.best_epoch,
            folder.display()
        );
        Ok(Some(outcome))
    }

    /// One epoch; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<Epoch>> {
        let (epochs, batches) = (self.meta.epochs, self.loader.batches());
        let warmup = (self.options.warmup * batches as f64) as usize;
        progress.epoch(epoch + 1, batches);
        let (started, mut tiles) = (Instant::now(), 0);
        let mut sums = vec![0.0; 1 + self.objective.parts.len()];
        let mut learning_rate = 0.0;
        for (i, batch) in self.loader.epoch(epoch).enumerate() {
            let batch = batch?;
            let step = epoch * batches + i;
            learning_rate =
                cosine(self.options.lr, self.options.lr_last, warmup, step, epochs * batches);
            let (images, masks) = tensors(&batch, self.device);
            let outputs = self.model.net.forward(&images, true);
            let losses = self.objective.loss(&outputs, &masks)?;
            self.model.step(&losses.total, learning_rate, self.options.clip_grad);

            let values: Vec<f64> = std::iter::once(&losses.total)
                .chain(losses.named.iter().map(|(_, value)| value))
                .map(|value| value.double_value(&[]))
                .collect();
            run::check_finite(&values, epoch, i, &self.folder)?;
            sums.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
            tiles += batch.n;
            let speed = tiles as f64 / started.elapsed().as_secs_f64();
            let means: Vec<f64> = sums.iter().map(|sum| sum / (i + 1) as f64).collect();
            let dice = self.table.last("dice").unwrap_or(0.0);
            let shown = self.shown(means[0], &means[1..]);
            progress.batch(i + 1, &format!("{shown}  Dice {dice:.3}  {speed:.1} tiles/s"));
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let means: Vec<f64> = sums.iter().map(|sum| sum / batches as f64).collect();
        Ok(Some(Epoch {
            number: epoch + 1,
            loss: means[0],
            parts: if means.len() > 2 { means[1..].to_vec() } else { Vec::new() },
            learning_rate,
            tiles_per_second: tiles as f64 / started.elapsed().as_secs_f64(),
        }))
    }

    /// The loss and its parts for a line of text.
    fn shown(&self, loss: f64, parts: &[f64]) -> String {
        let parts: Vec<String> = match parts.len() {
            0 | 1 => Vec::new(),
            _ => {
                let named = self.objective.parts.iter().zip(parts);
                named.map(|(name, value)| format!("{name} {value:.4}")).collect()
            }
        };
        let parts =
            if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        format!("loss {loss:.4}{parts}")
    }

    fn validate(&mut self, row: &Epoch, progress: &mut Progress) -> Result<evaluate::Scores> {
        progress.phase("validation", self.sets.val.len());
        let outcome = evaluate::evaluate(
            &self.model.average,
            &self.sets.val,
            &self.windows,
            self.device,
            Detail::Counts,
            |done| progress.batch(done, ""),
        )?;
        let scores = outcome.scores;
        let (dice, iou) = (scores.dice.unwrap_or(0.0), scores.iou.unwrap_or(0.0));
        let each = match scores.classes.len() {
            0..=4 => {
                let named = scores
                    .classes
                    .iter()
                    .filter_map(|class| Some(format!("{} {:.4}", class.name, class.dice?)));
                format!(" ({})", named.collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        };
        progress.line(&format!(
            "epoch {:3}/{}  {}  Dice {dice:.4}{each} IoU {iou:.4}  {:.1} tiles/s",
            row.number,
            self.options.epochs(),
            self.shown(row.loss, &row.parts),
            row.tiles_per_second
        ));
        if dice > self.meta.best_dice {
            (self.meta.best_dice, self.meta.best_epoch) = (dice, row.number);
            let best = self.model.to_use(serde_json::to_string(&self.meta)?);
            best.save(&self.folder.join(BEST))?;
        }
        Ok(scores)
    }
}

impl Trainer for Run<'_> {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let Some(row) = self.steps(epoch, interrupt, progress)? else { return Ok(false) };
        self.meta.epochs_done = epoch + 1;
        let due =
            epoch + 1 == self.meta.epochs || (epoch + 1).is_multiple_of(self.options.eval_every);
        let scores = due.then(|| self.validate(&row, progress)).transpose()?;
        report::push(&mut self.table, &row, scores.as_ref(), self.meta.shape.classes);
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

/// All scores of the best weights of a finished run, and its pictures.
pub fn conclude(
    folder: &Path,
    val: &Dataset,
    windows: &Windows,
    device: Device,
) -> Result<Outcome> {
    let (net, _vs, meta) = weights::load(&folder.join(BEST), device)?;
    let outcome = evaluate::evaluate(&net, val, windows, device, Detail::All, |_| {})?;
    let json = serde_json::to_string_pretty(&outcome.scores)?;
    files::write(&folder.join("scores.json"), json.as_bytes())?;
    overlay::validation(&folder.join("overlay.png"), val, &outcome.predictions, meta.ground)?;
    println!("{}", outcome.scores);
    Ok(outcome)
}

/// Images in [0, 1] and class indices.
fn tensors(batch: &Batch, device: Device) -> (Tensor, Tensor) {
    let (n, side) = (batch.n as i64, batch.side as i64);
    let images = Tensor::from_slice(&batch.images).view([n, side, side, 3]);
    let masks = Tensor::from_slice(&batch.masks).view([n, side, side]);
    (windows::pixels(&images, device), masks.to_device(device).to_kind(Kind::Int64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare,
        data::{classes::Value, testing::pairs},
        options::{Cli, Command, Eval, Predict},
        predict,
    };
    use clap::Parser;
    use examples_support::testing::{Folder, assert_has};
    use image::GrayImage;

    fn command(folder: &Folder, line: &str) -> Command {
        let line = format!("segmenter {line} --device cpu")
            .replace("ROOT", folder.root().to_str().unwrap());
        Cli::parse_from(line.split_whitespace()).command
    }

    fn options(folder: &Folder, more: &str) -> Train {
        let line = format!(
            "train --data ROOT --runs ROOT/runs --classes dark,bright --val-items 4..5 --tile 16 \
             --batch 4 --width 4 --depth 2 --elastic 2 {more}"
        );
        match command(folder, &line) {
            Command::Train(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn table(path: &Path, meta: &Meta) -> Table {
        let mut table = report::table(&["scale 0", "scale 1"].map(str::to_owned), &meta.classes);
        table.read(path, usize::MAX).unwrap();
        table
    }

    #[test]
    fn a_run_goes_down_saves_resumes_and_predicts() {
        let folder = pairs("run", 6);
        let place = folder.path("runs/segmenter/run");
        let never = Interrupt::default();
        let outcome = run(&options(&folder, "--epochs 3 --deep-supervision"), &never).unwrap();
        assert_eq!(outcome.unwrap().predictions.len(), 2);
        for file in [LAST, BEST, RESULTS, "scores.json", "curves.png", "overlay.png"] {
            assert!(place.join(file).exists(), "{file}");
        }
        let again = run(&options(&folder, "--epochs 3"), &never).err().unwrap().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = run(&options(&folder, "--epochs 6 --resume"), &never).err().unwrap();
        assert_has(&format!("{other:#}"), &["--width 4 --depth 2 --norm Batch --deep-supervision"]);

        let more = options(&folder, "--epochs 6 --resume --deep-supervision");
        let outcome = run(&more, &never).unwrap().unwrap();
        let (net, vs, meta) = weights::load(&place.join(BEST), Device::Cpu).unwrap();
        let losses = table(&place.join(RESULTS), &meta).series("loss");
        assert_eq!(
            losses.iter().map(|point| point.0).collect::<Vec<_>>(),
            [1., 2., 3., 4., 5., 6.]
        );
        assert!(losses[5].1 < losses[0].1, "{losses:?}");
        assert_eq!((meta.tile, meta.ground, meta.classes.names.len()), (16, 1, 2));
        let logits = net.forward(&Tensor::zeros([1, 3, 8, 8], (Kind::Float, vs.device())), false);
        assert_eq!(logits[0].size(), [1, 2, 8, 8]);

        // The same numbers from the command that evaluates, and masks with the values of the data.
        let weights = place.join(BEST).display().to_string();
        let line = format!(
            "eval --data ROOT --val-items 4..5 --weights {weights} --json ROOT/eval.json --classes dark,bright"
        );
        let Command::Eval(eval) = command(&folder, &line) else { panic!("{line}") };
        evaluate::run(&Eval { overlay: Some(folder.path("eval.png")), ..*eval }).unwrap();
        let json = std::fs::read_to_string(folder.path("eval.json")).unwrap();
        assert_eq!(json, serde_json::to_string_pretty(&outcome.scores).unwrap());
        let line = format!("predict ROOT/images --weights {weights} --out ROOT/out");
        let Command::Predict(predict) = command(&folder, &line) else { panic!("{line}") };
        predict::run(&predict).unwrap();
        let mask = crate::data::classes::read(&folder.path("out/4.png"), None).unwrap();
        assert_eq!(mask.size, (40, 30));
        assert!(mask.count().keys().all(|value| [0, 255].map(Value::grey).contains(value)));
        let encoded: GrayImage = meta.classes.encode(&mask).unwrap();
        assert_eq!(encoded, outcome.predictions[0]);
        assert!(folder.path("out/4_overlay.png").exists());
        let bad = Predict { sources: vec![folder.path("masks/none.png")], ..predict };
        assert_has(&predict::run(&bad).unwrap_err().to_string(), &["no such image"]);
    }

    #[test]
    fn losses_are_compared_and_a_comparison_goes_on() {
        let folder = pairs("compare", 6);
        let place = folder.path("runs/segmenter/run");
        let never = Interrupt::default();
        let compared = |more: &str| {
            let mut options = options(&folder, more);
            options.compare = Some("ce, dice + 0.5*ce".to_owned());
            compare::run(&options, &never)
        };
        compared("--epochs 1").unwrap();
        for file in ["compare.csv", "compare.png", "compare_curves.png", "ce/best.safetensors"] {
            assert!(place.join(file).exists(), "{file}");
        }
        let csv = std::fs::read_to_string(place.join("compare.csv")).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert!(lines[0].starts_with("loss,accuracy,dice,iou,dice dark,"), "{csv}");
        assert!(lines[1].starts_with("\"ce\",0.") && lines[2].starts_with("\"dice + 0.5*ce\",0."));
        assert!(compared("--epochs 1").unwrap_err().to_string().contains("--resume"));
        // What is finished stays, and what is missing is trained.
        let stamp = |file: &str| std::fs::metadata(place.join(file)).unwrap().modified().unwrap();
        let before = stamp("ce/last.safetensors");
        std::fs::remove_dir_all(place.join("dice+0.5xce")).unwrap();
        compared("--epochs 1 --resume").unwrap();
        assert_eq!(stamp("ce/last.safetensors"), before);
        assert!(place.join("dice+0.5xce").join(BEST).exists());
        assert_eq!(std::fs::read_to_string(place.join("compare.csv")).unwrap(), csv);

        let mut wrong = options(&folder, "--epochs 1 --overwrite");
        wrong.compare = Some("ce, no_such_loss".to_owned());
        assert!(compare::run(&wrong, &never).is_err());
        assert_eq!(stamp("ce/last.safetensors"), before);
    }

    #[test]
    fn an_interrupted_run_is_saved() {
        let folder = pairs("stopped", 6);
        let stop = Interrupt::default();
        stop.request();
        assert!(run(&options(&folder, "--epochs 2"), &stop).unwrap().is_none());
        let place = folder.path("runs/segmenter/run");
        assert_eq!(weights::read(&place.join(LAST)).unwrap().1.epochs_done, 0);
        let more = options(&folder, "--epochs 2 --resume");
        assert!(run(&more, &Interrupt::default()).unwrap().is_some());
    }

    #[test]
    fn wrong_options_name_themselves() {
        let folder = pairs("options", 6);
        for wrong in [
            "--tile 50",
            "--tile 4",
            "--batch 0",
            "--lr=-1",
            "--depth 9",
            "--elastic 40",
            "--epochs 0",
            "--ema 1",
            "--width 0",
            "--window 30",
            "--overlap 2",
            "--loss nonsense",
            "--val-items 4..9",
        ] {
            let error = run(&options(&folder, wrong), &Interrupt::default()).err().unwrap();
            assert_has(&format!("{error:#}"), &[wrong.split([' ', '=']).next().unwrap()]);
        }
    }
}
