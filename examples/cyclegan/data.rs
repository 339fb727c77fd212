//! Two sets of images: those of two folders, or the built-in digits in two guises.

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use examples_support::{
    ahead::Ahead,
    builtin::{Digit, Split, digits},
    images,
    issues::{self, Issue},
    parallel, pixels,
    resample::{resize, square},
    rng::{Rng, seeded},
};
use image::{Rgb, RgbImage, imageops};
use rand::{Rng as _, seq::SliceRandom};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tch::{Device, Tensor};

/// A built-in pair. A is white ink on black; no digit of A is one of B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pair {
    /// B is black ink on white
    Inverted,
    /// B is yellow ink on blue
    Coloured,
}

/// Paper and ink.
type Palette = [[u8; 3]; 2];

const WHITE_ON_BLACK: Palette = [[0; 3], [255; 3]];

impl Pair {
    fn palette(self) -> Palette {
        match self {
            Pair::Inverted => [[255; 3], [0; 3]],
            Pair::Coloured => [[24, 44, 140], [250, 205, 60]],
        }
    }
}

/// The images of one kind, in memory.
#[derive(Debug)]
pub struct Set {
    /// Squares, somewhat larger than is trained on where they are cropped.
    images: Vec<RgbImage>,
    side: u32,
    fliplr: f64,
}

/// What a run is trained on and looked at with.
#[derive(Debug)]
pub struct Data {
    pub train: Arc<[Set; 2]>,
    /// Images of both kinds to look at, (N, 3, S, S) in [-1, 1].
    pub shown: [Tensor; 2],
    /// What they should become, where that is known; training does not see it.
    pub truth: Option<[Tensor; 2]>,
}

/// Images of folders to look at.
const SHOWN: usize = 8;

impl Data {
    /// The built-in pair at a size; what is looked at are digits of other writers.
    pub fn builtin(pair: Pair, side: u32, fliplr: f64, device: Device) -> Self {
        let digits_of = |split, palette, kept: &dyn Fn(usize) -> bool| -> Vec<RgbImage> {
            let kept = digits(split).iter().enumerate().filter(|(i, _)| kept(*i));
            kept.map(|(_, digit)| drawn(digit, palette, side)).collect()
        };
        let guises = [WHITE_ON_BLACK, pair.palette()];
        let set = |kind: usize| {
            let images = digits_of(Split::Train, guises[kind], &|i| i % 2 == kind);
            Set { images, side, fliplr }
        };
        let [a, b] =
            guises.map(|guise| pixels::to_tensor(&digits_of(Split::Val, guise, &|_| true), device));
        Data {
            train: Arc::new([set(0), set(1)]),
            truth: Some([b.shallow_clone(), a.shallow_clone()]),
            shown: [a, b],
        }
    }

    /// The images of two folders, and some of them to look at.
    pub fn folders(
        folders: [(&str, &Path); 2],
        side: u32,
        fliplr: f64,
        skip: bool,
        device: Device,
    ) -> Result<Self> {
        let set = |(option, folder)| Set::open(option, folder, side, fliplr, skip);
        let [a, b] = folders;
        let sets = [set(a)?, set(b)?];
        let shown = sets.each_ref().map(|set| {
            let (all, shown) = (set.images.len(), set.images.len().min(SHOWN));
            let spread = (0..shown).map(|i| &set.images[i * all / shown]);
            let middle = |image| set.crop(image, [set.margin(image) / 2; 2]);
            pixels::to_tensor(&spread.map(middle).collect::<Vec<_>>(), device)
        });
        Ok(Data { train: Arc::new(sets), shown, truth: None })
    }

    /// Batches for an epoch over the larger set; the smaller begins anew as often as is needed.
    pub fn batches(
        &self,
        seed: [u64; 2],
        batch: usize,
        workers: usize,
    ) -> Ahead<[Vec<RgbImage>; 2]> {
        let [seed, epoch] = seed;
        let orders = [0, 1].map(|kind| {
            let mut rng = seeded(&[seed, epoch, kind as u64]);
            self.train[kind].order(self.steps(batch) * batch, &mut rng)
        });
        let train = self.train.clone();
        Ahead::start(self.steps(batch), workers, 2, move |number| {
            [0, 1].map(|kind| {
                let mut rng = seeded(&[seed, epoch, number as u64, kind as u64]);
                let indices = &orders[kind][number * batch..(number + 1) * batch];
                indices.iter().map(|&i| train[kind].get(i, &mut rng)).collect()
            })
        })
    }

    /// Steps of an epoch.
    pub fn steps(&self, batch: usize) -> usize {
        let larger = self.train[0].images.len().max(self.train[1].images.len());
        larger.div_ceil(batch)
    }

    pub fn summary(&self) -> String {
        let [a, b] = self.train.each_ref().map(|set| set.images.len());
        format!("{a} images of A, {b} of B, none of which belongs to another")
    }
}

