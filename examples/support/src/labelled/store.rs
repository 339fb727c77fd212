//! Images at training size, held in memory as far as the budget goes, and batches of them.

use super::Dataset;
use crate::{
    ahead::Ahead,
    issues,
    issues::Issue,
    parallel::{self, Budget},
    resample::square,
};
use anyhow::{Result, bail};
use image::RgbImage;
use std::{borrow::Cow, sync::Arc};
use tch::{Device, Kind, Tensor};

/// A data set whose images are handed out as squares of `side` pixels, in planes.
#[derive(Debug)]
pub struct Store {
    /// Where they come from.
    pub data: Dataset,
    /// Pixels of a side.
    pub side: u32,
    held: Vec<Option<Vec<u8>>>,
}

/// Bytes of decoded images kept in memory.
const BUDGET: usize = 4 << 30;

impl Store {
    /// Decodes every image on all cores, which also finds those that are unreadable, and keeps them
    /// until the budget is used; the others are read again when asked for. The error names every
    /// unreadable file; with `skip` they are left out instead.
    pub fn fill(data: Dataset, side: u32, skip: bool) -> Result<Store> {
        Self::within(data, side, skip, BUDGET)
    }

    fn within(mut data: Dataset, side: u32, skip: bool, budget: usize) -> Result<Store> {
        let budget = Budget::new(budget);
        let read = parallel::map(data.len(), |i| {
            let planes = planes(&square(&data.load(i)?, side), data.channels);
            anyhow::Ok(budget.take(planes.len()).then_some(planes))
        });
        let issue = |(i, read): (usize, &Result<_>)| {
            let error = read.as_ref().err()?;
            let message = format!("unreadable: {}", error.root_cause());
            Some(Issue { file: data.name(i).into(), line: None, message })
        };
        let unreadable: Vec<Issue> = read.iter().enumerate().filter_map(issue).collect();
        if !unreadable.is_empty() {
            let list = issues::list(&unreadable);
            if !skip {
                bail!("{list}\n--skip-unreadable leaves them out");
            }
            println!("left out: {list}");
        }
        let mut good = read.iter().map(Result::is_ok);
        data.items.retain(|_| good.next() == Some(true));
        let held = read.into_iter().filter_map(Result::ok).collect();
        Ok(Store { data, side, held })
    }

    /// The planes of image `i`, one below the other.
    pub(super) fn get(&self, i: usize) -> Result<Cow<'_, [u8]>> {
        Ok(match &self.held[i] {
            Some(planes) => Cow::Borrowed(planes),
            None => Cow::Owned(planes(&square(&self.data.load(i)?, self.side), self.data.channels)),
        })
    }

    /// The images of `order` in batches, made ahead by background threads.
    pub fn batches(
        self: &Arc<Self>,
        order: Vec<usize>,
        batch: usize,
        workers: usize,
    ) -> Ahead<Result<Batch>> {
        let store = self.clone();
        Ahead::start(order.len().div_ceil(batch), workers, 2, move |number| {
            let indices = &order[number * batch..((number + 1) * batch).min(order.len())];
            let mut pixels = Vec::new();
            for &i in indices {
                pixels.extend_from_slice(&store.get(i)?);
            }
            let labels = indices.iter().map(|&i| store.data.items[i].class as i64).collect();
            let (side, channels) = (i64::from(store.side), store.data.channels as i64);
            let shape = [indices.len() as i64, channels, side, side];
            Ok(Batch { pixels, labels, shape })
        })
    }

    /// Image `i` as the network sees it.
    pub fn picture(&self, i: usize) -> Result<RgbImage> {
        let (planes, plane) = (self.get(i)?, (self.side * self.side) as usize);
        Ok(RgbImage::from_fn(self.side, self.side, |x, y| {
            let at = (y * self.side + x) as usize;
            let channel = |c: usize| planes[c.min(self.data.channels - 1) * plane + at];
            image::Rgb([0, 1, 2].map(channel))
        }))
    }
}

/// Images of so few pixels a side are computed faster by one thread than shared out to several.
const SMALL: u32 = 24;

/// Sets the threads of libtorch to `threads`, or to what is best for images of that side.
pub fn set_threads(threads: Option<usize>, side: u32) {
    if let Some(threads) = threads.or((side < SMALL).then_some(1)) {
        tch::set_num_threads(threads.min(1024) as i32);
    }
}

