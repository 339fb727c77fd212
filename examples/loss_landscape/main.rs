//! Draws losses and their gradients.
//!
//!     cargo run --release --example loss_landscape
//!     cargo run --release --example loss_landscape -- --group boxes
//!     cargo run --release --example loss_landscape -- --losses "mse, huber(delta=0.5), log_cosh" --range=-3,3
//!     cargo run --release --example loss_landscape -- --losses "ce, dice, ce + dice" --sweep disc

mod pictures;
mod sweep;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use examples_support::{
    failure::Failure,
    losses::{file_name, split},
    plot::{self, Lines, Panel},
};
use pictures::{Group, Picture};
use std::{ops::Range, path::PathBuf};
use sweep::{Sweep, Swept};
use tch_losses::loss::Registry;

/// Draws the value and the gradient of losses over a range, as PNG.
#[derive(Debug, Parser)]
#[command(name = "loss_landscape", args_override_self = true)]
struct Cli {
    /// Losses to draw together, separated by commas: names with options, or sums
    #[arg(long)]
    losses: Option<String>,
    /// Ready pictures of these groups of losses; those of all groups if neither is given
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "losses")]
    group: Vec<Group>,
    /// What is varied; what is usual for the losses if not given
    #[arg(long, value_enum, requires = "losses")]
    sweep: Option<Sweep>,
    /// From where to where, such as -3,3
    #[arg(long, allow_hyphen_values = true, requires = "losses")]
    range: Option<String>,
    /// Points of each line
    #[arg(long, default_value_t = 161)]
    points: usize,
    /// Name of the picture
    #[arg(long, requires = "losses")]
    name: Option<String>,
    /// Where the pictures go
    #[arg(long, default_value = "runs/loss_landscape")]
    out: PathBuf,
}

fn main() -> Result<(), Failure> {
    Ok(run(&Cli::parse())?)
}

fn run(cli: &Cli) -> Result<()> {
    ensure!(
        (3..=100_000).contains(&cli.points),
        "--points: expected 3 to 100000, got {}",
        cli.points
    );
    let range = cli.range.as_deref().map(range).transpose()?;
    let pictures = match &cli.losses {
        Some(text) => vec![chosen(cli, text)?],
        None => pictures::of(&cli.group),
    };
    for picture in &pictures {
        let path = cli.out.join(format!("{}.png", picture.name));
        draw(picture, range.clone(), cli.points, &path)?;
        println!("{}: {}", path.display(), picture.losses.join(", "));
    }
    Ok(())
}

fn range(text: &str) -> Result<Range<f64>> {
    let ends: Option<Vec<f64>> = text.split(',').map(|end| end.trim().parse().ok()).collect();
    match ends.as_deref() {
        Some(&[low, high]) if low < high && low.is_finite() && high.is_finite() => Ok(low..high),
        _ => anyhow::bail!(
            "--range: expected two numbers, the lower first, such as -3,3; got `{text}`"
        ),
    }
}

/// The picture that the command line asks for.
fn chosen(cli: &Cli, text: &str) -> Result<Picture> {
    let losses = split(text);
    ensure!(!losses.is_empty(), "--losses: expected names of losses with commas between");
    let sweep = match cli.sweep {
        Some(sweep) => sweep,
        None => {
            let usual = |loss: &String| {
                sweep::usual(&Registry::default(), loss).with_context(|| format!("--losses {loss}"))
            };
            let sweeps = losses.iter().map(usual).collect::<Result<Vec<Sweep>>>()?;
            let other = sweeps.iter().position(|sweep| *sweep != sweeps[0]);
            if let Some(other) = other {
                anyhow::bail!(
                    "{} is drawn over the {}, and {} over the {}; --sweep chooses for both",
                    losses[0],
                    sweeps[0].axis(),
                    losses[other],
                    sweeps[other].axis()
                );
            }
            sweeps[0]
        }
    };
    let name = cli.name.clone().unwrap_or_else(|| {
        let names: Vec<String> = losses.iter().map(|loss| file_name(loss)).collect();
        names.join("_").chars().take(100).collect()
    });
    ensure!(
        !name.is_empty() && !name.contains(['/', '\\']),
        "--name: expected a plain file name, got `{name}`"
    );
    Ok(Picture {
        name,
        title: "Losses and their gradients".to_owned(),
        losses,
        sweeps: vec![sweep],
    })
}

/// A row for each sweep: values, and gradients.
fn draw(
    picture: &Picture,
    range: Option<Range<f64>>,
    points: usize,
    path: &std::path::Path,
) -> Result<()> {
    let registry = Registry::default();
    let mut rows = Vec::new();
    for &sweep in &picture.sweeps {
        let range = range.clone().unwrap_or(sweep.range());
        let lines = picture.losses.iter().map(|loss| {
            let swept = sweep::sweep(&registry, loss, sweep, &range, points);
            Ok((&loss[..], swept.with_context(|| format!("--losses {loss}"))?))
        });
        rows.push((sweep, lines.collect::<Result<Vec<(&str, Swept)>>>()?));
    }
    let mut panels = Vec::new();
    for (sweep, lines) in &rows {
        let values = lines.iter().map(|(name, swept)| (*name, &swept.values[..]));
        let gradients = lines.iter().map(|(name, swept)| (*name, &swept.gradients[..]));
        panels.push(panel("Value", "loss", *sweep, values.collect()));
        panels.push(panel("Gradient", "d loss / d x", *sweep, gradients.collect()));
    }
    let names: Vec<&str> = picture.losses.iter().map(String::as_str).collect();
    plot::page_with_legend(path, &picture.title, &names, 2, &panels)
}

