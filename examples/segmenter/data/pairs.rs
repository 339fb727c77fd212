//! Images and masks in folders, paired by their names.

use crate::options::Data;
use anyhow::{Context, Result, anyhow, bail, ensure};
use examples_support::{
    images::{self, natural},
    issues::Issue,
};
use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

const IMAGES: [&str; 5] = ["images", "image", "imgs", "img", "JPEGImages"];
const MASKS: [&str; 6] = ["masks", "mask", "labels", "label", "annotations", "SegmentationClass"];

/// Places in a list, such as `0..9,15..23`; both ends of a range are included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items(Vec<RangeInclusive<usize>>);

impl FromStr for Items {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || anyhow!("expected places such as 0..23 or 0..9,15, got `{text}`");
        let place = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        let range = |part: &str| {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            let range = place(first)?..=place(last)?;
            ensure!(!range.is_empty(), "{part}: the first is behind the last");
            Ok(range)
        };
        text.split(',').map(range).collect::<Result<_>>().map(Items)
    }
}

impl Items {
    fn contains(&self, place: usize) -> bool {
        self.0.iter().any(|range| range.contains(&place))
    }

    /// The places meant among `n`; all of them must be there.
    fn among(&self, option: &str, n: usize) -> Result<Vec<usize>> {
        let last = self.0.iter().map(|range| *range.end()).max().unwrap_or(0);
        ensure!(
            last < n,
            "{option} goes to {last}, and there are {n} images, from 0 to {}",
            n.saturating_sub(1)
        );
        Ok((0..n).filter(|&place| self.contains(place)).collect())
    }
}

/// An image and its mask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    /// What both files are called, with the folders on the way.
    pub name: String,
    pub image: PathBuf,
    pub mask: PathBuf,
}

/// The pairs of a data set, what is wrong with others, and where they are.
#[derive(Debug)]
pub struct Found {
    pub train: Vec<Pair>,
    pub val: Vec<Pair>,
    pub issues: Vec<Issue>,
    pub origin: String,
}

/// Finds the pairs to train and to validate on. `shuffle` puts indices in the order of which
/// `--val-share` takes the last.
pub fn find(data: &Data, shuffle: impl FnOnce(&mut Vec<usize>)) -> Result<Found> {
    let root = Path::new(&data.data);
    ensure!(root.is_dir(), "no such folder");
    let mut issues = Vec::new();
    let mut read = |(images, masks): &(PathBuf, PathBuf)| -> Result<(Vec<Pair>, String)> {
        let pairs = pair(data, images, masks, &mut issues)?;
        Ok((pairs, format!("{} and {}", images.display(), masks.display())))
    };
    let chosen = data.train_items.is_some() || data.val_items.is_some();
    let val_names: &[&str] = match &data.val_split[..] {
        "val" => &["val", "valid", "validation"],
        name => &[name],
    };
    let splits = (
        layout(data, root, Some(&data.train_split))?,
        val_names.iter().find_map(|name| layout(data, root, Some(name)).transpose()).transpose()?,
    );
    if let ((Some(train), Some(val)), false) = (&splits, chosen) {
        let ((train, origin), (val, val_origin)) = (read(train)?, read(val)?);
        return Ok(Found { train, val, issues, origin: format!("{origin}; {val_origin}") });
    }
    let whole = match layout(data, root, None)? {
        Some(folders) => folders,
        // A training split alone is divided like an undivided set.
        None => splits.0.or(splits.1).with_context(|| nothing(data))?,
    };
    let (all, origin) = read(&whole)?;
    let n = all.len();
    let places = |option, items: &Option<Items>| {
        items.as_ref().map(|items| items.among(option, n)).transpose()
    };
    let rest =
        |taken: &[usize]| (0..n).filter(|place| taken.binary_search(place).is_err()).collect();
    let (train, val) = match (
        places("--train-items", &data.train_items)?,
        places("--val-items", &data.val_items)?,
    ) {
        (Some(train), Some(val)) => (train, val),
        (Some(train), None) => (train.clone(), rest(&train)),
        (None, Some(val)) => (rest(&val), val),
        (None, None) => {
            let share = data.val_share;
            ensure!(
                share > 0.0 && share < 1.0,
                "--val-share: expected between 0 and 1, got {share}"
            );
            let mut order: Vec<usize> = (0..n).collect();
            shuffle(&mut order);
            let val = ((n as f64 * share).round() as usize).clamp(1, n);
            let mut val = order[n - val..].to_vec();
            val.sort_unstable();
            (rest(&val), val)
        }
    };
    let [train, val] =
        [train, val].map(|places| places.into_iter().map(|i| all[i].clone()).collect());
    Ok(Found { train, val, issues, origin })
}

