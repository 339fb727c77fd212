//! Letterbox, mosaic, scale, translate, hsv and flips, in one resampling pass.

use super::Label;
use examples_support::rng::Rng;
use image::RgbImage;

/// Maps original pixels to output pixels: `out = scale * original + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// x and y; negative where flipped.
    pub scale: [f32; 2],
    pub offset: [f32; 2],
    /// Width and height of the original.
    pub size: (u32, u32),
}

impl Transform {
    /// A box of the original in output pixels.
    pub fn forward(&self, xyxy: [f32; 4]) -> [f32; 4] {
        todo!()
    }
    /// A box of the output in original pixels, cut at the original's border.
    pub fn inverse(&self, xyxy: [f32; 4]) -> [f32; 4] {
        todo!()
    }
}

/// Fits `image` into `size` (width, height) without changing its shape, centred on grey 114.
pub fn letterbox(image: &RgbImage, size: (u32, u32)) -> (RgbImage, Transform) {
    todo!()
}

/// Random changes of training images. Probabilities are in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    /// Probability of a mosaic of four images.
    pub mosaic: f32,
    /// Zoom by a factor in [1 - scale, 1 + scale].
    pub scale: f32,
    /// Shift by up to this fraction of the side.
    pub translate: f32,
    /// Hue shift (fraction of a turn), saturation and value factors (1 +- s).
    pub hsv: [f32; 3],
    /// Probability of a left-right flip; 0 where it changes the class.
    pub fliplr: f32,
    /// Probability of an up-down flip.
    pub flipud: f32,
}

impl Augment {
    /// No change: every image is just letterboxed.
    pub fn none() -> Self {
        Self { mosaic: 0., scale: 0., translate: 0., hsv: [0.; 3], fliplr: 0., flipud: 0. }
    }
}
