//! What a run leaves behind: results.csv, curves, samples.

use crate::{data::Data, model::Generators};
use anyhow::Result;
use examples_support::{
    draw, files, pixels,
    plot::{self, Chart},
    png,
    table::Table,
};
use image::{
    RgbImage,
    imageops::{self, FilterType},
};
use std::path::Path;
use tch::{Kind, Tensor, no_grad};

/// The columns of results.csv after `epoch`.
pub const COLUMNS: [&str; 11] = [
    "loss",
    "gan",
    "cycle",
    "identity",
    "discriminator",
    "learning_rate",
    "images_per_second",
    "cycle_a",
    "cycle_b",
    "to_b",
    "to_a",
];

/// Losses and distances by epoch.
pub fn curves(path: &Path, name: &str, table: &Table) -> Result<()> {
    let charts: [(&str, &[(&str, &str)]); 3] = [
        ("Adversarial losses", &[("generators", "gan"), ("discriminators", "discriminator")]),
        ("Losses in pixels", &[("cycle", "cycle"), ("identity", "identity")]),
        (
            "Mean absolute difference",
            &[
                ("A to B to A from A", "cycle_a"),
                ("B to A to B from B", "cycle_b"),
                ("A to B from the truth", "to_b"),
                ("B to A from the truth", "to_a"),
            ],
        ),
    ];
    let charts = charts.map(|(title, lines)| {
        let lines = lines.iter().map(|(name, column)| (*name, table.series(column)));
        (title, lines.filter(|(_, points)| !points.is_empty()).collect::<Vec<_>>())
    });
    let charts: Vec<Chart> =
        charts.iter().map(|(title, series)| Chart { title, x: "epoch", series }).collect();
    plot::curves(path, name, &charts)
}

/// Mean absolute differences, of values from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Distances {
    /// Of A to B to A from A, and of B to A to B from B.
    pub cycles: [f64; 2],
    /// Of A to B and of B to A from what they should be, where that is known.
    pub truth: Option<[f64; 2]>,
}

/// The mean absolute difference of images in [-1, 1], as of values from 0 to 1.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().mean(Kind::Double).double_value(&[]) / 2.0
}

/// Images translated there and back.
struct Translated {
    there: Tensor,
    back: Tensor,
}

fn translated(generators: &Generators, data: &Data) -> [Translated; 2] {
    let [a, b] = &data.shown;
    let nets = [&generators.to_b, &generators.to_a];
    no_grad(|| {
        [(a, nets), (b, [nets[1], nets[0]])].map(|(images, [first, second])| {
            let there = first.forward(images);
            Translated { back: second.forward(&there), there }
        })
    })
}

/// How far the images that are looked at come out from where they should be; with a path, a picture of
/// some of them.
pub fn look(generators: &Generators, data: &Data, picture: Option<&Path>) -> Result<Distances> {
    let translated = translated(generators, data);
    if let Some(path) = picture {
        samples(path, data, &translated)?;
    }
    let [a, b] = &translated;
    Ok(Distances {
        cycles: [distance(&a.back, &data.shown[0]), distance(&b.back, &data.shown[1])],
        truth: data
            .truth
            .as_ref()
            .map(|[of_a, of_b]| [distance(&a.there, of_a), distance(&b.there, of_b)]),
    })
}

/// Rows of a picture, and the least side of a cell in pixels.
const ROWS: usize = 8;
const CELL: u32 = 96;

/// Rows of an image of A, what becomes of it, and that turned back; then the same from B; with what
/// they should have become, where that is known.
fn samples(path: &Path, data: &Data, translated: &[Translated; 2]) -> Result<()> {
    let mut columns = Vec::new();
    for (kind, names) in
        [["A", "to B", "back to A", "true B"], ["B", "to A", "back to B", "true A"]]
            .into_iter()
            .enumerate()
    {
        let Translated { there, back } = &translated[kind];
        let truth = data.truth.as_ref().map(|truth| &truth[kind]);
        let images = [Some(&data.shown[kind]), Some(there), Some(back), truth];
        for (name, images) in names.into_iter().zip(images) {
            let Some(images) = images else { continue };
            let rows = images.size()[0].min(ROWS as i64);
            columns.push((name, pixels::to_images(&images.narrow(0, 0, rows))?));
        }
    }
    let rows = columns.iter().map(|(_, images)| images.len()).min().unwrap_or(0);
    let mut cells: Vec<(RgbImage, String)> = Vec::new();
    let mut side = CELL;
    for row in 0..rows {
        for (name, images) in &columns {
            side = side.max(images[row].width());
            cells.push((enlarged(&images[row]), (*name).to_owned()));
        }
    }
    files::write(path, &png(&draw::grid(&cells, columns.len(), side))?)
}

/// By a whole factor, so that pixels stay squares.
fn enlarged(image: &RgbImage) -> RgbImage {
    let factor = (CELL / image.width().max(1)).max(1);
    let (width, height) = (factor * image.width(), factor * image.height());
    imageops::resize(image, width, height, FilterType::Nearest)
}
