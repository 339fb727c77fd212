//! The training loop.

use crate::{
    data::{Changes, Digits},
    evaluate::{Galleries, Scores},
    map,
    model::Embedder,
    objective::Objective,
    options::Options,
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    builtin::{CLASSES, Split},
    interrupt::Interrupt,
    plot::{self, Chart},
    progress::{Progress, clock},
    rng::seeded,
    run::{self, BEST, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{Averaged, cosine},
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tch::Device;

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 50.0;
/// Steps of warm-up.
const WARMUP: usize = 100;
/// The columns of results.csv after `epoch`.
pub const COLUMNS: [&str; 6] =
    ["loss", "learning_rate", "images_per_second", "recall_at_1", "map_at_r", "r_precision"];
/// Where the map goes.
pub const MAP: &str = "map.png";

pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let data = Data::open(options)?;
    // A loss that does not exist is told before any folder is touched.
    let sets = Objective::vectors(&options.loss, options.dims, CLASSES.len())?;
    println!("pixels: {}", data.galleries.of_pixels());
    let Options { run, loss, .. } = options;
    let run = Run::new(options, &data, loss, sets, run.folder("embedding")?, run.resume)?;
    run.train(interrupt).map(|_| ())
}

/// The digits of a run.
pub struct Data {
    pub galleries: Galleries,
    training: Digits,
    changes: Changes,
    device: Device,
}

impl Data {
    pub fn open(options: &Options) -> Result<Self> {
        options.check()?;
        let device = options.run.device()?;
        tch::set_num_threads(options.threads.min(1024) as i32);
        let changes = options.changes();
        let galleries = Galleries::new(&changes, device);
        Ok(Data { galleries, training: Digits::new(Split::Train, device), changes, device })
    }
}

/// A run that went to its end.
pub struct Trained {
    pub table: Table,
    /// After the last epoch.
    pub scores: Scores,
    pub net: Embedder,
    pub time: Duration,
}

/// Everything that changes while training.
pub struct Run<'a> {
    data: &'a Data,
    options: Options,
    folder: PathBuf,
    model: Averaged<Embedder>,
    objective: Objective,
    meta: Meta,
    table: Table,
}

impl<'a> Run<'a> {
    pub fn new(
        options: &Options,
        data: &'a Data,
        loss: &str,
        sets: usize,
        folder: PathBuf,
        resume: bool,
    ) -> Result<Self> {
        let Options { dims, width, epochs, steps, per_class, .. } = *options;
        let meta = Meta {
            dims,
            width,
            classes: CLASSES.len(),
            sets,
            loss: loss.to_owned(),
            epochs_done: 0,
            epochs,
            best: None,
            ema_updates: 0,
            options: format!(
                "--loss \"{loss}\" --epochs {epochs} --steps {steps} --per-class {per_class}"
            ),
        };
        tch::manual_seed(options.run.seed as i64);
        let network = || meta.network(data.device);
        let model = Averaged::new(network, options.ema, EMA_RAMP, options.weight_decay);
        let objective = Objective::new(loss, &model.net.vectors, data.device)?;
        let table = Table::new(COLUMNS.map(str::to_owned));
        let options = options.clone();
        let mut run = Run { data, options, folder, model, objective, meta, table };
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
                (meta.dims, meta.width) == (self.meta.dims, self.meta.width),
                "it was trained with --dims {} --width {}",
                meta.dims,
                meta.width
            );
            ensure!(
                meta.sets == self.meta.sets,
                "its loss, \"{}\", learns other vectors",
                meta.loss
            );
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
        let (done, epochs, folder) = (self.meta.epochs_done, self.meta.epochs, self.folder.clone());
        if !run::epochs(&mut self, done..epochs, &folder, interrupt)? {
            return Ok(None);
        }
        let time = started.elapsed();
        let scores = self.data.galleries.scores(&self.model.average);
        let title = format!("{}: {scores}", self.meta.loss);
        map::write(&folder.join(MAP), &title, &self.model.average, &self.data.galleries)?;
        println!(
            "{scores}\n{epochs} epochs in {}; best recall@1 {:.4}\nin {}: {BEST}, {LAST}, {RESULTS}, \
             {CURVES}, {MAP}",
            clock(time),
            self.meta.best.map_or(0.0, |best| best.0),
            folder.display()
        );
        Ok(Some(Trained { table: self.table, scores, net: self.model.average, time }))
    }

    /// One epoch, the beginning of a row of results; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<[f64; 3]>> {
        let Options { lr, lr_last, clip_grad, steps, per_class, .. } = self.options;
        let (seed, data) = (self.options.run.seed, self.data);
        progress.epoch(epoch + 1, steps);
        // What losses draw follows the epoch, so that a resumed run draws the same.
        tch::manual_seed(seed.wrapping_add(epoch as u64) as i64);
        let started = Instant::now();
        let (mut sum, mut rate, mut images) = (0.0, 0.0, 0.0);
        for step in 0..steps {
            rate = cosine(lr, lr_last, WARMUP, epoch * steps + step, self.meta.epochs * steps);
            let rng = &mut seeded(&[seed, epoch as u64, step as u64]);
            let (xs, ys) = data.training.batch(per_class, rng);
            let xs = data.changes.apply(&xs, rng);
            let loss = self.objective.loss(&self.model.net.forward(&xs, true), &ys)?;
            self.model.step(&loss, rate, clip_grad);

            let value = loss.double_value(&[]);
            run::check_finite(&[value], epoch, step, &self.folder)?;
            sum += value;
            images += ys.numel() as f64;
            let speed = images / started.elapsed().as_secs_f64();
            let (loss, recall) = (sum / (step + 1) as f64, self.table.last("recall_at_1"));
            let recall = recall.unwrap_or(0.0);
            progress.batch(
                step + 1,
                &format!("loss {loss:.4}  recall@1 {recall:.4}  {speed:.0} images/s"),
            );
            if interrupt.requested() {
                return Ok(None);
            }
        }
        Ok(Some([sum / steps as f64, rate, images / started.elapsed().as_secs_f64()]))
    }
}

