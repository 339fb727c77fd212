//! Masks of the user's images.

use crate::{
    data::limited,
    options::Predict,
    overlay, weights,
    windows::{Windows, argmax},
};
use anyhow::{Context, Result, bail};
use examples_support::{
    files,
    images::{decode, find, unique_stem},
    png,
    progress::Pass,
    resample, train,
};
use image::{DynamicImage, ImageFormat};
use std::io::Cursor;

pub fn run(options: &Predict) -> Result<()> {
    let device = train::device(&options.device)?;
    let (net, _vs, meta) = weights::load(&options.weights, device)?;
    let windows = Windows::new(&options.windows, meta.tile, meta.shape.depth)?;
    let images = find(&options.sources)?;
    let pass = Pass::new("predict", images.len());
    let mut unreadable = Vec::new();
    for (done, path) in images.iter().enumerate() {
        pass.done(done);
        let image = match decode(path) {
            Ok(image) => image,
            Err(error) => {
                unreadable.push(format!("{error:#}"));
                continue;
            }
        };
        let (width, height) = image.dimensions();
        let small = limited((width, height), meta.resize);
        let mut probabilities =
            windows.probabilities(&net, &resample::resize(&image, small.0, small.1), device);
        if small != (width, height) {
            let size = [i64::from(height), i64::from(width)];
            probabilities = probabilities
                .unsqueeze(0)
                .upsample_bilinear2d(size, false, None, None)
                .squeeze_dim(0);
        }
        let mask = argmax(&probabilities)?;
        let stem = unique_stem(path, &images);
        let place = options.out.join(format!("{stem}.png"));
        files::write(&place, &encoded(&meta.classes.decode(&mask))?)?;
        if !options.no_overlay {
            let picture = overlay::prediction(&image, &mask, &meta.classes, meta.ground);
            files::write(&options.out.join(format!("{stem}_overlay.png")), &png(&picture)?)?;
        }
    }
    drop(pass);
    let values = meta.classes.names.iter().zip(&meta.classes.values);
    println!(
        "{} masks in {}: {}",
        images.len() - unreadable.len(),
        options.out.display(),
        values.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    );
    if !unreadable.is_empty() {
        bail!("{} images could not be read:\n  {}", unreadable.len(), unreadable.join("\n  "));
    }
    Ok(())
}

/// A mask of any depth as a PNG file.
fn encoded(mask: &DynamicImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    mask.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .context("cannot encode a mask")?;
    Ok(bytes)
}
