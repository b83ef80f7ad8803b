//! A bounded sample of rows that follows from their numbers: the same whichever came first.

/// Keeps the rows whose hash begins with so many zeros: at least half as many as it may, once there are more.
#[derive(Debug, Clone)]
pub(crate) struct Sample<T> {
    most: usize,
    zeros: u32,
    rows: Vec<(u64, T)>,
}

impl<T> Sample<T> {
    pub(crate) fn of_at_most(most: usize) -> Self {
        Self { most, zeros: 0, rows: Vec::new() }
    }

    /// Adds a row, unless it is none of the sample.
    pub(crate) fn add(&mut self, row: u64, value: impl FnOnce() -> T) {
        let hash = mixed(row);
        if hash.leading_zeros() >= self.zeros {
            self.rows.push((hash, value()));
        }
        while self.rows.len() > self.most {
            self.zeros += 1;
            self.rows.retain(|(hash, _)| hash.leading_zeros() >= self.zeros);
        }
    }

    /// Its values in the order of their hashes, which is that of no row.
    pub(crate) fn into_values(mut self) -> impl Iterator<Item = T> {
        self.rows.sort_unstable_by_key(|(hash, _)| *hash);
        self.rows.into_iter().map(|(_, value)| value)
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): neighbours end up far apart, and no two numbers in one place.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_bounded_large_enough_and_the_same_in_any_order() {
        for rows in [10u64, 1000, 100_000] {
            let mut samples = [Sample::of_at_most(1000), Sample::of_at_most(1000)];
            (0..rows).for_each(|row| samples[0].add(row, || row));
            (0..rows).rev().for_each(|row| samples[1].add(row, || row));
            let [one, other] = samples.map(|sample| sample.into_values().collect::<Vec<u64>>());
            assert_eq!(one, other);
            assert!(one.len() <= 1000 && one.len() as u64 >= rows.min(400), "{} of {rows}", one.len());
        }
    }
}
