//! Image files: finding, naming, measuring and decoding them.

use anyhow::{Context, Result, ensure};
use image::{
    DynamicImage, ImageDecoder, ImageReader, ImageResult, RgbImage, metadata::Orientation,
};
use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

/// The extensions that are read, in lower case.
pub const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// The extension in lower case; empty if there is none.
pub fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Whether the name is that of an image file.
pub fn is_image(path: &Path) -> bool {
    EXTENSIONS.contains(&extension(path).as_str())
}

/// Decodes an image, turned upright as its EXIF orientation says.
pub fn decode(path: &Path) -> Result<RgbImage> {
    let read = || -> ImageResult<RgbImage> {
        let (decoder, orientation) = open(path)?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image.into_rgb8())
    };
    read().with_context(|| format!("cannot decode {}", path.display()))
}

fn open(path: &Path) -> ImageResult<(impl ImageDecoder, Orientation)> {
    let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    Ok((decoder, orientation))
}

/// Width and height once upright, from the header alone.
pub fn measure(path: &Path) -> ImageResult<(u32, u32)> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let (decoder, orientation) = open(path)?;
    let (width, height) = decoder.dimensions();
    Ok(match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    })
}

/// All images under `folder`, sorted.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if is_image(&path) {
                images.push(path);
            }
        }
    }
    images.sort();
    Ok(images)
}

/// What is in a folder, sorted.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = read().with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

/// Order of names in which `2` comes before `10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits =
            |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (m, n) = (digits(a), digits(b));
        if m > 0 && n > 0 {
            let value = |text: &str| text.trim_start_matches('0').to_owned();
            let (x, y) = (value(&a[..m]), value(&b[..n]));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(&y)).then(m.cmp(&n));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[m..], &b[n..]);
            continue;
        }
        let (mut left, mut right) = (a.chars(), b.chars());
        match (left.next(), right.next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (left.as_str(), right.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// The images named, and those in the folders named, in order.
pub fn find(sources: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for source in sources {
        if !source.is_dir() {
            ensure!(source.exists(), "{}: no such image or folder", source.display());
            images.push(source.clone());
            continue;
        }
        let before = images.len();
        images.extend(entries(source)?.into_iter().filter(|path| is_image(path)));
        ensure!(
            images.len() > before,
            "{}: no .jpg, .jpeg or .png in this folder",
            source.display()
        );
    }
    Ok(images)
}

/// The file's stem, with its folder where another image has the same.
pub fn unique_stem(path: &Path, all: &[PathBuf]) -> String {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let own = stem(path);
    if all.iter().filter(|other| stem(other) == own).count() == 1 {
        return own;
    }
    path.to_string_lossy().trim_start_matches(['.', '/']).replace(['/', '\\', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    /// A JPEG of 30 x 20 whose EXIF block says that it is to be turned by `orientation`.
    fn turned(folder: &Folder, orientation: u8) -> PathBuf {
        folder.image("plain.jpg", 30, 20);
        let plain = std::fs::read(folder.path("plain.jpg")).unwrap();
        let exif = [
            &b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..],
            &[orientation, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let mut bytes = plain[..2].to_vec();
        bytes.extend([0xff, 0xe1, 0, exif.len() as u8 + 2]);
        bytes.extend(exif);
        bytes.extend(&plain[2..]);
        let path = folder.path("turned.jpg");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn exif_orientation_turns_size_and_pixels() {
        let folder = Folder::new("exif");
        let path = turned(&folder, 6);
        assert_eq!(measure(&path).unwrap(), (20, 30));
        let plain = decode(&folder.path("plain.jpg")).unwrap();
        let image = decode(&path).unwrap();
        assert_eq!(image.dimensions(), (20, 30));
        // A quarter turn clockwise.
        assert_eq!(image.get_pixel(19, 0), plain.get_pixel(0, 0));
        assert_eq!(measure(&turned(&folder, 3)).unwrap(), (30, 20));
    }

    #[test]
    fn list_goes_into_folders_and_leaves_other_files() {
        let folder = Folder::new("list");
        for name in ["b/2.JPG", "b/x.txt", "a.png", "c.gif", "b/c/3.jpeg"] {
            folder.text(name, "");
        }
        let names = list(&folder.path("")).unwrap();
        assert_eq!(names, ["a.png", "b/2.JPG", "b/c/3.jpeg"].map(|name| folder.path(name)));
        assert!(list(&folder.path("none")).is_err());
    }

    #[test]
    fn numbers_in_names_are_in_order() {
        let mut names = ["b", "10", "a10b2", "9", "a10b10", "a9", "", "009", "a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "9", "009", "10", "a", "a9", "a10b2", "a10b10", "b"]);
    }

    #[test]
    fn find_takes_images_and_folders_and_names_what_is_not_there() {
        let folder = Folder::new("find");
        for name in ["b/2.JPG", "b/x.txt", "a.png", "b/1.png", "c/x.txt"] {
            folder.text(name, "");
        }
        let sources =
            |names: &[&str]| names.iter().map(|name| folder.path(name)).collect::<Vec<_>>();
        let found = find(&sources(&["a.png", "b"])).unwrap();
        assert_eq!(found, sources(&["a.png", "b/1.png", "b/2.JPG"]));
        assert!(find(&sources(&["c"])).unwrap_err().to_string().contains("no .jpg, .jpeg or .png"));
        assert!(find(&sources(&["d.png"])).unwrap_err().to_string().contains("no such image"));
        assert_eq!(unique_stem(&found[0], &found), "a");
        let twice = [PathBuf::from("./x/a.png"), PathBuf::from("y/a.jpg")];
        assert_eq!(unique_stem(&twice[0], &twice), "x_a_png");
    }
}
