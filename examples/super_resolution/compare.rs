//! The same training with each loss, side by side.

use crate::{
    data::{Data, Photo},
    measure::{self, Lpips, Scores},
    model::{enlarge, shrink},
    objective::Objective,
    options::Train,
    train::{Run, Trained},
};
use anyhow::{Context, Result, ensure};
use examples_support::{
    draw, files,
    interrupt::Interrupt,
    pixels,
    plot::{self, Lines, Panel},
    png,
    progress::clock,
    rng::seeded,
    run::CURVES,
};
use image::{RgbImage, imageops};
use std::{fmt::Write, path::Path, time::Instant};
use tch::{Tensor, no_grad};

const PICTURE: &str = "compare.png";
const TABLE: &str = "compare.csv";
/// Photographs shown, the side of what is shown of each, and of a cell of the picture.
const SHOWN: usize = 4;
const PART: i64 = 112;
const CELL: u32 = 224;
/// Crops by which the layers of the perceptual loss are weighed.
const WEIGHED: u64 = u64::MAX;

pub fn run(options: &Train, interrupt: &Interrupt) -> Result<()> {
    options.check()?;
    let started = Instant::now();
    let device = options.run.device()?;
    if let Some(threads) = options.threads {
        tch::set_num_threads(threads as i32);
    }
    // What can be wrong is said before the first is trained.
    let data = Data::open(options, device)?;
    let lpips = Lpips::open(options.lpips.as_deref(), device)?;
    let crops = data.batch(options, &mut seeded(&[options.run.seed, WEIGHED]));
    let mut begun = Vec::new();
    for &goal in &options.losses {
        ensure!(
            begun.iter().all(|(other, _)| *other != goal),
            "--losses: {} is there twice",
            goal.name()
        );
        begun.push((goal, Objective::new(goal, options, &crops, device)?));
    }
    println!(
        "{} photographs to train with, {} held out",
        data.training.len(),
        data.validation.len()
    );
    let bicubic = measure::of_bicubic(&data.validation, options.scale, &lpips)?;
    let mut all = Vec::new();
    for (goal, objective) in begun {
        let place = options.run.part("super_resolution", goal.name())?;
        let run = Run::new(options, &data, &lpips, (goal, objective), place, device)?;
        let Some(trained) = run.train(interrupt)? else { return Ok(()) };
        all.push(trained);
    }
    let folder = options.run.runs.join("super_resolution").join(&options.run.name);
    files::write(&folder.join(TABLE), table(bicubic, &all, true).as_bytes())?;
    curves(&folder.join(CURVES), &all)?;
    picture(&folder.join(PICTURE), options, &data.validation, &all)?;
    println!(
        "\n{}\n{} in {}: {PICTURE}, {TABLE}, {CURVES}",
        table(bicubic, &all, false),
        clock(started.elapsed()),
        folder.display()
    );
    Ok(())
}

/// The scores of the held-out photographs, a row for each way to enlarge.
fn table(bicubic: Scores, all: &[Trained], csv: bool) -> String {
    let mut text = match csv {
        true => "method,psnr,ssim,sharpness,lpips\n".to_owned(),
        false => "method       PSNR    SSIM  sharpness   LPIPS\n".to_owned(),
    };
    let rows = all.iter().map(|trained| (trained.goal.name(), trained.scores));
    for (name, Scores { psnr, ssim, sharpness, lpips }) in
        std::iter::once(("bicubic", bicubic)).chain(rows)
    {
        let _ = match csv {
            true => {
                let lpips = lpips.map_or(String::new(), |lpips| format!("{lpips:.5}"));
                writeln!(text, "{name},{psnr:.4},{ssim:.5},{sharpness:.4},{lpips}")
            }
            false => {
                let lpips = lpips.map_or("-".to_owned(), |lpips| format!("{lpips:.4}"));
                writeln!(text, "{name:10}  {psnr:5.2}  {ssim:.4}  {sharpness:9.3}  {lpips:>6}")
            }
        };
    }
    text
}

