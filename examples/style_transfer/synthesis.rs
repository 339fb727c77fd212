//! The picture, step by step.

use crate::{
    lbfgs::Lbfgs,
    objective::{Losses, Objective},
    options::{Method, Options},
    pictures::Pictures,
    report,
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    files,
    interrupt::Interrupt,
    pixels, png,
    progress::{Progress, clock},
    run::{self, CURVES, LAST, RESULTS, Trainer},
    table::Table,
    train::{AdamW, Checkpoint, copy_into, named},
};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tch::{Tensor, nn::VarStore, no_grad};

/// The result so far.
pub const PICTURE: &str = "picture.png";

pub fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    options.check()?;
    let device = options.run.device()?;
    if let Some(threads) = options.threads {
        tch::set_num_threads(threads as i32);
    }
    // What can be wrong is said before any folder is touched.
    let pictures = Pictures::open(options, device)?;
    let objective = Objective::new(options, &pictures, device)?;
    let folder = options.run.folder("style_transfer")?;
    Synthesis::new(options, pictures, objective, folder)?.run(interrupt)
}

/// Saved as text beside the picture and the optimiser.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Meta {
    steps_done: usize,
    every: usize,
    /// What a run that goes on should have in common, as text.
    options: String,
}

#[derive(Debug)]
enum Optimiser {
    Lbfgs(Lbfgs),
    Adam(AdamW),
}

/// Everything that changes.
struct Synthesis {
    options: Options,
    objective: Objective,
    /// Style and content, to show.
    ends: Vec<(RgbImage, String)>,
    folder: PathBuf,
    vs: VarStore,
    picture: Tensor,
    optimiser: Optimiser,
    meta: Meta,
    table: Table,
    /// No step is left that makes the loss less.
    ended: bool,
}

impl Synthesis {
    fn new(
        options: &Options,
        pictures: Pictures,
        objective: Objective,
        folder: PathBuf,
    ) -> Result<Self> {
        let begin = pictures.begin(options.init(), options.run.seed);
        let vs = VarStore::new(begin.device());
        let picture = vs.root().var_copy("pixels", &begin);
        let optimiser = match options.optimiser {
            Method::Lbfgs => Optimiser::Lbfgs(Lbfgs::default()),
            Method::Adam => Optimiser::Adam(AdamW::new(&vs, 0.0)),
        };
        let mut ends = vec![(image(&pictures.style)?, "style".to_owned())];
        if let Some(content) = &pictures.content {
            ends.push((image(content)?, "content".to_owned()));
        }
        let Options { content_weight, style_weight, tv_weight, every, channels, .. } = *options;
        let meta = Meta {
            steps_done: 0,
            every,
            options: format!(
                "--style {} --content {} {} --channels {channels} --content-weight {content_weight} \
                 --style-weight {style_weight} --tv-weight {tv_weight}",
                options.style,
                options.content.as_deref().unwrap_or("none"),
                objective.summary
            ),
        };
        let mut synthesis = Synthesis {
            options: options.clone(),
            objective,
            ends,
            folder,
            vs,
            picture,
            optimiser,
            meta,
            table: Table::new(report::COLUMNS.map(str::to_owned)),
            ended: false,
        };
        if options.run.resume {
            synthesis.resume()?;
        } else {
            synthesis.shoot()?;
        }
        let size = synthesis.picture.size();
        println!(
            "{}: {} x {} pixels, on {:?}\n{}",
            synthesis.folder.display(),
            size[3],
            size[2],
            synthesis.picture.device(),
            synthesis.objective.summary
        );
        Ok(synthesis)
    }

