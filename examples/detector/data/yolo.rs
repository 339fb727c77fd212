//! YOLO: for each image a text file with lines `class cx cy width height`, as fractions of the image.

use super::{Checker, Classes, Found, Item, Label, Source, Split, read_text, sizes::sizes};
use anyhow::{Context, Result, anyhow, bail, ensure};
use examples_support::images;
use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use std::{
    collections::HashSet,
    ffi::OsStr,
    path::{Component, Path, PathBuf},
};

/// Values may leave [0, 1] by this much, which is rounding.
const SLACK: f64 = 1e-4;

/// True if there are folders of images in a usual place under `root`.
pub fn looks_like(root: &Path) -> bool {
    let parts = images::entries(root).unwrap_or_default();
    root.join("images").is_dir() || parts.iter().any(|part| part.join("images").is_dir())
}

/// `data.yaml` in a folder, or the only YAML file there.
pub fn find_yaml(root: &Path) -> Result<Option<PathBuf>> {
    let mut found = images::entries(root)?;
    found.retain(|path| matches!(images::extension(path).as_str(), "yaml" | "yml"));
    let data = |path: &PathBuf| path.file_stem() == Some(OsStr::new("data"));
    if let Some(path) = found.iter().find(|path| data(path)) {
        return Ok(Some(path.clone()));
    }
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => bail!("several YAML files and no data.yaml; give the path of one"),
    }
}

/// Reads the split of a `data.yaml`, or of a folder without one.
pub fn read(checker: &mut Checker, path: &Path, split: Split) -> Result<Found> {
    let yaml = if path.is_dir() { find_yaml(path)? } else { Some(path.to_owned()) };
    let layout = match &yaml {
        Some(yaml) => from_yaml(checker, yaml, split)?,
        None => from_folder(checker, path, split)?,
    };
    let Layout { names, paths, origin } = layout;
    ensure!(
        !paths.is_empty(),
        "no images ({}) in {}",
        images::EXTENSIONS.map(|e| format!(".{e}")).join(", "),
        origin.display()
    );
    let classes = Classes::new(checker.spec, &names)?;
    let sizes = sizes(checker, &paths)?;
    let mut items = Vec::with_capacity(paths.len());
    let mut first_missing = None;
    let mut label_files = 0;
    for (i, (path, size)) in paths.into_iter().zip(sizes).enumerate() {
        let Some((width, height)) = size else { continue };
        let labels = label_path(&path);
        let mut item = Item {
            id: i as i64 + 1,
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            image: Source::File(path),
            width,
            height,
            labels: Vec::new(),
        };
        if labels.is_file() {
            label_files += 1;
            read_labels(checker, &mut item, &labels, &classes)?;
        } else {
            first_missing = first_missing.or(Some(labels));
        }
        items.push(item);
    }
    if let Some(missing) = first_missing.filter(|_| label_files == 0) {
        bail!("none of {} images has a label file; looked for {}", items.len(), missing.display());
    }
    let category_ids = (0..classes.names.len() as i64).collect();
    Ok(Found { classes: classes.names, category_ids, items, origin })
}

/// `.../images/a/x.png` to `.../labels/a/x.txt`, at the last folder called `images`; beside the image
/// where there is none.
fn label_path(image: &Path) -> PathBuf {
    let mut parts: Vec<Component> = image.components().collect();
    let folders = parts.len() - 1;
    let images = Component::Normal(OsStr::new("images"));
    if let Some(k) = parts[..folders].iter().rposition(|part| *part == images) {
        parts[k] = Component::Normal(OsStr::new("labels"));
    }
    parts.iter().collect::<PathBuf>().with_extension("txt")
}

fn read_labels(
    checker: &mut Checker,
    item: &mut Item,
    file: &Path,
    classes: &Classes,
) -> Result<()> {
    for (k, line) in read_text(file)?.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match parse(line, classes, checker.spec.clip) {
            Ok((class, xyxy)) => {
                let size = [item.width, item.height].map(f64::from);
                let xyxy = std::array::from_fn(|k| xyxy[k] * size[k % 2]);
                let label = Label { class, xyxy: [0.; 4], crowd: false, area: None };
                checker.add(item, xyxy, label, file, k + 1);
            }
            Err(error) => checker.issue(file, Some(k + 1), error.to_string()),
        }
    }
    Ok(())
}

