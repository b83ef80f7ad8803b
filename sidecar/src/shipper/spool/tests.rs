use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use driftline_protocol::{Batch, Exchange, Framer};
use proptest::prelude::*;

use super::*;
use crate::account::Ticket;

thread_local! {
    /// Bytes that the disk still takes, and what it says then.
    static ROOM: Cell<Option<(usize, io::ErrorKind)>> = const { Cell::new(None) };
}

/// Writes what the disk of this test takes.
pub(super) fn put(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let Some((room, kind)) = ROOM.get() else { return file.write_all_at(bytes, offset) };
    let taken = room.min(bytes.len());
    ROOM.set(Some((room - taken, kind)));
    file.write_all_at(&bytes[..taken], offset)?;
    if taken < bytes.len() { Err(kind.into()) } else { Ok(()) }
}

/// A frame of exchanges that begin with this number.
pub(in crate::shipper) fn frame_of(first_sequence: u64, exchanges: u64) -> Vec<u8> {
    let mut framer = Framer::new().unwrap();
    let sequences = first_sequence..first_sequence + exchanges;
    sequences.for_each(|sequence| framer.add(&Exchange { sequence, ..Exchange::default() }));
    let batch = Batch {
        boot_id: vec![1; 16],
        model: "m".into(),
        first_sequence,
        last_sequence: first_sequence + exchanges - 1,
        ..Batch::default()
    };
    framer.finish(&batch).unwrap()
}

/// A sidecar's share of a spool: an account, a budget, and the folder.
pub(in crate::shipper) struct Boot {
    pub(in crate::shipper) metrics: Arc<Metrics>,
    pub(in crate::shipper) budget: Arc<Budget>,
    next_sequence: u64,
}

impl Boot {
    pub(in crate::shipper) fn new() -> Self {
        Self { metrics: Metrics::new(1).unwrap(), budget: Budget::new(1 << 30), next_sequence: 1 }
    }

    pub(in crate::shipper) fn spool(&self, folder: &Path, max_bytes: u64) -> Spool {
        let settings = SpoolSettings { folder: folder.to_owned(), max_bytes, fsync: false };
        let boot = uuid::Uuid::now_v7().into_bytes();
        Spool::open(&settings, boot, Arc::clone(&self.metrics), Arc::clone(&self.budget)).unwrap()
    }

    /// A batch of so many exchanges, all of them seen.
    pub(in crate::shipper) fn batch(&mut self, exchanges: u64) -> Pending {
        let frame: Bytes = frame_of(self.next_sequence, exchanges).into();
        self.next_sequence += exchanges;
        let mut ticket = self.metrics.accounts.ticket();
        (1..exchanges).for_each(|_| Ticket::absorb(&mut ticket, self.metrics.accounts.ticket()));
        let reservation = self.budget.overdraw(frame.len());
        Pending { frame, last_sequence: self.next_sequence - 1, ticket, _reservation: reservation }
    }

    pub(in crate::shipper) fn account(&self) -> (u64, u64, u64, u64) {
        let account = self.metrics.accounts.account();
        let dropped = account.dropped.iter().map(|dropped| dropped.count).sum();
        (account.seen, account.delivered, dropped, self.metrics.accounts.spooled())
    }
}

const EVERYTHING: Position = Position { segment: u64::MAX, offset: u64::MAX };

/// Takes the next batch out: its last sequence number.
fn take(spool: &mut Spool) -> Option<u64> {
    match spool.first(EVERYTHING) {
        Next::Batch { last_sequence, frame } => {
            driftline_protocol::frame::check(&frame).unwrap();
            spool.settle_first(Recovered::Delivered);
            Some(last_sequence)
        }
        Next::Nothing => None,
        Next::NotNow(why) => panic!("{why}"),
    }
}

fn take_all(spool: &mut Spool) -> Vec<u64> {
    std::iter::from_fn(|| take(spool)).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "segment"));
    paths.sort();
    paths
}

#[test]
fn batches_come_out_in_order_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let mut spool = boot.spool(folder.path(), 1 << 20);
    for exchanges in 1..=5 {
        spool.append(boot.batch(exchanges)).unwrap();
    }
    assert_eq!((boot.account(), boot.budget.used()), ((15, 0, 0, 15), 0));
    assert_eq!(take_all(&mut spool), [1, 3, 6, 10, 15]);
    assert_eq!((boot.account(), boot.budget.used()), ((15, 15, 0, 0), 0));
    assert!(segments(folder.path()).is_empty() && spool.bytes() == 0);
}

#[test]
fn another_boot_delivers_what_was_left_and_counts_it_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Boot::new();
    let mut spool = first.spool(folder.path(), 1 << 20);
    for _ in 0..3 {
        spool.append(first.batch(2)).unwrap();
    }
    assert_eq!(take(&mut spool), Some(2));
    spool.stop();
    assert_eq!(first.account(), (6, 2, 0, 4));

    let mut second = Boot::new();
    let mut spool = second.spool(folder.path(), 1 << 20);
    spool.append(second.batch(1)).unwrap();
    assert_eq!(take_all(&mut spool), [4, 6, 1], "the cursor says that the first was delivered");
    assert_eq!(second.account(), (1, 1, 0, 0));
    assert_eq!(second.metrics.spool.recovered_count(Recovered::Delivered), 4);
}

