//! The training loop.

use crate::{
    judge::Judge,
    model::{Vae, drawn},
    options::{Compared, Train},
    report::{self, COLUMNS},
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    features::Features,
    interrupt::Interrupt,
    labelled::Images,
    nets::{Net, noise},
    progress::{Progress, clock},
    rng::seeded,
    run::{self, BEST, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{Averaged, cosine},
};
use rand::Rng as _;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tch::{Kind, Tensor};
use tch_losses::{ElboReduction, KlStandardNormal};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 50.0;
/// Images on the sheets.
const SHOWN: i64 = 100;
/// A latent variable whose mean divergence is at least so many nats is in use.
const ACTIVE: f64 = 0.01;
pub const SAMPLES: &str = "samples.png";
pub const RECONSTRUCTIONS: &str = "reconstructions.png";
pub const MANIFOLD: &str = "manifold.png";

pub fn run(options: &Train, interrupt: &Interrupt) -> Result<()> {
    let data = open(options)?;
    let folder = options.run.folder("vae")?;
    let judge = Judge::open(&options.run.runs, &data)?;
    Run::new(options, &data, judge.as_ref(), folder, options.run.resume)?.train(interrupt)
}

/// The images of a run.
fn open(options: &Train) -> Result<Images> {
    options.check()?;
    Images::open(&options.data, &options.run, options.img, options.threads)
}

/// Everything that changes while training.
struct Run<'a> {
    data: &'a Images,
    judge: Option<&'a Judge>,
    options: Train,
    folder: PathBuf,
    model: Averaged<Vae>,
    /// What the samples are made from; the first are shown.
    noise: Tensor,
    meta: Meta,
    table: Table,
}

