//! The training loop.

use crate::{
    evaluate::{self, How, Outcome},
    model::Classifier,
    objective::Objective,
    options::Train,
    report,
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    augment::Augment,
    interrupt::Interrupt,
    labelled::{
        Dataset, Format,
        store::{Store, set_threads},
    },
    progress::{Progress, clock},
    rng::seeded,
    run::{self, BEST, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{Averaged, cosine},
};
use rand::seq::SliceRandom;
use std::{path::PathBuf, sync::Arc, time::Instant};
use tch::{Device, Kind, Tensor};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 50.0;

pub fn run(options: &Train, interrupt: &Interrupt) -> Result<()> {
    let data = Data::open(options)?;
    // A loss that does not exist is told before any folder is touched.
    let objective = data.objective(&options.loss)?;
    let Train { run, loss, .. } = options;
    let run = Run::new(options, &data, loss, objective, run.folder("classifier")?, run.resume)?;
    run.train(interrupt).map(|_| ())
}

/// The images of a run.
pub struct Data {
    pub training: Arc<Store>,
    pub validation: Arc<Store>,
    pub format: Format,
    device: Device,
}

impl Data {
    pub fn open(options: &Train) -> Result<Self> {
        options.check()?;
        let device = options.run.device()?;
        let spec = options.data.spec(options.run.seed);
        let format = spec.format()?;
        let (training, validation) = Dataset::open_both(&spec)?;
        println!("train: {}\nval:   {}", training.summary(), validation.summary());
        let size = training.size().map_or(64, |(width, height)| width.min(height));
        let side = options.img.unwrap_or(size);
        set_threads(options.threads, side);
        let store = |data| Store::fill(data, side, options.data.skip_unreadable).map(Arc::new);
        Ok(Data { training: store(training)?, validation: store(validation)?, format, device })
    }

    pub fn objective(&self, loss: &str) -> Result<Objective> {
        Objective::new(loss, self.training.data.classes.len(), self.device)
    }
}

/// A run that went to its end.
pub struct Trained {
    pub table: Table,
    /// On the validation split after the last epoch.
    pub outcome: Outcome,
}

/// Everything that changes while training.
pub struct Run<'a> {
    data: &'a Data,
    options: Train,
    augment: Augment,
    batch: usize,
    folder: PathBuf,
    model: Averaged<Classifier>,
    objective: Objective,
    meta: Meta,
    table: Table,
    /// After the last validation.
    outcome: Option<Outcome>,
}

impl<'a> Run<'a> {
    pub fn new(
        options: &Train,
        data: &'a Data,
        loss: &str,
        objective: Objective,
        folder: PathBuf,
        resume: bool,
    ) -> Result<Self> {
        let (format, training) = (data.format, &data.training);
        let (epochs, batch) = (options.epochs(format), options.batch(format));
        let meta = Meta {
            classes: training.data.classes.clone(),
            channels: training.data.channels,
            side: training.side,
            width: options.width,
            link: objective.link,
            loss: loss.to_owned(),
            epochs_done: 0,
            epochs,
            best: None,
            ema_updates: 0,
            options: format!("--loss \"{loss}\" --epochs {epochs} --batch {batch}"),
        };
        tch::manual_seed(options.run.seed as i64);
        let network = || meta.network(data.device);
        let mut run = Run {
            data,
            model: Averaged::new(network, options.ema, EMA_RAMP, options.weight_decay),
            augment: options.augment(format),
            options: options.clone(),
            batch,
            folder,
            objective,
            meta,
            table: Table::new(report::COLUMNS.map(str::to_owned)),
            outcome: None,
        };
        if resume {
            run.resume()?;
        }
        println!(
            "{}: {} weights, --loss \"{loss}\", on {:?}",
            run.folder.display(),
            run.model.weights(),
            data.device
        );
        Ok(run)
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
        if meta.epochs_done > 0 {
            self.table.read(&self.folder.join(RESULTS), meta.epochs_done)?;
        }
        println!("going on after epoch {}", meta.epochs_done);
        self.meta.epochs_done = meta.epochs_done;
        self.meta.best = meta.best;
        Ok(())
    }

