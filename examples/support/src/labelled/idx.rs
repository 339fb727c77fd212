//! IDX files, as MNIST and its kin come in: a magic number, the sizes, then bytes.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// An array of bytes.
#[derive(Debug, PartialEq)]
pub struct Idx {
    /// The sizes, outermost first.
    pub sizes: Vec<usize>,
    /// Where the values begin in the file.
    pub start: usize,
    /// The values, row by row.
    pub values: Vec<u8>,
}

impl Idx {
    /// Reads a file of `dimensions` dimensions; errors name the file and the offset in bytes.
    pub fn read(path: &Path, dimensions: usize) -> Result<Idx> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
        ensure!(
            !bytes.starts_with(&[0x1f, 0x8b]),
            "{shown}: offset 0: this is a gzip file; unpack it with gunzip"
        );
        let number = |at: usize| -> Result<usize> {
            let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
            let four: [u8; 4] = four
                .with_context(|| format!("{shown}: offset {}: the file ends here", bytes.len()))?;
            Ok(u32::from_be_bytes(four) as usize)
        };
        let (magic, wanted) = (number(0)?, 0x800 + dimensions);
        ensure!(
            magic == wanted,
            "{shown}: offset 0: expected {wanted:#010x} (bytes in {dimensions} dimensions), got \
             {magic:#010x}"
        );
        let sizes = (0..dimensions).map(|i| number(4 + 4 * i)).collect::<Result<Vec<_>>>()?;
        for (i, &size) in sizes.iter().enumerate() {
            ensure!(size > 0, "{shown}: offset {}: size {i} is 0", 4 + 4 * i);
        }
        let start = 4 + 4 * dimensions;
        let total = sizes.iter().try_fold(1usize, |total, &size| total.checked_mul(size));
        let got = bytes.len() - start;
        if total != Some(got) {
            bail!(
                "{shown}: offset {}: {sizes:?} makes {} values, and {got} are there",
                start + got.min(total.unwrap_or(got)),
                total.map_or("too many".to_owned(), |total| total.to_string())
            );
        }
        Ok(Idx { sizes, start, values: bytes[start..].to_vec() })
    }
}

/// Images (N, H, W) and their labels (N) of a split.
pub struct Pair {
    pub images: Idx,
    pub labels: Idx,
    /// Of the images and of the labels.
    pub paths: [PathBuf; 2],
}

/// Reads the images and labels whose names begin with one of `names`.
pub fn read(root: &Path, option: &str, names: &[&str]) -> Result<Pair> {
    let paths = find(root, option, names)?;
    let (images, labels) = (Idx::read(&paths[0], 3)?, Idx::read(&paths[1], 1)?);
    ensure!(
        images.sizes[0] == labels.sizes[0],
        "{}: offset 4: {} labels, and {} has {} images",
        paths[1].display(),
        labels.sizes[0],
        paths[0].display(),
        images.sizes[0]
    );
    Ok(Pair { images, labels, paths })
}

/// Both spellings of the file names that are in use.
fn candidates(root: &Path, name: &str, what: &str) -> [PathBuf; 2] {
    let dimensions = if what == "images" { 3 } else { 1 };
    ["-", "."].map(|dash| root.join(format!("{name}-{what}{dash}idx{dimensions}-ubyte")))
}

fn find(root: &Path, option: &str, names: &[&str]) -> Result<[PathBuf; 2]> {
    let present =
        |name: &str, what: &str| candidates(root, name, what).into_iter().find(|p| p.is_file());
    for name in names {
        match (present(name, "images"), present(name, "labels")) {
            (Some(images), Some(labels)) => return Ok([images, labels]),
            (None, None) => {}
            (one, _) => {
                let missing = if one.is_some() { "labels" } else { "images" };
                bail!("there is no {}", candidates(root, name, missing)[0].display());
            }
        }
    }
    let first = &candidates(root, names[0], "images")[0];
    for name in names {
        for packed in candidates(root, name, "images").map(|path| packed(&path)) {
            ensure!(!packed.is_file(), "{} is compressed; unpack it with gunzip", packed.display());
        }
    }
    bail!("{option} {}: there is no {}", names[0], first.display())
}

fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// True if there are IDX files in the folder.
pub fn looks_like(root: &Path) -> bool {
    let entries = crate::images::entries(root).unwrap_or_default();
    entries.iter().any(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains("idx3-ubyte") || name.contains("idx1-ubyte")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, assert_has};

    fn file(magic: u32, sizes: &[u32], values: &[u8]) -> Vec<u8> {
        let head = std::iter::once(&magic).chain(sizes).flat_map(|number| number.to_be_bytes());
        head.chain(values.iter().copied()).collect()
    }

    #[test]
    fn a_file_is_read() {
        let folder = Folder::new("idx-read");
        let path = folder.path("a");
        std::fs::write(&path, file(0x803, &[2, 1, 3], &[1, 2, 3, 4, 5, 6])).unwrap();
        let idx = Idx::read(&path, 3).unwrap();
        assert_eq!(idx, Idx { sizes: vec![2, 1, 3], start: 16, values: vec![1, 2, 3, 4, 5, 6] });
    }

    #[test]
    fn what_is_malformed_is_named_with_its_offset() {
        let folder = Folder::new("idx-bad");
        let path = folder.path("a");
        let whole = file(0x803, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let wrong: [(Vec<u8>, &str); 8] = [
            (vec![], "offset 0: the file ends here"),
            (whole[..10].to_vec(), "offset 10: the file ends here"),
            (
                file(0x801, &[6], &[0; 6]),
                "offset 0: expected 0x00000803 (bytes in 3 dimensions), got 0x00000801",
            ),
            (whole[..20].to_vec(), "offset 20: [2, 1, 3] makes 6 values, and 4 are there"),
            ([&whole[..], &[9]].concat(), "offset 22: [2, 1, 3] makes 6 values, and 7 are there"),
            (file(0x803, &[2, 0, 3], &[]), "offset 8: size 1 is 0"),
            (file(0x803, &[u32::MAX; 3], &[1]), "makes too many values"),
            (vec![0x1f, 0x8b, 8, 0, 0], "gunzip"),
        ];
        for (bytes, message) in wrong {
            std::fs::write(&path, bytes).unwrap();
            let error = Idx::read(&path, 3).unwrap_err().to_string();
            assert_has(&error, &["idx-bad/a: ", message]);
        }
        assert_has(
            &format!("{:#}", Idx::read(&folder.path("b"), 3).unwrap_err()),
            &["cannot read"],
        );
    }

    #[test]
    fn pairs_are_found_by_either_spelling_and_missing_ones_named() {
        let folder = Folder::new("idx-pair");
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path(name), bytes).unwrap();
        let error = |names: &[&str]| match read(folder.root(), "--val-split", names) {
            Ok(_) => panic!("the files are wrong"),
            Err(error) => error.to_string(),
        };
        assert!(!looks_like(folder.root()));
        assert_has(
            &error(&["val", "t10k"]),
            &["--val-split val: there is no", "val-images-idx3-ubyte"],
        );
        write("t10k-images-idx3-ubyte.gz", vec![]);
        assert_has(&error(&["val", "t10k"]), &["t10k-images-idx3-ubyte.gz is compressed"]);
        write("t10k-images.idx3-ubyte", file(0x803, &[2, 1, 1], &[7, 8]));
        assert_has(&error(&["val", "t10k"]), &["there is no", "t10k-labels-idx1-ubyte"]);
        write("t10k-labels-idx1-ubyte", file(0x801, &[3], &[0, 1, 0]));
        assert_has(
            &error(&["val", "t10k"]),
            &["t10k-labels-idx1-ubyte: offset 4: 3 labels", "2 images"],
        );
        write("t10k-labels-idx1-ubyte", file(0x801, &[2], &[0, 1]));
        let pair = read(folder.root(), "--val-split", &["val", "t10k"]).unwrap();
        assert_eq!((pair.images.values, pair.labels.values), (vec![7, 8], vec![0, 1]));
        assert!(looks_like(folder.root()));
    }
}
