//! Letterbox, mosaic, scale, translate, hsv and flips. Every output pixel is resampled once.

use super::Label;
use examples_support::{
    resample::{place, resize},
    rng::Rng,
};
use image::{Rgb, RgbImage};
use rand::Rng as _;
use std::array;

/// The grey around letterboxed images.
pub const FILL: u8 = 114;

/// Maps original pixels to output pixels: `output = scale * original + offset`, in x and y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// Negative where the image is flipped.
    pub scale: [f32; 2],
    /// In output pixels.
    pub offset: [f32; 2],
    /// Width and height of the original.
    pub size: (u32, u32),
}

impl Transform {
    /// A box of the original (left, top, right, bottom) in output pixels; it may leave the output.
    pub fn forward(&self, xyxy: [f32; 4]) -> [f32; 4] {
        ordered(array::from_fn(|k| self.scale[k % 2] * xyxy[k] + self.offset[k % 2]))
    }

    /// A box of the output in original pixels, cut at the border of the original.
    pub fn inverse(&self, xyxy: [f32; 4]) -> [f32; 4] {
        let back = array::from_fn(|k| (xyxy[k] - self.offset[k % 2]) / self.scale[k % 2]);
        let size = [self.size.0 as f32, self.size.1 as f32];
        let back = ordered(back);
        array::from_fn(|k| back[k].clamp(0., size[k % 2]))
    }
}

fn ordered([x0, y0, x1, y1]: [f32; 4]) -> [f32; 4] {
    [x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)]
}

/// Fits `image` into `size` (width, height) without changing its shape, centred on grey.
pub fn letterbox(image: &RgbImage, size: (u32, u32)) -> (RgbImage, Transform) {
    let (width, height) = image.dimensions();
    let small = resize_within(image, size);
    let left = (size.0 - small.width()) / 2;
    let top = (size.1 - small.height()) / 2;
    let offset = [left as f32, top as f32];
    let mut canvas = RgbImage::from_pixel(size.0, size.1, Rgb([FILL; 3]));
    place(&small, &mut canvas, [1.; 2], offset);
    let scale = [small.width() as f32 / width as f32, small.height() as f32 / height as f32];
    (canvas, Transform { scale, offset, size: (width, height) })
}

/// The image resized to the largest size of its shape that fits into `size`.
pub fn resize_within(image: &RgbImage, size: (u32, u32)) -> RgbImage {
    let (width, height) = image.dimensions();
    let factor = (f64::from(size.0) / f64::from(width)).min(f64::from(size.1) / f64::from(height));
    let scaled = |side: u32, most: u32| ((f64::from(side) * factor).round() as u32).clamp(1, most);
    resize(image, scaled(width, size.0), scaled(height, size.1))
}

/// Random changes of training images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    /// Probability of a mosaic of four images.
    pub mosaic: f32,
    /// Zoom by a factor between 1 - scale and 1 + scale.
    pub scale: f32,
    /// Shift by up to this fraction of the side.
    pub translate: f32,
    /// Hue: shift by up to this fraction of a turn. Saturation and value: factors between 1 - s and
    /// 1 + s.
    pub hsv: [f32; 3],
    /// Probability of a left-right flip; 0 where that changes the class.
    pub fliplr: f32,
    /// Probability of an up-down flip.
    pub flipud: f32,
}

impl Augment {
    /// No change: images are only letterboxed.
    pub fn none() -> Self {
        Self { mosaic: 0., scale: 0., translate: 0., hsv: [0.; 3], fliplr: 0., flipud: 0. }
    }
}

/// An image to place, its longer side already resized to that of the output, and its labels.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    /// The resized image.
    pub image: &'a RgbImage,
    /// Width and height of the original.
    pub size: (u32, u32),
    /// In pixels of the original.
    pub labels: &'a [Label],
}

/// A training image.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Side by side pixels.
    pub image: RgbImage,
    /// Class and box (left, top, right, bottom in output pixels) of what is left to see.
    pub objects: Vec<(usize, [f32; 4])>,
    /// From the first tile's original to the output.
    pub transform: Transform,
}

