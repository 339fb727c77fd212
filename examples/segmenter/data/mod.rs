//! Images with masks: the built-in set and folders of files, read and checked before training.

pub mod augment;
pub mod classes;
pub mod loader;
pub mod pairs;
#[cfg(test)]
pub mod testing;

use crate::options::Data;
use anyhow::{Context, Result, bail, ensure};
use classes::{Classes, IGNORED, Value};
pub use examples_support::builtin::Split;
use examples_support::{
    builtin::{self, Scenes},
    images::{decode, measure},
    issues::{self, Issue},
    parallel, resample,
    rng::seeded,
};
use image::{GrayImage, RgbImage, imageops};
use pairs::Pair;
use rand::seq::SliceRandom;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

/// Bytes of decoded images and masks kept in memory.
const HELD: usize = 4 << 30;

/// An image and the class of each pixel.
pub type Sample = (RgbImage, GrayImage);

/// Where a sample comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Files(Pair),
    /// A built-in scene, by its number.
    Scene(u64),
}

#[derive(Debug, Clone)]
pub struct Item {
    pub source: Source,
    pub name: String,
    /// Pixels of each class, and of those left out.
    pub counts: Vec<u64>,
    pub ignored: u64,
    /// Width and height as they are used.
    pub size: (u32, u32),
}

/// What the samples of a data set have in common.
#[derive(Debug, Clone)]
struct Reader {
    classes: Classes,
    threshold: Option<u16>,
    resize: Option<u32>,
    scenes: Option<Scenes>,
    merge_digits: bool,
}

/// The training or the validation samples.
pub struct Dataset {
    reader: Reader,
    pub items: Vec<Item>,
    /// What `--skip-bad-pairs` left out.
    pub issues: usize,
    origin: String,
    held: Vec<Option<Sample>>,
}

/// A file's size and values, before the classes are known.
struct Scan {
    pair: Pair,
    size: (u32, u32),
    counts: BTreeMap<Value, u64>,
}

impl Dataset {
    /// Reads and checks training and validation data: `side` is that of built-in scenes. With
    /// `classes`, those of some weights, the masks must have the same.
    pub fn open_both(
        data: &Data,
        side: u32,
        seed: u64,
        classes: Option<&Classes>,
    ) -> Result<(Self, Self)> {
        if data.is_builtin() {
            return Self::builtin(data, side, seed);
        }
        Self::files(data, seed, classes).with_context(|| format!("--data {}", data.data))
    }

    fn builtin(data: &Data, side: u32, seed: u64) -> Result<(Self, Self)> {
        ensure!(data.epoch_size > 0, "--epoch-size: expected at least 1");
        ensure!(data.val_size > 0, "--val-size: expected at least 1");
        ensure!(side >= 32, "built-in scenes have a side of at least 32, got {side}");
        let names = match data.merge_digits {
            true => vec!["background", "digit"],
            false => ["background"].into_iter().chain(builtin::CLASSES).collect(),
        };
        let classes = Classes {
            values: (0..names.len() as u16).map(Value::grey).collect(),
            names: names.into_iter().map(str::to_owned).collect(),
            ignore: Vec::new(),
        };
        let open = |split, n: usize| {
            let scenes = Scenes { split, size: (side, side), seed };
            let reader = Reader {
                classes: classes.clone(),
                threshold: None,
                resize: None,
                scenes: Some(scenes),
                merge_digits: data.merge_digits,
            };
            let items = parallel::map(n, |i| {
                let mask = reader.scene(i as u64).1;
                let (counts, ignored) = histogram(&mask, classes.len());
                let name = format!("scene-{i}");
                Item { source: Source::Scene(i as u64), name, counts, ignored, size: (side, side) }
            });
            let origin = format!("built-in {split:?} scenes").to_lowercase();
            Dataset { reader, items, issues: 0, origin, held: Vec::new() }
        };
        let (train, mut val) =
            (open(Split::Train, data.epoch_size), open(Split::Val, data.val_size));
        val.hold()?;
        Ok((train, val))
    }

