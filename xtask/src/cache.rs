//! The user's cache folder, where everything fetched or built once is kept.
//!
//! `$XDG_CACHE_HOME/ringway`, by default `~/.cache/ringway`. A folder appears in the cache whole or not at
//! all: it is filled under a temporary name and renamed. Two runs at once wait for each other by a lock on a
//! file, which the kernel releases whatever happens to its holder.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// Held while this run may change a part of the cache; released when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// Opens the user's cache folder and creates it if it isn't there.
    pub fn open() -> Result<Self> {
        let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
            Some(folder) => PathBuf::from(folder),
            None => {
                let home = std::env::var_os("HOME")
                    .filter(|value| !value.is_empty())
                    .ok_or_else(|| anyhow!("neither XDG_CACHE_HOME nor HOME is set: set one of them"))?;
                PathBuf::from(home).join(".cache")
            }
        };
        Self::at(base.join("ringway"))
    }

    /// Opens a cache at a folder of the caller's choice.
    pub fn at(root: PathBuf) -> Result<Self> {
        create_folder(&root)?;
        Ok(Self { root })
    }

    /// A path inside the cache.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.root.join(inside)
    }

    /// Takes the lock of that name, waiting for another run that holds it.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                println!("      waiting for another run that holds {}", path.display());
                file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(Lock { _file: file })
    }

    /// Fills a folder under a temporary name, then puts it in place of `destination` in one step.
    ///
    /// What an interrupted run left under the temporary name is removed first; hold a lock.
    pub fn fill(&self, destination: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let name = destination.file_name().ok_or_else(|| anyhow!("{} has no name", destination.display()))?;
        let parent = destination.parent().unwrap_or(&self.root);
        create_folder(parent)?;
        let partial = parent.join(format!("{}.partial", name.to_string_lossy()));
        remove_folder(&partial)?;
        create_folder(&partial)?;
        fill(&partial)?;
        remove_folder(destination)?;
        fs::rename(&partial, destination)
            .with_context(|| format!("cannot rename {} to {}", partial.display(), destination.display()))
    }
}

/// Creates a folder and those above it.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Removes a folder and what is in it; one that isn't there is no error.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove the folder {}", path.display())),
    }
}

/// Writes a file whole: under a temporary name beside it, then renamed.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, content).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, path)
        .with_context(|| format!("cannot rename {} to {}", partial.display(), path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Cache {
        let root = std::env::temp_dir().join(format!("ringway-cache-{name}-{}", std::process::id()));
        remove_folder(&root).unwrap();
        Cache::at(root).unwrap()
    }

    #[test]
    fn a_folder_whose_filling_fails_does_not_appear() {
        let cache = scratch("fails");
        let destination = cache.path("set");
        let outcome = cache.fill(&destination, |folder| {
            fs::write(folder.join("half"), b"x")?;
            Err(anyhow!("the line went down"))
        });
        assert_eq!(outcome.unwrap_err().to_string(), "the line went down");
        assert!(!destination.exists());
        remove_folder(&cache.root).unwrap();
    }

    #[test]
    fn what_an_interrupted_run_left_is_not_taken_over() {
        let cache = scratch("interrupted");
        let destination = cache.path("set");
        create_folder(&cache.path("set.partial")).unwrap();
        fs::write(cache.path("set.partial/stale"), b"x").unwrap();
        cache
            .fill(&destination, |folder| {
                fs::write(folder.join("fresh"), b"x")?;
                Ok(())
            })
            .unwrap();
        assert!(destination.join("fresh").exists());
        assert!(!destination.join("stale").exists());
        remove_folder(&cache.root).unwrap();
    }

    #[test]
    fn a_lock_excludes_a_second_holder_until_it_is_dropped() {
        let cache = scratch("lock");
        let first = cache.lock("part").unwrap();
        let file = File::open(cache.path("part.lock")).unwrap();
        assert!(matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        file.try_lock().unwrap();
        remove_folder(&cache.root).unwrap();
    }
}