fn curves(path: &Path, all: &[Trained]) -> Result<()> {
    let charts =
        [("PSNR", "psnr"), ("SSIM", "ssim"), ("Sharpness by that of the truth", "sharpness")];
    let series = charts.map(|(_, column)| {
        let line = |trained: &Trained| (trained.goal.name(), trained.table.series(column));
        all.iter().map(line).collect::<Vec<_>>()
    });
    let panels: Vec<Panel> = charts
        .iter()
        .zip(&series)
        .map(|((title, _), series)| {
            let lines = series.iter().map(|(name, points)| (*name, &points[..]));
            Panel::Lines(Lines { x: "epoch", ..Lines::new(title, lines) })
        })
        .collect();
    plot::page(path, "Held-out photographs", charts.len(), &panels)
}

/// The middle of held-out photographs: as it is put in, enlarged in each way, and the truth.
fn picture(path: &Path, options: &Train, photos: &[Photo], all: &[Trained]) -> Result<()> {
    let mut cells = Vec::new();
    for photo in photos.iter().take(SHOWN) {
        let truth = &photo.pixels;
        let small = shrink(truth, options.scale);
        let psnr = |image: &Tensor| -> Result<f64> {
            let image = image.clamp(-1.0, 1.0);
            Ok(tch_losses::metrics::f_psnr(&image, truth, 2.0)?.double_value(&[0]))
        };
        let nearest = small.repeat_interleave_self_int(options.scale, 2, None);
        let nearest = nearest.repeat_interleave_self_int(options.scale, 3, None);
        cells.push((middle(&nearest)?, format!("{} / {}", photo.name, options.scale)));
        let bicubic = enlarge(&small, options.scale);
        cells.push((middle(&bicubic)?, format!("bicubic {:.2} dB", psnr(&bicubic)?)));
        for trained in all {
            let image = no_grad(|| trained.net.forward(&small));
            cells.push((
                middle(&image)?,
                format!("{} {:.2} dB", trained.goal.name(), psnr(&image)?),
            ));
        }
        cells.push((middle(truth)?, "truth".to_owned()));
    }
    files::write(path, &png(&draw::grid(&cells, all.len() + 3, CELL))?)
}

