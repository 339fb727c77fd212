//! Detection data: the built-in set, YOLO, COCO and Pascal VOC, read and checked before training.

pub mod augment;
pub mod cache;
mod coco;
pub mod loader;
mod sizes;
#[cfg(test)]
mod testing;
mod voc;
mod yolo;

use anyhow::{Context, Result, bail, ensure};
pub use examples_support::builtin::Split;
use examples_support::{
    builtin::{self, Scenes},
    images::{self, decode},
    issues::{self, Issue},
    parallel,
};
use image::RgbImage;
use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

/// How a data set is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Seeded scenes of handwritten digits on photographs; nothing on disk.
    Builtin,
    /// `data.yaml`, or folders `images` and `labels` with one text file per image.
    Yolo,
    /// A JSON file and a folder of images.
    Coco,
    /// Folders `Annotations`, `JPEGImages` and `ImageSets/Main`.
    Voc,
}

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "builtin" => Self::Builtin,
            "yolo" => Self::Yolo,
            "coco" => Self::Coco,
            "voc" => Self::Voc,
            _ => bail!("--format {name}: expected builtin, yolo, coco or voc"),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Builtin => "built-in",
            Self::Yolo => "YOLO",
            Self::Coco => "COCO",
            Self::Voc => "VOC",
        })
    }
}

/// Where the data are and how to read them. The fields are the options of the command line.
#[derive(Debug, Clone)]
pub struct DataSpec {
    /// `--data`: `builtin`, a folder, a `data.yaml` or a COCO `.json`.
    pub data: String,
    /// `--val-data`: the same for the validation split, where it is not in `data`.
    pub val_data: Option<String>,
    /// `--format`; found out from the path where none is given.
    pub format: Option<Format>,
    /// `--images`: the folder of the images, where it is not in a usual place (COCO).
    pub images: Option<PathBuf>,
    /// `--train-split`: the name of the training split in the data.
    pub train_split: String,
    /// `--val-split`: the name of the validation split in the data.
    pub val_split: String,
    /// `--classes`: the names of the classes in order. Labels of other classes are malformed.
    pub classes: Option<Vec<String>>,
    /// `--clip`: cut boxes that leave the image at its border instead of calling them malformed.
    pub clip: bool,
    /// `--skip-bad-labels`: leave malformed labels out instead of stopping.
    pub skip_bad_labels: bool,
    /// Side of a built-in scene in pixels.
    pub side: u32,
    /// `--epoch-size`: new built-in scenes in each training epoch.
    pub epoch_size: usize,
    /// Built-in scenes for validation, always the same.
    pub val_size: usize,
    /// Seed of the built-in scenes.
    pub seed: u64,
}

impl DataSpec {
    /// The option and the name it gives to a split.
    fn split_option(&self, split: Split) -> (&'static str, &str) {
        match split {
            Split::Train => ("--train-split", &self.train_split),
            Split::Val => ("--val-split", &self.val_split),
        }
    }

    /// What a split may be called: the name given and, for `val`, the other usual ones.
    fn split_names(&self, split: Split) -> Vec<&str> {
        let name = self.split_option(split).1;
        if name == "val" { vec![name, "valid", "validation"] } else { vec![name] }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// A built-in scene, by its number.
    Scene(u64),
}

/// One labelled object.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Index into [`Dataset::classes`].
    pub class: usize,
    /// Left, top, right, bottom in pixels of the original image.
    pub xyxy: [f32; 4],
    /// COCO `iscrowd` or VOC `difficult`: ignored in evaluation, not trained on.
    pub crowd: bool,
    /// COCO `area`, of the mask; none where the box's area stands for it.
    pub area: Option<f64>,
}

/// One image and its labels.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where the image comes from.
    pub image: Source,
    /// The image id in COCO results.
    pub id: i64,
    /// The file name, or `scene-<n>`.
    pub name: String,
    /// Of the original image, in pixels.
    pub width: u32,
    /// Of the original image, in pixels.
    pub height: u32,
    /// What is on it; nothing on a background image.
    pub labels: Vec<Label>,
}

/// What was left out or changed without being an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Boxes less than a pixel wide or high.
    pub degenerate: usize,
    /// The same class and box twice in an image.
    pub duplicate: usize,
    /// Boxes that `--clip` cut at the image border; these stay in.
    pub clipped: usize,
}

/// A split of a data set, read and checked.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Class names.
    pub classes: Vec<String>,
    /// The id of each class in COCO files; 0, 1, ... where the data have none of their own.
    pub category_ids: Vec<i64>,
    /// The images.
    pub items: Vec<Item>,
    /// What `--skip-bad-labels` left out.
    pub issues: Vec<Issue>,
    /// What else was left out.
    pub dropped: Dropped,
    /// Format and place, for people: `VOC bccd/ImageSets/Main/trainval.txt`.
    pub origin: String,
    /// Where built-in scenes come from. Training items are new scenes in each epoch.
    pub scenes: Option<Scenes>,
}

