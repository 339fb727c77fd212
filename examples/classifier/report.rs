//! What a run leaves behind: results.csv, curves, confusion matrix, reliability diagram, mistakes.

use crate::evaluate::Outcome;
use anyhow::Result;
use examples_support::{
    draw, files,
    labelled::store::Store,
    plot::{self, Bar, Chart, Panel, Reliability},
    png,
    table::Table,
};
use image::imageops::{self, FilterType};
use std::{fmt::Write, path::Path};
use tch_losses::metrics::{Calibration, ConfusionMatrix};

/// The columns of results.csv after `epoch`.
pub const COLUMNS: [&str; 9] = [
    "loss",
    "train_accuracy",
    "learning_rate",
    "images_per_second",
    "val_loss",
    "accuracy",
    "nll",
    "ece",
    "confidence",
];

/// Loss, accuracy and calibration by epoch.
pub fn curves(path: &Path, name: &str, table: &Table) -> Result<()> {
    let charts: [(&str, &[(&str, &str)]); 3] = [
        ("Loss", &[("training", "loss"), ("validation", "val_loss")]),
        ("Accuracy", &[("training", "train_accuracy"), ("validation", "accuracy")]),
        ("Validation", &[("negative log likelihood", "nll"), ("calibration error", "ece")]),
    ];
    let charts = charts.map(|(title, lines)| {
        (
            title,
            lines.iter().map(|(name, column)| (*name, table.series(column))).collect::<Vec<_>>(),
        )
    });
    let charts: Vec<Chart> =
        charts.iter().map(|(title, series)| Chart { title, x: "epoch", series }).collect();
    plot::curves(path, name, &charts)
}

/// confusion.png, reliability.png and mistakes.png.
pub fn pictures(folder: &Path, name: &str, store: &Store, outcome: &Outcome) -> Result<()> {
    let title = format!("{name}: accuracy {:.4}", outcome.accuracy());
    let counts: Vec<u64> = outcome.matrix.rows().flatten().copied().collect();
    plot::confusion(&folder.join("confusion.png"), &title, &store.data.classes, &counts)?;
    let title = calibration_title(outcome);
    plot::page(&folder.join("reliability.png"), name, 1, &[reliability(&title, outcome)])?;
    mistakes(&folder.join("mistakes.png"), store, outcome)
}

pub fn calibration_title(outcome: &Outcome) -> String {
    format!(
        "ECE {:.4}, accuracy {:.4}, confidence {:.4}",
        outcome.ece(),
        outcome.accuracy(),
        outcome.confidence()
    )
}

/// The reliability diagram.
pub fn reliability<'a>(title: &'a str, outcome: &Outcome) -> Panel<'a> {
    let calibration: &Calibration = &outcome.calibration;
    let total = calibration.total().max(1) as f64;
    let bars = calibration.bins().into_iter().map(|bin| Bar {
        low: bin.low,
        high: bin.high,
        share: bin.count as f64 / total,
        mean: bin.confidence.zip(bin.accuracy),
    });
    Panel::Reliability(Reliability { title, bars: bars.collect() })
}

/// Images shown, and their side in pixels.
const SHOWN: usize = 16;
const CELL: u32 = 140;

/// The images whose true class was least likely: `7 as 1 .93`.
fn mistakes(path: &Path, store: &Store, outcome: &Outcome) -> Result<()> {
    let classes = &store.data.classes;
    let cells = outcome.mistakes.iter().take(SHOWN).map(|mistake| {
        let actual = &classes[store.data.items[mistake.image].class];
        let predicted = &classes[mistake.predicted];
        let caption = format!("{actual} as {predicted} {:.2}", mistake.probability[0]);
        let picture = store.picture(mistake.image)?;
        Ok((imageops::resize(&picture, CELL, CELL, FilterType::Nearest), caption))
    });
    let mut cells = cells.collect::<Result<Vec<_>>>()?;
    if cells.is_empty() {
        cells.push((image::RgbImage::new(CELL, CELL), "no mistakes".to_owned()));
    }
    files::write(path, &png(&draw::grid(&cells, 4, CELL))?)
}

/// The numbers of a split, a line each.
pub fn summary(outcome: &Outcome) -> String {
    let Outcome { matrix, calibration, nll, .. } = outcome;
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.4}"));
    format!(
        "accuracy {}  balanced {}  NLL {nll:.4}  ECE {}  MCE {}  mean confidence {}  ({} of {} wrong)\n",
        number(matrix.accuracy()),
        number(matrix.mean_recall()),
        number(calibration.ece()),
        number(calibration.mce()),
        number(calibration.confidence()),
        outcome.mistakes.len(),
        matrix.total()
    )
}

/// A table of the classes.
pub fn per_class(classes: &[String], matrix: &ConfusionMatrix) -> String {
    let width = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!("{:width$}   images  precision  recall      F1\n", "class");
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    for (class, name) in classes.iter().enumerate() {
        let (precision, recall) = (number(matrix.precision(class)), number(matrix.recall(class)));
        let f1 = number(matrix.f1(class));
        let _ = writeln!(
            text,
            "{name:width$}  {:7}  {precision:>9}  {recall:>6}  {f1:>6}",
            matrix.actual(class)
        );
    }
    text
}
