//! The training of one network.

use crate::{
    data::Data,
    measure::{self, Lpips, Scores},
    model::{Shape, Upscaler, shrink},
    objective::Objective,
    options::{Goal, Train},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    interrupt::Interrupt,
    progress::Progress,
    rng::seeded,
    run::{self, LAST, RESULTS, Trainer},
    table::Table,
    train::{Averaged, Checkpoint, cosine, load_average},
};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tch::{Device, nn::VarStore};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 50.0;
/// Steps of warm-up.
const WARMUP: usize = 20;
/// Greatest norm of the gradient.
const CLIP: f64 = 1.0;
/// The columns of results.csv after `epoch`.
pub const COLUMNS: [&str; 6] = ["loss", "psnr", "ssim", "sharpness", "lpips", "crops_per_second"];

/// Saved as text beside the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Meta {
    shape: Shape,
    epochs_done: usize,
    ema_updates: i64,
    /// What a resumed run should have in common, as text.
    options: String,
}

impl Meta {
    fn read(path: &Path) -> Result<(Checkpoint, Meta)> {
        let checkpoint = Checkpoint::load(path)?;
        let meta = serde_json::from_str(&checkpoint.text)
            .with_context(|| format!("{} is no checkpoint of this example", path.display()))?;
        Ok((checkpoint, meta))
    }
}

/// The averaged network of a checkpoint, to use, and its scale.
pub fn load(path: &Path, device: Device) -> Result<(Upscaler, i64)> {
    let (checkpoint, meta) = Meta::read(path)?;
    let vs = VarStore::new(device);
    let net = Upscaler::new(&vs.root(), meta.shape);
    load_average(&vs, &checkpoint, path)?;
    Ok((net, meta.shape.scale))
}

/// Everything that changes while training.
pub struct Run<'a> {
    options: &'a Train,
    data: &'a Data,
    lpips: &'a Lpips,
    goal: Goal,
    objective: Objective,
    folder: PathBuf,
    model: Averaged<Upscaler>,
    meta: Meta,
    table: Table,
}

/// A network that was trained to the end.
pub struct Trained {
    pub goal: Goal,
    pub net: Upscaler,
    pub table: Table,
    pub scores: Scores,
}

impl<'a> Run<'a> {
    pub fn new(
        options: &'a Train,
        data: &'a Data,
        lpips: &'a Lpips,
        (goal, objective): (Goal, Objective),
        (folder, resume): (PathBuf, bool),
        device: Device,
    ) -> Result<Self> {
        let Train { scale, channels, blocks, epochs, steps, batch, crop, .. } = *options;
        let shape = Shape { scale, channels, blocks };
        tch::manual_seed(options.run.seed as i64);
        let make = || {
            let vs = VarStore::new(device);
            (Upscaler::new(&vs.root(), shape), vs)
        };
        let meta = Meta {
            shape,
            epochs_done: 0,
            ema_updates: 0,
            options: format!(
                "--epochs {epochs} --steps {steps} --batch {batch} --crop {crop} and {}",
                objective.summary
            ),
        };
        let mut run = Run {
            options,
            data,
            lpips,
            goal,
            objective,
            folder,
            model: Averaged::new(make, options.ema, EMA_RAMP, 0.0),
            meta,
            table: Table::new(COLUMNS.map(str::to_owned)),
        };
        if resume {
            run.resume()?;
        }
        println!(
            "{}: {} weights, {}, on {device:?}",
            run.folder.display(),
            run.model.weights(),
            run.objective.summary
        );
        Ok(run)
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = Meta::read(&path)?;
        let Shape { scale, channels, blocks } = meta.shape;
        let mut load = || -> Result<()> {
            ensure!(
                meta.shape == self.meta.shape,
                "it was trained with --scale {scale} --channels {channels} --blocks {blocks}"
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
        Ok(())
    }

    /// Trains to the end; none if the user asked to stop.
    pub fn train(mut self, interrupt: &Interrupt) -> Result<Option<Trained>> {
        let (epochs, folder) = (self.meta.epochs_done..self.options.epochs, self.folder.clone());
        if !run::epochs(&mut self, epochs, &folder, interrupt)? {
            return Ok(None);
        }
        let scores = self.scores()?;
        let Averaged { average, .. } = self.model;
        Ok(Some(Trained { goal: self.goal, net: average, table: self.table, scores }))
    }

    fn scores(&self) -> Result<Scores> {
        let Train { scale, .. } = *self.options;
        measure::scores(&self.data.validation, scale, self.lpips, |small| {
            self.model.average.forward(small)
        })
    }
}

impl Trainer for Run<'_> {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let Train { steps, batch, lr, scale, epochs, .. } = *self.options;
        progress.epoch(epoch + 1, steps);
        let started = Instant::now();
        let (mut sum, mut speed) = (0.0, 0.0);
        for step in 0..steps {
            let mut rng = seeded(&[self.options.run.seed, epoch as u64, step as u64]);
            let truth = self.data.batch(self.options, &mut rng);
            let images = self.model.net.forward(&shrink(&truth, scale));
            let loss = self.objective.loss(&images, &truth)?;
            let rate = cosine(lr, 0.02, WARMUP, epoch * steps + step, epochs * steps);
            self.model.step(&loss, rate, CLIP);
            let value = loss.double_value(&[]);
            run::check_finite(&[value], epoch, step, &self.folder)?;
            sum += value;
            speed = ((step + 1) * batch) as f64 / started.elapsed().as_secs_f64();
            let mean = sum / (step + 1) as f64;
            progress.batch(step + 1, &format!("loss {mean:.4}  {speed:.0} crops/s"));
            if interrupt.requested() {
                return Ok(false);
            }
        }
        let loss = sum / steps as f64;
        progress.phase("validation", self.data.validation.len());
        let scores = self.scores()?;
        self.meta.epochs_done = epoch + 1;
        let Scores { psnr, ssim, sharpness, lpips } = scores;
        progress.line(&format!(
            "{} {:3}/{epochs}  loss {loss:.4}  PSNR {psnr:.2}  SSIM {ssim:.4}  sharpness {sharpness:.3}  {speed:.0} crops/s",
            self.goal.name(),
            epoch + 1,
        ));
        let row = [Some(loss), Some(psnr), Some(ssim), Some(sharpness), lpips, Some(speed)];
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        self.meta.ema_updates = self.model.updates();
        let last = self.model.to_go_on(serde_json::to_string(&self.meta)?);
        last.save(&self.folder.join(LAST))
    }
}
