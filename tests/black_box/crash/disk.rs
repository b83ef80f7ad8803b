//! Disks that are full, and have room again. They are small file systems in memory; mounting them needs root.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use driftline_tests::{Collector, eventually, metric};

use crate::dice::Dice;
use crate::kills::{MODEL, in_words};
use crate::oracle::{Archive, check};
use crate::senders::{Ledger, Senders};
use crate::{Folder, Options, Outcome};

/// How large the disks are.
const SIZE: &str = "size=24m";

/// A file system in memory, for as long as it is held.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one; none where this may not be done.
    fn mount(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).expect("a folder");
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "driftline-tests"]).arg(&folder).output().ok()?;
        done.status.success().then_some(Self { folder })
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).expect("a file");
        // Smaller and smaller, to the last page.
        for size in [1 << 20, 1 << 16, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast.parquet.not")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process may still be about to end.
        Command::new("umount").arg("-l").arg(&self.folder).status().ok();
    }
}

pub(crate) async fn run(options: &Options, dice: &mut Dice) -> Outcome {
    let folder = Folder::new(options);
    let path = folder.path();
    let disks = Disk::mount(path.join("data")).zip(Disk::mount(path.join("archive")));
    let Some((data, archive)) = disks else {
        return Outcome::Skipped("file systems cannot be mounted here; that needs root".to_owned());
    };
    let configuration = format!("archive: {{folder: archive, partition: day, max_age: 150ms, delta: true}}\n{MODEL}");
    let mut collector = Collector::start(path, &configuration).await;
    let ledger: Arc<Ledger> = Arc::default();
    let senders = Senders::start(&collector.url(), &["m"], 2, dice, &ledger);
    until_acknowledged(&ledger, 20).await;

    data.fill();
    full_database_is_told(&collector, &ledger).await;
    data.make_room();
    until_acknowledged(&ledger, 20).await;

    // Killed and started while it is full: it may refuse to start, and then says why.
    data.fill();
    full_database_is_told(&collector, &ledger).await;
    collector.kill().await;
    collector.relaunch(&[]);
    let refuses = eventually("it refuses to start, or is there", async || match collector.has_ended() {
        true => Ok(true),
        false if collector.is_alive().await => Ok(false),
        false => Err("it has not begun to answer".to_owned()),
    })
    .await;
    if refuses {
        let log = std::fs::read_to_string(path.join("collector.log")).expect("a log");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("full") || last.contains("No space"), "it does not say why it ended: {last}");
    }
    data.make_room();
    if refuses {
        collector.relaunch(&[]);
    }
    collector.wait_until_ready().await;
    until_acknowledged(&ledger, 20).await;

    // Room comes and goes.
    for _ in 0..30 {
        data.fill();
        tokio::time::sleep(dice.millis(0..30)).await;
        data.make_room();
        tokio::time::sleep(dice.millis(0..60)).await;
    }
    until_acknowledged(&ledger, 20).await;

    archive.fill();
    eventually("the archive's disk is full", async || {
        let failures = metric(&collector.metrics().await, "driftline_archive_failures_total", &[]);
        if failures >= 2.0 { Ok(()) } else { Err(format!("{failures} failures")) }
    })
    .await;
    until_acknowledged(&ledger, 20).await;
    archive.make_room();

    senders.stop().await;
    collector.settled().await;
    let found = check(&ledger.boots(), &Archive::Folder(archive.folder.clone()), &collector).await;
    assert_eq!(collector.stop().await, Some(0), "it stops cleanly after all that");
    let start = if refuses { "refused to start on a full disk" } else { "started on a full disk" };
    Outcome::Passed(format!(
        "the database's disk full twice, the archive's once; {start}; {}",
        in_words(&ledger, &found)
    ))
}

/// A collector that can make nothing durable says so, to senders and to whoever looks, and lives on.
async fn full_database_is_told(collector: &Collector, ledger: &Ledger) {
    let before = ledger.deferred.load(Ordering::Relaxed);
    eventually("senders are told to come back", async || {
        let deferred = ledger.deferred.load(Ordering::Relaxed) - before;
        if deferred >= 10 { Ok(()) } else { Err(format!("{deferred} batches were answered with 503")) }
    })
    .await;
    let says = eventually("it says that it is not ready", async || collector.readiness().await).await;
    assert!(says.contains("full"), "{says}");
    assert!(collector.is_alive().await, "only room is missing");
}

async fn until_acknowledged(ledger: &Ledger, batches: u64) {
    let before = ledger.batches.load(Ordering::Relaxed);
    eventually("batches are acknowledged", async || {
        let done = ledger.batches.load(Ordering::Relaxed) - before;
        if done >= batches { Ok(()) } else { Err(format!("{done} of {batches}")) }
    })
    .await;
}
