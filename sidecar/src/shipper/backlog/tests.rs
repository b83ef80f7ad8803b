use std::path::Path;

use super::super::spool::tests::Boot;
use super::*;

fn push(backlog: &Backlog, boot: &mut Boot, batches: usize) {
    (0..batches).for_each(|_| backlog.push(boot.batch(1)));
}

/// Sends everything; the last sequence numbers, in order.
fn drain(backlog: &Backlog) -> Vec<u64> {
    let mut sent = Vec::new();
    while let First::Batch { last_sequence, .. } = backlog.first() {
        sent.push(last_sequence);
        backlog.settle_first(Settlement::Delivered);
    }
    sent
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

fn with_spool(boot: &Boot, folder: &Path) -> Backlog {
    Backlog::new(Some(boot.spool(folder, 1 << 20)))
}

#[test]
fn without_a_spool_everything_waits_in_memory_and_is_dropped_at_the_end() {
    let mut boot = Boot::new();
    let backlog = Backlog::new(None);
    push(&backlog, &mut boot, 10);
    assert!(matches!(backlog.first(), First::Batch { last_sequence: 1, .. }));
    backlog.not_taken();
    assert_eq!(backlog.in_memory(), 10);
    assert!(matches!(backlog.first(), First::Batch { last_sequence: 1, .. }));
    backlog.settle_first(Settlement::Rejected);
    assert_eq!(backlog.stop(), 9);
    assert_eq!((boot.account(), boot.budget.used()), ((10, 0, 10, 0), 0));
}

#[test]
fn a_collector_that_keeps_up_never_touches_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let backlog = with_spool(&boot, folder.path());
    for last in 1..=20 {
        push(&backlog, &mut boot, 1);
        assert_eq!(drain(&backlog), [last]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_collector_that_is_slow_is_sent_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let backlog = with_spool(&boot, folder.path());
    push(&backlog, &mut boot, 1);
    assert!(matches!(backlog.first(), First::Batch { last_sequence: 1, .. }));
    push(&backlog, &mut boot, 9);
    assert_eq!(backlog.in_memory(), 1, "what is being sent stays where it is");
    assert_eq!(drain(&backlog), numbers(1..=10));
    push(&backlog, &mut boot, 1);
    assert_eq!(backlog.in_memory(), 1, "and then the disk is left alone");
    assert_eq!(drain(&backlog), [11]);
}

#[test]
fn when_the_collector_goes_away_everything_is_on_disk_and_the_next_start_has_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let backlog = with_spool(&boot, folder.path());
    push(&backlog, &mut boot, 1);
    assert!(matches!(backlog.first(), First::Batch { .. }));
    push(&backlog, &mut boot, 9);
    backlog.not_taken();
    push(&backlog, &mut boot, 2);
    assert_eq!((backlog.in_memory(), boot.budget.used()), (0, 0));
    // Killed: nothing is said to anybody.
    drop(backlog);
    let mut next = Boot::new();
    let backlog = with_spool(&next, folder.path());
    push(&backlog, &mut next, 1);
    assert_eq!(drain(&backlog), [numbers(1..=12), vec![1]].concat());
    assert_eq!(next.account(), (1, 1, 0, 0));
}

#[test]
fn a_stop_leaves_in_the_spool_what_was_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let backlog = with_spool(&boot, folder.path());
    push(&backlog, &mut boot, 3);
    assert!(matches!(backlog.first(), First::Batch { .. }));
    assert_eq!(backlog.stop(), 0);
    assert_eq!(boot.account(), (3, 0, 0, 3));
    assert_eq!(drain(&with_spool(&Boot::new(), folder.path())), [1, 2, 3]);
}

#[test]
fn a_full_spool_drops_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Boot::new();
    let backlog = Backlog::new(Some(boot.spool(folder.path(), 600)));
    push(&backlog, &mut boot, 1);
    assert!(matches!(backlog.first(), First::Batch { .. }));
    backlog.not_taken();
    push(&backlog, &mut boot, 19);
    let sent = drain(&backlog);
    assert_eq!(sent, numbers(1..=sent.len() as u64));
    let (seen, delivered, dropped, spooled) = boot.account();
    assert_eq!((seen, delivered, spooled), (20, sent.len() as u64, 0));
    assert!(dropped > 10);
    let account = boot.metrics.accounts.account();
    assert_eq!(account.dropped[0].reason, "spool_full");
}

#[test]
fn a_folder_that_cannot_be_used_leaves_everything_in_memory() {
    let mut boot = Boot::new();
    // A file is no folder, for root either.
    let file = tempfile::NamedTempFile::new().unwrap();
    let backlog = with_spool(&boot, file.path());
    push(&backlog, &mut boot, 1);
    assert!(matches!(backlog.first(), First::Batch { .. }));
    backlog.not_taken();
    push(&backlog, &mut boot, 9);
    assert_eq!(backlog.in_memory(), 10);
    assert_eq!(drain(&backlog), numbers(1..=10));
    assert_eq!(boot.account(), (10, 10, 0, 0));
}