    fn files(data: &Data, seed: u64, classes: Option<&Classes>) -> Result<(Self, Self)> {
        ensure!(data.resize != Some(0), "--resize: expected at least 1");
        let pairs::Found { train, val, mut issues, origin } =
            pairs::find(data, |order| order.shuffle(&mut seeded(&[seed, 1])))?;
        let mut seen = HashSet::new();
        let pairs: Vec<&Pair> =
            train.iter().chain(&val).filter(|pair| seen.insert(*pair)).collect();
        let scans = parallel::map(pairs.len(), |i| scan(pairs[i], data.threshold));
        let mut good = Vec::with_capacity(pairs.len());
        for scan in scans {
            match scan {
                Ok(scan) => good.push(scan),
                Err(issue) => issues.push(issue),
            }
        }
        let found: Vec<Value> = good.iter().flat_map(|scan| scan.counts.keys().copied()).collect();
        let classes = match classes {
            // The names may be given again, in the order of the weights.
            Some(classes) => classes.clone(),
            None => Classes::new(data.classes.as_deref(), &data.ignore, &found)
                .or_else(|error| report(&issues, Err(error)))?,
        };
        good.retain(|scan| match strangers(scan, &classes) {
            None => true,
            Some(message) => {
                issues.push(Issue { file: scan.pair.mask.clone(), line: None, message });
                false
            }
        });
        issues.sort_by(|a, b| a.file.cmp(&b.file));
        ensure!(
            issues.is_empty() || data.skip_bad_pairs,
            "{}\n--skip-bad-pairs leaves them out",
            issues::list(&issues)
        );
        let reader = Reader {
            classes,
            threshold: data.threshold,
            resize: data.resize,
            scenes: None,
            merge_digits: false,
        };
        let good: HashMap<&Pair, &Scan> = good.iter().map(|scan| (&scan.pair, scan)).collect();
        let open = |chosen: &[Pair], what: &str| -> Result<Self> {
            let scans = chosen.iter().filter_map(|pair| good.get(pair));
            let items: Vec<Item> = scans.map(|scan| reader.item(scan)).collect();
            ensure!(!items.is_empty(), "no pair of an image and a mask to {what} on");
            let (reader, origin) = (reader.clone(), origin.clone());
            let mut set = Dataset { reader, items, issues: issues.len(), origin, held: Vec::new() };
            set.hold()?;
            Ok(set)
        };
        Ok((open(&train, "train")?, open(&val, "validate")?))
    }

    /// Reads samples into memory as far as the budget goes.
    fn hold(&mut self) -> Result<()> {
        let mut used = 0;
        let fits: Vec<bool> = self
            .items
            .iter()
            .map(|item| {
                used += 4 * item.size.0 as usize * item.size.1 as usize;
                used <= HELD
            })
            .collect();
        let read = |i: usize| fits[i].then(|| self.reader.read(&self.items[i])).transpose();
        self.held = parallel::map(fits.len(), read).into_iter().collect::<Result<_>>()?;
        Ok(())
    }

    pub fn classes(&self) -> &Classes {
        &self.reader.classes
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Image and mask of item `i`; built-in training scenes are others in each epoch.
    pub fn get(&self, i: usize, epoch: usize) -> Result<Cow<'_, Sample>> {
        let renews = self.reader.scenes.is_some_and(|scenes| scenes.split == Split::Train);
        if renews {
            return Ok(Cow::Owned(self.reader.scene((epoch * self.len() + i) as u64)));
        }
        match self.held.get(i) {
            Some(Some(sample)) => Ok(Cow::Borrowed(sample)),
            _ => Ok(Cow::Owned(self.reader.read(&self.items[i])?)),
        }
    }

    /// Pixels of each class.
    pub fn counts(&self) -> Vec<u64> {
        let sum = |class: usize| self.items.iter().map(|item| item.counts[class]).sum();
        (0..self.classes().len()).map(sum).collect()
    }

