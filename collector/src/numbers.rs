//! Numbers as people read them.

/// Three significant digits, without an exponent where a person would not write one.
pub(crate) fn significant(value: f64) -> String {
    digits(value, 3)
}

/// So many significant digits, in the same way.
pub(crate) fn digits(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    let digits = digits.saturating_sub(1);
    if !(-4.0..=6.0).contains(&magnitude) {
        return format!("{value:.digits$e}");
    }
    let decimals = (digits as f64 - magnitude).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A share in percent, with as many digits as tell 99.9 from 99.99.
pub(crate) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let decimals = if (0.0..1.0).contains(&value) || (99.0..100.0).contains(&value) { 2 } else { 1 };
    let text = format!("{value:.decimals$}");
    // Nearly all is not all.
    let text = if share < 1.0 && text.starts_with("100") { "99.99".to_owned() } else { text };
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A whole number with its thousands apart: `13 068`.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// How many are left that a list does not name; nothing where it names all.
pub(crate) fn and_more(more: usize) -> String {
    if more > 0 { format!(" and {more} more") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_honest() {
        assert_eq!(
            [14.5423, 0.2, 0.000_123_4, 1e-9, 13068.0, 1e12, 0.0].map(significant),
            ["14.5", "0.2", "0.000123", "1.00e-9", "13068", "1.00e12", "0"]
        );
        assert_eq!(
            [0.99, 0.9999, 0.999_999_9, 1.0, 0.5, 0.0, 0.001].map(percent),
            ["99%", "99.99%", "99.99%", "100%", "50%", "0%", "0.1%"]
        );
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(thousands(999), "999");
    }
}