/// Puts one tile, or a mosaic of four, through the random changes.
pub fn render(tiles: &[Tile], side: u32, augment: &Augment, rng: &mut Rng) -> Sample {
    let s = side as f32;
    let mut around = |reach: f32| if reach > 0. { rng.random_range(-reach..=reach) } else { 0. };
    let zoom = 1. + around(augment.scale);
    let shift = [0.5 + around(augment.translate), 0.5 + around(augment.translate)].map(|v| v * s);
    // Where the four meet, on a canvas of twice the side.
    let meet = [s + around(0.5 * s), s + around(0.5 * s)];
    let flips = [augment.fliplr, augment.flipud].map(|p| rng.random::<f32>() < p);

    let mut image = RgbImage::from_pixel(side, side, Rgb([FILL; 3]));
    let mut objects = Vec::new();
    let mut first = None;
    for (k, tile) in tiles.iter().enumerate() {
        let size = [tile.image.width() as f32, tile.image.height() as f32];
        let mut scale = [zoom; 2];
        // The corner of the tile relative to the point that `shift` puts somewhere.
        let mut offset: [f32; 2] = array::from_fn(|axis| {
            let corner = match (tiles.len(), (k >> axis) & 1) {
                (1, _) => ((s - size[axis]) / 2.).floor() - s / 2.,
                (_, 0) => meet[axis] - size[axis] - s,
                _ => meet[axis] - s,
            };
            zoom * corner + shift[axis]
        });
        for axis in 0..2 {
            if flips[axis] {
                (scale[axis], offset[axis]) = (-scale[axis], s - offset[axis]);
            }
        }
        place(tile.image, &mut image, scale, offset);
        let original = [tile.size.0 as f32, tile.size.1 as f32];
        let scale = array::from_fn(|axis| scale[axis] * size[axis] / original[axis]);
        let transform = Transform { scale, offset, size: tile.size };
        let labels = tile.labels.iter().filter(|label| !label.crowd);
        objects.extend(
            labels.filter_map(|label| {
                Some((label.class, visible(transform.forward(label.xyxy), s)?))
            }),
        );
        first = first.or(Some(transform));
    }
    jitter(&mut image, augment.hsv, rng);
    Sample { image, objects, transform: first.expect("at least one tile") }
}

/// The part of a box inside the output, if it is still worth finding: at least a tenth of it, 2 pixels
/// each way, no thinner than 1 to 100.
fn visible(xyxy: [f32; 4], side: f32) -> Option<[f32; 4]> {
    let cut = xyxy.map(|v| v.clamp(0., side));
    let size = |b: [f32; 4]| (b[2] - b[0], b[3] - b[1]);
    let ((width, height), (full_width, full_height)) = (size(cut), size(xyxy));
    let keep = width >= 2.
        && height >= 2.
        && width * height >= 0.1 * full_width * full_height
        && width.max(height) <= 100. * width.min(height);
    keep.then_some(cut)
}

