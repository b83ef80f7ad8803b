//! The alerts of all rules, and what changed in them.

use std::collections::{BTreeMap, BTreeSet};

use driftline_alerts::{
    Alert, Labels, Member, Micros, Notification, Observation, Open, Patience, Phase, Reach, Reading, Routes, Rule,
    Transition,
};
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::Value;
use tracing::error;

use super::drills::IS_REAL;

/// Alerts that one rule may have. Past it, new groups are not alerted on; their number is bounded by models anyway.
const MAX_ALERTS_PER_RULE: usize = 1000;

/// Every rule's alerts.
#[derive(Debug)]
pub(crate) struct Book {
    rules: Vec<Rule>,
    /// By which alerts may be more or less urgent than their rules say.
    routes: Routes,
    /// What alerts can have hurt, for as causes they explain no more than that.
    reach: Reach,
    /// By the rule's index and the grouping labels.
    alerts: BTreeMap<(usize, Labels), Alert>,
    changed: Vec<(usize, Labels)>,
    /// Observations that no alert took in, since this was last asked.
    refused: u64,
}

/// A change, with what is needed to tell somebody.
#[derive(Debug)]
pub(crate) struct Change {
    /// As urgent as the episode is.
    pub(crate) rule: Rule,
    pub(crate) alert: Alert,
    pub(crate) transition: Transition,
}

/// An episode that is open, and that no rule will end: its rule is gone, or its alert cannot be read.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) fingerprint: String,
    pub(crate) rule: String,
    pub(crate) labels: Labels,
    pub(crate) episode: String,
    pub(crate) since: Micros,
    /// What was said when it began, if that can be read.
    pub(crate) triggered: Option<Notification>,
    /// The alert as it is to be stored once it is resolved; none when it cannot be read.
    pub(crate) resolved: Option<Alert>,
}

