//! Files on disk for tests.

use image::{Rgb, RgbImage};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// A temporary folder, removed at the end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// An empty folder; `name` must be unique among the tests of a binary.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("examples-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Writes a file; folders on the way are made.
    pub fn text(&self, file: &str, text: &str) {
        fs::write(self.place(file), text).expect("a file in a temporary folder");
    }

    /// Writes a coloured ramp.
    pub fn image(&self, file: &str, width: u32, height: u32) {
        let ramp = |x, y| Rgb([(2 * x) as u8, (2 * y) as u8, 99]);
        RgbImage::from_fn(width, height, ramp).save(self.place(file)).expect("an image format");
    }

    /// The path of a file whose folder is there.
    pub fn place(&self, file: &str) -> PathBuf {
        let path = self.path(file);
        fs::create_dir_all(path.parent().expect("a file")).expect("a folder");
        path
    }
}

static DRAWS: RwLock<()> = RwLock::new(());

/// For a test that draws from tch's random numbers, which are one stream for all threads.
pub fn drawing() -> RwLockReadGuard<'static, ()> {
    DRAWS.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that must draw the same again: no other that says so draws meanwhile.
pub fn drawing_alone() -> RwLockWriteGuard<'static, ()> {
    DRAWS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Asserts that `text` has each of `parts`.
pub fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}