#[test]
fn without_its_cursor_or_with_a_damaged_one_everything_is_sent_again() {
    for damage in [None, Some(b"nonsense".as_slice())] {
        let folder = tempfile::tempdir().unwrap();
        let mut boot = Boot::new();
        let mut spool = boot.spool(folder.path(), 1 << 20);
        for _ in 0..3 {
            spool.append(boot.batch(1)).unwrap();
        }
        take(&mut spool);
        spool.stop();
        let cursor = folder.path().join("cursor");
        damage.map_or_else(|| fs::remove_file(&cursor), |bytes| fs::write(&cursor, bytes)).unwrap();
        assert_eq!(take_all(&mut Boot::new().spool(folder.path(), 1 << 20)), [1, 2, 3]);
    }
}

#[test]
fn a_folder_has_one_sidecar_and_is_free_when_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let boot = Boot::new();
    let spool = boot.spool(folder.path(), 1 << 20);
    let settings = SpoolSettings { folder: folder.path().to_owned(), max_bytes: 1 << 20, fsync: false };
    let open = || Spool::open(&settings, [2; 16], Arc::clone(&boot.metrics), Arc::clone(&boot.budget));
    assert!(open().unwrap_err().contains("folder of its own"));
    drop(spool);
    open().unwrap();
}

#[test]
fn a_full_spool_gives_the_newest_back_and_takes_it_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let mut spool = boot.spool(folder.path(), 1 << 20);
    spool.max_bytes = 1000;
    let refused = loop {
        if let Err(refused) = spool.append(boot.batch(3)) {
            break refused;
        }
    };
    assert_eq!(refused.1, Refusal::Full);
    let held: u64 = segments(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(held <= 1000 && held > 500, "{held}");
    take_all(&mut spool);
    spool.append(refused.0).unwrap();
}

#[test]
fn a_deleted_folder_costs_no_batch_of_the_open_segment_and_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut boot = Boot::new();
    let mut spool = boot.spool(&path, 1 << 20);
    spool.append(boot.batch(1)).unwrap();
    spool.append(boot.batch(1)).unwrap();
    assert_eq!(take(&mut spool), Some(1));
    fs::remove_dir_all(&path).unwrap();
    spool.append(boot.batch(1)).unwrap();
    assert_eq!(segments(&path).len(), 1);
    assert_eq!(take_all(&mut spool), [2, 3]);
    assert_eq!(boot.account(), (3, 3, 0, 0));
}

#[test]
fn a_segment_that_is_gone_costs_what_was_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let mut spool = boot.spool(folder.path(), 1 << 20);
    spool.segment_bytes = 200;
    for _ in 0..6 {
        spool.append(boot.batch(2)).unwrap();
    }
    let paths = segments(folder.path());
    assert!(paths.len() >= 3);
    fs::remove_file(&paths[0]).unwrap();
    let taken = take_all(&mut spool);
    let (seen, delivered, dropped, spooled) = boot.account();
    assert_eq!((seen, delivered + dropped, spooled), (12, 12, 0));
    assert_eq!(delivered, taken.len() as u64 * 2);
    assert!(dropped > 0 && delivered > 0);
}

#[test]
fn a_disk_that_takes_no_more_gives_the_batch_back_and_is_tried_again() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for room in [0, 10, 30] {
            let folder = tempfile::tempdir().unwrap();
            let mut boot = Boot::new();
            let mut spool = boot.spool(folder.path(), 1 << 20);
            spool.append(boot.batch(1)).unwrap();
            ROOM.set(Some((room, kind)));
            let mut batch = boot.batch(1);
            for _ in 0..5 {
                let (back, refusal) = spool.append(batch).unwrap_err();
                assert_eq!(refusal, Refusal::Failed);
                batch = back;
            }
            ROOM.set(None);
            assert_eq!(segments(folder.path()).len(), 1, "failures leave no files behind");
            spool.append(batch).unwrap();
            assert_eq!(take_all(&mut spool), [1, 2]);
            assert_eq!(boot.account(), (2, 2, 0, 0));
        }
    }
}

#[test]
fn what_is_older_than_the_spool_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let mut older: VecDeque<Pending> = (0..2).map(|_| boot.batch(1)).collect();
    let mut spool = boot.spool(folder.path(), 1 << 20);
    assert!(spool.prepend(&mut older).is_none(), "an empty spool has no before");
    spool.append(boot.batch(1)).unwrap();
    assert!(spool.prepend(&mut older).is_some() && older.is_empty());
    spool.stop();
    assert_eq!(take_all(&mut Boot::new().spool(folder.path(), 1 << 20)), [1, 2, 3]);
}

