//! What a rule says of its alerts in its own words: templates that are filled in, labels, and whose it is.

use std::borrow::Cow;

use driftline_alerts::{Alert, EvidenceRow, Labels, Member, Rule};

use crate::vocabulary::LABELS;

/// Names that templates may use besides the labels of what is worst.
const OF_ALERT: [&str; 10] =
    ["rule", "severity", "owner", "condition", "summary", "what", "value", "limit", "n", "members"];
/// What the strictest target takes as its one line.
const MAX_SUMMARY_BYTES: usize = 1000;
/// What fits beside the rest of what an alert says.
const MAX_DETAILS_BYTES: usize = 4000;

/// All names that a template may use. A label that an alert does not have is empty.
pub(crate) fn names() -> Vec<&'static str> {
    LABELS.into_iter().chain(OF_ALERT).collect()
}

/// An alert, in its rule's words.
pub(super) struct Worded<'a> {
    rule: &'a Rule,
    alert: &'a Alert,
    worst: Option<(&'a Member, &'a EvidenceRow)>,
    members: usize,
    /// What is said without a template.
    plain: &'a str,
}

impl<'a> Worded<'a> {
    /// Of members and rows whose first are the worst.
    pub(super) fn of(
        rule: &'a Rule,
        alert: &'a Alert,
        members: &[&'a Member],
        rows: &'a [EvidenceRow],
        plain: &'a str,
    ) -> Self {
        let worst = members.first().copied().zip(rows.first());
        Self { rule, alert, worst, members: members.len(), plain }
    }

    /// The one line; none without a template. Line breaks in what is filled in are none.
    pub(super) fn summary(&self) -> Option<String> {
        let template = self.rule.wording.summary.as_ref()?;
        let filled = template.fill(MAX_SUMMARY_BYTES, |name| self.value(name));
        Some(filled.replace(char::is_control, " "))
    }

    /// The alert's labels and the rule's, which never replace those.
    pub(super) fn labels(&self) -> Labels {
        self.rule.wording.labels_of(&self.alert.labels)
    }

    /// What comes before what was measured.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let wording = &self.rule.wording;
        let details = wording.details.as_ref().map(|details| details.fill(MAX_DETAILS_BYTES, |name| self.value(name)));
        let details = details.map(|details| ("Details".to_owned(), details));
        details.into_iter().chain(wording.owner.iter().map(|owner| ("Owner".to_owned(), owner.clone()))).collect()
    }

    fn value(&self, name: &str) -> Cow<'_, str> {
        let of_row = |field: fn(&EvidenceRow) -> &String| self.worst.map_or("", |(_, row)| field(row)).into();
        match name {
            "rule" => self.rule.name.as_str().into(),
            "severity" => self.rule.severity.name().into(),
            "owner" => self.rule.wording.owner.as_deref().unwrap_or("").into(),
            "condition" => self.rule.condition.in_words().into(),
            "summary" => self.plain.into(),
            "what" => of_row(|row| &row.what),
            "value" => of_row(|row| &row.value),
            "limit" => of_row(|row| &row.threshold),
            "n" => of_row(|row| &row.n),
            "members" => self.members.to_string().into(),
            label => {
                let of_worst = self.worst.and_then(|(worst, _)| worst.labels.get(label));
                of_worst.or_else(|| self.alert.labels.get(label)).map_or("", String::as_str).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use driftline_alerts::{Observation, Reading};

    use super::*;
    use crate::config::Config;

    const RULE: &str = "alerts:\n  rules:\n    - name: Own\n      severity: ticket\n      runbook: feature-drift\n      when: {score: psi}\n      owner: ml-team\n      labels: {team: forecasts, model: never}\n      summary: 'See {{ model }}/{{ column }}: {{ value }} of {{ n }} ({{ members }}){{ segment }}'\n      details: '{{ summary }}. Ask {{ owner }}.'\n";

    fn worded<T>(column: &str, of: impl FnOnce(&Worded<'_>) -> T) -> T {
        let config = Config::parse("d.yaml", RULE, std::path::Path::new("")).unwrap();
        let rule = config.alerting.rules.iter().find(|rule| rule.name == "Own").unwrap();
        let labels =
            [("model", "flights"), ("column", column)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut alert = Alert::new(rule, Labels::from([("model".to_owned(), "flights".to_owned())]));
        let reading = Reading::Score { value: 14.5, threshold: 0.2, noise: 0.01, n: 29_425 };
        alert.observe(rule, &[Observation { name: "psi".into(), labels: labels.into(), reading }], 0, 1);
        let members: Vec<&Member> = alert.over().collect();
        let row = EvidenceRow {
            what: column.to_owned(),
            value: "14.5".to_owned(),
            threshold: "0.2".to_owned(),
            n: "29,425".to_owned(),
            sparkline: String::new(),
        };
        of(&Worded::of(rule, &alert, &members, &[row], "temp has drifted"))
    }

    #[test]
    fn places_are_filled_in_with_what_the_alert_is_about() {
        worded("temp", |worded| {
            assert_eq!(worded.summary().unwrap(), "See flights/temp: 14.5 of 29,425 (1)");
            let facts = worded.facts();
            assert_eq!(facts[0], ("Details".to_owned(), "temp has drifted. Ask ml-team.".to_owned()));
            assert_eq!(facts[1], ("Owner".to_owned(), "ml-team".to_owned()));
            let labels: Vec<(String, String)> = worded.labels().into_iter().collect();
            let expected = [("model", "flights"), ("owner", "ml-team"), ("team", "forecasts")];
            assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        });
    }

    #[test]
    fn a_name_that_breaks_lines_makes_no_second_line_and_a_long_one_is_cut() {
        worded("a\r\nBcc: x", |worded| assert!(worded.summary().unwrap().starts_with("See flights/a  Bcc: x: 14.5")));
        worded(&"é".repeat(2000), |worded| {
            let summary = worded.summary().unwrap();
            assert!(summary.len() <= MAX_SUMMARY_BYTES && summary.ends_with('…'), "{summary}");
        });
    }
}