/// The class and the corners, as fractions of the image, of a box or of a polygon's bounding box.
fn parse(line: &str, classes: &Classes, clip: bool) -> Result<(usize, [f64; 4])> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (class, numbers) = columns.split_first().context("empty")?;
    let polygon = numbers.len() >= 6 && numbers.len() % 2 == 0;
    ensure!(
        numbers.len() == 4 || polygon,
        "expected 5 columns (class cx cy width height) or a polygon, got {}",
        columns.len()
    );
    let number = |text: &&str| {
        let value: f64 = text.parse().map_err(|_| anyhow!("'{text}' is not a number"))?;
        ensure!(value.is_finite(), "'{text}' is not a finite number");
        ensure!(
            clip || (-SLACK..=1. + SLACK).contains(&value),
            "{text} is outside [0, 1]; --clip cuts boxes at the border"
        );
        Ok(value)
    };
    let count = classes.places.len();
    let index: f64 = class.parse().map_err(|_| anyhow!("the class '{class}' is not a number"))?;
    ensure!(
        index.fract() == 0. && (0. ..count as f64).contains(&index),
        "the class {class} is out of range: there are {count}, counted from 0"
    );
    let place = classes.places[index as usize]
        .with_context(|| format!("--classes does not have the class {class} of the data"))?;
    let numbers = numbers.iter().map(number).collect::<Result<Vec<f64>>>()?;
    if let [cx, cy, width, height] = numbers[..] {
        ensure!(width >= 0. && height >= 0., "width or height is negative");
        let (dx, dy) = (width / 2., height / 2.);
        return Ok((place, [cx - dx, cy - dy, cx + dx, cy + dy]));
    }
    let extent = |first: usize| {
        let values = numbers.iter().skip(first).step_by(2);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)))
    };
    let ((left, right), (top, bottom)) = (extent(0), extent(1));
    Ok((place, [left, top, right, bottom]))
}

struct Layout {
    names: Vec<String>,
    paths: Vec<PathBuf>,
    origin: PathBuf,
}

/// A folder without a `data.yaml`: `images/<split>`, `<split>/images` or just `images`.
fn from_folder(checker: &Checker, root: &Path, split: Split) -> Result<Layout> {
    let names = match (&checker.spec.classes, root.join("classes.txt")) {
        (_, file) if file.is_file() => {
            let text = read_text(&file)?;
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
        }
        (Some(classes), _) => classes.clone(),
        _ => bail!("no data.yaml or classes.txt here: name the classes with --classes a,b,c"),
    };
    let mut candidates = Vec::new();
    for name in checker.spec.split_names(split) {
        candidates.extend([root.join("images").join(name), root.join(name).join("images")]);
    }
    // The whole folder is a split only if it is not divided into splits.
    let whole = root.join("images");
    let divided = |path: &PathBuf| path.is_dir();
    if !images::entries(&whole).unwrap_or_default().iter().any(divided) {
        candidates.push(whole);
    }
    let (option, name) = checker.spec.split_option(split);
    let Some(origin) = candidates.iter().find(|folder| folder.is_dir()) else {
        let looked: Vec<_> = candidates.iter().map(|f| format!("\n  {}", f.display())).collect();
        bail!("{option} {name}: no folder of images. Looked for:{}", looked.concat());
    };
    Ok(Layout { names, paths: images::list(origin)?, origin: origin.clone() })
}