fn nothing(data: &Data) -> String {
    format!(
        "no folders of images and masks are known here. Looked for one of {} beside one of {}, in \
         the folder itself, in its {} and {}, and divided into these; --images and --masks name them",
        IMAGES.join("/, ") + "/",
        MASKS.join("/, ") + "/",
        data.train_split,
        data.val_split
    )
}

/// The folders of images and masks of a split, or of all.
fn layout(data: &Data, root: &Path, split: Option<&str>) -> Result<Option<(PathBuf, PathBuf)>> {
    // One of the usual names, or the one given; relative to the root.
    let choose = |root: &Path, given: &Option<PathBuf>, usual: &[&str]| match given {
        Some(folder) => Some(root.join(folder)).filter(|folder| folder.is_dir()),
        None => usual.iter().map(|name| root.join(name)).find(|folder| folder.is_dir()),
    };
    let both = |root: &Path| {
        Some((choose(root, &data.images, &IMAGES)?, choose(root, &data.masks, &MASKS)?))
    };
    let Some(split) = split else {
        for (option, given) in [("--images", &data.images), ("--masks", &data.masks)] {
            let missing = given.as_ref().filter(|folder| !root.join(folder).is_dir());
            // It may be in the split's folder.
            if let Some(folder) = missing.filter(|_| both(&root.join(&data.train_split)).is_none())
            {
                bail!("{option}: there is no folder {}", root.join(folder).display());
            }
        }
        return Ok(both(root));
    };
    let inner = both(&root.join(split));
    let outer = || {
        let (images, masks) = both(root)?;
        let (images, masks) = (images.join(split), masks.join(split));
        (images.is_dir() && masks.is_dir()).then_some((images, masks))
    };
    Ok(inner.or_else(outer))
}

/// The files of two folders whose names fit, in natural order.
fn pair(data: &Data, images: &Path, masks: &Path, issues: &mut Vec<Issue>) -> Result<Vec<Pair>> {
    let mut issue =
        |file: PathBuf, message: String| issues.push(Issue { file, line: None, message });
    let mut keyed = |folder: &Path, suffix: &str| -> Result<BTreeMap<String, PathBuf>> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for path in images::list(folder)? {
            let key = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
            let key = key.to_string_lossy().into_owned();
            let Some(key) = key.strip_suffix(suffix) else { continue };
            if let Some(other) = files.get(key) {
                issue(path.clone(), format!("there is {} too", other.display()));
                continue;
            }
            files.insert(key.to_owned(), path);
        }
        Ok(files)
    };
    let (found, mut there) = (keyed(images, &data.image_suffix)?, keyed(masks, &data.mask_suffix)?);
    ensure!(!found.is_empty(), "{}", empty(images, &data.image_suffix));
    ensure!(!there.is_empty(), "{}", empty(masks, &data.mask_suffix));
    let mut pairs = Vec::with_capacity(found.len());
    for (name, image) in found {
        match there.remove(&name) {
            Some(mask) => pairs.push(Pair { name, image, mask }),
            None => {
                let mask = masks.join(format!("{name}{}.png", data.mask_suffix));
                issue(image, format!("no mask, such as {}", mask.display()));
            }
        }
    }
    for (name, mask) in there {
        let image = images.join(format!("{name}{}", data.image_suffix));
        issue(mask, format!("no image {}.*", image.display()));
    }
    pairs.sort_by(|a, b| natural(&a.name, &b.name));
    Ok(pairs)
}

