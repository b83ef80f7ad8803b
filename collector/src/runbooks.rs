//! The runbooks that ship: Markdown with a head, one for each rule.

/// A runbook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Runbook {
    /// Its id: the file's name.
    pub(crate) id: &'static str,
    /// The file's text.
    text: &'static str,
}

macro_rules! runbooks {
    ($($id:literal),* $(,)?) => {
        /// All of them, by id.
        pub(crate) const ALL: &[Runbook] =
            &[$(Runbook { id: $id, text: include_str!(concat!("../../runbooks/", $id, ".md")) }),*];
    };
}

runbooks![
    "archive-lag",
    "availability-slo",
    "capture-loss",
    "feature-drift",
    "latency-slo",
    "missing-values",
    "new-category",
    "new-change",
    "prediction-drift",
    "stale-features",
];

/// Their ids.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|runbook| runbook.id)
}

/// The runbook of that id.
pub(crate) fn find(id: &str) -> Option<Runbook> {
    ALL.iter().copied().find(|runbook| runbook.id == id)
}

impl Runbook {
    /// The title: its first heading.
    pub(crate) fn title(self) -> &'static str {
        self.body().lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(self.id)
    }

    /// A field of the head.
    pub(crate) fn field(self, name: &str) -> Option<&'static str> {
        let head = self.text.strip_prefix("---\n")?.split("\n---\n").next()?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The text after the head.
    pub(crate) fn body(self) -> &'static str {
        let after_head = self.text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
        after_head.map_or(self.text, |(_, body)| body)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    /// What every runbook says, in this order.
    const SECTIONS: [&str; 8] = [
        "In 30 seconds",
        "What it means",
        "Who is hurt",
        "First five minutes",
        "Mitigate",
        "Verify",
        "Escalate",
        "False alarms and tuning",
    ];

    #[test]
    fn every_file_of_the_folder_ships() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
            .filter(|name| name != "README")
            .collect();
        assert_eq!(files, ids().map(str::to_owned).collect());
    }

    #[test]
    fn every_shipped_rule_has_its_runbook_and_every_runbook_its_rule() {
        let config = Config::parse("", "", Path::new("")).unwrap();
        let used: BTreeSet<&str> = config.alerting.rules.iter().map(|rule| rule.runbook.as_str()).collect();
        assert_eq!(used, ids().collect());
        for rule in &config.alerting.rules {
            let runbook = find(&rule.runbook).unwrap();
            assert_eq!(runbook.field("rule"), Some(rule.name.as_str()), "{}", runbook.id);
            assert_eq!(runbook.field("severity"), Some(rule.severity.name()), "{}", runbook.id);
        }
    }

    #[test]
    fn every_runbook_has_all_sections_in_order_and_nothing_left_to_do() {
        for runbook in ALL {
            assert_eq!(runbook.field("id"), Some(runbook.id));
            assert!(runbook.field("owner").is_some(), "{} has no owner", runbook.id);
            let sections: Vec<&str> = runbook.body().lines().filter_map(|line| line.strip_prefix("## ")).collect();
            assert_eq!(sections, SECTIONS, "{}", runbook.id);
            assert!(!runbook.body().contains("TODO"), "{}", runbook.id);
            let first = runbook.body().split("## In 30 seconds").nth(1).unwrap().split("## ").next().unwrap();
            assert!(first.split_whitespace().count() <= 90, "{}: the first section is for 30 seconds", runbook.id);
        }
    }

    #[test]
    fn every_command_in_a_runbook_exists_and_every_metric_is_one_of_ours() {
        // Both binaries' tests hold this page to their code.
        let documented = include_str!("../../docs/metrics.md");
        for runbook in ALL {
            for word in runbook.body().split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                if word.starts_with("driftline_") {
                    let base = word.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
                    let known = documented.contains(&format!("`{base}`"));
                    assert!(known, "{}: there is no metric {word}", runbook.id);
                }
            }
            for line in runbook.body().lines().filter_map(|line| line.trim().strip_prefix("driftline ")) {
                let words: Vec<&str> = line.split_whitespace().collect();
                crate::commands::parses(&words)
                    .unwrap_or_else(|error| panic!("{}: 'driftline {line}': {error}", runbook.id));
            }
        }
    }
}
