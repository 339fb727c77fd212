//! Images of the user's in the other kind.

use crate::{
    options::{Kind, Translate},
    weights,
};
use anyhow::{Context, Result, bail};
use examples_support::{
    files,
    images::{self, unique_stem},
    pixels, png,
    progress::Pass,
    resample::square,
    train,
};
use image::RgbImage;
use tch::{Tensor, no_grad_guard};

pub fn run(options: &Translate) -> Result<()> {
    let _guard = no_grad_guard();
    let device = train::device(&options.device)?;
    let (generators, _vs, meta) = weights::load(&options.weights, device)?;
    let generator = match options.to {
        Kind::A => &generators.to_a,
        Kind::B => &generators.to_b,
    };
    let paths = images::find(&options.sources)?;
    let pass = Pass::new("translate", paths.len());
    let mut unreadable = Vec::new();
    for (done, path) in paths.iter().enumerate() {
        pass.done(done);
        let image = match images::decode(path) {
            Ok(image) => image,
            Err(error) => {
                unreadable.push(format!("{}: {}", path.display(), error.root_cause()));
                continue;
            }
        };
        let image = if options.full { image } else { square(&image, meta.shape.side) };
        let input = pixels::to_tensor(&[image], device);
        let output = translated(&input, meta.shape.multiple(), |x| generator.forward(x));
        let output: RgbImage = pixels::to_images(&output)?.pop().context("one image")?;
        let place = options.out.join(format!("{}.png", unique_stem(path, &paths)));
        files::write(&place, &png(&output)?)?;
    }
    drop(pass);
    println!("{} images in {}", paths.len() - unreadable.len(), options.out.display());
    if !unreadable.is_empty() {
        bail!("{} images could not be read:\n  {}", unreadable.len(), unreadable.join("\n  "));
    }
    Ok(())
}

/// Applies a network to images whose sides it could not halve: the border is repeated for it, and cut
/// off again.
fn translated(images: &Tensor, multiple: u32, net: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let (_, _, height, width) = images.size4().expect("(N, C, H, W)");
    // Reflecting at the border needs some pixels of it.
    let least = 4 * i64::from(multiple);
    let up = |side: i64| (side.max(least) as u64).next_multiple_of(multiple.into()) as i64 - side;
    let padded = images.pad([0, up(width), 0, up(height)], "replicate", None);
    net(&padded).narrow(2, 0, height).narrow(3, 0, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::drawing;
    use tch::{Device, Kind as TensorKind};

    #[test]
    fn images_of_any_size_come_back_in_it() {
        let _draws = drawing();
        for (height, width) in [(16, 20), (17, 23), (1, 1), (3, 40)] {
            let images = Tensor::rand([1, 3, height, width], (TensorKind::Float, Device::Cpu));
            let net = |x: &Tensor| {
                assert!(x.size()[2] % 4 == 0 && x.size()[3] % 4 == 0 && x.size()[2] >= 16);
                x * 2.0
            };
            assert_eq!(translated(&images, 4, net), images * 2.0);
        }
    }
}