/// What a reader of a format finds; [`Checker`] holds what was wrong.
struct Found {
    classes: Vec<String>,
    category_ids: Vec<i64>,
    items: Vec<Item>,
    origin: PathBuf,
}

impl Dataset {
    /// Reads and checks a split. The error lists what is wrong with all of it, not just the first.
    pub fn open(spec: &DataSpec, split: Split) -> Result<Self> {
        let (option, data) = match (split, &spec.val_data) {
            (Split::Val, Some(data)) => ("--val-data", data),
            _ => ("--data", &spec.data),
        };
        let place = || format!("{option} {data}");
        let path = Path::new(data);
        let builtin = data == "builtin" || spec.format == Some(Format::Builtin);
        if !builtin {
            ensure!(path.exists(), "{}: no such file or folder", place());
        }
        let format = match spec.format {
            _ if builtin => Format::Builtin,
            Some(format) => format,
            None => detect(path).with_context(place)?,
        };
        let mut checker = Checker { spec, issues: Vec::new(), dropped: Dropped::default() };
        let found = match format {
            Format::Builtin => return Self::builtin(spec, split),
            Format::Yolo => yolo::read(&mut checker, path, split),
            Format::Coco => coco::read(&mut checker, path, split),
            Format::Voc => voc::read(&mut checker, path, split),
        }
        .with_context(place)?;
        let Checker { mut issues, dropped, .. } = checker;
        issues.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        ensure!(
            issues.is_empty() || spec.skip_bad_labels,
            "{}: {}\n--skip-bad-labels leaves them out",
            place(),
            issues::list(&issues)
        );
        let origin = format!("{format} {}", found.origin.display());
        ensure!(!found.items.is_empty(), "{}: no images in {origin}", place());
        let Found { classes, category_ids, items, .. } = found;
        Ok(Self { classes, category_ids, items, issues, dropped, origin, scenes: None })
    }

    /// Reads training and validation data; the training data decide the order of the classes.
    pub fn open_both(spec: &DataSpec) -> Result<(Self, Self)> {
        let train = Self::open(spec, Split::Train)?;
        let val = DataSpec { classes: Some(train.classes.clone()), ..spec.clone() };
        let val = Self::open(&val, Split::Val)?;
        ensure!(
            train.scenes.is_some()
                || train.origin != val.origin
                || spec.val_data.is_some()
                || spec.train_split == spec.val_split,
            "--data {}: training and validation would use the same file; name the other one with \
             --val-data",
            spec.data
        );
        Ok((train, val))
    }

