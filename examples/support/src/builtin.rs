//! The built-in data: real handwritten digits on real photographs, composed on the fly.
//!
//! Digits and photographs are in `examples/assets`; `ATTRIBUTION.md` there says whose they are.

use crate::{
    draw::luma,
    resample::{place, resize},
    rng::{Rng, seeded},
};
use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::Rng as _;
use std::{array, sync::LazyLock};

/// Which digits and photographs a scene may use; the two splits share none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Digits 0 to 1436 and the training photographs.
    Train,
    /// Digits 1437 to 1796, mostly by other writers, and the held-out photographs.
    Val,
}

/// The names of the classes.
pub const CLASSES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// An endless set of scenes, each made from its number alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenes {
    /// Which digits and photographs.
    pub split: Split,
    /// Width and height in pixels; at least 32.
    pub size: (u32, u32),
    /// Another seed, other scenes.
    pub seed: u64,
}

/// A digit in a scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// The digit.
    pub class: usize,
    /// Left, top, right, bottom in pixels, tight around the ink.
    pub xyxy: [f32; 4],
}

/// A picture and what is on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The picture.
    pub image: RgbImage,
    /// One to six digits.
    pub objects: Vec<Object>,
    /// The digit of each pixel: 0 for none, else 1 + class.
    pub mask: GrayImage,
}

/// Digits in the training split.
const TRAIN_DIGITS: usize = 1437;
/// The size of a digit's cell as a fraction of the shorter side of the scene.
const CELL: [f32; 2] = [0.12, 0.42];
/// Greatest share of the smaller box that two boxes may have in common.
const OVERLAP: f32 = 0.15;

/// The digits of a split by themselves, in the order of the data set.
pub fn digits(split: Split) -> &'static [Digit] {
    let (train, val) = ASSETS.digits.split_at(TRAIN_DIGITS);
    match split {
        Split::Train => train,
        Split::Val => val,
    }
}

/// The photographs of a split by name, in the order of their files.
pub fn photos(split: Split) -> impl Iterator<Item = (&'static str, &'static RgbImage)> {
    let photos = match split {
        Split::Train => &ASSETS.train,
        Split::Val => &ASSETS.val,
    };
    photos.iter().map(|(name, photo)| (*name, &photo[0]))
}

impl Scenes {
    /// Scene `index`: the same for the same split, size, seed and index.
    pub fn scene(&self, index: u64) -> Scene {
        let assets = &*ASSETS;
        let rng = &mut seeded(&[self.seed, self.split as u64, index]);
        let digits = digits(self.split);
        let photos = match self.split {
            Split::Train => &assets.train,
            Split::Val => &assets.val,
        };
        let photo = &photos[rng.random_range(0..photos.len())].1;
        let mut image = background(photo, self.size, rng);
        let mut objects: Vec<Object> = Vec::new();
        let mut mask = GrayImage::new(self.size.0, self.size.1);
        for _ in 0..rng.random_range(1..=6) {
            // In a crowded scene a digit may find no room; the first always does.
            for _ in 0..3 {
                let digit = &digits[rng.random_range(0..digits.len())];
                let ink = Ink::new(digit, self.size, rng);
                let apart = |b: [f32; 4]| objects.iter().all(|o| overlap(o.xyxy, b) <= OVERLAP);
                let place = (0..8).find_map(|_| ink.fit(self.size, rng).filter(|&b| apart(b)));
                if let Some(xyxy) = place {
                    ink.print(&mut image, xyxy, rng);
                    ink.stamp(&mut mask, xyxy, digit.class);
                    objects.push(Object { class: digit.class, xyxy });
                    break;
                }
            }
        }
        Scene { image, objects, mask }
    }
}

/// A random part of a photograph, perhaps mirrored, darker or brighter, with more or less contrast.
fn background(photo: &Photo, (width, height): (u32, u32), rng: &mut Rng) -> RgbImage {
    let whole = &photo[0];
    let zoom = rng.random_range(0.4..=1f32);
    let fit = (whole.width() as f32 / width as f32).min(whole.height() as f32 / height as f32);
    // Photograph pixels per scene pixel.
    let step = zoom * fit;
    // The smaller copy that still has about a pixel for each of the scene's.
    let level = (step.max(1.).log2().round() as usize).min(photo.len() - 1);
    let source = &photo[level];
    let step = step / whole.width() as f32 * source.width() as f32;
    let left = rng.random::<f32>() * (source.width() as f32 - step * width as f32);
    let top = rng.random::<f32>() * (source.height() as f32 - step * height as f32);
    let (mut scale, mut offset) = ([1. / step; 2], [-left / step, -top / step]);
    if rng.random() {
        (scale[0], offset[0]) = (-scale[0], width as f32 - offset[0]);
    }
    let mut image = RgbImage::new(width, height);
    place(source, &mut image, scale, offset);

    let contrast = rng.random_range(0.6..=1.2f32);
    let shift = rng.random_range(-40.0..=40f32);
    let levels: [u8; 256] = array::from_fn(|v| ((v as f32 - 128.) * contrast + 128. + shift) as u8);
    for value in image.as_mut() {
        *value = levels[usize::from(*value)];
    }
    image
}

