//! A training run: its options, its folder, and the loop over epochs that saves, stops and goes on.

use crate::{
    files::{self, Existing},
    interrupt::Interrupt,
    progress::Progress,
    train,
};
use anyhow::{Result, ensure};
use clap::Args;
use std::{
    ops::Range,
    path::{Path, PathBuf},
};
use tch::Device;

/// The checkpoint that a run goes on from.
pub const LAST: &str = "last.safetensors";
/// The best weights so far.
pub const BEST: &str = "best.safetensors";
/// The numbers of every epoch.
pub const RESULTS: &str = "results.csv";
/// The curves of those numbers.
pub const CURVES: &str = "curves.png";

/// What every trainer's command line has.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// The run goes into the folder runs/EXAMPLE/NAME
    #[arg(long, default_value = "run")]
    pub name: String,
    /// Where runs/ is
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Go on with a run that was stopped
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Start a run anew and lose what is in its folder
    #[arg(long)]
    pub overwrite: bool,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Of everything that is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl RunOptions {
    /// What to do with a run that is there already.
    pub fn existing(&self) -> Existing {
        match (self.resume, self.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Overwrite,
            _ => Existing::Refuse,
        }
    }

    /// The run's folder, `runs/<job>/<name>`, made or refused as the options say.
    pub fn folder(&self, job: &str) -> Result<PathBuf> {
        files::run_folder(&self.runs, job, &self.name, LAST, self.existing())
    }

    /// The folder `runs/<job>/<name>/<part>` of one run of several, and whether it is to be gone on
    /// with: with `--resume`, those that were not begun begin.
    pub fn part(&self, job: &str, part: &str) -> Result<(PathBuf, bool)> {
        files::check_name(&self.name)?;
        let root = self.runs.join(job);
        let resume = self.resume && root.join(&self.name).join(part).join(LAST).exists();
        let existing = match self.existing() {
            Existing::Resume if !resume => Existing::Refuse,
            existing => existing,
        };
        Ok((files::run_folder(&root, &self.name, part, LAST, existing)?, resume))
    }

    /// The device.
    pub fn device(&self) -> Result<Device> {
        train::device(&self.device)
    }
}

/// What the loop over epochs asks of a trainer.
pub trait Trainer {
    /// Trains and, where it is due, validates; `epoch` counts from 0. False if the user asked to stop
    /// before its end.
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool>;

    /// Writes [`LAST`], what a run goes on from.
    fn save(&mut self) -> Result<()>;

    /// What is said to a user who stopped in `epoch`: what is saved, and how to go on.
    fn stopped(&self, epoch: usize, folder: &Path) -> String {
        format!(
            "stopped in epoch {}; {} is saved, --resume goes on with that epoch",
            epoch + 1,
            folder.join(LAST).display()
        )
    }
}

