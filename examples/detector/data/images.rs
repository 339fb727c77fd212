//! Image files: finding, measuring and decoding them.

use super::{Checker, parallel};
use anyhow::{Context, Result, bail};
use image::{
    DynamicImage, ImageDecoder, ImageReader, ImageResult, RgbImage, metadata::Orientation,
};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The extensions that are read, in lower case.
pub const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// The extension in lower case; empty if there is none.
pub fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
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
fn measure(path: &Path) -> ImageResult<(u32, u32)> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let (decoder, orientation) = open(path)?;
    let (width, height) = decoder.dimensions();
    Ok(match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    })
}

/// The size of each image; none, and an issue, where the file is no image. Missing files are an
/// error that names the first few of them.
pub fn sizes(checker: &mut Checker, paths: &[PathBuf]) -> Result<Vec<Option<(u32, u32)>>> {
    let measured = parallel::map(paths.len(), |i| measure(&paths[i]));
    let missing = |size: &ImageResult<_>| matches!(size, Err(image::ImageError::IoError(e)) if e.kind() == ErrorKind::NotFound);
    let absent: Vec<&PathBuf> =
        paths.iter().zip(&measured).filter(|(_, size)| missing(size)).map(|(p, _)| p).collect();
    if !absent.is_empty() {
        let mut names: Vec<_> = absent.iter().take(5).map(|p| p.display().to_string()).collect();
        if absent.len() > names.len() {
            names.push("...".to_owned());
        }
        bail!("{} of {} images are missing: {}", absent.len(), paths.len(), names.join(", "));
    }
    let sizes = paths.iter().zip(measured).map(|(path, size)| match size {
        Ok(size) => Some(size),
        Err(error) => {
            checker.issue(path, None, format!("not a readable image: {error}"));
            None
        }
    });
    Ok(sizes.collect())
}

/// All images under `folder`, sorted.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if EXTENSIONS.contains(&extension(&path).as_str()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSpec, Dropped, testing::Folder};

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
    fn missing_images_are_an_error_and_broken_ones_an_issue() {
        let folder = Folder::new("sizes");
        folder.image("a.png", 7, 5);
        folder.text("b.jpg", "not an image");
        let spec = DataSpec::new("");
        let mut checker = Checker { spec: &spec, issues: Vec::new(), dropped: Dropped::default() };
        let paths = ["a.png", "b.jpg"].map(|name| folder.path(name));
        assert_eq!(sizes(&mut checker, &paths).unwrap(), [Some((7, 5)), None]);
        assert_eq!(checker.issues.len(), 1);
        assert!(checker.issues[0].to_string().contains("b.jpg: not a readable image"));
        let paths: Vec<_> = (0..9).map(|i| folder.path(&format!("{i}.png"))).collect();
        let error = sizes(&mut checker, &paths).unwrap_err().to_string();
        assert!(error.starts_with("9 of 9 images are missing: "), "{error}");
        assert!(error.contains("4.png, ...") && !error.contains("5.png"), "{error}");
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
}
