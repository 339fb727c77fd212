//! Decoded images in memory, already at training size.

use super::{Dataset, Label};
use anyhow::Result;
use image::RgbImage;
use std::{borrow::Cow, sync::Arc};

/// A data set whose images are handed out with their longer side resized to `side`.
#[derive(Debug)]
pub struct Cache {
    pub dataset: Arc<Dataset>,
    pub side: u32,
}

impl Cache {
    /// Decodes in parallel until `budget` bytes are used; the rest is read from disk when asked for.
    /// `progress` gets images done and images in all. An image that cannot be decoded is an error.
    pub fn fill(
        dataset: Arc<Dataset>,
        side: u32,
        budget: usize,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self> {
        todo!()
    }
    /// Images held in memory.
    pub fn held(&self) -> usize {
        todo!()
    }
    /// Item `i` in `epoch`: the resized image, and its labels in pixels of the original.
    pub fn get(&self, i: usize, epoch: usize) -> Result<(Cow<'_, RgbImage>, Cow<'_, [Label]>)> {
        todo!()
    }
}