    fn builtin(spec: &DataSpec, split: Split) -> Result<Self> {
        let (option, n) = match split {
            Split::Train => ("--epoch-size", spec.epoch_size),
            Split::Val => ("the validation size", spec.val_size),
        };
        ensure!(n > 0, "{option} must be at least 1");
        ensure!(spec.side >= 32, "built-in scenes have a side of at least 32, got {}", spec.side);
        let classes = builtin::CLASSES.map(str::to_owned).to_vec();
        ensure!(
            spec.classes.as_ref().is_none_or(|given| *given == classes),
            "--classes: the built-in data have the classes {}",
            classes.join(",")
        );
        let scenes = Scenes { split, size: (spec.side, spec.side), seed: spec.seed };
        let items = parallel::map(n, |i| Item {
            image: Source::Scene(i as u64),
            id: i as i64,
            name: format!("scene-{i}"),
            width: spec.side,
            height: spec.side,
            labels: scene(scenes, i as u64).1,
        });
        Ok(Self {
            classes,
            category_ids: (0..builtin::CLASSES.len() as i64).collect(),
            items,
            issues: Vec::new(),
            dropped: Dropped::default(),
            origin: format!("{} {split:?} scenes", Format::Builtin).to_lowercase(),
            scenes: Some(scenes),
        })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True for built-in training data, whose items are new scenes in each epoch.
    pub fn renews(&self) -> bool {
        self.scenes.is_some_and(|scenes| scenes.split == Split::Train)
    }

    /// Image `i`, upright and in RGB; for built-in training data that of epoch 0.
    pub fn load(&self, i: usize) -> Result<RgbImage> {
        match &self.items[i].image {
            Source::File(path) => decode(path),
            Source::Scene(index) => {
                let scenes = self.scenes.context("a scene without its set of scenes")?;
                Ok(scene(scenes, *index).0)
            }
        }
    }

    /// Scene and labels that take the place of item `i` in `epoch`; none unless the data renew.
    fn renewed(&self, i: usize, epoch: usize) -> Option<(RgbImage, Vec<Label>)> {
        let scenes = self.scenes.filter(|_| self.renews())?;
        Some(scene(scenes, (epoch * self.len() + i) as u64))
    }

    /// One line for people: images, boxes by class, what was left out.
    pub fn summary(&self) -> String {
        let mut counts = vec![0; self.classes.len()];
        for label in self.items.iter().flat_map(|item| &item.labels) {
            counts[label.class] += 1;
        }
        let boxes: usize = counts.iter().sum();
        let background = self.items.iter().filter(|item| item.labels.is_empty()).count();
        let mut text = format!("{}: {} images", self.origin, self.len());
        if background > 0 {
            let _ = write!(text, " ({background} without objects)");
        }
        let _ = write!(text, ", {boxes} boxes");
        if counts.len() <= 10 {
            let names = self.classes.iter().zip(&counts).map(|(c, n)| format!("{c} {n}"));
            let _ = write!(text, " ({})", names.collect::<Vec<_>>().join(", "));
        } else {
            let _ = write!(text, " of {} classes", counts.len());
        }
        let Dropped { degenerate, duplicate, clipped } = self.dropped;
        for (n, what) in [
            (degenerate, "thinner than a pixel dropped"),
            (duplicate, "duplicates dropped"),
            (clipped, "clipped"),
            (self.issues.len(), "malformed labels left out"),
        ] {
            if n > 0 {
                let _ = write!(text, "; {n} {what}");
            }
        }
        text
    }

    /// Image files that are in `other` too: is this training on the validation data?
    pub fn shared_with(&self, other: &Self) -> usize {
        fn files(data: &Dataset) -> impl Iterator<Item = &PathBuf> {
            data.items.iter().filter_map(|item| match &item.image {
                Source::File(path) => Some(path),
                Source::Scene(_) => None,
            })
        }
        let own: HashSet<_> = files(self).collect();
        files(other).filter(|path| own.contains(path)).count()
    }
}

fn scene(scenes: Scenes, index: u64) -> (RgbImage, Vec<Label>) {
    let scene = scenes.scene(index);
    let label =
        |o: builtin::Object| Label { class: o.class, xyxy: o.xyxy, crowd: false, area: None };
    (scene.image, scene.objects.into_iter().map(label).collect())
}

/// The format of what lies at `path`.
fn detect(path: &Path) -> Result<Format> {
    if path.is_file() {
        return match images::extension(path).as_str() {
            "yaml" | "yml" => Ok(Format::Yolo),
            "json" => Ok(Format::Coco),
            _ => bail!("a file must be a YOLO data.yaml or a COCO .json; or give a folder"),
        };
    }
    if path.join("Annotations").is_dir() && path.join("JPEGImages").is_dir() {
        return Ok(Format::Voc);
    }
    if yolo::find_yaml(path)?.is_some() {
        return Ok(Format::Yolo);
    }
    if coco::looks_like(path) {
        return Ok(Format::Coco);
    }
    if yolo::looks_like(path) {
        return Ok(Format::Yolo);
    }
    bail!(
        "not a data set that is known here. Looked for:\n  \
         VOC: Annotations/ and JPEGImages/\n  \
         YOLO: data.yaml, or images/ and labels/, or <split>/images/\n  \
         COCO: annotations/*.json, or <split>/_annotations.coco.json\n\
         --format says which it is"
    )
}

/// The rules that every format shares, and what they found.
struct Checker<'a> {
    spec: &'a DataSpec,
    issues: Vec<Issue>,
    dropped: Dropped,
}

impl Checker<'_> {
    fn issue(&mut self, file: &Path, line: Option<usize>, message: impl Into<String>) {
        self.issues.push(Issue { file: file.to_owned(), line, message: message.into() });
    }

    /// Adds a box in pixels to the labels of `item`, if it is one. Corners may leave the image by a
    /// pixel, which is rounding, and are pulled back.
    fn add(&mut self, item: &mut Item, xyxy: [f64; 4], label: Label, file: &Path, line: usize) {
        let size = [item.width, item.height].map(f64::from);
        if !xyxy.iter().all(|v| v.is_finite()) {
            return self.issue(file, Some(line), "the box has a number that is not finite");
        }
        let beyond = (0..4).map(|k| (-xyxy[k]).max(xyxy[k] - size[k % 2])).fold(0., f64::max);
        if beyond > 1. {
            if !self.spec.clip {
                let [x0, y0, x1, y1] = xyxy.map(|v| (10. * v).round() / 10.);
                let message = format!(
                    "the box ({x0}, {y0}) to ({x1}, {y1}) leaves the {}x{} image; --clip cuts it at \
                     the border",
                    item.width, item.height
                );
                return self.issue(file, Some(line), message);
            }
            self.dropped.clipped += 1;
        }
        let xyxy: [f64; 4] = std::array::from_fn(|k| xyxy[k].clamp(0., size[k % 2]));
        if xyxy[2] - xyxy[0] < 1. || xyxy[3] - xyxy[1] < 1. {
            self.dropped.degenerate += 1;
            return;
        }
        let label = Label { xyxy: xyxy.map(|v| v as f32), ..label };
        let same = |other: &Label| other.class == label.class && other.xyxy == label.xyxy;
        if item.labels.iter().any(same) {
            self.dropped.duplicate += 1;
            return;
        }
        item.labels.push(label);
    }
}