    fn resume(&mut self) -> Result<()> {
        let path = self.folder.join(LAST);
        let mut load = || -> Result<Meta> {
            let checkpoint = Checkpoint::load(&path)?;
            let meta: Meta = serde_json::from_str(&checkpoint.text)
                .context("it is no checkpoint of this example")?;
            ensure!(meta.every == self.meta.every, "it was made with --every {}", meta.every);
            copy_into(&mut named(&self.vs), &checkpoint.group("picture")?)?;
            let state = checkpoint.group("optimiser")?;
            match &mut self.optimiser {
                Optimiser::Lbfgs(lbfgs) => lbfgs.load(&state, &self.picture)?,
                Optimiser::Adam(adam) => adam.load(&state).context("--optimiser adam")?,
            }
            Ok(meta)
        };
        let meta = load().with_context(|| format!("cannot go on from {}", path.display()))?;
        if meta.options != self.meta.options {
            println!("note: the run began with {}, now {}", meta.options, self.meta.options);
        }
        self.meta.steps_done = meta.steps_done;
        let epochs = meta.steps_done / meta.every;
        if epochs > 0 {
            self.table.read(&self.folder.join(RESULTS), epochs)?;
        }
        println!("going on after step {}", meta.steps_done);
        Ok(())
    }

    fn run(mut self, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        let (done, every) = (self.meta.steps_done, self.options.every);
        let (epochs, folder) = (self.options.steps.div_ceil(every), self.folder.clone());
        if !run::epochs(&mut self, done / every..epochs, &folder, interrupt)? {
            return Ok(());
        }
        let losses = self.objective.losses(&self.picture)?;
        println!(
            "{} steps in {}; {}\nin {}: {PICTURE}, {}, {LAST}, {RESULTS}, {CURVES}",
            self.meta.steps_done - done,
            clock(started.elapsed()),
            told(&losses),
            folder.display(),
            report::STRIP,
        );
        Ok(())
    }

    /// One step; false where none is left that makes the loss less.
    fn step(&mut self) -> Result<(Losses, bool)> {
        let mut seen = None;
        let objective = &self.objective;
        let moved = match &mut self.optimiser {
            Optimiser::Lbfgs(lbfgs) => {
                let evaluate = |x: &Tensor| -> Result<(f64, Tensor)> {
                    let losses = objective.losses(x)?;
                    let gradient =
                        Tensor::run_backward(&[&losses.total], &[x], false, false).remove(0);
                    let total = losses.total.double_value(&[]);
                    seen = Some(losses);
                    Ok((total, gradient))
                };
                lbfgs.step(&mut self.picture, evaluate)?.is_some()
            }
            Optimiser::Adam(adam) => {
                let losses = objective.losses(&self.picture)?;
                adam.backward_step_clipped(&losses.total, self.options.lr, f64::INFINITY);
                let _ = no_grad(|| self.picture.clamp_(-1.0, 1.0));
                seen = Some(losses);
                true
            }
        };
        let losses = match seen {
            Some(losses) => losses,
            None => objective.losses(&self.picture)?,
        };
        Ok((Losses { total: losses.total.detach(), ..losses }, moved))
    }

    /// Writes the picture of this step for the strip.
    fn shoot(&self) -> Result<()> {
        let path = self.folder.join(report::shot(self.meta.steps_done));
        files::write(&path, &png(&image(&self.picture)?)?)
    }
}