impl Set {
    /// The middle squares of all images in a folder. The error names every unreadable one; with `skip`
    /// they are left out instead.
    fn open(option: &str, folder: &Path, side: u32, fliplr: f64, skip: bool) -> Result<Self> {
        let shown = folder.display();
        let paths = images::list(folder).with_context(|| format!("--{option}"))?;
        ensure!(!paths.is_empty(), "--{option}: no .jpg, .jpeg or .png in {shown}");
        // A tenth more, for crops.
        let larger = side + side / 10;
        let read = parallel::map(paths.len(), |i| Ok(square(&images::decode(&paths[i])?, larger)));
        let issue = |(path, read): (&PathBuf, &Result<RgbImage>)| {
            let message = format!("unreadable: {}", read.as_ref().err()?.root_cause());
            Some(Issue { file: path.clone(), line: None, message })
        };
        let unreadable: Vec<Issue> = paths.iter().zip(&read).filter_map(issue).collect();
        if !unreadable.is_empty() {
            let list = issues::list(&unreadable);
            if !skip {
                bail!("{list}\n--skip-unreadable leaves them out");
            }
            println!("left out: {list}");
        }
        let images: Vec<RgbImage> = read.into_iter().filter_map(Result::ok).collect();
        ensure!(!images.is_empty(), "--{option}: no image in {shown} can be read");
        Ok(Set { images, side, fliplr })
    }

    /// So many indices, each image once before any is there again.
    fn order(&self, count: usize, rng: &mut Rng) -> Vec<usize> {
        let mut order = Vec::new();
        while order.len() < count {
            let mut round: Vec<usize> = (0..self.images.len()).collect();
            round.shuffle(rng);
            order.append(&mut round);
        }
        order.truncate(count);
        order
    }

    /// By how much an image is larger than what is trained on.
    fn margin(&self, image: &RgbImage) -> u32 {
        image.width() - self.side
    }

    fn crop(&self, image: &RgbImage, [x, y]: [u32; 2]) -> RgbImage {
        imageops::crop_imm(image, x, y, self.side, self.side).to_image()
    }

    /// A random crop of image `i`, perhaps mirrored.
    fn get(&self, i: usize, rng: &mut Rng) -> RgbImage {
        let margin = self.margin(&self.images[i]);
        let corner = [(); 2].map(|()| rng.random_range(0..=margin));
        let image = self.crop(&self.images[i], corner);
        match rng.random::<f64>() < self.fliplr {
            true => imageops::flip_horizontal(&image),
            false => image,
        }
    }
}

fn drawn(digit: &Digit, [paper, ink]: Palette, side: u32) -> RgbImage {
    let mixed = |cover: f32| {
        let channel = |c: usize| {
            let (from, to) = (f32::from(paper[c]), f32::from(ink[c]));
            (from + (to - from) * cover).round() as u8
        };
        Rgb([0, 1, 2].map(channel))
    };
    let small = RgbImage::from_fn(8, 8, |x, y| mixed(digit.ink[y as usize][x as usize]));
    resize(&small, side, side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::{Folder, assert_has};

    #[test]
    fn no_digit_is_in_both_guises_and_the_truth_is_that_of_the_shown() {
        let data = Data::builtin(Pair::Inverted, 8, 0.0, Device::Cpu);
        let [a, b] = data.train.each_ref().map(|set| &set.images);
        assert_eq!([a.len(), b.len()], [719, 718]);
        let inverted = |image: &RgbImage| {
            let mut image = image.clone();
            imageops::invert(&mut image);
            image
        };
        // Other digits, if a few that look the same.
        let twins = a.iter().filter(|image| b.contains(&inverted(image))).count();
        assert!(twins < 5, "{twins}");
        let [truth, _] = data.truth.unwrap();
        assert_eq!(data.shown[0].size(), [360, 3, 8, 8]);
        // Opposite in sign, but for the rounding of enlarged pixels.
        assert!((truth + &data.shown[0]).abs().max().double_value(&[]) < 0.01);
        let coloured = Data::builtin(Pair::Coloured, 20, 0.0, Device::Cpu);
        assert_eq!(coloured.shown[1].size(), [360, 3, 20, 20]);
    }

    #[test]
    fn an_epoch_is_over_the_larger_set_and_the_smaller_comes_round() {
        let folder = Folder::new("cyclegan-sets");
        for i in 0..5 {
            folder.image(&format!("a/{i}.png"), 20 + i, 16);
        }
        folder.image("b/deep/0.jpg", 9, 30);
        folder.image("b/1.png", 8, 8);
        let (a, b) = (folder.path("a"), folder.path("b"));
        let data = Data::folders([("a", &a), ("b", &b)], 8, 0.5, false, Device::Cpu).unwrap();
        assert_eq!((data.steps(2), data.shown[1].size()), (3, vec![2, 3, 8, 8]));
        let all = |epoch| data.batches([0, epoch], 2, 2).collect::<Vec<_>>();
        assert_eq!(all(0), all(0));
        assert_ne!(all(0), all(1));
        assert!(all(0).iter().all(|[a, b]| (a.len(), b.len()) == (2, 2)));
        let order = data.train[1].order(6, &mut seeded(&[1]));
        assert_eq!(order.iter().filter(|i| **i == 0).count(), 3);
    }

    #[test]
    fn what_is_wrong_with_folders_is_named() {
        let folder = Folder::new("cyclegan-wrong");
        folder.image("a/1.png", 9, 9);
        folder.text("empty/x.txt", "");
        let open = |b: &str, skip| {
            let (a, b) = (folder.path("a"), folder.path(b));
            let data = Data::folders([("a", &a), ("b", &b)], 8, 0.0, skip, Device::Cpu);
            format!("{:#}", data.unwrap_err())
        };
        assert_has(&open("none", false), &["--b", "cannot list", "none"]);
        assert_has(&open("empty", false), &["--b: no .jpg, .jpeg or .png", "empty"]);
        folder.text("bad/2.png", "no image");
        assert_has(&open("bad", false), &["bad/2.png: unreadable", "--skip-unreadable"]);
        assert_has(&open("bad", true), &["--b: no image", "can be read"]);
    }
}
