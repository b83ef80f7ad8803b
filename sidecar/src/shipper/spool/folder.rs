//! The spool's folder: one sidecar's alone, made again when somebody deletes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader, seal, unseal};

const EXTENSION: &str = "segment";
const CURSOR: &str = "cursor";
/// Magic, segment's id and boot, offset, checksum.
const CURSOR_BYTES: usize = 4 + 8 + 16 + 8 + 4;
const CURSOR_MAGIC: [u8; 4] = *b"DRSC";

/// Why the folder cannot be used.
#[derive(Debug)]
pub(super) enum FolderError {
    /// Another process has it.
    Taken,
    Io(io::Error),
}

/// A folder, and its lock for as long as this lives.
///
/// The lock is on the folder itself, so there is no lock file that could be left over, deleted, or need a folder that can
/// be written. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: Option<File>,
    cursor: Option<File>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: None, cursor: None }
    }

    /// Makes sure that the folder is there and ours. It may have been deleted, and made again, since the last time.
    pub(super) fn claim(&mut self) -> Result<(), FolderError> {
        if self.is_ours() {
            return Ok(());
        }
        (self.lock, self.cursor) = (None, None);
        fs::create_dir_all(&self.path).map_err(FolderError::Io)?;
        let folder = File::open(&self.path).map_err(FolderError::Io)?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::Taken),
            // Some network file systems have no locks. The spool is worth more than the check.
            Err(TryLockError::Error(error)) => tracing::warn!(%error, "the spool's folder cannot be locked"),
        }
        self.lock = Some(folder);
        Ok(())
    }

    fn is_ours(&self) -> bool {
        let identity = |metadata: io::Result<fs::Metadata>| metadata.map(|found| (found.dev(), found.ino())).ok();
        let mine = self.lock.as_ref().and_then(|lock| identity(lock.metadata()));
        mine.is_some() && mine == identity(fs::metadata(&self.path))
    }

    /// The segments that are there, oldest first, with their lengths.
    pub(super) fn segments(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = PathBuf::from(entry.file_name());
            let id = name.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let (Some(id), true) = (id, name.extension().is_some_and(|extension| extension == EXTENSION)) {
                found.push((id, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn path_of(&self, id: u64) -> PathBuf {
        self.path.join(format!("{id:020}.{EXTENSION}"))
    }

    pub(super) fn open(&self, id: u64) -> io::Result<File> {
        File::open(self.path_of(id))
    }

    /// Makes a segment that is not there yet.
    pub(super) fn create(&self, header: SegmentHeader) -> io::Result<File> {
        let path = self.path_of(header.id);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.write_all_at(&header.encode(), 0).inspect_err(|_| {
            fs::remove_file(&path).ok();
        })?;
        Ok(file)
    }

    pub(super) fn remove(&self, id: u64) -> io::Result<()> {
        match fs::remove_file(self.path_of(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes new names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.lock.as_ref().map_or(Ok(()), File::sync_all)
    }

    /// Notes how far a segment was delivered. Advisory: without it, or with an old one, the collector is sent what it
    /// has, and says so. It is written in place, because a torn one has a wrong checksum.
    pub(super) fn note(&mut self, segment: SegmentHeader, offset: u64) -> io::Result<()> {
        let mut bytes = [0; CURSOR_BYTES];
        bytes[..4].copy_from_slice(&CURSOR_MAGIC);
        bytes[4..12].copy_from_slice(&segment.id.to_le_bytes());
        bytes[12..28].copy_from_slice(&segment.boot);
        bytes[28..36].copy_from_slice(&offset.to_le_bytes());
        seal(&mut bytes);
        if self.cursor.is_none() {
            let open = OpenOptions::new().write(true).create(true).truncate(false).open(self.path.join(CURSOR));
            self.cursor = Some(open?);
        }
        self.cursor.as_ref().map_or(Ok(()), |file| file.write_all_at(&bytes, 0))
    }

    /// How far this very segment was delivered, if the cursor says so.
    pub(super) fn noted(&self, segment: SegmentHeader) -> Option<u64> {
        let bytes = fs::read(self.path.join(CURSOR)).ok()?;
        let bytes: &[u8; CURSOR_BYTES] = bytes.as_slice().try_into().ok()?;
        let rest = unseal(bytes)?.strip_prefix(&CURSOR_MAGIC)?;
        let (id, rest) = rest.split_first_chunk()?;
        let (boot, offset) = rest.split_first_chunk()?;
        let is_it = u64::from_le_bytes(*id) == segment.id && *boot == segment.boot;
        let offset = u64::from_le_bytes(offset.try_into().ok()?);
        (is_it && offset >= SEGMENT_HEADER_BYTES as u64).then_some(offset)
    }
}