impl Trainer for Synthesis {
    fn epoch(
        &mut self,
        epoch: usize,
        progress: &mut Progress,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        if self.ended {
            return Ok(true);
        }
        let Options { every, steps, .. } = self.options;
        let end = steps.min((epoch + 1) * every);
        let begin = self.meta.steps_done;
        progress.epoch(epoch + 1, end.saturating_sub(epoch * every));
        let started = Instant::now();
        let mut last = None;
        while self.meta.steps_done < end && !self.ended {
            let (losses, moved) = self.step()?;
            let total = losses.total.double_value(&[]);
            run::check_finite(&[total], epoch, self.meta.steps_done, &self.folder)?;
            self.ended = !moved;
            self.meta.steps_done += usize::from(moved);
            let pace =
                started.elapsed().as_secs_f64() / (self.meta.steps_done - begin).max(1) as f64;
            progress.batch(
                self.meta.steps_done - epoch * every,
                &format!("{}  {pace:.2} s/step", told(&losses)),
            );
            last = Some((losses, total, pace));
            if interrupt.requested() && self.meta.steps_done < end {
                return Ok(false);
            }
        }
        let Some((losses, total, pace)) = last else { return Ok(true) };
        let done = self.meta.steps_done;
        progress.line(&format!("step {done:5}/{steps}  {}  {pace:.2} s/step", told(&losses)));
        if self.ended {
            progress.line("no step makes the loss less any more");
        }
        self.shoot()?;
        let row = [
            Some(done as f64),
            Some(total),
            losses.content,
            Some(losses.style),
            Some(losses.tv),
            Some(pace),
        ];
        self.table.push(epoch + 1, row);
        self.table.write(&self.folder.join(RESULTS))?;
        report::curves(&self.folder.join(CURVES), &self.options.run.name, &self.table)?;
        report::strip(&self.folder, done, every, &self.ends)?;
        Ok(done == steps || !interrupt.requested())
    }

    fn save(&mut self) -> Result<()> {
        files::write(&self.folder.join(PICTURE), &png(&image(&self.picture)?)?)?;
        let state = match &self.optimiser {
            Optimiser::Lbfgs(lbfgs) => lbfgs.state(),
            Optimiser::Adam(adam) => adam.state(),
        };
        Checkpoint::new(serde_json::to_string(&self.meta)?)
            .with("picture", named(&self.vs))
            .with("optimiser", state)
            .save(&self.folder.join(LAST))
    }

    fn stopped(&self, _: usize, folder: &Path) -> String {
        format!(
            "stopped after step {} of {}; {PICTURE} and {LAST} are saved in {}, --resume goes on from there",
            self.meta.steps_done,
            self.options.steps,
            folder.display()
        )
    }
}

fn image(picture: &Tensor) -> Result<RgbImage> {
    pixels::to_images(picture)?.pop().context("one picture")
}

