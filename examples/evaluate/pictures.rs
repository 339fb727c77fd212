//! Images that are read ahead, few at a time.

use anyhow::Result;
use examples_support::{ahead::Ahead, images, issues::Issue};
use image::RgbImage;
use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tch::{Kind, Tensor};

/// How many images are held decoded, and were at most.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn hold(&self, image: RgbImage) -> Picture {
        let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        Picture { image, gauge: self.clone() }
    }

    #[cfg(test)]
    pub fn most(&self) -> usize {
        assert_eq!(self.0.now.load(Ordering::SeqCst), 0, "nothing is held any more");
        self.0.most.load(Ordering::SeqCst)
    }
}

/// A decoded image.
#[derive(Debug)]
pub struct Picture {
    image: RgbImage,
    gauge: Gauge,
}

impl Deref for Picture {
    type Target = RgbImage;

    fn deref(&self) -> &RgbImage {
        &self.image
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        self.gauge.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Decodes an image, or says what is wrong with its file.
pub fn read(path: &Path, gauge: &Gauge) -> Result<Picture, Issue> {
    match images::decode(path) {
        Ok(image) => Ok(gauge.hold(image)),
        Err(error) => {
            let message = error.root_cause().to_string();
            Err(Issue { file: path.to_owned(), line: None, message })
        }
    }
}

/// How many images a thread reads ahead.
const AHEAD: usize = 4;

/// The images of `paths` in order, read ahead by `workers` threads: no more than these hold are in
/// memory, however many paths there are.
pub fn stream(paths: Vec<PathBuf>, workers: usize, gauge: &Gauge) -> Ahead<Result<Picture, Issue>> {
    let gauge = gauge.clone();
    Ahead::start(paths.len(), workers, AHEAD, move |i| read(&paths[i], &gauge))
}

/// As [`stream`], two images at a time.
pub fn stream_pairs(
    pairs: Vec<(PathBuf, PathBuf)>,
    workers: usize,
    gauge: &Gauge,
) -> Ahead<Result<[Picture; 2], Issue>> {
    let gauge = gauge.clone();
    Ahead::start(pairs.len(), workers, AHEAD, move |i| {
        let (a, b) = &pairs[i];
        Ok([read(a, &gauge)?, read(b, &gauge)?])
    })
}

/// The most images that [`stream`] holds, the one in use included.
#[cfg(test)]
pub fn bound(workers: usize) -> usize {
    // What a thread has sent, and the one that it is about to send.
    workers * (AHEAD + 1) + 1
}

/// An image as (1, 3, H, W) of bytes.
pub fn tensor(image: &RgbImage) -> Tensor {
    let size = [1, i64::from(image.height()), i64::from(image.width()), 3];
    Tensor::from_slice(image.as_raw()).view(size).permute([0, 3, 1, 2])
}

/// (1, 3, H, W) with values from 0 to 255 as an image.
pub fn image(tensor: &Tensor) -> Result<RgbImage> {
    let (_, _, height, width) = tensor.size4()?;
    let bytes = tensor.clamp(0.0, 255.0).round().to_kind(Kind::Uint8);
    let bytes = bytes.permute([0, 2, 3, 1]).contiguous().view([-1]);
    let raw = Vec::<u8>::try_from(&bytes)?;
    let image = RgbImage::from_raw(u32::try_from(width)?, u32::try_from(height)?, raw);
    image.ok_or_else(|| anyhow::anyhow!("no image of {width} x {height}"))
}

/// Where `a` and `b` of the same size differ, in black, and by how much: as many times brighter as
/// shows it best.
pub fn difference(a: &RgbImage, b: &RgbImage) -> (RgbImage, f32) {
    let gap = |(a, b): (&u8, &u8)| a.abs_diff(*b);
    let greatest = a.as_raw().iter().zip(b.as_raw()).map(gap).max().unwrap_or(0);
    let factor = (255.0 / f32::from(greatest.max(1))).floor().clamp(1.0, 16.0);
    let mut out = a.clone();
    for (out, gap) in out.iter_mut().zip(a.as_raw().iter().zip(b.as_raw()).map(gap)) {
        *out = (f32::from(gap) * factor) as u8;
    }
    (out, factor)
}
