//! How good the masks of a network are.

use crate::{
    data::{Dataset, classes::IGNORED},
    model::UNet,
    options::Eval,
    overlay, weights,
    windows::{Windows, argmax},
};
use anyhow::{Result, ensure};
use examples_support::{files, progress::Pass, train};
use image::GrayImage;
use serde::Serialize;
use std::fmt;
use tch::{Device, Kind, Tensor};
use tch_losses::metrics::{ConfusionMatrix, SurfaceDistances, f_cl_dice};

/// The scores of one class; none where nothing can be said.
#[derive(Debug, Clone, Serialize)]
pub struct ClassScore {
    pub name: String,
    /// Pixels of all images, in truth.
    pub pixels: u64,
    /// Over the pixels of all images.
    pub dice: Option<f64>,
    pub iou: Option<f64>,
    /// In pixels, mean over the images that have the class both in truth and predicted.
    pub hd95: Option<f64>,
    /// Mean over the images that have the class in truth or predicted.
    pub cldice: Option<f64>,
}

/// What a network scores on a set of images.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    pub images: usize,
    /// Share of the pixels that are right.
    pub accuracy: Option<f64>,
    /// Means over the classes.
    pub dice: Option<f64>,
    pub iou: Option<f64>,
    pub classes: Vec<ClassScore>,
}

pub struct Outcome {
    pub scores: Scores,
    /// The predicted masks.
    pub predictions: Vec<GrayImage>,
}

/// Which scores are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Those that are counts of pixels.
    Counts,
    /// Hausdorff distance and clDice too, which take their time.
    All,
}

/// Runs the network over a data set; `progress` gets the images done.
pub fn evaluate(
    net: &UNet,
    data: &Dataset,
    windows: &Windows,
    device: Device,
    detail: Detail,
    mut progress: impl FnMut(usize),
) -> Result<Outcome> {
    let classes = data.classes();
    let mut matrix = ConfusionMatrix::new(classes.len()).ignore_index(i64::from(IGNORED));
    let mut shapes = vec![[Mean::default(); 2]; classes.len()];
    let mut predictions = Vec::with_capacity(data.len());
    for i in 0..data.len() {
        let sample = data.get(i, 0)?;
        let (image, truth) = (&sample.0, &sample.1);
        let predicted = argmax(&windows.probabilities(net, image, device))?;
        let (found, wanted) = (tensor(&predicted), tensor(truth));
        matrix.f_update(&found, &wanted)?;
        if detail == Detail::All {
            for (class, means) in shapes.iter_mut().enumerate() {
                let scores = shape_scores(&found, &wanted, class as i64)?;
                means.iter_mut().zip(scores).for_each(|(mean, score)| mean.add(score));
            }
        }
        predictions.push(predicted);
        progress(i + 1);
    }
    let scores = classes.names.iter().zip(&shapes).enumerate().map(|(class, (name, shapes))| {
        let [hd95, cldice] = shapes.map(Mean::value);
        ClassScore {
            name: name.clone(),
            pixels: matrix.actual(class),
            dice: matrix.dice(class),
            iou: matrix.iou(class),
            hd95,
            cldice,
        }
    });
    let scores = Scores {
        images: data.len(),
        accuracy: matrix.accuracy(),
        dice: matrix.mean_dice(),
        iou: matrix.mean_iou(),
        classes: scores.collect(),
    };
    Ok(Outcome { scores, predictions })
}

/// A mask as (1, H, W) of indices.
fn tensor(mask: &GrayImage) -> Tensor {
    let size = [1, i64::from(mask.height()), i64::from(mask.width())];
    Tensor::from_slice(mask.as_raw()).view(size).to_kind(Kind::Int64)
}

/// Hausdorff distance at 95 % and clDice of one class in one image; none where there is nothing to
/// measure.
fn shape_scores(found: &Tensor, wanted: &Tensor, class: i64) -> Result<[Option<f64>; 2]> {
    let counted = wanted.f_ne(i64::from(IGNORED))?;
    let found = found.f_eq(class)?.f_logical_and(&counted)?;
    let wanted = wanted.f_eq(class)?;
    let distances = SurfaceDistances::f_new(&found, &wanted, &[1.0, 1.0])?;
    let hd95 = distances.f_percentile(95.0)?.f_double_value(&[0])?;
    let cl_dice = f_cl_dice(&found.unsqueeze(0), &wanted.unsqueeze(0))?.f_double_value(&[0, 0])?;
    Ok([hd95, cl_dice].map(|score| Some(score).filter(|score| score.is_finite())))
}