    pub fn ignored(&self) -> u64 {
        self.items.iter().map(|item| item.ignored).sum()
    }

    /// The class of most pixels: what the others lie on.
    pub fn ground(&self) -> usize {
        let counts = self.counts();
        (0..counts.len()).max_by_key(|&class| (counts[class], usize::MAX - class)).unwrap_or(0)
    }

    /// One line for people: images, shares of the classes.
    pub fn summary(&self) -> String {
        let (first, last) = (&self.items[0].name, &self.items[self.len() - 1].name);
        let counts = self.counts();
        let ignored = self.ignored();
        let all = (counts.iter().sum::<u64>() + ignored).max(1) as f64;
        let share = |n: u64| format!("{:.1} %", 100.0 * n as f64 / all);
        let classes = self.classes();
        let mut shares: Vec<String> = classes
            .names
            .iter()
            .zip(&classes.values)
            .zip(&counts)
            .map(|((name, value), &n)| match *name == value.to_string() {
                true => format!("{name} {}", share(n)),
                false => format!("{name} ({value}) {}", share(n)),
            })
            .collect();
        if self.reader.scenes.is_some() {
            shares = classes
                .names
                .iter()
                .zip(&counts)
                .map(|(c, &n)| format!("{c} {}", share(n)))
                .collect();
        }
        if ignored > 0 {
            shares.push(format!("left out {}", share(ignored)));
        }
        let mut text = format!("{} images ({first} to {last}); {}", self.len(), shares.join(", "));
        if self.issues > 0 {
            text += &format!("; {} malformed left out", self.issues);
        }
        text
    }

    /// Where the data are.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Images that are in `other` too: is this training on the validation data?
    pub fn shared_with(&self, other: &Self) -> usize {
        fn files(set: &Dataset) -> impl Iterator<Item = &Path> {
            set.items.iter().filter_map(|item| match &item.source {
                Source::Files(pair) => Some(pair.image.as_path()),
                Source::Scene(_) => None,
            })
        }
        let own: HashSet<_> = files(self).collect();
        files(other).filter(|path| own.contains(path)).count()
    }
}

impl Reader {
    fn scene(&self, index: u64) -> Sample {
        let scenes = self.scenes.expect("only built-in data have scenes");
        let mut scene = scenes.scene(index);
        if self.merge_digits {
            scene.mask.iter_mut().for_each(|class| *class = (*class).min(1));
        }
        (scene.image, scene.mask)
    }

    fn read(&self, item: &Item) -> Result<Sample> {
        let pair = match &item.source {
            Source::Files(pair) => pair,
            Source::Scene(index) => return Ok(self.scene(*index)),
        };
        let image = decode(&pair.image)?;
        let values = classes::read(&pair.mask, self.threshold)?;
        let mask = self
            .classes
            .encode(&values)
            .with_context(|| format!("{} has changed", pair.mask.display()))?;
        let (width, height) = item.size;
        if image.dimensions() == item.size {
            return Ok((image, mask));
        }
        let mask = imageops::resize(&mask, width, height, imageops::FilterType::Nearest);
        Ok((resample::resize(&image, width, height), mask))
    }

    fn item(&self, scan: &Scan) -> Item {
        let mut counts = vec![0; self.classes.len()];
        let mut ignored = 0;
        for (value, n) in &scan.counts {
            match self.classes.index(*value) {
                Some(IGNORED) | None => ignored += n,
                Some(class) => counts[usize::from(class)] += n,
            }
        }
        Item {
            source: Source::Files(scan.pair.clone()),
            name: scan.pair.name.clone(),
            counts,
            ignored,
            size: limited(scan.size, self.resize),
        }
    }
}

