//! Random tiles: crop, flips, quarter turns, zoom, elastic deformation, brightness and contrast. Image
//! and mask go through one map, and every pixel is resampled once.

use super::Sample;
use examples_support::rng::Rng;
use image::{GrayImage, RgbImage};
use rand::Rng as _;
use std::array;

/// Random changes of training tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    /// Probability of a left-right flip.
    pub fliplr: f32,
    /// Probability of an up-down flip.
    pub flipud: f32,
    /// Probability of a quarter turn; with both flips all eight positions occur.
    pub rot90: f32,
    /// Points of a grid are moved by up to this many pixels.
    pub elastic: f32,
    /// Zoom by a factor in [1/(1+zoom), 1+zoom].
    pub zoom: f32,
    /// Shift by up to this share of white.
    pub brightness: f32,
    /// Stretch by a factor in [1-contrast, 1+contrast].
    pub contrast: f32,
}

/// Pixels between the points of the elastic grid.
pub const GRID: f32 = 64.0;

/// A tile of `side` pixels from a random place of an image.
pub fn tile((image, mask): &Sample, side: usize, augment: &Augment, rng: &mut Rng) -> Sample {
    let map = Map::new(image.dimensions(), side, augment, rng);
    let levels = levels(augment, rng);
    let mut out_image = Vec::with_capacity(3 * side * side);
    let mut out_mask = Vec::with_capacity(side * side);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (pixels, classes) = (image.as_raw(), mask.as_raw());
    let mut row = map.row_buffer();
    for y in 0..side {
        map.row(y, &mut row);
        for &[px, py] in &row {
            let (x0, x1, fx) = between(px, width);
            let (y0, y1, fy) = between(py, height);
            let at = |x: usize, y: usize| 3 * (y * width + x);
            let corners = [at(x0, y0), at(x1, y0), at(x0, y1), at(x1, y1)];
            for c in 0..3 {
                let [a, b, d, e] = corners.map(|corner| f32::from(pixels[corner + c]));
                let upper = a + (b - a) * fx;
                let lower = d + (e - d) * fx;
                out_image.push(levels[(upper + (lower - upper) * fy + 0.5) as usize]);
            }
            let (x, y) = (if fx < 0.5 { x0 } else { x1 }, if fy < 0.5 { y0 } else { y1 });
            out_mask.push(classes[y * width + x]);
        }
    }
    let side = side as u32;
    let whole = "as many pixels as the tile";
    (
        RgbImage::from_raw(side, side, out_image).expect(whole),
        GrayImage::from_raw(side, side, out_mask).expect(whole),
    )
}

/// The two pixels around a position, and the share of the second; beyond the border is the mirror.
fn between(position: f32, length: usize) -> (usize, usize, f32) {
    let position = position - 0.5;
    let low = position.floor();
    (mirror(low as i64, length), mirror(low as i64 + 1, length), position - low)
}

fn mirror(i: i64, length: usize) -> usize {
    let length = length as i64;
    if (0..length).contains(&i) {
        return i as usize;
    }
    let i = i.rem_euclid(2 * length);
    i.min(2 * length - 1 - i) as usize
}

/// Where each pixel of a tile comes from.
struct Map {
    side: usize,
    /// From offsets in the tile, measured from its centre, to offsets in the image.
    matrix: [[f32; 2]; 2],
    centre: [f32; 2],
    /// Displacements of the elastic grid, rows first; empty for none.
    grid: Vec<[f32; 2]>,
    columns: usize,
}

impl Map {
    fn new(size: (u32, u32), side: usize, augment: &Augment, rng: &mut Rng) -> Self {
        let mut chance = |p: f32| rng.random::<f32>() < p;
        let (fliplr, flipud) = (chance(augment.fliplr), chance(augment.flipud));
        let turn = chance(augment.rot90);
        let around = |rng: &mut Rng, reach: f32| {
            if reach > 0.0 { rng.random_range(-reach..=reach) } else { 0.0 }
        };
        // A zoom of 2 shows half of what no zoom shows.
        let scale = (-around(rng, augment.zoom.ln_1p())).exp();
        let signs = [fliplr, flipud].map(|flip| if flip { -scale } else { scale });
        let matrix = match turn {
            false => [[signs[0], 0.0], [0.0, signs[1]]],
            true => [[0.0, signs[0]], [signs[1], 0.0]],
        };
        let centre = [size.0, size.1].map(|length| {
            let (length, span) = (length as f32, scale * side as f32);
            // On whole pixels, so that a tile that is only cut out is not resampled.
            let room = (length - span).max(0.0);
            let start = (rng.random::<f32>() * (room + 1.0)).floor().min(room.floor());
            if room > 0.0 { start + span / 2.0 } else { length / 2.0 }
        });
        let columns = (side as f32 / GRID).ceil() as usize + 3;
        let count = if augment.elastic > 0.0 { columns * columns } else { 0 };
        let grid = (0..count).map(|_| array::from_fn(|_| around(rng, augment.elastic))).collect();
        Map { side, matrix, centre, grid, columns }
    }

