//! The training loop.

use crate::{
    data::Data,
    model::{Discriminators, Generators},
    options::Train,
    report::{self, Distances},
    weights::{self, Meta},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    interrupt::Interrupt,
    pixels,
    progress::{Progress, clock},
    rng::seeded,
    run::{self, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{Adversary, Averaged, cosine},
};
use rand::Rng as _;
use std::{path::PathBuf, time::Instant};
use tch::{Device, Tensor, no_grad};
use tch_losses::{
    LossParts,
    adversarial::{CycleBatch, CycleGanLoss, ImagePool},
};

/// Updates over which the moving average forgets the beginning.
const EMA_RAMP: f64 = 50.0;
/// Steps of warm-up.
const WARM_UP: usize = 20;
/// Adam's, of CycleGAN.
const BETAS: (f64, f64) = (0.5, 0.999);
/// Greatest norm of the gradient.
const CLIP: f64 = 100.0;
/// Images of so few pixels a side are computed faster by one thread than shared out to several.
const SMALL: u32 = 24;

pub fn run(options: &Train, interrupt: &Interrupt) -> Result<()> {
    options.check()?;
    let device = options.run.device()?;
    // A loss that does not exist is told before any folder is touched.
    let loss = options.loss()?;
    if let Some(threads) = options.threads.or((options.shape().side < SMALL).then_some(1)) {
        tch::set_num_threads(threads.min(1024) as i32);
    }
    let data = open(options, device)?;
    println!("{}", data.summary());
    let place = (options.run.folder("cyclegan")?, options.run.resume);
    Run::new(options, &data, loss, place, device)?.train(interrupt)
}

fn open(options: &Train, device: Device) -> Result<Data> {
    let (side, fliplr) = (options.shape().side, options.fliplr());
    match options.folders() {
        None => Ok(Data::builtin(options.pair, side, fliplr, device)),
        Some((a, b)) => {
            Data::folders([("a", a), ("b", b)], side, fliplr, options.skip_unreadable, device)
        }
    }
}

/// Everything that changes while training.
pub struct Run<'a> {
    options: &'a Train,
    data: &'a Data,
    device: Device,
    folder: PathBuf,
    generators: Averaged<Generators>,
    discriminators: Adversary<Discriminators>,
    /// Of generated images of A and of B.
    pools: [ImagePool; 2],
    loss: CycleGanLoss,
    needs_real: bool,
    meta: Meta,
    table: Table,
}

/// The names of the pools in a checkpoint.
const POOLS: [&str; 2] = ["pool_a", "pool_b"];

