//! What stands in a runbook's places: the values of the alert that led to it.

use driftline_alerts::Notification;

/// What may stand in a runbook for a value.
pub(super) const PLACES: [&str; 4] = ["{url}", "{model}", "{column}", "{alert}"];

/// The values of the places, in their order; words in capitals without an alert.
#[derive(Debug)]
pub(crate) struct Values([String; PLACES.len()]);

impl Values {
    pub(crate) fn new(public_url: &str, alert: Option<&Notification>) -> Self {
        let label = |name: &str| alert.and_then(|alert| alert.labels.get(name)).map(|value| plain(value));
        let column = alert.and_then(|alert| alert.rows.first()).map(|row| plain(&row.what));
        Self([
            public_url.to_owned(),
            label("model").unwrap_or_else(|| "MODEL".to_owned()),
            column.unwrap_or_else(|| "COLUMN".to_owned()),
            alert.map_or_else(|| "ALERT".to_owned(), |alert| alert.episode.clone()),
        ])
    }

    pub(crate) fn fill(&self, text: &str) -> String {
        PLACES.iter().zip(&self.0).fold(text.to_owned(), |text, (place, value)| text.replace(place, value))
    }
}

/// Values come from models and configurations. What could end a code span or begin markup is left out.
fn plain(value: &str) -> String {
    // "temp in segment origin=JFK (version 2)" is the column temp.
    let value = value.split(" (version ").next().unwrap_or(value);
    let value = value.split(" in segment ").next().unwrap_or(value);
    value.chars().map(|c| if c.is_control() || "`<>[]()|{}$\\\"'".contains(c) { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_become_markup() {
        assert_eq!(plain("a`<script>`[x](javascript:y)"), "a__script___x__javascript:y_");
        assert_eq!(plain("temp (version 2)"), "temp");
        assert_eq!(plain("temp in segment origin=JFK (version 2)"), "temp");
    }
}
