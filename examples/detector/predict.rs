//! Boxes on images of the user's.

use crate::{
    data::augment::letterbox,
    infer::{self, Found},
    options::{Output, Predict},
    report, weights,
};
use anyhow::{Result, bail};
use examples_support::{
    draw, files,
    images::{decode, find, unique_stem},
    png,
    progress::Pass,
    train,
};
use image::RgbImage;
use serde::Serialize;
use std::{fmt::Write, path::Path};
use tch::{Kind, Tensor};

#[derive(Serialize)]
struct Entry {
    file: String,
    class: String,
    /// Left, top, right, bottom in pixels.
    xyxy: [f32; 4],
    score: f32,
}

pub fn run(options: &Predict) -> Result<()> {
    let device = train::device(&options.device)?;
    let (net, _vs, meta) = weights::load(&options.weights, device)?;
    let anchors = meta.anchors()?;
    let images = find(&options.sources)?;
    let selection = options.thresholds.above(options.conf);
    let pass = Pass::new("predict", images.len());
    let (mut entries, mut unreadable, mut boxes) = (Vec::new(), Vec::new(), 0);
    for (done, path) in images.iter().enumerate() {
        pass.done(done);
        let image = match decode(path) {
            Ok(image) => image,
            Err(error) => {
                unreadable.push(format!("{error:#}"));
                continue;
            }
        };
        let (input, transform) = letterbox(&image, (meta.side, meta.side));
        let side = i64::from(meta.side);
        let input = Tensor::from_slice(input.as_raw()).view([1, side, side, 3]);
        let input = input.permute([0, 3, 1, 2]).to_device(device).to_kind(Kind::Float) / 255.0;
        let found = infer::detect(&net, &anchors, &input, &[transform], selection)?;
        let found = &found[0];
        boxes += found.len();
        let stem = unique_stem(path, &images);
        save_picture(&options.out.join(format!("{stem}.png")), &image, found, &meta.classes)?;
        match options.format {
            Output::Yolo => {
                let path = options.out.join(format!("{stem}.txt"));
                files::write(&path, yolo(found, &image)?.as_bytes())?;
            }
            Output::Json => entries.extend(found.iter().map(|f| Entry {
                file: path.display().to_string(),
                class: meta.classes[f.class].clone(),
                xyxy: f.xyxy,
                score: f.score,
            })),
        }
    }
    drop(pass);
    if options.format == Output::Json {
        let text = serde_json::to_string_pretty(&entries)?;
        files::write(&options.out.join("predictions.json"), text.as_bytes())?;
    }
    println!(
        "{boxes} boxes on {} images in {}",
        images.len() - unreadable.len(),
        options.out.display()
    );
    if !unreadable.is_empty() {
        bail!("{} images could not be read:\n  {}", unreadable.len(), unreadable.join("\n  "));
    }
    Ok(())
}

fn save_picture(path: &Path, image: &RgbImage, found: &[Found], classes: &[String]) -> Result<()> {
    let picture = draw::annotated(image, &report::marks_of(found, classes), 480);
    files::write(path, &png(&picture)?)
}

fn yolo(found: &[Found], image: &RgbImage) -> Result<String> {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let mut text = String::new();
    for f in found {
        let [x1, y1, x2, y2] = f.xyxy;
        writeln!(
            text,
            "{} {:.6} {:.6} {:.6} {:.6} {:.4}",
            f.class,
            (x1 + x2) / 2.0 / width,
            (y1 + y2) / 2.0 / height,
            (x2 - x1) / width,
            (y2 - y1) / height,
            f.score
        )?;
    }
    Ok(text)
}
