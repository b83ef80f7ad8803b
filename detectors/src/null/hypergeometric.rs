//! The hypergeometric distribution: how many of some rows a draw without replacement takes.

use super::binomial::mass;

/// Less of what is likely, or of all that is added up so far, changes none of its digits.
const NEGLIGIBLE: f64 = f64::EPSILON / 8.0;

/// A draw of so many of all rows, and the marked ones among these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    rows: u64,
    marked: u64,
    drawn: u64,
}

impl Draw {
    /// Of `drawn` from `rows` of which `marked` are of a kind; neither may be more than there are.
    pub(super) fn new(rows: u64, marked: u64, drawn: u64) -> Self {
        debug_assert!(marked <= rows && drawn <= rows, "{marked} and {drawn} of {rows}");
        Self { rows, marked, drawn }
    }

    /// `P(X ≥ x)` for X marked rows in the draw, with all of its digits where it is small. Each term is the one before times what
    /// falls with every step, so it adds up as many as a few standard deviations are wide.
    pub(super) fn at_least(self, x: u64) -> f64 {
        let (least, most) = self.ends();
        if x <= least {
            return 1.0;
        }
        if x > most {
            return 0.0;
        }
        if (x as f64) < self.drawn as f64 * (self.marked as f64 / self.rows as f64) {
            return 1.0 - self.at_most(x - 1);
        }
        let (mut sum, mut term) = (0.0, 1.0);
        for reached in x..=most {
            sum += term;
            term *= self.to_next(reached);
            if term < sum * NEGLIGIBLE {
                break;
            }
        }
        (self.mass(x) * sum).min(1.0)
    }

    /// `P(X ≤ x)`, likewise: so many are not marked.
    pub(super) fn at_most(self, x: u64) -> f64 {
        if x >= self.drawn {
            return 1.0;
        }
        Self { marked: self.rows - self.marked, ..self }.at_least(self.drawn - x)
    }

    /// All counts that are likely enough to matter, ascending, each with how likely it is.
    pub(super) fn likely(self) -> Vec<(u64, f64)> {
        let (least, most) = self.ends();
        let mode = (self.marked + 1) as f64 * ((self.drawn + 1) as f64 / (self.rows + 2) as f64);
        let mode = (mode as u64).clamp(least, most);
        let likeliest = self.mass(mode);
        let matters = |chance: f64| chance > likeliest * NEGLIGIBLE;
        let up = std::iter::successors(Some((mode, likeliest)), |(x, chance)| {
            (x < &most).then(|| (x + 1, chance * self.to_next(*x))).filter(|(_, chance)| matters(*chance))
        });
        let down = std::iter::successors(Some((mode, likeliest)), |(x, chance)| {
            (x > &least).then(|| (x - 1, chance / self.to_next(x - 1))).filter(|(_, chance)| matters(*chance))
        });
        let mut counts: Vec<(u64, f64)> = down.skip(1).collect();
        counts.reverse();
        counts.extend(up);
        counts
    }

    /// `√Var X`.
    pub(super) fn deviation(self) -> f64 {
        let (rows, marked, drawn) = (self.rows as f64, self.marked as f64, self.drawn as f64);
        (marked / rows * (rows - marked) * (drawn / rows) * (rows - drawn) / (rows - 1.0).max(1.0)).sqrt()
    }

    /// The fewest and the most that a draw may take.
    fn ends(self) -> (u64, u64) {
        ((self.marked + self.drawn).saturating_sub(self.rows), self.marked.min(self.drawn))
    }

    /// `P(X = x + 1)` over `P(X = x)`, for an x that is not the most.
    fn to_next(self, x: u64) -> f64 {
        let others = (self.rows + x + 1 - self.marked - self.drawn) as f64;
        (self.marked - x) as f64 * (self.drawn - x) as f64 / ((x + 1) as f64 * others)
    }

    /// `P(X = x)` by three binomials of one chance (Loader 2000).
    fn mass(self, x: u64) -> f64 {
        let chance = self.drawn as f64 / self.rows as f64;
        if chance == 1.0 {
            return f64::from(u8::from(x == self.marked));
        }
        mass(self.marked, chance, x) * mass(self.rows - self.marked, chance, self.drawn - x)
            / mass(self.rows, chance, self.drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Sums of exact fractions.
    #[test]
    fn tails_keep_their_digits_however_small_they_are() {
        for (rows, marked, drawn, x, expected) in AT_LEAST {
            for draw in [Draw::new(rows, marked, drawn), Draw::new(rows, drawn, marked)] {
                let got = draw.at_least(x);
                assert!((got / expected - 1.0).abs() < 1e-10, "{draw:?} {x}: {got}, not {expected}");
            }
            let fewer = Draw::new(rows, rows - marked, drawn).at_most(drawn - x);
            assert!((fewer / expected - 1.0).abs() < 1e-10, "{rows} {marked} {drawn} {x}: {fewer}, not {expected}");
        }
        let draw = Draw::new(10, 7, 6);
        assert_eq!((draw.at_least(3), draw.at_least(7), draw.at_most(6), draw.at_most(2)), (1.0, 0.0, 1.0, 0.0));
        assert_eq!(Draw::new(10, 4, 10).at_least(4), 1.0);
    }

    #[test]
    fn what_is_likely_is_nearly_all() {
        for draw in [
            Draw::new(20, 7, 12),
            Draw::new(5, 5, 3),
            Draw::new(9, 0, 4),
            Draw::new(51_955, 5_200, 24_951),
            Draw::new(4_200, 4_195, 200),
        ] {
            let likely = draw.likely();
            let total: f64 = likely.iter().map(|(_, chance)| chance).sum();
            let mean = draw.drawn as f64 * draw.marked as f64 / draw.rows as f64;
            let variance: f64 = likely.iter().map(|(x, chance)| chance * (*x as f64 - mean).powi(2)).sum();
            assert!((total - 1.0).abs() < 1e-11, "{draw:?}: {total}");
            assert!((variance.sqrt() - draw.deviation()).abs() < 1e-9 * (1.0 + mean), "{draw:?}: {variance}");
            assert!(likely.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "{draw:?}");
            let (middle, beyond) = likely.split_at(likely.len() / 2);
            let rest: f64 = beyond.iter().map(|(_, chance)| chance).sum();
            assert!((draw.at_least(beyond[0].0) - rest).abs() < 1e-11, "{draw:?}: {middle:?}");
        }
    }

    const AT_LEAST: [(u64, u64, u64, u64, f64); 7] = [
        (20, 7, 12, 6, 0.10557275541795666),
        (20, 7, 12, 2, 0.995562435500516),
        (100, 50, 30, 15, 0.5862415763777075),
        (100, 50, 30, 25, 1.0147512064200424e-05),
        (100, 97, 30, 28, 0.9748917748917749),
        (51_955, 5_200, 24_951, 2_600, 0.00139239206479314),
        (51_955, 5_200, 24_951, 3_100, 5.578235822534079e-70),
    ];
}