/// Runs the epochs, saving after each; false if the user asked to stop.
pub fn epochs(
    trainer: &mut impl Trainer,
    epochs: Range<usize>,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<bool> {
    let mut progress = Progress::new(epochs.end);
    for epoch in epochs {
        let ended = trainer.epoch(epoch, &mut progress, interrupt)?;
        trainer.save()?;
        if !ended {
            progress.finish();
            println!("{}", trainer.stopped(epoch, folder));
            return Ok(false);
        }
    }
    Ok(true)
}

/// An error if a loss is not finite; `epoch` and `step` count from 0.
pub fn check_finite(values: &[f64], epoch: usize, step: usize, folder: &Path) -> Result<()> {
    ensure!(
        values.iter().all(|value| value.is_finite()),
        "the loss is not finite in epoch {}, step {}: {values:?}; a smaller --lr may help, {} holds the \
         last good epoch",
        epoch + 1,
        step + 1,
        folder.join(LAST).display()
    );
    Ok(())
}

/// An error unless the value of an option is from `low` to `high`; NaN is not.
pub fn within(option: &str, value: f64, low: f64, high: f64) -> Result<()> {
    ensure!(value >= low && value <= high, "--{option}: expected {low} to {high}, got {value}");
    Ok(())
}

/// An error unless the value of an option is at least `least`.
pub fn at_least(option: &str, value: i64, least: i64) -> Result<()> {
    ensure!(value >= least, "--{option}: expected at least {least}, got {value}");
    Ok(())
}

/// An error unless a learning rate is above 0.
pub fn positive(option: &str, value: f64) -> Result<()> {
    ensure!(value > 0.0 && value.is_finite(), "--{option}: expected above 0, got {value}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    struct Counter<'a> {
        seen: Vec<usize>,
        saved: usize,
        stop: &'a Interrupt,
    }

    impl Trainer for Counter<'_> {
        fn epoch(&mut self, epoch: usize, _: &mut Progress, stop: &Interrupt) -> Result<bool> {
            self.seen.push(epoch);
            if epoch == 3 {
                self.stop.request();
            }
            Ok(!stop.requested())
        }

        fn save(&mut self) -> Result<()> {
            self.saved += 1;
            Ok(())
        }
    }

    #[test]
    fn every_epoch_is_saved_and_the_user_can_stop() {
        let stop = Interrupt::default();
        let mut counter = Counter { seen: Vec::new(), saved: 0, stop: &stop };
        assert!(epochs(&mut counter, 1..3, Path::new("."), &stop).unwrap());
        assert!(!epochs(&mut counter, 3..9, Path::new("."), &stop).unwrap());
        assert_eq!((&counter.seen[..], counter.saved), (&[1, 2, 3][..], 3));
        let said = counter.stopped(3, Path::new("runs/a"));
        assert!(said.contains("epoch 4; runs/a/last.safetensors is saved"), "{said}");
    }

    #[test]
    fn parts_that_were_not_begun_begin() {
        let folder = Folder::new("parts");
        let options = |resume, overwrite| RunOptions {
            name: "all".to_owned(),
            runs: folder.path("runs"),
            resume,
            overwrite,
            device: "cpu".to_owned(),
            seed: 0,
        };
        let (place, resume) = options(false, false).part("job", "a").unwrap();
        assert_eq!((&place, resume), (&folder.path("runs/job/all/a"), false));
        std::fs::write(place.join(LAST), "weights").unwrap();
        let error = options(false, false).part("job", "a").unwrap_err().to_string();
        assert!(error.contains("--resume") && error.contains("--overwrite"), "{error}");
        assert!(options(true, false).part("job", "a").unwrap().1);
        assert!(!options(true, false).part("job", "b").unwrap().1);
        assert!(!options(false, true).part("job", "a").unwrap().1);
        assert!(!place.join(LAST).exists());
    }

    #[test]
    fn a_loss_that_is_no_number_is_an_error() {
        let folder = Path::new("runs");
        check_finite(&[1.0, -2.0], 0, 0, folder).unwrap();
        let error = check_finite(&[1.0, f64::NAN], 1, 4, folder).unwrap_err().to_string();
        assert!(error.contains("epoch 2, step 5: [1.0, NaN]"), "{error}");
    }

    #[test]
    fn options_out_of_range_name_themselves() {
        within("beta", 0.5, 0.0, 1.0).unwrap();
        at_least("steps", 1, 1).unwrap();
        positive("lr", 1e-3).unwrap();
        let text = |result: Result<()>| result.unwrap_err().to_string();
        assert_eq!(text(within("beta", 2.0, 0.0, 1.0)), "--beta: expected 0 to 1, got 2");
        assert!(text(within("beta", f64::NAN, 0.0, 1.0)).ends_with("got NaN"));
        assert_eq!(text(at_least("steps", -1, 1)), "--steps: expected at least 1, got -1");
        assert!(text(positive("lr", f64::INFINITY)).contains("--lr: expected above 0"));
    }
}
