//! Images and their classes: the built-in digits, IDX files and folders of images, checked before
//! training.

mod folder;
mod idx;
mod options;
mod pictures;
pub mod store;

pub use options::DataOptions;
pub use pictures::{Images, Order, Pictures, sheet};

use crate::{
    builtin::{self, Split},
    rng::seeded,
};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use image::{GrayImage, RgbImage};
use rand::seq::SliceRandom;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// How a data set is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Handwritten digits of 8 x 8; nothing on disk
    Builtin,
    /// MNIST and its kin: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...
    Idx,
    /// A folder of images per class
    Folder,
}

/// Where the data are and how to read them. The fields are the options of the command line.
#[derive(Debug, Clone)]
pub struct Spec {
    /// `--data`: `builtin` or a folder.
    pub data: String,
    /// `--format`; found out from the path where none is given.
    pub format: Option<Format>,
    /// `--train-split`: the name of the training split in the data.
    pub train_split: String,
    /// `--val-split`: the name of the validation split in the data.
    pub val_split: String,
    /// `--val-share`: the share of each class that is held out of the training split.
    pub val_share: Option<f64>,
    /// `--classes`: the names of the classes in order.
    pub classes: Option<Vec<String>>,
    /// Of what is held out.
    pub seed: u64,
}

/// The share that is held out of a folder without splits.
const SHARE: f64 = 0.2;

impl Spec {
    /// The layout of what lies at the path.
    pub fn format(&self) -> Result<Format> {
        let path = Path::new(&self.data);
        if let Some(format) = self.format {
            return Ok(format);
        }
        if self.data == "builtin" {
            return Ok(Format::Builtin);
        }
        ensure!(path.exists(), "--data {}: no such folder", self.data);
        ensure!(
            path.is_dir(),
            "--data {}: a folder is needed: of IDX files, or of a folder of images per class",
            self.data
        );
        Ok(if idx::looks_like(path) { Format::Idx } else { Format::Folder })
    }

    /// The folder of the validation split, unless a share is held out.
    fn val_folder(&self) -> Option<PathBuf> {
        let names = self.val_names();
        let mut folders = names.iter().map(|name| Path::new(&self.data).join(name));
        folders.find(|folder| folder.is_dir()).filter(|_| self.val_share.is_none())
    }

    /// What the validation split may be called: the name given and, for `val`, the usual ones.
    fn val_names(&self) -> Vec<&str> {
        match &self.val_split[..] {
            "val" => vec!["val", "valid", "validation", "test", "t10k"],
            name => vec![name],
        }
    }
}

/// An image.
#[derive(Debug, Clone)]
pub enum Source {
    /// In memory, of a single channel.
    Grey(GrayImage),
    /// An image file.
    File(PathBuf),
}

/// An image and its class.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where its pixels are.
    pub image: Source,
    /// Index into [`Dataset::classes`].
    pub class: usize,
}

/// A split of a data set.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Class names.
    pub classes: Vec<String>,
    /// The images, in order.
    pub items: Vec<Item>,
    /// Format and place, for people.
    pub origin: String,
    /// 1 where all images are grey, 3 where they are files.
    pub channels: usize,
}

/// What reads a folder, with the classes if they are known.
type ReadFolder = fn(&Path, Option<&[String]>) -> Result<Dataset>;

impl Dataset {
    /// Reads training and validation data.
    pub fn open_both(spec: &Spec) -> Result<(Dataset, Dataset)> {
        let place = || format!("--data {}", spec.data);
        let (train, val) = Self::read_both(spec, folder::read)?;
        ensure!(
            train.classes.len() > 1,
            "{}: only one class, {}; there is nothing to tell apart",
            place(),
            train.classes.join("")
        );
        let absent: Vec<&str> =
            train.counts().filter(|(_, n)| *n == 0).map(|(name, _)| name).collect();
        ensure!(absent.is_empty(), "{}: no training image of {}", place(), absent.join(", "));
        Ok((train, val))
    }

    /// As [`Dataset::open_both`] for who does not need classes: a folder may also hold images that are
    /// in no folders of classes. They are all of one class then.
    pub fn open_any(spec: &Spec) -> Result<(Dataset, Dataset)> {
        Self::read_both(spec, folder::read_any)
    }

