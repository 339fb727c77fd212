//! Curves and pictures of a run.

use crate::{judge::Judge, model::Vae};
use anyhow::Result;
use examples_support::{
    files,
    labelled::sheet,
    plot::{self, Chart},
    png,
    table::Table,
};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The columns of results.csv after `epoch`.
pub const COLUMNS: [&str; 10] = [
    "loss",
    "reconstruction",
    "kl",
    "learning_rate",
    "val_loss",
    "val_reconstruction",
    "val_kl",
    "active_units",
    "frechet",
    "seconds",
];

/// Reconstruction, divergence, and how far the samples are from the images, by epoch.
pub fn curves(path: &Path, name: &str, table: &Table, judge: Option<&Judge>) -> Result<()> {
    let line = |name: &'static str, column: &str| (name, table.series(column));
    let both = |column: &str| {
        let validation = format!("val_{column}");
        [line("training", column), ("validation", table.series(&validation))]
    };
    let (reconstruction, kl) = (both("reconstruction"), both("kl"));
    let units = [line("active units", "active_units")];
    let mut charts = vec![
        Chart { title: "Reconstruction", x: "epoch", series: &reconstruction },
        Chart { title: "Divergence from the prior", x: "epoch", series: &kl },
        Chart { title: "Latent variables in use", x: "epoch", series: &units },
    ];
    let mut frechet = vec![line("samples", "frechet")];
    if let Some(judge) = judge {
        let level = frechet[0].1.iter().map(|(epoch, _)| (*epoch, judge.held_out.frechet));
        let level = level.collect();
        frechet.push(("held-out images", level));
        charts.push(Chart { title: "Fréchet distance", x: "epoch", series: &frechet });
    }
    plot::curves(path, name, &charts)
}

/// Images in every other row, and under each what the network makes of it.
pub fn reconstructions(path: &Path, images: &Tensor, made: &Tensor) -> Result<()> {
    const COLUMNS: i64 = 12;
    let rows = images.split(COLUMNS, 0).into_iter().zip(made.split(COLUMNS, 0));
    let rows: Vec<Tensor> = rows.flat_map(|(images, made)| [images, made]).collect();
    write(path, &Tensor::cat(&rows, 0), COLUMNS as usize)
}

/// What the plane of two latent variables looks like, at equal steps of probability under the prior.
pub fn manifold(path: &Path, net: &Vae, device: Device) -> Result<()> {
    const STEPS: i64 = 20;
    let share = (Tensor::arange(STEPS, (Kind::Float, Device::Cpu)) + 0.5) / STEPS as f64;
    let normal = (share * 2.0 - 1.0).erfinv() * std::f64::consts::SQRT_2;
    let x = normal.view([1, -1]).expand([STEPS, STEPS], false);
    // The second variable grows upwards.
    let y = -normal.view([-1, 1]).expand([STEPS, STEPS], false);
    let plane = Tensor::stack(&[x, y], 2).view([-1, 2]).to_device(device);
    write(path, &tch::no_grad(|| net.images(&plane)), STEPS as usize)
}

/// Writes images as one picture.
pub fn write(path: &Path, images: &Tensor, columns: usize) -> Result<()> {
    files::write(path, &png(&sheet(images, columns, 32)?)?)
}
