//! Photographs, and crops of them.

use crate::options::Train;
use anyhow::{Context, Result, ensure};
use examples_support::{
    builtin::{self, Split},
    images, parallel, pixels,
    resample::resize,
    rng::Rng,
};
use image::RgbImage;
use rand::{Rng as _, seq::SliceRandom};
use std::path::Path;
use tch::{Device, Tensor};

/// A photograph (1, 3, H, W) in [-1, 1] and its name.
#[derive(Debug)]
pub struct Photo {
    pub name: String,
    pub pixels: Tensor,
}

/// Photographs to train with, and those held out.
#[derive(Debug)]
pub struct Data {
    pub training: Vec<Photo>,
    pub validation: Vec<Photo>,
}

impl Data {
    pub fn open(options: &Train, device: Device) -> Result<Self> {
        let (training, mut validation) = match &options.data[..] {
            "builtin" => (of_split(Split::Train, device), of_split(Split::Val, device)),
            folder => of_folder(Path::new(folder), options, device)
                .with_context(|| format!("--data {folder}"))?,
        };
        // The sides of what is compared are multiples of the scale.
        for photo in &mut validation {
            let size = photo.pixels.size();
            let [height, width] = [2, 3].map(|dim| size[dim] / options.scale * options.scale);
            photo.pixels = photo.pixels.narrow(2, 0, height).narrow(3, 0, width);
        }
        for photo in training.iter().chain(&validation) {
            let size = photo.pixels.size();
            ensure!(
                size[2] >= options.crop && size[3] >= options.crop,
                "{}: {} x {} pixels are less than --crop {}",
                photo.name,
                size[3],
                size[2],
                options.crop
            );
        }
        Ok(Data { training, validation })
    }

    /// Crops (batch, 3, crop, crop) of random training photographs, turned and mirrored at random.
    pub fn batch(&self, options: &Train, rng: &mut Rng) -> Tensor {
        let side = options.crop;
        let crop = |_| {
            let photo = &self.training[rng.random_range(0..self.training.len())].pixels;
            let size = photo.size();
            let mut place = |length: i64| rng.random_range(0..=length - side);
            let (top, left) = (place(size[2]), place(size[3]));
            let mut crop = photo.narrow(2, top, side).narrow(3, left, side);
            if rng.random() {
                crop = crop.flip([3]);
            }
            if rng.random() {
                crop = crop.transpose(2, 3);
            }
            crop
        };
        Tensor::cat(&(0..options.batch).map(crop).collect::<Vec<_>>(), 0)
    }
}

fn photo(name: &str, image: &RgbImage, device: Device) -> Photo {
    Photo { name: name.to_owned(), pixels: pixels::to_tensor(std::slice::from_ref(image), device) }
}

fn of_split(split: Split, device: Device) -> Vec<Photo> {
    builtin::photos(split).map(|(name, image)| photo(name, image, device)).collect()
}

fn of_folder(folder: &Path, options: &Train, device: Device) -> Result<(Vec<Photo>, Vec<Photo>)> {
    let mut paths = images::list(folder)?;
    ensure!(paths.len() >= 2, "expected two photographs or more, found {}", paths.len());
    let read = |i: usize| -> Result<RgbImage> {
        let image = images::decode(&paths[i])?;
        let (width, height) = image.dimensions();
        let factor = f64::from(options.photo) / f64::from(width.max(height));
        let scaled = |v: u32| (f64::from(v) * factor).round().max(1.0) as u32;
        Ok(if factor < 1.0 { resize(&image, scaled(width), scaled(height)) } else { image })
    };
    let decoded: Vec<RgbImage> =
        parallel::map(paths.len(), read).into_iter().collect::<Result<_>>()?;
    let mut photos: Vec<Photo> = paths
        .drain(..)
        .zip(&decoded)
        .map(|(path, image)| photo(&path.display().to_string(), image, device))
        .collect();
    photos.shuffle(&mut examples_support::rng::seeded(&[options.run.seed]));
    let held = (photos.len() as f64 * options.val_share).round() as usize;
    let training = photos.split_off(held.clamp(1, photos.len() - 1));
    Ok((training, photos))
}
