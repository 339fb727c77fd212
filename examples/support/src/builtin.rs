//! The built-in data: real handwritten digits on real photographs, composed on the fly.

use image::RgbImage;

/// Which digits and photographs a scene may use; the two share none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Digits 0..1437 and the training photographs.
    Train,
    /// Digits 1437..1797, by other writers, and the held-out photographs.
    Val,
}

/// The names of the classes.
pub const CLASSES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// An endless, indexable set of scenes.
#[derive(Debug, Clone, Copy)]
pub struct Scenes {
    /// Which digits and photographs.
    pub split: Split,
    /// Width and height in pixels.
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
#[derive(Debug, Clone)]
pub struct Scene {
    /// The picture.
    pub image: RgbImage,
    /// One to six digits.
    pub objects: Vec<Object>,
}

impl Scenes {
    /// Scene `index`: the same for the same split, size, seed and index.
    pub fn scene(&self, index: u64) -> Scene {
        todo!()
    }
}