/// How much of each pixel a digit covers, cut to where it covers anything.
struct Ink {
    width: usize,
    height: usize,
    cover: Vec<f32>,
}

impl Ink {
    fn new(digit: &Digit, scene: (u32, u32), rng: &mut Rng) -> Self {
        let side = rng.random_range(CELL[0]..=CELL[1]) * scene.0.min(scene.1) as f32;
        let aspect = rng.random_range(0.8..=1.25f32).sqrt();
        // Half a cell more all round, because a stroke at the border fades out beyond it.
        let pixels = |side: f32| (side * 9. / 8.).round().max(4.) as usize;
        let (width, height) = (pixels(side * aspect), pixels(side / aspect));
        let columns: Vec<_> = (0..width).map(|x| Cubic::at(x, width)).collect();
        let mut rows = vec![0f32; 8 * width];
        for (row, line) in rows.chunks_exact_mut(width).zip(&digit.ink) {
            for (value, cubic) in row.iter_mut().zip(&columns) {
                *value = cubic.mix(|i| line[i]);
            }
        }
        let mut cover = vec![0f32; width * height];
        let (mut low, mut high) = ([width, height], [0, 0]);
        for y in 0..height {
            let cubic = Cubic::at(y, height);
            for x in 0..width {
                // Grey is the share of ink in a cell, so the edge of a stroke is halfway up.
                let value = cubic.mix(|i| rows[i * width + x]);
                let value = ((value - 0.3) / 0.4).clamp(0., 1.);
                cover[y * width + x] = value;
                if value >= 0.25 {
                    low = [low[0].min(x), low[1].min(y)];
                    high = [high[0].max(x + 1), high[1].max(y + 1)];
                }
            }
        }
        let [left, top] = [low[0].min(high[0]), low[1].min(high[1])];
        let cut = |row: &[f32]| row[left..high[0]].to_vec();
        let cover = cover.chunks_exact(width).take(high[1]).skip(top).flat_map(cut).collect();
        Self { width: high[0] - left, height: high[1] - top, cover }
    }

    /// A random place inside the scene, on whole pixels.
    fn fit(&self, scene: (u32, u32), rng: &mut Rng) -> Option<[f32; 4]> {
        let (width, height) = (self.width as u32, self.height as u32);
        if width == 0 || height == 0 || width > scene.0 || height > scene.1 {
            return None;
        }
        let left = rng.random_range(0..=scene.0 - width);
        let top = rng.random_range(0..=scene.1 - height);
        Some([left, top, left + width, top + height].map(|v| v as f32))
    }

    /// Prints the digit in a colour that stands out from what is there.
    fn print(&self, image: &mut RgbImage, [left, top, ..]: [f32; 4], rng: &mut Rng) {
        let stride = 3 * image.width() as usize;
        let start = top as usize * stride + 3 * left as usize;
        let pixels = &mut image.as_mut()[start..];
        let lumas = pixels
            .chunks(stride)
            .take(self.height)
            .flat_map(|line| line[..3 * self.width].chunks_exact(3))
            .map(|p| luma(Rgb([p[0], p[1], p[2]])));
        let (sum, squares) = lumas.fold((0., 0.), |(s, q), v| (s + v, q + v * v));
        let n = (self.width * self.height) as f32;
        let mean = sum / n;
        let spread = (squares / n - mean * mean).max(0.).sqrt();
        let colour = ink_colour(mean, spread, rng);
        let covers = self.cover.chunks_exact(self.width);
        for (line, covers) in pixels.chunks_mut(stride).zip(covers) {
            for (pixel, &cover) in line.chunks_exact_mut(3).zip(covers) {
                for (value, ink) in pixel.iter_mut().zip(colour.0) {
                    let under = f32::from(*value);
                    *value = (under + (f32::from(ink) - under) * cover + 0.5) as u8;
                }
            }
        }
    }

    /// Marks the pixels of which the digit covers at least half.
    fn stamp(&self, mask: &mut GrayImage, [left, top, ..]: [f32; 4], class: usize) {
        for (y, covers) in self.cover.chunks_exact(self.width).enumerate() {
            for (x, _) in covers.iter().enumerate().filter(|(_, cover)| **cover >= 0.5) {
                let at = (left as u32 + x as u32, top as u32 + y as u32);
                mask.put_pixel(at.0, at.1, Luma([1 + class as u8]));
            }
        }
    }
}

