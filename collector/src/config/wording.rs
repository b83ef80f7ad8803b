//! What the configuration says of a rule's words: its expression, its templates, its labels.

use driftline_alerts::{Condition, Expression, KofM, Labels, Template, TemplateFault, Wording, nearest};
use driftline_document::{Node, Section};

use crate::alerting::wording;
use crate::own_metrics::labels_read;
use crate::vocabulary::Named;

/// Labels that a rule may add. Every target is sent all of them.
const MAX_LABELS: usize = 20;
const MAX_LABEL_BYTES: usize = 200;

/// A condition that is an expression.
pub(super) fn expression(node: &Node<'_>, matching: Labels, windows: KofM) -> Option<Condition> {
    let parsed = Expression::parse(node.text()?, |variable| Named::of(variable).map(|named| named.meaning()));
    let expression = parsed.map_err(|error| node.problem(error.to_string())).ok()?;
    if expression.variables().is_empty() {
        node.problem("names nothing that could change, as in psi > 0.2");
        return None;
    }
    let read = labels_read(&expression).map_err(|why| node.problem(why)).ok()?;
    if let Some(read) = read
        && let Some(label) = matching.keys().find(|label| !read.all().any(|own| own == label.as_str()))
    {
        let known: Vec<&str> = read.all().collect();
        node.problem(format!(
            "'matching' asks for the label '{label}', and what is said here has {}; ask a metric for its own in braces",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ));
        return None;
    }
    Some(Condition::Expression { expression, matching, windows })
}

/// A rule's own words.
pub(super) fn wording(section: &mut Section<'_>) -> Wording {
    Wording {
        summary: section.optional("summary").and_then(|node| template(&node, &wording::names())),
        details: section.optional("details").and_then(|node| template(&node, &wording::names())),
        labels: section.optional("labels").map(|node| labels(&node)).unwrap_or_default(),
        owner: section.optional("owner").and_then(|node| label(&node)),
    }
}

/// A template with these names.
pub(super) fn template(node: &Node<'_>, names: &[&str]) -> Option<Template> {
    let parsed = Template::parse(node.text()?, names);
    parsed
        .map_err(|error| {
            let meant = match &error.fault {
                TemplateFault::Unknown(name) => match nearest(name, names.iter().copied()) {
                    Some(near) => format!("; did you mean '{near}'?"),
                    None => format!("; names are {}", names.join(", ")),
                },
                _ => String::new(),
            };
            node.problem(format!("{error}{meant}"));
        })
        .ok()
}

fn labels(node: &Node<'_>) -> Labels {
    let entries = node.entries().unwrap_or_default();
    if entries.len() > MAX_LABELS {
        node.problem(format!("there are {} labels; allowed are {MAX_LABELS}", entries.len()));
    }
    let mut labels = Labels::new();
    for (name, node) in entries {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        // Every target takes such a name, Prometheus' kind among them.
        if name.len() > 100 || name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(is_plain) {
            node.problem(format!("'{name}' is no label: up to 100 letters, digits and '_' are, and no digit first"));
            continue;
        }
        labels.extend(label(&node).map(|value| (name, value)));
    }
    labels
}

fn label(node: &Node<'_>) -> Option<String> {
    let is_allowed = |text: &str| text.len() <= MAX_LABEL_BYTES && !text.contains(char::is_control);
    node.parsed(&format!("a text of one line and up to {MAX_LABEL_BYTES} bytes"), |text| {
        is_allowed(text).then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use driftline_alerts::Rule;

    use crate::config::parsed;

    fn rule(fields: &str) -> Result<Rule, String> {
        let text = format!("alerts: {{rules: [{{name: Own, severity: page, runbook: feature-drift, {fields}}}]}}");
        let config = parsed(&text)?;
        Ok(config.alerting.rules.into_iter().find(|rule| rule.name == "Own").unwrap())
    }

    #[test]
    fn an_expression_stands_alone_or_with_windows_and_labels() {
        let alone = rule("when: psi > 0.2 and missing_share < 5%").unwrap();
        assert_eq!(alone.condition.in_words(), "psi > 0.2 and missing_share < 5%");
        assert!(alone.condition.is_of_windows() && alone.recovery.flapping.is_none());
        let with = rule("when: {expression: psi > psi.limit, windows: 2 of 3, matching: {role: feature}}").unwrap();
        assert_eq!(with.condition.in_words(), "psi > psi.limit in 2 of 3 windows");
        let by_the_clock = rule("when: 'p99[5m] > 300ms and latency.valid[5m] >= 100'").unwrap();
        assert!(!by_the_clock.condition.is_of_windows() && by_the_clock.recovery.flapping.is_some());
    }

    #[test]
    fn what_is_wrong_with_words_is_said_with_its_place() {
        for (fields, says) in [
            ("when: psy > 0.2", "d.yaml:1:"),
            ("when: psy > 0.2", "when: at character 1: 'psy' is no name; did you mean 'psi'?"),
            ("when: psi > 5m", "when: at character 5: a number is compared with a time"),
            ("when: 1 > 0", "names nothing that could change"),
            ("when: psi > 0.2, clear_at: 0.1", "is for scores and shares"),
            ("when: {expression: 'p99[5m] > 1s', windows: 2 of 3}", "is for what windows say"),
            (
                "when: psi > 0.2, summary: '{{ modell }}'",
                "summary: has 'modell' at character 4, which is no name; did you mean 'model'?",
            ),
            ("when: psi > 0.2, details: '{{ model'", "details: has no '}}' for the '{{' at character 1"),
            ("when: psi > 0.2, labels: {my-team: a}", "'my-team' is no label"),
            ("when: psi > 0.2, owner: \"a\\nb\"", "a text of one line"),
        ] {
            let error = rule(fields).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
