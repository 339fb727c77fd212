//! What a run leaves behind: results.csv, curves, a mosaic of predictions, COCO results.

use crate::{
    data::{Dataset, cache::Cache},
    infer::Found,
};
use anyhow::{Context, Result};
use examples_support::{
    draw::{self, Mark},
    files,
    plot::{self, Chart},
    png,
};
use serde::Serialize;
use std::{fmt::Write, path::Path};
use tch_losses::metrics::CocoSummary;

/// One epoch; a line of results.csv.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub epoch: usize,
    pub boxes: f64,
    pub objectness: f64,
    pub classes: f64,
    /// The share of targets that some anchor took.
    pub matched: f64,
    pub learning_rate: f64,
    pub images_per_second: f64,
    /// After epochs with a validation.
    pub map50: Option<f64>,
    pub map: Option<f64>,
}

const HEADER: &str =
    "epoch,box_loss,obj_loss,cls_loss,matched,learning_rate,images_per_second,map50,map";

impl Row {
    fn csv(&self) -> String {
        let optional = |value: Option<f64>| value.map(|v| format!("{v:.5}")).unwrap_or_default();
        format!(
            "{},{:.6},{:.6},{:.6},{:.4},{:.3e},{:.1},{},{}",
            self.epoch,
            self.boxes,
            self.objectness,
            self.classes,
            self.matched,
            self.learning_rate,
            self.images_per_second,
            optional(self.map50),
            optional(self.map)
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |i: usize| fields.get(i)?.parse::<f64>().ok();
        Some(Row {
            epoch: fields.first()?.parse().ok()?,
            boxes: number(1)?,
            objectness: number(2)?,
            classes: number(3)?,
            matched: number(4)?,
            learning_rate: number(5)?,
            images_per_second: number(6)?,
            map50: number(7),
            map: number(8),
        })
    }
}

/// The rows of a run so far, up to `epochs`.
pub fn read_rows(path: &Path, epochs: usize) -> Result<Vec<Row>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows = text.lines().enumerate().skip(1).map(|(i, line)| {
        Row::parse(line)
            .with_context(|| format!("{}:{}: not a row of results", path.display(), i + 1))
    });
    Ok(rows.collect::<Result<Vec<_>>>()?.into_iter().filter(|row| row.epoch <= epochs).collect())
}

pub fn write_rows(path: &Path, rows: &[Row]) -> Result<()> {
    let mut text = format!("{HEADER}\n");
    for row in rows {
        writeln!(text, "{}", row.csv())?;
    }
    files::write(path, text.as_bytes())
}

/// Loss and mAP curves.
pub fn curves(path: &Path, name: &str, rows: &[Row]) -> Result<()> {
    let series = |value: &dyn Fn(&Row) -> Option<f64>| -> Vec<(f64, f64)> {
        rows.iter().filter_map(|row| Some((row.epoch as f64, value(row)?))).collect()
    };
    let losses = [
        ("box", series(&|row| Some(row.boxes))),
        ("objectness", series(&|row| Some(row.objectness))),
        ("class", series(&|row| Some(row.classes))),
    ];
    let maps = [("mAP50", series(&|row| row.map50)), ("mAP50-95", series(&|row| row.map))];
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
