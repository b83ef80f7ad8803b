//! Conversations as scripts: what tests and fuzzers let a reader see.

use std::sync::Arc;

use driftline_protocol::Exchange;
use prometheus::Registry;

use super::{CaptureLimits, Captured, Moment, Over, Reader, Side, Unreadable};
use crate::account::Accounts;
use crate::budget::Budget;
use crate::rules::SharedRules;

/// One thing that a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Client(&'a [u8]),
    Server(&'a [u8]),
    ClientEnds,
    ServerEnds,
}

/// What came of a script.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) result: Result<(), Unreadable>,
}

/// Marks in a script's bytes, each at the beginning of a line, that say whose bytes follow.
#[cfg(feature = "fuzzing")]
const MARKS: [(&[u8], Piece<'static>); 4] = [
    (b"\n>>", Piece::Client(&[])),
    (b"\n<<", Piece::Server(&[])),
    (b"\n>.", Piece::ClientEnds),
    (b"\n<.", Piece::ServerEnds),
];

/// Reads any bytes as a script. They begin with the client's.
#[cfg(feature = "fuzzing")]
pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut speaker = Piece::Client(&[]);
    loop {
        let mark = memchr::memchr_iter(b'\n', bytes)
            .find_map(|at| MARKS.iter().find(|(mark, _)| bytes[at..].starts_with(mark)).map(|(_, piece)| (at, *piece)));
        let end = mark.map_or(bytes.len(), |(at, _)| at);
        pieces.push(match speaker {
            Piece::Client(_) => Piece::Client(&bytes[..end]),
            Piece::Server(_) => Piece::Server(&bytes[..end]),
            ends => ends,
        });
        let Some((at, next)) = mark else { return pieces };
        speaker = next;
        bytes = &bytes[at + 3..];
    }
}

/// The same script with every piece of bytes cut after so many.
pub(crate) fn cut<'a>(pieces: &[Piece<'a>], after: usize) -> Vec<Piece<'a>> {
    let cut = |piece: &Piece<'a>| -> Vec<Piece<'a>> {
        match *piece {
            Piece::Client(bytes) => bytes.chunks(after).map(Piece::Client).collect(),
            Piece::Server(bytes) => bytes.chunks(after).map(Piece::Server).collect(),
            ends => vec![ends],
        }
    };
    pieces.iter().flat_map(cut).collect()
}

/// Bytes cut at some places.
#[cfg(test)]
pub(crate) fn split<'a>(bytes: &'a [u8], cuts: &[proptest::sample::Index]) -> impl Iterator<Item = &'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    (1..at.len()).map(move |end| &bytes[at[end - 1]..at[end]])
}

/// Limits with an account of their own.
pub(crate) fn limits(budget_bytes: usize, max_body_bytes: usize) -> CaptureLimits {
    limits_with(accounts(), budget_bytes, max_body_bytes)
}

pub(crate) fn limits_with(accounts: Arc<Accounts>, budget_bytes: usize, max_body_bytes: usize) -> CaptureLimits {
    CaptureLimits {
        accounts,
        budget: Budget::new(budget_bytes),
        rules: SharedRules::default(),
        spares: Arc::default(),
        max_body_bytes,
    }
}

pub(crate) fn accounts() -> Arc<Accounts> {
    Accounts::new(&Registry::new()).expect("an empty registry takes all metrics")
}

/// A moment so many microseconds after the first.
pub(crate) fn moment(micros: u64) -> Moment {
    Moment { micros, wall_micros: 1_357_000_000_000_000 + micros as i64 }
}

/// Lets a reader see a script, all of it at one moment, and settles everything that finished as delivered. What is then
/// not over is cancelled.
pub(crate) fn read(limits: &CaptureLimits, pieces: &[Piece<'_>]) -> Read {
    let timed: Vec<(u64, Piece<'_>)> = pieces.iter().map(|piece| (0, *piece)).collect();
    read_timed(limits, &timed, Over::Stopped)
}

/// Lets a reader see each piece of a script so many microseconds after its beginning.
pub(crate) fn read_timed(limits: &CaptureLimits, pieces: &[(u64, Piece<'_>)], over: Over) -> Read {
    let mut reader = Reader::new(limits.clone());
    let mut finished = Vec::new();
    let mut result = Ok(());
    let mut now = moment(0);
    for (micros, piece) in pieces {
        now = moment(*micros);
        match *piece {
            Piece::Client(bytes) => result = reader.bytes(Side::Client, bytes, now, &mut finished),
            Piece::Server(bytes) => result = reader.bytes(Side::Upstream, bytes, now, &mut finished),
            Piece::ClientEnds => reader.side_ended(Side::Client, now, &mut finished),
            Piece::ServerEnds => reader.side_ended(Side::Upstream, now, &mut finished),
        }
        if result.is_err() {
            break;
        }
    }
    reader.connection_over(over, now, &mut finished);
    let deliver = |captured: Captured| {
        let Captured { exchange, ticket, .. } = captured;
        ticket.delivered();
        *exchange
    };
    Read { exchanges: finished.into_iter().map(deliver).collect(), result }
}

/// What holds once everything is settled: `seen = delivered + Σ dropped`, and all memory given back.
pub(crate) fn assert_accounted(limits: &CaptureLimits) {
    let account = limits.accounts.account();
    let dropped: u64 = account.dropped.iter().map(|dropped| dropped.count).sum();
    assert_eq!(account.seen, account.delivered + dropped);
    assert_eq!(limits.budget.used(), 0);
    assert_eq!(Arc::strong_count(&limits.budget), 1, "a reservation outlived its exchange");
}
