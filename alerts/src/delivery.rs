//! When a delivery is tried again, when it is given up, and when a target is left alone. All of it is pure: time is an
//! argument.
//!
//! ```text
//!              a failure                      its pause is over
//!   closed ───────────────────▶ open ───────────────────────────▶ half-open: one entry is tried
//!     ▲                          ▲ and its pause is longer              │        │
//!     │                          └────────────── it failed, too ────────┘        │
//!     └────────────────────────────────────────── the target answered ───────────┘
//! ```
//!
//! One failure is enough: behind a target that hangs, each further entry would wait for its own time-out, and a page with it.
//! What is wrong with one entry alone costs the others a second or two, for the next one to be tried is another.

use std::collections::VecDeque;
use std::time::Duration;

use crate::state::Micros;

/// Pause after the first failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// An hour without a try would be too long for a page.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// A day of attempts every five minutes, and the quick ones before.
const MAX_ATTEMPTS: u32 = 300;
/// Of many entries behind a target that is away only one is tried at a time, so they are given up by their age, too: what
/// is three days old has been seen by somebody, or does not matter.
const MAX_AGE: Duration = Duration::from_secs(3 * 86_400);
/// What waited for another reason, muted for a week, has its tries all the same.
const MIN_ATTEMPTS: u32 = 10;

/// How long to wait after so many failed attempts (1 or more): doubling from 2 s up to 5 min, or what the target asks
/// for if that is longer, up to an hour. `random` in `0..1` takes up to half of it off, so that many do not come at once.
pub fn pause_after(attempts: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let own = doubled.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
    asked.map_or(own, |asked| asked.min(driftline_retry_after::LONGEST).max(own))
}

/// Whether an entry that failed so often, and has waited for so long, is not tried again.
pub fn is_given_up(attempts: u32, age: Duration) -> bool {
    attempts >= MAX_ATTEMPTS || attempts >= MIN_ATTEMPTS && age >= MAX_AGE
}

/// How often a target may be told something: at most so many times in any stretch of so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    times: u32,
    per: Duration,
}

impl Rate {
    /// Times of attempts that are remembered at most.
    pub const MAX_TIMES: u32 = 10_000;

    /// None when it is never, or more often than [`Self::MAX_TIMES`], or in no time at all.
    pub const fn new(times: u32, per: Duration) -> Option<Self> {
        if times == 0 || times > Self::MAX_TIMES || per.is_zero() { None } else { Some(Self { times, per }) }
    }
}

/// Why a target is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It failed.
    Failing(Duration),
    /// It was told as often as it may be.
    Rate(Duration),
}

/// Whether a target works, as far as anybody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Breaker {
    #[default]
    Closed,
    /// It failed so often in a row. From `until` on it is half-open.
    Open { failures: u32, until: Micros },
}

/// What a target's worker asks before every attempt, and tells after it. It makes one attempt at a time.
///
/// ```
/// use std::time::Duration;
/// use driftline_alerts::{Gate, Rate, Rest};
///
/// let mut gate = Gate::new(Rate::new(1, Duration::from_secs(1)).unwrap());
/// assert_eq!(gate.rest(0), None);
/// gate.begins(0);
/// gate.answered();
/// assert_eq!(gate.rest(400_000), Some(Rest::Rate(Duration::from_millis(600))));
/// gate.begins(1_000_000);
/// gate.failed(Some(Duration::from_secs(60)), 0.5, 1_000_000);
/// assert_eq!(gate.rest(2_000_000), Some(Rest::Failing(Duration::from_secs(59))));
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    breaker: Breaker,
    rate: Rate,
    /// When the last attempts began: as many as the rate allows at most, the oldest first.
    begun: VecDeque<Micros>,
}

impl Gate {
    /// For a target that was never tried. What was told before a restart is not known any more; a target that minds says so.
    pub fn new(rate: Rate) -> Self {
        Self { breaker: Breaker::Closed, rate, begun: VecDeque::new() }
    }

    /// Why nothing may be tried now; none when one entry may.
    pub fn rest(&self, now: Micros) -> Option<Rest> {
        if let Breaker::Open { until, .. } = self.breaker
            && until > now
        {
            return Some(Rest::Failing(length(until - now)));
        }
        let oldest = self.begun.front().filter(|_| self.begun.len() >= self.rate.times as usize)?;
        let free_at = oldest.saturating_add(micros(self.rate.per));
        (free_at > now).then(|| Rest::Rate(length(free_at - now)))
    }

    /// An attempt begins.
    pub fn begins(&mut self, now: Micros) {
        if self.begun.len() >= self.rate.times as usize {
            self.begun.pop_front();
        }
        self.begun.push_back(now);
    }

