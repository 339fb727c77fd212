//! What a run leaves behind: results.csv, curves, coloured shapes, where their colours are.

use crate::{
    data::painted,
    evaluate::{DRAWS, Outcome, Test},
    model::Generator,
};
use anyhow::Result;
use examples_support::{
    draw, files, pixels,
    plot::{self, Chart, Lines, Panel},
    png,
    table::Table,
};
use image::{
    RgbImage,
    imageops::{self, FilterType},
};
use std::{fmt::Write, path::Path};
use tch::Tensor;

/// The columns of results.csv after `epoch`.
pub const COLUMNS: [&str; 9] = [
    "loss",
    "discriminator_loss",
    "penalty",
    "learning_rate",
    "images_per_second",
    "near",
    "orange",
    "distance",
    "spread",
];

/// Losses and colours by epoch.
pub fn curves(path: &Path, name: &str, table: &Table) -> Result<()> {
    let charts: [(&str, &[(&str, &str)]); 3] = [
        (
            "Loss",
            &[
                ("generator", "loss"),
                ("discriminator", "discriminator_loss"),
                ("penalty", "penalty"),
            ],
        ),
        ("Shapes", &[("near a colour", "near"), ("of these orange", "orange")]),
        ("Colours", &[("distance from the nearest", "distance"), ("spread", "spread")]),
    ];
    let charts = charts.map(|(title, lines)| {
        let lines = lines.iter().map(|(name, column)| (*name, table.series(column)));
        (title, lines.filter(|(_, points)| !points.is_empty()).collect::<Vec<_>>())
    });
    let charts: Vec<Chart> =
        charts.iter().map(|(title, series)| Chart { title, x: "epoch", series }).collect();
    plot::curves(path, name, &charts)
}

/// Shapes of a picture, and the side of a cell in pixels.
const SHOWN: i64 = 8;
const CELL: u32 = 112;

/// Rows of a grey shape, the shape in each colour, and what generators make of it: under adversarial
/// losses with several noises.
pub fn samples(path: &Path, test: &Test, all: &[(&str, &Generator, bool)]) -> Result<()> {
    let shown = SHOWN.min(test.grey.size()[0]);
    let cover = test.cover.narrow(0, 0, shown);
    let mut columns: Vec<(String, Tensor)> = vec![
        ("grey".to_owned(), test.grey.narrow(0, 0, shown).expand([-1, 3, -1, -1], false)),
        ("real A".to_owned(), painted(&cover, 0)),
        ("real B".to_owned(), painted(&cover, 1)),
    ];
    for (name, generator, adversarial) in all {
        for draw in 0..if *adversarial { DRAWS } else { 1 } {
            columns.push(((*name).to_owned(), test.made(generator, draw, shown)));
        }
    }
    let columns = columns
        .into_iter()
        .map(|(name, images)| Ok((name, pixels::to_images(&images)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut cells: Vec<(RgbImage, String)> = Vec::new();
    for row in 0..shown as usize {
        for (name, images) in &columns {
            let image = imageops::resize(&images[row], CELL, CELL, FilterType::Nearest);
            cells.push((image, name.clone()));
        }
    }
    files::write(path, &png(&draw::grid(&cells, columns.len(), CELL))?)
}

/// Steps from orange to blue, over which shapes are counted.
const BINS: usize = 20;

/// Where the colours of the shapes are on the way from orange to blue.
pub fn colours(path: &Path, all: &[(&str, &Outcome)]) -> Result<()> {
    let histogram = |outcome: &Outcome| -> Vec<(f64, f64)> {
        // From -0.25 to 1.25; what is beyond counts as at the border.
        let bins = BINS * 3 / 2;
        let mut counts = vec![0usize; bins];
        for place in &outcome.places {
            let bin = ((place + 0.25) * BINS as f64).floor().clamp(0.0, bins as f64 - 1.0);
            counts[bin as usize] += 1;
        }
        let total = outcome.places.len().max(1) as f64;
        // Steps, each from border to border.
        let share = |i: usize| counts[i] as f64 / total;
        let border = |i: usize| i as f64 / BINS as f64 - 0.25;
        (0..bins).flat_map(|i| [(border(i), share(i)), (border(i + 1), share(i))]).collect()
    };
    let series: Vec<_> = all.iter().map(|(name, outcome)| (*name, histogram(outcome))).collect();
    let modes = [0.0, 1.0].map(|x| [(x, 0.0), (x, 1.0)]);
    let panels: Vec<Panel> = series
        .iter()
        .map(|(name, points)| {
            let lines = [(*name, &points[..]), ("orange", &modes[0]), ("blue", &modes[1])];
            Panel::Lines(Lines {
                x: "from orange, 0, to blue, 1",
                y: "share of the shapes",
                ys: Some(0.0..1.0),
                ..Lines::new(name, lines)
            })
        })
        .collect();
    plot::page(path, "Colours of the shapes", panels.len().min(3), &panels)
}

/// The outcome of each loss, a row each.
pub fn table(all: &[(&str, &Outcome)], csv: bool) -> String {
    let width = all.iter().map(|(loss, _)| loss.chars().count()).max().unwrap_or(0).max(4);
    let mut text = match csv {
        true => "loss,near,orange,blue,distance,spread\n".to_owned(),
        false => format!("{:width$}   near  orange   blue  distance  spread\n", "loss"),
    };
    for (loss, Outcome { near, orange, distance, spread, .. }) in all {
        let blue = orange.map(|orange| 1.0 - orange);
        let _ = if csv {
            let number = |share: Option<f64>| share.map_or(String::new(), |v| format!("{v:.5}"));
            let (orange, blue) = (number(*orange), number(blue));
            writeln!(text, "\"{loss}\",{near:.5},{orange},{blue},{distance:.5},{spread:.5}")
        } else {
            let percent = |share: f64| format!("{:.0} %", 100.0 * share);
            let shown = |share: Option<f64>| share.map_or("-".to_owned(), percent);
            let (near, orange, blue) = (percent(*near), shown(*orange), shown(blue));
            writeln!(
                text,
                "{loss:width$}  {near:>5}  {orange:>6}  {blue:>5}  {distance:8.3}  {spread:6.3}"
            )
        };
    }
    text
}