fn panel<'a>(
    title: &'a str,
    y: &'a str,
    sweep: Sweep,
    series: Vec<(&'a str, &'a [(f64, f64)])>,
) -> Panel<'a> {
    let ys = visible(&series);
    Panel::Lines(Lines { x: sweep.axis(), y, ys, legend: false, ..Lines::new(title, series) })
}

/// What the axis shows: lines that leave the others far behind are cut, so that those can be seen.
fn visible(series: &[(&str, &[(f64, f64)])]) -> Option<Range<f64>> {
    let ends = |(_, points): &(&str, &[(f64, f64)])| {
        let finite = || points.iter().map(|p| p.1).filter(|y| y.is_finite());
        Some([finite().reduce(f64::min)?, finite().reduce(f64::max)?])
    };
    let ends: Vec<[f64; 2]> = series.iter().filter_map(ends).collect();
    let middle = |of: &dyn Fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = ends.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let scale = middle(&|[low, high]| high - low)?;
    let (low, high) = (middle(&|end| end[0])?, middle(&|end| end[1])?);
    let lowest = ends.iter().map(|end| end[0]).fold(low, f64::min);
    let highest = ends.iter().map(|end| end[1]).fold(high, f64::max);
    let low = if lowest < low - scale { low - 0.6 * scale } else { lowest };
    let high = if highest > high + scale { high + 0.6 * scale } else { highest };
    let room = 0.06 * (high - low);
    (high > low).then_some(low - room..high + room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::{Folder, assert_has};

    fn cli(folder: &Folder, more: &[&str]) -> Cli {
        let out = folder.root().display().to_string();
        let start = ["loss_landscape", "--points", "21", "--out", &out];
        Cli::parse_from(start.iter().chain(more))
    }

    #[test]
    fn every_ready_picture_is_drawn() {
        let folder = Folder::new("ready");
        run(&cli(&folder, &[])).unwrap();
        let pictures = pictures::of(&[]);
        for picture in &pictures {
            let image = image::open(folder.path(&format!("{}.png", picture.name))).unwrap();
            let coloured = image.to_rgb8().pixels().filter(|p| p.0 == [0, 114, 178]).count();
            assert!(coloured > 50, "{}: {coloured}", picture.name);
        }
        assert_eq!(std::fs::read_dir(folder.root()).unwrap().count(), pictures.len());
    }

    #[test]
    fn chosen_losses_are_drawn_under_their_names() {
        let folder = Folder::new("chosen");
        run(&cli(&folder, &["--losses", "mse, huber(delta=0.5)", "--range", "-2,1"])).unwrap();
        assert!(folder.path("mse_huber-delta=0.5.png").exists());
        run(&cli(&folder, &["--losses", "ce, ce + dice", "--sweep", "disc", "--name", "a"]))
            .unwrap();
        assert!(folder.path("a.png").exists());
    }

    #[test]
    fn mistakes_are_named() {
        let folder = Folder::new("mistakes");
        let error = |more: &[&str]| format!("{:#}", run(&cli(&folder, more)).unwrap_err());
        assert_has(&error(&["--losses", "hubr"]), &["--losses hubr", "did you mean huber"]);
        assert_has(
            &error(&["--losses", "mse,ce"]),
            &["mse is drawn over the error", "ce over the margin", "--sweep"],
        );
        assert_has(&error(&["--losses", " , "]), &["--losses: expected names"]);
        assert_has(&error(&["--losses", "giou", "--sweep", "error"]), &["giou", "takes Boxes"]);
        assert_has(&error(&["--losses", "mse", "--name", "a/b"]), &["--name"]);
        for range in ["3,-3", "1", "a,b", "0,inf", "1,2,3"] {
            assert_has(
                &error(&["--losses", "mse", "--range", range]),
                &["--range: expected two numbers", range],
            );
        }
        assert_has(&error(&["--points", "2"]), &["--points"]);
    }

    #[test]
    fn lines_far_above_the_others_are_cut() {
        let low: Vec<_> = (0..5).map(|i| (f64::from(i), f64::from(i))).collect();
        let high: Vec<_> = low.iter().map(|(x, y)| (*x, 100.0 * y)).collect();
        let ys = visible(&[("a", &low), ("b", &low), ("c", &high)]).unwrap();
        assert!(ys.end > 4.0 && ys.end < 10.0, "{ys:?}");
        let ys = visible(&[("a", &low), ("b", &low)]).unwrap();
        assert!((ys.end - 4.24).abs() < 1e-9, "{ys:?}");
        assert_eq!(visible(&[("flat", &[(0.0, 1.0), (1.0, 1.0)])]), None);
    }
}
