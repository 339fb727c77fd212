//! Boxes, labels and grids on images.

use image::{Rgb, RgbImage};

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

/// The colour of a class.
pub fn colour(class: usize) -> Rgb<u8> {
    todo!()
}

/// Draws boxes with labels onto `image`, line and text size following the image size.
pub fn boxes(image: &mut RgbImage, marks: &[Mark]) {
    todo!()
}

/// The image enlarged until its longer side is at least `side`, with boxes and labels drawn on it.
pub fn annotated(image: &RgbImage, marks: &[Mark], side: u32) -> RgbImage {
    todo!()
}

/// Text with its top left corner at (x, y), `size` pixels high.
pub fn text(image: &mut RgbImage, x: f32, y: f32, size: f32, colour: Rgb<u8>, text: &str) {
    todo!()
}

/// Images with captions in `columns` columns, each fitted into `cell` x `cell` pixels.
pub fn grid(images: &[(RgbImage, String)], columns: usize, cell: u32) -> RgbImage {
    todo!()
}