    /// Reads validation data with classes that are known; training data need not be there.
    pub fn open_val(spec: &Spec, classes: &[String]) -> Result<Dataset> {
        let place = || format!("--data {}", spec.data);
        let known = Spec { classes: Some(classes.to_vec()), ..spec.clone() };
        let val = match (spec.format()?, spec.val_folder(), spec.val_share) {
            (Format::Folder, Some(val), _) => {
                folder::read(&val, Some(classes)).with_context(place)?
            }
            (Format::Idx, _, None) => {
                let val = idx::read(Path::new(&spec.data), "--val-split", &spec.val_names());
                val.and_then(|val| Self::of_idx(val, classes)).with_context(place)?
            }
            _ => Self::read(&known, folder::read)?.1,
        };
        ensure!(!val.items.is_empty(), "{}: no validation images", place());
        Ok(val)
    }

    fn read_both(spec: &Spec, read: ReadFolder) -> Result<(Dataset, Dataset)> {
        let (train, val) = Self::read(spec, read)?;
        for (data, split) in [(&train, "training"), (&val, "validation")] {
            ensure!(!data.items.is_empty(), "--data {}: no {split} images", spec.data);
        }
        Ok((train, val))
    }

    fn read(spec: &Spec, read: ReadFolder) -> Result<(Dataset, Dataset)> {
        let place = || format!("--data {}", spec.data);
        let share = spec.val_share.unwrap_or(SHARE);
        ensure!(
            share > 0.0 && share <= 1.0,
            "--val-share: expected above 0 and at most 1, got {share}"
        );
        match spec.format()? {
            Format::Builtin => Self::builtin(spec),
            Format::Idx => Self::idx(spec).with_context(place),
            Format::Folder => Self::folder(spec, read).with_context(place),
        }
    }

    fn builtin(spec: &Spec) -> Result<(Dataset, Dataset)> {
        let classes = builtin::CLASSES.map(str::to_owned).to_vec();
        ensure!(
            spec.classes.as_ref().is_none_or(|given| *given == classes),
            "--classes: the built-in data have the classes {}",
            classes.join(",")
        );
        let of = |split: Split| {
            let items = builtin::digits(split).iter().map(|digit| {
                let ink = digit.ink.as_flattened().iter().map(|ink| (ink * 255.0).round() as u8);
                let image = GrayImage::from_raw(8, 8, ink.collect()).expect("8 x 8 cells");
                Item { image: Source::Grey(image), class: digit.class }
            });
            Dataset {
                classes: classes.clone(),
                items: items.collect(),
                origin: format!("built-in digits, {split:?}").to_lowercase(),
                channels: 1,
            }
        };
        Self::split(of(Split::Train), Some(of(Split::Val)), spec)
    }

    fn idx(spec: &Spec) -> Result<(Dataset, Dataset)> {
        let root = Path::new(&spec.data);
        let train = idx::read(root, "--train-split", &[&spec.train_split])?;
        let classes = spec.classes.clone().unwrap_or_else(|| {
            let most = train.labels.values.iter().max().copied().unwrap_or(0);
            (0..=most).map(|class| class.to_string()).collect()
        });
        let train = Self::of_idx(train, &classes)?;
        let val = match spec.val_share {
            None => {
                let val = idx::read(root, "--val-split", &spec.val_names())?;
                Some(Self::of_idx(val, &classes)?)
            }
            Some(_) => None,
        };
        Self::split(train, val, spec)
    }

    fn of_idx(pair: idx::Pair, classes: &[String]) -> Result<Dataset> {
        let (height, width) = (pair.images.sizes[1], pair.images.sizes[2]);
        let images = pair.images.values.chunks_exact(width * height);
        let items = images.zip(&pair.labels.values).enumerate().map(|(i, (image, &label))| {
            let class = usize::from(label);
            ensure!(
                class < classes.len(),
                "{}: offset {}: label {label} is not below the number of classes, {}",
                pair.paths[1].display(),
                pair.labels.start + i,
                classes.len()
            );
            let image = GrayImage::from_raw(width as u32, height as u32, image.to_vec());
            Ok(Item { image: Source::Grey(image.context("the chunks have the size")?), class })
        });
        Ok(Dataset {
            items: items.collect::<Result<_>>()?,
            classes: classes.to_vec(),
            origin: format!("IDX {}", pair.paths[0].display()),
            channels: 1,
        })
    }