fn from_yaml(checker: &Checker, yaml: &Path, split: Split) -> Result<Layout> {
    let text = read_text(yaml)?;
    let at = |line: usize| format!("{}:{line}", yaml.display());
    let documents = MarkedYaml::load_from_str(&text)
        .map_err(|error| anyhow!("{}: {}", at(error.marker().line()), error.info()))?;
    let document = documents.first().filter(|node| node.data.is_mapping());
    let document = document.with_context(|| format!("{}: no keys", yaml.display()))?;
    let get = |key: &str| document.data.as_mapping_get(key).filter(|node| !node.data.is_null());
    let line = |node: &MarkedYaml| at(node.span.start.line());

    let names = match get("names") {
        Some(node) => class_names(node).with_context(|| line(node))?,
        None => checker.spec.classes.clone().with_context(|| {
            format!("{}: no key names; or name the classes with --classes", yaml.display())
        })?,
    };
    if let Some(node) = get("nc") {
        let count = node.data.as_integer();
        ensure!(
            count == i64::try_from(names.len()).ok(),
            "{}: nc is {}, but names has {}",
            line(node),
            scalar(node).unwrap_or_default(),
            names.len()
        );
    }

    let folder = yaml.parent().unwrap_or(Path::new(""));
    let mut roots = vec![folder.to_owned()];
    if let Some(node) = get("path") {
        let path = scalar(node).with_context(|| format!("{}: path is not text", line(node)))?;
        // As written from the YAML file, or from the current folder.
        roots.splice(0..0, [folder.join(&path), PathBuf::from(path)]);
    }
    let wanted = checker.spec.split_names(split);
    let Some((key, node)) = wanted.iter().find_map(|key| Some((*key, get(key)?))) else {
        let (option, name) = checker.spec.split_option(split);
        let present: Vec<&str> =
            ["train", "val", "test"].into_iter().filter(|key| get(key).is_some()).collect();
        let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
        bail!("{option} {name}: {} has no such split, but {present}", yaml.display());
    };
    let entries = match &node.data {
        YamlData::Sequence(entries) => entries.iter().map(scalar).collect::<Option<Vec<_>>>(),
        _ => scalar(node).map(|entry| vec![entry]),
    };
    let entries = entries.with_context(|| {
        format!("{}: {key} must be a folder, a .txt list of images, or a list of these", line(node))
    })?;
    let mut paths = Vec::new();
    let mut origin = yaml.to_owned();
    for entry in &entries {
        let place = find(&roots, entry).with_context(|| line(node))?;
        if entries.len() == 1 {
            origin.clone_from(&place);
        }
        if place.is_dir() {
            paths.extend(images::list(&place)?);
        } else {
            paths.extend(read_list(&place, &roots)?);
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    Ok(Layout { names, paths, origin })
}

/// The first of `roots` that has `entry`.
fn find(roots: &[PathBuf], entry: &str) -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = roots.iter().map(|root| root.join(entry)).collect();
    // Some exporters write ../train/images for a folder that lies beside data.yaml.
    if let Some(rest) = entry.strip_prefix("../") {
        candidates.extend(roots.iter().map(|root| root.join(rest)));
    }
    if let Some(path) = candidates.iter().find(|path| path.exists()) {
        return Ok(path.clone());
    }
    let looked: Vec<_> = candidates.iter().map(|path| format!("\n  {}", path.display())).collect();
    bail!("'{entry}' does not exist. Looked for:{}", looked.concat())
}

/// The images in a `.txt` list, written from its own folder or from the root of the data.
fn read_list(list: &Path, roots: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let text = read_text(list)?;
    let own = list.parent().unwrap_or(Path::new(""));
    let locate = |line: &str| {
        let line = line.strip_prefix("./").unwrap_or(line);
        let mut places = [own].into_iter().chain(roots.iter().map(PathBuf::as_path));
        let found = places.find_map(|root| Some(root.join(line)).filter(|path| path.exists()));
        found.unwrap_or_else(|| own.join(line))
    };
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(locate).collect())
}

/// `[a, b]` or `{0: a, 1: b}`.
fn class_names(node: &MarkedYaml) -> Result<Vec<String>> {
    let text = |node: &MarkedYaml| scalar(node).context("a class name is not text");
    match &node.data {
        YamlData::Sequence(names) => names.iter().map(text).collect(),
        YamlData::Mapping(map) => {
            let mut names = vec![None; map.len()];
            for (key, value) in map {
                let place =
                    key.data.as_integer().and_then(|k| names.get_mut(usize::try_from(k).ok()?));
                let place = place.with_context(|| {
                    format!("the keys of names must be 0 to {}", map.len().saturating_sub(1))
                })?;
                *place = Some(text(value)?);
            }
            names.into_iter().collect::<Option<_>>().context("the keys of names have a gap")
        }
        _ => bail!("names must be a list or a map from numbers to names"),
    }
}

