//! Images of a trained generator.

use crate::{options::Sample, weights};
use anyhow::{Result, ensure};
use examples_support::{files, labelled::sheet, nets::noise, png, train};
use tch::no_grad;

pub fn run(options: &Sample) -> Result<()> {
    ensure!(
        (1..=10_000).contains(&options.count),
        "--count: expected 1 to 10000, got {}",
        options.count
    );
    let device = train::device(&options.device)?;
    let (generator, _vs, meta) = weights::load(&options.weights, device)?;
    tch::manual_seed(options.seed);
    let images = no_grad(|| generator.forward(&noise(options.count, meta.latent, device), false));
    let columns = (options.count as f64).sqrt().ceil() as usize;
    files::write(&options.out, &png(&sheet(&images, columns, 32)?)?)?;
    println!("{} images of {} in {}", options.count, meta.loss, options.out.display());
    Ok(())
}
