//! Files of an archive that is a folder: whole and synced under their names, or not there at all.
//!
//! A file is written beside the archive's partitions and linked to its name. object_store would write it next to its name,
//! where a crash leaves it for good: engines that list a folder would read its rows a second time.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::owner::OWN_FOLDER;

/// Puts a file under a name that must be free. `AlreadyExists` says that it is not.
pub(super) fn create(root: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let (staged, named) = (staged(root, name), root.join(name));
    let folder = named.parent().unwrap_or(root);
    fs::create_dir_all(root.join(OWN_FOLDER))?;
    fs::create_dir_all(folder)?;
    // That of an attempt that was cut off.
    remove_staged(root, name)?;
    let linked = write(&staged, contents).and_then(|()| fs::hard_link(&staged, &named));
    // What cannot be taken away now is by the next attempt.
    fs::remove_file(&staged).ok();
    match &linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return linked,
        _ => {}
    }
    // Also when it was there: whoever put it may have died before this.
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
        File::open(folder)?.sync_all()?;
    }
    linked
}

/// Puts a file over what is there: readers find the one or the other.
pub(super) fn replace(root: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let (staged, named) = (staged(root, name), root.join(name));
    let folder = named.parent().unwrap_or(root);
    fs::create_dir_all(root.join(OWN_FOLDER))?;
    fs::create_dir_all(folder)?;
    remove_staged(root, name)?;
    write(&staged, contents)?;
    fs::rename(&staged, &named)?;
    File::open(folder)?.sync_all()
}

/// Takes away the folders that a file's removal has left empty. They are in nobody's way: what cannot be taken away stays.
pub(super) fn remove_empty(root: &Path, name: &str) {
    let named = root.join(name);
    let folders = named.ancestors().skip(1).take_while(|folder| *folder != root);
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// Takes away what an attempt left that was cut off.
pub(super) fn remove_staged(root: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(staged(root, name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn staged(root: &Path, name: &str) -> PathBuf {
    let file = name.rsplit('/').next().unwrap_or(name);
    root.join(OWN_FOLDER).join(format!("{file}.partial"))
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_empty_folders_go() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let name = "model=m/date=2013-01-01/a.jsonl";
        for contents in ["one", "another"] {
            replace(root, name, contents.as_bytes()).unwrap();
            assert_eq!(fs::read(root.join(name)).unwrap(), contents.as_bytes());
        }
        create(root, "model=m/b", b"stays").unwrap();
        fs::remove_file(root.join(name)).unwrap();
        remove_empty(root, name);
        assert!(!root.join("model=m/date=2013-01-01").is_dir() && root.join("model=m/b").is_file());
        assert_eq!(root.join(OWN_FOLDER).read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_whole_or_not_there_and_leaves_nothing_beside_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let name = "model=m/date=2013-01-01/a.parquet";
        // An attempt that was cut off.
        fs::create_dir_all(root.join(OWN_FOLDER)).unwrap();
        fs::write(staged(root, name), b"hal").unwrap();
        create(root, name, b"whole").unwrap();
        assert_eq!(create(root, name, b"other").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(root.join(name)).unwrap(), b"whole");
        let beside = root.join(name).parent().unwrap().read_dir().unwrap().count();
        assert_eq!((beside, root.join(OWN_FOLDER).read_dir().unwrap().count()), (1, 0));
    }
}
