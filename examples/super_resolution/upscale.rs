//! Enlarging images with a trained network.

use crate::{options::Upscale, train};
use anyhow::{Context, Result};
use examples_support::{files, images, pixels, png, train::device};
use tch::no_grad;

pub fn run(options: &Upscale) -> Result<()> {
    let device = device(&options.device)?;
    let (net, scale) = train::load(&options.weights, device)?;
    let sources = images::find(&options.sources)?;
    for source in &sources {
        let image = images::decode(source)?;
        let large = no_grad(|| net.forward(&pixels::to_tensor(&[image], device)));
        let image = pixels::to_images(&large)?.pop().context("one image")?;
        let path = options.out.join(format!("{}.png", images::unique_stem(source, &sources)));
        files::write(&path, &png(&image)?)?;
        let (width, height) = image.dimensions();
        println!("{}: {width} x {height} pixels, {scale} times as large", path.display());
    }
    Ok(())
}
