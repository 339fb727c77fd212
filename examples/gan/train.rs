//! The training loop.

use crate::{
    judge::{Judge, Verdict},
    model::{Critic, Generator},
    objective::Objective,
    options::Train,
    report::{self, COLUMNS},
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    features::Features,
    files,
    interrupt::Interrupt,
    labelled::{Images, sheet},
    nets::{Net, noise},
    png,
    progress::{Progress, clock},
    rng::seeded,
    run::{self, BEST, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{AdamW, Averaged, copy_into, cosine, named},
};
use image::RgbImage;
use rand::Rng as _;
use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};
use tch::{Kind, Tensor, nn::VarStore};
use tch_losses::{
    GradientPenalty,
    adversarial::{CriticSchedule, f_clip_weights},
};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 50.0;
/// Images on a sample sheet.
const SHOWN: i64 = 64;
pub const SAMPLES: &str = "samples.png";

pub fn run(options: &Train, interrupt: &Interrupt) -> Result<()> {
    options.check()?;
    // A loss that does not exist is told before any folder is touched.
    let objective = Objective::new(&options.whole(&options.loss))?;
    let data = open(options)?;
    let folder = options.run.folder("gan")?;
    let judge = Judge::open(&options.run.runs, &data)?;
    let run = Run::new(options, &data, judge.as_ref(), objective, folder, options.run.resume)?;
    run.train(interrupt).map(|_| ())
}

/// The images of a run.
pub fn open(options: &Train) -> Result<Images> {
    options.check()?;
    Images::open(&options.data, &options.run, options.img, options.threads)
}

/// A run that went to its end, or as far as it could.
pub struct Trained {
    pub table: Table,
    pub verdict: Option<Verdict>,
    pub samples: RgbImage,
    pub seconds: f64,
    /// Why there is nothing more to train, if that is so.
    pub diverged: Option<String>,
}

/// Says of an error that the training went wrong, and nothing else.
#[derive(Debug)]
struct Diverged;

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the training diverged")
    }
}

/// Everything that changes while training.
pub struct Run<'a> {
    data: &'a Images,
    judge: Option<&'a Judge>,
    options: Train,
    objective: Objective,
    schedule: CriticSchedule,
    n_critic: usize,
    folder: PathBuf,
    generator: Averaged<Generator>,
    critic: Critic,
    critic_vs: VarStore,
    critic_optimiser: AdamW,
    /// What the measured samples are made from; the first are shown.
    noise: Tensor,
    meta: Meta,
    table: Table,
}

