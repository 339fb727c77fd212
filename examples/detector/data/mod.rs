//! Detection data sets: the built-in one, YOLO, COCO and Pascal VOC, read and checked before training.

pub mod augment;
pub mod cache;
pub mod loader;

use anyhow::Result;
use examples_support::builtin::Scenes;
use image::RgbImage;
use std::path::PathBuf;

/// Which part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Val,
}

/// How a data set is laid out on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Builtin,
    Yolo,
    Coco,
    Voc,
}

/// Where the data are and how to read them; the command line's options by the same names.
#[derive(Debug, Clone)]
pub struct DataSpec {
    /// `--data`: `builtin`, a folder, a `data.yaml` or a COCO `.json`.
    pub data: String,
    /// `--val-data`: where the validation split is, if not in `data`.
    pub val_data: Option<String>,
    /// `--format`; found out from the path if none is given.
    pub format: Option<Format>,
    /// `--images`: the image folder, where it is not in a usual place (COCO).
    pub images: Option<PathBuf>,
    /// `--train-split` and `--val-split`: their names in the data.
    pub train_split: String,
    pub val_split: String,
    /// `--classes`: class names and their order.
    pub classes: Option<Vec<String>>,
    /// `--clip`: cut boxes that leave the image at its border instead of rejecting them.
    pub clip: bool,
    /// `--skip-bad-labels`: leave malformed labels out instead of stopping.
    pub skip_bad_labels: bool,
    /// Built-in data: side of a scene, scenes per training epoch, validation scenes, seed.
    pub side: u32,
    pub epoch_size: usize,
    pub val_size: usize,
    pub seed: u64,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    /// A built-in scene by its number.
    Scene(u64),
}

/// One labelled object.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    pub class: usize,
    /// Left, top, right, bottom in pixels of the original image.
    pub xyxy: [f32; 4],
    /// COCO `iscrowd` or VOC `difficult`: ignored in evaluation, not trained on.
    pub crowd: bool,
    /// COCO `area` (of the mask); the box's area where there is none.
    pub area: Option<f64>,
}

/// One image and its labels.
#[derive(Debug, Clone)]
pub struct Item {
    pub image: Source,
    /// The image id in COCO results.
    pub id: i64,
    /// File name, or `scene-<n>`.
    pub name: String,
    pub width: u32,
    pub height: u32,
    pub labels: Vec<Label>,
}

/// Something wrong in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    pub file: PathBuf,
    /// 1-based; none where the whole file is meant.
    pub line: Option<usize>,
    pub message: String,
}

/// What was left out or changed without being an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Boxes thinner than one pixel.
    pub degenerate: usize,
    /// The same class and box twice in an image.
    pub duplicate: usize,
    /// Boxes cut at the image border (kept).
    pub clipped: usize,
}

/// A split of a data set, read and checked.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub classes: Vec<String>,
    /// The id of each class in COCO files; 0, 1, ... where the data have none of their own.
    pub category_ids: Vec<i64>,
    pub items: Vec<Item>,
    /// Malformed labels that `--skip-bad-labels` left out.
    pub issues: Vec<Issue>,
    pub dropped: Dropped,
    /// Format and place, for people: `VOC data/bccd, split trainval`.
    pub origin: String,
    /// The scenes of built-in data. Training items are other scenes in every epoch.
    pub scenes: Option<Scenes>,
}

impl Dataset {
    /// Reads and checks a split; the error lists everything that is wrong.
    pub fn open(spec: &DataSpec, split: Split) -> Result<Self> {
        todo!()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Image `i` as stored, upright, in RGB.
    pub fn load(&self, i: usize) -> Result<RgbImage> {
        todo!()
    }

    /// Image and labels of item `i` in `epoch`: differs from `load` only for built-in training data.
    pub fn load_epoch(&self, i: usize, epoch: usize) -> Result<(RgbImage, Vec<Label>)> {
        todo!()
    }

    /// One line for people: images, boxes, classes, what was dropped.
    pub fn summary(&self) -> String {
        todo!()
    }

    /// Image files that are in `other` too (training on the validation data?).
    pub fn shared_with(&self, other: &Dataset) -> usize {
        todo!()
    }
}
