//! Batches, made ahead of time by background threads in an order fixed by (seed, epoch).

use super::{
    augment::{Augment, Transform},
    cache::Cache,
};
use anyhow::Result;
use std::sync::Arc;

/// How batches are made.
#[derive(Debug, Clone)]
pub struct Options {
    pub batch: usize,
    pub augment: Augment,
    /// Another order in every epoch; in order otherwise.
    pub shuffle: bool,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    pub seed: u64,
    /// Background threads.
    pub workers: usize,
    /// Batches made ahead by each thread.
    pub ahead: usize,
}

/// Images and targets for one step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// N x 3 x S x S, RGB.
    pub images: Vec<u8>,
    pub n: usize,
    /// S
    pub side: usize,
    /// Image in the batch, class, then centre x, centre y, width, height as fractions of the side.
    pub targets: Vec<[f32; 6]>,
    /// Item of each image.
    pub indices: Vec<usize>,
    /// Original to output pixels, for each image (its own tile in a mosaic).
    pub transforms: Vec<Transform>,
}

/// Makes batches of a data set.
#[derive(Debug, Clone)]
pub struct Loader {
    pub cache: Arc<Cache>,
    pub options: Options,
}

impl Loader {
    pub fn new(cache: Arc<Cache>, options: Options) -> Self {
        Self { cache, options }
    }
    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        todo!()
    }
    /// Starts the threads of an epoch (0-based). Dropping the iterator stops them.
    pub fn epoch(&self, epoch: usize) -> Epoch {
        todo!()
    }
}

/// The batches of one epoch.
#[derive(Debug)]
pub struct Epoch;

impl Iterator for Epoch {
    type Item = Result<Batch>;
    fn next(&mut self) -> Option<Result<Batch>> {
        todo!()
    }
}
