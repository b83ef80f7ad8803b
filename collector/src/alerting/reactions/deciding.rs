//! From episodes, and what is stored of reactions, to what is to be done by now.

use driftline_alerts::{
    Action, Alert, Approval, Decision, Lapse, Reaction, Rule, Situation, Stage, Standing, sign_approval,
};
use rusqlite::{Connection, Row, params};
use tracing::warn;

use super::stored::{self, State};
use crate::alerting::drills::IS_REAL;
use crate::alerting::entries;
use crate::alerting::news::News;
use crate::config::Config;
use crate::pipeline::events::{self, Event, EventKind};

/// An episode that a reaction is to, and what is to be done about it.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) episode: String,
    model: String,
    rule: String,
    pub(crate) decision: Decision,
}

/// An episode as it lies in the database.
struct Found {
    episode: String,
    rule: String,
    since: i64,
    standing: Option<Standing>,
    is_muted: bool,
    /// The alert's state; none for one that has ended.
    alert: Option<String>,
    /// The model, once somebody was asked.
    model: Option<String>,
    stage: Stage,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let standing: Option<String> = row.get("standing")?;
        let known = [Standing::Firing, Standing::Recovering, Standing::NoData];
        // Of what this version does not know it knows no good.
        let named = |name: String| known.into_iter().find(|one| one.name() == name).unwrap_or(Standing::NoData);
        let until = row.get::<_, Option<i64>>("good_until")?.unwrap_or(0);
        let stage = match row.get::<_, Option<String>>("state")?.as_deref().map(State::named) {
            None => Stage::Untouched,
            Some(Some(State::Asked)) => Stage::Asked { until },
            Some(Some(State::Approved)) => Stage::Approved { until },
            Some(_) => Stage::Over,
        };
        Ok(Self {
            episode: row.get("id")?,
            rule: row.get("rule")?,
            since: row.get("started_at")?,
            standing: standing.map(named),
            is_muted: row.get("is_muted")?,
            alert: row.get("alert")?,
            model: row.get("model")?,
            stage,
        })
    }
}

/// Each episode that a reaction is to and that is not over with it, and what is to be done about it by now.
pub(crate) fn candidates(
    db: &Connection,
    reaction: &Reaction,
    rules: &[Rule],
    now: i64,
) -> rusqlite::Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for found in open(db, reaction, rules)?.into_iter().chain(ended(db, reaction)?) {
        // Whoever was asked was asked about what was meant then.
        let Some(model) = found.model.clone().or_else(|| model(reaction, rules, &found)) else { continue };
        let decision = decision(db, reaction, (&found, &model), now)?;
        candidates.push(Candidate { episode: found.episode, model, rule: found.rule, decision });
    }
    Ok(candidates)
}

fn open(db: &Connection, reaction: &Reaction, rules: &[Rule]) -> rusqlite::Result<Vec<Found>> {
    let meant: Vec<&str> =
        rules.iter().filter(|rule| reaction.when.may_match(rule)).map(|rule| rule.name.as_str()).collect();
    db.prepare_cached(&format!(
        "SELECT episodes.id, episodes.rule, episodes.started_at, standing, muted_by IS NOT NULL AS is_muted,
                alerts.state AS alert, reactions.state AS state, good_until, model
         FROM episodes JOIN alerts ON alerts.fingerprint = episodes.fingerprint
              LEFT JOIN reactions ON reactions.episode = episodes.id AND reactions.reaction = ?1
         WHERE resolved_at IS NULL AND {IS_REAL}
           AND (reactions.state IN ('asked', 'approved')
                OR reactions.state IS NULL AND episodes.rule IN (SELECT value FROM json_each(?2)))
         ORDER BY episodes.started_at, episodes.id"
    ))?
    .query_map(params![reaction.name, serde_json::to_string(&meant).unwrap_or_default()], Found::read)?
    .collect()
}

/// Episodes that ended while somebody was asked.
fn ended(db: &Connection, reaction: &Reaction) -> rusqlite::Result<Vec<Found>> {
    db.prepare_cached(
        "SELECT episodes.id, episodes.rule, episodes.started_at, NULL AS standing, 0 AS is_muted, NULL AS alert,
                reactions.state AS state, good_until, model
         FROM reactions JOIN episodes ON episodes.id = reactions.episode
         WHERE reactions.reaction = ?1 AND reactions.state IN ('asked', 'approved') AND resolved_at IS NOT NULL
         ORDER BY episodes.started_at, episodes.id",
    )?
    .query_map([&reaction.name], Found::read)?
    .collect()
}

/// The model of an alert that the reaction is to, by one of the members that it is about. What is of no model has none whose
/// data could be right.
fn model(reaction: &Reaction, rules: &[Rule], found: &Found) -> Option<String> {
    let rule = rules.iter().find(|rule| rule.name == found.rule)?;
    let alert: Alert = serde_json::from_str(found.alert.as_deref()?).ok()?;
    let is_meant = alert.counting().any(|member| reaction.when.matches(rule, alert.severity(rule), &member.labels));
    alert.labels.get("model").filter(|_| is_meant).cloned()
}

