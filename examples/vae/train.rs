//! The training loop.

use crate::{
    judge::Judge,
    model::{Vae, drawn},
    options::Train,
    report::{self, COLUMNS},
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
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
        let (epochs, folder) = (self.meta.epochs, self.folder.clone());
        if !run::epochs(&mut self, self.meta.epochs_done..epochs, &folder, interrupt)? {
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
        if let (Some(frechet), Some(judge)) = (self.table.last("frechet"), self.judge) {
            println!(
                "Fréchet distance of samples {frechet:.1} ({:.1} for held-out images, {:.0} for noise)",
                judge.held_out.frechet, judge.noise.frechet
            );
        }
        let plane = if self.meta.latent == 2 { format!(", {MANIFOLD}") } else { String::new() };
        println!(
            "{epochs} epochs in {}\nin {}: {BEST}, {LAST}, {RESULTS}, {CURVES}, {RECONSTRUCTIONS}, \
             {SAMPLES}{plane}",
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

    /// What the loss compares: logits for the cross entropy, else numbers in [0, 1].
    fn output(&self, logits: &Tensor) -> Tensor {
        match self.options.reconstruction {
            crate::options::Compared::Bce => logits.shallow_clone(),
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

        let samples: Vec<Tensor> =
            self.noise.split(500, 0).iter().map(|noise| net.images(noise)).collect();
        let samples = Tensor::cat(&samples, 0);
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
        if epoch + 1 == self.meta.epochs || (epoch + 1) % self.options.eval_every == 0 {
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