/// A random colour that differs in brightness from a background of this brightness and unrest.
fn ink_colour(mean: f32, spread: f32, rng: &mut Rng) -> Rgb<u8> {
    let contrast = 70. + 0.5 * spread;
    for _ in 0..16 {
        let colour = Rgb(rng.random::<[u8; 3]>());
        if (luma(colour) - mean).abs() >= contrast {
            return colour;
        }
    }
    if mean < 128. { Rgb([255; 3]) } else { Rgb([0; 3]) }
}

/// Catmull-Rom interpolation between four of a digit's eight rows or columns, zero outside.
struct Cubic {
    first: isize,
    weights: [f32; 4],
}

impl Cubic {
    /// For pixel `i` of `n`, which span nine cells: the digit's eight and half a one on either side.
    fn at(i: usize, n: usize) -> Self {
        let position = (i as f32 + 0.5) * 9. / n as f32 - 1.;
        let t = position - position.floor();
        let (t2, t3) = (t * t, t * t * t);
        let weights = [
            -0.5 * t + t2 - 0.5 * t3,
            1. - 2.5 * t2 + 1.5 * t3,
            0.5 * t + 2. * t2 - 1.5 * t3,
            -0.5 * t2 + 0.5 * t3,
        ];
        Self { first: position.floor() as isize - 1, weights }
    }

    fn mix(&self, value: impl Fn(usize) -> f32) -> f32 {
        let term = |(k, weight): (usize, &f32)| match usize::try_from(self.first + k as isize) {
            Ok(i @ 0..8) => weight * value(i),
            _ => 0.,
        };
        self.weights.iter().enumerate().map(term).sum()
    }
}

/// The area two boxes share, as a fraction of the smaller.
fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.);
    let area = |b: [f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    width * height / area(a).min(area(b))
}

/// A handwritten digit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Digit {
    /// The digit.
    pub class: usize,
    /// The share of ink in each cell, row by row.
    pub ink: [[f32; 8]; 8],
}

/// A photograph, and copies of half, a quarter and an eighth of its size.
type Photo = [RgbImage; 4];

struct Assets {
    digits: Vec<Digit>,
    train: Vec<(&'static str, Photo)>,
    val: Vec<(&'static str, Photo)>,
}

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    macro_rules! photos {
        ($split:literal: $($name:literal),+ $(,)?) => {
            vec![$((
                $name,
                photo(include_bytes!(concat!("../../assets/photos/", $split, "-", $name, ".jpg"))),
            )),+]
        };
    }
    Assets {
        digits: read_digits(),
        train: photos![
            "train":
            "astronaut-1",
            "astronaut-2",
            "brick-1",
            "chelsea-1",
            "chelsea-2",
            "clock-1",
            "coffee-1",
            "coffee-2",
            "gravel-1",
            "hubble-1",
        ],
        val: photos!["val": "camera-1", "grass-1", "retina-1", "rocket-1"],
    }
});

fn photo(bytes: &[u8]) -> Photo {
    let image = image::load_from_memory(bytes).expect("a built-in photograph decodes").to_rgb8();
    array::from_fn(|k| resize(&image, image.width() >> k, image.height() >> k))
}

