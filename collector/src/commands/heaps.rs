//! How many heaps the collector's threads share.
//!
//! glibc gives each thread a heap, up to eight for each core, and what is freed goes back to the heap that it came from. The
//! pipeline makes rows that the archiver frees, ingest makes batches that the pipeline frees; so every heap keeps room for
//! its worst moment, and the process takes two to three times the memory that it uses. With two heaps it took 176 MB
//! where it had taken 257, for the same processor time.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// What glibc reads when a program begins, and at no other time.
const LIMIT: &str = "MALLOC_ARENA_MAX";
const HEAPS: &str = "2";

/// Starts this program again with few heaps, as the same process, unless somebody has already said how many. Does nothing
/// where it cannot.
pub(super) fn limit() {
    if cfg!(not(target_env = "gnu")) || std::env::var_os(LIMIT).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
    // Returns only when it failed: then heaps are as many as they would have been.
    drop(Command::new(program).arg0(name).args(arguments).env(LIMIT, HEAPS).exec());
}
