//! Files that are never half-written, and run folders that are never lost by accident.

use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` atomically.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    todo!()
}

/// Writes `path` atomically through `fill`, which is given a temporary path with the same extension.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    todo!()
}

/// What to do with a run folder that already holds a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Stop with an error that names the options.
    Refuse,
    /// Go on with it (`--resume`); an error where there is none.
    Resume,
    /// Empty it and start anew (`--overwrite`).
    Overwrite,
}

/// Makes the run folder `<root>/<job>/<name>`; a folder "holds a run" where it has the file `marker`.
pub fn run_folder(
    root: &Path,
    job: &str,
    name: &str,
    marker: &str,
    existing: Existing,
) -> anyhow::Result<PathBuf> {
    todo!()
}
