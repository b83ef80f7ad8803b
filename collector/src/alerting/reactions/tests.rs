use std::path::Path;

use driftline_alerts::{
    Action, Alert, Beginning, Labels, Mute, Notification, Observation, Reading, Rule, Saying, Transition,
};

use super::starting::Conclusion;
use super::stored::{State, Word};
use super::*;
use crate::alerting::book::{self, Orphan};
use crate::alerting::news::News;
use crate::alerting::{change_events, changes, evidence};

const HOUR: i64 = 3_600_000_000;

const REACTION: &str = "alerts:
  targets: {team: {webhook: {url: {env: HOOK}}}}
  reactions:
    retrain:
      when: {rule: FeatureDrift, model: fl*, column: temp}
      webhook: {url: {env: HOOK}}
";

/// A database, and a configuration with one reaction.
fn fixture() -> (rusqlite::Connection, Config) {
    let db = crate::store::in_memory().unwrap();
    (db, Config::parse("d.yaml", REACTION, Path::new("/")).unwrap())
}

/// Opens an episode of a rule for a column of a model, and gives its id.
fn open(db: &rusqlite::Connection, config: &Config, rule: &str, [model, column]: [&str; 2], now: i64) -> String {
    let rule: &Rule = config.alerting.rules.iter().find(|one| one.name == rule).unwrap();
    let labels: Labels = [("model", model), ("column", column), ("role", "feature")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut alert = Alert::new(rule, Alert::group(rule, &labels).unwrap());
    let reading = Reading::Score { value: 0.9, threshold: 0.2, noise: 0.0, n: 1000 };
    let name = if rule.name == "MissingValues" { "missing_share" } else { "psi" };
    let observed = [Observation { name: name.to_owned(), labels, reading }];
    alert.observe(rule, &observed, now - 1, i64::MAX);
    let fired = alert.observe(rule, &observed, now, i64::MAX);
    let Some(Transition::Fired { episode }) = fired else { panic!("{fired:?}") };
    let state = serde_json::to_string(&alert).unwrap();
    book::store(db, &[(alert.fingerprint(), rule.name.clone(), state)], now).unwrap();
    let orphan = Orphan {
        fingerprint: alert.fingerprint(),
        rule: rule.name.clone(),
        labels: alert.labels.clone(),
        episode: episode.clone(),
        since: now,
        triggered: None,
        resolved: None,
    };
    let notification = evidence::orphaned(&orphan, "http://driftline", now);
    let notification = Notification { action: Action::Trigger, resolved_at: None, ..notification };
    let began = News::Began {
        notification: Box::new(notification),
        fingerprint: alert.fingerprint(),
        runbook: "feature-drift".to_owned(),
        is_flapping: false,
    };
    began.store(db, now).unwrap();
    episode
}

fn end(db: &rusqlite::Connection, episode: &str, now: i64) {
    db.execute("UPDATE episodes SET resolved_at = ?2 WHERE id = ?1", rusqlite::params![episode, now]).unwrap();
}

fn decide(db: &rusqlite::Connection, config: &Config, now: i64) -> Vec<&'static str> {
    deciding::decide(db, &config.alerting.reactions[0].reaction, config, now).unwrap()
}

fn state(db: &rusqlite::Connection, episode: &str) -> Option<State> {
    stored::one(db, &format!("retrain.{episode}")).unwrap().and_then(|stored| stored.state)
}

fn approve(db: &rusqlite::Connection, episode: &str, now: i64) {
    let word = Word { by: "ada".to_owned(), note: String::new(), at: now };
    stored::decided(db, &format!("retrain.{episode}"), true, &word).unwrap();
}

#[test]
fn drift_that_persists_is_asked_for_once_and_started_once() {
    let (db, config) = fixture();
    let episode = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    open(&db, &config, "FeatureDrift", ["fleet", "dewp"], 0);
    open(&db, &config, "FeatureDrift", ["taxis", "temp"], 0);
    assert!(decide(&db, &config, 5 * HOUR).is_empty());
    assert_eq!(decide(&db, &config, 6 * HOUR), ["asked"], "of the column and the model that are meant");
    assert!(decide(&db, &config, 7 * HOUR).is_empty());
    let questions = stored::questions(&db, &episode).unwrap();
    assert!(questions[0].0.ends_with("retrain") && questions[0].1.contains("on the alert's page"), "{questions:?}");
    approve(&db, &episode, 8 * HOUR);
    assert_eq!(decide(&db, &config, 8 * HOUR), ["begun"]);
    assert!(decide(&db, &config, 9 * HOUR).is_empty());
    assert_eq!(state(&db, &episode), Some(State::Starting));
    assert!(stored::questions(&db, &episode).unwrap().is_empty());
    let lines: i64 = db.query_row("SELECT count(*) FROM events WHERE kind = 'reaction'", [], |row| row.get(0)).unwrap();
    assert_eq!(lines, 2);
}

