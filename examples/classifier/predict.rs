//! Classes of images of the user's.

use crate::{
    options::{Output, Predict},
    weights,
};
use anyhow::{Result, bail};
use examples_support::{
    files, images,
    labelled::store::{self, planes},
    resample::square,
    train,
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write};
use tch::{Kind, no_grad_guard};

#[derive(Debug, Serialize)]
struct Prediction {
    file: String,
    class: String,
    probability: f64,
    probabilities: BTreeMap<String, f64>,
}

pub fn run(options: &Predict) -> Result<()> {
    let _guard = no_grad_guard();
    let device = train::device(&options.device)?;
    let (net, _vs, meta) = weights::load(&options.weights, device)?;
    let paths = images::find(&options.sources)?;
    let width = paths.iter().map(|path| path.display().to_string().chars().count()).max();
    let width = width.unwrap_or(0).min(60);
    let (mut predictions, mut unreadable) = (Vec::new(), Vec::new());
    for path in &paths {
        let mut image = match images::decode(path) {
            Ok(image) => square(&image, meta.side),
            Err(error) => {
                unreadable.push(format!("{}: {}", path.display(), error.root_cause()));
                continue;
            }
        };
        if options.invert {
            image::imageops::invert(&mut image);
        }
        let shape = [1, meta.channels as i64, i64::from(meta.side), i64::from(meta.side)];
        let input = store::images(&planes(&image, meta.channels), shape, device);
        let log_p = meta.link.log_probabilities(&net.forward(&input, false));
        let p = Vec::<f64>::try_from(log_p.exp().to_kind(Kind::Double).view(-1))?;
        let best = (0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0);
        let prediction = Prediction {
            file: path.display().to_string(),
            class: meta.classes[best].clone(),
            probability: p[best],
            probabilities: meta.classes.iter().cloned().zip(p).collect(),
        };
        println!("{:width$}  {}  {:.4}", prediction.file, prediction.class, prediction.probability);
        predictions.push(prediction);
    }
    let (file, text) = match options.format {
        Output::Csv => ("predictions.csv", csv(&predictions)),
        Output::Json => ("predictions.json", serde_json::to_string_pretty(&predictions)?),
    };
    files::write(&options.out.join(file), text.as_bytes())?;
    println!("{} images, {}", predictions.len(), options.out.join(file).display());
    if !unreadable.is_empty() {
        bail!("{} images could not be read:\n  {}", unreadable.len(), unreadable.join("\n  "));
    }
    Ok(())
}

fn csv(predictions: &[Prediction]) -> String {
    let quoted = |text: &str| match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut text = "file,class,probability\n".to_owned();
    for Prediction { file, class, probability, .. } in predictions {
        let _ = writeln!(text, "{},{},{probability:.5}", quoted(file), quoted(class));
    }
    text
}