fn scalar(node: &MarkedYaml) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(value)) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        DataSpec, Dataset, Dropped,
        testing::{Folder, assert_has, boxes},
    };

    const YAML: &str = "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n";

    fn folder(name: &str, labels: &str) -> Folder {
        let folder = Folder::new(name);
        folder.image("images/train/a.png", 80, 40);
        folder.image("images/train/b.jpg", 40, 60);
        folder.image("images/val/c.png", 20, 20);
        folder.text("labels/train/a.txt", labels);
        folder.text("labels/val/c.txt", "");
        folder.text("data.yaml", YAML);
        folder
    }

    fn close(got: [f32; 4], want: [f32; 4]) {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4), "{got:?}, want {want:?}");
    }

    #[test]
    fn boxes_polygons_and_background_are_read() {
        let labels =
            "1 0.5 0.5 0.25 0.5\n\n0 0.1 0.2 0.5 0.1 0.3 0.9\n0 .5 .5 0 .2\n1 0.5 0.5 0.25 0.5\n";
        let folder = folder("yolo", labels);
        let (data, val) = Dataset::open_both(&folder.spec()).unwrap();
        assert_eq!(data.classes, ["cat", "dog"]);
        let items: Vec<_> =
            data.items.iter().map(|i| (i.id, &i.name[..], i.width, i.height)).collect();
        assert_eq!(items, [(1, "a.png", 80, 40), (2, "b.jpg", 40, 60)]);
        let found = boxes(&data, 0);
        assert_eq!(found.iter().map(|b| b.0).collect::<Vec<_>>(), ["dog", "cat"]);
        close(found[0].1, [30., 10., 50., 30.]);
        close(found[1].1, [8., 4., 40., 36.]);
        assert!(data.items[1].labels.is_empty() && val.items[0].labels.is_empty());
        assert_eq!(data.dropped, Dropped { degenerate: 1, duplicate: 1, clipped: 0 });
        assert_eq!(data.shared_with(&val), 0);
    }

    #[test]
    fn every_malformed_line_is_reported_with_its_number() {
        let bad = [
            ("0 0.5 0.5 0.2", "expected 5 columns (class cx cy width height) or a polygon, got 4"),
            ("0 0.5 0.5 0.2 0.2 0.9", "got 6"),
            ("0 0.5 0.5 0.2 0.2 0.9 0.1 0.4", "got 8"),
            ("0 0.5 half 0.2 0.2", "'half' is not a number"),
            ("0 0.5 nan 0.2 0.2", "'nan' is not a finite number"),
            ("cat 0.5 0.5 0.2 0.2", "the class 'cat' is not a number"),
            ("2 0.5 0.5 0.2 0.2", "the class 2 is out of range: there are 2, counted from 0"),
            ("-1 0.5 0.5 0.2 0.2", "the class -1 is out of range"),
            ("0.5 0.5 0.5 0.2 0.2", "the class 0.5 is out of range"),
            ("0 1.2 0.5 0.2 0.2", "1.2 is outside [0, 1]; --clip"),
            ("0 0.5 0.5 -0.2 0.2", "-0.2 is outside [0, 1]"),
            ("0 0.9 0.5 0.4 0.2", "leaves the 80x40 image; --clip"),
        ];
        let lines: Vec<_> = bad.iter().map(|(line, _)| *line).collect();
        let folder = folder("yolo-bad", &format!("0 0.5 0.5 0.2 0.2\n{}\n", lines.join("\n")));
        let error = folder.error(&folder.spec());
        assert_has(&error, &["12 things are malformed", "--skip-bad-labels"]);
        for (k, (_, message)) in bad.iter().enumerate() {
            let place = format!("labels/train/a.txt:{}: ", k + 2);
            let line = error.lines().find(|line| line.contains(&place)).unwrap();
            assert_has(line, &[message]);
        }
        let skip = DataSpec { skip_bad_labels: true, ..folder.spec() };
        let data = Dataset::open(&skip, Split::Train).unwrap();
        assert_eq!((data.items[0].labels.len(), data.issues.len()), (1, 12));
    }

    #[test]
    fn clip_cuts_at_the_border() {
        let folder = folder("yolo-clip", "0 1.1 0.5 0.4 0.5\n1 0 0 0.5 0.5\n1 1.5 0.5 0.1 0.1\n");
        let spec = DataSpec { clip: true, ..folder.spec() };
        let data = Dataset::open(&spec, Split::Train).unwrap();
        let found = boxes(&data, 0);
        close(found[0].1, [72., 10., 80., 30.]);
        close(found[1].1, [0., 0., 20., 10.]);
        assert_eq!(data.dropped, Dropped { degenerate: 1, duplicate: 0, clipped: 3 });
    }

    #[test]
    fn rounding_at_the_border_is_no_error() {
        let folder = folder("yolo-round", "0 0.5 0.5 1.00001 1\n1 0.905 0.5 0.2 0.5\n");
        let data = folder.open().unwrap();
        let found = boxes(&data, 0);
        close(found[0].1, [0., 0., 80., 40.]);
        close(found[1].1, [64.4, 10., 80., 30.]);
    }

    #[test]
    fn splits_are_folders_lists_and_text_files() {
        let labels = "0 .5 .5 .5 .5\n";
        let folder = folder("yolo-splits", labels);
        let count = |train: &str| {
            folder.text("data.yaml", &format!("train: {train}\nnames: {{1: dog, 0: cat}}\n"));
            folder.open().map(|data| data.len()).map_err(|e| format!("{e:#}"))
        };
        assert_eq!(count("images"), Ok(3));
        assert_eq!(count("../images/train"), Ok(2));
        assert_eq!(count("[images/train, images/val]"), Ok(3));
        folder.text("train.txt", "./images/train/a.png\n\nimages/val/c.png\nimages/train/a.png\n");
        assert_eq!(count("train.txt"), Ok(2));
        folder.text("train.txt", "images/train/gone.png\n");
        assert_has(&count("train.txt").unwrap_err(), &["1 of 1 images are missing", "gone.png"]);
        assert_has(
            &count("images/test").unwrap_err(),
            &["data.yaml:1: 'images/test' does not exist"],
        );
        assert_has(&count("{a: b}").unwrap_err(), &["data.yaml:1: train must be a folder"]);
    }

    #[test]
    fn a_wrong_yaml_is_reported_with_its_line() {
        let folder = folder("yolo-yaml", "0 .5 .5 .5 .5\n");
        let bad = [
            ("nc: 2", "nc: 3", "data.yaml:4: nc is 3, but names has 2"),
            ("nc: 2", "nc: two", "data.yaml:4: nc is two, but names has 2"),
            ("[cat, dog]", "{0: cat, 2: dog}", "data.yaml:5: the keys of names must be 0 to 1"),
            ("[cat, dog]", "cat", "data.yaml:5: names must be a list or a map"),
            ("[cat, dog]", "[cat, cat]", "the class 'cat' is there twice"),
            ("[cat, dog]", "[cat, [dog]]", "data.yaml:5: a class name is not text"),
            ("names:", "classes:", "no key names"),
            ("names:", "names: [", "data.yaml:"),
            ("train:", "training:", "--train-split train: data.yaml has no such split, but val"),
            (YAML, "- a\n", "data.yaml: no keys"),
        ];
        for (from, to, message) in bad {
            folder.text("data.yaml", &YAML.replace(from, to));
            assert_has(&folder.error(&folder.spec()), &[message]);
        }
        folder.text("data.yaml", YAML);
        folder.text("more.yml", YAML);
        folder.open().unwrap();
        std::fs::rename(folder.path("data.yaml"), folder.path("x.yaml")).unwrap();
        assert_has(&folder.error(&folder.spec()), &["several YAML files"]);
    }

    #[test]
    fn folders_without_a_yaml_need_class_names() {
        let folder = folder("yolo-folder", "1 .5 .5 .5 .5\n");
        std::fs::remove_file(folder.path("data.yaml")).unwrap();
        assert_has(&folder.error(&folder.spec()), &["--classes a,b,c"]);
        let classes = Some(vec!["x".to_owned(), "y".to_owned()]);
        let spec = DataSpec { classes, ..folder.spec() };
        let (train, val) = Dataset::open_both(&spec).unwrap();
        assert_eq!((train.len(), val.len(), &train.classes[1][..]), (2, 1, "y"));
        folder.text("classes.txt", "cat\ndog\n");
        assert_eq!(folder.open().unwrap().classes, ["cat", "dog"]);
        let spec = DataSpec { train_split: "test".to_owned(), ..folder.spec() };
        assert_has(&folder.error(&spec), &["--train-split test", "images/test", "test/images"]);
    }

    #[test]
    fn labels_in_the_wrong_place_are_not_taken_for_background() {
        let folder = folder("yolo-nolabels", "0 .5 .5 .5 .5\n");
        std::fs::rename(folder.path("labels"), folder.path("label")).unwrap();
        let error = folder.error(&folder.spec());
        assert_has(&error, &["none of 2 images has a label file", "labels/train/a.txt"]);
        std::fs::remove_dir_all(folder.path("images/train")).unwrap();
        std::fs::create_dir(folder.path("images/train")).unwrap();
        assert_has(&folder.error(&folder.spec()), &["no images (.jpg, .jpeg, .png) in"]);
    }

    #[test]
    fn the_last_folder_called_images_becomes_labels() {
        let path = |text: &str| label_path(Path::new(text)).to_string_lossy().into_owned();
        assert_eq!(path("/images/x/images/train/a.b.png"), "/images/x/labels/train/a.b.txt");
        assert_eq!(path("data/images.png"), "data/images.txt");
    }
}
