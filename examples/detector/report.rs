//! What a run leaves behind: results.csv, curves, a mosaic of predictions, COCO results.

use crate::{
    data::{Dataset, cache::Cache},
    infer::Found,
};
use anyhow::Result;
use examples_support::{
    draw::{self, Mark},
    files,
    plot::{self, Chart},
    png,
    table::Table,
};
use serde::Serialize;
use std::{fmt::Write, path::Path};
use tch_losses::metrics::CocoSummary;

/// The columns of results.csv after `epoch`. `matched` is the share of targets that some anchor took;
/// the last two are of epochs with a validation.
pub const COLUMNS: [&str; 8] = [
    "box_loss",
    "obj_loss",
    "cls_loss",
    "matched",
    "learning_rate",
    "images_per_second",
    "map50",
    "map",
];

/// Loss and mAP curves.
pub fn curves(path: &Path, name: &str, table: &Table) -> Result<()> {
    let series = |columns: &[(&'static str, &str)]| -> Vec<_> {
        columns.iter().map(|(name, column)| (*name, table.series(column))).collect()
    };
    let losses = series(&[("box", "box_loss"), ("objectness", "obj_loss"), ("class", "cls_loss")]);
    let maps = series(&[("mAP50", "map50"), ("mAP50-95", "map")]);
    let charts = [
        Chart { title: "Training losses", x: "epoch", series: &losses },
        Chart { title: "Validation", x: "epoch", series: &maps },
    ];
    plot::curves(path, name, &charts)
}

/// Images shown, and the least score of a box that is drawn.
const SHOWN: usize = 16;
const SHOWN_CONF: f32 = 0.25;

/// The first validation images with predicted boxes (solid) and true ones (dashed).
pub fn mosaic(path: &Path, cache: &Cache, found: &[Vec<Found>]) -> Result<()> {
    let dataset = &cache.dataset;
    let cells = (0..dataset.len().min(SHOWN))
        .map(|i| {
            let item = &dataset.items[i];
            let mut marks: Vec<Mark> = item
                .labels
                .iter()
                .map(|label| Mark {
                    xyxy: label.xyxy,
                    class: label.class,
                    text: String::new(),
                    dashed: true,
                })
                .collect();
            marks.extend(marks_of(&found[i], &dataset.classes));
            Ok((draw::annotated(&dataset.load(i)?, &marks, 320), item.name.clone()))
        })
        .collect::<Result<Vec<_>>>()?;
    files::write(path, &png(&draw::grid(&cells, 4, 320))?)
}

/// Boxes to draw for detections worth showing.
pub fn marks_of(found: &[Found], classes: &[String]) -> Vec<Mark> {
    found
        .iter()
        .filter(|found| found.score >= SHOWN_CONF)
        .map(|found| Mark {
            xyxy: found.xyxy,
            class: found.class,
            text: format!("{} {:.2}", classes[found.class], found.score),
            dashed: false,
        })
        .collect()
}

/// A table of the classes.
pub fn per_class(classes: &[String], summary: &CocoSummary) -> String {
    let width = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!("{:width$}  objects    AP50  AP50-95\n", "class");
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    for (name, class) in classes.iter().zip(&summary.per_class) {
        let (ap50, ap) = (number(class.ap50), number(class.ap));
        let _ = writeln!(text, "{name:width$}  {:7}  {ap50:>6}  {ap:>7}", class.ground_truths);
    }
    text
}

#[derive(Serialize)]
struct CocoResult {
    image_id: i64,
    category_id: i64,
    bbox: [f32; 4],
    score: f32,
}

/// COCO results JSON: left, top, width, height in pixels, with the data's own ids.
pub fn coco_results(dataset: &Dataset, found: &[Vec<Found>]) -> Result<String> {
    let mut results = Vec::new();
    for (item, found) in dataset.items.iter().zip(found) {
        for f in found {
            let [x1, y1, x2, y2] = f.xyxy;
            results.push(CocoResult {
                image_id: item.id,
                category_id: dataset.category_ids[f.class],
                bbox: [x1, y1, x2 - x1, y2 - y1],
                score: f.score,
            });
        }
    }
    Ok(serde_json::to_string(&results)?)
}
