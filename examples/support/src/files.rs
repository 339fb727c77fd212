//! Files that are never half-written, and run folders that are never lost by accident.

use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Writes `bytes` to `path` atomically: a reader sees the old file or the new one, never a part.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |temporary| Ok(fs::write(temporary, bytes)?))
}

/// Writes `path` atomically through `fill`, which gets a temporary path in the same folder and with
/// the same extension. Missing folders are made; if `fill` fails, `path` stays as it was.
pub fn write_with(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let place = || format!("cannot write {}", path.display());
    let name = path.file_name().with_context(place)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).with_context(place)?;
    // Always the same name, so that what a killed process left behind is overwritten by the next.
    let temporary = folder.join(format!(".tmp-{}", name.to_string_lossy()));
    let written = fill(&temporary).and_then(|()| {
        fs::OpenOptions::new().write(true).open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(())
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(place)?;
    // Makes the rename itself survive a power cut; not every file system can.
    #[cfg(unix)]
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
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

/// An error if the name of a run is no name of a folder.
pub fn check_name(name: &str) -> Result<()> {
    let plain = Path::new(name).components().count() == 1 && !name.contains(['/', '\\']);
    ensure!(plain && name != "." && name != "..", "--name '{name}' is not a plain folder name");
    Ok(())
}

/// Makes the run folder `<root>/<job>/<name>`. A folder holds a run if the file `marker`, such as the
/// last checkpoint, is in it; without that there is nothing to lose and the folder is used as it is.
pub fn run_folder(
    root: &Path,
    job: &str,
    name: &str,
    marker: &str,
    existing: Existing,
) -> Result<PathBuf> {
    check_name(name)?;
    let folder = root.join(job).join(name);
    let shown = folder.display();
    match (existing, folder.join(marker).exists()) {
        (Existing::Refuse, true) => bail!(
            "{shown} already holds a run: continue it with --resume, replace it with --overwrite, \
             or choose another --name"
        ),
        (Existing::Resume, false) => bail!("--resume: there is no {marker} in {shown}"),
        (Existing::Overwrite, true) => {
            // Files only: a run has no folders of its own, so a folder is the user's.
            let emptied = fs::read_dir(&folder).and_then(|entries| {
                for entry in entries {
                    let entry = entry?;
                    if entry.file_type()?.is_file() {
                        fs::remove_file(entry.path())?;
                    }
                }
                Ok(())
            });
            emptied.with_context(|| format!("--overwrite: cannot empty {shown}"))?;
        }
        _ => {}
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the run folder {shown}"))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("examples-support-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn write_replaces_and_leaves_nothing_else() {
        let folder = folder("write");
        let path = folder.join("new/a.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = folder("failed");
        let path = folder.join("a.safetensors");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |temporary| {
            assert_eq!(temporary.extension(), path.extension());
            fs::write(temporary, b"ha")?;
            bail!("disk full")
        });
        assert!(format!("{:#}", error.unwrap_err()).ends_with("a.safetensors: disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn run_folders_are_not_overwritten_by_accident() {
        let root = folder("runs");
        let make = |existing| run_folder(&root, "detector", "a", "last.bin", existing);
        assert!(make(Existing::Resume).unwrap_err().to_string().contains("no last.bin"));
        let run = make(Existing::Refuse).unwrap();
        assert_eq!(run, root.join("detector/a"));
        make(Existing::Refuse).unwrap();
        write(&run.join("last.bin"), b"1").unwrap();
        fs::create_dir(run.join("mine")).unwrap();
        let error = make(Existing::Refuse).unwrap_err().to_string();
        for option in ["--resume", "--overwrite", "--name"] {
            assert!(error.contains(option), "{error}");
        }
        make(Existing::Resume).unwrap();
        assert!(run.join("last.bin").exists());
        make(Existing::Overwrite).unwrap();
        assert!(!run.join("last.bin").exists() && run.join("mine").exists());
        for name in ["", "a/b", "..", "../x"] {
            let error = run_folder(&root, "detector", name, "m", Existing::Refuse).unwrap_err();
            assert!(error.to_string().contains("--name"), "{error}");
        }
    }
}
