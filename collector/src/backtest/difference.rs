//! Two timelines side by side: what a change of configuration would have brought, and spared.

use serde::Serialize;

use super::Episode;

/// Of the episodes of two configurations, those that only one of them has.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Difference<'e> {
    /// Episodes of the present configuration that the proposed one has as well.
    pub(crate) kept: usize,
    pub(crate) gone: Vec<&'e Episode>,
    pub(crate) added: Vec<&'e Episode>,
}

/// Episodes are the same when they are of one rule and alert, and fire at a common time.
pub(crate) fn difference<'e>(present: &'e [Episode], proposed: &'e [Episode]) -> Difference<'e> {
    let only = |own: &'e [Episode], other: &[Episode]| -> Vec<&'e Episode> {
        own.iter().filter(|episode| !other.iter().any(|other| is_same(episode, other))).collect()
    };
    let gone = only(present, proposed);
    Difference { kept: present.len() - gone.len(), gone, added: only(proposed, present) }
}

fn is_same(one: &Episode, other: &Episode) -> bool {
    let ends = |episode: &Episode| episode.resolved.unwrap_or(i64::MAX);
    one.rule == other.rule
        && one.severity == other.severity
        && one.labels == other.labels
        && one.fired < ends(other)
        && other.fired < ends(one)
}

#[cfg(test)]
mod tests {
    use driftline_alerts::{Labels, Severity};

    use super::*;

    fn episode(rule: &str, fired: i64, resolved: Option<i64>) -> Episode {
        Episode {
            rule: rule.to_owned(),
            severity: Severity::Page,
            rule_severity: None,
            runbook: String::new(),
            condition: String::new(),
            labels: Labels::new(),
            fired,
            resolved,
            without_verdict: false,
            window: (0, 1),
            because: Vec::new(),
            more: 0,
        }
    }

    #[test]
    fn an_episode_that_begins_earlier_is_the_same_and_one_of_another_rule_or_time_is_not() {
        let present = [episode("R", 10, Some(20)), episode("R", 50, None), episode("S", 10, Some(20))];
        let proposed = [episode("R", 5, Some(11)), episode("R", 20, Some(50)), episode("T", 50, None)];
        let difference = difference(&present, &proposed);
        assert_eq!(difference.kept, 1);
        assert_eq!(difference.gone, [&present[1], &present[2]]);
        assert_eq!(difference.added, [&proposed[1], &proposed[2]]);
    }
}
