//! Pascal VOC: one XML file per image, corners counted from 1, the last pixel included.

use super::{Checker, Classes, Found, Item, Label, Source, Split, read_text, sizes::sizes};
use anyhow::{Result, bail, ensure};
use examples_support::{images, parallel};
use roxmltree::{Document, Node};
use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

/// Reads the split `ImageSets/Main/<name>.txt`. Classes are those of all splits, sorted by name.
pub fn read(checker: &mut Checker, root: &Path, split: Split) -> Result<Found> {
    let annotations = root.join("Annotations");
    ensure!(annotations.is_dir(), "there is no folder Annotations");
    let list = find_list(checker, root, split)?;
    let mut seen = HashSet::new();
    let text = read_text(&list)?;
    // Lists of a single class have a second column with 1, 0 or -1.
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| seen.insert(*name))
        .collect();
    let paths: Vec<PathBuf> = names.iter().map(|name| find_image(root, name)).collect();
    let sizes = sizes(checker, &paths)?;

    let found = match &checker.spec.classes {
        Some(classes) => classes.clone(),
        None => all_classes(&annotations)?,
    };
    let classes = Classes::new(checker.spec, &found)?;
    let mut items = Vec::with_capacity(names.len());
    for (i, (name, path)) in names.iter().zip(paths).enumerate() {
        let Some((width, height)) = sizes[i] else { continue };
        let mut item = Item {
            id: i as i64 + 1,
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            image: Source::File(path),
            width,
            height,
            labels: Vec::new(),
        };
        let xml = annotations.join(format!("{name}.xml"));
        if !xml.exists() {
            checker.issue(&xml, None, "no annotation file for an image of the split");
            continue;
        }
        let text = read_text(&xml)?;
        let document = match Document::parse(&text) {
            Ok(document) => document,
            Err(error) => {
                checker.issue(&xml, Some(error.pos().row as usize), error.to_string());
                continue;
            }
        };
        for object in children(document.root_element(), "object") {
            let line = line(object);
            match parse(object, &classes) {
                Ok((class, crowd, xyxy)) => {
                    let label = Label { class, xyxy: [0.; 4], crowd, area: None };
                    checker.add(&mut item, xyxy, label, &xml, line);
                }
                Err((line, message)) => checker.issue(&xml, Some(line), message),
            }
        }
        items.push(item);
    }
    let category_ids = (0..classes.names.len() as i64).collect();
    Ok(Found { classes: classes.names, category_ids, items, origin: list })
}

fn find_list(checker: &Checker, root: &Path, split: Split) -> Result<PathBuf> {
    let folder = root.join("ImageSets/Main");
    for name in checker.spec.split_names(split) {
        let list = folder.join(format!("{name}.txt"));
        if list.is_file() {
            return Ok(list);
        }
    }
    let (option, name) = checker.spec.split_option(split);
    let present: Vec<String> = images::entries(&folder)
        .unwrap_or_default()
        .iter()
        .filter(|path| images::extension(path) == "txt")
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    ensure!(!present.is_empty(), "there are no lists of images in ImageSets/Main");
    let shown = present.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    bail!("{option} {name}: no ImageSets/Main/{name}.txt; there are {shown}")
}

fn find_image(root: &Path, name: &str) -> PathBuf {
    let folder = root.join("JPEGImages");
    let candidate = |extension: &str| folder.join(format!("{name}.{extension}"));
    let upper = images::EXTENSIONS.map(str::to_uppercase);
    let extensions = images::EXTENSIONS.into_iter().chain(upper.iter().map(String::as_str));
    extensions.map(candidate).find(|path| path.exists()).unwrap_or_else(|| candidate("jpg"))
}

/// Every class name in the folder. Files that cannot be read are left to whoever needs them.
fn all_classes(annotations: &Path) -> Result<Vec<String>> {
    let mut files = images::entries(annotations)?;
    files.retain(|path| images::extension(path) == "xml");
    let names = parallel::map(files.len(), |i| -> Vec<String> {
        let Ok(text) = read_text(&files[i]) else { return Vec::new() };
        let Ok(document) = Document::parse(&text) else { return Vec::new() };
        children(document.root_element(), "object")
            .filter_map(|object| Some(value(object, "name").ok()?.0.to_owned()))
            .collect()
    });
    let sorted: BTreeSet<String> = names.into_iter().flatten().collect();
    ensure!(!sorted.is_empty(), "no object in any file of Annotations");
    Ok(sorted.into_iter().collect())
}

