//! Points at which the process ends at once, as if it were killed there. The crash harness in `tests/` uses them, and so
//! kills the binary that ships instead of one that was built to be killed.
//!
//! `DRIFTLINE_FAILPOINT=file_put:3` ends the process when it comes to that point for the third time. Without the variable
//! a point costs one look at memory, and none lies on the way of a single exchange.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that arms a point.
const VARIABLE: &str = "DRIFTLINE_FAILPOINT";

/// Where a process can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failpoint {
    /// A batch is durable, and its sender does not know it yet.
    JournalWritten,
    /// Memory is ahead of the database.
    CheckpointDue,
    /// The database is where memory is.
    CheckpointWritten,
    /// A cut is recorded, and nothing of it is in the archive.
    CutRecorded,
    /// The names of a cut's files are recorded, and none of them is there.
    FilesPlanned,
    /// A file is in the archive, and the database does not know it yet.
    FilePut,
    /// A commit to a Delta table is decided, and not there.
    CommitPlanned,
    /// A commit to a Delta table is there, and the database does not know it yet.
    CommitPut,
    /// A file that was too old is deleted, and the database does not know it yet.
    FileDeleted,
    /// An attempt at a start is recorded, and not made.
    StartRecorded,
    /// A scheduler has answered, and the database does not know it yet.
    StartAnswered,
}

impl Failpoint {
    const NAMES: [(&'static str, Self); 11] = [
        ("journal_written", Self::JournalWritten),
        ("checkpoint_due", Self::CheckpointDue),
        ("checkpoint_written", Self::CheckpointWritten),
        ("cut_recorded", Self::CutRecorded),
        ("files_planned", Self::FilesPlanned),
        ("file_put", Self::FilePut),
        ("commit_planned", Self::CommitPlanned),
        ("commit_put", Self::CommitPut),
        ("file_deleted", Self::FileDeleted),
        ("start_recorded", Self::StartRecorded),
        ("start_answered", Self::StartAnswered),
    ];

    /// The process comes to this point, and goes no further if it was told so.
    pub(crate) fn pass(self) {
        if let Some(armed) = ARMED.get()
            && armed.point == self
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            eprintln!("driftline: {VARIABLE} ends the process at {self:?}");
            std::process::abort();
        }
    }
}

/// The point that is armed, and how often the process still comes there.
struct Armed {
    point: Failpoint,
    left: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms the point that the environment names, if it names one.
///
/// # Errors
/// When there is no such point: a harness that kills nothing would find nothing.
pub(crate) fn arm() -> Result<(), String> {
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let (point, times) = value.to_str().and_then(parse).ok_or_else(|| {
        let names: Vec<&str> = Failpoint::NAMES.iter().map(|(name, _)| *name).collect();
        format!("{VARIABLE}: {value:?} is no point; allowed are {} with ':' and a count from 1", names.join(", "))
    })?;
    tracing::warn!(?point, times, "{VARIABLE} is set: the process will end there. It is for tests only");
    // Armed once; there is nobody else who does it.
    ARMED.set(Armed { point, left: AtomicU32::new(times) }).ok();
    Ok(())
}

fn parse(value: &str) -> Option<(Failpoint, u32)> {
    let (name, times) = value.split_once(':')?;
    let point = Failpoint::NAMES.iter().find(|(own, _)| *own == name)?.1;
    let times = times.parse().ok().filter(|times| *times > 0)?;
    Some((point, times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_a_count_or_refused() {
        assert_eq!(parse("file_put:3"), Some((Failpoint::FilePut, 3)));
        for wrong in ["", "file_put", "file_put:0", "file_put:x", "nowhere:1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