    /// Trains to the end; none if the user asked to stop.
    pub fn train(mut self, interrupt: &Interrupt) -> Result<Option<Trained>> {
        let started = Instant::now();
        let (epochs, folder) = (self.meta.epochs, self.folder.clone());
        let left = self.meta.epochs_done..epochs;
        if !run::epochs(&mut self, left, &folder, interrupt)? {
            return Ok(None);
        }
        let validation = &self.data.validation;
        let outcome = match self.outcome.take() {
            Some(outcome) => outcome,
            // A run that was at its end already.
            None => evaluate::evaluate(&self.model.average, validation, self.how(), |_| {})?,
        };
        report::pictures(&folder, &self.meta.loss, validation, &outcome)?;
        let classes = &self.meta.classes;
        print!("{}{}", report::summary(&outcome), report::per_class(classes, &outcome.matrix));
        println!(
            "{epochs} epochs in {}; best accuracy {:.4}\nin {}: {BEST}, {LAST}, {RESULTS}, {CURVES}, \
             confusion.png, reliability.png, mistakes.png",
            clock(started.elapsed()),
            self.meta.best.map_or(0.0, |best| best.0),
            folder.display()
        );
        Ok(Some(Trained { table: self.table, outcome }))
    }

    /// One epoch, a row of results; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<[Option<f64>; 9]>> {
        let Train { lr, lr_last, clip_grad, workers, warmup, .. } = self.options;
        let (seed, Data { training, device, .. }) = (self.options.run.seed, self.data);
        let mut order: Vec<usize> = (0..training.data.len()).collect();
        order.shuffle(&mut seeded(&[seed, epoch as u64]));
        // A last batch of a few images would have no batch statistics worth the name.
        order.truncate(order.len().max(self.batch) / self.batch * self.batch);
        let batches = order.len().div_ceil(self.batch);
        let (steps, warmup) = (self.meta.epochs * batches, (warmup * batches as f64) as usize);
        progress.epoch(epoch + 1, batches);
        let started = Instant::now();
        let (mut sum, mut images, mut rate) = (0.0, 0, 0.0);
        let right = Tensor::zeros([], (Kind::Int64, *device));
        for (i, batch) in training.batches(order, self.batch, workers).enumerate() {
            let batch = batch?;
            rate = cosine(lr, lr_last, warmup, epoch * batches + i, steps);
            let (xs, ys) = batch.tensors(*device);
            let xs = self.augment.apply(&xs, &mut seeded(&[seed, epoch as u64, i as u64]));
            let logits = self.model.net.forward(&xs, true);
            let loss = self.objective.loss(&logits, &ys)?;
            self.model.step(&loss, rate, clip_grad);

            let value = loss.double_value(&[]);
            run::check_finite(&[value], epoch, i, &self.folder)?;
            sum += value * batch.len() as f64;
            images += batch.len();
            let _ = right
                .shallow_clone()
                .g_add_(&logits.argmax(1, false).eq_tensor(&ys).sum(Kind::Int64));
            let speed = images as f64 / started.elapsed().as_secs_f64();
            let loss = sum / images as f64;
            let accuracy = self.table.last("accuracy").unwrap_or(0.0);
            progress.batch(
                i + 1,
                &format!("loss {loss:.4}  accuracy {accuracy:.4}  {speed:.0} images/s"),
            );
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let count = images.max(1) as f64;
        let mut row = [None; 9];
        row[0] = Some(sum / count);
        row[1] = Some(right.int64_value(&[]) as f64 / count);
        row[2] = Some(rate);
        row[3] = Some(images as f64 / started.elapsed().as_secs_f64());
        Ok(Some(row))
    }

