//! Boxes, labels and grids on images.

use crate::{FONT, resample};
use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage, imageops};
use std::sync::LazyLock;

/// A box to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Left, top, right, bottom in pixels of the image.
    pub xyxy: [f32; 4],
    /// Chooses the colour.
    pub class: usize,
    /// Label above the box, such as `cat .87`; empty for none.
    pub text: String,
    /// Dashed instead of solid (true boxes beside predicted ones).
    pub dashed: bool,
}

/// The colour of a class: hues a golden angle apart, so that neighbours differ.
pub fn colour(class: usize) -> Rgb<u8> {
    let hue = (class as f32 * 137.508) % 360. / 60.;
    let value = if class.is_multiple_of(2) { 255. } else { 205. };
    let floor = 0.15 * value;
    let rise = floor + (value - floor) * (1. - (hue % 2. - 1.).abs());
    let rgb = match hue as u32 {
        0 => [value, rise, floor],
        1 => [rise, value, floor],
        2 => [floor, value, rise],
        3 => [floor, rise, value],
        4 => [rise, floor, value],
        _ => [value, floor, rise],
    };
    Rgb(rgb.map(|v| v as u8))
}

/// Brightness as the eye sees it, 0 to 255.
pub(crate) fn luma(colour: Rgb<u8>) -> f32 {
    let [r, g, b] = colour.0.map(f32::from);
    0.299 * r + 0.587 * g + 0.114 * b
}

/// Draws boxes with labels onto `image`; line and text size follow the size of the image.
pub fn boxes(image: &mut RgbImage, marks: &[Mark]) {
    let longer = image.width().max(image.height()) as f32;
    let thick = (longer / 320.).round().clamp(1., 6.) as i32;
    let size = (longer / 32.).clamp(12., 40.);
    for mark in marks {
        let colour = colour(mark.class);
        // Far outside is as good as any place outside, and no sum overflows.
        let [x0, y0, x1, y1] = mark.xyxy.map(|v| v.round().clamp(-1e6, 1e6) as i32);
        let dash = if mark.dashed { 4 * thick + 2 } else { i32::MAX };
        // A dark line around the coloured one keeps it visible on any picture.
        frame(image, [x0 - thick, y0 - thick, x1 + thick, y1 + thick], thick, dash, Rgb([0; 3]));
        frame(image, [x0, y0, x1, y1], thick, dash, colour);
    }
    // Labels last, so that no line crosses them.
    for mark in marks.iter().filter(|mark| !mark.text.is_empty()) {
        let colour = colour(mark.class);
        let (width, height) = (text_width(size, &mark.text) + 4., size + 2.);
        let above = mark.xyxy[1] - height - thick as f32;
        let y = if above >= 0. { above } else { mark.xyxy[1].max(0.) };
        let x = mark.xyxy[0].min(image.width() as f32 - width).max(0.);
        fill(image, [x as i32, y as i32, (x + width) as i32, (y + height) as i32], colour);
        let ink = if luma(colour) > 120. { Rgb([0; 3]) } else { Rgb([255; 3]) };
        text(image, x + 2., y + 1., size, ink, &mark.text);
    }
}

/// The image, enlarged if its longer side is less than `side`, with boxes and labels drawn on it.
pub fn annotated(image: &RgbImage, marks: &[Mark], side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let factor = f64::from(side) / f64::from(width.max(height).max(1));
    if factor <= 1. {
        let mut image = image.clone();
        boxes(&mut image, marks);
        return image;
    }
    let scaled = |v: u32| (f64::from(v) * factor).round() as u32;
    let mut image = resample::resize(image, scaled(width), scaled(height));
    let marks: Vec<Mark> = marks
        .iter()
        .map(|mark| Mark { xyxy: mark.xyxy.map(|v| v * factor as f32), ..mark.clone() })
        .collect();
    boxes(&mut image, &marks);
    image
}

