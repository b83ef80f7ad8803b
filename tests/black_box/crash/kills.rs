//! Killed at random moments and at every named point.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use driftline_tests::Collector;

use crate::dice::Dice;
use crate::exact::{self, EXACT};
use crate::oracle::{Archive, Found, check, in_archive};
use crate::senders::{Boot, Ledger, Senders};
use crate::{Folder, Options, Outcome};

/// A named point is reached within this, or it is no point of the code that runs.
const REACHED_WITHIN: Duration = Duration::from_secs(120);
/// Everything is held against what was sent after so many kills, and at the end.
const CHECK_EVERY: u64 = 25;
/// Short windows, so that kills hit every stage. They do not overlap: rows add up.
pub(crate) const MODEL: &str = "models:
  - name: m
    windows: {pane: 2s, window: 2s, every: 2s, lateness: 1s, min_filled: 1, close_when_idle: 2s}
";
/// The models that are sent to where there is time for the second's windows to close.
pub(crate) const MODELS: &[&str] = &["m", EXACT];
/// What takes another time for a row's.
const OWN_TIME: &str = "    event_time: {column: at, unit: microseconds}\n";

/// How a collector ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kill {
    /// By a signal at any moment, while it starts too.
    Random,
    /// By a signal, as soon as somebody has an acknowledgement.
    Acknowledged,
    /// By the order to stop, at any moment.
    Stopped,
    /// By itself, at a point of its code that it comes to up to so many times.
    At(&'static str, u64),
}

/// Every way there is, with names of the collector's `failpoint.rs`.
const KILLS: [Kill; 12] = [
    Kill::Random,
    Kill::Acknowledged,
    Kill::Stopped,
    Kill::Random,
    Kill::At("journal_written", 60),
    Kill::At("checkpoint_due", 5),
    Kill::At("checkpoint_written", 5),
    Kill::At("cut_recorded", 3),
    Kill::At("files_planned", 3),
    Kill::At("file_put", 3),
    Kill::At("commit_planned", 3),
    Kill::At("commit_put", 3),
];

impl Kill {
    /// All of them, each as often as any other and random moments twice as often, in an order by chance.
    pub(crate) fn draw(count: u64, dice: &mut Dice) -> Vec<Self> {
        let mut kills: Vec<Self> = KILLS.into_iter().cycle().take(count as usize).collect();
        dice.shuffle(&mut kills);
        kills
    }

    fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Acknowledged => "acknowledged",
            Self::Stopped => "stopped",
            Self::At(point, _) => point,
        }
    }

    /// Starts a collector, and kills it.
    pub(crate) async fn of(self, collector: &mut Collector, ledger: &Ledger, dice: &mut Dice) {
        match self {
            Self::Random => {
                collector.relaunch(&[]);
                // A third of them while it starts.
                tokio::time::sleep(if dice.one_in(3) { dice.millis(0..100) } else { dice.millis(0..1500) }).await;
                collector.kill().await;
            }
            Self::Acknowledged => {
                collector.relaunch(&[]);
                for _ in 0..=dice.below(40) {
                    ledger.next_acknowledgement().await;
                }
                collector.kill().await;
            }
            Self::Stopped => {
                collector.relaunch(&[]);
                // Half of them while it starts; before it listens for orders it ends as any process does.
                let is_up = dice.one_in(2);
                if is_up {
                    ledger.next_acknowledgement().await;
                }
                tokio::time::sleep(dice.millis(0..800)).await;
                let code = collector.stop().await;
                assert!(code == Some(0) || code.is_none() && !is_up, "it stops cleanly, and not with {code:?}");
            }
            Self::At(point, times) => {
                let failpoint = format!("{point}:{}", 1 + dice.below(times));
                collector.relaunch(&[("DRIFTLINE_FAILPOINT", &failpoint)]);
                let begun = Instant::now();
                while !collector.has_ended() {
                    assert!(begun.elapsed() < REACHED_WITHIN, "{failpoint} was not reached");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}

/// Kills by their name, as in "random 3, file_put 2".
pub(crate) fn counted(kills: &[Kill]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for kill in kills {
        *counts.entry(kill.name()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    counts.join(", ")
}

/// What a run found, in words.
pub(crate) fn in_words(ledger: &Ledger, found: &Found) -> String {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
    let exact = match found.exact_windows {
        0 => String::new(),
        windows => format!("; {windows} windows exact, and the same when made again from the archive"),
    };
    format!(
        "{} exchanges acknowledged in {} batches of {} boots ({} batches sent again, {} answered with 503); {} rows in {} files, each once; {} of them in windows and {} late, each once{exact}",
        ledger.exchanges(),
        of(&ledger.batches),
        ledger.boots().len(),
        of(&ledger.repeated),
        of(&ledger.deferred),
        found.rows,
        found.files,
        found.in_windows,
        found.late
    )
}

pub(crate) async fn run(options: &Options, dice: &mut Dice) -> Outcome {
    let folder = Folder::new(options);
    exact::write_reference(folder.path());
    let mut collector = Collector::start(folder.path(), &configuration(dice)).await;
    let archive = Archive::Folder(folder.path().join("archive"));
    let ledger = std::sync::Arc::default();
    let mut senders = Senders::start(&collector.url(), MODELS, 3, dice, &ledger);
    collector.kill().await;
    let kills = Kill::draw(options.kills, dice);
    for (number, kill) in (1..).zip(&kills) {
        collector.configure(&configuration(dice));
        kill.of(&mut collector, &ledger, dice).await;
        if number % CHECK_EVERY == 0 {
            collector.restart().await;
            senders.stop().await;
            collector.settled().await;
            check(&ledger.boots(), &archive, &collector).await;
            senders = Senders::start(&collector.url(), MODELS, 3, dice, &ledger);
            collector.kill().await;
        }
    }
    collector.restart().await;
    senders.stop().await;
    collector.settled().await;
    let found = check(&ledger.boots(), &archive, &collector).await;
    assert!(found.exact_windows > 0, "the exact model had no windows");
    the_oracle_sees(&ledger.boots(), archive.files().await);
    assert_eq!(collector.stop().await, Some(0), "it stops cleanly after all that");
    Outcome::Passed(format!("{} kills ({}); {}", kills.len(), counted(&kills), in_words(&ledger, &found)))
}

/// Cuts are small, by age and by rows. From start to start it is configured otherwise where a row belongs: cuts are made
/// again as they were recorded, and what of them is elsewhere now is not there twice.
pub(crate) fn limits_and_model(dice: &mut Dice) -> String {
    let partition = if dice.one_in(2) { "hour" } else { "day" };
    let event_time = if dice.one_in(3) { OWN_TIME } else { "" };
    format!(
        "  partition: {partition}\n  max_age: 150ms\n  max_rows: 300\n  delta: true\n{MODEL}{event_time}{}",
        exact::MODEL
    )
}

fn configuration(dice: &mut Dice) -> String {
    format!("archive:\n  folder: archive\n{}", limits_and_model(dice))
}

/// An oracle that finds nothing is worth as much as what it would find: a file twice, and one that is gone.
fn the_oracle_sees(boots: &BTreeMap<u64, Boot>, mut files: Vec<(String, Bytes)>) {
    files.push(files[0].clone());
    let why = in_archive(boots, &files).expect_err("a file is there twice");
    assert!(why.contains("archived twice"), "{why}");
    files.truncate(files.len() - 2);
    let why = in_archive(boots, &files).expect_err("a file is gone");
    assert!(why.contains("rows are archived"), "{why}");
}
