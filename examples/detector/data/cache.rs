//! Images at training size, held in memory as far as the budget goes.

use super::{Dataset, Label, augment::resize_within};
use anyhow::{Result, bail};
use examples_support::parallel::{self, Budget};
use image::RgbImage;
use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A data set whose images are handed out with their longer side resized to `side`.
pub struct Cache {
    /// The data set.
    pub dataset: Arc<Dataset>,
    /// In pixels.
    pub side: u32,
    images: Vec<Option<RgbImage>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Cache({} of {} images at {} px)", self.held(), self.dataset.len(), self.side)
    }
}

impl Cache {
    /// Decodes every image on all cores, which also finds those that are broken, and keeps them until
    /// `budget` bytes are used; the others are read again when asked for. Data that renew are not
    /// held. `progress` gets the number of images done.
    pub fn fill(
        dataset: Arc<Dataset>,
        side: u32,
        budget: usize,
        progress: impl Fn(usize) + Sync,
    ) -> Result<Self> {
        if dataset.renews() {
            return Ok(Self { dataset, side, images: Vec::new() });
        }
        let (budget, done) = (Budget::new(budget), AtomicUsize::new(0));
        let images = parallel::map(dataset.len(), |i| {
            let image = dataset.load(i).map(|image| {
                let small = resize_within(&image, (side, side));
                budget.take(small.as_raw().len()).then_some(small)
            });
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            image
        });
        let broken: Vec<String> =
            images.iter().filter_map(|i| Some(format!("{:#}", i.as_ref().err()?))).collect();
        if !broken.is_empty() {
            let shown = broken.iter().take(5).map(|e| format!("\n  {e}")).collect::<String>();
            bail!("{} of {} images cannot be decoded:{shown}", broken.len(), images.len());
        }
        let images = images.into_iter().map(|image| image.ok().flatten()).collect();
        Ok(Self { dataset, side, images })
    }

    /// Images held in memory.
    pub fn held(&self) -> usize {
        self.images.iter().flatten().count()
    }

    /// Item `i` in `epoch`: the resized image, and the labels in pixels of the original.
    pub fn get(&self, i: usize, epoch: usize) -> Result<(Cow<'_, RgbImage>, Cow<'_, [Label]>)> {
        let fit = |image: &RgbImage| resize_within(image, (self.side, self.side));
        if let Some((image, labels)) = self.dataset.renewed(i, epoch) {
            return Ok((Cow::Owned(fit(&image)), Cow::Owned(labels)));
        }
        let image = match self.images.get(i) {
            Some(Some(image)) => Cow::Borrowed(image),
            _ => Cow::Owned(fit(&self.dataset.load(i)?)),
        };
        Ok((image, Cow::Borrowed(&self.dataset.items[i].labels)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSpec, Split, testing::Folder};

    #[test]
    fn a_budget_changes_what_is_held_but_not_what_is_read() {
        let folder = Folder::voc("cache");
        let data = Arc::new(Dataset::open(&folder.spec(), Split::Train).unwrap());
        let done = AtomicUsize::new(0);
        let count = |n| _ = done.fetch_max(n, Ordering::Relaxed);
        let full = Cache::fill(data.clone(), 32, usize::MAX, count).unwrap();
        assert_eq!((full.held(), done.into_inner()), (data.len(), data.len()));
        let bytes = |cache: &Cache| -> Vec<usize> {
            cache.images.iter().flatten().map(|image| image.as_raw().len()).collect()
        };
        // Which images are held depends on the threads; that the budget is used and kept does not.
        let (largest, all) =
            (bytes(&full).into_iter().max().unwrap(), bytes(&full).iter().sum::<usize>());
        for budget in [largest, all - 1] {
            let part = Cache::fill(data.clone(), 32, budget, |_| ()).unwrap();
            assert!((1..data.len()).contains(&part.held()), "{} of {budget} B", part.held());
            assert!(bytes(&part).iter().sum::<usize>() <= budget);
        }
        let none = Cache::fill(data.clone(), 32, 0, |_| ()).unwrap();
        assert_eq!(none.held(), 0);
        for i in 0..data.len() {
            assert_eq!(full.get(i, 0).unwrap(), none.get(i, 3).unwrap());
            let image = full.get(i, 0).unwrap().0;
            assert_eq!(image.width().max(image.height()), 32);
        }
    }

    #[test]
    fn broken_images_are_named_before_training() {
        let folder = Folder::voc("broken");
        let data = Arc::new(Dataset::open(&folder.spec(), Split::Train).unwrap());
        let path = folder.path("JPEGImages/a.png");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = Cache::fill(data, 32, usize::MAX, |_| ()).unwrap_err().to_string();
        assert!(
            error.contains("1 of 3 images cannot be decoded") && error.contains("a.png"),
            "{error}"
        );
    }

    #[test]
    fn built_in_training_scenes_renew_and_validation_scenes_stay() {
        let spec = DataSpec { epoch_size: 6, val_size: 5, ..DataSpec::new("builtin") };
        let (train, val) = Dataset::open_both(&spec).unwrap();
        let train = Cache::fill(Arc::new(train), 96, usize::MAX, |_| ()).unwrap();
        assert_eq!(train.held(), 0);
        let first = train.get(2, 0).unwrap();
        assert_eq!(*first.0, train.dataset.load(2).unwrap());
        assert_eq!(first.1[..], train.dataset.items[2].labels);
        assert_ne!(first, train.get(2, 1).unwrap());
        let val = Cache::fill(Arc::new(val), 64, usize::MAX, |_| ()).unwrap();
        assert_eq!(val.held(), 5);
        assert_eq!(val.get(2, 0).unwrap(), val.get(2, 1).unwrap());
    }
}