/// The middle of an image, enlarged so that its pixels can be seen.
fn middle(image: &Tensor) -> Result<RgbImage> {
    let size = image.size();
    let part = |length: i64| (length.max(PART) / 2 - PART / 2, length.min(PART));
    let ((top, height), (left, width)) = (part(size[2]), part(size[3]));
    let image = image.narrow(2, top, height).narrow(3, left, width);
    let image = pixels::to_images(&image)?.pop().context("one image")?;
    let double = imageops::resize(&image, 2 * image.width(), 2 * image.height(), imageops::Nearest);
    Ok(double)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        options::{Cli, Command, Upscale},
        upscale,
    };
    use clap::Parser;
    use examples_support::{
        run::{LAST, RESULTS},
        table::Table,
        testing::{Folder, assert_has},
    };
    use image::Rgb;

    fn cli(line: &str) -> Command {
        Cli::parse_from(line.split_whitespace()).command
    }

    fn options(folder: &Folder, more: &str) -> Train {
        let runs = folder.path("runs").display().to_string();
        match cli(&format!(
            "super_resolution train --runs {runs} --device cpu --crop 24 --batch 4 --channels 8 --blocks 1 --steps 8 {more}"
        )) {
            Command::Train(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn upscale(more: &str) -> Upscale {
        match cli(&format!("super_resolution upscale --device cpu {more}")) {
            Command::Upscale(options) => options,
            other => panic!("{other:?}"),
        }
    }

    fn losses(folder: &Folder, goal: &str) -> Vec<f64> {
        let path = folder.path(&format!("runs/super_resolution/run/{goal}/{RESULTS}"));
        let points = Table::open(&path).unwrap().series("loss");
        points.into_iter().map(|point| point.1).collect()
    }

    #[test]
    fn both_losses_go_down_and_a_run_resumes() {
        let folder = Folder::new("both");
        let never = Interrupt::default();
        // Bars too thin for a bicubic enlargement.
        for i in 0..4 {
            let bar = |x, _| Rgb(if (x + i) % 6 < 3 { [230, 200, 90] } else { [20, 30, 60] });
            RgbImage::from_fn(64, 48, bar).save(folder.place(&format!("bars/{i}.png"))).unwrap();
        }
        let data = folder.path("bars").display().to_string();
        let line = &format!("--data {data} --scale 2 --lr 4e-3 --epochs");
        run(&options(&folder, &format!("{line} 2")), &never).unwrap();
        let again = run(&options(&folder, &format!("{line} 3")), &never).unwrap_err().to_string();
        assert_has(&again, &["--resume", "--overwrite"]);
        run(&options(&folder, &format!("{line} 4 --resume")), &never).unwrap();
        for goal in ["pixel", "perceptual"] {
            let went = losses(&folder, goal);
            assert!(went.len() == 4 && went[3] < went[0], "{goal}: {went:?}");
        }
        let place = folder.path("runs/super_resolution/run");
        for file in [PICTURE, TABLE, CURVES] {
            assert!(place.join(file).exists(), "{file}");
        }
        let text = std::fs::read_to_string(place.join(TABLE)).unwrap();
        assert_has(
            &text,
            &["method,psnr,ssim,sharpness,lpips\nbicubic,", "\npixel,", "\nperceptual,"],
        );
        let other =
            run(&options(&folder, &format!("{line} 5 --scale 4 --resume")), &never).unwrap_err();
        assert_has(&format!("{other:#}"), &["cannot go on from", "--scale 2"]);

        folder.image("small.png", 20, 12);
        let weights = place.join("pixel").join(LAST).display().to_string();
        let (out, small) = (folder.path("out"), folder.path("small.png"));
        let line = format!("--weights {weights} --out {} {}", out.display(), small.display());
        upscale::run(&upscale(&line)).unwrap();
        assert_eq!(image::open(out.join("small.png")).unwrap().to_rgb8().dimensions(), (40, 24));
        let none = upscale::run(&upscale(&format!("--weights {} none.png", small.display())));
        assert_has(&format!("{:#}", none.unwrap_err()), &["small.png"]);
    }

    #[test]
    fn a_stopped_run_goes_on_with_photographs_of_a_folder() {
        let folder = Folder::new("folder");
        for i in 0..4 {
            folder.image(&format!("photos/{i}.png"), 40 + i, 33);
        }
        let photos = folder.path("photos").display().to_string();
        let line = format!("--data {photos} --val-share 0.5 --epochs 1 --losses pixel");
        let stop = Interrupt::default();
        stop.request();
        run(&options(&folder, &line), &stop).unwrap();
        assert!(!folder.path("runs/super_resolution/run").join(TABLE).exists());
        run(&options(&folder, &format!("{line} --resume")), &Interrupt::default()).unwrap();
        assert_eq!(losses(&folder, "pixel").len(), 1);
        let small = run(&options(&folder, &format!("{line} --crop 64")), &stop).unwrap_err();
        assert_has(&format!("{small:#}"), &["photos", "33 pixels are less than --crop 64"]);
        folder.text("photos/5.png", "no photograph");
        let broken = run(&options(&folder, &line), &stop).unwrap_err();
        assert_has(&format!("{broken:#}"), &["--data", "cannot decode", "5.png"]);
    }

    #[test]
    fn wrong_options_name_themselves() {
        let folder = Folder::new("wrong");
        for (wrong, named) in [
            ("--data none", &["--data none"][..]),
            ("--scale 5", &["--scale"]),
            ("--crop 26", &["--crop: expected a multiple of --scale 4"]),
            ("--losses pixel,pixel", &["--losses: pixel is there twice"]),
            ("--epochs 0", &["--epochs"]),
            ("--lr 0", &["--lr"]),
            ("--texture-weight=-1", &["--texture-weight"]),
            ("--val-share 1", &["--val-share"]),
            ("--weights none", &["--weights", "none: there is no such file"]),
            ("--weights none --layers relu9_1", &["--layers: there are conv1_1", "relu9_1"]),
            ("--lpips none", &["--lpips", "none: there is no such file"]),
            ("--device gpu", &["--device"]),
            ("--name a/b", &["--name"]),
        ] {
            let error = run(&options(&folder, wrong), &Interrupt::default()).unwrap_err();
            assert_has(&format!("{error:#}"), named);
        }
        assert!(!folder.path("runs").exists());
    }
}