/// A mean of what is there.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    n: usize,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.n += 1;
        }
    }

    fn value(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let share = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.4}"));
        let pixels = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        let mean = |score: fn(&ClassScore) -> Option<f64>| {
            let mut mean = Mean::default();
            self.classes.iter().for_each(|class| mean.add(score(class)));
            mean.value()
        };
        let all = self.classes.iter().map(|class| class.pixels).sum::<u64>();
        let row = |name: &str, n: u64, [dice, iou, hd95, cldice]: [Option<f64>; 4]| {
            let part = format!("{:.1} %", 100.0 * n as f64 / all.max(1) as f64);
            [name.to_owned(), part, share(dice), share(iou), pixels(hd95), share(cldice)]
        };
        let mut rows =
            vec![["class", "pixels", "Dice", "IoU", "HD95", "clDice"].map(str::to_owned)];
        rows.extend(self.classes.iter().map(|class| {
            row(&class.name, class.pixels, [class.dice, class.iou, class.hd95, class.cldice])
        }));
        let means = [self.dice, self.iou, mean(|class| class.hd95), mean(|class| class.cldice)];
        rows.push(row("mean", all, means));
        let width = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
        for [name, part, dice, iou, hd95, cldice] in rows {
            writeln!(f, "{name:width$}  {part:>7}  {dice:>6}  {iou:>6}  {hd95:>6}  {cldice:>6}")?;
        }
        write!(f, "{} of the pixels of {} images are right", share(self.accuracy), self.images)
    }
}

pub fn run(options: &Eval) -> Result<()> {
    let device = train::device(&options.device)?;
    let (net, _vs, meta) = weights::load(&options.weights, device)?;
    let windows = Windows::new(&options.windows, meta.tile, meta.shape.depth)?;
    let mut data = options.data.clone();
    data.resize = data.resize.or(meta.resize);
    data.merge_digits |= meta.classes.names == ["background", "digit"];
    meta.classes.agree(options.data.classes.as_deref(), &options.data.ignore)?;
    let (_, validation) =
        Dataset::open_both(&data, meta.tile as u32, options.seed, Some(&meta.classes))?;
    ensure!(
        *validation.classes() == meta.classes,
        "the weights know the classes {}, and the data have {}",
        meta.classes.names.join(", "),
        validation.classes().names.join(", ")
    );
    println!("{}: {}", validation.origin(), validation.summary());
    let pass = Pass::new("eval", validation.len());
    let outcome =
        evaluate(&net, &validation, &windows, device, Detail::All, |done| pass.done(done))?;
    drop(pass);
    println!("{}", outcome.scores);
    if let Some(path) = &options.json {
        files::write(path, serde_json::to_string_pretty(&outcome.scores)?.as_bytes())?;
        println!("scores in {}", path.display());
    }
    if let Some(path) = &options.overlay {
        overlay::validation(path, &validation, &outcome.predictions, meta.ground)?;
        println!("pictures in {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Tensor {
        let classes: Vec<i64> = rows
            .iter()
            .flat_map(|row| row.bytes())
            .map(
                |symbol| if symbol == b'x' { i64::from(IGNORED) } else { i64::from(symbol - b'0') },
            )
            .collect();
        Tensor::from_slice(&classes).view([1, rows.len() as i64, -1])
    }

    #[test]
    fn shapes_are_compared_class_by_class() {
        let truth = mask(&["0000000", "0111110", "0000000", "2200000"]);
        let gap = mask(&["0000000", "0110110", "0000000", "0000000"]);
        let [hd95, cldice] = shape_scores(&gap, &truth, 1).unwrap();
        assert!(hd95.unwrap() < 1.0 + 1e-9, "{hd95:?}");
        assert!((cldice.unwrap() - 2.0 * 0.8 / 1.8).abs() < 1e-6, "{cldice:?}");
        assert_eq!(shape_scores(&truth, &truth, 1).unwrap()[0], Some(0.0));
        assert!((shape_scores(&truth, &truth, 1).unwrap()[1].unwrap() - 1.0).abs() < 1e-6);
        // Nothing found of what is there: infinitely far, which a mean leaves out.
        assert_eq!(shape_scores(&gap, &truth, 2).unwrap(), [None, Some(0.0)]);
        assert_eq!(shape_scores(&gap, &gap, 2).unwrap(), [None, None]);
        let left_out = mask(&["0000000", "0111110", "0000000", "xxxxxxx"]);
        let wrong = mask(&["0000000", "0111110", "0000000", "1111111"]);
        assert_eq!(shape_scores(&wrong, &left_out, 1).unwrap()[0], Some(0.0));
    }

    #[test]
    fn tables_have_a_line_a_class_and_dashes_for_nothing() {
        let class = |name: &str, dice, hd95| ClassScore {
            name: name.to_owned(),
            pixels: 50,
            dice,
            iou: None,
            hd95,
            cldice: Some(0.5),
        };
        let scores = Scores {
            images: 2,
            accuracy: Some(0.75),
            dice: Some(0.8),
            iou: None,
            classes: vec![class("membrane", Some(0.8), Some(1.25)), class("x", None, None)],
        };
        let text = scores.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "class      pixels    Dice     IoU    HD95  clDice");
        assert_eq!(lines[1], "membrane   50.0 %  0.8000       -    1.25  0.5000");
        assert_eq!(lines[2], "x          50.0 %       -       -       -  0.5000");
        assert_eq!(lines[3], "mean      100.0 %  0.8000       -    1.25  0.5000");
        assert_eq!(lines[4], "0.7500 of the pixels of 2 images are right");
    }
}
