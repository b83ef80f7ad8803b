//! Seeded draws, the same on every machine: histories that the reference's own stretches of time could have made.

/// A generator of uniform numbers (xorshift64*, seeded by SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Uniform(u64);

impl Uniform {
    pub(crate) fn seeded(seed: u64) -> Self {
        let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((z ^ (z >> 31)).max(1))
    }

    /// From 0 to 1, without either.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// One world from which the reference could have come, and from which windows come.
///
/// The reference is one sample of the world, and does not know it better than its size allows. So each world weighs the
/// reference's blocks anew (Rubin 1981, "The Bayesian bootstrap", Annals of Statistics 9): the weights' spread is what the
/// reference may be wrong by, in where the world's mean lies and in how widely its stretches differ. A block is so many
/// consecutive units, which keeps what follows upon each other together (Carlstein 1986); each world cuts them elsewhere.
#[derive(Debug)]
pub(crate) struct World {
    /// The blocks' weights, added up.
    cumulative: Vec<f64>,
    units: usize,
    block: usize,
    /// Where the first block begins. The reference's end is joined to its beginning.
    first: usize,
    uniform: Uniform,
}

impl World {
    /// Of a reference of so many units, at least one block of them. The same seed and sizes make the same world, so that
    /// all columns of a reference live through the same days.
    pub(crate) fn draw(units: usize, block: usize, seed: u64) -> Self {
        let mut uniform = Uniform::seeded(seed);
        let first = (uniform.next() * units as f64) as usize;
        let mut sum = 0.0;
        let cumulative = (0..units / block).map(|_| {
            sum -= uniform.next().ln();
            sum
        });
        Self { cumulative: cumulative.collect(), units, block, first, uniform }
    }

    /// The units of a history of this length, in their order.
    pub(crate) fn history(&mut self, length: usize) -> Vec<usize> {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        // Where the history begins, a block is under way.
        let begun = (self.uniform.next() * self.block as f64) as usize;
        let mut units = Vec::with_capacity(length + self.block);
        while units.len() < length + begun {
            let at = self.uniform.next() * total;
            let block = self.cumulative.partition_point(|sum| *sum < at);
            let start = self.first + block * self.block;
            units.extend((start..start + self.block).map(|unit| unit % self.units));
        }
        units.drain(..begun);
        units.truncate(length);
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_made_of_whole_blocks_and_is_the_same_again() {
        let history = World::draw(30, 5, 7).history(400);
        assert_eq!(history, World::draw(30, 5, 7).history(400));
        assert!(history.len() == 400 && history.iter().all(|unit| *unit < 30));
        let jumps = history.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert!((60..=90).contains(&jumps), "{jumps}");
    }

    #[test]
    fn worlds_differ_as_much_as_the_reference_may_be_wrong() {
        // The mean of the units' numbers, over worlds: its variance is that of the mean of so many blocks.
        let mut uniform = Uniform::seeded(1);
        let values: Vec<f64> = (0..60).map(|_| uniform.next()).collect();
        for block in [1, 4] {
            let means: Vec<f64> = (0..2000)
                .map(|seed| {
                    let history = World::draw(60, block, seed).history(4000);
                    history.iter().map(|unit| values[*unit]).sum::<f64>() / 4000.0
                })
                .collect();
            let mean = means.iter().sum::<f64>() / 2000.0;
            let variance = means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2000.0;
            let expected = 1.0 / 12.0 / 60.0;
            assert!((0.5..1.5).contains(&(variance / expected)), "{block}: {variance} against {expected}");
        }
    }
}
