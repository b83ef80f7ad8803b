//! Files that may change while somebody goes by them: certificates that are renewed, tokens that are replaced.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often files are looked at. Kubernetes takes up to a minute to bring a changed file into a pod.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What tells one state of a file from another: which file the path leads to, its size, and when it was written.
type Stamp = (u64, u64, i64, i64);

/// Some files, and how they were when last looked at.
#[derive(Debug, Default)]
pub struct WatchedFiles {
    files: Vec<(PathBuf, Option<Stamp>)>,
}

impl WatchedFiles {
    /// Looks at these files for the first time.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut files = Self::default();
        paths.into_iter().for_each(|path| files.watch(path));
        files
    }

    /// Looks at a file for the first time: before it is read, so that no change after that is missed.
    pub fn watch(&mut self, path: &Path) {
        self.files.push((path.to_owned(), stamp(path)));
    }

    /// Whether any is another than when last looked at. One that is not there is left alone: it is being replaced.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.files {
            let now = stamp(path);
            if now.is_some() && now != *seen {
                *seen = now;
                changed = true;
            }
        }
        changed
    }
}

/// Follows links, so that a folder that is swapped by one (as Kubernetes does) is noticed.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_or_swapped_by_a_link_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, link) = (folder.path().join("one"), folder.path().join("two"), folder.path().join("link"));
        std::fs::write(&one, "a").unwrap();
        std::fs::write(&two, "a").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let mut files = WatchedFiles::default();
        files.watch(&link);
        assert!(!files.changed());
        std::fs::remove_file(&link).unwrap();
        assert!(!files.changed(), "it is being replaced");
        std::os::unix::fs::symlink(&two, &link).unwrap();
        assert!(files.changed() && !files.changed());
        std::fs::write(&two, "ab").unwrap();
        assert!(files.changed());
    }
}