    fn how(&self) -> How<'_> {
        How {
            link: self.meta.link,
            objective: Some(&self.objective),
            bins: self.options.bins,
            batch: self.batch.max(64),
            workers: self.options.workers,
            device: self.data.device,
        }
    }

    fn validate(&mut self, row: &mut [Option<f64>; 9], progress: &mut Progress) -> Result<Outcome> {
        let (how, validation) = (self.how(), &self.data.validation);
        progress.phase("validation", validation.data.len().div_ceil(how.batch));
        let outcome = evaluate::evaluate(&self.model.average, validation, how, |done| {
            progress.batch(done, "");
        })?;
        let (accuracy, nll) = (outcome.accuracy(), outcome.nll);
        row[4] = outcome.loss;
        row[5..].copy_from_slice(&[accuracy, nll, outcome.ece(), outcome.confidence()].map(Some));
        progress.line(&format!(
            "epoch {:3}/{}  loss {:.4}  train {:.4}  val {accuracy:.4}  NLL {nll:.4}  ECE {:.4}  {:.0} images/s",
            self.meta.epochs_done,
            self.meta.epochs,
            row[0].unwrap_or(0.0),
            row[1].unwrap_or(0.0),
            outcome.ece(),
            row[3].unwrap_or(0.0)
        ));
        let better = |best: (f64, f64)| accuracy > best.0 || (accuracy == best.0 && nll < best.1);
        if self.meta.best.is_none_or(better) {
            self.meta.best = Some((accuracy, nll));
            let best = self.model.to_use(serde_json::to_string(&self.meta)?);
            best.save(&self.folder.join(BEST))?;
        }
        Ok(outcome)
    }
}