impl Trainer for Run<'_> {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let Some(row) = self.steps(epoch, progress, interrupt)? else { return Ok(false) };
        self.meta.epochs_done = epoch + 1;
        progress.phase("held-out", 1);
        let scores = self.data.galleries.scores(&self.model.average);
        let Scores { recall_at_1, map_at_r, r_precision } = scores;
        progress.line(&format!(
            "epoch {:3}/{}  loss {:.4}  {scores}  {:.0} images/s",
            epoch + 1,
            self.meta.epochs,
            row[0],
            row[2]
        ));
        let now = (recall_at_1, map_at_r);
        if self.meta.best.is_none_or(|best| now > best) {
            self.meta.best = Some(now);
            let best = self.model.to_use(serde_json::to_string(&self.meta)?);
            best.save(&self.folder.join(BEST))?;
        }
        let row = row.into_iter().chain([recall_at_1, map_at_r, r_precision]);
        self.table.push(epoch + 1, row.map(Some));
        self.table.write(&self.folder.join(RESULTS))?;
        curves(&self.folder.join(CURVES), &self.meta.loss, &self.table)?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        self.meta.ema_updates = self.model.updates();
        let last = self.model.to_go_on(serde_json::to_string(&self.meta)?);
        last.save(&self.folder.join(LAST))
    }
}

