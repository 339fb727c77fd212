//! Images of a trained decoder.

use crate::options::Sample;
use crate::weights;
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
    let (net, _vs, meta) = weights::load(&options.weights, device)?;
    tch::manual_seed(options.seed);
    let images = no_grad(|| net.images(&noise(options.count, meta.latent, device)));
    let columns = (options.count as f64).sqrt().ceil() as usize;
    files::write(&options.out, &png(&sheet(&images, columns, 32)?)?)?;
    println!("{} images in {}", options.count, options.out.display());
    Ok(())
}
