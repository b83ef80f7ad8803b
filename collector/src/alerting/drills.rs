//! Drills: an alert that somebody made up, so that it is seen who would be told. From there on everything is real: the
//! episode, the outbox, the targets, and the end that each of them is told.
//!
//! No rule and no cause hears of a drill, nothing mutes it, and nothing counts it: it is in no alert's state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftline_alerts::{Action, Alert, DRILL_LABEL, Labels, Notification, Rule, Saying};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::watch;
use tracing::warn;

use super::book::Change;
use super::entries;
use super::evidence::{self, Context};
use super::news::News;
use crate::metrics::Metrics;
use crate::pipeline::events::{self, Event, EventKind};
use crate::store::{Store, StoreError};
use crate::times::{now_micros, second};

/// Drills that may run at one time. Each tells real people.
pub(crate) const MAX_RUNNING: i64 = 20;
/// What of an episode says that it is none.
pub(crate) const IS_REAL: &str = "NOT EXISTS (SELECT 1 FROM drills WHERE drills.episode = episodes.id)";
/// How often it is looked whether one is to end.
const INTERVAL: Duration = Duration::from_millis(500);
/// Who has not heard of the end so long after it has failed the drill. It is told all the same, for as long as ever.
const PATIENCE_MICROS: i64 = 600_000_000;

/// A drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drill {
    pub(crate) episode: String,
    pub(crate) rule: String,
    pub(crate) runbook: String,
    pub(crate) author: String,
    pub(crate) started_at: i64,
    /// When its end is told.
    pub(crate) resolve_at: i64,
    /// When it was over, and how it went; none as long as it runs.
    pub(crate) finished: Option<(i64, Outcome)>,
}

/// How a drill went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everybody took both its beginning and its end.
    Passed,
    /// Somebody did not.
    Failed,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

/// What became of the wish to begin one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Yes,
    /// There are [`MAX_RUNNING`].
    TooMany,
    /// One of this rule runs: its episode.
    Runs(String),
}

/// What is said of a made-up breach of a member with these labels, and the fingerprint that no real alert has; none for a
/// rule that nothing breaches. `limit` is that of a score whose rule names none.
pub(crate) fn made_up(
    rule: &Rule,
    member: &Labels,
    limit: f64,
    (by, resolve_at): (&str, i64),
    (public_url, now): (&str, i64),
) -> Option<(Notification, String)> {
    let (mut alert, transition) = Alert::drilled(rule, member, limit, now)?;
    let fingerprint = alert.fingerprint();
    // It is said below, and not as a part of what the alert is about.
    alert.labels.remove(DRILL_LABEL);
    let change = Change { rule: rule.clone(), alert, transition };
    let context = Context { window: None, history: &|_| Vec::new(), public_url, dashboard: None, now };
    let mut said = evidence::notification(&change, &context);
    said.drill = true;
    said.labels.insert(DRILL_LABEL.to_owned(), "true".to_owned());
    said.summary = format!("[DRILL] {}", said.summary);
    said.subject.clone_from(&said.summary);
    let ends = second(resolve_at);
    let word =
        format!("nothing is wrong: {by} made this up, to see whether it arrives. It ends by itself at {ends} UTC");
    said.facts.insert(0, ("Drill".to_owned(), word));
    Some((said, fingerprint))
}

