//! The training loop.

use crate::{
    data::Shapes,
    evaluate::{Outcome, Test},
    model::{Discriminator, Generator},
    objective::Objective,
    options::{Options, Smooth},
    report,
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    ahead::Ahead,
    interrupt::Interrupt,
    progress::{Progress, clock},
    rng::seeded,
    run::{self, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{Adversary, Averaged, cosine},
};
use rand::Rng as _;
use std::{path::PathBuf, time::Instant};
use tch::{Device, Tensor, nn::VarStore, no_grad};
use tch_losses::adversarial::{CriticSchedule, GradientPenalty, R1Penalty};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 50.0;
/// Steps of warm-up.
const WARM_UP: usize = 20;
/// Adam's, for the generator under every loss and for the discriminator: an adversary moves on, so
/// that an old direction soon is a wrong one.
const BETAS: (f64, f64) = (0.5, 0.99);
/// Greatest norm of the gradient.
const CLIP: f64 = 10.0;
/// Images of so few pixels a side are computed faster by one thread than shared out to several.
const SMALL: u32 = 24;

pub fn run(options: &Options, loss: &str, interrupt: &Interrupt) -> Result<()> {
    let (device, test) = prepare(options)?;
    let objective = Objective::new(loss, device)?;
    let folder = options.run.folder("colorize")?;
    let run = Run::new(options, &test, loss, objective, (folder, options.run.resume), device)?;
    run.train(interrupt).map(|_| ())
}

/// Checks the options before anything is written.
pub fn prepare(options: &Options) -> Result<(Device, Test)> {
    options.check()?;
    let device = options.run.device()?;
    if let Some(threads) = options.threads.or((options.img < SMALL).then_some(1)) {
        tch::set_num_threads(threads.min(1024) as i32);
    }
    Ok((device, Test::new(options, device)))
}

/// A run that went to its end.
pub struct Trained {
    pub table: Table,
    pub generator: Averaged<Generator>,
    pub adversarial: bool,
    /// After the last epoch.
    pub outcome: Outcome,
}

/// Everything that changes while training.
pub struct Run<'a> {
    options: &'a Options,
    test: &'a Test,
    device: Device,
    folder: PathBuf,
    generator: Averaged<Generator>,
    discriminator: Option<Adversary<Discriminator>>,
    objective: Objective,
    meta: Meta,
    table: Table,
    outcome: Option<Outcome>,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Default)]
struct Sums {
    loss: f64,
    discriminator: f64,
    penalty: f64,
    generator_steps: f64,
    steps: f64,
}

