//! Small data sets on disk for the tests.

use super::{DataSpec, Dataset, Split};
use examples_support::testing;
pub use examples_support::testing::assert_has;
use std::{ops::Deref, path::Path};

impl DataSpec {
    /// `data` read with the usual options.
    pub fn new(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            val_data: None,
            format: None,
            images: None,
            train_split: "train".to_owned(),
            val_split: "val".to_owned(),
            classes: None,
            clip: false,
            skip_bad_labels: false,
            side: 96,
            epoch_size: 1280,
            val_size: 300,
            seed: 0,
        }
    }
}

/// A temporary folder with data.
pub struct Folder(testing::Folder);

impl Deref for Folder {
    type Target = testing::Folder;

    fn deref(&self) -> &testing::Folder {
        &self.0
    }
}

impl Folder {
    /// An empty folder; `name` must be unique among the tests.
    pub fn new(name: &str) -> Self {
        Self(testing::Folder::new(name))
    }

    /// The defaults for a data set in this folder.
    pub fn spec(&self) -> DataSpec {
        DataSpec::new(self.root().to_string_lossy())
    }

    pub fn open(&self) -> anyhow::Result<Dataset> {
        Dataset::open(&self.spec(), Split::Train)
    }

    /// The error of opening, without the path of the folder.
    pub fn error(&self, spec: &DataSpec) -> String {
        let error = Dataset::open(spec, Split::Train).expect_err("the data are wrong");
        format!("{error:#}").replace(&format!("{}/", self.root().display()), "")
    }

    /// VOC: a (80 x 40) and c with objects, b (40 x 60) without, in train; d in val.
    pub fn voc(name: &str) -> Self {
        let folder = Self::new(name);
        folder.image("JPEGImages/a.png", 80, 40);
        folder.image("JPEGImages/b.jpg", 40, 60);
        folder.image("JPEGImages/c.png", 50, 50);
        folder.image("JPEGImages/d.png", 50, 50);
        folder.text("ImageSets/Main/train.txt", "a\nb  1\n\nc\n");
        folder.text("ImageSets/Main/val.txt", "d\n");
        folder.text(
            "Annotations/a.xml",
            &voc(&[("dog", "0", [1, 1, 20, 30]), ("cat", "1", [11, 6, 80, 40])]),
        );
        folder.text("Annotations/b.xml", &voc(&[]));
        folder.text("Annotations/c.xml", &voc(&[("dog", "0", [5, 5, 25, 45])]));
        folder.text("Annotations/d.xml", &voc(&[("ant", "0", [5, 5, 25, 45])]));
        folder
    }
}

/// A VOC annotation; the first object begins at line 3, and each is six lines long.
pub fn voc(objects: &[(&str, &str, [i32; 4])]) -> String {
    let object = |(name, difficult, [x0, y0, x1, y1]): &(&str, &str, [i32; 4])| {
        format!(
            "<object>\n<name>{name}</name>\n<difficult>{difficult}</difficult>\n<bndbox>\n\
             <xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>\n\
             </object>\n"
        )
    };
    let objects: String = objects.iter().map(object).collect();
    format!("<annotation>\n<folder>x</folder>\n{objects}</annotation>\n")
}

/// The boxes of an item with their classes.
pub fn boxes(data: &Dataset, item: usize) -> Vec<(&str, [f32; 4])> {
    let label = |l: &super::Label| (&data.classes[l.class][..], l.xyxy);
    data.items[item].labels.iter().map(label).collect()
}

/// The path of a file as a string.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