impl<'a> Run<'a> {
    pub fn new(
        options: &Train,
        data: &'a Images,
        judge: Option<&'a Judge>,
        objective: Objective,
        folder: PathBuf,
        resume: bool,
    ) -> Result<Self> {
        let (side, device) = (data.training.side() as u32, data.device);
        let n_critic = options.n_critic.unwrap_or(if objective.wasserstein { 5 } else { 1 });
        let Train { epochs, steps, batch, .. } = *options;
        let meta = Meta {
            channels: data.training.channels(),
            side,
            convolutions: options.net.unwrap_or(Net::of(side)) == Net::Conv,
            width: options.width,
            latent: options.latent,
            batch_norm: options.batch_norm,
            spectral_norm: objective.spectral_norm,
            loss: objective.text.clone(),
            epochs_done: 0,
            epochs,
            best: None,
            ema_updates: 0,
            seconds: 0.0,
            options: format!(
                "--loss \"{}\" --epochs {epochs} --steps {steps} --batch {batch} --n-critic {n_critic}",
                objective.text
            ),
        };
        tch::manual_seed(options.run.seed as i64);
        let noise = noise(options.samples.max(SHOWN), options.latent, device);
        let (critic, critic_vs) = meta.critic(device);
        let generator = Averaged::new(|| meta.generator(device), options.ema, EMA_RAMP, 0.0);
        let mut run = Run {
            data,
            judge,
            schedule: CriticSchedule::default().n_critic(n_critic),
            n_critic: n_critic as usize,
            generator: generator.betas(options.beta1, options.beta2),
            critic_optimiser: AdamW::new(&critic_vs, 0.0).betas(options.beta1, options.beta2),
            critic,
            critic_vs,
            options: options.clone(),
            objective,
            folder,
            noise,
            meta,
            table: Table::new(COLUMNS.map(str::to_owned)),
        };
        if resume {
            run.resume()?;
        }
        let of_critic: usize = run.critic_vs.trainable_variables().iter().map(Tensor::numel).sum();
        println!(
            "{}: generator of {} weights, critic of {of_critic}, --loss \"{}\", on {device:?}",
            run.folder.display(),
            run.generator.weights(),
            run.objective.text
        );
        Ok(run)
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = weights::read(&path)?;
        let mut load = || -> Result<()> {
            let (was, now) = (meta.network(), self.meta.network());
            ensure!(was == now, "it was trained with {was}, now {now}");
            self.generator.restore(&checkpoint, meta.ema_updates)?;
            copy_into(&mut named(&self.critic_vs), &checkpoint.group("critic")?)?;
            self.critic_optimiser.load(&checkpoint.group("critic_optimiser")?)
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
        self.meta.seconds = meta.seconds;
        Ok(())
    }

    /// Trains to the end; none if the user asked to stop.
    pub fn train(mut self, interrupt: &Interrupt) -> Result<Option<Trained>> {
        let (epochs, folder) = (self.meta.epochs_done..self.meta.epochs, self.folder.clone());
        if !run::epochs(&mut self, epochs, &folder, interrupt)? {
            return Ok(None);
        }
        let trained = self.trained()?;
        let found = match (&trained.verdict, self.judge) {
            (Some(verdict), Some(judge)) => format!(
                "Fréchet distance {:.1} ({:.1} for held-out images, {:.0} for noise; {} features), inception \
                 score {:.2}; best {:.1}{}\n",
                verdict.frechet,
                judge.held_out.frechet,
                judge.noise.frechet,
                Features::DIMS,
                verdict.inception,
                self.meta.best.unwrap_or(verdict.frechet),
                judge.collapse(verdict).map_or(String::new(), |what| format!("; {what}"))
            ),
            _ => String::new(),
        };
        println!(
            "{found}{} epochs in {}\nin {}: {BEST}, {LAST}, {RESULTS}, {CURVES}, {SAMPLES}",
            self.meta.epochs,
            clock(Duration::from_secs_f64(self.meta.seconds)),
            folder.display()
        );
        Ok(Some(trained))
    }

    /// As [`Run::train`], but a training that goes wrong is told with what there was before.
    pub fn train_as_far_as_possible(self, interrupt: &Interrupt) -> Result<Option<Trained>> {
        let again = (self.options.clone(), self.data, self.judge, self.folder.clone());
        let text = self.objective.text.clone();
        match self.train(interrupt) {
            Err(error) if error.is::<Diverged>() => {
                let reason = error.root_cause().to_string();
                println!("{reason}");
                let (options, data, judge, folder) = again;
                // Of the last good epoch; there is none if the first went wrong.
                let resume = folder.join(LAST).exists();
                let objective = Objective::new(&text)?;
                let run = Run::new(&options, data, judge, objective, folder, resume)?;
                let trained = run.trained()?;
                Ok(Some(Trained { diverged: Some(reason), ..trained }))
            }
            other => other,
        }
    }

    /// What there is now.
    fn trained(&self) -> Result<Trained> {
        let samples = self.samples();
        Ok(Trained {
            verdict: self.judge.map(|judge| judge.judge(&samples)).transpose()?,
            samples: sheet(&samples.narrow(0, 0, SHOWN), 8, 32)?,
            table: self.table.clone(),
            seconds: self.meta.seconds,
            diverged: None,
        })
    }

    /// Images of the averaged generator from the noise that is always the same.
    fn samples(&self) -> Tensor {
        let _guard = tch::no_grad_guard();
        let images = self.noise.split(500, 0);
        let images: Vec<Tensor> =
            images.iter().map(|noise| self.generator.average.forward(noise, false)).collect();
        Tensor::cat(&images, 0)
    }

    /// One epoch, a row of results; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<[Option<f64>; COLUMNS.len()]>> {
        let Train { steps, batch, latent, lr_last, .. } = self.options;
        let lr = self.options.lr.unwrap_or(if self.objective.clipped() { 2e-4 } else { 1e-3 });
        let critic_lr = self.options.critic_lr.unwrap_or(lr);
        let (seed, device, pictures) =
            (self.options.run.seed, self.data.device, &self.data.training);
        // All that is drawn in an epoch depends on its number alone, so that a run can go on from it.
        let mut rng = seeded(&[seed, epoch as u64]);
        tch::manual_seed(i64::from(rng.random::<u32>()));
        let mut order = pictures.order(rng);
        progress.epoch(epoch + 1, steps);
        let started = Instant::now();
        let (mut rate, mut done, mut of_generator) = (0.0, 0, 0.0);
        let mut sums = Tensor::zeros([3], (Kind::Float, device));
        let mut gradient = 0.0;
        for step in 0..steps * self.n_critic {
            let share = cosine(1.0, lr_last, 1, epoch * steps + done, self.meta.epochs * steps);
            rate = lr * share;

            let real = pictures.at(&order.take(batch)).0;
            let noise_of_critic = noise(batch as i64, latent, device);
            let fake = tch::no_grad(|| self.generator.net.forward(&noise_of_critic, true));
            let scores = self.critic.forward(&Tensor::cat(&[&real, &fake], 0), true);
            let (of_real, of_fake) =
                (scores.narrow(0, 0, batch as i64), scores.narrow(0, batch as i64, batch as i64));
            let objective = self.objective.pair.f_discriminator(&of_real, &of_fake)?;
            let critic = |x: &Tensor| Ok(self.critic.forward(x, false));
            let penalty = self.objective.penalty(critic, &real, &fake)?;
            self.critic_optimiser.backward_step_clipped(
                &(&objective + &penalty),
                critic_lr * share,
                f64::INFINITY,
            );
            if let Some(c) = self.objective.clip {
                f_clip_weights(&self.critic_vs, c)?;
            }
            let estimate = of_real.mean(Kind::Float) - of_fake.mean(Kind::Float);
            sums += Tensor::stack(&[objective, estimate, penalty], 0).detach();
            if step + 1 == steps * self.n_critic {
                gradient = self.gradient_norm(&real, &fake)?;
            }

            if !self.schedule.trains_generator(step as u64) {
                continue;
            }
            let fake = self.generator.net.forward(&noise(batch as i64, latent, device), true);
            let of_real = self.objective.pair.needs_real().then(|| of_real.detach());
            let of_fake = self.critic.forward(&fake, false);
            let loss = self.objective.pair.f_generator(of_real.as_ref(), &of_fake)?;
            self.generator.step(&loss, rate, f64::INFINITY);

            let critic = Vec::<f64>::try_from(&sums / (step + 1) as f64)?;
            of_generator += loss.double_value(&[]);
            run::check_finite(&[critic[0], critic[2], of_generator], epoch, done, &self.folder)
                .context(Diverged)?;
            done += 1;
            let speed = done as f64 / started.elapsed().as_secs_f64();
            progress.batch(
                done,
                &format!(
                    "critic {:.3}  generator {:.3}  Wasserstein {:.3}  {speed:.0} steps/s",
                    critic[0],
                    of_generator / done as f64,
                    critic[1]
                ),
            );
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let means = Vec::<f64>::try_from(sums / (steps * self.n_critic) as f64)?;
        let mut row = [None; COLUMNS.len()];
        let values = [means[0], of_generator / steps as f64, means[1], means[2], gradient, rate];
        for (place, value) in row.iter_mut().zip(values) {
            *place = Some(value);
        }
        Ok(Some(row))
    }

    /// The root mean square of the norm of the critic's gradient between real and generated images.
    fn gradient_norm(&self, real: &Tensor, fake: &Tensor) -> Result<f64> {
        let square = GradientPenalty::default().lambda(1.0).target(0.0);
        let square = square.f_forward(|x| Ok(self.critic.forward(x, false)), real, fake)?;
        Ok(square.double_value(&[]).sqrt())
    }

    fn measure(
        &mut self,
        row: &mut [Option<f64>; COLUMNS.len()],
        progress: &mut Progress,
    ) -> Result<()> {
        progress.phase("samples", 0);
        let samples = self.samples();
        let picture = png(&sheet(&samples.narrow(0, 0, SHOWN), 8, 32)?)?;
        files::write(&self.folder.join(SAMPLES), &picture)?;
        let number = format!("samples-{:03}.png", self.meta.epochs_done);
        files::write(&self.folder.join(number), &picture)?;
        let [critic, generator, wasserstein, _, gradient, ..] =
            row.map(|value| value.unwrap_or(0.0));
        let mut line = format!(
            "epoch {:3}/{}  critic {critic:.4}  generator {generator:.4}  Wasserstein {wasserstein:.3}  \
             gradient {gradient:.2}",
            self.meta.epochs_done, self.meta.epochs
        );
        let verdict = self.judge.map(|judge| judge.judge(&samples)).transpose()?;
        if let Some(Verdict { frechet, inception, classes }) = verdict {
            row[6..9].copy_from_slice(&[frechet, inception, classes].map(Some));
            line += &format!("  Fréchet {frechet:.1}  inception {inception:.2}");
        }
        progress.line(&line);
        let frechet = verdict.map(|verdict| verdict.frechet);
        if self.meta.best.is_none_or(|best| frechet.is_none_or(|frechet| frechet < best)) {
            self.meta.best = frechet;
            let best = self.generator.to_use(serde_json::to_string(&self.meta)?);
            best.save(&self.folder.join(BEST))?;
        }
        Ok(())
    }
}

impl Trainer for Run<'_> {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let started = Instant::now();
        let Some(mut row) = self.steps(epoch, interrupt, progress)? else { return Ok(false) };
        self.meta.epochs_done = epoch + 1;
        if epoch + 1 == self.meta.epochs || (epoch + 1).is_multiple_of(self.options.eval_every) {
            self.measure(&mut row, progress)?;
        }
        self.meta.seconds += started.elapsed().as_secs_f64();
        row[9] = Some(self.meta.seconds);
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        report::curves(&self.folder.join(CURVES), &self.meta.loss, &self.table, self.judge)?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        self.meta.ema_updates = self.generator.updates();
        let last = self.generator.to_go_on(serde_json::to_string(&self.meta)?);
        let last = last
            .with("critic", named(&self.critic_vs))
            .with("critic_optimiser", self.critic_optimiser.state());
        last.save(&self.folder.join(LAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare,
        options::{Cli, Command, Sample},
        sample,
    };
    use clap::Parser;
    use examples_support::{
        run::RunOptions,
        testing::{Folder, assert_has, drawing, drawing_alone},
        train::Checkpoint,
    };
    use std::path::Path;

    fn options(folder: &Folder, more: &str) -> Train {
        let runs = folder.path("runs").display().to_string();
        let line = format!("gan train --runs {runs} --device cpu --width 0.25 --samples 64");
        // Losses have blanks.
        let words = line.split_whitespace().chain(more.split('|').flat_map(|part| {
            let (option, value) = part.split_once(' ').unwrap_or((part, ""));
            [option, value].into_iter().filter(|word| !word.is_empty())
        }));
        match Cli::parse_from(words).command {
            Command::Train(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn table(run: &Path) -> Table {
        let mut table = Table::new(COLUMNS.map(str::to_owned));
        table.read(&run.join(RESULTS), usize::MAX).unwrap();
        table
    }

    #[test]
    fn a_run_goes_down_saves_and_resumes() {
        let _draws = drawing();
        let folder = Folder::new("gan-digits");
        let run_folder = folder.path("runs/gan/run");
        let never = Interrupt::default();
        let line = |epochs: usize, more: &str| {
            options(&folder, &format!("--loss least_squares|--steps 40|--epochs {epochs}{more}"))
        };
        run(&line(2, ""), &never).unwrap();
        for file in [LAST, BEST, RESULTS, CURVES, SAMPLES, "samples-002.png"] {
            assert!(run_folder.join(file).exists(), "{file}");
        }
        let again = run(&line(2, ""), &never).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = run(&line(4, "|--resume|--latent 9"), &never).unwrap_err();
        assert_has(&format!("{other:#}"), &["--latent 32", "now --img 8 --net mlp"]);

        run(&line(4, "|--resume"), &never).unwrap();
        let table = table(&run_folder);
        let distances = table.series("frechet");
        assert_eq!(distances.iter().map(|point| point.0).collect::<Vec<_>>(), [1., 2., 3., 4.]);
        assert!(distances[3].1 < distances[0].1, "{distances:?}");
        assert!(table.last("gradient_norm") > Some(0.0), "{table:?}");

        let out = folder.path("more/sheet.png");
        let weights = run_folder.join(BEST);
        let device = "cpu".to_owned();
        let options = Sample { weights, out: out.clone(), count: 5, seed: 1, device };
        sample::run(&options).unwrap();
        assert_eq!(image::image_dimensions(&out).unwrap(), (3 * 34 + 2, 2 * 34 + 2));
        let none = sample::run(&Sample { count: 0, ..options }).unwrap_err().to_string();
        assert_has(&none, &["--count"]);
    }

    #[test]
    fn resuming_is_as_good_as_never_stopping() {
        let _draws = drawing_alone();
        let folder = Folder::new("gan-exact");
        let loss = "--loss hinge + spectral_norm + gp";
        let options = options(&folder, &format!("{loss}|--epochs 3|--steps 4|--batch 16"));
        let data = open(&options).unwrap();
        let part = |name: &str, resume: bool, epochs: std::ops::Range<usize>| {
            let objective = Objective::new(&options.loss).unwrap();
            let place = folder.path(name);
            let mut run =
                Run::new(&options, &data, None, objective, place.clone(), resume).unwrap();
            assert_eq!(run.meta.epochs_done, epochs.start);
            assert!(run::epochs(&mut run, epochs, &place, &Interrupt::default()).unwrap());
            weights::read(&place.join(LAST)).unwrap().0
        };
        let whole = part("whole", false, 0..3);
        part("stopped", false, 0..1);
        let stopped = part("stopped", true, 1..3);
        for group in ["model", "ema", "optimiser", "critic", "critic_optimiser"] {
            let sorted = |checkpoint: &Checkpoint| {
                let mut tensors = checkpoint.group(group).unwrap();
                tensors.sort_by(|a, b| a.0.cmp(&b.0));
                tensors
            };
            for ((name, a), (_, b)) in sorted(&whole).into_iter().zip(sorted(&stopped)) {
                assert_eq!(a, b, "{group}/{name}");
            }
        }
        assert!(whole.group("critic").unwrap().iter().any(|(name, _)| name.ends_with("_u")));
    }

    #[test]
    fn images_without_classes_train_without_a_distance() {
        let _draws = drawing();
        let folder = Folder::new("gan-folder");
        for i in 0..8 {
            folder.image(&format!("data/{i}.png"), 20 + i, 18);
        }
        let data = folder.path("data").display().to_string();
        let line =
            format!("--data {data}|--img 17|--loss rpgan + r1 + r2|--epochs 2|--steps 2|--batch 4");
        let options = options(&folder, &line);
        run(&options, &Interrupt::default()).unwrap();
        let run_folder = folder.path("runs/gan/run");
        assert_eq!(table(&run_folder).last("frechet"), None);
        let (_, meta) = weights::read(&run_folder.join(BEST)).unwrap();
        assert_eq!((meta.channels, meta.side, meta.epochs_done), (3, 17, 2));
        assert!(meta.convolutions);
    }

    #[test]
    fn clipping_keeps_the_weights_of_the_critic_small() {
        let _draws = drawing();
        let folder = Folder::new("gan-clip");
        let options = options(&folder, "--loss wasserstein|--epochs 1|--steps 2|--n-critic 2");
        let data = open(&options).unwrap();
        let objective = Objective::new(&options.loss).unwrap();
        let place = folder.path("run");
        let mut run = Run::new(&options, &data, None, objective, place.clone(), false).unwrap();
        run::epochs(&mut run, 0..1, &place, &Interrupt::default()).unwrap();
        for weight in run.critic_vs.trainable_variables() {
            assert!(weight.abs().max().double_value(&[]) <= 0.01 + 1e-9);
        }
    }

    #[test]
    fn losses_are_compared_and_those_that_went_wrong_told() {
        let _draws = drawing();
        let folder = Folder::new("gan-compare");
        let line = "--epochs 1|--steps 3|--name all|--compare minmax, least_squares";
        let options = options(&folder, line);
        let losses = options.compare().unwrap().unwrap();
        compare::run(&options, &losses, &Interrupt::default()).unwrap();
        let all = folder.path("runs/gan/all");
        let text = std::fs::read_to_string(all.join("compare.csv")).unwrap();
        assert_has(
            &text,
            &["loss,frechet,inception_score,classes,", "\n\"minmax\",", "\n\"least_squares\","],
        );
        // Nothing is learned in three steps.
        assert_has(&text, &["collapsed"]);
        for file in ["compare.png", "frechet.png", "least_squares/samples.png"] {
            assert!(all.join(file).exists(), "{file}");
        }
        let again = compare::run(&options, &losses, &Interrupt::default()).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let resumed =
            Train { run: RunOptions { resume: true, ..options.run.clone() }, ..options.clone() };
        compare::run(&resumed, &losses, &Interrupt::default()).unwrap();
        let wrong = ["hinge".to_owned(), "hinj".to_owned()];
        let wrong = compare::run(&options, &wrong, &Interrupt::default()).unwrap_err();
        assert_has(&format!("{wrong:#}"), &["did you mean hinge"]);

        let run = RunOptions { name: "wild".to_owned(), ..options.run.clone() };
        let wild = Train { run, lr: Some(1e30), ..options };
        let losses = ["least_squares".to_owned(), "hinge".to_owned()];
        compare::run(&wild, &losses, &Interrupt::default()).unwrap();
        let text = std::fs::read_to_string(folder.path("runs/gan/wild/compare.csv")).unwrap();
        assert_has(&text, &["the loss is not finite in epoch 1"]);
    }

    #[test]
    fn wrong_options_name_themselves() {
        let _draws = drawing();
        let folder = Folder::new("gan-options");
        for (wrong, named) in [
            ("--img 2", "--img"),
            ("--batch 1", "--batch"),
            ("--epochs 0", "--epochs"),
            ("--steps 0", "--steps"),
            ("--n-critic 0", "--n-critic"),
            ("--latent 0", "--latent"),
            ("--lr=-1", "--lr"),
            ("--critic-lr nan", "--critic-lr"),
            ("--width 0", "--width"),
            ("--beta1 1", "--beta1"),
            ("--clip=-1", "clip: c"),
            ("--penalty r3", "no `r3`"),
            ("--device gpu", "--device"),
            ("--data none", "--data none"),
            ("--loss hinj", "did you mean hinge"),
            ("--name a/b", "--name"),
        ] {
            let error = run(&options(&folder, wrong), &Interrupt::default()).unwrap_err();
            assert_has(&format!("{error:#}"), &[named]);
        }
        assert!(!folder.path("runs").exists());
    }
}
