//! The alerts of all rules, and what changed in them.

use std::collections::BTreeMap;

use driftline_alerts::{Alert, Condition, Labels, Micros, Observation, Phase, Rule, Transition};
use rusqlite::{Connection, params};

/// Alerts that one rule may have. Past it, new groups are not alerted on; their number is bounded by models anyway.
const MAX_ALERTS_PER_RULE: usize = 1000;

/// Every rule's alerts.
#[derive(Debug)]
pub(crate) struct Book {
    rules: Vec<Rule>,
    /// By the rule's index and the grouping labels.
    alerts: BTreeMap<(usize, Labels), Alert>,
    changed: Vec<(usize, Labels)>,
}

/// A change, with what is needed to tell somebody.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) rule: Rule,
    pub(crate) alert: Alert,
    pub(crate) transition: Transition,
}

impl Book {
    /// The rules, and the alerts as they were stored. Alerts of rules that are gone are returned, to be resolved.
    pub(crate) fn load(db: &Connection, rules: Vec<Rule>) -> rusqlite::Result<(Self, Vec<Alert>)> {
        let mut statement = db.prepare("SELECT state FROM alerts")?;
        let states = statement.query_map([], |row| row.get::<_, String>(0))?;
        let (mut alerts, mut orphans) = (BTreeMap::new(), Vec::new());
        for state in states {
            let Ok(alert) = serde_json::from_str::<Alert>(&state?) else { continue };
            let fits = |rule: &Rule| {
                rule.name == alert.rule
                    && rule.group_by.iter().collect::<std::collections::BTreeSet<_>>() == alert.labels.keys().collect()
            };
            match rules.iter().position(fits) {
                Some(index) => {
                    alerts.insert((index, alert.labels.clone()), alert);
                }
                None => orphans.push(alert),
            }
        }
        Ok((Self { rules, alerts, changed: Vec::new() }, orphans))
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Takes in what was observed of scores at one time, and says which alerts began or ended.
    pub(crate) fn observe_scores(&mut self, observations: &[Observation], now: Micros) -> Vec<Change> {
        let scores = |rule: &Rule| matches!(rule.condition, Condition::Score { .. });
        let indices: Vec<usize> = (0..self.rules.len()).filter(|index| scores(&self.rules[*index])).collect();
        indices.into_iter().flat_map(|index| self.observe(index, observations, now)).collect()
    }

    /// Takes in what one rule, by its index, observed at one time.
    pub(crate) fn observe(&mut self, index: usize, observations: &[Observation], now: Micros) -> Vec<Change> {
        let rule = &self.rules[index];
        let mut groups: BTreeMap<Labels, Vec<Observation>> = BTreeMap::new();
        for observation in observations {
            if rule.condition.matches(&observation.name, &observation.labels)
                && let Some(group) = Alert::group(rule, &observation.labels)
            {
                groups.entry(group).or_default().push(observation.clone());
            }
        }
        let mut changes = Vec::new();
        for (group, observations) in groups {
            let key = (index, group);
            let of_rule = self.alerts.range((index, Labels::new())..(index + 1, Labels::new())).count();
            if !self.alerts.contains_key(&key) && of_rule >= MAX_ALERTS_PER_RULE {
                continue;
            }
            let alert = self.alerts.entry(key.clone()).or_insert_with(|| Alert::new(rule, key.1.clone()));
            let before = alert.clone();
            let transition = alert.observe(rule, &observations, now);
            if *alert != before {
                self.changed.push(key);
            }
            if let Some(transition) = transition {
                changes.push(Change { rule: rule.clone(), alert: alert.clone(), transition });
            }
        }
        changes
    }

    /// Alerts that fire now, by rule and severity.
    pub(crate) fn firing(&self) -> impl Iterator<Item = (&Rule, &Alert)> {
        self.alerts
            .iter()
            .filter(|(_, alert)| matches!(alert.phase, Phase::Firing { .. }))
            .map(|((index, _), alert)| (&self.rules[*index], alert))
    }

    /// Alerts that changed since this was last asked, as fingerprint, rule and state to store.
    pub(crate) fn take_changed(&mut self) -> Vec<(String, String, String)> {
        self.changed.sort();
        self.changed.dedup();
        let alerts = &self.alerts;
        self.changed
            .drain(..)
            .filter_map(|key| {
                let alert = alerts.get(&key)?;
                Some((alert.fingerprint(), alert.rule.clone(), serde_json::to_string(alert).ok()?))
            })
            .collect()
    }
}

/// Stores alerts that changed.
pub(crate) fn store(db: &Connection, changed: &[(String, String, String)], now: Micros) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO alerts (fingerprint, rule, state, updated_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (fingerprint) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
    )?;
    for (fingerprint, rule, state) in changed {
        statement.execute(params![fingerprint, rule, state, now])?;
    }
    Ok(())
}
