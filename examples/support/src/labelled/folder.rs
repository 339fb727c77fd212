//! A folder of images per class.

use super::{Dataset, Item, Source};
use crate::images;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};

/// Reads `root/<class>/**.jpg|jpeg|png`. With `classes` these are the folders that may be there, in
/// their order; else all folders are classes, in natural order.
pub fn read(root: &Path, classes: Option<&[String]>) -> Result<Dataset> {
    let shown = root.display();
    ensure!(root.is_dir(), "{shown}: no such folder");
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut folders: Vec<(String, PathBuf)> = images::entries(root)?
        .into_iter()
        .filter(|path| path.is_dir())
        .map(|path| (name(&path), path))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    ensure!(
        !folders.is_empty(),
        "{shown}: no folders of classes in it; expected {shown}/<class>/*.jpg"
    );
    folders.sort_by(|a, b| images::natural(&a.0, &b.0));
    let found: Vec<String> = folders.iter().map(|(name, _)| name.clone()).collect();
    let classes = classes.map_or(found, <[String]>::to_vec);
    let mut items = Vec::new();
    let mut empty = Vec::new();
    for (name, folder) in folders {
        let class = classes.iter().position(|class| *class == name);
        let Some(class) = class else {
            anyhow::bail!(
                "{}: `{name}` is not one of the classes {}",
                folder.display(),
                classes.join(", ")
            );
        };
        let files = images::list(&folder)?;
        if files.is_empty() {
            empty.push(folder.display().to_string());
        }
        items.extend(files.into_iter().map(|path| Item { image: Source::File(path), class }));
    }
    ensure!(empty.is_empty(), "no .jpg, .jpeg or .png in {}", empty.join(", "));
    Ok(Dataset { classes, items, origin: shown.to_string(), channels: 3 })
}

/// The class of images that have none.
const IMAGE: &str = "image";

