//! The sizes of image files.

use super::Checker;
use anyhow::{Result, bail};
use examples_support::{images::measure, parallel};
use image::ImageResult;
use std::{io::ErrorKind, path::PathBuf};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSpec, Dropped, testing::Folder};

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
}