/// Loss and scores by epoch.
fn curves(path: &Path, name: &str, table: &Table) -> Result<()> {
    let of = |columns: &[(&'static str, &str)]| -> Vec<_> {
        columns.iter().map(|(name, column)| (*name, table.series(column))).collect()
    };
    let loss = of(&[("training", "loss")]);
    let scores = of(&[("recall@1", "recall_at_1"), ("MAP@R", "map_at_r")]);
    let charts = [
        Chart { title: "Loss", x: "epoch", series: &loss },
        Chart { title: "Held-out digits", x: "epoch", series: &scores },
    ];
    plot::curves(path, name, &charts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare, evaluate};
    use clap::Parser;
    use examples_support::testing::{Folder, assert_has};

    fn options(folder: &Folder, more: &str) -> Options {
        let runs = folder.path("runs").display().to_string();
        let line = format!(
            "embedding --runs {runs} --device cpu --width 0.25 --steps 12 --per-class 4 {more}"
        );
        Options::parse_from(line.split_whitespace())
    }

    #[test]
    fn a_run_goes_down_saves_and_resumes() {
        let folder = Folder::new("embedding");
        let place = folder.path("runs/embedding/run");
        let never = Interrupt::default();
        run(&options(&folder, "--epochs 2"), &never).unwrap();
        for file in [LAST, BEST, RESULTS, CURVES, MAP] {
            assert!(place.join(file).exists(), "{file}");
        }
        let again = run(&options(&folder, "--epochs 2"), &never).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = run(&options(&folder, "--epochs 4 --resume --dims 3"), &never).unwrap_err();
        assert_has(&format!("{other:#}"), &["--dims 16"]);
        let other = run(&options(&folder, "--epochs 4 --resume --loss arc_face"), &never);
        assert_has(&format!("{:#}", other.unwrap_err()), &["learns other vectors"]);

        run(&options(&folder, "--epochs 4 --resume"), &never).unwrap();
        let mut table = Table::new(COLUMNS.map(str::to_owned));
        table.read(&place.join(RESULTS), usize::MAX).unwrap();
        let losses = table.series("loss");
        assert_eq!(losses.iter().map(|point| point.0).collect::<Vec<_>>(), [1., 2., 3., 4.]);
        assert!(losses[3].1 < losses[0].1, "{losses:?}");
        let recall = table.series("recall_at_1");
        assert!(recall[3].1 > recall[0].1, "{recall:?}");

        std::fs::remove_file(place.join(MAP)).unwrap();
        evaluate::run(&place.join(BEST), &options(&folder, "")).unwrap();
        assert!(place.join(MAP).exists());
        let none = evaluate::run(&folder.path("none"), &options(&folder, "")).unwrap_err();
        assert_has(&format!("{none:#}"), &["none"]);
    }

    #[test]
    fn resuming_is_as_good_as_never_stopping() {
        let folder = Folder::new("exact");
        // A loss that draws, and one that learns vectors.
        let loss = "triplet(mining=distance_weighted)+0.1*cos_face(scale=8)";
        let options = options(&folder, "--epochs 3 --steps 4");
        let data = Data::open(&options).unwrap();
        let part = |name: &str, resume: bool, stop: usize| {
            let place = folder.path(name);
            std::fs::create_dir_all(&place).unwrap();
            let mut run = Run::new(&options, &data, loss, 1, place.clone(), resume).unwrap();
            let range = run.meta.epochs_done..stop;
            run::epochs(&mut run, range, &place, &Interrupt::default()).unwrap();
            run.save().unwrap();
            weights::read(&place.join(LAST)).unwrap().0
        };
        let whole = part("whole", false, 3);
        part("stopped", false, 1);
        let stopped = part("stopped", true, 3);
        for group in ["model", "ema", "optimiser"] {
            let tensors = [&whole, &stopped].map(|checkpoint| {
                let mut tensors = checkpoint.group(group).unwrap();
                tensors.sort_by(|a, b| a.0.cmp(&b.0));
                tensors
            });
            for ((name, a), (_, b)) in tensors[0].iter().zip(&tensors[1]) {
                assert_eq!(a, b, "{group}/{name}");
            }
        }
    }

    #[test]
    fn losses_are_compared() {
        let folder = Folder::new("compared");
        let options =
            options(&folder, "--epochs 1 --name both --compare sup_con,arc_face(scale=16)");
        let losses = options.compare().unwrap().unwrap();
        compare::run(&options, &losses, &Interrupt::default()).unwrap();
        let place = folder.path("runs/embedding/both");
        let text = std::fs::read_to_string(place.join("compare.csv")).unwrap();
        let head = "loss,recall_at_1,map_at_r,r_precision,seconds\n\"pixels\",0.";
        assert_has(&text, &[head, "\n\"sup_con\",0.", "\n\"arc_face(scale=16)\",0."]);
        for file in ["compare.png", "maps.png"] {
            assert!(place.join(file).exists(), "{file}");
        }
        let again = compare::run(&options, &losses, &Interrupt::default()).unwrap_err();
        assert_has(&again.to_string(), &["--resume", "--overwrite"]);
        let twice = ["sup_con".to_owned(), "sup_con".to_owned()];
        let twice = compare::run(&options, &twice, &Interrupt::default()).unwrap_err();
        assert_has(&twice.to_string(), &["there twice"]);
    }

    #[test]
    fn wrong_options_name_themselves() {
        let folder = Folder::new("options");
        for (wrong, named) in [
            ("--epochs 0", "--epochs"),
            ("--per-class 1", "--per-class"),
            ("--dims 1", "--dims"),
            ("--lr nan", "--lr"),
            ("--noise=-1", "--noise"),
            ("--rotate 200", "--rotate"),
            ("--device gpu", "--device"),
            ("--loss ce", "takes Logits"),
            ("--name a/b", "--name"),
        ] {
            let error = run(&options(&folder, wrong), &Interrupt::default()).unwrap_err();
            assert_has(&format!("{error:#}"), &[named]);
        }
        assert!(!folder.path("runs").exists());
    }
}
