//! What a run leaves behind beside its picture: the losses, and the picture on its way.

use anyhow::Result;
use examples_support::{
    draw, files, images,
    plot::{self, Chart},
    png,
    table::Table,
};
use image::RgbImage;
use std::path::Path;

/// The columns of results.csv after `epoch`; the losses are before their weights.
pub const COLUMNS: [&str; 6] = ["step", "loss", "content", "style", "tv", "seconds_per_step"];
pub const STRIP: &str = "strip.png";
/// Pictures in the strip.
const SHOWN: usize = 8;
/// Side of a picture of the strip.
const CELL: u32 = 128;

/// The losses by step, as powers of ten.
pub fn curves(path: &Path, title: &str, table: &Table) -> Result<()> {
    let steps = table.series("step");
    let line = |column: &str| -> Vec<(f64, f64)> {
        let values = table.series(column);
        // Both by epoch.
        let step = |epoch: f64| steps.iter().find(|step| step.0 == epoch).map(|step| step.1);
        values.iter().filter_map(|&(epoch, value)| Some((step(epoch)?, value.log10()))).collect()
    };
    let total = [("weighted sum", line("loss"))];
    let parts = [("style", line("style")), ("content", line("content"))];
    let parts: Vec<_> = parts.into_iter().filter(|(_, line)| !line.is_empty()).collect();
    let charts = [
        Chart { title: "log10 of the loss", x: "step", series: &total },
        Chart { title: "log10 of its parts", x: "step", series: &parts },
    ];
    plot::curves(path, title, &charts)
}

/// The file of the picture after so many steps.
pub fn shot(step: usize) -> String {
    format!("step-{step:05}.png")
}

/// The pictures of some steps up to `step`, the first and the last among them, with `ends` (the style and,
/// if there is one, the content) before.
pub fn strip(folder: &Path, step: usize, every: usize, ends: &[(RgbImage, String)]) -> Result<()> {
    let steps: Vec<usize> = (0..step).step_by(every).chain([step]).collect();
    let last = steps.len() - 1;
    let count = SHOWN.min(steps.len());
    let mut shown: Vec<usize> =
        (0..count).map(|i| steps[(i * last + (count - 1) / 2) / (count - 1).max(1)]).collect();
    shown.dedup();
    let mut cells = ends.to_vec();
    for step in shown {
        let path = folder.join(shot(step));
        // Of a run with other settings that was gone on with.
        if path.exists() {
            cells.push((images::decode(&path)?, format!("step {step}")));
        }
    }
    files::write(&folder.join(STRIP), &png(&draw::grid(&cells, cells.len(), CELL))?)
}