    fn row_buffer(&self) -> Vec<[f32; 2]> {
        vec![[0.0; 2]; self.side]
    }

    /// The positions in the image of the pixels of row `y`, from the image's corner.
    fn row(&self, y: usize, out: &mut [[f32; 2]]) {
        let half = self.side as f32 / 2.0;
        let v = y as f32 + 0.5 - half;
        let knots = self.knots(y);
        for (x, out) in out.iter_mut().enumerate() {
            let u = x as f32 + 0.5 - half;
            let moved = self.displacement(&knots, x);
            *out = array::from_fn(|axis| {
                let [a, b] = self.matrix[axis];
                self.centre[axis] + a * u + b * v + moved[axis]
            });
        }
    }

    /// The grid interpolated to row `y`.
    fn knots(&self, y: usize) -> Vec<[f32; 2]> {
        if self.grid.is_empty() {
            return Vec::new();
        }
        let (first, weights) = spline(y);
        let column = |x: usize| {
            array::from_fn(|axis| {
                let at = |k: usize| self.grid[(first + k) * self.columns + x][axis];
                (0..4).map(|k| weights[k] * at(k)).sum()
            })
        };
        (0..self.columns).map(column).collect()
    }

    fn displacement(&self, knots: &[[f32; 2]], x: usize) -> [f32; 2] {
        if knots.is_empty() {
            return [0.0; 2];
        }
        let (first, weights) = spline(x);
        array::from_fn(|axis| (0..4).map(|k| weights[k] * knots[first + k][axis]).sum())
    }
}

/// The first of four knots around a pixel and their weights: a cubic B-spline, which has no creases.
fn spline(pixel: usize) -> (usize, [f32; 4]) {
    let position = (pixel as f32 + 0.5) / GRID;
    let t = position.fract();
    let (t2, t3, s) = (t * t, t * t * t, 1.0 - t);
    let weights = [
        s * s * s / 6.0,
        (3.0 * t3 - 6.0 * t2 + 4.0) / 6.0,
        (-3.0 * t3 + 3.0 * t2 + 3.0 * t + 1.0) / 6.0,
        t3 / 6.0,
    ];
    (position as usize, weights)
}