/// `style 0.0123  content 0.456`
fn told(losses: &Losses) -> String {
    let content = losses.content.map_or(String::new(), |content| format!("  content {content:.4}"));
    format!("style {:.2e}{content}", losses.style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use examples_support::testing::{Folder, assert_has};
    use tch::{Device, nn::VarStore};
    use tch_losses::perceptual::{ImageRange, Vgg, VggKind};

    fn options(folder: &Folder, more: &str) -> Options {
        let runs = folder.path("runs").display().to_string();
        let line = format!(
            "style_transfer --runs {runs} --device cpu --img 32 --every 3 --channels 4 {more}"
        );
        Options::parse_from(line.split_whitespace())
    }

    const SMALL: &str = "--layers filters3,filters7";

    fn losses(folder: &Path) -> Vec<f64> {
        let mut table = Table::new(report::COLUMNS.map(str::to_owned));
        table.read(&folder.join(RESULTS), usize::MAX).unwrap();
        table.series("loss").into_iter().map(|point| point.1).collect()
    }

    #[test]
    fn a_texture_comes_nearer_and_a_stopped_run_ends_in_the_same_picture() {
        let folder = Folder::new("texture");
        let never = Interrupt::default();
        for optimiser in ["lbfgs", "adam"] {
            let begin =
                |more: &str| options(&folder, &format!("{SMALL} --optimiser {optimiser} {more}"));
            let whole = format!("--name {optimiser}-whole");
            run(&begin(&format!("{whole} --steps 9")), &never).unwrap();
            let place = folder.path(&format!("runs/style_transfer/{optimiser}-whole"));
            let went = losses(&place);
            assert!(went.len() == 3 && went[2] < went[0] && went[1] < went[0], "{went:?}");
            for file in [PICTURE, LAST, CURVES, report::STRIP, "step-00000.png", "step-00009.png"] {
                assert!(place.join(file).exists(), "{file}");
            }

            // Stopped after a step of the first epoch, then after the second.
            let parts = format!("--name {optimiser}-parts");
            let stop = Interrupt::default();
            stop.request();
            run(&begin(&format!("{parts} --steps 9")), &stop).unwrap();
            let place = folder.path(&format!("runs/style_transfer/{optimiser}-parts"));
            assert!(place.join(PICTURE).exists() && !place.join(RESULTS).exists());
            run(&begin(&format!("{parts} --steps 6 --resume")), &never).unwrap();
            run(&begin(&format!("{parts} --steps 9 --resume")), &never).unwrap();
            assert_eq!(losses(&place), went);
            let bytes = |name: &str| {
                std::fs::read(folder.path(&format!("runs/style_transfer/{name}/{PICTURE}")))
                    .unwrap()
            };
            let same = bytes(&format!("{optimiser}-whole")) == bytes(&format!("{optimiser}-parts"));
            assert!(same, "{optimiser}");
        }
        let again = run(&options(&folder, "--name adam-parts"), &never).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        let other = run(&options(&folder, "--name adam-parts --resume"), &never).unwrap_err();
        assert_has(&format!("{other:#}"), &["cannot go on from", "not lbfgs"]);
    }

    #[test]
    fn content_is_kept_with_a_trained_network_too() {
        let folder = Folder::new("transfer");
        let vs = VarStore::new(Device::Cpu);
        tch::manual_seed(0);
        let layers = ["relu2_1"];
        drop(Vgg::f_new(&vs.root(), VggKind::Vgg19, &layers, ImageRange::Unit).unwrap());
        let weights = folder.path("vgg19.safetensors");
        vs.save(&weights).unwrap();
        let line = format!(
            "--content chelsea-1 --weights {} --layers relu1_1,conv2_1 --steps 4 --tv-weight 0.01",
            weights.display()
        );
        let never = Interrupt::default();
        let lacking = run(&options(&folder, &line), &never).unwrap_err();
        assert_has(&format!("{lacking:#}"), &["--weights", "vgg19.safetensors", "lacks"]);
        assert!(!folder.path("runs").exists());
        let line = format!("{line} --content-layers relu2_1 --init noise");
        run(&options(&folder, &line), &never).unwrap();
        let went = losses(&folder.path("runs/style_transfer/run"));
        assert!(went.len() == 2 && went[1] < went[0], "{went:?}");
    }

    #[test]
    fn wrong_options_name_themselves() {
        let folder = Folder::new("wrong");
        folder.text("text.png", "no picture");
        let text = folder.path("text.png").display().to_string();
        for (wrong, named) in [
            ("--style none.png", &["--style none.png: no such file", "gravel-1"][..]),
            ("--content none", &["--content none: no such file", "chelsea-1"]),
            (&format!("--content {text}"), &["--content", "cannot decode", "text.png"]),
            ("--layers filters4", &["--layers: there is no layer `filters4`", "filters55"]),
            (
                "--content chelsea-1 --content-layers x",
                &["--content-layers: there is no layer `x`"],
            ),
            ("--content-layers filters3", &["--content-layers: there is no --content"]),
            ("--weights none --layers relu9_1", &["no layer `relu9_1`", "conv1_1", "pool5"]),
            ("--weights none", &["--weights", "none: there is no such file", "export_weights.py"]),
            ("--init content", &["--init content: there is no --content"]),
            ("--img 10", &["--style", "H and W above 11"]),
            ("--img 4", &["--img"]),
            ("--steps 0", &["--steps"]),
            ("--every 0", &["--every"]),
            ("--channels 0", &["--channels"]),
            ("--style-weight=-1", &["--style-weight"]),
            ("--tv-weight nan", &["--tv-weight"]),
            ("--lr 0", &["--lr"]),
            ("--device gpu", &["--device"]),
            ("--name a/b", &["--name"]),
        ] {
            let error = run(&options(&folder, wrong), &Interrupt::default()).unwrap_err();
            assert_has(&format!("{error:#}"), named);
        }
        assert!(!folder.path("runs").exists());
    }
}
