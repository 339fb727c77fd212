//! The pictures that go in, and what the picture that comes out begins as.

use crate::options::{Init, Options};
use anyhow::{Context, Result, bail};
use examples_support::{
    builtin::{self, Split},
    images, pixels,
    resample::resize,
};
use image::RgbImage;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The deviation of the noise at the beginning, of which some stays where a style says nothing.
const NOISE: f64 = 0.1;

/// Pictures (1, 3, H, W) in [-1, 1].
#[derive(Debug)]
pub struct Pictures {
    pub content: Option<Tensor>,
    pub style: Tensor,
}

impl Pictures {
    pub fn open(options: &Options, device: Device) -> Result<Self> {
        let read = |option: &str, name: &str| -> Result<Tensor> {
            let picture = open(name).with_context(|| format!("--{option} {name}"))?;
            Ok(pixels::to_tensor(&[limited(picture, options.img)], device))
        };
        Ok(Pictures {
            content: options.content.as_deref().map(|name| read("content", name)).transpose()?,
            style: read("style", &options.style)?,
        })
    }

    /// The picture before the first step, as large as the content or, without one, as the style.
    pub fn begin(&self, init: Init, seed: u64) -> Tensor {
        let like = self.content.as_ref().unwrap_or(&self.style);
        match init {
            Init::Content => like.copy(),
            Init::Style => {
                let size = like.size();
                let side = [size[2], size[3]];
                self.style.upsample_bilinear2d(side, false, None, None).clamp(-1.0, 1.0)
            }
            Init::Noise => {
                tch::manual_seed(seed as i64);
                // Drawn on the CPU: a GPU draws other numbers from the same seed.
                let noise = Tensor::randn(like.size(), (Kind::Float, Device::Cpu));
                let mean = like.mean_dim([2i64, 3].as_slice(), true, None::<Kind>);
                (noise.to_device(like.device()) * NOISE + mean).clamp(-1.0, 1.0)
            }
        }
    }
}

/// An image file, or a built-in photograph.
fn open(name: &str) -> Result<RgbImage> {
    let path = Path::new(name);
    if path.exists() {
        return images::decode(path);
    }
    let all = || [Split::Train, Split::Val].into_iter().flat_map(builtin::photos);
    if let Some((_, photo)) = all().find(|(known, _)| *known == name) {
        return Ok(photo.clone());
    }
    let known: Vec<&str> = all().map(|(known, _)| known).collect();
    bail!("no such file; the built-in photographs are {}", known.join(", "))
}

/// The picture with its longer side at most `side`.
fn limited(picture: RgbImage, side: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let longer = width.max(height);
    if longer <= side {
        return picture;
    }
    let scaled = |v: u32| (f64::from(v) * f64::from(side) / f64::from(longer)).round().max(1.0);
    resize(&picture, scaled(width) as u32, scaled(height) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn pictures_begin_as_they_should() {
        let line = "style_transfer --content chelsea-1 --style gravel-1 --img 40";
        let options = Options::parse_from(line.split(' '));
        let pictures = Pictures::open(&options, Device::Cpu).unwrap();
        let begin = |init, seed| pictures.begin(init, seed);
        assert_eq!(Some(&begin(Init::Content, 0)), pictures.content.as_ref());
        assert_eq!(begin(Init::Style, 0), pictures.style);
        assert_eq!(begin(Init::Noise, 1), begin(Init::Noise, 1));
        assert_ne!(begin(Init::Noise, 1), begin(Init::Noise, 2));
        assert_eq!(limited(RgbImage::new(300, 200), 150).dimensions(), (150, 100));
        assert_eq!(limited(RgbImage::new(30, 20), 150).dimensions(), (30, 20));
    }
}