/// Images with captions in `columns` columns, each shrunk into `cell` x `cell` pixels.
pub fn grid(images: &[(RgbImage, String)], columns: usize, cell: u32) -> RgbImage {
    const GAP: u32 = 6;
    const CAPTION: u32 = 18;
    let columns = columns.clamp(1, images.len().max(1));
    let rows = images.len().div_ceil(columns) as u32;
    let pitch = (cell + GAP, cell + CAPTION + GAP);
    let size = (columns as u32 * pitch.0 + GAP, rows * pitch.1 + GAP);
    let mut out = RgbImage::from_pixel(size.0, size.1, Rgb([255; 3]));
    for (i, (image, caption)) in images.iter().enumerate() {
        let left = GAP + (i % columns) as u32 * pitch.0;
        let top = GAP + (i / columns) as u32 * pitch.1;
        let (width, height) = image.dimensions();
        let factor = (f64::from(cell) / f64::from(width.max(height).max(1))).min(1.);
        let scaled = |v: u32| ((f64::from(v) * factor).round() as u32).max(1);
        let small = resample::resize(image, scaled(width), scaled(height));
        let centre = |part: u32| i64::from((cell - part) / 2);
        imageops::replace(
            &mut out,
            &small,
            i64::from(left) + centre(small.width()),
            i64::from(top) + centre(small.height()),
        );
        let size = 14.;
        let mut caption = caption.clone();
        while text_width(size, &caption) > cell as f32 {
            caption.pop();
        }
        text(&mut out, left as f32, (top + cell + 2) as f32, size, Rgb([0; 3]), &caption);
    }
    out
}

static FACE: LazyLock<FontRef> =
    LazyLock::new(|| FontRef::try_from_slice(FONT).expect("the built-in font is a font"));

/// The glyphs of a line that starts at the origin, and its width.
fn line(size: f32, text: &str) -> (Vec<Glyph>, f32) {
    let face = FACE.as_scaled(PxScale::from(size));
    let mut x = 0.;
    let glyphs = text
        .chars()
        .map(|char| {
            let mut glyph = face.scaled_glyph(char);
            glyph.position = point(x, face.ascent());
            x += face.h_advance(glyph.id);
            glyph
        })
        .collect();
    (glyphs, x)
}

/// The width in pixels of a line of text that is `size` pixels high.
pub fn text_width(size: f32, text: &str) -> f32 {
    line(size, text).1
}

/// A line of text `size` pixels high with its top left corner at (x, y), cut at the border.
pub fn text(image: &mut RgbImage, x: f32, y: f32, size: f32, colour: Rgb<u8>, text: &str) {
    for glyph in line(size, text).0 {
        let Some(outline) = FACE.outline_glyph(glyph) else { continue };
        let corner = outline.px_bounds().min;
        outline.draw(|dx, dy, cover| {
            let at = ((x + corner.x) as i64 + i64::from(dx), (y + corner.y) as i64 + i64::from(dy));
            let (Ok(x), Ok(y)) = (u32::try_from(at.0), u32::try_from(at.1)) else { return };
            if let Some(pixel) = image.get_pixel_mut_checked(x, y) {
                for (old, new) in pixel.0.iter_mut().zip(colour.0) {
                    let (from, to) = (f32::from(*old), f32::from(new));
                    *old = (from + (to - from) * cover.clamp(0., 1.)).round() as u8;
                }
            }
        });
    }
}

/// Fills [left, right) x [top, bottom), cut at the border.
fn fill(image: &mut RgbImage, [x0, y0, x1, y1]: [i32; 4], colour: Rgb<u8>) {
    let inside = |v: i32, end: u32| v.clamp(0, end as i32) as u32;
    for y in inside(y0, image.height())..inside(y1, image.height()) {
        for x in inside(x0, image.width())..inside(x1, image.width()) {
            image.put_pixel(x, y, colour);
        }
    }
}