impl Book {
    /// The rules, of which nothing was observed yet.
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let (routes, reach) = (Routes::default(), Reach::EVERYTHING);
        Self { rules, routes, reach, alerts: BTreeMap::new(), changed: Vec::new(), refused: 0 }
    }

    /// With routes that say how urgent what begins is.
    pub(crate) fn routed_by(self, routes: Routes) -> Self {
        Self { routes, ..self }
    }

    /// With what is known of what alerts can have hurt.
    pub(crate) fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// The rules, and the alerts as they were stored; and the open episodes that none of them will end.
    pub(crate) fn load(
        db: &Connection,
        rules: Vec<Rule>,
        is_looked_at: &dyn Fn(&Rule, &Labels) -> bool,
    ) -> rusqlite::Result<(Self, Vec<Orphan>)> {
        let mut statement = db.prepare("SELECT fingerprint, rule, state FROM alerts")?;
        let stored = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let mut alerts = BTreeMap::new();
        let mut changed = Vec::new();
        // Firing alerts without a rule, by their episodes.
        let mut ruleless: BTreeMap<String, Alert> = BTreeMap::new();
        for stored in stored {
            let (fingerprint, rule, state): (String, String, String) = stored?;
            let Some(mut alert) = read(&state) else {
                error!(
                    fingerprint,
                    rule, "a stored alert cannot be read; it begins again, and what it told is resolved"
                );
                continue;
            };
            let fits = |rule: &Rule| {
                rule.name == alert.rule
                    && rule.group_by.iter().collect::<std::collections::BTreeSet<_>>() == alert.labels.keys().collect()
            };
            let mut index = rules.iter().position(fits);
            if let Some(of) = index {
                let (before, was_over) = (alert.members.len(), alert.over().next().is_some());
                alert.members.retain(|_, member| is_looked_at(&rules[of], &member.labels));
                match before - alert.members.len() {
                    0 => {}
                    // Nobody looks any more at what it fires on, so nobody would end it.
                    _ if alert.members.is_empty() || was_over && alert.over().next().is_none() => index = None,
                    _ => changed.push((of, alert.labels.clone())),
                }
            }
            match (index, &alert.phase) {
                (Some(index), _) => {
                    alerts.insert((index, alert.labels.clone()), alert);
                }
                (None, Phase::Firing(open)) => {
                    ruleless.insert(open.episode.clone(), alert);
                }
                (None, Phase::Inactive | Phase::Pending { .. }) => {}
            }
        }
        let book = Self { alerts, changed, ..Self::new(rules) };
        let orphans = orphans(db, &book, ruleless)?;
        Ok((book, orphans))
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Takes in what was observed of scores at one time, and says which alerts began or ended.
    pub(crate) fn observe_scores(
        &mut self,
        observations: &[Observation],
        now: Micros,
        patience: impl Into<Patience>,
    ) -> Vec<Change> {
        let patience = patience.into();
        let of_windows = |index: &usize| self.rules[*index].condition.is_of_windows();
        let indices: Vec<usize> = (0..self.rules.len()).filter(of_windows).collect();
        indices.into_iter().flat_map(|index| self.observe(index, observations, now, patience)).collect()
    }

    /// Takes in what one rule, by its index, observed at one time.
    pub(crate) fn observe(
        &mut self,
        index: usize,
        observations: &[Observation],
        now: Micros,
        patience: impl Into<Patience>,
    ) -> Vec<Change> {
        let patience = patience.into();
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
                self.refused += observations.len() as u64;
                continue;
            }
            let alert = self.alerts.entry(key.clone()).or_insert_with(|| Alert::new(rule, key.1.clone()));
            let before = alert.clone();
            let transition = alert.observe(rule, &observations, now, patience);
            if let Some(Transition::Fired { .. }) = transition {
                grade(alert, rule, &self.routes, now);
            }
            self.refused += alert.ignored;
            if *alert != before {
                self.changed.push(key);
            }
            if let Some(transition) = transition {
                // What ends is as urgent as it was.
                let severity = if alert.open().is_some() { alert.severity(rule) } else { before.severity(rule) };
                let rule = Rule { severity, ..rule.clone() };
                changes.push(Change { rule, alert: alert.clone(), transition });
            }
        }
        changes
    }

    /// How many observations no alert took in, since this was last asked.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Alerts that fire now, by rule and severity.
    pub(crate) fn firing(&self) -> impl Iterator<Item = (&Rule, &Alert)> {
        self.alerts
            .iter()
            .filter(|(_, alert)| alert.open().is_some())
            .map(|((index, _), alert)| (&self.rules[*index], alert))
    }

    /// What alerts can have hurt.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Alerts that fire now, or did once: whatever may explain others.
    pub(super) fn causes(&self) -> impl Iterator<Item = (&Rule, &Alert)> {
        self.alerts
            .iter()
            .filter(|(_, alert)| alert.open().is_some() || alert.ended.is_some())
            .map(|((index, _), alert)| (&self.rules[*index], alert))
    }

    /// Goes through the episodes that are open, in the order of [`Self::firing`] and with their place in it; `change` says
    /// whether it changed one.
    pub(super) fn for_each_open(&mut self, mut change: impl FnMut(&Rule, &mut Open, usize) -> bool) {
        let open = self.alerts.iter_mut().filter_map(|(key, alert)| Some((key, alert.open_mut()?)));
        for (place, (key, open)) in open.enumerate() {
            if change(&self.rules[key.0], open, place) {
                self.changed.push(key.clone());
            }
        }
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

/// Notes how urgent routes make an alert that begins, where that is not what its rule says.
fn grade(alert: &mut Alert, rule: &Rule, routes: &Routes, now: Micros) {
    let severity = routes.severity_of(rule, &alert.common_labels(), now);
    if let Some(open) = alert.open_mut() {
        open.severity = (severity != rule.severity).then_some(severity);
    }
}

/// Reads an alert. Of one that is damaged, the members that cannot be read lose their last reading, or are left out.
fn read(state: &str) -> Option<Alert> {
    let error = match serde_json::from_str(state) {
        Ok(alert) => return Some(alert),
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_str(state).ok()?;
    if let Some(members) = value.get_mut("members").and_then(Value::as_object_mut) {
        members.retain(|_, member| {
            let is_readable = |member: &Value| Member::deserialize(member).is_ok();
            is_readable(member) || {
                member["last"] = serde_json::json!(Reading::NotEnoughData);
                is_readable(member)
            }
        });
    }
    let alert: Alert = serde_json::from_value(value).ok()?;
    error!(rule = alert.rule, labels = ?alert.labels, %error, "a stored alert is damaged; what can be read of it is kept");
    Some(alert)
}

/// Open episodes that no alert of the book fires.
fn orphans(db: &Connection, book: &Book, mut ruleless: BTreeMap<String, Alert>) -> rusqlite::Result<Vec<Orphan>> {
    let firing: BTreeSet<&str> = book.firing().filter_map(|(_, alert)| Some(alert.open()?.episode.as_str())).collect();
    let mut statement = db.prepare(&format!(
        "SELECT id, fingerprint, rule, started_at, notification FROM episodes
         WHERE resolved_at IS NULL AND {IS_REAL} ORDER BY started_at"
    ))?;
    let mut rows = statement.query([])?;
    let mut orphans = Vec::new();
    while let Some(row) = rows.next()? {
        let episode: String = row.get(0)?;
        if firing.contains(episode.as_str()) {
            continue;
        }
        let triggered: Option<Notification> = serde_json::from_str(&row.get::<_, String>(4)?).ok();
        let resolved = ruleless.remove(&episode).map(|alert| Alert { phase: Phase::Inactive, ..alert });
        let labels = resolved.as_ref().map(|alert| &alert.labels).or(triggered.as_ref().map(|said| &said.labels));
        orphans.push(Orphan {
            fingerprint: row.get(1)?,
            rule: row.get(2)?,
            labels: labels.cloned().unwrap_or_default(),
            episode,
            since: row.get(3)?,
            triggered,
            resolved,
        });
    }
    Ok(orphans)
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

#[cfg(test)]
mod tests {
    use driftline_alerts::{Condition, KofM, Severity};

    use super::*;

    const DAY: Micros = 86_400_000_000;

    fn rule() -> Rule {
        Rule {
            name: "R".into(),
            severity: Severity::Page,
            runbook: "feature-drift".into(),
            condition: Condition::Score {
                score: "psi".into(),
                matching: Labels::new(),
                above: None,
                windows: KofM { k: 1, m: 1 },
            },
            group_by: vec!["model".into()],
            targets: vec!["a".into()],
            repeat: None,
            escalate: vec![],
            explained_by: vec![],
            recovery: driftline_alerts::Recovery::default(),
            wording: driftline_alerts::Wording::default(),
        }
    }

    fn observation(column: &str, value: f64) -> Observation {
        let labels = [("model", "m"), ("column", column)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let reading = Reading::Score { value, threshold: 0.2, noise: 0.0, n: 9 };
        Observation { name: "psi".into(), labels: labels.into(), reading }
    }

    /// A database in which the rule's alert fires, its state changed by `damage`.
    fn firing(damage: impl FnOnce(String) -> String) -> (Connection, String) {
        let db = crate::store::in_memory().unwrap();
        let (mut book, orphans) = Book::load(&db, vec![rule()], &|_, _| true).unwrap();
        assert!(orphans.is_empty());
        let changes = book.observe(0, &[observation("x", 0.9), observation("y", 0.9)], 1, DAY);
        let Transition::Fired { episode } = &changes[0].transition else { panic!("{changes:?}") };
        let (fingerprint, rule, state) = book.take_changed().remove(0);
        store(&db, &[(fingerprint.clone(), rule, damage(state))], 1).unwrap();
        db.execute(
            "INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification)
             VALUES (?1, ?2, 'R', 'page', 'r', 1, 'unreadable')",
            params![episode, fingerprint],
        )
        .unwrap();
        (db, episode.clone())
    }

    #[test]
    fn what_is_looked_at_no_more_is_let_go_and_ends_what_fires_on_it_alone() {
        let load = |gone: &[&str]| {
            let (db, episode) = firing(|state| state);
            let is_looked_at = |_: &Rule, labels: &Labels| !gone.contains(&labels["column"].as_str());
            let (mut book, orphans) = Book::load(&db, vec![rule()], &is_looked_at).unwrap();
            let changed = book.take_changed().len();
            (book, orphans.into_iter().map(|orphan| orphan.episode == episode).collect::<Vec<_>>(), changed)
        };
        let (mut book, orphans, changed) = load(&["x"]);
        assert_eq!((orphans, changed, book.firing().count()), (vec![], 1, 1), "y still fires");
        let changes = book.observe(0, &[observation("y", 0.0)], 2, DAY);
        assert!(matches!(&changes[0].transition, Transition::Resolved { .. }), "{changes:?}");
        let (book, orphans, _) = load(&["x", "y"]);
        assert_eq!((orphans, book.firing().count()), (vec![true], 0));
        let (book, orphans, changed) = load(&[]);
        assert_eq!((orphans, changed, book.firing().count()), (vec![], 0, 1));
    }

    #[test]
    fn a_damaged_alert_goes_on_firing_and_resolves() {
        // What is no number was stored as null.
        let (db, episode) = firing(|state| state.replacen("\"value\":0.9", "\"value\":null", 1));
        let (mut book, orphans) = Book::load(&db, vec![rule()], &|_, _| true).unwrap();
        assert!(orphans.is_empty());
        assert_eq!(book.firing().count(), 1);
        assert!(book.observe(0, &[observation("y", 0.0)], 2, DAY).is_empty(), "the damaged member is still over");
        let changes = book.observe(0, &[observation("x", 0.0)], 3, DAY);
        assert!(matches!(&changes[0].transition, Transition::Resolved { episode: ended, .. } if *ended == episode));
    }

    #[test]
    fn an_episode_whose_alert_or_rule_is_gone_is_an_orphan_and_not_lost() {
        let (db, episode) = firing(|_| "gone".to_owned());
        let (_, orphans) = Book::load(&db, vec![rule()], &|_, _| true).unwrap();
        assert_eq!((orphans.len(), &orphans[0].episode), (1, &episode));
        assert_eq!(orphans[0].resolved, None);
        let (db, episode) = firing(|state| state);
        let (_, orphans) = Book::load(&db, Vec::new(), &|_, _| true).unwrap();
        assert_eq!((orphans.len(), &orphans[0].episode), (1, &episode));
        assert_eq!(orphans[0].resolved.as_ref().unwrap().phase, Phase::Inactive);
        assert_eq!(orphans[0].labels["model"], "m");
    }
}
