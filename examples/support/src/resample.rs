//! Resizing and axis-aligned placing of 8-bit RGB images.

use image::{RgbImage, imageops};

/// Resizes with a triangle filter as wide as the reduction, so that nothing aliases; bilinear where
/// it enlarges.
pub fn resize(source: &RgbImage, width: u32, height: u32) -> RgbImage {
    if source.dimensions() == (width, height) {
        return source.clone();
    }
    if source.width() == 0 || source.height() == 0 {
        return RgbImage::new(width, height);
    }
    let (columns, rows) = (taps(source.width(), width), taps(source.height(), height));
    let stride = 3 * source.width() as usize;
    let mut row = vec![0u8; stride];
    let mut sums = vec![0i32; stride];
    let mut out = Vec::with_capacity(3 * width as usize * height as usize);
    for tap in &rows {
        // Rows first: this loop runs along memory.
        sums.fill(HALF);
        for (k, &weight) in tap.weights.iter().enumerate() {
            let line = &source.as_raw()[(tap.start + k) * stride..][..stride];
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum += weight * i32::from(value);
            }
        }
        for (value, &sum) in row.iter_mut().zip(&sums) {
            *value = (sum >> BITS) as u8;
        }
        for tap in &columns {
            let mut sum = [HALF; 3];
            for (&weight, pixel) in tap.weights.iter().zip(row[3 * tap.start..].chunks_exact(3)) {
                for c in 0..3 {
                    sum[c] += weight * i32::from(pixel[c]);
                }
            }
            out.extend(sum.map(|sum| (sum >> BITS) as u8));
        }
    }
    RgbImage::from_raw(width, height, out).expect("three bytes were pushed per pixel")
}

/// The middle square of an image at `side` pixels.
pub fn square(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let shorter = width.min(height);
    if (width, height) == (side, side) || shorter == 0 {
        return image.clone();
    }
    let (left, top) = ((width - shorter) / 2, (height - shorter) / 2);
    resize(&imageops::crop_imm(image, left, top, shorter, shorter).to_image(), side, side)
}

const BITS: u32 = 14;
const HALF: i32 = 1 << (BITS - 1);

struct Tap {
    start: usize,
    weights: Vec<i32>,
}

/// For each output position the source positions it is made of; the weights sum to 2^BITS.
fn taps(from: u32, to: u32) -> Vec<Tap> {
    let ratio = f64::from(from) / f64::from(to);
    let support = ratio.max(1.);
    let last = from as usize - 1;
    let tap = |i: u32| {
        let centre = (f64::from(i) + 0.5) * ratio - 0.5;
        let start = ((centre - support).ceil().max(0.) as usize).min(last);
        let end = ((centre + support).floor().max(0.) as usize).min(last);
        let raw: Vec<f64> =
            (start..=end).map(|k| (1. - (k as f64 - centre).abs() / support).max(0.)).collect();
        let total: f64 = raw.iter().sum();
        let mut weights: Vec<i32> =
            raw.iter().map(|w| (w / total * f64::from(1 << BITS)).round() as i32).collect();
        // What rounding left over goes to the largest, so that a flat image stays flat.
        let rest = (1 << BITS) - weights.iter().sum::<i32>();
        *weights.iter_mut().max().expect("at least one tap") += rest;
        Tap { start, weights }
    };
    (0..to).map(tap).collect()
}

/// Places `source` on `target`: `target position = scale * source position + offset` for x and y,
/// positions measured from the top left corner of the corner pixel. Bilinear; a negative scale
/// mirrors. Pixels whose centre falls outside the source are left as they are.
pub fn place(source: &RgbImage, target: &mut RgbImage, scale: [f32; 2], offset: [f32; 2]) {
    let (width, height) = source.dimensions();
    if width < 2 || height < 2 {
        if width == 0 || height == 0 {
            return;
        }
        // Two equal pixels instead of one, for the loops below need a neighbour.
        let source = resize(source, width.max(2), height.max(2));
        let halved = |scale: f32, side: u32| if side < 2 { scale / 2. } else { scale };
        return place(&source, target, [halved(scale[0], width), halved(scale[1], height)], offset);
    }
    let (columns, first_column) = steps(width, target.width(), scale[0], offset[0]);
    let (rows, first_row) = steps(height, target.height(), scale[1], offset[1]);
    let stride = 3 * width as usize;
    let target_stride = 3 * target.width() as usize;
    // Source rows resampled to the target's columns, in 1/256. Neighbouring target rows share them.
    let mut lines = [0; 2].map(|_| (usize::MAX, vec![0u16; 3 * columns.len()]));
    for (y, row) in rows.iter().enumerate() {
        if lines[1].0 == row.low || lines[0].0 == row.low + 1 {
            lines.swap(0, 1);
        }
        for (k, (held, line)) in lines.iter_mut().enumerate() {
            if *held != row.low + k {
                *held = row.low + k;
                stretch(&source.as_raw()[*held * stride..][..stride], &columns, line);
            }
        }
        let start = (first_row + y) * target_stride + 3 * first_column;
        let out = &mut target.as_mut()[start..][..3 * columns.len()];
        let (upper, lower) = (256 - row.weight, row.weight);
        for ((out, &a), &b) in out.iter_mut().zip(&lines[0].1).zip(&lines[1].1) {
            *out = ((u32::from(a) * upper + u32::from(b) * lower + (1 << 15)) >> 16) as u8;
        }
    }
}

