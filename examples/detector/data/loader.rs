//! Batches, made ahead by background threads, the same for the same seed and epoch.

use super::{
    augment::{Augment, Tile, Transform, render},
    cache::Cache,
};
use anyhow::Result;
use examples_support::{ahead::Ahead, rng::seeded};
use rand::{Rng as _, seq::SliceRandom};
use std::{iter::once, sync::Arc};

/// How batches are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Images in a batch.
    pub batch: usize,
    /// Random changes of the images.
    pub augment: Augment,
    /// Another order in each epoch; else as in the data set.
    pub shuffle: bool,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// Of order and augmentation.
    pub seed: u64,
    /// Background threads; their number does not change the batches.
    pub workers: usize,
    /// Batches that each thread makes ahead.
    pub ahead: usize,
}

impl Options {
    /// For validation: in order, only letterboxed.
    pub fn plain(batch: usize) -> Self {
        let augment = Augment::none();
        Self { batch, augment, shuffle: false, drop_last: false, seed: 0, workers: 2, ahead: 2 }
    }
}

/// Images and targets for one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// N x 3 x S x S, RGB.
    pub images: Vec<u8>,
    /// N
    pub n: usize,
    /// S
    pub side: usize,
    /// Image in the batch, class, then centre x, centre y, width and height as fractions of S.
    pub targets: Vec<[f32; 6]>,
    /// The item of each image.
    pub indices: Vec<usize>,
    /// From the item's original pixels to those of the image.
    pub transforms: Vec<Transform>,
}

/// Makes batches of a data set. Its options may change between epochs, to end mosaics for instance.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The images.
    pub cache: Arc<Cache>,
    /// How batches are made.
    pub options: Options,
}

impl Loader {
    /// A loader for the images of `cache`.
    pub fn new(cache: Arc<Cache>, options: Options) -> Self {
        Self { cache, options }
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let (images, batch) = (self.cache.dataset.len(), self.options.batch.max(1));
        if self.options.drop_last { images / batch } else { images.div_ceil(batch) }
    }

    /// Starts the background threads of an epoch, from 0. Dropping the iterator ends them.
    pub fn epoch(&self, epoch: usize) -> Ahead<Result<Batch>> {
        let mut order: Vec<usize> = (0..self.cache.dataset.len()).collect();
        if self.options.shuffle {
            order.shuffle(&mut seeded(&[self.options.seed, epoch as u64]));
        }
        let loader = self.clone();
        let make = move |number| loader.make(&order, number, epoch);
        Ahead::start(self.batches(), self.options.workers, self.options.ahead, make)
    }