/// A line number and what is wrong there.
type Wrong = (usize, String);

fn parse(object: Node, classes: &Classes) -> Result<(usize, bool, [f64; 4]), Wrong> {
    let (name, at) = value(object, "name")?;
    let class = classes.names.iter().position(|class| class == name).ok_or_else(|| {
        (at, format!("unknown class '{name}'; --classes has {}", classes.names.join(", ")))
    })?;
    let crowd = match value(object, "difficult") {
        Ok(("0", _)) | Err(_) => false,
        Ok(("1", _)) => true,
        Ok((other, line)) => return Err((line, format!("<difficult> is '{other}', not 0 or 1"))),
    };
    let bndbox = child(object, "bndbox")?;
    let mut corners = [0.; 4];
    for (corner, tag) in corners.iter_mut().zip(["xmin", "ymin", "xmax", "ymax"]) {
        let (text, line) = value(bndbox, tag)?;
        *corner = text.parse().map_err(|_| (line, format!("<{tag}> is '{text}', not a number")))?;
    }
    let [x0, y0, x1, y1] = corners;
    for (low, high, axis) in [(x0, x1, 'x'), (y0, y1, 'y')] {
        if high < low {
            return Err((
                line(bndbox),
                format!("<{axis}max> {high} is less than <{axis}min> {low}"),
            ));
        }
    }
    // A box without extent is a slip, not a pixel: it stays without extent and is dropped.
    let first = |low: f64, high: f64| if low == high { high } else { low - 1. };
    Ok((class, crowd, [first(x0, x1), first(y0, y1), x1, y1]))
}

fn children<'a, 'i>(node: Node<'a, 'i>, tag: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

fn child<'a, 'i>(node: Node<'a, 'i>, tag: &str) -> Result<Node<'a, 'i>, Wrong> {
    children(node, tag)
        .next()
        .ok_or_else(|| (line(node), format!("<{}> has no <{tag}>", node.tag_name().name())))
}

/// The text of a child, and its line.
fn value<'a>(node: Node<'a, '_>, tag: &str) -> Result<(&'a str, usize), Wrong> {
    let child = child(node, tag)?;
    match child.text().map(str::trim) {
        Some(text) if !text.is_empty() => Ok((text, line(child))),
        _ => Err((line(child), format!("<{tag}> is empty"))),
    }
}