/// Begins a drill, and tells these targets.
pub(crate) fn begin(
    db: &Connection,
    drill: &Drill,
    (said, fingerprint): (&Notification, &str),
    targets: Vec<String>,
) -> rusqlite::Result<Begun> {
    let running: Vec<(String, String)> = db
        .prepare_cached("SELECT rule, episode FROM drills WHERE finished_at IS NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if let Some((_, episode)) = running.iter().find(|(rule, _)| *rule == drill.rule) {
        return Ok(Begun::Runs(episode.clone()));
    }
    if running.len() as i64 >= MAX_RUNNING {
        return Ok(Begun::TooMany);
    }
    let Drill { episode, rule, runbook, author, started_at, resolve_at, .. } = drill;
    db.prepare_cached(
        "INSERT INTO drills (episode, rule, runbook, author, started_at, resolve_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![episode, rule, runbook, author, started_at, resolve_at])?;
    let (fingerprint, runbook) = (fingerprint.to_owned(), runbook.clone());
    News::Began { notification: Box::new(said.clone()), fingerprint, runbook, is_flapping: false }
        .store(db, *started_at)?;
    News::Said { episode: episode.clone(), saying: Saying::Trigger(targets), hearers: Vec::new(), current: None }
        .store(db, *started_at)?;
    events::store(db, &[event(said, &format!("{author} drills {rule}: {}", said.summary))], *started_at)?;
    Ok(Begun::Yes)
}

/// A drill by its episode.
pub(crate) fn one(db: &Connection, episode: &str) -> rusqlite::Result<Option<Drill>> {
    db.prepare_cached("SELECT * FROM drills WHERE episode = ?1")?.query_row([episode], read).optional()
}

/// When each runbook was drilled last and everybody was reached, by its id.
pub(crate) fn last_passed(db: &Connection) -> rusqlite::Result<BTreeMap<String, i64>> {
    db.prepare_cached("SELECT runbook, max(finished_at) FROM drills WHERE outcome = 'passed' GROUP BY runbook")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Drill> {
    let finished_at: Option<i64> = row.get("finished_at")?;
    let outcome: Option<String> = row.get("outcome")?;
    let outcome = if outcome.as_deref() == Some(Outcome::Passed.name()) { Outcome::Passed } else { Outcome::Failed };
    Ok(Drill {
        episode: row.get("episode")?,
        rule: row.get("rule")?,
        runbook: row.get("runbook")?,
        author: row.get("author")?,
        started_at: row.get("started_at")?,
        resolve_at: row.get("resolve_at")?,
        finished: finished_at.map(|at| (at, outcome)),
    })
}

fn event(said: &Notification, text: &str) -> Event {
    let model = said.labels.get("model").cloned().unwrap_or_default();
    Event { kind: EventKind::Drill, model, text: text.to_owned() }
}

/// Ends drills whose time has come, also those of before a restart, until told to stop.
pub(crate) async fn run(store: Store, metrics: Arc<Metrics>, mut stopping: watch::Receiver<bool>) {
    loop {
        if let Err(error) = go_on(&store, &metrics).await {
            warn!(%error, "drills cannot be ended; it is tried again");
        }
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn go_on(store: &Store, metrics: &Metrics) -> Result<(), StoreError> {
    let some_run = |db: &Connection| {
        db.query_row("SELECT EXISTS (SELECT 1 FROM drills WHERE finished_at IS NULL)", [], |row| row.get::<_, bool>(0))
    };
    if !store.read(some_run).await? {
        return Ok(());
    }
    for (rule, outcome) in store.writer.write(|db| step(db, now_micros())).await? {
        metrics.drills(&rule, outcome.name()).inc();
    }
    Ok(())
}

/// Tells the ends that are due, and says which drills are over.
fn step(db: &Connection, now: i64) -> rusqlite::Result<Vec<(String, Outcome)>> {
    let running: Vec<Drill> = db
        .prepare_cached("SELECT * FROM drills WHERE finished_at IS NULL AND resolve_at <= ?1")?
        .query_map([now], read)?
        .collect::<rusqlite::Result<_>>()?;
    let mut over = Vec::new();
    for drill in running {
        end(db, &drill.episode, now)?;
        let (waiting, missing) = left(db, &drill.episode)?;
        if waiting && now < drill.resolve_at + PATIENCE_MICROS {
            continue;
        }
        let outcome = if waiting || missing { Outcome::Failed } else { Outcome::Passed };
        db.prepare_cached("UPDATE drills SET finished_at = ?2, outcome = ?3 WHERE episode = ?1")?.execute(params![
            drill.episode,
            now,
            outcome.name()
        ])?;
        if let Some(said) = entries::triggered(db, &drill.episode)? {
            let text = format!("the drill of {} has {}", drill.rule, outcome.name());
            events::store(db, &[event(&said, &text)], now)?;
        }
        over.push((drill.rule, outcome));
    }
    Ok(over)
}

/// Tells the end, if that was not done before.
fn end(db: &Connection, episode: &str, now: i64) -> rusqlite::Result<()> {
    let is_open: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM episodes WHERE id = ?1 AND resolved_at IS NULL)")?
        .query_row([episode], |row| row.get(0))?;
    let Some(said) = entries::triggered(db, episode)?.filter(|_| is_open) else { return Ok(()) };
    let notification = Box::new(Notification { action: Action::Resolve, resolved_at: Some(now), ..said });
    News::Ended { notification }.store(db, now)
}

/// Whether somebody is still to be told, and whether somebody did not take the beginning or the end, and be it one of several
/// mailboxes.
fn left(db: &Connection, episode: &str) -> rusqlite::Result<(bool, bool)> {
    let (waiting, triggers, taken): (u64, u64, u64) = db
        .prepare_cached(
            "SELECT coalesce(sum(state = 'pending'), 0), coalesce(sum(action = ?2), 0),
                    coalesce(sum(state = 'delivered' AND last_error IS NULL), 0)
             FROM outbox WHERE episode = ?1 AND action IN (?2, ?3)",
        )?
        .query_row(params![episode, Action::Trigger.name(), Action::Resolve.name()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok((waiting > 0, taken < 2 * triggers))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const SECOND: i64 = 1_000_000;

    fn rules() -> Vec<Rule> {
        Config::parse("", "", Path::new("")).unwrap().alerting.rules
    }

    fn begun(db: &Connection, rule: &Rule, targets: &[&str]) -> (Drill, Begun) {
        let member = [("model", "m"), ("column", "temp"), ("target", "t"), ("reaction", "r")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (said, fingerprint) = made_up(rule, &member.into(), 0.2, ("ada", 9 * SECOND), ("http://d", 1)).unwrap();
        let drill = Drill {
            episode: said.episode.clone(),
            rule: rule.name.clone(),
            runbook: rule.runbook.clone(),
            author: "ada".into(),
            started_at: 1,
            resolve_at: 9 * SECOND,
            finished: None,
        };
        let targets = targets.iter().map(|name| (*name).to_owned()).collect();
        let begun = begin(db, &drill, (&said, &fingerprint), targets).unwrap();
        (drill, begun)
    }

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    fn settle(db: &Connection, target: &str, action: &str, state: &str) {
        let settled = "UPDATE outbox SET state = ?3 WHERE target = ?1 AND action = ?2";
        assert_eq!(db.execute(settled, [target, action, state]).unwrap(), 1);
    }

    #[test]
    fn every_shipped_rule_can_be_drilled_and_says_that_it_is_a_drill() {
        for rule in rules() {
            let db = database();
            let (drill, begun) = begun(&db, &rule, &["a"]);
            assert_eq!(begun, Begun::Yes, "{}", rule.name);
            let said = entries::triggered(&db, &drill.episode).unwrap().unwrap();
            assert!(said.summary.starts_with("[DRILL] ") && said.subject == said.summary, "{}", said.summary);
            assert_eq!((said.drill, said.labels["drill"].as_str()), (true, "true"));
            assert!(said.facts[0].1.starts_with("nothing is wrong: ada made this up"), "{:?}", said.facts);
            let real: i64 =
                db.query_row(&format!("SELECT count(*) FROM episodes WHERE {IS_REAL}"), [], |row| row.get(0)).unwrap();
            assert_eq!(real, 0);
        }
    }

    #[test]
    fn it_ends_in_time_and_passes_when_everybody_has_taken_both() {
        let (db, rule) = (database(), &rules()[0]);
        let (drill, _) = begun(&db, rule, &["a", "b"]);
        assert_eq!(step(&db, 9 * SECOND - 1).unwrap(), []);
        settle(&db, "a", "trigger", "delivered");
        assert_eq!(step(&db, 9 * SECOND).unwrap(), [], "its end is told now");
        assert_eq!(step(&db, 10 * SECOND).unwrap(), [], "and only once");
        settle(&db, "a", "resolve", "delivered");
        settle(&db, "b", "trigger", "delivered");
        assert_eq!(step(&db, 10 * SECOND).unwrap(), [], "b has not heard of the end");
        settle(&db, "b", "resolve", "delivered");
        assert!(last_passed(&db).unwrap().is_empty());
        assert_eq!(step(&db, 11 * SECOND).unwrap(), [(rule.name.clone(), Outcome::Passed)]);
        assert_eq!(last_passed(&db).unwrap(), BTreeMap::from([(rule.runbook.clone(), 11 * SECOND)]));
        assert_eq!(one(&db, &drill.episode).unwrap().unwrap().finished, Some((11 * SECOND, Outcome::Passed)));
    }

    #[test]
    fn it_fails_when_somebody_refuses_it_or_cannot_be_reached_for_long() {
        for (state, at) in [("given_up", 9 * SECOND), ("pending", 9 * SECOND + PATIENCE_MICROS)] {
            let (db, rule) = (database(), &rules()[0]);
            begun(&db, rule, &["a"]);
            settle(&db, "a", "trigger", state);
            assert_eq!(step(&db, at).unwrap(), [(rule.name.clone(), Outcome::Failed)], "{state}");
            assert!(last_passed(&db).unwrap().is_empty());
        }
    }

    #[test]
    fn one_of_a_rule_runs_at_a_time_and_so_many_in_all() {
        let db = database();
        let mut rule = rules()[0].clone();
        let (first, _) = begun(&db, &rule, &["a"]);
        assert_eq!(begun(&db, &rule, &["a"]).1, Begun::Runs(first.episode));
        for number in 1..MAX_RUNNING {
            rule.name = format!("R{number}");
            assert_eq!(begun(&db, &rule, &["a"]).1, Begun::Yes);
        }
        rule.name = "More".into();
        assert_eq!(begun(&db, &rule, &["a"]).1, Begun::TooMany);
    }
}