/// As [`read`] where there are folders of classes; else all images under `root` are of one class.
pub fn read_any(root: &Path, classes: Option<&[String]>) -> Result<Dataset> {
    let shown = root.display();
    ensure!(root.is_dir(), "{shown}: no such folder");
    let (folders, files): (Vec<_>, Vec<_>) =
        images::entries(root)?.into_iter().partition(|path| path.is_dir());
    let loose = files.iter().any(|path| images::is_image(path));
    let classed = classes.map_or(folders.len() > 1 && !loose, |classes| classes != [IMAGE]);
    if classed {
        return read(root, classes);
    }
    let files = images::list(root)?;
    ensure!(!files.is_empty(), "{shown}: no .jpg, .jpeg or .png in it");
    let item = |path| Item { image: Source::File(path), class: 0 };
    Ok(Dataset {
        classes: vec![IMAGE.to_owned()],
        items: files.into_iter().map(item).collect(),
        origin: shown.to_string(),
        channels: 3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        labelled::{Format, Spec},
        testing::{Folder, assert_has},
    };

    fn spec(folder: &Folder) -> Spec {
        Spec {
            data: folder.root().display().to_string(),
            format: None,
            train_split: "train".to_owned(),
            val_split: "val".to_owned(),
            val_share: None,
            classes: None,
            seed: 0,
        }
    }

    fn error(spec: &Spec) -> String {
        format!("{:#}", Dataset::open_both(spec).expect_err("the data are wrong"))
    }

    fn count(data: &Dataset) -> Vec<usize> {
        data.counts().map(|(_, n)| n).collect()
    }

    #[test]
    fn splits_are_folders() {
        let folder = Folder::new("splits");
        for name in ["train/10/a.png", "train/9/b.jpg", "train/9/more/c.png", "valid/9/d.png"] {
            folder.image(name, 8, 8);
        }
        folder.text("train/9/notes.txt", "");
        let spec = spec(&folder);
        assert_eq!(spec.format().unwrap(), Format::Folder);
        let (train, val) = Dataset::open_both(&spec).unwrap();
        assert_eq!(train.classes, ["9", "10"]);
        assert_eq!((count(&train), count(&val)), (vec![2, 1], vec![1, 0]));
        assert_has(&train.summary(), &["3 images (9 2, 10 1)"]);
        let reversed = ["10", "9"].map(str::to_owned);
        assert_eq!(count(&Dataset::open_val(&spec, &reversed).unwrap()), [0, 1]);
        let named = Spec { classes: Some(vec!["10".to_owned(), "9".to_owned()]), ..spec.clone() };
        assert_eq!(count(&Dataset::open_both(&named).unwrap().0), [1, 2]);

        folder.image("valid/11/e.png", 8, 8);
        assert_has(&error(&spec), &["`11` is not one of the classes 9, 10"]);
        let other = Spec { val_split: "holdout".to_owned(), ..spec.clone() };
        assert_has(&error(&other), &["--val-split holdout", "no ", "--val-share 0.2"]);
        let other = Spec { train_split: "training".to_owned(), ..spec };
        assert_has(&error(&other), &["--train-split training: there is", "valid"]);
    }

    #[test]
    fn a_share_of_each_class_is_held_out_by_seed() {
        let folder = Folder::new("share");
        for i in 0..10 {
            folder.image(&format!("cat/{i}.png"), 8, 8);
            if i < 5 {
                folder.image(&format!("dog/{i}.png"), 8, 8);
            }
        }
        let spec = spec(&folder);
        let names = |data: &Dataset| (0..data.len()).map(|i| data.name(i)).collect::<Vec<_>>();
        let (train, val) = Dataset::open_both(&spec).unwrap();
        assert_eq!((count(&train), count(&val)), (vec![8, 4], vec![2, 1]));
        assert!(names(&val).iter().all(|name| !names(&train).contains(name)));
        let again = Dataset::open_both(&spec).unwrap().1;
        assert_eq!(names(&val), names(&again));
        let other = Dataset::open_both(&Spec { seed: 1, ..spec.clone() }).unwrap().1;
        assert_ne!(names(&val), names(&other));
        let half = Spec { val_share: Some(0.5), ..spec.clone() };
        assert_eq!(count(&Dataset::open_both(&half).unwrap().1), [5, 3]);
        for share in [0.0, 1.5, f64::NAN] {
            let wrong = Spec { val_share: Some(share), ..spec.clone() };
            assert_has(&error(&wrong), &["--val-share: expected above 0 and at most 1"]);
        }
        let all = Spec { val_share: Some(1.0), ..spec.clone() };
        let classes = ["cat", "dog"].map(str::to_owned);
        assert_eq!(count(&Dataset::open_val(&all, &classes).unwrap()), [10, 5]);
        assert_has(&error(&all), &["no training images"]);
        folder.image("cow/1.png", 8, 8);
        assert_has(&error(&spec), &["class cow has a single image"]);
    }

    #[test]
    fn wrong_folders_say_what_is_wrong() {
        let folder = Folder::new("wrong");
        let spec = spec(&folder);
        assert_has(&error(&spec), &["no folders of classes"]);
        for i in 0..3 {
            folder.image(&format!("cat/{i}.png"), 8, 8);
        }
        assert_has(&error(&spec), &["only one class, cat"]);
        std::fs::create_dir(folder.path("dog")).unwrap();
        assert_has(&error(&spec), &["no .jpg, .jpeg or .png in", "dog"]);
        let gone = Spec { data: folder.path("none").display().to_string(), ..spec.clone() };
        assert_has(&error(&gone), &["no such folder"]);
        folder.text("a.txt", "");
        let file = Spec { data: folder.path("a.txt").display().to_string(), ..spec };
        assert_has(&error(&file), &["a folder is needed"]);
    }

    #[test]
    fn images_without_classes_are_of_one() {
        let folder = Folder::new("loose");
        for name in ["train/a.png", "train/more/b.jpg", "val/c.png"] {
            folder.image(name, 8, 8);
        }
        let spec = spec(&folder);
        let (train, val) = Dataset::open_any(&spec).unwrap();
        assert_eq!((count(&train), count(&val)), (vec![2], vec![1]));
        assert_has(&error(&spec), &["no folders of classes"]);
        let alone = Spec { data: folder.path("train").display().to_string(), ..spec.clone() };
        let (train, val) = Dataset::open_any(&alone).unwrap();
        assert_eq!((count(&train), count(&val)), (vec![1], vec![1]));
        for name in ["train/even/d.png", "train/even/e.png", "train/more/f.png"] {
            folder.image(name, 8, 8);
        }
        std::fs::remove_file(folder.path("train/a.png")).unwrap();
        assert_eq!(Dataset::open_any(&alone).unwrap().0.classes, ["even", "more"]);
    }
}