/// Each row of the sheet is a digit: its class, then 8 x 8 cells of ink from 0 to 16.
fn read_digits() -> Vec<Digit> {
    let bytes = include_bytes!("../../assets/digits.png");
    let sheet = image::load_from_memory(bytes).expect("the built-in digits decode").to_luma8();
    let digit = |row: &[u8]| Digit {
        class: usize::from(row[0]),
        ink: array::from_fn(|y| array::from_fn(|x| f32::from(row[1 + 8 * y + x]) / 16.)),
    };
    sheet.as_raw().chunks_exact(65).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: Scenes = Scenes { split: Split::Train, size: (96, 96), seed: 0 };

    #[test]
    fn the_digits_are_all_there() {
        let digits = read_digits();
        assert_eq!(digits.len(), 1797);
        let mut counts = [0; 10];
        for digit in &digits {
            counts[digit.class] += 1;
        }
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let ink: f32 = digits.iter().flat_map(|d| d.ink.as_flattened()).sum::<f32>() * 16.;
        assert_eq!(ink, 561_718.);
        assert_eq!([Split::Train, Split::Val].map(|split| super::digits(split).len()), [1437, 360]);
    }

    #[test]
    fn photographs_have_names() {
        let names = |split| photos(split).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(Split::Val), ["camera-1", "grass-1", "retina-1", "rocket-1"]);
        assert!(names(Split::Train).contains(&"gravel-1"));
        assert!(photos(Split::Train).all(|(_, photo)| photo.dimensions() == (256, 256)));
    }

    #[test]
    fn a_scene_depends_on_split_seed_and_index_alone() {
        let scene = TRAIN.scene(7);
        assert_eq!(scene, TRAIN.scene(7));
        assert_ne!(scene, TRAIN.scene(8));
        assert_ne!(scene, Scenes { seed: 1, ..TRAIN }.scene(7));
        assert_ne!(scene, Scenes { split: Split::Val, ..TRAIN }.scene(7));
    }

    /// Scores of earlier runs are comparable only while this holds.
    #[test]
    fn scenes_do_not_change_between_versions() {
        let scene = Scenes { split: Split::Val, ..TRAIN }.scene(0);
        let boxes: Vec<_> = scene.objects.iter().map(|o| (o.class, o.xyxy)).collect();
        assert_eq!(boxes, [(1, [29., 47., 36., 72.]), (6, [8., 7., 26., 46.])]);
    }

    #[test]
    fn boxes_are_inside_and_keep_apart() {
        for size in [(96, 96), (64, 160), (320, 200)] {
            let scenes = Scenes { size, ..TRAIN };
            let mut counts = [0; 7];
            for index in 0..200 {
                let Scene { image, objects, mask } = scenes.scene(index);
                assert_eq!((image.dimensions(), mask.dimensions()), (size, size));
                counts[objects.len()] += 1;
                for (i, a) in objects.iter().enumerate() {
                    let [x0, y0, x1, y1] = a.xyxy;
                    assert!(0. <= x0 && x1 <= size.0 as f32 && 0. <= y0 && y1 <= size.1 as f32);
                    assert!(x1 - x0 >= 1. && y1 - y0 >= 5., "{:?}", a.xyxy);
                    for b in &objects[..i] {
                        assert!(overlap(a.xyxy, b.xyxy) <= OVERLAP);
                    }
                }
            }
            assert_eq!(counts[0], 0);
            assert!(counts[1..].iter().all(|&n| n > 5), "{counts:?}");
        }
    }

    #[test]
    fn the_mask_fills_the_boxes_with_their_digits_and_nothing_else() {
        for index in 0..50 {
            let Scene { objects, mask, .. } = TRAIN.scene(index);
            let inside = |o: &Object, x: u32, y: u32| {
                let [x0, y0, x1, y1] = o.xyxy.map(|v| v as u32);
                (x0..x1).contains(&x) && (y0..y1).contains(&y)
            };
            for (x, y, pixel) in mask.enumerate_pixels().filter(|(.., pixel)| pixel[0] > 0) {
                let digit = usize::from(pixel[0]) - 1;
                assert!(objects.iter().any(|o| o.class == digit && inside(o, x, y)));
            }
            for object in &objects {
                let marked = mask.enumerate_pixels().filter(|&(x, y, pixel)| {
                    usize::from(pixel[0]) == object.class + 1 && inside(object, x, y)
                });
                let [x0, y0, x1, y1] = object.xyxy;
                let share = marked.count() as f32 / ((x1 - x0) * (y1 - y0));
                assert!((0.15..0.9).contains(&share), "{index} {object:?}: {share}");
            }
        }
    }

    #[test]
    fn boxes_are_tight_around_visible_ink() {
        let plain = RgbImage::from_pixel(96, 96, Rgb([100; 3]));
        for (i, digit) in read_digits().iter().enumerate().step_by(17) {
            let rng = &mut seeded(&[i as u64]);
            let ink = Ink::new(digit, (96, 96), rng);
            let xyxy = ink.fit((96, 96), rng).unwrap();
            let mut image = plain.clone();
            ink.print(&mut image, xyxy, rng);
            // Every side of the box touches a pixel that differs clearly, and none beyond it does.
            let differs = |x: u32, y: u32| (luma(*image.get_pixel(x, y)) - 100.).abs() > 14.;
            let [left, top, right, bottom] = xyxy.map(|v| v as u32);
            assert!(
                (left..right).any(|x| differs(x, top))
                    && (left..right).any(|x| differs(x, bottom - 1))
            );
            assert!(
                (top..bottom).any(|y| differs(left, y))
                    && (top..bottom).any(|y| differs(right - 1, y))
            );
            for (x, y, pixel) in image.enumerate_pixels() {
                let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
                assert!(inside || *pixel == Rgb([100; 3]), "{x} {y}");
            }
        }
    }

    #[test]
    fn ink_stands_out_from_dark_and_light() {
        let rng = &mut seeded(&[3]);
        for mean in (0..=255).step_by(5) {
            for spread in [0., 40., 80.] {
                let apart = (luma(ink_colour(mean as f32, spread, rng)) - mean as f32).abs();
                assert!(apart >= 70., "{mean} {spread} {apart}");
            }
        }
    }
}