fn line(node: Node) -> usize {
    node.document().text_pos_at(node.range().start).row as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        DataSpec, Dataset,
        testing::{Folder, assert_has, boxes, voc},
    };

    #[test]
    fn a_split_is_read() {
        let folder = Folder::voc("voc");
        let data = folder.open().unwrap();
        // Of all splits, sorted.
        assert_eq!(data.classes, ["ant", "cat", "dog"]);
        assert_eq!(data.category_ids, [0, 1, 2]);
        let items: Vec<_> =
            data.items.iter().map(|i| (i.id, &i.name[..], i.width, i.height)).collect();
        assert_eq!(items, [(1, "a.png", 80, 40), (2, "b.jpg", 40, 60), (3, "c.png", 50, 50)]);
        let want = [("dog", [0., 0., 20., 30.]), ("cat", [10., 5., 80., 40.])];
        assert_eq!(boxes(&data, 0), want);
        assert_eq!(data.items[0].labels.iter().map(|l| l.crowd).collect::<Vec<_>>(), [false, true]);
        assert_eq!(boxes(&data, 1), []);
        let (train, val) = Dataset::open_both(&folder.spec()).unwrap();
        assert_eq!((train.classes, val.len()), (val.classes, 1));
        assert!(
            data.summary().contains("3 images (1 without objects), 3 boxes (ant 0, cat 1, dog 2)")
        );
    }

    #[test]
    fn every_malformed_object_is_reported_with_its_line() {
        let folder = Folder::voc("voc-bad");
        let good = voc(&[("dog", "0", [1, 1, 20, 30])]);
        let bad = [
            ("<name>dog</name>", "", "a.xml:3: <object> has no <name>"),
            ("<name>dog</name>", "<name> </name>", "a.xml:4: <name> is empty"),
            ("<name>dog</name>", "<name>cow</name>", "a.xml:4: unknown class 'cow'"),
            ("<ymin>1</ymin>", "", "a.xml:6: <bndbox> has no <ymin>"),
            ("<ymin>1</ymin>", "<ymin>one</ymin>", "a.xml:7: <ymin> is 'one', not a number"),
            (
                "<ymin>1</ymin>",
                "<ymin>nan</ymin>",
                "a.xml:3: the box has a number that is not finite",
            ),
            ("<xmax>20</xmax>", "<xmax>0</xmax>", "a.xml:6: <xmax> 0 is less than <xmin> 1"),
            (
                "<xmax>20</xmax>",
                "<xmax>99</xmax>",
                "a.xml:3: the box (0, 0) to (99, 30) leaves the 80x40 image; --clip",
            ),
            ("<difficult>0", "<difficult>maybe", "a.xml:5: <difficult> is 'maybe'"),
            ("</object>", "", "a.xml:9: "),
        ];
        let spec =
            DataSpec { classes: Some(vec!["dog".to_owned(), "cat".to_owned()]), ..folder.spec() };
        for (from, to, message) in bad {
            folder.text("Annotations/a.xml", &good.replace(from, to));
            let error = folder.error(&spec);
            assert_has(&error, &["1 thing is malformed:", message, "--skip-bad-labels"]);
            let skip = DataSpec { skip_bad_labels: true, ..spec.clone() };
            let data = Dataset::open(&skip, Split::Train).unwrap();
            assert_eq!(data.issues.len(), 1);
            assert!(data.items.iter().filter(|i| i.name == "a.png").all(|i| i.labels.is_empty()));
        }
    }

    #[test]
    fn all_issues_are_counted_and_the_first_twenty_shown() {
        let folder = Folder::voc("voc-many");
        folder.text("Annotations/a.xml", &voc(&vec![("cow", "0", [1, 1, 9, 9]); 25]));
        std::fs::remove_file(folder.path("Annotations/c.xml")).unwrap();
        let spec = DataSpec { classes: Some(vec!["dog".to_owned()]), ..folder.spec() };
        let error = folder.error(&spec);
        assert_has(&error, &["26 things are malformed", "a.xml:4: ", "a.xml:118: ", "and 6 more"]);
        assert!(!error.contains("a.xml:124: "), "{error}");
    }

    #[test]
    fn clip_cuts_and_degenerate_and_duplicate_boxes_are_counted() {
        let folder = Folder::voc("voc-drop");
        folder.text(
            "Annotations/a.xml",
            &voc(&[
                ("dog", "0", [1, 1, 99, 30]),
                ("dog", "0", [5, 5, 5, 30]),
                ("dog", "0", [2, 2, 9, 9]),
                ("dog", "0", [2, 2, 9, 9]),
                ("cat", "0", [2, 2, 9, 9]),
            ]),
        );
        let spec = DataSpec { clip: true, ..folder.spec() };
        let data = Dataset::open(&spec, Split::Train).unwrap();
        assert_eq!(data.dropped, crate::data::Dropped { degenerate: 1, duplicate: 1, clipped: 1 });
        let want =
            [("dog", [0., 0., 80., 30.]), ("dog", [1., 1., 9., 9.]), ("cat", [1., 1., 9., 9.])];
        assert_eq!(boxes(&data, 0), want);
        let summary = data.summary();
        assert_has(&summary, &["1 thinner than a pixel", "1 duplicates", "1 clipped"]);
    }

    #[test]
    fn wrong_folders_and_splits_say_what_there_is() {
        let folder = Folder::voc("voc-split");
        let spec = DataSpec { train_split: "test".to_owned(), ..folder.spec() };
        assert_has(&folder.error(&spec), &["--train-split test", "there are train, val"]);
        std::fs::remove_file(folder.path("JPEGImages/c.png")).unwrap();
        assert_has(&folder.error(&folder.spec()), &["1 of 3 images are missing: JPEGImages/c.jpg"]);
        folder.text("ImageSets/Main/train.txt", "\n");
        assert_has(&folder.error(&folder.spec()), &["no images in VOC ImageSets/Main/train.txt"]);
        std::fs::remove_dir_all(folder.path("Annotations")).unwrap();
        let spec = DataSpec { format: Some(crate::data::Format::Voc), ..folder.spec() };
        assert_has(&folder.error(&spec), &["no folder Annotations"]);
    }
}
