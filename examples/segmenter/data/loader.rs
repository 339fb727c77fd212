//! Batches of tiles, made ahead by background threads, the same for the same seed and epoch.

use super::{
    Dataset,
    augment::{self, Augment},
};
use anyhow::Result;
use examples_support::{ahead::Ahead, rng::seeded};
use rand::seq::SliceRandom;
use std::sync::Arc;

/// How batches are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tiles in a batch.
    pub batch: usize,
    /// Side of a tile.
    pub tile: usize,
    pub augment: Augment,
    /// Of order and augmentation.
    pub seed: u64,
    /// Background threads; their number does not change the batches.
    pub workers: usize,
}

/// Tiles for one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// N x S x S x 3, RGB.
    pub images: Vec<u8>,
    /// N x S x S
    pub masks: Vec<u8>,
    pub n: usize,
    pub side: usize,
}

/// Makes batches of a data set.
#[derive(Clone)]
pub struct Loader {
    data: Arc<Dataset>,
    options: Options,
    /// The item of each tile of an epoch, before they are shuffled.
    tiles: Vec<usize>,
}

impl Loader {
    /// An epoch takes as many tiles of each image as it has pixels for, and at least one.
    pub fn new(data: Arc<Dataset>, options: Options) -> Self {
        let area = (options.tile * options.tile) as f64;
        let tiles = data.items.iter().enumerate().flat_map(|(i, item)| {
            let pixels = f64::from(item.size.0) * f64::from(item.size.1);
            std::iter::repeat_n(i, ((pixels / area).round() as usize).max(1))
        });
        let tiles = tiles.collect();
        Loader { data, options, tiles }
    }

    /// Batches in an epoch. A last batch that is not full is left out: few tiles have no statistics
    /// worth the name.
    pub fn batches(&self) -> usize {
        (self.tiles.len() / self.options.batch).max(1)
    }

    /// Starts the background threads of an epoch, from 0.
    pub fn epoch(&self, epoch: usize) -> Ahead<Result<Batch>> {
        let mut order = self.tiles.clone();
        order.shuffle(&mut seeded(&[self.options.seed, epoch as u64]));
        let loader = self.clone();
        let make = move |number| loader.make(&order, number, epoch);
        Ahead::start(self.batches(), self.options.workers, 2, make)
    }

    fn make(&self, order: &[usize], number: usize, epoch: usize) -> Result<Batch> {
        let Options { batch, tile, augment, seed, .. } = &self.options;
        let start = number * batch;
        let items = &order[start..(start + batch).min(order.len())];
        let pixels = items.len() * tile * tile;
        let mut images = Vec::with_capacity(3 * pixels);
        let mut masks = Vec::with_capacity(pixels);
        for (k, &item) in items.iter().enumerate() {
            let rng = &mut seeded(&[*seed, epoch as u64, (start + k) as u64]);
            let sample = self.data.get(item, epoch)?;
            let (image, mask) = augment::tile(&sample, *tile, augment, rng);
            images.extend(image.into_raw());
            masks.extend(mask.into_raw());
        }
        Ok(Batch { images, masks, n: items.len(), side: *tile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing;

    fn options(workers: usize, seed: u64) -> Options {
        let augment = Augment {
            fliplr: 0.5,
            flipud: 0.5,
            rot90: 0.5,
            elastic: 6.0,
            zoom: 0.2,
            brightness: 0.1,
            contrast: 0.2,
        };
        Options { batch: 3, tile: 16, augment, seed, workers }
    }

    #[test]
    fn batches_depend_on_seed_and_epoch_and_not_on_threads() {
        let folder = testing::pairs("loader", 3);
        let (train, _) =
            Dataset::open_both(&testing::options(&folder, "--val-items 2"), 64, 0, None).unwrap();
        let train = Arc::new(train);
        let epoch = |workers, seed, epoch| -> Vec<Batch> {
            let loader = Loader::new(train.clone(), options(workers, seed));
            loader.epoch(epoch).collect::<Result<_>>().unwrap()
        };
        let first = epoch(1, 0, 0);
        // Two images of 1200 pixels, tiles of 256: five of each, three whole batches.
        assert_eq!(first.iter().map(|batch| batch.n).collect::<Vec<_>>(), [3, 3, 3]);
        assert_eq!((first[0].images.len(), first[0].masks.len()), (3 * 3 * 256, 3 * 256));
        assert_eq!(first, epoch(3, 0, 0));
        assert_ne!(first, epoch(1, 0, 1));
        assert_ne!(first, epoch(1, 1, 0));
    }

    #[test]
    fn few_tiles_make_one_small_batch() {
        let folder = testing::pairs("few", 2);
        let data = testing::options(&folder, "--val-items 1");
        let (train, _) = Dataset::open_both(&data, 64, 0, None).unwrap();
        let options = Options { batch: 8, tile: 32, ..options(1, 0) };
        let loader = Loader::new(Arc::new(train), options);
        assert_eq!(loader.epoch(0).map(|batch| batch.unwrap().n).collect::<Vec<_>>(), [1]);
    }
}