/// Why there is nothing in a folder.
fn empty(folder: &Path, suffix: &str) -> String {
    let files = images::entries(folder).unwrap_or_default();
    let count = |extensions: &[&str]| {
        files.iter().filter(|path| extensions.contains(&images::extension(path).as_str())).count()
    };
    let (known, tiff) = (count(&images::EXTENSIONS), count(&["tif", "tiff"]));
    let shown = folder.display();
    match (known, tiff) {
        (1.., _) => format!("{shown}: no .jpg or .png whose name ends in {suffix}"),
        (_, 1..) => format!("{shown}: {tiff} TIFF files, which are not read; turn them into PNG"),
        _ => format!("{shown}: no .jpg, .jpeg or .png in this folder"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{options, text_of};
    use examples_support::testing::{Folder, assert_has};

    fn names(pairs: &[Pair]) -> Vec<&str> {
        pairs.iter().map(|pair| &pair.name[..]).collect()
    }

    fn found(folder: &Folder, more: &str) -> Result<Found> {
        find(&options(folder, more), |order| order.reverse())
    }

    fn files(folder: &Folder, names: &[&str]) {
        names.iter().for_each(|name| folder.text(name, ""));
    }

    #[test]
    fn places_are_read_with_both_ends() {
        let items: Items = "0..2,7, 9..9".parse().unwrap();
        assert_eq!((0..11).filter(|&i| items.contains(i)).collect::<Vec<_>>(), [0, 1, 2, 7, 9]);
        for wrong in ["", "a", "3..", "1-4", "5..3", "0..=3"] {
            assert!(wrong.parse::<Items>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_undivided_set_is_divided_by_places_or_by_share() {
        let folder = Folder::new("undivided");
        for i in 0..12 {
            files(&folder, &[&format!("image/{i}.png"), &format!("label/{i}.png")]);
        }
        let both = found(&folder, "--train-items 0..8 --val-items 9..11").unwrap();
        assert_eq!(names(&both.train), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(names(&both.val), ["9", "10", "11"]);
        let rest = found(&folder, "--val-items 0..9").unwrap();
        assert_eq!((names(&rest.train), rest.val.len()), (vec!["10", "11"], 10));
        let rest = found(&folder, "--train-items 0..9").unwrap();
        assert_eq!((rest.train.len(), names(&rest.val)), (10, vec!["10", "11"]));
        let share = found(&folder, "--val-share 0.25").unwrap();
        assert_eq!((share.train.len(), names(&share.val)), (9, vec!["0", "1", "2"]));
        let error = found(&folder, "--val-items 10..12").unwrap_err().to_string();
        assert_has(&error, &["--val-items goes to 12", "12 images, from 0 to 11"]);
        assert!(found(&folder, "--val-share 1").unwrap_err().to_string().contains("--val-share"));
    }

    #[test]
    fn divided_sets_are_known_both_ways_round() {
        for (name, places) in [
            ("inner", ["train/images", "train/masks", "valid/images", "valid/masks"]),
            ("outer", ["images/train", "masks/train", "images/valid", "masks/valid"]),
        ] {
            let folder = Folder::new(name);
            let [a, b, c, d] = places;
            files(&folder, &[&format!("{a}/x.jpg"), &format!("{b}/x.png")]);
            files(&folder, &[&format!("{c}/y/z.png"), &format!("{d}/y/z.png")]);
            let split = found(&folder, "").unwrap();
            assert_eq!(
                (names(&split.train), names(&split.val)),
                (vec!["x"], vec!["y/z"]),
                "{name}"
            );
        }
    }

    #[test]
    fn folders_and_suffixes_can_be_named() {
        let folder = Folder::new("suffixes");
        files(&folder, &["raw/a/1_image.png", "truth/a/1_ids.png", "truth/a/1_colours.png"]);
        let more = "--images raw --masks truth --image-suffix _image --mask-suffix _ids";
        let pairs = found(&folder, &format!("{more} --val-items 0")).unwrap();
        assert_eq!((names(&pairs.val), pairs.issues.len()), (vec!["a/1"], 0));
        let error = found(&folder, "--images raw --masks false").unwrap_err().to_string();
        assert_has(&text_of(&folder, &error), &["--masks: there is no folder false"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let folder = Folder::new("unpaired");
        files(&folder, &["images/a.png", "images/b.png", "images/b.jpg", "images/d.jpg"]);
        files(&folder, &["masks/a.png", "masks/b.png", "masks/c.png"]);
        let pairs = found(&folder, "").unwrap();
        let issues: Vec<_> =
            pairs.issues.iter().map(|issue| text_of(&folder, &issue.to_string())).collect();
        assert_eq!(
            issues,
            [
                "images/b.png: there is images/b.jpg too",
                "images/d.jpg: no mask, such as masks/d.png",
                "masks/c.png: no image images/c.*",
            ]
        );
    }

    #[test]
    fn empty_folders_and_unknown_layouts_are_explained() {
        let folder = Folder::new("empty");
        let error = |more: &str| text_of(&folder, &found(&folder, more).unwrap_err().to_string());
        assert_has(
            &error(""),
            &["Looked for", "images/, image/", "masks/", "--images and --masks"],
        );
        files(&folder, &["images/x.txt", "masks/y.png"]);
        assert_eq!(error(""), "images: no .jpg, .jpeg or .png in this folder");
        files(&folder, &["images/x.tif"]);
        assert_has(&error(""), &["images: 1 TIFF files", "PNG"]);
        files(&folder, &["images/x.png"]);
        assert_has(&error("--mask-suffix _m"), &["masks: no .jpg or .png whose name ends in _m"]);
        let gone = find(&options(&folder, "--data no/such"), |_| ()).unwrap_err().to_string();
        assert_eq!(gone, "no such folder");
    }
}
