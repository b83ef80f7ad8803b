//! How often somebody would be told: windows over their limits, as the rules make episodes of them.

use std::collections::BTreeMap;

use super::null_effects::HISTORY;

/// At least k of the last m windows must be over for a column to be; it is so until that has become impossible. As the
/// rules have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// How many must be over.
    pub k: u32,
    /// Of how many.
    pub m: u32,
}

/// So many beginnings in the histories of so many worlds, for each window in which one could be had.
pub(crate) fn per_window(begun: u32, worlds: u32, persistence: Persistence) -> f64 {
    f64::from(begun) / f64::from(worlds * HISTORY.saturating_sub(persistence.m).max(1))
}

/// How often an alert begins in a history of so many windows, when each member is over in these, ascending. One that is
/// on in the first window in which it could be had begun before.
pub(crate) fn beginnings<'a>(members: impl Iterator<Item = &'a [u32]>, windows: u32, persistence: Persistence) -> u32 {
    let mut changes: BTreeMap<u32, i64> = BTreeMap::new();
    for over in members {
        for (from, to) in stretches_over(over, persistence) {
            *changes.entry(from).or_default() += 1;
            *changes.entry(to).or_default() -= 1;
        }
    }
    let (mut on, mut begun) = (0, 0);
    for (window, change) in changes {
        if on == 0 && change > 0 && window >= persistence.m && window < windows {
            begun += 1;
        }
        on += change;
    }
    begun
}

/// From which window to which, the latter not included, a member is over.
fn stretches_over(over: &[u32], Persistence { k, m }: Persistence) -> Vec<(u32, u32)> {
    let mut stretches: Vec<(u32, u32)> = Vec::new();
    for (i, &window) in over.iter().enumerate() {
        let quiet_from = window + (m - k + 1);
        match stretches.last_mut() {
            Some((_, to)) if window <= *to => *to = quiet_from,
            _ => {
                let enough = (i + 1).checked_sub(k as usize).is_some_and(|first| window - over[first] < m);
                if enough {
                    stretches.push((window, quiet_from));
                }
            }
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(members: &[&[u32]], k: u32, m: u32) -> u32 {
        beginnings(members.iter().copied(), 100, Persistence { k, m })
    }

    #[test]
    fn two_of_three_begin_once_and_end_after_two_quiet_windows() {
        assert_eq!(count(&[&[10]], 2, 3), 0);
        assert_eq!(count(&[&[10, 12]], 2, 3), 1);
        assert_eq!(count(&[&[10, 13]], 2, 3), 0);
        assert_eq!(count(&[&[10, 11, 13, 15]], 2, 3), 1, "one quiet window ends nothing");
        assert_eq!(count(&[&[10, 11, 14, 15]], 2, 3), 2, "two do");
    }

    #[test]
    fn members_share_an_episode() {
        assert_eq!(count(&[&[10, 11], &[12, 13, 14]], 1, 1), 1);
        assert_eq!(count(&[&[10, 11], &[13, 14]], 1, 1), 2);
    }

    #[test]
    fn what_is_on_from_the_beginning_did_not_begin() {
        assert_eq!(count(&[&[0, 1, 2, 3]], 1, 1), 0);
        assert_eq!(count(&[&[0, 1, 2, 3, 9, 10]], 2, 3), 1);
    }
}
