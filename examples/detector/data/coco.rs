//! COCO: one JSON file with images, annotations and categories.

use super::{Checker, Classes, Found, Item, Label, Source, Split, read_text, sizes::sizes};
use anyhow::{Context, Result, bail, ensure};
use examples_support::images;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

// The entries stay text until each is parsed by itself, so that one bad entry hides no other, and
// so that its line is known.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    images: Vec<&'a RawValue>,
    #[serde(borrow)]
    annotations: Vec<&'a RawValue>,
    #[serde(borrow)]
    categories: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    #[serde(default, deserialize_with = "flag")]
    iscrowd: bool,
    area: Option<f64>,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// 0, 1, false or true.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Number(u8),
        Boolean(bool),
    }
    match Flag::deserialize(deserializer) {
        Ok(Flag::Boolean(flag)) => Ok(flag),
        Ok(Flag::Number(n @ 0..=1)) => Ok(n == 1),
        _ => Err(serde::de::Error::custom("iscrowd is not 0 or 1")),
    }
}

/// Finds lines, quickly so if asked for in order.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line, from 1, of an entry that borrows from the text.
    fn of(&mut self, entry: &RawValue) -> usize {
        let offset = entry.get().as_ptr() as usize - self.text.as_ptr() as usize;
        if offset < self.offset {
            (self.offset, self.line) = (0, 1);
        }
        let passed = &self.text.as_bytes()[self.offset..offset];
        self.line += passed.iter().filter(|&&b| b == b'\n').count();
        self.offset = offset;
        self.line
    }
}

/// True if there are COCO files in a usual place under `root`.
pub fn looks_like(root: &Path) -> bool {
    let json = |folder: PathBuf| {
        let entries = images::entries(&folder).unwrap_or_default();
        entries.iter().any(|path| images::extension(path) == "json")
    };
    let parts = images::entries(root).unwrap_or_default();
    json(root.join("annotations")) || parts.iter().any(|part| part.join(ROBOFLOW).is_file())
}

const ROBOFLOW: &str = "_annotations.coco.json";

/// Reads the file `path`, or that of the split in the folder `path`. Classes come by category id.
pub fn read(checker: &mut Checker, path: &Path, split: Split) -> Result<Found> {
    let json = if path.is_file() { path.to_owned() } else { find_json(checker, path, split)? };
    let text = read_text(&json)?;
    let file: File = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a COCO file of annotations", json.display()))?;
    let mut lines = Lines { text: &text, offset: 0, line: 1 };
    let mut line = |raw: &RawValue| lines.of(raw);

    let mut categories = Vec::new();
    for (k, raw) in file.categories.iter().enumerate() {
        match serde_json::from_str::<Category>(raw.get()) {
            Ok(category) => categories.push(category),
            Err(error) => checker.issue(&json, Some(line(raw)), wrong("categories", k, &error)),
        }
    }
    categories.sort_by_key(|category| category.id);
    if let Some(pair) = categories.windows(2).find(|pair| pair[0].id == pair[1].id) {
        bail!("{}: two categories have the id {}", json.display(), pair[0].id);
    }
    let names: Vec<String> = categories.iter().map(|category| category.name.clone()).collect();
    let classes = Classes::new(checker.spec, &names)?;
    let places: HashMap<i64, Option<usize>> =
        categories.iter().map(|category| category.id).zip(classes.places.iter().copied()).collect();

    let mut entries: Vec<(usize, Image)> = Vec::new();
    let mut by_id: HashMap<i64, Option<usize>> = HashMap::new();
    for (k, raw) in file.images.iter().enumerate() {
        match serde_json::from_str::<Image>(raw.get()) {
            Ok(image) if by_id.contains_key(&image.id) => {
                let message = format!("images[{k}]: the id {} is there twice", image.id);
                checker.issue(&json, Some(line(raw)), message);
            }
            Ok(image) => {
                // Until its file has turned out to be readable.
                by_id.insert(image.id, None);
                entries.push((k, image));
            }
            Err(error) => checker.issue(&json, Some(line(raw)), wrong("images", k, &error)),
        }
    }
    let folder = match entries.first() {
        Some((_, first)) => find_images(checker, path, &json, split, &first.file_name)?,
        None => bail!("{}: no readable entry in images", json.display()),
    };
    let paths: Vec<PathBuf> = entries.iter().map(|(_, i)| folder.join(&i.file_name)).collect();
    let sizes = sizes(checker, &paths)?;
    let mut items = Vec::with_capacity(entries.len());
    for (((k, entry), path), size) in entries.into_iter().zip(paths).zip(sizes) {
        let Some((width, height)) = size else { continue };
        let stated = (entry.width.unwrap_or(width), entry.height.unwrap_or(height));
        if stated != (width, height) {
            let message = format!(
                "images[{k}] ({}): stated size {}x{}, the file has {width}x{height}",
                entry.file_name, stated.0, stated.1
            );
            checker.issue(&json, Some(line(file.images[k])), message);
            continue;
        }
        by_id.insert(entry.id, Some(items.len()));
        items.push(Item {
            image: Source::File(path),
            id: entry.id,
            name: entry.file_name,
            width,
            height,
            labels: Vec::new(),
        });
    }

    for (k, raw) in file.annotations.iter().enumerate() {
        let annotation = match serde_json::from_str::<Annotation>(raw.get()) {
            Ok(annotation) => annotation,
            Err(error) => {
                checker.issue(&json, Some(line(raw)), wrong("annotations", k, &error));
                continue;
            }
        };
        let Annotation { image_id, category_id, bbox: [x, y, w, h], iscrowd, area } = annotation;
        let unknown = match (by_id.get(&image_id), places.get(&category_id)) {
            (Some(None), _) => continue,
            (Some(Some(item)), Some(Some(class))) => {
                let label = Label { class: *class, xyxy: [0.; 4], crowd: iscrowd, area };
                let xyxy = [x, y, x + w, y + h];
                if w <= 0. || h <= 0. {
                    checker.dropped.degenerate += 1;
                } else {
                    checker.add(&mut items[*item], xyxy, label, &json, line(raw));
                }
                continue;
            }
            (None, _) => format!("image_id {image_id} is not in images"),
            (_, None) => format!("category_id {category_id} is not in categories"),
            (_, Some(None)) => {
                let name = categories.iter().find(|c| c.id == category_id).map(|c| &c.name[..]);
                format!("--classes has no '{}'", name.unwrap_or_default())
            }
        };
        checker.issue(&json, Some(line(raw)), format!("annotations[{k}]: {unknown}"));
    }
    let category_ids = category_ids(&classes, &categories);
    Ok(Found { classes: classes.names, category_ids, items, origin: json })
}