    fn folder(spec: &Spec, read: ReadFolder) -> Result<(Dataset, Dataset)> {
        let root = Path::new(&spec.data);
        let train = root.join(&spec.train_split);
        let val = spec.val_folder();
        if !train.is_dir() {
            if let Some(val) = &val {
                bail!(
                    "--train-split {}: there is {}, and no {}",
                    spec.train_split,
                    val.display(),
                    train.display()
                );
            }
            return Self::split(read(root, spec.classes.as_deref())?, None, spec);
        }
        ensure!(
            val.is_some() || spec.val_share.is_some(),
            "--val-split {}: there is {}, and no {}; --val-share {SHARE} holds out a part of it",
            spec.val_split,
            train.display(),
            root.join(&spec.val_split).display()
        );
        let train = read(&train, spec.classes.as_deref())?;
        let val = val.map(|val| read(&val, Some(&train.classes))).transpose()?;
        Self::split(train, val, spec)
    }

    /// Holds out a share of each class where `--val-share` says so, or there is nothing else to
    /// validate on.
    fn split(train: Dataset, val: Option<Dataset>, spec: &Spec) -> Result<(Dataset, Dataset)> {
        if let (Some(val), None) = (val, spec.val_share) {
            return Ok((train, val));
        }
        let share = spec.val_share.unwrap_or(SHARE);
        let mut held_out = vec![false; train.items.len()];
        for (class, name) in train.classes.iter().enumerate() {
            let mut of_class: Vec<usize> =
                (0..train.items.len()).filter(|&i| train.items[i].class == class).collect();
            let count = of_class.len();
            ensure!(
                count != 1 || share == 1.0,
                "--val-share {share}: class {name} has a single image, which cannot be shared"
            );
            of_class.shuffle(&mut seeded(&[spec.seed, class as u64]));
            let most = if share < 1.0 { count.max(2) - 1 } else { count };
            let take = ((count as f64 * share).round() as usize).max(1).min(most);
            of_class.iter().take(take).for_each(|&i| held_out[i] = true);
        }
        let part = |out: bool| {
            let items = train.items.iter().zip(&held_out).filter(|(_, held)| **held == out);
            let share = if out { share } else { 1.0 - share };
            Dataset {
                items: items.map(|(item, _)| item.clone()).collect(),
                classes: train.classes.clone(),
                origin: format!("{} ({:.0} % of each class)", train.origin, 100.0 * share),
                channels: train.channels,
            }
        };
        Ok((part(false), part(true)))
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Width and height of the first image in memory.
    pub fn size(&self) -> Option<(u32, u32)> {
        match &self.items.first()?.image {
            Source::Grey(image) => Some(image.dimensions()),
            Source::File(_) => None,
        }
    }

    /// Image `i`, upright and in RGB.
    pub fn load(&self, i: usize) -> Result<RgbImage> {
        match &self.items[i].image {
            Source::Grey(image) => Ok(RgbImage::from_fn(image.width(), image.height(), |x, y| {
                image::Rgb([image.get_pixel(x, y)[0]; 3])
            })),
            Source::File(path) => crate::images::decode(path),
        }
    }

    /// Where image `i` is, for people.
    pub fn name(&self, i: usize) -> String {
        match &self.items[i].image {
            Source::Grey(_) => format!("image {i}"),
            Source::File(path) => path.display().to_string(),
        }
    }

    fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        let mut counts = vec![0; self.classes.len()];
        self.items.iter().for_each(|item| counts[item.class] += 1);
        self.classes.iter().map(String::as_str).zip(counts)
    }

    /// One line for people: images by class.
    pub fn summary(&self) -> String {
        let mut text = format!("{}: {} images", self.origin, self.len());
        if let Some((width, height)) = self.size() {
            let _ = write!(text, " of {width}x{height}");
        }
        if self.classes.len() <= 12 {
            let counts = self.counts().map(|(name, n)| format!("{name} {n}"));
            let _ = write!(text, " ({})", counts.collect::<Vec<_>>().join(", "));
        } else {
            let _ = write!(text, " of {} classes", self.classes.len());
        }
        text
    }
}