/// What happens to a spool.
#[derive(Debug, Clone)]
enum Event {
    Append {
        exchanges: u64,
    },
    Deliver,
    /// The sidecar is killed, and starts again; the node loses so many bytes of the newest file, if it crashes as well.
    Crash {
        lost: usize,
    },
    /// The disk takes so many bytes more, and then none for one write.
    FailWrite {
        room: usize,
    },
    /// A byte of some segment changes.
    Change {
        segment: prop::sample::Index,
        at: prop::sample::Index,
    },
    /// Somebody deletes a segment.
    Delete {
        segment: prop::sample::Index,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (1u64..5).prop_map(|exchanges| Event::Append { exchanges }),
        5 => Just(Event::Deliver),
        1 => (0usize..200).prop_map(|lost| Event::Crash { lost }),
        1 => Just(Event::Crash { lost: 0 }),
        1 => (0usize..100).prop_map(|room| Event::FailWrite { room }),
        1 => (index(), index()).prop_map(|(segment, at)| Event::Change { segment, at }),
        1 => index().prop_map(|segment| Event::Delete { segment }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The model is the list of what was appended. Whatever happens to the disk: nothing comes out that did not go in,
    /// nothing comes out of order or twice, and what is missing is damaged or counted.
    #[test]
    fn whatever_happens_to_the_disk_order_and_account_hold(events in proptest::collection::vec(event(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut boot = Boot::new();
        let mut spool = boot.spool(folder.path(), 1 << 20);
        spool.segment_bytes = 400;
        // What may still come, oldest first: number across boots, and whether something may have happened to it.
        let mut expected: VecDeque<(u64, u64)> = VecDeque::new();
        let mut damaged = false;
        let mut boots = 0u64;
        for event in events {
            match event {
                Event::Append { exchanges } => {
                    let batch = boot.batch(exchanges);
                    let last = batch.last_sequence;
                    spool.append(batch).map(|_| ()).map_err(|(_, refusal)| refusal).unwrap();
                    expected.push_back((boots, last));
                }
                Event::FailWrite { room } => {
                    ROOM.set(Some((room, io::ErrorKind::StorageFull)));
                    let batch = boot.batch(3);
                    let last = batch.last_sequence;
                    let taken = spool.append(batch);
                    ROOM.set(None);
                    match taken {
                        Ok(_) => expected.push_back((boots, last)),
                        Err((batch, _)) => batch.ticket.delivered(),
                    }
                }
                Event::Deliver => {
                    let taken = take(&mut spool);
                    let place = expected.iter().position(|(_, last)| Some(*last) == taken);
                    match (taken, place) {
                        (Some(_), Some(place)) => {
                            prop_assert!(place == 0 || damaged, "skipped {} that nothing happened to", place);
                            expected.drain(..=place);
                        }
                        (Some(taken), None) => prop_assert!(false, "{taken} was not appended, or came twice"),
                        (None, _) => {
                            prop_assert!(expected.is_empty() || damaged, "{:?} are missing", expected);
                            expected.clear();
                        }
                    }
                }
                Event::Crash { lost } => {
                    if let (Some(last), true) = (segments(folder.path()).pop(), lost > 0) {
                        let file = File::options().write(true).open(last).unwrap();
                        file.set_len(file.metadata().unwrap().len().saturating_sub(lost as u64)).unwrap();
                        damaged = true;
                    }
                    drop(spool);
                    boot = Boot { next_sequence: (boots + 1) * 10_000, ..Boot::new() };
                    boots += 1;
                    spool = boot.spool(folder.path(), 1 << 20);
                    spool.segment_bytes = 400;
                }
                Event::Change { segment, at } => {
                    let paths = segments(folder.path());
                    if !paths.is_empty() {
                        let path = &paths[segment.index(paths.len())];
                        let mut bytes = fs::read(path).unwrap();
                        if !bytes.is_empty() {
                            let at = at.index(bytes.len());
                            bytes[at] ^= 0x55;
                            // In place: a written file that is replaced would be another one.
                            File::options().write(true).open(path).unwrap().write_all_at(&bytes[at..=at], at as u64).unwrap();
                            damaged = true;
                        }
                    }
                }
                Event::Delete { segment } => {
                    let paths = segments(folder.path());
                    if !paths.is_empty() {
                        fs::remove_file(&paths[segment.index(paths.len())]).unwrap();
                        damaged = true;
                    }
                }
            }
            let (seen, delivered, dropped, spooled) = boot.account();
            prop_assert_eq!(seen, delivered + dropped + spooled);
        }
        take_all(&mut spool);
        let (seen, delivered, dropped, spooled) = boot.account();
        prop_assert_eq!((seen, spooled, boot.budget.used()), (delivered + dropped, 0, 0));
        prop_assert!(segments(folder.path()).is_empty());
    }
}