/// The id of each class; a class that the file does not have gets one that the file does not use.
fn category_ids(classes: &Classes, categories: &[Category]) -> Vec<i64> {
    let mut free = categories.iter().map(|category| category.id).max().unwrap_or(-1);
    let mut id = |name: &String| {
        categories.iter().find(|category| category.name == *name).map_or_else(
            || {
                free += 1;
                free
            },
            |category| category.id,
        )
    };
    classes.names.iter().map(&mut id).collect()
}

fn wrong(list: &str, k: usize, error: &serde_json::Error) -> String {
    // The position is within the entry and would mislead.
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    format!("{list}[{k}]: {text}")
}

fn find_json(checker: &Checker, root: &Path, split: Split) -> Result<PathBuf> {
    let mut looked = Vec::new();
    for name in checker.spec.split_names(split) {
        for folder in [root.join("annotations"), root.to_owned()] {
            for stem in [format!("instances_{name}"), name.to_owned()] {
                let exact = folder.join(format!("{stem}.json"));
                if exact.is_file() {
                    return Ok(exact);
                }
                // instances_train2017.json
                let longer = |path: &PathBuf| {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    images::extension(path) == "json" && file.starts_with(&stem)
                };
                let mut found = images::entries(&folder).unwrap_or_default();
                found.retain(longer);
                match &found[..] {
                    [] => looked.push(exact),
                    [one] => return Ok(one.clone()),
                    [one, two, ..] => {
                        let option = checker.spec.split_option(split).0;
                        bail!(
                            "{option} {name} could be {} or {}; give the rest of the name too",
                            one.display(),
                            two.display()
                        )
                    }
                }
            }
        }
        let roboflow = root.join(name).join(ROBOFLOW);
        if roboflow.is_file() {
            return Ok(roboflow);
        }
        looked.push(roboflow);
    }
    let looked: Vec<_> = looked.iter().map(|path| format!("\n  {}", path.display())).collect();
    let (option, name) = checker.spec.split_option(split);
    bail!("{option} {name}: no annotations found. Looked for:{}", looked.concat())
}

