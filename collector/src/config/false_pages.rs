//! How many alerts of a model may begin although nothing has drifted.

use std::time::Duration;

/// The times that a budget can be for. A month is the twelfth part of a year.
const PERIODS: [(&str, Duration); 4] = [
    ("week", Duration::from_secs(7 * 86_400)),
    ("month", Duration::from_secs(86_400 * 1461 / 48)),
    ("quarter", Duration::from_secs(86_400 * 1461 / 16)),
    ("year", Duration::from_secs(86_400 * 1461 / 4)),
];
/// More than so many in a time are no budget.
const MAX_PAGES: f64 = 1000.0;

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalsePages {
    pages: f64,
    period: (&'static str, Duration),
}

impl FalsePages {
    /// How many may begin for each window, when one ends so often.
    pub fn per_window(&self, every: Duration) -> f64 {
        self.pages * every.as_secs_f64() / self.period.1.as_secs_f64()
    }

    /// How many may begin in a year.
    pub fn per_year(self) -> f64 {
        self.per_window(PERIODS[3].1)
    }
}

impl Default for FalsePages {
    fn default() -> Self {
        // Often enough to be used to it, and seldom enough to be looked at.
        Self { pages: 1.0, period: PERIODS[1] }
    }
}

impl std::fmt::Display for FalsePages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} per {}", self.pages, self.period.0)
    }
}

/// `1 per month`, or `off`; none when it is neither.
pub(super) fn budget(text: &str) -> Option<Option<FalsePages>> {
    if text == "off" {
        return Some(None);
    }
    let (pages, period) = text.split_once(" per ")?;
    let pages: f64 = pages.trim().parse().ok()?;
    let period = PERIODS.into_iter().find(|(name, _)| *name == period.trim())?;
    (pages > 0.0 && pages <= MAX_PAGES).then_some(Some(FalsePages { pages, period }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_budget_is_so_many_in_a_time_or_off() {
        let says = |text: &str| budget(text).map(|budget| budget.map(|budget| budget.to_string()));
        assert_eq!(says("1 per month"), Some(Some("1 per month".to_owned())));
        assert_eq!(says("0.5 per quarter"), Some(Some("0.5 per quarter".to_owned())));
        assert_eq!(says("off"), Some(None));
        for text in ["", "1", "per month", "0 per month", "-1 per year", "nan per week", "1 per day", "1e9 per week"] {
            assert_eq!(says(text), None, "{text}");
        }
    }

    #[test]
    fn a_window_has_its_part_of_it() {
        let yearly = budget("12 per year").flatten().unwrap();
        assert_eq!(yearly.per_window(DAY), FalsePages::default().per_window(DAY));
        assert!((FalsePages::default().per_window(DAY) * 30.4375 - 1.0).abs() < 1e-9);
    }
}