impl<'a> Run<'a> {
    pub fn new(
        options: &'a Options,
        test: &'a Test,
        loss: &str,
        objective: Objective,
        (folder, resume): (PathBuf, bool),
        device: Device,
    ) -> Result<Self> {
        let Options { epochs, steps, batch, share, .. } = options;
        let meta = Meta {
            loss: loss.to_owned(),
            side: options.img,
            noise: options.noise,
            width: options.width,
            epochs_done: 0,
            epochs: *epochs,
            ema_updates: 0,
            options: format!(
                "--loss \"{loss}\" --epochs {epochs} --steps {steps} --batch {batch} --share {share}"
            ),
        };
        // The generator begins the same under every loss.
        tch::manual_seed(options.run.seed as i64);
        let generator = Averaged::new(|| meta.generator(device), options.ema, EMA_RAMP, 0.0);
        let discriminator = objective.is_adversarial().then(|| {
            let vs = VarStore::new(device);
            let (side, spectral) = (options.img.into(), options.smooth == Smooth::Spectral);
            let net = Discriminator::new(&vs.root(), side, options.width, spectral);
            Adversary::new((net, vs), BETAS)
        });
        let mut run = Run {
            options,
            test,
            device,
            folder,
            generator: generator.betas(BETAS.0, BETAS.1),
            discriminator,
            objective,
            meta,
            table: Table::new(report::COLUMNS.map(str::to_owned)),
            outcome: None,
        };
        if resume {
            run.resume()?;
        }
        let against = run
            .discriminator
            .as_ref()
            .map_or(String::new(), |adversary| format!(" against {}", adversary.weights()));
        println!(
            "{}: {} weights{against}, --loss \"{loss}\", on {device:?}",
            run.folder.display(),
            run.generator.weights(),
        );
        Ok(run)
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = weights::read(&path)?;
        let mut load = || -> Result<()> {
            let key = |meta: &Meta| (meta.side, meta.noise, meta.width);
            ensure!(
                key(&meta) == key(&self.meta),
                "it was trained with --img {} --noise {} --width {}",
                meta.side,
                meta.noise,
                meta.width
            );
            self.generator.restore(&checkpoint, meta.ema_updates)?;
            match &mut self.discriminator {
                Some(discriminator) => discriminator.restore("discriminator", &checkpoint),
                None => Ok(()),
            }
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
        let started = Instant::now();
        let (done, epochs) = (self.meta.epochs_done, self.meta.epochs);
        let folder = self.folder.clone();
        if !run::epochs(&mut self, done..epochs, &folder, interrupt)? {
            return Ok(None);
        }
        let outcome = match self.outcome.take() {
            Some(outcome) => outcome,
            // A run that was at its end already.
            None => self.test.evaluate(&self.generator.average)?,
        };
        let (loss, adversarial) = (&self.meta.loss[..], self.objective.is_adversarial());
        let samples = [(loss, &self.generator.average, adversarial)];
        report::samples(&folder.join("samples.png"), self.test, &samples)?;
        report::colours(&folder.join("colours.png"), &[(loss, &outcome)])?;
        print!("{}", report::table(&[(loss, &outcome)], false));
        println!(
            "{epochs} epochs in {}\nin {}: {LAST}, {RESULTS}, {CURVES}, samples.png, colours.png",
            clock(started.elapsed()),
            folder.display()
        );
        let Run { table, generator, .. } = self;
        Ok(Some(Trained { table, generator, adversarial, outcome }))
    }

    /// One epoch; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<[Option<f64>; 9]>> {
        let Options { steps, batch, img, share, .. } = *self.options;
        let (seed, device) = (self.options.run.seed, self.device);
        let Options { lr, critic_lr, lr_last, critic_steps, .. } = *self.options;
        let schedule = CriticSchedule::default().n_critic(critic_steps);
        let shapes = Shapes { seed: [seed, 0], side: img, share };
        let first = epoch * steps;
        // What is drawn in an epoch depends on its number and not on what was before.
        tch::manual_seed(seeded(&[seed, epoch as u64]).random());
        progress.epoch(epoch + 1, steps);
        let started = Instant::now();
        let mut sums = Sums::default();
        let batches = Ahead::start(steps, 1, 4, move |i| shapes.batch((first + i) * batch, batch));
        for (i, shapes) in batches.enumerate() {
            let rate = |peak| cosine(peak, lr_last, WARM_UP, first + i, self.meta.epochs * steps);
            let (grey, target) = shapes.tensors(device);
            let noise = self.generator.net.noise(&grey);
            let made = self.generator.net.forward(&grey, &noise);
            let mut values = [0.0; 3];
            if let Some(discriminator) = &mut self.discriminator {
                let pair = |image: &Tensor| Tensor::cat(&[&grey, image], 1);
                let (real, fake) = (pair(&target), pair(&made.detach()));
                let net = &discriminator.net;
                let loss =
                    self.objective.discriminator(&net.forward(&real), &net.forward(&fake))?;
                values[1] = loss.double_value(&[]);
                let penalty = penalty(self.options, net, &real, &fake)?;
                values[2] = penalty.as_ref().map_or(0.0, |penalty| penalty.double_value(&[]));
                let loss = penalty.map_or_else(|| loss.shallow_clone(), |penalty| &loss + penalty);
                discriminator.step(&loss, rate(critic_lr), CLIP);
            }
            if self.discriminator.is_none() || schedule.trains_generator((first + i) as u64) {
                let needs_real = self.objective.needs_real();
                let scores = self.discriminator.as_mut().map(|discriminator| {
                    discriminator.frozen(|net| {
                        let score = |image| net.forward(&Tensor::cat(&[&grey, image], 1));
                        (needs_real.then(|| no_grad(|| score(&target))), score(&made))
                    })
                });
                let (real, fake) = scores.unzip();
                let real = real.flatten();
                let loss =
                    self.objective.generator(&made, &target, real.as_ref(), fake.as_ref())?;
                self.generator.step(&loss, rate(lr), CLIP);
                values[0] = loss.double_value(&[]);
                sums.generator_steps += 1.0;
            }
            run::check_finite(&values, epoch, i, &self.folder)?;
            sums.add(values);
            let speed = sums.steps * batch as f64 / started.elapsed().as_secs_f64();
            let near = self.table.last("near").unwrap_or(0.0);
            let loss = sums.loss / sums.generator_steps.max(1.0);
            progress.batch(i + 1, &format!("loss {loss:.4}  near {near:.3}  {speed:.0} images/s"));
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let mut row = [None; 9];
        row[0] = (sums.generator_steps > 0.0).then(|| sums.loss / sums.generator_steps);
        if self.discriminator.is_some() {
            row[1] = Some(sums.discriminator / sums.steps);
            row[2] = Some(sums.penalty / sums.steps);
        }
        row[3] = Some(cosine(lr, lr_last, WARM_UP, first + steps, self.meta.epochs * steps));
        row[4] = Some(sums.steps * batch as f64 / started.elapsed().as_secs_f64());
        Ok(Some(row))
    }
}

impl Sums {
    fn add(&mut self, [loss, discriminator, penalty]: [f64; 3]) {
        self.loss += loss;
        self.discriminator += discriminator;
        self.penalty += penalty;
        self.steps += 1.0;
    }
}

/// What keeps the discriminator smooth, where it is a penalty.
fn penalty(
    options: &Options,
    net: &Discriminator,
    real: &Tensor,
    fake: &Tensor,
) -> Result<Option<Tensor>> {
    let (weight, critic) = (options.penalty(), |x: &Tensor| Ok(net.forward(x)));
    Ok(match options.smooth {
        _ if weight == 0.0 => None,
        Smooth::R1 => Some(R1Penalty::default().gamma(weight).f_forward(critic, real)?),
        Smooth::Gp => {
            Some(GradientPenalty::default().lambda(weight).f_forward(critic, real, fake)?)
        }
        Smooth::Spectral | Smooth::None => None,
    })
}

impl Trainer for Run<'_> {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let Some(mut row) = self.steps(epoch, progress, interrupt)? else { return Ok(false) };
        self.meta.epochs_done = epoch + 1;
        let outcome = self.test.evaluate(&self.generator.average)?;
        let Outcome { near, orange, distance, spread, .. } = outcome;
        row[5..].copy_from_slice(&[Some(near), orange, Some(distance), Some(spread)]);
        progress.line(&format!(
            "epoch {:3}/{}  loss {:.4}  near a colour {near:.3}  of these orange {}  distance \
             {distance:.3}  {:.0} images/s",
            epoch + 1,
            self.meta.epochs,
            row[0].unwrap_or(0.0),
            orange.map_or("-".to_owned(), |orange| format!("{orange:.3}")),
            row[4].unwrap_or(0.0)
        ));
        self.outcome = Some(outcome);
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        report::curves(&self.folder.join(CURVES), &self.meta.loss, &self.table)?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        self.meta.ema_updates = self.generator.updates();
        let mut last = self.generator.to_go_on(serde_json::to_string(&self.meta)?);
        if let Some(discriminator) = &self.discriminator {
            last = discriminator.save("discriminator", last);
        }
        last.save(&self.folder.join(LAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare;
    use clap::Parser;
    use examples_support::testing::{Folder, assert_has, drawing, drawing_alone};
    use std::path::Path;

    fn options(folder: &Folder, more: &str) -> Options {
        let runs = folder.path("runs").display().to_string();
        let line =
            format!("colorize --runs {runs} --device cpu --width 8 --test 64 --batch 8 {more}");
        Options::parse_from(line.split_whitespace())
    }

    fn go(folder: &Folder, loss: &str, more: &str) -> Result<()> {
        run(&options(folder, more), loss, &Interrupt::default())
    }

    fn table(run: &Path) -> Table {
        let mut table = Table::new(report::COLUMNS.map(str::to_owned));
        table.read(&run.join(RESULTS), usize::MAX).unwrap();
        table
    }

    #[test]
    fn the_squared_error_goes_down_to_a_colour_that_never_occurs() {
        let _draws = drawing();
        let folder = Folder::new("colorize-l2");
        let run_folder = folder.path("runs/colorize/run");
        go(&folder, "l2", "--epochs 2 --steps 60").unwrap();
        for file in [LAST, RESULTS, CURVES, "samples.png", "colours.png"] {
            assert!(run_folder.join(file).exists(), "{file}");
        }
        let again = go(&folder, "l2", "--epochs 2").unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = go(&folder, "l2", "--epochs 4 --steps 60 --resume --noise 1").unwrap_err();
        assert_has(&format!("{other:#}"), &["--noise 4"]);

        go(&folder, "l2", "--epochs 4 --steps 60 --resume").unwrap();
        let table = table(&run_folder);
        let losses = table.series("loss");
        assert_eq!(losses.iter().map(|point| point.0).collect::<Vec<_>>(), [1., 2., 3., 4.]);
        assert!(losses[3].1 < losses[0].1, "{losses:?}");
        assert!(table.last("near") < Some(0.05), "{table:?}");
        assert!(table.last("spread") < Some(0.2), "{table:?}");
        assert_eq!(table.last("penalty"), None);
    }

    #[test]
    fn resuming_is_as_good_as_never_stopping() {
        let _draws = drawing_alone();
        for (loss, more) in [
            ("adversarial", "--smooth r1"),
            ("wgan", "--smooth gp --critic-steps 2"),
            ("relativistic + l1", "--smooth spectral"),
        ] {
            let folder = Folder::new("colorize-exact");
            let options = options(&folder, &format!("--epochs 3 --steps 3 {more}"));
            let (device, test) = prepare(&options).unwrap();
            let part = |name: &str, resume: bool, epochs: std::ops::Range<usize>| {
                let objective = Objective::new(loss, device).unwrap();
                let place = (folder.path(name), resume);
                let mut run = Run::new(&options, &test, loss, objective, place, device).unwrap();
                assert_eq!(run.meta.epochs_done, epochs.start);
                run::epochs(&mut run, epochs, &folder.path(name), &Interrupt::default()).unwrap();
                weights::read(&folder.path(name).join(LAST)).unwrap().0
            };
            let whole = part("whole", false, 0..3);
            part("stopped", false, 0..1);
            let stopped = part("stopped", true, 1..3);
            let groups = ["model", "ema", "optimiser", "discriminator", "discriminator_optimiser"];
            for group in groups {
                let sorted = |checkpoint: &examples_support::train::Checkpoint| {
                    let mut tensors = checkpoint.group(group).unwrap();
                    tensors.sort_by(|a, b| a.0.cmp(&b.0));
                    tensors
                };
                for ((name, a), (_, b)) in sorted(&whole).into_iter().zip(sorted(&stopped)) {
                    assert_eq!(a, b, "{loss}: {group}/{name}");
                }
            }
        }
    }

    #[test]
    fn losses_are_compared_with_the_same_generator() {
        let _draws = drawing();
        let folder = Folder::new("colorize-compare");
        let line =
            "--epochs 1 --steps 2 --name three --compare l1,adversarial,pix2pix(lambda_l1=1)";
        compare::run(&options(&folder, line), &Interrupt::default()).unwrap();
        let at = |file: &str| folder.path("runs/colorize/three").join(file);
        let text = std::fs::read_to_string(at("compare.csv")).unwrap();
        assert_has(
            &text,
            &["loss,near,orange,blue,", "\n\"l1\",0.", "\n\"pix2pix(lambda_l1=1)\","],
        );
        for file in ["compare.png", "samples.png", "colours.png", "pix2pix-lambda_l1=1/curves.png"]
        {
            assert!(at(file).exists(), "{file}");
        }
        let again = compare::run(&options(&folder, line), &Interrupt::default()).unwrap_err();
        assert_has(&again.to_string(), &["--resume", "--overwrite"]);
        let resumed = options(&folder, &format!("{line} --resume"));
        compare::run(&resumed, &Interrupt::default()).unwrap();
        let wrong = options(&folder, "--overwrite --compare l1,foo");
        let wrong = compare::run(&wrong, &Interrupt::default()).unwrap_err();
        assert_has(&format!("{wrong:#}"), &["--loss \"foo\""]);
    }

    #[test]
    fn wrong_options_name_themselves() {
        let _draws = drawing();
        let folder = Folder::new("colorize-options");
        for (wrong, named) in [
            ("--img 20", "--img"),
            ("--img 4", "--img"),
            ("--batch 0", "--batch"),
            ("--steps 0", "--steps"),
            ("--share 2", "--share"),
            ("--share nan", "--share"),
            ("--noise=-1", "--noise"),
            ("--width 0", "--width"),
            ("--lr 0", "--lr"),
            ("--critic-lr nan", "--critic-lr"),
            ("--penalty=-1", "--penalty"),
            ("--test 0", "--test"),
            ("--device gpu", "--device"),
            ("--name a/b", "--name"),
        ] {
            let error = go(&folder, "l1", wrong).unwrap_err();
            assert_has(&format!("{error:#}"), &[named]);
        }
        let one = options(&folder, "--compare l1");
        let error = compare::run(&one, &Interrupt::default()).unwrap_err().to_string();
        assert_has(&error, &["two or more"]);
        assert!(!folder.path("runs").exists());
    }
}