    fn make(&self, order: &[usize], number: usize, epoch: usize) -> Result<Batch> {
        let Options { batch, augment, seed, .. } = &self.options;
        let side = self.cache.side;
        let plane = (side * side) as usize;
        let start = number * (*batch).max(1);
        let indices = &order[start..(start + (*batch).max(1)).min(order.len())];
        let mut made = Batch {
            images: vec![0; 3 * plane * indices.len()],
            n: indices.len(),
            side: side as usize,
            targets: Vec::new(),
            indices: indices.to_vec(),
            transforms: Vec::with_capacity(indices.len()),
        };
        for (k, &index) in indices.iter().enumerate() {
            let rng = &mut seeded(&[*seed, epoch as u64, (start + k) as u64]);
            let others = if rng.random::<f32>() < augment.mosaic { 3 } else { 0 };
            let others: Vec<usize> =
                (0..others).map(|_| rng.random_range(0..order.len())).collect();
            let read = once(index).chain(others).map(|i| Ok((i, self.cache.get(i, epoch)?)));
            let read = read.collect::<Result<Vec<_>>>()?;
            let tiles: Vec<Tile> = read
                .iter()
                .map(|(i, (image, labels))| {
                    let item = &self.cache.dataset.items[*i];
                    Tile { image, size: (item.width, item.height), labels }
                })
                .collect();
            let sample = render(&tiles, self.cache.side, augment, rng);

            let planes = &mut made.images[3 * plane * k..][..3 * plane];
            let (red, rest) = planes.split_at_mut(plane);
            let (green, blue) = rest.split_at_mut(plane);
            let planes = red.iter_mut().zip(green).zip(blue);
            for (pixel, ((r, g), b)) in sample.image.as_raw().chunks_exact(3).zip(planes) {
                (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
            }
            let targets = sample.objects.iter().map(|&(class, [x0, y0, x1, y1])| {
                let centre = [(x0 + x1) / 2., (y0 + y1) / 2.].map(|v| v / side as f32);
                let size = [x1 - x0, y1 - y0].map(|v| v / side as f32);
                [k as f32, class as f32, centre[0], centre[1], size[0], size[1]]
            });
            made.targets.extend(targets);
            made.transforms.push(sample.transform);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSpec, Dataset, Split, testing::Folder};

    fn scenes(split: Split) -> Arc<Cache> {
        let spec = DataSpec { epoch_size: 10, val_size: 7, side: 64, ..DataSpec::new("builtin") };
        let data = Dataset::open(&spec, split).unwrap();
        Arc::new(Cache::fill(Arc::new(data), 64, usize::MAX, |_| ()).unwrap())
    }

    fn augmented(workers: usize) -> Options {
        let augment = Augment {
            mosaic: 0.5,
            scale: 0.5,
            translate: 0.1,
            hsv: [0.015, 0.7, 0.4],
            fliplr: 0.5,
            flipud: 0.,
        };
        Options { augment, shuffle: true, drop_last: false, workers, ..Options::plain(4) }
    }

    fn epoch(loader: &Loader, epoch: usize) -> Vec<Batch> {
        loader.epoch(epoch).collect::<Result<_>>().unwrap()
    }

    #[test]
    fn batches_depend_on_seed_and_epoch_and_not_on_threads() {
        let loader = Loader::new(scenes(Split::Train), augmented(1));
        let first = epoch(&loader, 0);
        assert_eq!(first, epoch(&loader, 0));
        assert_eq!(first, epoch(&Loader::new(loader.cache.clone(), augmented(3)), 0));
        assert_ne!(first, epoch(&loader, 1));
        let other = Options { seed: 1, ..augmented(1) };
        assert_ne!(first, epoch(&Loader::new(loader.cache.clone(), other), 0));
    }

    #[test]
    fn every_item_comes_once() {
        let mut loader = Loader::new(scenes(Split::Train), augmented(2));
        assert_eq!((loader.batches(), loader.epoch(0).len()), (3, 3));
        let batches = epoch(&loader, 2);
        assert_eq!(batches.iter().map(|b| b.n).collect::<Vec<_>>(), [4, 4, 2]);
        let mut seen: Vec<usize> = batches.into_iter().flat_map(|b| b.indices).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        loader.options.drop_last = true;
        assert_eq!(epoch(&loader, 0).iter().map(|b| b.n).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn plain_batches_are_the_images_in_planes() {
        let cache = scenes(Split::Val);
        let batches = epoch(&Loader::new(cache.clone(), Options::plain(4)), 0);
        assert_eq!(batches.iter().map(|b| b.n).collect::<Vec<_>>(), [4, 3]);
        let (batch, data) = (&batches[1], &cache.dataset);
        assert_eq!(batch.indices, [4, 5, 6]);
        assert_eq!(batch.images.len(), 3 * 3 * 64 * 64);
        let image = data.load(5).unwrap();
        let at = |c: usize, y: usize, x: usize| batch.images[((3 + c) * 64 + y) * 64 + x];
        for (x, y, pixel) in image.enumerate_pixels() {
            let got = [0, 1, 2].map(|c| at(c, y as usize, x as usize));
            assert_eq!(got, pixel.0);
        }
        let own: Vec<_> = batch.targets.iter().filter(|t| t[0] == 1.).collect();
        assert_eq!(own.len(), data.items[5].labels.len());
        for (target, label) in own.iter().zip(&data.items[5].labels) {
            assert_eq!(target[1], label.class as f32);
            let [x0, y0, x1, y1] = label.xyxy;
            let want = [(x0 + x1) / 2., (y0 + y1) / 2., x1 - x0, y1 - y0].map(|v| v / 64.);
            assert!(target[2..].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn targets_are_inside_the_image() {
        let loader = Loader::new(scenes(Split::Train), augmented(1));
        for number in 0..20 {
            for [image, class, cx, cy, w, h] in
                epoch(&loader, number).into_iter().flat_map(|b| b.targets)
            {
                assert!(image < 4. && class < 10. && w > 0. && h > 0.);
                assert!(cx - w / 2. >= -1e-6 && cx + w / 2. <= 1. + 1e-6);
                assert!(cy - h / 2. >= -1e-6 && cy + h / 2. <= 1. + 1e-6);
            }
        }
    }

    #[test]
    fn an_epoch_can_be_left_early_and_a_lost_file_is_an_error() {
        let folder = Folder::voc("lost");
        let data = Arc::new(Dataset::open(&folder.spec(), Split::Train).unwrap());
        let cache = Arc::new(Cache::fill(data, 32, 0, |_| ()).unwrap());
        let loader = Loader::new(cache, Options { workers: 2, ..Options::plain(1) });
        assert!(loader.epoch(0).next().unwrap().is_ok());
        std::fs::remove_file(folder.path("JPEGImages/b.jpg")).unwrap();
        let results: Vec<_> = loader.epoch(0).collect();
        assert_eq!(results.len(), 3);
        let error = format!("{:#}", results[1].as_ref().unwrap_err());
        assert!(results[0].is_ok() && error.contains("b.jpg"), "{error}");
    }
}