    /// The target answered, whatever it said of the entry.
    pub fn answered(&mut self) {
        self.breaker = Breaker::Closed;
    }

    /// The target failed, and may have said for how long it does not want to hear anything. For `random` see [`pause_after`].
    pub fn failed(&mut self, asked: Option<Duration>, random: f64, now: Micros) {
        let failures = match self.breaker {
            Breaker::Closed => 1,
            Breaker::Open { failures, .. } => failures.saturating_add(1),
        };
        let until = now.saturating_add(micros(pause_after(failures, asked, random)));
        self.breaker = Breaker::Open { failures, until };
    }

    /// Whether the last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.breaker != Breaker::Closed
    }
}

fn micros(length: Duration) -> Micros {
    Micros::try_from(length.as_micros()).unwrap_or(Micros::MAX)
}

fn length(micros: Micros) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Micros = 1_000_000;

    fn gate(times: u32, seconds: u64) -> Gate {
        Gate::new(Rate::new(times, Duration::from_secs(seconds)).unwrap())
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_honour_what_is_asked() {
        let pauses: Vec<u64> = (1..=10).map(|attempts| pause_after(attempts, None, 0.0).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause_after(1, None, 1.0), Duration::from_secs(1));
        assert_eq!(pause_after(1, Some(Duration::from_secs(60)), 0.5), Duration::from_secs(60));
        assert_eq!(pause_after(1, Some(Duration::from_secs(999_999)), 0.5), Duration::from_secs(3600));
        assert_eq!(pause_after(u32::MAX, None, 0.0), Duration::from_secs(300));
    }

    #[test]
    fn an_entry_is_given_up_after_its_tries_or_when_it_is_old() {
        let days = |days: u64| Duration::from_secs(86_400 * days);
        assert!(!is_given_up(299, days(1)) && is_given_up(300, days(1)));
        assert!(!is_given_up(9, days(30)) && is_given_up(10, days(3)) && !is_given_up(10, days(2)));
    }

    #[test]
    fn one_failure_opens_one_probe_at_a_time_finds_out_and_an_answer_closes() {
        let mut gate = gate(100, 1);
        let rests = [2, 4, 8].map(|seconds| {
            gate.failed(None, 0.0, 0);
            assert!(gate.is_failing());
            (gate.rest(0), gate.rest(seconds * SECOND - 1).is_some(), gate.rest(seconds * SECOND))
        });
        assert_eq!(rests, [2, 4, 8].map(|seconds| (Some(Rest::Failing(Duration::from_secs(seconds))), true, None)));
        gate.answered();
        assert!(gate.rest(0).is_none() && !gate.is_failing());
        gate.failed(None, 0.0, 0);
        assert_eq!(gate.rest(0), Some(Rest::Failing(Duration::from_secs(2))), "it begins anew");
    }

    #[test]
    fn a_target_that_asks_for_time_has_it() {
        let mut gate = gate(100, 1);
        gate.failed(Some(Duration::from_secs(30)), 0.9, SECOND);
        assert_eq!(gate.rest(SECOND), Some(Rest::Failing(Duration::from_secs(30))));
        gate.failed(Some(Duration::from_secs(90_000)), 0.9, 0);
        assert_eq!(gate.rest(0), Some(Rest::Failing(Duration::from_secs(3600))), "but not all it wants");
    }

    #[test]
    fn rates_that_say_nothing_are_none() {
        let second = Duration::from_secs(1);
        assert!(Rate::new(0, second).is_none() && Rate::new(1, Duration::ZERO).is_none());
        assert!(Rate::new(Rate::MAX_TIMES, second).is_some() && Rate::new(Rate::MAX_TIMES + 1, second).is_none());
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_holds_more_than_the_rate_and_nobody_waits_for_nothing(
            times in 1u32..8,
            per in 1u64..100,
            gaps in proptest::collection::vec(0i64..40, 1..200),
        ) {
            let mut gate = Gate::new(Rate::new(times, Duration::from_micros(per)).unwrap());
            let (mut now, mut begun) = (0, Vec::<Micros>::new());
            for gap in gaps {
                now += gap;
                let lately = begun.iter().filter(|at| **at > now - per as Micros).count();
                match gate.rest(now) {
                    None => {
                        prop_assert!(lately < times as usize);
                        gate.begins(now);
                        gate.answered();
                        begun.push(now);
                    }
                    Some(rest) => {
                        let Rest::Rate(length) = rest else { panic!("{rest:?}") };
                        prop_assert_eq!(lately, times as usize);
                        prop_assert!(!length.is_zero() && gate.rest(now + length.as_micros() as Micros).is_none());
                    }
                }
            }
            prop_assert!(gate.begun.len() <= times as usize);
        }
    }
}