/// The size with its longer side at most `limit`.
pub fn limited((width, height): (u32, u32), limit: Option<u32>) -> (u32, u32) {
    let longer = width.max(height);
    match limit {
        Some(limit) if limit < longer => {
            let scaled =
                |side: u32| (f64::from(side) * f64::from(limit) / f64::from(longer)).round();
            (scaled(width).max(1.0) as u32, scaled(height).max(1.0) as u32)
        }
        _ => (width, height),
    }
}

fn histogram(mask: &GrayImage, classes: usize) -> (Vec<u64>, u64) {
    let mut counts = vec![0; 256];
    mask.iter().for_each(|&class| counts[usize::from(class)] += 1);
    (counts[..classes].to_vec(), counts[usize::from(IGNORED)])
}

/// Measures an image and counts the values of its mask.
fn scan(pair: &Pair, threshold: Option<u16>) -> std::result::Result<Scan, Issue> {
    let issue = |file: &Path, message| Issue { file: file.to_owned(), line: None, message };
    let unreadable = |error: String| format!("not a readable image: {error}");
    let size =
        measure(&pair.image).map_err(|error| issue(&pair.image, unreadable(error.to_string())))?;
    let mask = classes::read(&pair.mask, threshold)
        .map_err(|error| issue(&pair.mask, unreadable(error.root_cause().to_string())))?;
    if mask.size != size {
        let (image, (w, h)) = (pair.image.display(), mask.size);
        let message = format!("{w} x {h} pixels, but {image} has {} x {}", size.0, size.1);
        return Err(issue(&pair.mask, message));
    }
    Ok(Scan { pair: pair.clone(), size, counts: mask.count() })
}

/// The values of a mask that are no classes.
fn strangers(scan: &Scan, classes: &Classes) -> Option<String> {
    let strange: Vec<_> =
        scan.counts.iter().filter(|(value, _)| classes.index(**value).is_none()).collect();
    let shown: Vec<String> =
        strange.iter().take(5).map(|(value, n)| format!("{value} ({n} pixels)")).collect();
    let known: Vec<String> = classes
        .names
        .iter()
        .zip(&classes.values)
        .take(12)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let more = if strange.len() > shown.len() { ", ..." } else { "" };
    (!strange.is_empty()).then(|| {
        format!(
            "the values {}{more} are no classes; known are {}",
            shown.join(", "),
            known.join(", ")
        )
    })
}

