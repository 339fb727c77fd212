//! Curves of a run.

use crate::judge::Judge;
use anyhow::Result;
use examples_support::{
    plot::{self, Chart},
    table::Table,
};
use std::path::Path;

/// The columns of results.csv after `epoch`.
pub const COLUMNS: [&str; 10] = [
    "critic_loss",
    "generator_loss",
    "wasserstein",
    "penalty",
    "gradient_norm",
    "learning_rate",
    "frechet",
    "inception_score",
    "classes",
    "seconds",
];

/// Losses, what they say of the critic, and how far the samples are from the images, by epoch.
pub fn curves(path: &Path, name: &str, table: &Table, judge: Option<&Judge>) -> Result<()> {
    let line = |name: &'static str, column: &str| (name, table.series(column));
    let losses = [line("critic", "critic_loss"), line("generator", "generator_loss")];
    let critic = [
        line("score of real less score of generated", "wasserstein"),
        line("norm of the gradient", "gradient_norm"),
        line("penalty", "penalty"),
    ];
    let mut charts = vec![
        Chart { title: "Losses", x: "epoch", series: &losses },
        Chart { title: "Critic", x: "epoch", series: &critic },
    ];
    let mut frechet = vec![line("samples", "frechet")];
    if let Some(judge) = judge {
        let level = |(epoch, _): &(f64, f64)| (*epoch, judge.held_out.frechet);
        let level = frechet[0].1.iter().map(level).collect();
        frechet.push(("held-out images", level));
        charts.push(Chart { title: "Fréchet distance", x: "epoch", series: &frechet });
    }
    plot::curves(path, name, &charts)
}
