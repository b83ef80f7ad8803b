//! For how long what happens in a column is of one piece: the length of the blocks that are drawn.

/// So many standard deviations above what unordered units show, units so far apart go together: about once in a
/// thousand by chance.
const DEVIATIONS: f64 = 3.0;
/// There must be so many blocks for draws of them to say anything of their spread.
const MIN_BLOCKS: usize = 6;
/// Units that are compared each with each; of a longer reference, the last ones.
const MAX_UNITS: usize = 366;

/// How many units of the reference make a block, from the counts of each in the column's cells: one when their order says
/// nothing, else twice as many as go together.
///
/// Units are compared by their deviations from the reference's shares in chi-square's metric, `(x − n·p)/√p`. Were the
/// order of no consequence, the products of all pairs would be alike, whatever their distance in time; so all of them are
/// the measure of those of neighbours.
pub(crate) fn block_length(units: &[Vec<u64>]) -> usize {
    let units = &units[units.len().saturating_sub(MAX_UNITS)..];
    let deviations = deviations(units);
    let product = |i: usize, j: usize| -> f64 { deviations[i].iter().zip(&deviations[j]).map(|(a, b)| a * b).sum() };
    let count = deviations.len();
    let mut of_lag: Vec<f64> = vec![0.0; count];
    let mut squares = 0.0;
    for (lag, sum) in of_lag.iter_mut().enumerate().skip(1) {
        for i in 0..count - lag {
            let product = product(i, i + lag);
            *sum += product;
            squares += product * product;
        }
    }
    let pairs = (count * count.saturating_sub(1) / 2) as f64;
    let mean = of_lag.iter().sum::<f64>() / pairs;
    let deviation = (squares / pairs - mean * mean).max(0.0).sqrt();
    let goes_together = |lag: &usize| {
        let pairs = (count - lag) as f64;
        of_lag[*lag] / pairs - mean > DEVIATIONS * deviation / pairs.sqrt()
    };
    let longest = (units.len() / MIN_BLOCKS).max(1);
    match (1..count).take_while(goes_together).count() {
        0 => 1,
        // Powers of two, so that columns that are alike in this have blocks of one length, and are drawn together.
        together => (2 * together).next_power_of_two().min(longest),
    }
}

fn deviations(units: &[Vec<u64>]) -> Vec<Vec<f64>> {
    let cells = units.first().map_or(0, Vec::len);
    let total: Vec<f64> = (0..cells).map(|cell| units.iter().map(|unit| unit[cell]).sum::<u64>() as f64).collect();
    let all: f64 = total.iter().sum();
    units
        .iter()
        .map(|unit| {
            let rows = unit.iter().sum::<u64>() as f64;
            let deviation = |(count, total): (&u64, &f64)| {
                let share = total / all;
                if share > 0.0 { (*count as f64 - rows * share) / share.sqrt() } else { 0.0 }
            };
            unit.iter().zip(&total).map(deviation).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::draws::Uniform;

    /// Days on which a share of the rows is in the first of two cells, which goes on from day to day by so much.
    fn days(count: usize, memory: f64, seed: u64) -> Vec<Vec<u64>> {
        let mut uniform = Uniform::seeded(seed);
        let mut level = 0.0;
        (0..count)
            .map(|_| {
                level = memory * level + (1.0 - memory * memory).sqrt() * (uniform.next() + uniform.next() - 1.0);
                let first = (500.0 + 200.0 * level) as u64;
                vec![first, 1000 - first]
            })
            .collect()
    }

    #[test]
    fn days_without_an_order_are_drawn_one_by_one() {
        let long = (0..300).filter(|seed| block_length(&days(60, 0.0, *seed)) > 1).count();
        assert!(long <= 6, "{long} of 300");
    }

    #[test]
    fn days_that_go_on_are_drawn_together() {
        let lengths: Vec<usize> = (0..50).map(|seed| block_length(&days(90, 0.8, seed))).collect();
        assert!(lengths.iter().all(|length| (2..=15).contains(length)), "{lengths:?}");
        assert!(lengths.iter().filter(|length| **length >= 4).count() >= 45, "{lengths:?}");
    }

    #[test]
    fn too_little_to_compare_is_no_block() {
        assert_eq!((block_length(&[]), block_length(&[vec![3]]), block_length(&[vec![3], vec![4]])), (1, 1, 1));
    }
}
