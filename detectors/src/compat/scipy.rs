//! Distances and tests as SciPy has them.

use crate::null::kolmogorov;
use crate::null::tails::chi_square_tail;

/// Size of the larger sample up to which `ks_2samp` counts paths instead of taking the asymptotic distribution.
const MAX_EXACT: usize = 10_000;

/// `ks_2samp(reference, window).statistic` of sorted samples.
pub(super) fn ks_statistic(reference: &[f64], window: &[f64]) -> f64 {
    steps(reference, window).map(|step| (step.reference - step.window).abs()).fold(0.0, f64::max)
}

/// `wasserstein_distance(reference, window)` of sorted samples.
pub(super) fn wasserstein(reference: &[f64], window: &[f64]) -> f64 {
    let mut distance = 0.0;
    let mut previous: Option<Step> = None;
    for step in steps(reference, window) {
        if let Some(before) = previous {
            distance += (before.reference - before.window).abs() * (step.value - before.value);
        }
        previous = Some(step);
    }
    distance
}

/// Both distribution functions at a value that one of the samples has.
struct Step {
    value: f64,
    reference: f64,
    window: f64,
}

fn steps(reference: &[f64], window: &[f64]) -> impl Iterator<Item = Step> {
    let (mut below_reference, mut below_window) = (0, 0);
    std::iter::from_fn(move || {
        let next = [reference.get(below_reference), window.get(below_window)];
        let value = next.into_iter().flatten().copied().reduce(f64::min)?;
        let up_to =
            |sample: &[f64], below: usize| below + sample[below..].iter().take_while(|one| **one <= value).count();
        below_reference = up_to(reference, below_reference);
        below_window = up_to(window, below_window);
        Some(Step {
            value,
            reference: below_reference as f64 / reference.len() as f64,
            window: below_window as f64 / window.len() as f64,
        })
    })
}

/// `ks_2samp(reference, window).pvalue` of a statistic of samples of these sizes.
pub(super) fn ks_p_value(statistic: f64, n: usize, m: usize) -> f64 {
    let exact = (n.max(m) <= MAX_EXACT).then(|| exact_ks_p_value(statistic, n, m)).filter(|p| (0.0..=1.0).contains(p));
    exact.unwrap_or_else(|| {
        let (n, m) = (n as f64, m as f64);
        kolmogorov::tail((n * m / (n + m)).round_ties_even() as u64, statistic)
    })
}

/// The share of the ways to mix the two samples in which the statistic is at least this.
fn exact_ks_p_value(statistic: f64, n: usize, m: usize) -> f64 {
    let divisor = greatest_common_divisor(n, m);
    let steps = (statistic * (n / divisor * m) as f64).round() as usize;
    if steps == 0 {
        1.0
    } else if n == m {
        paths_outside_square(n, steps)
    } else {
        paths_outside_rectangle(n.max(m), n.min(m), divisor, steps)
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Of the paths from corner to corner of an n by n square, the share that touches the diagonal moved by h (Feller's
/// reflections, as a product without large numbers).
fn paths_outside_square(n: usize, h: usize) -> f64 {
    let mut outside = 0.0;
    for k in (0..=n / h).rev() {
        let (less, more) = (n - k * h, n + k * h);
        let ratio: f64 = (0..h).map(|j| (less as f64 - j as f64) / (more + j + 1) as f64).product();
        outside = ratio * (1.0 - outside);
    }
    2.0 * outside
}

/// Of the paths from corner to corner of a rectangle, `long` by `short`, the share that leaves the band of half width `h` about
/// its diagonal (Hodges, "The significance probability of the Smirnov two-sample test", 1957).
fn paths_outside_rectangle(long: usize, short: usize, divisor: usize, h: usize) -> f64 {
    let (long_step, short_step) = ((long / divisor) as f64, (short / divisor) as f64);
    let h = h as f64;
    // Of the paths to each point of one column, the share that has left the band; to points outside of it, all have.
    let mut outside = vec![0.0; short + 1];
    let (mut begin, mut end) = (0, ((h / long_step).ceil() as usize).min(short + 1));
    for i in 1..=long {
        let middle = short_step * i as f64;
        let next_begin = (((middle - h) / long_step).floor() + 1.0).max(0.0) as usize;
        let next_end = (((middle + h) / long_step).ceil() as usize).min(short + 1);
        if next_end <= next_begin {
            return 1.0;
        }
        let mut below = 1.0;
        for (j, here) in outside.iter_mut().enumerate().take(next_end).skip(next_begin) {
            let beside = if (begin..end).contains(&j) { *here } else { 1.0 };
            below = (beside * i as f64 + below * j as f64) / (i + j) as f64;
            *here = below;
        }
        (begin, end) = (next_begin, next_end);
    }
    if end == short + 1 { outside[short] } else { 1.0 }
}

/// `jensenshannon(p, q)`: the root of the divergence in nats, of shares of one each.
pub(super) fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let towards = |x: f64, middle: f64| if x > 0.0 { x * (x / middle).ln() } else { 0.0 };
    let (total_p, total_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    let term = |(p, q): (&f64, &f64)| {
        let (p, q) = (p / total_p, q / total_q);
        towards(p, (p + q) / 2.0) + towards(q, (p + q) / 2.0)
    };
    (p.iter().zip(q).map(term).sum::<f64>() / 2.0).max(0.0).sqrt()
}

/// `chisquare(observed, expected).pvalue`.
pub(super) fn chi_square_p_value(cells: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut statistic, mut count) = (0.0, 0);
    for (observed, expected) in cells {
        statistic += (observed - expected).powi(2) / expected;
        count += 1;
    }
    chi_square_tail(statistic, f64::from(count - 1))
}

/// Statistic and p-value of `chi2_contingency`, with Yates' correction where there are two columns.
pub(super) fn contingency(cells: &[(u64, u64)]) -> (f64, f64) {
    let (n, m) = cells.iter().fold((0, 0), |(n, m), (reference, window)| (n + reference, m + window));
    let degrees_of_freedom = cells.len().saturating_sub(1);
    if degrees_of_freedom == 0 {
        return (0.0, 1.0);
    }
    let term = |observed: u64, in_column: u64, in_row: u64| {
        let expected = in_column as f64 * in_row as f64 / (n + m) as f64;
        let difference = (observed as f64 - expected).abs();
        let correction = if degrees_of_freedom == 1 { difference.min(0.5) } else { 0.0 };
        (difference - correction).powi(2) / expected
    };
    let statistic = cells.iter().map(|(r, w)| term(*r, r + w, n) + term(*w, r + w, m)).sum();
    (statistic, chi_square_tail(statistic, degrees_of_freedom as f64))
}
