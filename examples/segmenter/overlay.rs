//! Pictures of masks: classes as colours over the image, and what is wrong.

use crate::data::{
    Dataset,
    classes::{Classes, IGNORED},
};
use anyhow::Result;
use examples_support::{draw, files, png};
use image::{GrayImage, Rgb, RgbImage, imageops};
use std::path::Path;

/// Validation images shown, at most.
const SHOWN: usize = 6;
/// Side of a picture in the mosaic.
const CELL: u32 = 320;

/// What can be wrong with a pixel, seen from the class that the others lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ground,
    Right,
    Missed,
    TooMuch,
    WrongClass,
    LeftOut,
}

impl Verdict {
    fn of(truth: u8, predicted: u8, ground: u8) -> Self {
        match (truth, predicted) {
            (IGNORED, _) => Self::LeftOut,
            (t, p) if t == p => {
                if t == ground {
                    Self::Ground
                } else {
                    Self::Right
                }
            }
            (_, p) if p == ground => Self::Missed,
            (t, _) if t == ground => Self::TooMuch,
            _ => Self::WrongClass,
        }
    }

    /// Colours of Okabe and Ito.
    fn colour(self) -> Option<Rgb<u8>> {
        match self {
            Self::Ground => None,
            Self::Right => Some(Rgb([0, 158, 115])),
            Self::Missed => Some(Rgb([240, 130, 0])),
            Self::TooMuch => Some(Rgb([40, 130, 255])),
            Self::WrongClass => Some(Rgb([225, 90, 200])),
            Self::LeftOut => Some(Rgb([120; 3])),
        }
    }
}

/// The colour of a class; none for the ground.
fn colour(class: u8, ground: usize) -> Option<Rgb<u8>> {
    let class = usize::from(class);
    (class != ground && class != usize::from(IGNORED)).then(|| draw::colour(class))
}

/// The image with `share` of each pixel's colour in place of its own.
fn tinted(image: &RgbImage, share: f32, colour: impl Fn(u32, u32) -> Option<Rgb<u8>>) -> RgbImage {
    let mut out = image.clone();
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        if let Some(tint) = colour(x, y) {
            for (value, tint) in pixel.0.iter_mut().zip(tint.0) {
                let (from, to) = (f32::from(*value), f32::from(tint));
                *value = (from + (to - from) * share + 0.5) as u8;
            }
        }
    }
    out
}

/// A mask over its image.
pub fn masked(image: &RgbImage, mask: &GrayImage, ground: usize) -> RgbImage {
    tinted(image, 0.6, |x, y| colour(mask.get_pixel(x, y)[0], ground))
}

/// The image in pale grey under right, missed and superfluous pixels.
fn errors(image: &RgbImage, truth: &GrayImage, predicted: &GrayImage, ground: usize) -> RgbImage {
    let mut pale = image.clone();
    for pixel in pale.pixels_mut() {
        let grey = (u32::from(pixel[0]) + u32::from(pixel[1]) + u32::from(pixel[2])) / 3;
        *pixel = Rgb([(110 + grey / 2) as u8; 3]);
    }
    let verdict =
        |x, y| Verdict::of(truth.get_pixel(x, y)[0], predicted.get_pixel(x, y)[0], ground as u8);
    let right =
        tinted(&pale, 0.35, |x, y| Some(verdict(x, y)).filter(|v| *v == Verdict::Right)?.colour());
    tinted(&right, 0.9, |x, y| Some(verdict(x, y)).filter(|v| *v != Verdict::Right)?.colour())
}

/// Enlarged by a whole factor, so that pixels stay pixels, until it fills a cell.
fn enlarged(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let factor = side / width.max(height).max(1);
    if factor < 2 {
        return image.clone();
    }
    imageops::resize(image, width * factor, height * factor, imageops::FilterType::Nearest)
}

