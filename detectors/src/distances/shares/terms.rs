//! What each cell adds to a distance of shares, as a function of the rows that reference and window have there.

use super::Shares;

impl Shares {
    pub(super) fn psi_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        let share = |count: f64, size: f64| if count == 0.0 { 0.5 } else { count } / size;
        move |reference, window| {
            let (p, q) = (share(reference, n), share(window, m));
            (q - p) * (q / p).ln()
        }
    }

    pub(super) fn kullback_leibler_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| {
            let (p, q) = (if reference == 0.0 { 0.5 } else { reference } / n, window / m);
            towards(q, p) - q + p
        }
    }

    pub(super) fn jensen_shannon_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| {
            let (p, q) = (reference / n, window / m);
            0.5 * (towards(p, (p + q) / 2.0) + towards(q, (p + q) / 2.0))
        }
    }

    pub(super) fn hellinger_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| ((reference / n).sqrt() - (window / m).sqrt()).powi(2) / 2.0
    }

    pub(super) fn cramers_v_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| {
            let (p, q) = (reference / n, window / m);
            (p - q).powi(2) / (p + q) / 2.0
        }
    }

    pub(super) fn difference_term(&self) -> impl Fn(f64, f64) -> f64 + use<> {
        let (n, m) = (self.n as f64, self.m as f64);
        move |reference, window| (reference / n - window / m).abs() / 2.0
    }
}

/// `x·ln(x/y)`, which is 0 for x = 0.
pub(super) fn towards(x: f64, y: f64) -> f64 {
    if x > 0.0 { x * (x / y).ln() } else { 0.0 }
}
