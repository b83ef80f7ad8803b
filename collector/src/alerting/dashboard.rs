//! The link to the owner's own dashboard: an address with places that each alert fills in.

use std::borrow::Cow;
use std::fmt::Write;

use driftline_alerts::{Labels, Micros, Template};

/// What can be filled in.
pub(crate) const NAMES: [&str; 8] = ["model", "version", "column", "rule", "severity", "episode", "from_ms", "to_ms"];
/// Longer addresses are refused somewhere on their way.
const MAX_BYTES: usize = 2000;
/// It begins so long before the alert did.
const BEFORE_MICROS: Micros = 3_600_000_000;

/// Where a dashboard shows what an alert is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dashboard(Template);

/// What an alert fills in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    /// Of the member that is worst.
    pub(super) labels: &'a Labels,
    pub(super) rule: &'a str,
    pub(super) severity: &'a str,
    pub(super) episode: &'a str,
    pub(super) started_at: Micros,
    pub(super) now: Micros,
}

impl Dashboard {
    /// By an address whose names are all known; the caller has read it.
    pub(crate) fn new(address: Template) -> Self {
        Self(address)
    }

    /// The address for one alert; none when what is filled in makes it too long.
    pub(super) fn of(&self, shown: Shown<'_>) -> Option<String> {
        let value = |name: &str| match name {
            "rule" => escaped(shown.rule),
            "severity" => escaped(shown.severity),
            "episode" => escaped(shown.episode),
            "from_ms" => Cow::Owned(((shown.started_at - BEFORE_MICROS) / 1000).to_string()),
            "to_ms" => Cow::Owned((shown.now / 1000).to_string()),
            label => shown.labels.get(label).map_or(Cow::Borrowed(""), |value| escaped(value)),
        };
        let address = self.0.fill(2 * MAX_BYTES, value);
        (address.len() <= MAX_BYTES).then_some(address)
    }
}

/// A value as a part of an address: whatever somebody called a column, it stays one value.
fn escaped(value: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if value.bytes().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let mut escaped = String::new();
    for byte in value.bytes() {
        match is_plain(byte) {
            true => escaped.push(char::from(byte)),
            // Writing to a String cannot fail.
            false => write!(escaped, "%{byte:02X}").unwrap_or_default(),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str, column: &str) -> Option<String> {
        let labels =
            [("model", "flights"), ("column", column)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shown = Shown {
            labels: &labels.into(),
            rule: "FeatureDrift",
            severity: "ticket",
            episode: "featuredrift-1",
            started_at: 7_200_000_000,
            now: 7_300_000_000,
        };
        Dashboard::new(Template::parse(address, &NAMES).unwrap()).of(shown)
    }

    #[test]
    fn an_alert_fills_in_what_it_is_about_and_when_it_began() {
        let address = "https://grafana/d/x?var-model={{model}}&var-version={{ version }}&from={{from_ms}}&to={{to_ms}}";
        let expected = "https://grafana/d/x?var-model=flights&var-version=&from=3600000&to=7300000";
        assert_eq!(of(address, "temp").unwrap(), expected);
    }

    #[test]
    fn whatever_a_column_is_called_it_is_one_value_and_too_long_an_address_is_none() {
        assert_eq!(of("https://g/?c={{column}}", "a b&c=d#\"é").unwrap(), "https://g/?c=a%20b%26c%3Dd%23%22%C3%A9");
        assert_eq!(of("https://g/?c={{column}}", &"x".repeat(3000)), None);
    }
}