fn stretch(row: &[u8], columns: &[Step], out: &mut [u16]) {
    for (out, column) in out.chunks_exact_mut(3).zip(columns) {
        let pair = &row[3 * column.low..][..6];
        let right = column.weight as u16;
        for k in 0..3 {
            // At most 255 * 256.
            out[k] = u16::from(pair[k]) * (256 - right) + u16::from(pair[k + 3]) * right;
        }
    }
}

/// A position between `low` and its successor.
#[derive(Clone, Copy)]
struct Step {
    low: usize,
    // Of the successor, in 1/256.
    weight: u32,
}

/// The source positions of the target positions that fall inside the source, and the first of these.
fn steps(from: u32, to: u32, scale: f32, offset: f32) -> (Vec<Step>, usize) {
    let mut first = 0;
    let mut steps = Vec::with_capacity(to as usize);
    for i in 0..to {
        let position = (i as f32 + 0.5 - offset) / scale;
        if !(position >= 0. && position < from as f32) {
            continue;
        }
        if steps.is_empty() {
            first = i as usize;
        }
        let position = (position - 0.5).clamp(0., (from - 1) as f32);
        let low = (position as usize).min(from as usize - 2);
        let weight = ((position - low as f32) * 256. + 0.5) as u32;
        steps.push(Step { low, weight });
    }
    (steps, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn ramp(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(4 * x) as u8, (3 * y) as u8, 77]))
    }

    #[test]
    fn resize_keeps_flat_images_flat_and_ramps_straight() {
        let flat = RgbImage::from_pixel(37, 23, Rgb([255, 1, 128]));
        for size in [(5, 7), (37, 23), (80, 3), (100, 61)] {
            let out = resize(&flat, size.0, size.1);
            assert!(out.pixels().all(|p| *p == Rgb([255, 1, 128])), "{size:?}");
        }
        // Halving a ramp: away from the border each pixel is the mean of the two below it.
        let out = resize(&ramp(40, 40), 20, 20);
        for x in 2..18 {
            assert_eq!(out.get_pixel(x, 10)[0], (8 * x + 2) as u8);
        }
    }

    #[test]
    fn place_with_a_whole_offset_copies() {
        let source = ramp(9, 7);
        let mut target = RgbImage::from_pixel(16, 16, Rgb([114; 3]));
        place(&source, &mut target, [1.; 2], [3., 5.]);
        for (x, y, pixel) in target.enumerate_pixels() {
            let inside = (3..12).contains(&x) && (5..12).contains(&y);
            let want = if inside { *source.get_pixel(x - 3, y - 5) } else { Rgb([114; 3]) };
            assert_eq!(*pixel, want, "{x} {y}");
        }
    }

    #[test]
    fn place_mirrors_and_cuts() {
        let source = ramp(8, 8);
        let mut target = RgbImage::new(8, 8);
        place(&source, &mut target, [-1., 1.], [8., -2.]);
        assert_eq!(target.get_pixel(0, 0), source.get_pixel(7, 2));
        assert_eq!(target.get_pixel(7, 5), source.get_pixel(0, 7));
        assert_eq!(*target.get_pixel(7, 6), Rgb([0; 3]));
        let before = target.clone();
        place(&source, &mut target, [1., 1.], [100., 0.]);
        assert_eq!(target, before);
    }

    #[test]
    fn place_spreads_a_single_pixel() {
        let mut target = RgbImage::new(6, 6);
        let source = RgbImage::from_pixel(1, 1, Rgb([9, 8, 7]));
        place(&source, &mut target, [3., 4.], [1., 2.]);
        let painted: Vec<_> =
            target.enumerate_pixels().filter(|(.., p)| **p == Rgb([9, 8, 7])).collect();
        assert_eq!(painted.len(), 12);
        assert_eq!((painted[0].0, painted[0].1), (1, 2));
    }

    #[test]
    fn place_zooms_about_edges_not_centres() {
        let source = ramp(10, 10);
        let mut target = RgbImage::new(20, 20);
        place(&source, &mut target, [2.; 2], [0.; 2]);
        // Target centre 7.5 is source 3.75, a quarter past the centre of pixel 3.
        assert_eq!(target.get_pixel(7, 0)[0], 13);
        assert_eq!(target.get_pixel(19, 19), source.get_pixel(9, 9));
    }
}
