//! How unsure a sum over cells is, whatever has drifted.

use super::Shares;

impl Shares {
    /// Variance of this term's sum by the delta method: its slopes in each count, taken at what was counted, times the
    /// multinomials' covariances.
    pub(super) fn variance(&self, term: impl Fn(f64, f64) -> f64) -> f64 {
        const PART: f64 = 1e-4;
        // Of a sample's counts, with their slopes: Σ x·g² − (Σ x·g)²/size.
        let mut sums = [(0.0, 0.0); 2];
        let mut add = |sample: usize, cells: f64, count: f64, slope: f64| {
            sums[sample].0 += cells * count * slope * slope;
            sums[sample].1 += cells * count * slope;
        };
        let scattered = (self.scattered > 0).then_some((self.scattered as f64, 0.0, 1.0));
        let counted = self.counts.iter().map(|(reference, window)| (1.0, *reference as f64, *window as f64));
        for (cells, r, w) in counted.chain(scattered) {
            let (dr, dw) = (r * PART, w * PART);
            if r > 0.0 {
                add(0, cells, r, (term(r + dr, w) - term(r - dr, w)) / (2.0 * dr));
            }
            if w > 0.0 {
                add(1, cells, w, (term(r, w + dw) - term(r, w - dw)) / (2.0 * dw));
            }
        }
        let of = |(squares, sum): (f64, f64), size: f64| (squares - sum * sum / size).max(0.0);
        of(sums[0], self.n as f64) + of(sums[1], self.m as f64)
    }
}
