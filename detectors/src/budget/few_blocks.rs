//! The tail of effects that one block makes: what a block may reach that is more extreme than all that the reference has met.
//!
//! Of B blocks and one more, each is the most extreme as likely as any other, whatever their distribution (Hill 1968, "Posterior
//! distribution of percentiles", Journal of the American Statistical Association 63). So a block exceeds all B of the reference in
//! one of B + 1, and no drawing from the reference ever shows what it reaches. Where windows are many blocks, no single one decides;
//! where they are one or two, or where what is scored comes in bursts, it does. Down to that share, then, the reference's own
//! blocks are the limits, and beyond it the tail of the most extreme few of them is carried on.
//!
//! Excesses over a high level are about exponential on the scale of squares. Their mean is known from k blocks only, and a limit
//! that takes it as exact is exceeded too often: with the mean of k, the share that exceeds c means is (1 + c/k)^−k on the average over
//! references, and not e^−c (the excess of a new one over the mean of k is distributed as F with 2 and 2k degrees of freedom; Hahn and
//! Meeker 1991, "Statistical Intervals", on prediction). Rules ask for two windows, so what counts is the share's square, whose
//! average is (1 + 2c/k)^−k. It is 1/r² for c = k/2·(r^(2/k) − 1), which is the limit for what is r times rarer: ln r when k is
//! large, and more when it is not.

use serde::{Deserialize, Serialize};

use super::null_effects::rounded;

/// A window of fewer blocks than this is decided by one of them.
pub(super) const FEW: f64 = 3.0;
/// So many of the most extreme blocks say how far the next may go …
const BEHIND: f64 = 8.0;
/// … and at the most this part of all.
const MOST_BEHIND: f64 = 1.0 / 3.0;
/// Windows that must be over for an alert, as the shipped rules have it.
const TOGETHER: f64 = 2.0;
/// At the most this share of windows is taken for the tail.
const LARGEST_TAIL: f64 = 0.5;

/// What the most extreme blocks of the reference say of more extreme ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewBlocks {
    /// Blocks of the reference.
    pub reference: f64,
    /// Of these, how many are behind the tail.
    pub behind: f64,
    /// The share of windows that the tail is.
    pub share: f64,
    /// The effect that this share exceeds.
    pub effect: f64,
    /// By how much more on the mean, on the scale of squares.
    pub excess: f64,
}

impl FewBlocks {
    /// Of all windows' effects by falling size, without those that are none, of a reference of so many blocks.
    pub(super) fn of(effects: &[(u32, f64)], windows: u32, blocks: f64, in_window: f64, power: i32) -> Self {
        let behind = BEHIND.min((blocks * MOST_BEHIND).floor()).max(1.0);
        // What they exceed is the most extreme block but these.
        let share = holds_one_of(behind + 1.0, blocks, in_window).min(LARGEST_TAIL);
        let (effect, excess) = reached(effects, share * f64::from(windows), power);
        Self { reference: blocks, behind, share: rounded(share), effect: rounded(effect), excess: rounded(excess) }
    }

    /// The effect that a share of windows exceeds in which no window was drawn.
    pub(super) fn beyond(&self, share: f64, power: i32) -> f64 {
        let beyond = self.excess * mean_excesses((self.share / share).max(1.0), self.behind / TOGETHER);
        (self.effect.powi(power) + beyond).powf(1.0 / f64::from(power)).min(f64::MAX)
    }

    pub(super) fn is_consistent(&self) -> bool {
        let positive = [self.reference, self.behind, self.share].iter().all(|number| *number > 0.0);
        let finite = [self.reference, self.behind, self.effect, self.excess];
        positive && self.share <= 1.0 && finite.iter().all(|number| number.is_finite() && *number >= 0.0)
    }
}

/// Of effects by falling size, the one that so many exceed, and by how much these do on the mean, on the scale of squares.
pub(super) fn reached(effects: &[(u32, f64)], exceed: f64, power: i32) -> (f64, f64) {
    let above = exceed.max(1.0) as usize;
    let effect = effects.get(above).map_or(0.0, |(_, effect)| *effect);
    let over = |(_, larger): &(u32, f64)| larger.powi(power) - effect.powi(power);
    (effect, effects.iter().take(above).map(over).sum::<f64>() / above as f64)
}

/// How many mean excesses farther a limit lies that is exceeded so many times more rarely, where the mean is that of so many
/// excesses: the logarithm, were it known. For two windows together it is that of half as many (see the page).
pub(super) fn mean_excesses(rarer: f64, behind: f64) -> f64 {
    behind * (rarer.powf(1.0 / behind) - 1.0)
}

/// The share of windows that hold a block more extreme than all of the reference's.
pub(super) fn unseen(blocks: f64, in_window: f64) -> f64 {
    holds_one_of(1.0, blocks, in_window)
}

/// The share of windows that hold one of the most extreme blocks, which are so many of the reference's and the next one.
fn holds_one_of(extreme: f64, blocks: f64, in_window: f64) -> f64 {
    1.0 - (1.0 - extreme / (blocks + 1.0)).powf(in_window.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::draws::Uniform;

    /// How often two new values exceed the limit for one in a hundred that so many blocks make, in references of a distribution.
    fn exceeded(blocks: u32, mut value: impl FnMut() -> f64) -> f64 {
        const REFERENCES: u32 = 200_000;
        let over = (0..REFERENCES).filter(|_| {
            let mut effects: Vec<(u32, f64)> = (0..blocks).map(|at| (at, value())).collect();
            effects.sort_by(|a, b| b.1.total_cmp(&a.1));
            let few = FewBlocks::of(&effects, blocks, f64::from(blocks), 1.0, 1);
            let limit = few.beyond(0.01, 1);
            value() > limit && value() > limit
        });
        over.count() as f64 / f64::from(REFERENCES)
    }

    #[test]
    fn two_blocks_exceed_a_limit_beyond_all_as_often_as_it_says() {
        let mut uniform = Uniform::seeded(11);
        for blocks in [10, 40] {
            let share = exceeded(blocks, || -uniform.next().ln());
            assert!((0.5e-4..2e-4).contains(&share), "{blocks}: {share}");
        }
    }

    #[test]
    fn windows_that_hold_an_unseen_block_are_more_the_more_blocks_they_hold() {
        assert!((unseen(59.0, 1.0) - 1.0 / 60.0).abs() < 1e-12);
        assert!((unseen(59.0, 10.0) - 0.155).abs() < 1e-3);
        assert_eq!(unseen(59.0, 0.04), unseen(59.0, 1.0), "an hour's windows are of one day");
    }

    #[test]
    fn a_reference_without_such_rows_has_no_tail() {
        let few = FewBlocks::of(&[], 2560, 60.0, 1.0, 1);
        assert_eq!((few.effect, few.excess, few.beyond(0.001, 1)), (0.0, 0.0, 0.0));
        assert!(few.is_consistent());
    }
}
