//! When a delivery is tried again, and when it is given up.

use std::time::Duration;

/// Pause after the first failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// An hour without a try would be too long for a page.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// A day of attempts every five minutes, and the quick ones before.
pub const MAX_ATTEMPTS: u32 = 300;

/// How long to wait after so many failed attempts (1 or more): doubling from 2 s up to 5 min, or what the target asks
/// for if that is longer, up to an hour. `random` in `0..1` takes up to half of it off, so that many do not come at once.
pub fn pause_after(attempts: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let own = doubled.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
    asked.map_or(own, |asked| asked.min(Duration::from_secs(3600)).max(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_honour_what_is_asked() {
        let pauses: Vec<u64> = (1..=10).map(|attempts| pause_after(attempts, None, 0.0).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause_after(1, None, 1.0), Duration::from_secs(1));
        assert_eq!(pause_after(1, Some(Duration::from_secs(60)), 0.5), Duration::from_secs(60));
        assert_eq!(pause_after(1, Some(Duration::from_secs(999_999)), 0.5), Duration::from_secs(3600));
        assert_eq!(pause_after(u32::MAX, None, 0.0), Duration::from_secs(300));
    }
}
