//! What a run leaves behind besides weights and pictures: results.csv and curves.

use crate::{data::classes::Classes, evaluate::Scores};
use anyhow::Result;
use examples_support::{
    plot::{self, Chart},
    table::Table,
};
use std::path::Path;

/// Up to so many classes have a curve of their own.
const CURVES: usize = 6;

/// One epoch of training.
#[derive(Debug, Clone)]
pub struct Epoch {
    pub number: usize,
    pub loss: f64,
    /// The parts of the loss, where there are several.
    pub parts: Vec<f64>,
    pub learning_rate: f64,
    pub tiles_per_second: f64,
}

/// An empty table of results.
pub fn table(parts: &[String], classes: &Classes) -> Table {
    let parts = parts.iter().map(|part| format!("loss {part}"));
    let fixed = ["learning_rate", "tiles_per_second", "dice", "iou"].map(str::to_owned);
    let dice = classes.names.iter().map(|name| format!("dice {name}"));
    Table::new(std::iter::once("loss".to_owned()).chain(parts).chain(fixed).chain(dice))
}

/// Adds an epoch, with scores where it was validated.
pub fn push(table: &mut Table, epoch: &Epoch, scores: Option<&Scores>, classes: usize) {
    let numbers = std::iter::once(epoch.loss)
        .chain(epoch.parts.iter().copied())
        .chain([epoch.learning_rate, epoch.tiles_per_second])
        .map(Some);
    let means = [scores.and_then(|s| s.dice), scores.and_then(|s| s.iou)];
    let dice = (0..classes).map(|class| scores.and_then(|s| s.classes[class].dice));
    table.push(epoch.number, numbers.chain(means).chain(dice));
}

/// Curves of the loss and its parts, and of Dice and IoU.
pub fn curves(path: &Path, title: &str, table: &Table) -> Result<()> {
    let series = |prefix: &str, label: &str| -> Vec<(String, Series)> {
        let columns = table.columns().iter().filter_map(|column| {
            let name = column.strip_prefix(prefix)?;
            Some((format!("{label}{name}"), table.series(column)))
        });
        columns.collect()
    };
    let mut losses = series("loss ", "");
    losses.insert(0, ("total".to_owned(), table.series("loss")));
    let mut scores = vec![
        ("mean Dice".to_owned(), table.series("dice")),
        ("mean IoU".to_owned(), table.series("iou")),
    ];
    let dice = series("dice ", "Dice ");
    if dice.len() <= CURVES {
        scores.extend(dice);
    }
    let (losses, scores) = (borrowed(&losses), borrowed(&scores));
    let charts = [
        Chart { title: "Training loss", x: "epoch", series: &losses },
        Chart { title: "Validation", x: "epoch", series: &scores },
    ];
    plot::curves(path, title, &charts)
}

type Series = Vec<(f64, f64)>;

/// Series that have points, as charts take them.
pub fn borrowed(series: &[(String, Series)]) -> Vec<(&str, Series)> {
    let filled = series.iter().filter(|(_, points)| !points.is_empty());
    filled.map(|(name, points)| (&name[..], points.clone())).collect()
}