/// An error, behind what else is wrong.
fn report<T>(issues: &[Issue], result: Result<T>) -> Result<T> {
    match result {
        Err(error) if !issues.is_empty() => bail!("{error:#}\n{}", issues::list(issues)),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use examples_support::testing::{Folder, assert_has};
    use image::Luma;
    use testing::{mask, options, text_of};

    fn error(folder: &Folder, more: &str) -> String {
        let error =
            Dataset::open_both(&options(folder, more), 64, 0, None).err().expect("wrong data");
        text_of(folder, &format!("{error:#}"))
    }

    #[test]
    fn pairs_are_read_with_their_classes() {
        let folder = testing::pairs("read", 5);
        let data = options(&folder, "--classes membrane,cell --val-items 3..4");
        let (train, val) = Dataset::open_both(&data, 64, 0, None).unwrap();
        assert_eq!((train.len(), val.len(), train.shared_with(&val)), (3, 2, 0));
        assert_eq!(train.classes().names, ["membrane", "cell"]);
        let sample = val.get(0, 0).unwrap();
        assert_eq!(val.items[0].name, "3");
        let (counts, ignored) = histogram(&sample.1, 2);
        assert_eq!((counts, ignored), (val.items[0].counts.clone(), 0));
        assert_has(
            &train.summary(),
            &["3 images (0 to 2)", "membrane (0) 25.0 %, cell (255) 75.0 %"],
        );
        assert_eq!(train.ground(), 1);
    }

    #[test]
    fn values_to_ignore_are_left_out() {
        let folder = testing::pairs("ignored", 3);
        mask(&folder, "masks/0.png", 40, 30, |x, _| if x < 10 { 7 } else { 255 });
        let data = options(&folder, "--ignore 7 --val-items 2");
        let (train, _) = Dataset::open_both(&data, 64, 0, None).unwrap();
        assert_eq!(train.ignored(), 300);
        assert_eq!(train.get(0, 0).unwrap().1.get_pixel(9, 9), &Luma([IGNORED]));
        assert_has(&train.summary(), &["left out 12.5 %"]);
    }

    #[test]
    fn every_malformed_pair_is_named_before_training() {
        let folder = testing::pairs("malformed", 6);
        mask(&folder, "masks/1.png", 41, 30, |_, _| 0);
        mask(&folder, "masks/2.png", 40, 30, |x, _| if x < 2 { 9 } else { 255 });
        folder.text("masks/3.png", "no image");
        folder.text("images/4.png", "no image");
        std::fs::remove_file(folder.path("masks/5.png")).unwrap();
        let text = error(&folder, "--classes a=0,b=255");
        assert_has(
            &text,
            &[
                "5 things are malformed:",
                "images/4.png: not a readable image",
                "images/5.png: no mask, such as masks/5.png",
                "masks/1.png: 41 x 30 pixels, but images/1.png has 40 x 30",
                "masks/2.png: the values 9 (60 pixels) are no classes; known are a=0, b=255",
                "masks/3.png: not a readable image",
                "--skip-bad-pairs",
            ],
        );
        // Without names the third value is a class; with two it is one too many.
        assert_has(&error(&folder, "--classes a,b"), &["3 values (0, 9, 255)", "masks/1.png"]);
        let text = error(&folder, "--skip-bad-pairs --val-items 1..5");
        assert_has(&text, &["--val-items goes to 5", "5 images, from 0 to 4"]);
        let (train, val) =
            Dataset::open_both(&options(&folder, "--skip-bad-pairs --val-items 2"), 64, 0, None)
                .unwrap();
        assert_eq!((train.len(), val.len(), val.classes().len()), (1, 1, 3));
        assert_has(&train.summary(), &["malformed left out"]);
    }

    #[test]
    fn data_that_leave_nothing_are_an_error() {
        let folder = testing::pairs("nothing", 1);
        assert_has(&error(&folder, ""), &["no pair of an image and a mask to train on"]);
        assert_has(&error(&folder, "--data no/such"), &["--data no/such: no such folder"]);
    }

    #[test]
    fn large_images_are_shrunk_with_their_masks() {
        let folder = testing::pairs("shrunk", 2);
        let data = options(&folder, "--resize 20 --val-items 1");
        let (train, _) = Dataset::open_both(&data, 64, 0, None).unwrap();
        let sample = train.get(0, 0).unwrap();
        assert_eq!((sample.0.dimensions(), sample.1.dimensions()), ((20, 15), (20, 15)));
        assert_eq!(limited((30, 40), Some(20)), (15, 20));
        assert_eq!(limited((30, 40), Some(50)), (30, 40));
        assert_eq!(limited((1, 400), Some(20)), (1, 20));
    }

    #[test]
    fn built_in_training_scenes_renew_and_validation_scenes_stay() {
        let data =
            Data { data: "builtin".to_owned(), epoch_size: 4, val_size: 3, ..testing::data("") };
        let (train, val) = Dataset::open_both(&data, 64, 0, None).unwrap();
        assert_eq!((train.len(), val.len(), train.classes().len(), train.ground()), (4, 3, 11, 0));
        assert_ne!(train.get(1, 0).unwrap(), train.get(1, 1).unwrap());
        assert_eq!(val.get(1, 0).unwrap(), val.get(1, 1).unwrap());
        let merged = Data { merge_digits: true, ..data };
        let (_, merged) = Dataset::open_both(&merged, 64, 0, None).unwrap();
        assert_eq!(merged.classes().names, ["background", "digit"]);
        let digits: u64 = val.counts()[1..].iter().sum();
        assert_eq!(merged.counts()[1], digits);
    }
}