/// Squares of colour with names, in as many lines as the width needs.
fn legend(entries: &[(Rgb<u8>, String)], width: u32) -> RgbImage {
    const SIZE: f32 = 15.0;
    const LINE: u32 = 22;
    let mut places = Vec::with_capacity(entries.len());
    let (mut x, mut y) = (8u32, 4u32);
    for (_, name) in entries {
        let needed = 18 + draw::text_width(SIZE, name) as u32 + 18;
        if x > 8 && x + needed > width {
            (x, y) = (8, y + LINE);
        }
        places.push((x, y));
        x += needed;
    }
    let mut out = RgbImage::from_pixel(width, y + LINE, Rgb([255; 3]));
    for ((colour, name), (x, y)) in entries.iter().zip(places) {
        for dy in 0..13 {
            for dx in 0..13 {
                if let Some(pixel) = out.get_pixel_mut_checked(x + dx, y + 1 + dy) {
                    *pixel = *colour;
                }
            }
        }
        draw::text(&mut out, (x + 18) as f32, y as f32, SIZE, Rgb([0; 3]), name);
    }
    out
}

/// One above the other.
fn stacked(upper: &RgbImage, lower: &RgbImage) -> RgbImage {
    let size = (upper.width().max(lower.width()), upper.height() + lower.height());
    let mut out = RgbImage::from_pixel(size.0, size.1, Rgb([255; 3]));
    imageops::replace(&mut out, upper, 0, 0);
    imageops::replace(&mut out, lower, 0, i64::from(upper.height()));
    out
}

/// What the colours of classes mean.
fn class_entries(classes: &Classes, ground: usize) -> Vec<(Rgb<u8>, String)> {
    let coloured = classes.names.iter().enumerate().filter(|(class, _)| *class != ground);
    coloured.map(|(class, name)| (draw::colour(class), name.clone())).collect()
}

/// What the colours of errors mean.
fn verdict_entries(classes: usize, left_out: bool) -> Vec<(Rgb<u8>, String)> {
    [
        (Verdict::Right, "right", true),
        (Verdict::Missed, "missed", true),
        (Verdict::TooMuch, "too much", true),
        (Verdict::WrongClass, "wrong class", classes > 2),
        (Verdict::LeftOut, "left out", left_out),
    ]
    .into_iter()
    .filter(|(.., shown)| *shown)
    .filter_map(|(verdict, name, _)| Some((verdict.colour()?, name.to_owned())))
    .collect()
}

/// The first images of a data set, side by side with true and predicted masks and errors.
pub fn validation(
    path: &Path,
    data: &Dataset,
    predictions: &[GrayImage],
    ground: usize,
) -> Result<()> {
    let mut cells = Vec::new();
    for (i, predicted) in predictions.iter().enumerate().take(SHOWN) {
        let sample = data.get(i, 0)?;
        let (image, truth) = (&sample.0, &sample.1);
        let pictures = [
            (image.clone(), data.items[i].name.clone()),
            (masked(image, truth, ground), "truth".to_owned()),
            (masked(image, predicted, ground), "predicted".to_owned()),
            (errors(image, truth, predicted, ground), wrong(truth, predicted)),
        ];
        cells.extend(pictures.map(|(picture, caption)| (enlarged(&picture, CELL), caption)));
    }
    let grid = draw::grid(&cells, 4, CELL);
    let mut entries = class_entries(data.classes(), ground);
    entries.extend(verdict_entries(data.classes().len(), data.ignored() > 0));
    files::write(path, &png(&stacked(&grid, &legend(&entries, grid.width())))?)
}