impl Trainer for Run<'_> {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let Some(mut row) = self.steps(epoch, interrupt, progress)? else { return Ok(false) };
        self.meta.epochs_done = epoch + 1;
        if epoch + 1 == self.meta.epochs || (epoch + 1).is_multiple_of(self.options.eval_every) {
            self.outcome = Some(self.validate(&mut row, progress)?);
        }
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        report::curves(&self.folder.join(CURVES), &self.meta.loss, &self.table)?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        self.meta.ema_updates = self.model.updates();
        let last = self.model.to_go_on(serde_json::to_string(&self.meta)?);
        last.save(&self.folder.join(LAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare,
        options::{Cli, Command, Eval, Output, Predict},
        predict,
    };
    use clap::Parser;
    use examples_support::{
        run::RunOptions,
        testing::{Folder, assert_has},
        train::Checkpoint,
    };
    use image::{Rgb, RgbImage};
    use std::path::Path;

    fn cli(line: &str) -> Command {
        Cli::parse_from(line.split_whitespace()).command
    }

    fn options(folder: &Folder, more: &str) -> Train {
        let runs = folder.path("runs").display().to_string();
        match cli(&format!("classifier train --runs {runs} --device cpu --width 0.25 {more}")) {
            Command::Train(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn eval(more: &str) -> Eval {
        match cli(&format!("classifier eval --device cpu {more}")) {
            Command::Eval(options) => options,
            other => panic!("{other:?}"),
        }
    }

    /// Dark and bright squares, twelve for training and two for validation of each.
    fn shades(folder: &Folder) {
        for (class, value) in [("dark", 40), ("bright", 220)] {
            for i in 0..14u8 {
                let split = if i < 12 { "train" } else { "val" };
                let image = RgbImage::from_pixel(8 + u32::from(i), 8, Rgb([value + 2 * i; 3]));
                image.save(folder.place(&format!("data/{split}/{class}/{i}.png"))).unwrap();
            }
        }
    }

    /// IDX files of 24 images of 6 x 6 of which the upper or the lower half is white.
    fn halves(folder: &Folder) {
        let labels: Vec<u8> = (0..24).map(|i| i % 2).collect();
        let half =
            |&label: &u8| (0..36).map(move |i| if (i < 18) == (label == 0) { 255 } else { 9 });
        let head =
            |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        for split in ["train", "t10k"] {
            let images =
                [head(&[0x803, 24, 6, 6]), labels.iter().flat_map(half).collect()].concat();
            std::fs::write(folder.place(&format!("data/{split}-images-idx3-ubyte")), images)
                .unwrap();
            let labels = [head(&[0x801, 24]), labels.clone()].concat();
            std::fs::write(folder.place(&format!("data/{split}-labels-idx1-ubyte")), labels)
                .unwrap();
        }
    }

    fn table(run: &Path) -> Table {
        let mut table = Table::new(report::COLUMNS.map(str::to_owned));
        table.read(&run.join(RESULTS), usize::MAX).unwrap();
        table
    }

    #[test]
    fn a_run_goes_down_saves_and_resumes() {
        let folder = Folder::new("digits");
        let run_folder = folder.path("runs/classifier/run");
        let never = Interrupt::default();
        run(&options(&folder, "--epochs 2"), &never).unwrap();
        for file in [
            LAST,
            BEST,
            "results.csv",
            "curves.png",
            "confusion.png",
            "reliability.png",
            "mistakes.png",
        ] {
            assert!(run_folder.join(file).exists(), "{file}");
        }
        let again = run(&options(&folder, "--epochs 2"), &never).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = run(&options(&folder, "--epochs 4 --resume --width 1"), &never).unwrap_err();
        assert_has(&format!("{other:#}"), &["--width 0.25"]);

        run(&options(&folder, "--epochs 4 --resume"), &never).unwrap();
        let table = table(&run_folder);
        let losses = table.series("loss");
        assert_eq!(losses.iter().map(|point| point.0).collect::<Vec<_>>(), [1., 2., 3., 4.]);
        assert!(losses[3].1 < losses[0].1, "{losses:?}");
        assert!(table.last("accuracy") > Some(0.5), "{table:?}");

        let weights = run_folder.join(BEST).display().to_string();
        let out = folder.path("eval");
        evaluate::run(&eval(&format!("--weights {weights} --out {}", out.display()))).unwrap();
        assert!(out.join("confusion.png").exists());
        let wrong = evaluate::run(&eval(&format!("--weights {weights} --classes a,b")));
        assert_has(&wrong.unwrap_err().to_string(), &["--classes: the built-in data"]);
    }

    #[test]
    fn resuming_is_as_good_as_never_stopping() {
        let folder = Folder::new("exact");
        let options = options(&folder, "--epochs 3 --batch 256");
        let data = Data::open(&options).unwrap();
        let part = |name: &str, resume: bool, stop: usize| {
            let objective = data.objective("ce").unwrap();
            let mut run =
                Run::new(&options, &data, "ce", objective, folder.path(name), resume).unwrap();
            for epoch in run.meta.epochs_done..stop {
                let mut progress = Progress::new(3);
                assert!(run.epoch(epoch, &mut progress, &Interrupt::default()).unwrap());
            }
            run.save().unwrap();
            weights::read(&run.folder.join(LAST)).unwrap().0
        };
        part("whole", false, 0);
        std::fs::copy(folder.path("whole").join(LAST), folder.place(&format!("stopped/{LAST}")))
            .unwrap();
        let whole = part("whole", true, 3);
        part("stopped", true, 1);
        let stopped = part("stopped", true, 3);
        for group in ["model", "ema", "optimiser"] {
            let sorted = |checkpoint: &Checkpoint| {
                let mut tensors = checkpoint.group(group).unwrap();
                tensors.sort_by(|a, b| a.0.cmp(&b.0));
                tensors
            };
            for ((name, a), (_, b)) in sorted(&whole).into_iter().zip(sorted(&stopped)) {
                assert_eq!(a, b, "{group}/{name}");
            }
        }
    }

    #[test]
    fn a_folder_of_images_trains_and_predicts() {
        let folder = Folder::new("shades");
        shades(&folder);
        let data = folder.path("data").display().to_string();
        let line = format!("--data {data} --img 8 --epochs 6 --batch 4 --ema 0.8 --jitter 0.05");
        run(&options(&folder, &line), &Interrupt::default()).unwrap();
        let run_folder = folder.path("runs/classifier/run");
        assert_eq!(table(&run_folder).last("accuracy"), Some(1.0));

        folder.text("new/broken.png", "no image");
        folder.image("new/ramp.png", 9, 9);
        std::fs::copy(folder.path("data/val/dark/12.png"), folder.path("new/dark, 12.png"))
            .unwrap();
        let predict = |format| {
            predict::run(&Predict {
                sources: vec![folder.path("new")],
                weights: run_folder.join(BEST),
                out: folder.path("out"),
                format,
                invert: false,
                device: "cpu".to_owned(),
            })
        };
        let error = predict(Output::Csv).unwrap_err().to_string();
        assert_has(&error, &["1 images could not be read", "broken.png"]);
        let text = std::fs::read_to_string(folder.path("out/predictions.csv")).unwrap();
        assert_has(&text, &["file,class,probability\n", "dark, 12.png\",dark,0."]);
        std::fs::remove_file(folder.path("new/broken.png")).unwrap();
        predict(Output::Json).unwrap();
        let text = std::fs::read_to_string(folder.path("out/predictions.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((json.as_array().map(Vec::len), &json[0]["class"]), (Some(2), &"dark".into()));
        let sum = ["dark", "bright"].map(|class| json[1]["probabilities"][class].as_f64().unwrap());
        assert!((sum[0] + sum[1] - 1.0).abs() < 1e-6);

        folder.text("data/train/dark/0.png", "no image");
        let error = run(&options(&folder, &format!("{line} --overwrite")), &Interrupt::default());
        assert_has(
            &error.unwrap_err().to_string(),
            &["dark/0.png: unreadable", "--skip-unreadable"],
        );
        assert!(run_folder.join(LAST).exists(), "nothing is lost before training starts");
    }

    #[test]
    fn idx_files_train_with_a_sum_of_losses() {
        let folder = Folder::new("halves");
        halves(&folder);
        let data = folder.path("data").display().to_string();
        let line = format!(
            "--data {data} --epochs 4 --batch 4 --ema 0.8 --loss ce(label_smoothing=0.1)+0.5*focal"
        );
        run(&options(&folder, &line), &Interrupt::default()).unwrap();
        assert_eq!(table(&folder.path("runs/classifier/run")).last("accuracy"), Some(1.0));
        let one = run(
            &options(&folder, &format!("{line} --overwrite --classes up")),
            &Interrupt::default(),
        );
        assert_has(
            &format!("{:#}", one.unwrap_err()),
            &["train-labels-idx1-ubyte: offset 9: label 1 is not below the number of classes, 1"],
        );
    }

    #[test]
    fn losses_are_compared() {
        let folder = Folder::new("compare");
        let line = "--epochs 1 --batch 256 --name both --compare ce,focal(gamma=1)";
        let options = options(&folder, line);
        let losses = options.compare().unwrap().unwrap();
        compare::run(&options, &losses, &Interrupt::default()).unwrap();
        let text =
            std::fs::read_to_string(folder.path("runs/classifier/both/compare.csv")).unwrap();
        assert_has(
            &text,
            &["loss,accuracy,nll,ece,mce,confidence\n\"ce\",0.", "\n\"focal(gamma=1)\",0."],
        );
        assert!(folder.path("runs/classifier/both/compare.png").exists());
        assert!(folder.path("runs/classifier/both/focal-gamma=1").join(LAST).exists());
        let again = compare::run(&options, &losses, &Interrupt::default()).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let resumed =
            Train { run: RunOptions { resume: true, ..options.run.clone() }, ..options.clone() };
        compare::run(&resumed, &losses, &Interrupt::default()).unwrap();
        let wrong = ["ce".to_owned(), "foacl".to_owned()];
        let wrong = compare::run(&options, &wrong, &Interrupt::default()).unwrap_err();
        assert_has(&format!("{wrong:#}"), &["did you mean focal"]);
    }

    #[test]
    fn wrong_options_name_themselves() {
        let folder = Folder::new("options");
        for (wrong, named) in [
            ("--img 2", "--img"),
            ("--batch 1", "--batch"),
            ("--epochs 0", "--epochs"),
            ("--lr=-1", "--lr"),
            ("--lr nan", "--lr"),
            ("--width 0", "--width"),
            ("--scale 1", "--scale"),
            ("--bins 0", "--bins"),
            ("--device gpu", "--device"),
            ("--data none", "--data none"),
            ("--loss foacl", "did you mean focal"),
            ("--name a/b", "--name"),
        ] {
            let error = run(&options(&folder, wrong), &Interrupt::default()).unwrap_err();
            assert_has(&format!("{error:#}"), &[named]);
        }
        assert!(!folder.path("runs").exists());
    }
}