fn decision(
    db: &Connection,
    reaction: &Reaction,
    (found, model): (&Found, &str),
    now: i64,
) -> rusqlite::Result<Decision> {
    let unless = serde_json::to_string(&reaction.unless).unwrap_or_default();
    // An alert that names no model may be about any.
    let red: Vec<String> = db
        .prepare_cached(&format!(
            "SELECT DISTINCT rule FROM episodes
             WHERE resolved_at IS NULL AND {IS_REAL} AND rule IN (SELECT value FROM json_each(?1)) AND id != ?3
               AND coalesce(json_extract(notification, '$.labels.model'), ?2) = ?2
             ORDER BY rule"
        ))?
        .query_map(params![unless, model, found.episode], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let starts: Vec<i64> = db
        .prepare_cached(
            "SELECT started_at FROM reactions WHERE reaction = ?1 AND model = ?2 AND started_at IS NOT NULL
             ORDER BY started_at DESC LIMIT ?3",
        )?
        .query_map(params![reaction.name, model, reaction.at_most], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let is_busy = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM reactions WHERE reaction = ?1 AND model = ?2 AND episode != ?3
                              AND state IN ('asked', 'approved', 'starting'))",
        )?
        .query_row(params![reaction.name, model, found.episode], |row| row.get(0))?;
    let Found { stage, since, standing, is_muted, .. } = *found;
    Ok(reaction.decide(&Situation { stage, since, standing, is_muted, red: &red, starts: &starts, is_busy }, now))
}

/// Decides, and writes down what is to be done, each with its line in the feed; gives what is to be counted. Of two episodes
/// of one model the second finds what was decided of the first.
pub(super) fn decide(
    db: &Connection,
    reaction: &Reaction,
    config: &Config,
    now: i64,
) -> rusqlite::Result<Vec<&'static str>> {
    let mut counted = Vec::new();
    let due = |candidate: &Candidate| !matches!(candidate.decision, Decision::Wait(_));
    while let Some(candidate) = candidates(db, reaction, &config.alerting.rules, now)?.into_iter().find(due) {
        let Candidate { episode, model, rule, decision } = candidate;
        let summary = entries::triggered(db, &episode)?.map(|said| said.summary).unwrap_or_default();
        let id = format!("{}.{episode}", reaction.name);
        let named = [&id, &reaction.name, &episode, &model].map(String::as_str);
        let (outcome, text) = match decision {
            Decision::Wait(_) => break,
            Decision::Ask => {
                ask(db, reaction, config, named, now)?;
                ("asked", format!("somebody is asked to approve, because {rule} fires: {summary}"))
            }
            Decision::Start => {
                stored::begin(db, named, now)?;
                ("begun", format!("is being started, because {rule} fires: {summary}"))
            }
            Decision::Lapse(why) => {
                lapse(db, &id, why, now)?;
                ("lapsed", format!("lapsed: {why}"))
            }
        };
        note(db, (&reaction.name, &model), &text, now)?;
        counted.push(outcome);
    }
    Ok(counted)
}

/// Records the question, and tells it to those who were told of the alert.
fn ask(db: &Connection, reaction: &Reaction, config: &Config, named: [&str; 4], now: i64) -> rusqlite::Result<()> {
    let Some(approval) = &reaction.approval else { return Ok(()) };
    let until = now.saturating_add(approval.within.as_micros() as i64);
    let [id, _, episode, _] = named;
    stored::ask(db, named, (until, link(approval, id, until, config).as_deref()), now)?;
    let hearers = config.alerting.hearers(Action::Remind);
    News::Asked { episode: episode.to_owned(), hearers }.store(db, now)
}

/// Where whoever has the link decides; none without a key.
fn link(approval: &Approval, id: &str, until: i64, config: &Config) -> Option<String> {
    let key = approval.signing_key.as_ref()?.read();
    let key = key.inspect_err(|error| warn!(id, %error, "no link is sent; it is approved on the alert's page")).ok()?;
    let expires = until / 1_000_000;
    let signature = sign_approval(&key, id, expires);
    Some(format!("{}/reactions/{id}/approval?expires={expires}&signature={signature}", config.public_url))
}

fn lapse(db: &Connection, id: &str, why: Lapse, now: i64) -> rusqlite::Result<()> {
    stored::settle(db, id, (State::Lapsed, true), (Some(&why.to_string()), None), now)
}

/// The line in the feed.
pub(crate) fn note(db: &Connection, (reaction, model): (&str, &str), text: &str, now: i64) -> rusqlite::Result<()> {
    let event = Event { kind: EventKind::Reaction, model: model.to_owned(), text: format!("{reaction}: {text}") };
    events::store(db, &[event], now)
}