/// Shifts the hue and scales saturation and value by one random draw for the whole image.
fn jitter(image: &mut RgbImage, reach: [f32; 3], rng: &mut Rng) {
    if reach.iter().all(|&r| r <= 0.) {
        return;
    }
    let [hue, saturation, value] =
        reach.map(|r| if r > 0. { rng.random_range(-r..=r) } else { 0. });
    // A turn is six sextants of 256 steps.
    let turn = (hue * 1536.).round() as i32;
    let levels =
        |factor: f32| -> [u8; 256] { array::from_fn(|v| (v as f32 * (1. + factor) + 0.5) as u8) };
    let (saturations, values) = (levels(saturation), levels(value));
    for pixel in image.as_mut().chunks_exact_mut(3) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(i32::from);
        let (high, low) = (r.max(g).max(b), r.min(g).min(b));
        let v = i32::from(values[high as usize]);
        let range = high - low;
        if range == 0 {
            pixel.fill(v as u8);
            continue;
        }
        let s = i32::from(saturations[(255 * range / high) as usize]);
        let hue = match high {
            _ if high == r => (g - b) * 256 / range,
            _ if high == g => (b - r) * 256 / range + 512,
            _ => (r - g) * 256 / range + 1024,
        };
        let hue = (hue + turn).rem_euclid(1536);
        let within = hue % 256;
        let low = v * (255 - s) / 255;
        let (falling, rising) = (v - (v - low) * within / 256, low + (v - low) * within / 256);
        let rgb = match hue / 256 {
            0 => [v, rising, low],
            1 => [falling, v, low],
            2 => [low, v, rising],
            3 => [low, falling, v],
            4 => [rising, low, v],
            _ => [v, low, falling],
        };
        pixel.copy_from_slice(&rgb.map(|v| v as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::rng::seeded;

    fn label(xyxy: [f32; 4]) -> Label {
        Label { class: 1, xyxy, crowd: false, area: None }
    }

    /// Black with one white box.
    fn picture(size: (u32, u32), [x0, y0, x1, y1]: [u32; 4]) -> RgbImage {
        RgbImage::from_fn(size.0, size.1, |x, y| {
            let inside = (x0..x1).contains(&x) && (y0..y1).contains(&y);
            Rgb([if inside { 255 } else { 0 }; 3])
        })
    }

    /// The bounding box of what is brighter than the fill.
    fn white(image: &RgbImage) -> [f32; 4] {
        let mut b = [f32::MAX, f32::MAX, 0., 0.];
        for (x, y, pixel) in image.enumerate_pixels() {
            if pixel[0] > 150 {
                let (x, y) = (x as f32, y as f32);
                b = [b[0].min(x), b[1].min(y), b[2].max(x + 1.), b[3].max(y + 1.)];
            }
        }
        b
    }

    fn close(a: [f32; 4], b: [f32; 4], tolerance: f32) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance), "{a:?} and {b:?}");
    }

    #[test]
    fn letterbox_centres_and_maps_back() {
        let image = picture((200, 100), [40, 20, 120, 60]);
        let (out, transform) = letterbox(&image, (64, 64));
        assert_eq!(out.dimensions(), (64, 64));
        assert_eq!(transform.scale, [0.32; 2]);
        assert_eq!(transform.offset, [0., 16.]);
        assert_eq!(*out.get_pixel(5, 15), Rgb([FILL; 3]));
        assert_eq!(*out.get_pixel(5, 48), Rgb([FILL; 3]));
        let want = transform.forward([40., 20., 120., 60.]);
        close(white(&out), want, 1.);
        close(transform.inverse(want), [40., 20., 120., 60.], 1e-3);
        assert_eq!(transform.inverse([-50., -50., 500., 500.]), [0., 0., 200., 100.]);
        // Not square, and enlarged.
        let (out, transform) = letterbox(&picture((10, 20), [0, 0, 10, 20]), (80, 60));
        assert_eq!(out.dimensions(), (80, 60));
        assert_eq!((transform.scale, transform.offset), ([3.; 2], [25., 0.]));
    }

    #[test]
    fn no_augmentation_is_the_letterbox() {
        for size in [(96, 96), (96, 61), (33, 96)] {
            let image = picture(size, [10, 12, 30, 50]);
            let labels = [label([10., 12., 30., 50.])];
            let tile = Tile { image: &image, size, labels: &labels };
            let sample = render(&[tile], 96, &Augment::none(), &mut seeded(&[1]));
            let (boxed, transform) = letterbox(&image, (96, 96));
            assert_eq!((sample.image, sample.transform), (boxed, transform));
            assert_eq!(sample.objects, [(1, transform.forward(labels[0].xyxy))]);
        }
    }

    #[test]
    fn boxes_follow_the_pixels() {
        let augment = Augment {
            mosaic: 0.,
            scale: 0.4,
            translate: 0.2,
            fliplr: 0.5,
            flipud: 0.5,
            ..Augment::none()
        };
        // The original is twice the tile.
        let image = picture((64, 48), [20, 10, 45, 30]);
        let labels = [label([40., 20., 90., 60.])];
        let tile = Tile { image: &image, size: (128, 96), labels: &labels };
        let mut seen = 0;
        for seed in 0..200 {
            let sample = render(&[tile], 64, &augment, &mut seeded(&[seed]));
            if let [(1, xyxy)] = sample.objects[..] {
                seen += 1;
                close(white(&sample.image), xyxy, 1.01);
                let inside = xyxy.iter().all(|&v| v > 0. && v < 64.);
                if inside {
                    close(sample.transform.inverse(xyxy), labels[0].xyxy, 1e-2);
                }
            }
        }
        assert!(seen > 180, "{seen}");
    }

    #[test]
    fn a_mosaic_shows_all_four_and_their_boxes() {
        let images: Vec<_> = (0..4).map(|k| picture((64, 40 + 8 * k), [20, 10, 40, 30])).collect();
        let labels = [label([20., 10., 40., 30.])];
        let tiles: Vec<_> = images
            .iter()
            .map(|image| Tile { image, size: image.dimensions(), labels: &labels })
            .collect();
        let mut counts = [0; 5];
        for seed in 0..100 {
            let augment = Augment { scale: 0.5, translate: 0.1, ..Augment::none() };
            let sample = render(&tiles, 64, &augment, &mut seeded(&[seed]));
            counts[sample.objects.len()] += 1;
            // White pixels are in boxes, up to the soft edges and boxes too small to keep.
            for (_, [x0, y0, x1, y1]) in &sample.objects {
                let at = sample.image.get_pixel((x0 + x1) as u32 / 2, (y0 + y1) as u32 / 2);
                assert_eq!(at[0], 255);
            }
        }
        assert!(counts[2] + counts[3] + counts[4] > 50, "{counts:?}");
        // No zoom, no shift: tiles meet without a gap and keep their scale.
        let sample = render(&tiles, 64, &Augment::none(), &mut seeded(&[5]));
        assert!(sample.objects.iter().all(|(_, b)| b[2] - b[0] <= 20.01));
        assert_eq!(sample.transform.scale, [1.; 2]);
    }

    #[test]
    fn boxes_not_worth_finding_are_dropped() {
        assert_eq!(visible([10., 10., 20., 30.], 64.), Some([10., 10., 20., 30.]));
        assert_eq!(visible([-95., 10., 5., 30.], 64.), None);
        assert_eq!(visible([-45., 10., 5., 30.], 64.), Some([0., 10., 5., 30.]));
        assert_eq!(visible([10., 10., 11.9, 30.], 64.), None);
        assert_eq!(visible([70., 10., 90., 30.], 64.), None);
        assert_eq!(visible([0., 0., 640., 2.], 640.), None);
    }

    #[test]
    fn crowds_are_not_trained_on() {
        let image = RgbImage::new(32, 32);
        let labels = [Label { crowd: true, ..label([0., 0., 20., 20.]) }];
        let tile = Tile { image: &image, size: (32, 32), labels: &labels };
        assert!(render(&[tile], 32, &Augment::none(), &mut seeded(&[1])).objects.is_empty());
    }

    #[test]
    fn jitter_of_nothing_is_the_identity_up_to_rounding() {
        let image = RgbImage::from_fn(64, 64, |x, y| {
            Rgb([(4 * x) as u8, (4 * y) as u8, (2 * (x + y)) as u8])
        });
        let mut out = image.clone();
        jitter(&mut out, [1e-9; 3], &mut seeded(&[1]));
        let apart = image.iter().zip(out.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(apart <= Some(3), "{apart:?}");
    }

    #[test]
    fn jitter_changes_hue_saturation_and_value() {
        let turned = |reach: [f32; 3], seed| {
            let mut image = RgbImage::from_pixel(1, 1, Rgb([200, 40, 40]));
            jitter(&mut image, reach, &mut seeded(&[seed]));
            image.get_pixel(0, 0).0
        };
        for seed in 0..20 {
            let [r, g, b] = turned([0.1, 0., 0.], seed);
            assert!(r == 200 && g.min(b) == 40 && g.max(b) > 40, "hue {:?}", [r, g, b]);
            let [r, g, b] = turned([0., 0.5, 0.], seed);
            assert!(r == 200 && g == b && g != 40, "saturation {:?}", [r, g, b]);
            let [r, g, b] = turned([0., 0., 0.4], seed);
            assert!(r != 200 && g == b && (f32::from(r) / f32::from(g) - 5.).abs() < 0.3);
        }
    }
}