/// The folder that `first`, the first image, is in.
fn find_images(
    checker: &Checker,
    path: &Path,
    json: &Path,
    split: Split,
    first: &str,
) -> Result<PathBuf> {
    let own = json.parent().unwrap_or(Path::new(""));
    let root = match path.is_dir() {
        true => path.to_owned(),
        false if own.ends_with("annotations") => own.parent().unwrap_or(own).to_owned(),
        false => own.to_owned(),
    };
    let mut folders = Vec::new();
    if let Some(folder) = &checker.spec.images {
        folders.push(folder.clone());
    } else {
        let stem = json.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let names = [stem.strip_prefix("instances_").unwrap_or(&stem)]
            .into_iter()
            .chain(checker.spec.split_names(split));
        for name in names {
            folders.extend([
                root.join("images").join(name),
                root.join(name),
                root.join(name).join("images"),
            ]);
        }
        folders.extend([own.to_owned(), root.join("images"), root]);
        let mut seen = std::collections::HashSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
    }
    if let Some(folder) = folders.iter().find(|folder| folder.join(first).is_file()) {
        return Ok(folder.clone());
    }
    let looked: Vec<_> = folders.iter().map(|folder| format!("\n  {}", folder.display())).collect();
    ensure!(
        checker.spec.images.is_some(),
        "no image {first}; --images says in which folder the images are. Looked in:{}",
        looked.concat()
    );
    // Some other image may be there; the error then counts what is missing.
    Ok(folders.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        DataSpec, Dataset, Dropped,
        testing::{Folder, assert_has, boxes, text},
    };

    const IMAGES: &str = r#"{"id": 40, "file_name": "a.png", "width": 80, "height": 40},
{"id": 7, "file_name": "b.png"}"#;
    const CATEGORIES: &str = r#"{"id": 18, "name": "dog", "supercategory": "animal"},
{"id": 3, "name": "cat"}"#;

    fn json(images: &str, annotations: &str, categories: &str) -> String {
        format!(
            "{{\"info\": {{}},\n\"images\": [\n{images}\n],\n\"annotations\": [\n{annotations}\n],\n\
             \"categories\": [\n{categories}\n]}}"
        )
    }

    fn annotation(image: i64, category: i64, bbox: [f64; 4], more: &str) -> String {
        format!(
            r#"{{"image_id": {image}, "category_id": {category}, "bbox": {bbox:?}, "segmentation": []{more}}}"#
        )
    }

    fn folder(name: &str, annotations: &[String]) -> Folder {
        let folder = Folder::new(name);
        folder.image("images/train2017/a.png", 80, 40);
        folder.image("images/train2017/b.png", 40, 60);
        let json = json(IMAGES, &annotations.join(",\n"), CATEGORIES);
        folder.text("annotations/instances_train2017.json", &json);
        folder
    }

    #[test]
    fn a_split_is_read() {
        let annotations = [
            annotation(40, 18, [1., 2., 30., 20.5], r#", "iscrowd": 0, "area": 321.5"#),
            annotation(40, 3, [0., 0., 80., 40.], r#", "iscrowd": 1"#),
            annotation(40, 3, [5., 5., 0., 9.], ""),
            annotation(40, 18, [1., 2., 30., 20.5], ""),
        ];
        let folder = folder("coco", &annotations);
        let data = folder.open().unwrap();
        assert_eq!(
            (&data.classes[..], &data.category_ids[..]),
            (&["cat".to_owned(), "dog".to_owned()][..], &[3, 18][..])
        );
        let items: Vec<_> =
            data.items.iter().map(|i| (i.id, &i.name[..], i.width, i.height)).collect();
        assert_eq!(items, [(40, "a.png", 80, 40), (7, "b.png", 40, 60)]);
        assert_eq!(boxes(&data, 0), [("dog", [1., 2., 31., 22.5]), ("cat", [0., 0., 80., 40.])]);
        let labels = &data.items[0].labels;
        assert_eq!((labels[0].area, labels[0].crowd, labels[1].crowd), (Some(321.5), false, true));
        assert!(data.items[1].labels.is_empty());
        assert_eq!(data.dropped, Dropped { degenerate: 1, duplicate: 1, clipped: 0 });
    }

    #[test]
    fn every_malformed_entry_is_reported_with_its_line() {
        let good = annotation(40, 18, [1., 2., 30., 20.], "");
        let bad = [
            (r#""image_id": 40, "#, "", "missing field `image_id`"),
            (r#""image_id": 40"#, r#""image_id": 41"#, "image_id 41 is not in images"),
            (r#""category_id": 18"#, r#""category_id": 1"#, "category_id 1 is not in categories"),
            (r#""category_id": 18"#, r#""category_id": "18""#, "invalid type: string"),
            ("[1.0, 2.0, 30.0, 20.0]", "[1, 2, 30]", "invalid length 3"),
            ("[1.0, 2.0, 30.0, 20.0]", "[1, 2, 300, 20]", "leaves the 80x40 image; --clip"),
            (r#""segmentation": []"#, r#""iscrowd": 2"#, "iscrowd is not 0 or 1"),
        ];
        for (k, (from, to, message)) in bad.into_iter().enumerate() {
            let folder = folder(&format!("coco-bad-{k}"), &[good.clone(), good.replace(from, to)]);
            let error = folder.error(&folder.spec());
            let place = "annotations/instances_train2017.json:8: ";
            assert_has(&error, &["1 thing is malformed", place, message]);
            let skip = DataSpec { skip_bad_labels: true, ..folder.spec() };
            let data = Dataset::open(&skip, Split::Train).unwrap();
            assert_eq!((data.items[0].labels.len(), data.issues.len()), (1, 1));
        }
    }

    #[test]
    fn malformed_images_and_categories_are_reported_too() {
        let folder = folder("coco-images", &[]);
        let file = "annotations/instances_train2017.json";
        let images = format!(
            "{IMAGES},\n{},\n{}",
            r#"{"id": 40, "file_name": "b.png"}"#, r#"{"file_name": "b.png"}"#
        );
        let images = images.replace(r#""width": 80"#, r#""width": 60"#);
        folder.text(file, &json(&images, "", &format!(r#"{CATEGORIES},{{"id": 5}}"#)));
        let error = folder.error(&folder.spec());
        assert_has(
            &error,
            &[
                "4 things are malformed",
                "json:3: images[0] (a.png): stated size 60x40, the file has 80x40",
                "json:5: images[2]: the id 40 is there twice",
                "json:6: images[3]: missing field `id`",
                "json:13: categories[2]: missing field `name`",
            ],
        );
        folder.text(file, &json(IMAGES, "", r#"{"id": 3, "name": "a"}, {"id": 3, "name": "b"}"#));
        assert_has(&folder.error(&folder.spec()), &["two categories have the id 3"]);
        folder.text(file, &json(IMAGES, "", r#"{"id": 3, "name": "a"}, {"id": 4, "name": "a"}"#));
        assert_has(&folder.error(&folder.spec()), &["the class 'a' is there twice"]);
        folder.text(file, r#"{"images": [], "categories": []}"#);
        assert_has(&folder.error(&folder.spec()), &["missing field `annotations`", "line 1"]);
    }

    #[test]
    fn files_and_images_are_found_or_the_places_looked_at_are_listed() {
        let folder = folder("coco-find", &[]);
        let json = text(&folder.path("annotations/instances_train2017.json"));
        assert_eq!(Dataset::open(&DataSpec::new(&json), Split::Val).unwrap().len(), 2);
        let error = folder.error(&DataSpec { train_split: "test".to_owned(), ..folder.spec() });
        assert_has(
            &error,
            &[
                "--train-split test",
                "annotations/instances_test.json",
                "test/_annotations.coco.json",
            ],
        );
        let both = Dataset::open_both(&DataSpec::new(&json)).unwrap_err().to_string();
        assert_has(&both, &["--val-data"]);
        let both = DataSpec { val_data: Some(json.clone()), ..DataSpec::new(&json) };
        let (train, val) = Dataset::open_both(&both).unwrap();
        assert_eq!(train.shared_with(&val), 2);
        std::fs::copy(&json, folder.path("annotations/instances_train2014.json")).unwrap();
        assert_has(&folder.error(&folder.spec()), &["could be", "train2014.json or"]);
        let exact = DataSpec { train_split: "train2017".to_owned(), ..folder.spec() };
        assert_eq!(Dataset::open(&exact, Split::Train).unwrap().len(), 2);

        std::fs::rename(folder.path("images/train2017"), folder.path("elsewhere")).unwrap();
        assert_has(&folder.error(&exact), &["no image a.png; --images", "images/train2017"]);
        let given = DataSpec { images: Some(folder.path("elsewhere")), ..exact.clone() };
        assert_eq!(Dataset::open(&given, Split::Train).unwrap().len(), 2);
        std::fs::remove_file(folder.path("elsewhere/b.png")).unwrap();
        assert_has(&folder.error(&given), &["1 of 2 images are missing: elsewhere/b.png"]);
    }

    #[test]
    fn classes_fix_the_order_and_keep_the_ids() {
        let folder = folder("coco-classes", &[annotation(40, 18, [1., 2., 30., 20.], "")]);
        let classes = ["dog", "fox", "cat"].map(str::to_owned).to_vec();
        let spec = DataSpec { classes: Some(classes), ..folder.spec() };
        let data = Dataset::open(&spec, Split::Train).unwrap();
        assert_eq!((&data.category_ids[..], data.items[0].labels[0].class), (&[18, 19, 3][..], 0));
        let spec = DataSpec { classes: Some(vec!["cat".to_owned()]), ..folder.spec() };
        assert_has(&folder.error(&spec), &["annotations[0]: --classes has no 'dog'"]);
    }
}