impl<'a> Run<'a> {
    fn new(
        options: &Train,
        data: &'a Images,
        judge: Option<&'a Judge>,
        folder: PathBuf,
        resume: bool,
    ) -> Result<Self> {
        let (side, device) = (data.training.side() as u32, data.device);
        let Train { epochs, batch, beta, free_bits, reconstruction, .. } = *options;
        let meta = Meta {
            channels: data.training.channels(),
            side,
            convolutions: options.net.unwrap_or(Net::of(side)) == Net::Conv,
            width: options.width,
            latent: options.latent,
            epochs_done: 0,
            epochs,
            best: None,
            ema_updates: 0,
            seconds: 0.0,
            options: format!(
                "--reconstruction {reconstruction:?} --beta {beta} --free-bits {free_bits} --epochs {epochs} \
                 --batch {batch}"
            )
            .to_lowercase(),
        };
        tch::manual_seed(options.run.seed as i64);
        let noise = noise(options.samples.max(SHOWN), options.latent, device);
        let network = || meta.network(device);
        let mut run = Run {
            model: Averaged::new(network, options.ema, EMA_RAMP, options.weight_decay),
            data,
            judge,
            options: options.clone(),
            folder,
            noise,
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
            run.meta.options
        );
        Ok(run)
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = weights::read(&path)?;
        let mut load = || -> Result<()> {
            let (was, now) = (meta.of_network(), self.meta.of_network());
            ensure!(was == now, "it was trained with {was}, now {now}");
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
        self.meta.seconds = meta.seconds;
        Ok(())
    }

    fn train(mut self, interrupt: &Interrupt) -> Result<()> {
        let (epochs, folder) = (self.meta.epochs_done..self.meta.epochs, self.folder.clone());
        if !run::epochs(&mut self, epochs, &folder, interrupt)? {
            return Ok(());
        }
        let last = |column: &str| self.table.last(column).unwrap_or(0.0);
        println!(
            "validation: reconstruction {:.3}, divergence {:.3} nats, {} of {} latent variables in use; best \
             loss {:.3}",
            last("val_reconstruction"),
            last("val_kl"),
            last("active_units"),
            self.meta.latent,
            self.meta.best.unwrap_or(0.0)
        );
        if let Some(judge) = self.judge {
            let verdict = judge.judge(&self.samples())?;
            println!(
                "Fréchet distance of samples {:.1} ({:.1} for held-out images, {:.0} for noise; {} features), \
                 inception score {:.2}{}",
                verdict.frechet,
                judge.held_out.frechet,
                judge.noise.frechet,
                Features::DIMS,
                verdict.inception,
                judge.collapse(&verdict).map_or(String::new(), |what| format!("; {what}"))
            );
        }
        let plane = if self.meta.latent == 2 { format!(", {MANIFOLD}") } else { String::new() };
        println!(
            "{} epochs in {}\nin {}: {BEST}, {LAST}, {RESULTS}, {CURVES}, {RECONSTRUCTIONS}, \
             {SAMPLES}{plane}",
            self.meta.epochs,
            clock(Duration::from_secs_f64(self.meta.seconds)),
            folder.display()
        );
        Ok(())
    }

    /// One epoch, a row of results; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Option<[Option<f64>; COLUMNS.len()]>> {
        let Train { batch, latent, lr, lr_last, beta_warmup, clip_grad, .. } = self.options;
        let (seed, device, pictures) =
            (self.options.run.seed, self.data.device, &self.data.training);
        // All that is drawn in an epoch depends on its number alone, so that a run can go on from it.
        let mut rng = seeded(&[seed, epoch as u64]);
        tch::manual_seed(i64::from(rng.random::<u32>()));
        let mut order = pictures.order(rng);
        let batches = pictures.len().div_ceil(batch);
        let steps = self.meta.epochs * batches;
        progress.epoch(epoch + 1, batches);
        let started = Instant::now();
        let (mut sums, mut rate) = ([0.0; 3], 0.0);
        for i in 0..batches {
            let step = epoch * batches + i;
            rate = cosine(lr, lr_last, batches, step, steps);
            let share = match beta_warmup * batches as f64 {
                0.0 => 1.0,
                warmup => ((step + 1) as f64 / warmup).min(1.0),
            };
            let images = pictures.at(&order.take(batch)).0;
            let (mean, log_variance) = self.model.net.encode(&images, true);
            let latent = drawn(&mean, &log_variance, &noise(batch as i64, latent, device));
            let made = self.output(&self.model.net.decode(&latent, true));
            let loss = self.options.loss(share);
            let parts = loss.f_forward(&made, &unit(&images), &mean, &log_variance)?;
            self.model.step(&parts.total, rate, clip_grad);

            let values = [&parts.total, &parts.named[0].1, &parts.named[1].1];
            let values = Vec::<f64>::try_from(Tensor::stack(&values, 0).to_kind(Kind::Double))?;
            run::check_finite(&values, epoch, i, &self.folder)?;
            sums.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
            let [_, reconstruction, kl] = sums.map(|sum| sum / (i + 1) as f64);
            let speed = ((i + 1) * batch) as f64 / started.elapsed().as_secs_f64();
            let shown =
                format!("reconstruction {reconstruction:.3}  KL {kl:.3}  {speed:.0} images/s");
            progress.batch(i + 1, &shown);
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let mut row = [None; COLUMNS.len()];
        for (place, sum) in row.iter_mut().zip(sums) {
            *place = Some(sum / batches as f64);
        }
        row[3] = Some(rate);
        Ok(Some(row))
    }

    /// Images of the averaged network from the noise that is always the same.
    fn samples(&self) -> Tensor {
        let _guard = tch::no_grad_guard();
        let parts = self.noise.split(500, 0);
        let parts: Vec<Tensor> =
            parts.iter().map(|noise| self.model.average.images(noise)).collect();
        Tensor::cat(&parts, 0)
    }

    /// What the loss compares: logits for the cross entropy, else numbers in [0, 1].
    fn output(&self, logits: &Tensor) -> Tensor {
        match self.options.reconstruction {
            Compared::Bce => logits.shallow_clone(),
            _ => logits.sigmoid(),
        }
    }

    fn validate(
        &mut self,
        row: &mut [Option<f64>; COLUMNS.len()],
        progress: &mut Progress,
    ) -> Result<()> {
        let _guard = tch::no_grad_guard();
        progress.phase("validation", 0);
        let (net, n) = (&self.model.average, self.data.validation.len() as f64);
        let (mut sums, mut divergences) = ([0.0; 3], Vec::new());
        for (images, _) in self.data.validation.chunks(500) {
            let of = images.size()[0];
            let (mean, log_variance) = net.encode(&images, false);
            let latent = drawn(&mean, &log_variance, &noise(of, self.meta.latent, images.device()));
            let made = self.output(&net.decode(&latent, false));
            let loss = self.options.loss(1.0);
            let parts = loss.f_forward(&made, &unit(&images), &mean, &log_variance)?;
            let values = [&parts.total, &parts.named[0].1, &parts.named[1].1];
            let shares = values.map(|value| value.double_value(&[]) * of as f64 / n);
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
            let each = KlStandardNormal::default().reduction(ElboReduction::None);
            divergences.push(each.f_forward(&mean, &log_variance)?);
        }
        let each = Tensor::cat(&divergences, 0).mean_dim([0i64].as_slice(), false, Kind::Double);
        let active = each.ge(ACTIVE).sum(Kind::Int64).int64_value(&[]);
        row[4..8].copy_from_slice(&[sums[0], sums[1], sums[2], active as f64].map(Some));

        let samples = self.samples();
        report::write(&self.folder.join(SAMPLES), &samples.narrow(0, 0, SHOWN), 10)?;
        let shown: Vec<i64> = (0..48.min(self.data.validation.len() as i64)).collect();
        let images = self.data.validation.at(&shown).0;
        let made = net.images(&net.encode(&images, false).0);
        report::reconstructions(&self.folder.join(RECONSTRUCTIONS), &images, &made)?;
        if self.meta.latent == 2 {
            report::manifold(&self.folder.join(MANIFOLD), net, self.data.device)?;
        }
        let mut line = format!(
            "epoch {:3}/{}  train {:.3} + {:.3}  val {:.3} + {:.3} nats  {active} of {} in use",
            self.meta.epochs_done,
            self.meta.epochs,
            row[1].unwrap_or(0.0),
            row[2].unwrap_or(0.0),
            sums[1],
            sums[2],
            self.meta.latent
        );
        if let Some(judge) = self.judge {
            let frechet = judge.judge(&samples)?.frechet;
            row[8] = Some(frechet);
            line += &format!("  Fréchet {frechet:.1}");
        }
        progress.line(&line);
        if self.meta.best.is_none_or(|best| sums[0] < best) {
            self.meta.best = Some(sums[0]);
            let best = self.model.to_use(serde_json::to_string(&self.meta)?);
            best.save(&self.folder.join(BEST))?;
        }
        Ok(())
    }
}

/// From [-1, 1] to [0, 1].
fn unit(images: &Tensor) -> Tensor {
    (images + 1.0) * 0.5
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
            self.validate(&mut row, progress)?;
        }
        self.meta.seconds += started.elapsed().as_secs_f64();
        row[9] = Some(self.meta.seconds);
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        report::curves(&self.folder.join(CURVES), &self.meta.options, &self.table, self.judge)?;
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
        options::{Cli, Command, Sample},
        sample,
    };
    use clap::Parser;
    use examples_support::{
        testing::{Folder, assert_has, drawing, drawing_alone},
        train::Checkpoint,
    };

    fn options(folder: &Folder, more: &str) -> Train {
        let runs = folder.path("runs").display().to_string();
        let line = format!("vae train --runs {runs} --device cpu --width 0.25 --samples 64 {more}");
        match Cli::parse_from(line.split_whitespace()).command {
            Command::Train(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_goes_down_saves_and_resumes() {
        let _draws = drawing();
        let folder = Folder::new("vae-digits");
        let run_folder = folder.path("runs/vae/run");
        let never = Interrupt::default();
        run(&options(&folder, "--epochs 2 --latent 2"), &never).unwrap();
        let pictures = [SAMPLES, RECONSTRUCTIONS, MANIFOLD, CURVES];
        for file in [LAST, BEST, RESULTS].iter().chain(&pictures) {
            assert!(run_folder.join(file).exists(), "{file}");
        }
        let again =
            run(&options(&folder, "--epochs 2 --latent 2"), &never).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = run(&options(&folder, "--epochs 4 --resume"), &never).unwrap_err();
        assert_has(&format!("{other:#}"), &["--latent 2, now", "--latent 8"]);

        run(&options(&folder, "--epochs 4 --latent 2 --resume"), &never).unwrap();
        let mut table = Table::new(COLUMNS.map(str::to_owned));
        table.read(&run_folder.join(RESULTS), usize::MAX).unwrap();
        for column in ["loss", "val_loss"] {
            let losses = table.series(column);
            assert_eq!(losses.iter().map(|point| point.0).collect::<Vec<_>>(), [1., 2., 3., 4.]);
            assert!(losses[3].1 < losses[0].1, "{column}: {losses:?}");
        }
        let total = table.last("val_reconstruction").unwrap() + table.last("val_kl").unwrap();
        assert!((table.last("val_loss").unwrap() - total).abs() < 1e-3 * total);

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
        let folder = Folder::new("vae-exact");
        let line = "--epochs 3 --batch 256 --beta-warmup 2 --free-bits 0.1 --reconstruction l1";
        let options = options(&folder, line);
        let data = open(&options).unwrap();
        let part = |name: &str, resume: bool, epochs: std::ops::Range<usize>| {
            let place = folder.path(name);
            let mut run = Run::new(&options, &data, None, place.clone(), resume).unwrap();
            assert_eq!(run.meta.epochs_done, epochs.start);
            assert!(run::epochs(&mut run, epochs, &place, &Interrupt::default()).unwrap());
            weights::read(&place.join(LAST)).unwrap().0
        };
        let whole = part("whole", false, 0..3);
        part("stopped", false, 0..1);
        let stopped = part("stopped", true, 1..3);
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
    fn free_bits_let_information_through_a_heavy_divergence() {
        let _draws = drawing();
        let folder = Folder::new("vae-beta");
        let trained = |name: &str, more: &str| {
            let line = format!("--epochs 8 --batch 32 --latent 4 --beta 50 --ema 0.9 {more}");
            let options = options(&folder, &line);
            let data = open(&options).unwrap();
            let place = folder.path(name);
            let mut run = Run::new(&options, &data, None, place.clone(), false).unwrap();
            run::epochs(&mut run, 0..8, &place, &Interrupt::default()).unwrap();
            ["val_reconstruction", "val_kl"].map(|column| run.table.last(column).unwrap())
        };
        let (heavy, free) = (trained("heavy", ""), trained("free", "--free-bits 0.5"));
        assert!(heavy[1] < 1.0, "{heavy:?}");
        assert!(free[0] < heavy[0], "{heavy:?}, {free:?}");
    }

    #[test]
    fn coloured_images_of_a_folder_train() {
        let _draws = drawing();
        let folder = Folder::new("vae-folder");
        for i in 0..8 {
            folder.image(&format!("data/{i}.png"), 20 + i, 18);
        }
        let data = folder.path("data").display().to_string();
        let line = format!("--data {data} --img 17 --reconstruction mse --epochs 2 --batch 4");
        run(&options(&folder, &line), &Interrupt::default()).unwrap();
        let (_, meta) = weights::read(&folder.path("runs/vae/run").join(BEST)).unwrap();
        assert_eq!((meta.channels, meta.side, meta.convolutions), (3, 17, true));
        assert!(!folder.path("runs/vae/run").join(MANIFOLD).exists());
    }

    #[test]
    fn wrong_options_name_themselves() {
        let _draws = drawing();
        let folder = Folder::new("vae-options");
        for (wrong, named) in [
            ("--img 2", "--img"),
            ("--batch 1", "--batch"),
            ("--epochs 0", "--epochs"),
            ("--latent 0", "--latent"),
            ("--lr=-1", "--lr"),
            ("--beta=-1", "--beta"),
            ("--free-bits nan", "--free-bits"),
            ("--width 0", "--width"),
            ("--device gpu", "--device"),
            ("--data none", "--data none"),
            ("--name a/b", "--name"),
        ] {
            let error = run(&options(&folder, wrong), &Interrupt::default()).unwrap_err();
            assert_has(&format!("{error:#}"), &[named]);
        }
        assert!(!folder.path("runs").exists());
    }
}