/// The four sides of a box, `thick` pixels inwards, in pieces of `dash` pixels.
fn frame(image: &mut RgbImage, b: [i32; 4], thick: i32, dash: i32, colour: Rgb<u8>) {
    let [x0, y0, x1, y1] = b;
    // Boxes may lie far outside; only what is visible is worth walking along.
    let (width, height) = (image.width() as i32, image.height() as i32);
    let pieces = |from: i32, to: i32, end: i32| {
        let (from, to) = (from.max(-2 * thick), to.min(end + 2 * thick));
        let step = dash.saturating_mul(2).min((to - from).max(1));
        (from..to).step_by(step as usize).map(move |a| (a, a.saturating_add(dash).min(to)))
    };
    for (a, b) in pieces(x0, x1, width) {
        fill(image, [a, y0, b, y0 + thick], colour);
        fill(image, [a, y1 - thick, b, y1], colour);
    }
    for (a, b) in pieces(y0, y1, height) {
        fill(image, [x0, a, x0 + thick, b], colour);
        fill(image, [x1 - thick, a, x1, b], colour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(xyxy: [f32; 4], text: &str) -> Mark {
        Mark { xyxy, class: 3, text: text.to_owned(), dashed: false }
    }

    #[test]
    fn a_box_is_drawn_where_it_is() {
        let mut image = RgbImage::from_pixel(64, 48, Rgb([128; 3]));
        boxes(&mut image, &[mark([10., 12., 30., 40.], "")]);
        let is = |x, y| *image.get_pixel(x, y) == colour(3);
        assert!(is(10, 12) && is(29, 39) && is(10, 39) && is(29, 12));
        assert!(!is(9, 12) && !is(30, 39) && !is(20, 25));
        assert_eq!(*image.get_pixel(9, 20), Rgb([0; 3]));
        assert_eq!(*image.get_pixel(20, 25), Rgb([128; 3]));
    }

    #[test]
    fn dashes_leave_gaps() {
        let mut image = RgbImage::new(100, 100);
        boxes(&mut image, &[Mark { dashed: true, ..mark([5., 5., 95., 95.], "") }]);
        let drawn = (5..95).filter(|&x| *image.get_pixel(x, 5) == colour(3)).count();
        assert!((30..70).contains(&drawn), "{drawn}");
    }

    #[test]
    fn boxes_and_text_beyond_the_border_are_cut() {
        let mut image = RgbImage::new(20, 20);
        let wild = [
            mark([-1e9, -1e9, 1e9, 1e9], "a long label that does not fit"),
            mark([50., 50., 60., 60.], "x"),
            mark([f32::NAN, 0., f32::INFINITY, 5.], "nan"),
            Mark { dashed: true, ..mark([-1e9, 3., 1e9, 9.], "é 漢") },
        ];
        boxes(&mut image, &wild);
        text(&mut image, -30., -5., 12., Rgb([255; 3]), "abc");
    }

    #[test]
    fn text_has_the_width_it_says() {
        let mut image = RgbImage::new(200, 40);
        text(&mut image, 10., 5., 24., Rgb([255; 3]), "digits .93");
        let inked: Vec<u32> =
            image.enumerate_pixels().filter(|(.., p)| p[0] > 60).map(|(x, ..)| x).collect();
        let (left, right) = (inked.iter().min().unwrap(), inked.iter().max().unwrap());
        let end = 10. + text_width(24., "digits .93");
        assert!((10..15).contains(left) && (*right as f32) < end, "{left} {right} {end}");
        assert!(*right as f32 > end - 6.);
    }

    #[test]
    fn colours_differ_between_neighbours() {
        for class in 0..40 {
            let (a, b) = (colour(class).0, colour(class + 1).0);
            let apart: i32 =
                a.iter().zip(b).map(|(&a, b)| (i32::from(a) - i32::from(b)).abs()).sum();
            assert!(apart > 150, "{class}");
        }
    }

    #[test]
    fn grid_and_annotated_have_the_expected_sizes() {
        let small = RgbImage::new(32, 16);
        let big = annotated(&small, &[mark([1., 1., 9., 9.], "7")], 320);
        assert_eq!(big.dimensions(), (320, 160));
        assert_eq!(*big.get_pixel(10, 40), colour(3));
        assert_eq!(annotated(&big, &[], 100).dimensions(), (320, 160));
        let cells = vec![(big, "a caption far too long for a cell".to_owned()); 5];
        assert_eq!(grid(&cells, 3, 64).dimensions(), (3 * 70 + 6, 2 * 88 + 6));
        assert_eq!(grid(&[], 3, 64).dimensions(), (76, 6));
    }
}
