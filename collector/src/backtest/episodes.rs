//! Times in which an alert fired, and what it fired on.

use driftline_alerts::{Condition, Labels, Member, Reading, Rule, Severity};
use serde::Serialize;

use crate::alerting::book::Change;
use crate::times;

/// Members of an episode that are kept, the farthest over their limit first.
const MAX_REASONS: usize = 20;

/// A time in which an alert fired.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Episode {
    pub(crate) rule: String,
    /// As routes make it, if it goes by any: what would have been told.
    pub(crate) severity: Severity,
    /// What its rule says; none where that is the same.
    pub(crate) rule_severity: Option<Severity>,
    pub(crate) runbook: String,
    pub(crate) condition: String,
    /// What makes it this alert: the rule's grouping labels.
    pub(crate) labels: Labels,
    #[serde(serialize_with = "as_time")]
    pub(crate) fired: i64,
    /// None where it still fired at the end.
    #[serde(serialize_with = "as_time_or_null")]
    pub(crate) resolved: Option<i64>,
    /// Whether it ended because no verdict came any more, on some of it at least.
    pub(crate) without_verdict: bool,
    /// The window whose scores it fired on, or the time that its indicator was added up over.
    #[serde(serialize_with = "as_span")]
    pub(crate) window: (i64, i64),
    /// Its members when it fired.
    pub(crate) because: Vec<Reason>,
    /// Members when it fired that are not among these.
    pub(crate) more: u64,
}

/// A member of an episode: what was over its limit, and by how much.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reason {
    /// The labels that tell it from other members.
    pub(crate) labels: Labels,
    pub(crate) score: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    /// Rows of a score's window; events of an indicator.
    pub(crate) n: u64,
}

/// An alert that begins to fire now. `own` is its rule as it is configured, before routes.
pub(super) fn fired(change: &Change, own: Option<&Rule>, window: (i64, i64), now: i64) -> Episode {
    let Change { rule, alert, .. } = change;
    let mut because: Vec<Reason> = alert.over().filter_map(|member| reason(rule, &alert.labels, member)).collect();
    let over = |reason: &Reason| reason.value / reason.limit.max(f64::MIN_POSITIVE);
    because.sort_by(|a, b| over(b).total_cmp(&over(a)));
    let more = because.len().saturating_sub(MAX_REASONS) as u64;
    because.truncate(MAX_REASONS);
    Episode {
        rule: rule.name.clone(),
        severity: rule.severity,
        rule_severity: own.map(|own| own.severity).filter(|own| *own != rule.severity),
        runbook: rule.runbook.clone(),
        condition: rule.condition.in_words(),
        labels: alert.labels.clone(),
        fired: now,
        resolved: None,
        without_verdict: false,
        window,
        because,
        more,
    }
}

fn reason(rule: &Rule, group: &Labels, member: &Member) -> Option<Reason> {
    let (of, value, limit, n) = match (&rule.condition, member.last) {
        (Condition::Score { score, above, .. }, Reading::Score { value, threshold, noise, n }) => {
            (score, value, above.unwrap_or(threshold).max(noise), n)
        }
        (Condition::Sli { sli, below, .. }, Reading::Ratio { good, valid, .. }) => {
            (sli, good as f64 / valid.max(1) as f64, *below, valid)
        }
        (Condition::Budget { sli, objective, pace, .. }, Reading::Burn { long, .. }) => {
            let pairs = objective.pairs(*pace).into_iter().zip(long);
            let rates = pairs.filter_map(|(pair, long)| Some((objective.burn_rate(long)?, pair.rate, long.valid)));
            let (rate, limit, valid) = rates.max_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)))?;
            (sli, rate, limit, valid)
        }
        _ => return None,
    };
    let own = member.labels.iter().filter(|(name, _)| !group.contains_key(*name));
    let labels = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    Some(Reason { labels, score: of.clone(), value, limit, n })
}

fn as_time<S: serde::Serializer>(micros: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&times::rfc3339(*micros))
}

fn as_time_or_null<S: serde::Serializer>(micros: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
    micros.map(times::rfc3339).serialize(to)
}

fn as_span<S: serde::Serializer>((starts, ends): &(i64, i64), to: S) -> Result<S::Ok, S::Error> {
    [times::rfc3339(*starts), times::rfc3339(*ends)].serialize(to)
}