/// Images and classes for one step.
#[derive(Debug)]
pub struct Batch {
    pixels: Vec<u8>,
    labels: Vec<i64>,
    shape: [i64; 4],
}

impl Batch {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Images (N, C, H, W) in [0, 1] and classes (N).
    pub fn tensors(&self, device: Device) -> (Tensor, Tensor) {
        (
            images(&self.pixels, self.shape, device),
            Tensor::from_slice(&self.labels).to_device(device),
        )
    }
}

/// Bytes as an image tensor in [0, 1].
pub fn images(pixels: &[u8], shape: [i64; 4], device: Device) -> Tensor {
    Tensor::from_slice(pixels).view(shape).to_device(device).to_kind(Kind::Float) / 255.0
}

/// An image as `channels` planes, one below the other.
pub fn planes(image: &RgbImage, channels: usize) -> Vec<u8> {
    let pixels = image.pixels();
    if channels == 1 {
        let grey = |p: &image::Rgb<u8>| {
            let [r, g, b] = p.0.map(u32::from);
            ((299 * r + 587 * g + 114 * b + 500) / 1000) as u8
        };
        return pixels.map(grey).collect();
    }
    (0..channels).flat_map(|c| pixels.clone().map(move |p| p[c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        labelled::{Item, Source},
        testing::{Folder, assert_has},
    };

    fn data(folder: &Folder) -> Dataset {
        for (i, size) in [(8, 8), (20, 10), (5, 9)].into_iter().enumerate() {
            folder.image(&format!("{i}.png"), size.0, size.1);
        }
        let item =
            |i: usize| Item { image: Source::File(folder.path(&format!("{i}.png"))), class: i % 2 };
        Dataset {
            classes: vec!["a".to_owned(), "b".to_owned()],
            items: (0..3).map(item).collect(),
            origin: String::new(),
            channels: 3,
        }
    }

    #[test]
    fn a_budget_changes_what_is_held_but_not_what_is_read() {
        let folder = Folder::new("store");
        let data = data(&folder);
        let full = Arc::new(Store::fill(data.clone(), 8, false).unwrap());
        let none = Arc::new(Store::within(data, 8, false, 200).unwrap());
        let held = |store: &Store| store.held.iter().flatten().count();
        assert_eq!((held(&full), held(&none)), (3, 1));
        let all = |store: &Arc<Store>| {
            let batches = store.batches(vec![2, 0, 1], 2, 2).map(|batch| {
                let batch = batch.unwrap();
                (batch.pixels.clone(), batch.labels.clone(), batch.shape)
            });
            batches.collect::<Vec<_>>()
        };
        assert_eq!(all(&full), all(&none));
        assert_eq!(all(&full)[0].1, [0, 0]);
        assert_eq!(
            all(&full).iter().map(|b| b.2).collect::<Vec<_>>(),
            [[2, 3, 8, 8], [1, 3, 8, 8]]
        );
        // The first image is a ramp of the size already.
        let picture = full.picture(0).unwrap();
        assert_eq!(picture, full.data.load(0).unwrap());
    }

    #[test]
    fn unreadable_images_are_named_or_left_out() {
        let folder = Folder::new("unreadable");
        let data = data(&folder);
        folder.text("1.png", "no image");
        std::fs::remove_file(folder.path("2.png")).unwrap();
        let error = Store::fill(data.clone(), 8, false).unwrap_err().to_string();
        assert_has(
            &error,
            &["2 things are malformed", "1.png: unreadable", "2.png: ", "--skip-unreadable"],
        );
        let store = Store::fill(data, 8, true).unwrap();
        assert_eq!((store.data.len(), store.held.len()), (1, 1));
        assert_has(&store.data.name(0), &["0.png"]);
    }

    #[test]
    fn squares_are_cut_from_the_middle_and_grey_is_the_brightness() {
        let image = RgbImage::from_fn(12, 4, |x, _| {
            image::Rgb([if (4..8).contains(&x) { 200 } else { 0 }; 3])
        });
        assert!(square(&image, 4).pixels().all(|p| p[0] == 200));
        assert_eq!(square(&image, 9).dimensions(), (9, 9));
        let one = RgbImage::from_pixel(2, 1, image::Rgb([10, 20, 30]));
        assert_eq!(planes(&one, 3), [10, 10, 20, 20, 30, 30]);
        assert_eq!(planes(&one, 1), [18, 18]);
    }
}