/// The errors of several predictions of the same images: a row an image, a column a prediction.
pub fn comparison(
    path: &Path,
    data: &Dataset,
    columns: &[(String, &[GrayImage])],
    ground: usize,
) -> Result<()> {
    let mut cells = Vec::new();
    for i in 0..data.len().min(4) {
        let sample = data.get(i, 0)?;
        let (image, truth) = (&sample.0, &sample.1);
        let picture = masked(image, truth, ground);
        cells.push((enlarged(&picture, CELL), format!("{}: truth", data.items[i].name)));
        for (name, predictions) in columns {
            let picture = errors(image, truth, &predictions[i], ground);
            let caption = format!("{name}: {}", wrong(truth, &predictions[i]));
            cells.push((enlarged(&picture, CELL), caption));
        }
    }
    let grid = draw::grid(&cells, columns.len() + 1, CELL);
    let mut entries = class_entries(data.classes(), ground);
    entries.extend(verdict_entries(data.classes().len(), data.ignored() > 0));
    files::write(path, &png(&stacked(&grid, &legend(&entries, grid.width())))?)
}

/// The share of wrong pixels, in words.
fn wrong(truth: &GrayImage, predicted: &GrayImage) -> String {
    let counted = truth.iter().zip(predicted.iter()).filter(|(t, _)| **t != IGNORED);
    let (wrong, all) =
        counted.fold((0u64, 0u64), |(wrong, all), (t, p)| (wrong + u64::from(t != p), all + 1));
    format!("{:.1} % wrong", 100.0 * wrong as f64 / all.max(1) as f64)
}

/// A predicted mask over a user's image, with what the colours mean.
pub fn prediction(
    image: &RgbImage,
    mask: &GrayImage,
    classes: &Classes,
    ground: usize,
) -> RgbImage {
    let shown: Vec<_> = class_entries(classes, ground)
        .into_iter()
        .filter(|(colour, _)| {
            mask.iter().any(|&class| self::colour(class, ground) == Some(*colour))
        })
        .collect();
    let picture = enlarged(&masked(image, mask, ground), 480);
    if shown.is_empty() {
        return picture;
    }
    let legend = legend(&shown, picture.width().max(160));
    stacked(&picture, &legend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Luma;

    #[test]
    fn verdicts_are_seen_from_the_ground() {
        let of = |truth, predicted| Verdict::of(truth, predicted, 1);
        assert_eq!(of(1, 1), Verdict::Ground);
        assert_eq!(of(0, 0), Verdict::Right);
        assert_eq!(of(0, 1), Verdict::Missed);
        assert_eq!(of(1, 2), Verdict::TooMuch);
        assert_eq!(of(0, 2), Verdict::WrongClass);
        assert_eq!(of(IGNORED, 0), Verdict::LeftOut);
    }

    #[test]
    fn colours_are_where_the_classes_are() {
        let image = RgbImage::from_pixel(4, 1, Rgb([100; 3]));
        let truth = GrayImage::from_fn(4, 1, |x, _| Luma([[0, 0, 1, IGNORED][x as usize]]));
        let predicted = GrayImage::from_fn(4, 1, |x, _| Luma([[0, 1, 1, 0][x as usize]]));
        let over = masked(&image, &truth, 0);
        let changed: Vec<bool> = over.pixels().map(|p| *p != Rgb([100; 3])).collect();
        assert_eq!(changed, [false, false, true, false]);
        let wrongs = errors(&image, &truth, &predicted, 0);
        assert_eq!(*wrongs.get_pixel(0, 0), Rgb([160; 3]));
        let blue = wrongs.get_pixel(1, 0);
        assert!(blue[2] > 200 && blue[0] < 100, "{blue:?}");
        assert_eq!(wrong(&truth, &predicted), "33.3 % wrong");
    }

    #[test]
    fn a_legend_breaks_its_lines() {
        let entries = vec![(Rgb([9, 8, 7]), "a class".to_owned()); 7];
        let (narrow, wide) = (legend(&entries, 200), legend(&entries, 2000));
        assert!(narrow.height() > 2 * wide.height());
        assert_eq!(wide.pixels().filter(|p| p.0 == [9, 8, 7]).count(), 7 * 13 * 13);
    }
}