#[test]
fn who_was_told_of_the_alert_is_asked_and_nobody_else() {
    let (db, config) = fixture();
    let told = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    let said =
        |episode: &str, saying| News::Said { episode: episode.to_owned(), saying, hearers: Vec::new(), current: None };
    said(&told, Saying::Trigger(vec!["team".to_owned()])).store(&db, 0).unwrap();
    // One is due already, and would say nothing of what is asked.
    let waits =
        News::Said { episode: told.clone(), saying: Saying::Remind, hearers: vec!["team".to_owned()], current: None };
    waits.store(&db, HOUR).unwrap();
    decide(&db, &config, 6 * HOUR);
    let untold = open(&db, &config, "FeatureDrift", ["fleet", "temp"], 0);
    assert_eq!(decide(&db, &config, 6 * HOUR), ["asked"], "of another model");
    let sent: Vec<(String, String)> = db
        .prepare("SELECT episode, notification FROM outbox WHERE action = 'remind'")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let [(episode, text)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((episode, state(&db, &untold)), (&told, Some(State::Asked)));
    let reminder: Notification = serde_json::from_str(text).unwrap();
    assert!(reminder.facts.iter().any(|(name, _)| name == "Waits for approval: retrain"), "{:?}", reminder.facts);
}

#[test]
fn wrong_data_of_the_same_model_holds_it_back_even_after_it_was_approved() {
    let (db, config) = fixture();
    let episode = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    let other = open(&db, &config, "MissingValues", ["taxis", "temp"], 0);
    assert_eq!(decide(&db, &config, 6 * HOUR), ["asked"], "another model's data is its own matter");
    approve(&db, &episode, 7 * HOUR);
    let wrong = open(&db, &config, "MissingValues", ["flights", "dewp"], 7 * HOUR);
    assert!(decide(&db, &config, 8 * HOUR).is_empty());
    end(&db, &other, 8 * HOUR);
    assert!(decide(&db, &config, 8 * HOUR).is_empty());
    end(&db, &wrong, 9 * HOUR);
    assert_eq!(decide(&db, &config, 9 * HOUR), ["begun"]);
}

#[test]
fn what_is_muted_is_not_asked_for_and_what_ends_is_not_asked_for_any_more() {
    let (db, config) = fixture();
    let episode = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    let muted = |by: Vec<Mute>| News::Muted { episode: episode.clone(), by, current: None }.store(&db, HOUR).unwrap();
    muted(vec![Mute::Silence("s".to_owned())]);
    assert!(decide(&db, &config, 6 * HOUR).is_empty());
    muted(Vec::new());
    assert_eq!(decide(&db, &config, 6 * HOUR), ["asked"]);
    end(&db, &episode, 7 * HOUR);
    assert_eq!(decide(&db, &config, 7 * HOUR), ["lapsed"]);
    assert_eq!(state(&db, &episode), Some(State::Lapsed));
}

#[test]
fn the_next_episode_waits_for_the_cooldown_also_when_nobody_knows_whether_the_last_was_started() {
    let (db, config) = fixture();
    let first = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    decide(&db, &config, 6 * HOUR);
    approve(&db, &first, 6 * HOUR);
    decide(&db, &config, 6 * HOUR);
    let id = format!("retrain.{first}");
    stored::attempt(&db, &id, 7 * HOUR).unwrap();
    stored::settle(&db, &id, (State::Unknown, false), (Some("no answer"), None), 7 * HOUR).unwrap();
    end(&db, &first, 8 * HOUR);
    open(&db, &config, "FeatureDrift", ["flights", "temp"], 9 * HOUR);
    assert!(decide(&db, &config, 31 * HOUR - 1).is_empty());
    assert_eq!(decide(&db, &config, 31 * HOUR), ["asked"]);
    let refused = (State::Failed, true);
    stored::settle(&db, &id, refused, (Some("no such DAG"), None), 7 * HOUR).unwrap();
    assert_eq!(stored::one(&db, &id).unwrap().unwrap().started_at, None, "what was refused is no start");
}

#[test]
fn a_drill_neither_starts_anything_nor_makes_data_wrong() {
    let (db, config) = fixture();
    let made_up = |episode: &str| {
        let drill =
            "INSERT INTO drills (episode, rule, runbook, author, started_at, resolve_at) VALUES (?1, '', '', '', 0, 9)";
        db.execute(drill, [episode]).unwrap();
    };
    made_up(&open(&db, &config, "FeatureDrift", ["fleet", "temp"], 0));
    made_up(&open(&db, &config, "MissingValues", ["flights", "dewp"], 0));
    let episode = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    assert_eq!(decide(&db, &config, 6 * HOUR), ["asked"]);
    assert_eq!(state(&db, &episode), Some(State::Asked));
}

#[test]
fn a_reaction_that_is_not_configured_any_more_waits_for_nobody() {
    let (db, config) = fixture();
    let episode = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    decide(&db, &config, 6 * HOUR);
    stored::drop_unconfigured(&db, &["retrain".to_owned()], 7 * HOUR).unwrap();
    assert_eq!(state(&db, &episode), Some(State::Asked));
    stored::drop_unconfigured(&db, &[], 7 * HOUR).unwrap();
    assert_eq!(state(&db, &episode), Some(State::Lapsed));
}

#[test]
fn the_timeline_says_who_approved_what_was_started_and_what_the_job_reported() {
    let (db, config) = fixture();
    let episode = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    let id = format!("retrain.{episode}");
    decide(&db, &config, 6 * HOUR);
    approve(&db, &episode, 7 * HOUR);
    decide(&db, &config, 7 * HOUR);
    stored::settle(&db, &id, (State::Unknown, false), (Some("no answer"), None), 8 * HOUR).unwrap();
    let word = Word { by: "succeeded".to_owned(), note: "v43".to_owned(), at: 9 * HOUR };
    stored::reported(&db, &id, &word).unwrap();
    assert_eq!(state(&db, &episode), Some(State::Started), "a job that reports was started");
    let said = stored::timeline(&db, &episode).unwrap();
    let said: Vec<(i64, &str)> = said.iter().map(|(at, text)| (at / HOUR, text.as_str())).collect();
    assert_eq!(
        said,
        [
            (6, "retrain: somebody was asked to approve"),
            (7, "retrain: approved by ada"),
            (8, "retrain: started"),
            (9, "retrain: the job reports 'succeeded': v43"),
        ]
    );
}

#[test]
fn what_was_started_or_may_have_been_is_a_change_of_its_model() {
    let (db, config) = fixture();
    let told = "alerts: {targets: {pd: {pagerduty: {routing_key: {env: K}, changes: {kinds: [reaction]}}}}}";
    let told = Config::parse("d.yaml", told, Path::new("/")).unwrap();
    let tell = || {
        let told = told.alerting.targets["pd"].kind.changes().unwrap();
        change_events::put(&db, "pd", told, "http://d", 0).unwrap();
        let waiting = "SELECT json_extract(notification, '$.summary') FROM outbox WHERE target = 'pd' ORDER BY id";
        let mut waiting = db.prepare(waiting).unwrap();
        let summaries = waiting.query_map([], |row| row.get(0)).unwrap();
        summaries.collect::<rusqlite::Result<Vec<String>>>().unwrap()
    };
    assert!(tell().is_empty());
    let episode = open(&db, &config, "FeatureDrift", ["flights", "temp"], 0);
    decide(&db, &config, 6 * HOUR);
    approve(&db, &episode, 7 * HOUR);
    decide(&db, &config, 7 * HOUR);
    let due = stored::one(&db, &format!("retrain.{episode}")).unwrap().unwrap();
    let before = |model: &str| changes::last_before(&db, model, 9 * HOUR, &[]).unwrap();
    for nothing in [
        Beginning::Refused { why: "no such DAG".to_owned() },
        Beginning::Retry { why: "no answer".to_owned(), after: None },
    ] {
        Conclusion::of(nothing).store(&db, &due, 8 * HOUR).unwrap();
        assert_eq!(before("flights"), None);
    }
    let started = Beginning::Started { reference: Some("7".to_owned()) };
    Conclusion::of(started).store(&db, &due, 8 * HOUR).unwrap();
    let said = "the reaction retrain was started as run 7, 60 minutes before this (1970-01-01 08:00:00 UTC)";
    assert_eq!((before("flights").as_deref(), before("taxis")), (Some(said), None));
    let unknown = Beginning::Unknown { why: "no answer".to_owned() };
    Conclusion::of(unknown).store(&db, &due, 9 * HOUR).unwrap();
    assert!(before("flights").unwrap().starts_with("the reaction retrain may have been started, less than"));
    assert_eq!(
        tell(),
        ["flights: the reaction retrain was started as run 7", "flights: the reaction retrain may have been started"]
    );
}