impl<'a> Run<'a> {
    fn new(
        options: &'a Train,
        data: &'a Data,
        loss: CycleGanLoss,
        (folder, resume): (PathBuf, bool),
        device: Device,
    ) -> Result<Self> {
        let seed = options.run.seed;
        let (epochs, batch) = (options.epochs(), options.batch());
        let meta = Meta {
            shape: options.shape(),
            epochs_done: 0,
            epochs,
            ema_updates: 0,
            pools: [(0, 0); 2],
            options: format!(
                "--epochs {epochs} --batch {batch} --gan \"{}\" --lambda-a {} --lambda-b {} --identity {}",
                options.gan,
                options.lambda_a,
                options.lambda_b,
                options.identity()
            ),
        };
        tch::manual_seed(seed as i64);
        let generators = Averaged::new(|| meta.generators(device), options.ema, EMA_RAMP, 0.0);
        let mut run = Run {
            options,
            data,
            device,
            folder,
            generators: generators.betas(BETAS.0, BETAS.1),
            discriminators: Adversary::new(meta.discriminators(device), BETAS),
            pools: [0, 1].map(|kind| ImagePool::new(options.pool, seeded(&[seed, kind]).random())),
            loss,
            needs_real: options.needs_real()?,
            meta,
            table: Table::new(report::COLUMNS.map(str::to_owned)),
        };
        if resume {
            run.resume()?;
        }
        println!(
            "{}: {} weights of generators, {} of discriminators, on {device:?}",
            run.folder.display(),
            run.generators.weights(),
            run.discriminators.weights(),
        );
        Ok(run)
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let (checkpoint, meta) = weights::read(&path)?;
        let mut load = || -> Result<()> {
            ensure!(
                meta.shape == self.meta.shape,
                "it was trained with --img {} --width {}",
                meta.shape.side,
                meta.shape.width
            );
            self.generators.restore(&checkpoint, meta.ema_updates)?;
            self.discriminators.restore("discriminators", &checkpoint)?;
            for (kind, (state, kept)) in meta.pools.into_iter().enumerate() {
                let images = if kept == 0 { Vec::new() } else { checkpoint.group(POOLS[kind])? };
                let images = images
                    .into_iter()
                    .flat_map(|(_, images)| images.to_device(self.device).unbind(0));
                self.pools[kind] = ImagePool::restore(self.options.pool, state, images.collect());
            }
            Ok(())
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

    /// Trains to the end, or until the user asks to stop.
    fn train(mut self, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        let (done, epochs) = (self.meta.epochs_done, self.meta.epochs);
        let folder = self.folder.clone();
        let untranslated =
            self.data.truth.as_ref().map(|truth| {
                [0, 1].map(|kind| report::distance(&self.data.shown[kind], &truth[kind]))
            });
        if !run::epochs(&mut self, done..epochs, &folder, interrupt)? {
            return Ok(());
        }
        let picture = folder.join("samples.png");
        let Distances { cycles: [a, b], truth } =
            report::look(&self.generators.average, self.data, Some(&picture))?;
        println!("mean absolute difference, of values from 0 to 1");
        println!("A to B to A from A {a:.4}, B to A to B from B {b:.4}");
        if let (Some([a, b]), Some([to_b, to_a])) = (untranslated, truth) {
            println!(
                "from the true image of the other kind, which training does not see: A to B {to_b:.4} \
                 (untranslated {a:.4}), B to A {to_a:.4} (untranslated {b:.4})"
            );
        }
        println!(
            "{epochs} epochs in {}\nin {}: {LAST}, {RESULTS}, {CURVES}, samples.png, samples-EPOCH.png",
            clock(started.elapsed()),
            folder.display()
        );
        Ok(())
    }

    /// One step of the generators, then one of the discriminators; the generators' losses and the
    /// discriminators'.
    fn step(&mut self, [a, b]: [&Tensor; 2], rates: [f64; 2]) -> Result<(LossParts, f64)> {
        let Generators { to_b, to_a } = &self.generators.net;
        let (fake_b, fake_a) = (to_b.forward(a), to_a.forward(b));
        let cycled = [to_a.forward(&fake_b), to_b.forward(&fake_a)];
        let same = (self.options.identity() > 0.0).then(|| [to_a.forward(a), to_b.forward(b)]);
        let needs_real = self.needs_real;
        let (fake_scores, real_scores) = self.discriminators.frozen(|net| {
            let scores = |a, b| [net.of_a.forward(a), net.of_b.forward(b)];
            (scores(&fake_a, &fake_b), needs_real.then(|| no_grad(|| scores(a, b))))
        });
        let parts = self.loss.f_forward(&CycleBatch {
            real: [a, b],
            cycled: cycled.each_ref(),
            same: same.as_ref().map(|same| same.each_ref()),
            fake_scores: fake_scores.each_ref(),
            real_scores: real_scores.as_ref().map(|scores| scores.each_ref()),
        })?;
        self.generators.step(&parts.total, rates[0], CLIP);

        let pooled_a = self.pools[0].f_query(&fake_a)?;
        let pooled_b = self.pools[1].f_query(&fake_b)?;
        let Discriminators { of_a, of_b } = &self.discriminators.net;
        let loss_a = self.loss.f_discriminator(&of_a.forward(a), &of_a.forward(&pooled_a))?;
        let loss_b = self.loss.f_discriminator(&of_b.forward(b), &of_b.forward(&pooled_b))?;
        let loss = loss_a + loss_b;
        self.discriminators.step(&loss, rates[1], CLIP);
        Ok((parts, loss.double_value(&[])))
    }

    /// One epoch; none if the user asked to stop.
    fn steps(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<[Option<f64>; 11]>> {
        let options = self.options;
        let batch = options.batch();
        let batches = self.data.batches([options.run.seed, epoch as u64], batch, options.workers);
        let steps = batches.len();
        progress.epoch(epoch + 1, steps);
        let started = Instant::now();
        let (mut sums, mut done, mut rates) = ([0.0; 5], 0.0, [0.0; 2]);
        for (i, images) in batches.enumerate() {
            let (step, last) = (epoch * steps + i, self.meta.epochs * steps);
            rates = [options.lr(), options.critic_lr()]
                .map(|peak| cosine(peak, options.lr_last, WARM_UP, step, last));
            let [a, b] = images.map(|images| pixels::to_tensor(&images, self.device));
            let (parts, discriminator) = self.step([&a, &b], rates)?;
            let of = |name: &str| -> f64 {
                let of_both = parts.named.iter().filter(|(part, _)| part.starts_with(name));
                of_both.map(|(_, value)| value.double_value(&[])).sum()
            };
            let total = parts.total.double_value(&[]);
            let values = [total, of("gan"), of("cycle"), of("identity"), discriminator];
            run::check_finite(&values, epoch, i, &self.folder)?;
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
            done += 1.0;
            let speed = done * batch as f64 / started.elapsed().as_secs_f64();
            let [loss, gan, cycle, _, discriminator] = sums.map(|sum| sum / done);
            progress.batch(
                i + 1,
                &format!(
                    "loss {loss:.3}  gan {gan:.3}  cycle {cycle:.3}  discriminators \
                     {discriminator:.3}  {speed:.0} images/s"
                ),
            );
            if interrupt.requested() {
                return Ok(None);
            }
        }
        let mut row = [None; 11];
        for (place, sum) in row.iter_mut().zip(sums) {
            *place = Some(sum / done);
        }
        if options.identity() == 0.0 {
            row[3] = None;
        }
        row[5] = Some(rates[0]);
        row[6] = Some(done * batch as f64 / started.elapsed().as_secs_f64());
        Ok(Some(row))
    }
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
        let due = (epoch + 1).is_multiple_of(self.options.samples_every);
        let picture = self.folder.join(format!("samples-{:03}.png", epoch + 1));
        let Distances { cycles, truth } =
            report::look(&self.generators.average, self.data, due.then_some(&picture))?;
        row[7..9].copy_from_slice(&cycles.map(Some));
        row[9..].copy_from_slice(&truth.map_or([None; 2], |truth| truth.map(Some)));
        let truth = truth.map_or(String::new(), |[to_b, to_a]| {
            format!("  from the truth: A to B {to_b:.4}  B to A {to_a:.4}")
        });
        let [loss, gan, cycle] = [0, 1, 2].map(|at: usize| row[at].unwrap_or(0.0));
        progress.line(&format!(
            "epoch {:3}/{}  loss {loss:.3}  gan {gan:.3}  cycle {cycle:.3}  discriminators {:.3}{truth}  \
             {:.0} images/s",
            epoch + 1,
            self.meta.epochs,
            row[4].unwrap_or(0.0),
            row[6].unwrap_or(0.0)
        ));
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        report::curves(&self.folder.join(CURVES), &self.options.run.name, &self.table)?;
        Ok(true)
    }

    fn save(&mut self) -> Result<()> {
        self.meta.ema_updates = self.generators.updates();
        self.meta.pools = self.pools.each_ref().map(|pool| (pool.state(), pool.len()));
        let last = self.generators.to_go_on(serde_json::to_string(&self.meta)?);
        let mut last = self.discriminators.save("discriminators", last);
        for (name, pool) in POOLS.into_iter().zip(&self.pools) {
            if !pool.is_empty() {
                last =
                    last.with(name, vec![("images".to_owned(), Tensor::stack(pool.images(), 0))]);
            }
        }
        last.save(&self.folder.join(LAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        options::{Cli, Command},
        translate,
    };
    use clap::Parser;
    use examples_support::{
        testing::{Folder, assert_has, drawing, drawing_alone},
        train::Checkpoint,
    };
    use image::{Rgb, RgbImage};
    use std::path::Path;

    fn cli(line: &str) -> Command {
        Cli::parse_from(line.split_whitespace()).command
    }

    fn options(folder: &Folder, more: &str) -> Train {
        let runs = folder.path("runs").display().to_string();
        match cli(&format!("cyclegan train --runs {runs} --device cpu --width 2 {more}")) {
            Command::Train(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn go(folder: &Folder, more: &str) -> Result<()> {
        run(&options(folder, more), &Interrupt::default())
    }

    fn table(run: &Path) -> Table {
        let mut table = Table::new(report::COLUMNS.map(str::to_owned));
        table.read(&run.join(RESULTS), usize::MAX).unwrap();
        table
    }

    /// Dark and bright images of some sizes.
    fn shades(folder: &Folder) -> String {
        for (kind, value) in [("a", 40), ("b", 210)] {
            for i in 0..6u8 {
                let image = RgbImage::from_fn(16 + u32::from(i), 12, |x, y| {
                    Rgb([value + (x % 4) as u8, value + 4 * i, value + (y % 5) as u8])
                });
                image.save(folder.place(&format!("{kind}/{i}.png"))).unwrap();
            }
        }
        format!(
            "--a {} --b {} --img 8 --batch 2",
            folder.path("a").display(),
            folder.path("b").display()
        )
    }

    #[test]
    fn a_run_of_folders_goes_down_saves_resumes_and_translates() {
        let _draws = drawing();
        let folder = Folder::new("cyclegan-run");
        let line = shades(&folder) + " --lr 2e-3 --ema 0.9";
        let run_folder = folder.path("runs/cyclegan/run");
        go(&folder, &format!("{line} --epochs 2")).unwrap();
        for file in [LAST, RESULTS, CURVES, "samples.png", "samples-001.png", "samples-002.png"] {
            assert!(run_folder.join(file).exists(), "{file}");
        }
        let again = go(&folder, &line).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = go(&folder, &format!("{line} --epochs 40 --resume --width 3")).unwrap_err();
        assert_has(&format!("{other:#}"), &["--width 2"]);

        go(&folder, &format!("{line} --epochs 40 --resume --samples-every 50")).unwrap();
        let table = table(&run_folder);
        let cycles = table.series("cycle");
        assert_eq!(cycles.len(), 40);
        assert!(cycles[39].1 < 0.7 * cycles[0].1, "{cycles:?}");
        assert_eq!(table.last("to_b"), None);

        let weights = run_folder.join(LAST).display().to_string();
        let out = folder.path("out");
        let translate = |more: &str| {
            let (a, out) = (folder.path("a").display().to_string(), out.display());
            let line = format!(
                "cyclegan translate --device cpu --weights {weights} --out {out} {a} {more}"
            );
            match cli(&line) {
                Command::Translate(options) => translate::run(&options),
                other => panic!("{other:?}"),
            }
        };
        translate("--to b --full").unwrap();
        let image = image::open(out.join("5.png")).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (21, 12));
        folder.text("a/broken.png", "no image");
        let error = translate("--to a").unwrap_err().to_string();
        assert_has(&error, &["1 images could not be read", "broken.png"]);
        assert_eq!(image::open(out.join("5.png")).unwrap().to_rgb8().dimensions(), (8, 8));
    }

    #[test]
    fn resuming_is_as_good_as_never_stopping() {
        let _draws = drawing_alone();
        for gan in ["lsgan_cyclegan", "relativistic"] {
            let folder = Folder::new("cyclegan-exact");
            let line = shades(&folder) + &format!(" --epochs 3 --pool 4 --gan {gan}");
            let options = options(&folder, &line);
            let data = open(&options, Device::Cpu).unwrap();
            let part = |name: &str, resume: bool, epochs: std::ops::Range<usize>| {
                let (loss, place) = (options.loss().unwrap(), (folder.path(name), resume));
                let mut run = Run::new(&options, &data, loss, place, Device::Cpu).unwrap();
                assert_eq!(run.meta.epochs_done, epochs.start);
                run::epochs(&mut run, epochs, &folder.path(name), &Interrupt::default()).unwrap();
                weights::read(&folder.path(name).join(LAST)).unwrap()
            };
            let (whole, meta) = part("whole", false, 0..3);
            part("stopped", false, 0..1);
            let (stopped, stopped_meta) = part("stopped", true, 1..3);
            assert_eq!(meta.pools, stopped_meta.pools);
            assert_eq!(meta.pools[0].1, 4);
            let groups = [
                "model",
                "ema",
                "optimiser",
                "discriminators",
                "discriminators_optimiser",
                "pool_a",
                "pool_b",
            ];
            for group in groups {
                let sorted = |checkpoint: &Checkpoint| {
                    let mut tensors = checkpoint.group(group).unwrap();
                    tensors.sort_by(|a, b| a.0.cmp(&b.0));
                    tensors
                };
                for ((name, a), (_, b)) in sorted(&whole).into_iter().zip(sorted(&stopped)) {
                    assert_eq!(a, b, "{gan}: {group}/{name}");
                }
            }
        }
    }

    #[test]
    fn wrong_options_name_themselves() {
        let _draws = drawing();
        let folder = Folder::new("cyclegan-options");
        folder.text("empty/x.txt", "");
        let empty = folder.path("empty").display().to_string();
        for (wrong, named) in [
            ("--img 18", "--img"),
            ("--img 4", "--img"),
            ("--batch 0", "--batch"),
            ("--epochs 0", "--epochs"),
            ("--lr 0", "--lr"),
            ("--lambda-a nan", "--lambda-a"),
            ("--identity=-1", "--identity"),
            ("--fliplr 2", "--fliplr"),
            ("--device gpu", "--device"),
            ("--gan hinj", "did you mean hinge_gan"),
            ("--gan hinge+wgan", "--gan \"hinge+wgan\""),
            ("--gan wgan(reduction=none)", "--gan"),
            ("--name a/b", "--name"),
            ("--a none --b none", "--a: cannot list none"),
            (&format!("--a {empty} --b none"), "--a: no .jpg, .jpeg or .png"),
        ] {
            let error = go(&folder, wrong).unwrap_err();
            assert_has(&format!("{error:#}"), &[named]);
        }
        assert!(!folder.path("runs").exists());
        let translate = "cyclegan translate --weights none.safetensors --device cpu x.png";
        let Command::Translate(options) = cli(translate) else { panic!() };
        assert_has(&format!("{:#}", translate::run(&options).unwrap_err()), &["none.safetensors"]);
    }
}