/// The classes of the data, in the order of `--classes` where that is given.
struct Classes {
    names: Vec<String>,
    // For each class of the data its place in `names`.
    places: Vec<Option<usize>>,
}

impl Classes {
    fn new(spec: &DataSpec, found: &[String]) -> Result<Self> {
        let names = spec.classes.clone().unwrap_or_else(|| found.to_vec());
        for (list, whose) in [(&names[..], "--classes"), (found, "the data")] {
            let mut seen = HashSet::new();
            if let Some(twice) = list.iter().find(|name| !seen.insert(*name)) {
                bail!("{whose}: the class '{twice}' is there twice");
            }
        }
        ensure!(!names.is_empty(), "no classes: name them with --classes a,b,c");
        let places = found.iter().map(|name| names.iter().position(|n| n == name)).collect();
        Ok(Self { names, places })
    }
}

/// Reads text that may begin with a byte order mark or have stray bytes that are not UTF-8.
fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{Folder, assert_has};

    #[test]
    fn formats_are_found_out_or_what_was_looked_for_is_said() {
        let folder = Folder::new("detect");
        let error = folder.error(&folder.spec());
        assert_has(&error, &["--data", "Looked for", "VOC: ", "YOLO: ", "COCO: ", "--format"]);
        folder.image("images/a.png", 9, 9);
        assert_eq!(detect(&folder.path("")).unwrap(), Format::Yolo);
        folder.text("annotations/x.json", "");
        assert_eq!(detect(&folder.path("")).unwrap(), Format::Coco);
        folder.text("data.yaml", "");
        assert_eq!(detect(&folder.path("")).unwrap(), Format::Yolo);
        folder.text("Annotations/x.xml", "");
        folder.text("JPEGImages/x.jpg", "");
        assert_eq!(detect(&folder.path("")).unwrap(), Format::Voc);
        assert_eq!(detect(&folder.path("annotations/x.json")).unwrap(), Format::Coco);
        assert_has(&detect(&folder.path("images/a.png")).unwrap_err().to_string(), &["data.yaml"]);
        let error = Dataset::open(&DataSpec::new("no/such"), Split::Train).unwrap_err();
        assert_eq!(error.to_string(), "--data no/such: no such file or folder");
        let spec = DataSpec { val_data: Some("gone".to_owned()), ..folder.spec() };
        let error = Dataset::open(&spec, Split::Val).unwrap_err();
        assert_eq!(error.to_string(), "--val-data gone: no such file or folder");
        assert_eq!("voc".parse::<Format>().unwrap(), Format::Voc);
        assert_has(&"tfrecord".parse::<Format>().unwrap_err().to_string(), &["--format tfrecord"]);
    }

    #[test]
    fn built_in_data_are_the_same_each_time_and_differ_between_splits() {
        let spec = DataSpec { epoch_size: 4, val_size: 3, ..DataSpec::new("builtin") };
        let (train, val) = Dataset::open_both(&spec).unwrap();
        assert_eq!((train.len(), val.len(), train.classes.len()), (4, 3, 10));
        assert!(train.renews() && !val.renews());
        assert_ne!(train.load(0).unwrap(), val.load(0).unwrap());
        assert_eq!(
            val.load(2).unwrap(),
            Dataset::open(&spec, Split::Val).unwrap().load(2).unwrap()
        );
        assert!(val.items.iter().all(|item| !item.labels.is_empty() && item.width == 96));
        assert_eq!(train.shared_with(&val), 0);
        assert_has(&train.summary(), &["built-in train scenes: 4 images, "]);
        let spec = DataSpec { epoch_size: 0, ..spec };
        let error = Dataset::open(&spec, Split::Train).unwrap_err().to_string();
        assert_has(&error, &["--epoch-size"]);
        let spec = DataSpec { classes: Some(vec!["cat".to_owned()]), ..spec };
        let error = Dataset::open(&spec, Split::Val).unwrap_err().to_string();
        assert_has(&error, &["--classes: the built-in data have the classes 0,1,2"]);
    }
}