/// What becomes of each shade, by one random draw for the whole tile.
fn levels(augment: &Augment, rng: &mut Rng) -> [u8; 256] {
    let mut around = |reach: f32| if reach > 0.0 { rng.random_range(-reach..=reach) } else { 0.0 };
    let shift = 255.0 * around(augment.brightness);
    let stretch = 1.0 + around(augment.contrast);
    array::from_fn(|v| ((v as f32 - 127.5) * stretch + 127.5 + shift + 0.5) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::rng::seeded;
    use image::{Luma, Rgb};

    const NONE: Augment = Augment {
        fliplr: 0.0,
        flipud: 0.0,
        rot90: 0.0,
        elastic: 0.0,
        zoom: 0.0,
        brightness: 0.0,
        contrast: 0.0,
    };
    const ALL: Augment =
        Augment { fliplr: 0.5, flipud: 0.5, rot90: 0.5, elastic: 20.0, zoom: 0.3, ..NONE };

    /// Discs, bright in the image and 1 in the mask.
    fn discs(width: u32, height: u32) -> Sample {
        let inside = |x: u32, y: u32| {
            let (dx, dy) = ((x % 48) as f32 - 23.5, (y % 40) as f32 - 19.5);
            dx * dx + dy * dy < 14.0 * 14.0
        };
        (
            RgbImage::from_fn(width, height, |x, y| Rgb([if inside(x, y) { 200 } else { 0 }; 3])),
            GrayImage::from_fn(width, height, |x, y| Luma([inside(x, y).into()])),
        )
    }

    #[test]
    fn a_plain_tile_is_cut_out_pixel_by_pixel() {
        let image = RgbImage::from_fn(70, 50, |x, y| Rgb([x as u8, y as u8, 7]));
        let mask = GrayImage::from_fn(70, 50, |x, y| Luma([(x + y) as u8]));
        let mut corners = std::collections::HashSet::new();
        for seed in 0..200 {
            let (out, out_mask) =
                tile(&(image.clone(), mask.clone()), 48, &NONE, &mut seeded(&[seed]));
            let [left, top, _] = out.get_pixel(0, 0).0.map(u32::from);
            corners.insert((left, top));
            for (x, y, pixel) in out.enumerate_pixels() {
                assert_eq!(pixel, image.get_pixel(left + x, top + y));
                assert_eq!(out_mask.get_pixel(x, y), mask.get_pixel(left + x, top + y));
            }
        }
        // 23 by 3 places, up to the last one.
        assert!(corners.len() > 50 && corners.iter().any(|c| c.0 == 22), "{}", corners.len());
        assert!(corners.iter().all(|&(x, y)| x <= 22 && y <= 2));
    }

    #[test]
    fn flips_and_turns_give_eight_tiles_without_resampling() {
        let image = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, 7]));
        let sample = (image, GrayImage::new(32, 32));
        let augment = Augment { elastic: 0.0, zoom: 0.0, ..ALL };
        let mut seen = std::collections::HashSet::new();
        for seed in 0..100 {
            let (out, _) = tile(&sample, 32, &augment, &mut seeded(&[seed]));
            let mut pixels: Vec<_> = out.pixels().map(|p| p.0).collect();
            seen.insert([out.get_pixel(0, 0).0, out.get_pixel(31, 0).0]);
            pixels.sort_unstable();
            pixels.dedup();
            assert_eq!(pixels.len(), 1024);
        }
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn image_and_mask_stay_aligned_under_every_deformation() {
        let sample = discs(300, 220);
        let plain = tile(&sample, 128, &NONE, &mut seeded(&[0]));
        for seed in 0..30 {
            let (image, mask) = tile(&sample, 128, &ALL, &mut seeded(&[seed]));
            assert_ne!((&image, &mask), (&plain.0, &plain.1));
            // A pixel is bright exactly where it is marked, up to the rounding of its own border.
            let wrong = image.pixels().zip(mask.pixels()).filter(|(p, m)| match p[0] {
                0..=40 => m[0] == 1,
                160.. => m[0] == 0,
                _ => false,
            });
            assert_eq!(wrong.count(), 0, "seed {seed}");
            let border = image.pixels().filter(|p| (41..160).contains(&p[0])).count();
            assert!(border < 128 * 128 / 12, "{border} pixels are neither");
            assert!(mask.pixels().any(|m| m[0] == 1) && mask.pixels().any(|m| m[0] == 0));
        }
    }

    #[test]
    fn deformation_bends_and_does_not_fold() {
        let augment = Augment { elastic: 20.0, ..NONE };
        for seed in 0..20 {
            let map = Map::new((500, 500), 256, &augment, &mut seeded(&[seed]));
            let (mut row, mut most) = (map.row_buffer(), 0f32);
            let mut last: Option<Vec<[f32; 2]>> = None;
            for y in 0..256 {
                map.row(y, &mut row);
                assert!(row.windows(2).all(|pair| pair[1][0] > pair[0][0]), "folded");
                if let Some(last) = &last {
                    assert!(last.iter().zip(&row).all(|(a, b)| b[1] > a[1]), "folded");
                }
                for (x, p) in row.iter().enumerate() {
                    let straight = map.centre[0] - 128.0 + x as f32 + 0.5;
                    most = most.max((p[0] - straight).abs());
                }
                last = Some(row.clone());
            }
            assert!((4.0..20.0).contains(&most), "{most}");
        }
    }

    #[test]
    fn images_smaller_than_a_tile_are_mirrored() {
        let sample = discs(20, 10);
        let (image, mask) = tile(&sample, 64, &NONE, &mut seeded(&[3]));
        assert_eq!(image.dimensions(), (64, 64));
        let own: Vec<u8> = sample.1.iter().copied().collect();
        assert!(mask.iter().all(|m| own.contains(m)));
        assert_eq!(mask.get_pixel(22, 27), sample.1.get_pixel(0, 0));
        assert_eq!(mask.get_pixel(21, 27), sample.1.get_pixel(0, 0));
        assert_eq!([-1, -2, 5, 6, 9, 10, -11].map(|i| mirror(i, 5)), [0, 1, 4, 3, 0, 0, 0]);
        assert_eq!(mirror(-7, 1), 0);
    }

    #[test]
    fn brightness_and_contrast_leave_the_mask() {
        let sample = discs(96, 80);
        let augment = Augment { brightness: 0.2, contrast: 0.3, ..NONE };
        let shades = |seed| {
            let (image, mask) = tile(&sample, 80, &augment, &mut seeded(&[seed]));
            assert!(mask.iter().all(|&m| m < 2));
            let mut shades: Vec<u8> = image.pixels().map(|p| p[0]).collect();
            shades.sort_unstable();
            shades.dedup();
            shades
        };
        assert!((0..10).all(|seed| shades(seed).len() <= 2));
        assert_ne!(shades(1), shades(2));
    }
}
