//! Drills: alerts that somebody makes up, to see whether everybody is told.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use driftline_alerts::{Action, Condition, DRILL_LABEL, Labels, Routed, Rule};
use driftline_detectors::Detector;
use driftline_document::parse_duration;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::error::{ApiError, Segments};
use super::writing::{Asker, Body};
use crate::alerting::drills::{self, Begun, Drill, MAX_RUNNING};
use crate::pipeline::earlier::Against;
use crate::runbooks::briefing;
use crate::segments::watched_score;
use crate::store::journal;
use crate::times::{now_micros, rfc3339};

/// For how long a drill fires unless it says otherwise: long enough to be looked at.
const DEFAULT_RESOLVE_AFTER: Duration = Duration::from_secs(30);
const RESOLVE_AFTER: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// What stands for a label's value where nothing real is known.
const MADE_UP: &str = "drill";

/// A drill to be begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDrill {
    /// The rule's name, or the id of a runbook that is one rule's.
    alert: String,
    /// Which model it is about. Without it the only one that there is.
    model: Option<String>,
    /// After how long it ends, as in `30s`, up to `1h`. Without it 30 seconds.
    resolve_after: Option<String>,
    /// Of the targets that the rule tells, at once, in their hours or when nobody answers, those that are to be told. Without it all of them.
    targets: Option<Vec<String>>,
    /// Who begins it. Without it the name of the token that the request came with.
    by: Option<String>,
}

/// A drill.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrillView {
    /// Its episode: `/api/v1/alerts/{id}` has it as it has every other.
    episode: String,
    rule: String,
    runbook: String,
    by: String,
    started_at: String,
    /// When its end is told.
    resolves_at: String,
    /// `running`; `passed`: everybody took both its beginning and its end; `failed`: somebody did not.
    outcome: String,
    finished_at: Option<String>,
    /// What each target was told, and whether it took it.
    steps: Vec<DrillStep>,
}

/// One notification to one target.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrillStep {
    target: String,
    /// `trigger` or `resolve`.
    action: String,
    /// `pending`, `delivered`, `given_up` or `cancelled`.
    state: String,
    attempts: u32,
    /// How long it took from when it was due; null as long as it is pending.
    seconds: Option<f64>,
    last_error: Option<String>,
}

/// Begins a drill: a made-up breach of a rule, which is told to its targets like a real one, and ends after a while. It is
/// marked as a drill wherever it shows, and neither budgets nor causes hear of it.
#[utoipa::path(post, path = "/api/v1/drills", tag = "alerts", request_body = NewDrill,
    responses((status = 201, body = DrillView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 404, body = super::error::Problem),
              (status = 409, body = super::error::Problem),
              (status = 413, body = super::error::Problem), (status = 415, body = super::error::Problem),
              (status = 422, body = super::error::Problem)))]
pub(crate) async fn begin(
    State(api): State<Api>,
    asker: Asker,
    Body(new): Body<NewDrill>,
) -> Result<(StatusCode, Json<DrillView>), ApiError> {
    let now = now_micros();
    let by = asker.name(new.by, "by")?;
    let mut rule = rule(&api, &new.alert)?.clone();
    let resolve_at = now + resolve_after(new.resolve_after.as_deref())?.as_micros() as i64;
    let described: Vec<String> = api.config.models.iter().map(|model| model.name.clone()).collect();
    let asked = (rule.clone(), new.model);
    let member = api.store.read(move |db| member(db, &asked.0, asked.1, described)).await?;
    let member = member.map_err(ApiError::bad_request)?;
    // Routes may tell drills from the real thing, and make something else of them.
    let labels = member.clone().into_iter().chain([(DRILL_LABEL.to_owned(), "true".to_owned())]).collect();
    let routed = api.config.alerting.routes.of(&rule, &labels, now);
    rule.severity = routed.severity.unwrap_or(rule.severity);
    let made_up = drills::made_up(&rule, &member, limit(&rule), (&by, resolve_at), (&api.config.public_url, now));
    let Some((mut said, fingerprint)) = made_up else {
        return Err(ApiError::conflict(format!(
            "nothing breaches the rule {}: {}",
            rule.name,
            rule.condition.in_words()
        )));
    };
    briefing::brief(&mut said, api.runbooks.find(&rule.runbook), &api.config.public_url);
    let targets = targets(&rule, routed, new.targets)?;
    let drill = Drill {
        episode: said.episode.clone(),
        rule: rule.name,
        runbook: rule.runbook,
        author: by,
        started_at: now,
        resolve_at,
        finished: None,
    };
    let begun = api.store.writer.write(move |db| {
        let begun = drills::begin(db, &drill, (&said, &fingerprint), targets)?;
        Ok((begun, view(db, &drill.episode)?))
    });
    match begun.await? {
        (Begun::Yes, Some(view)) => Ok((StatusCode::CREATED, Json(view))),
        (Begun::Runs(episode), _) => Err(ApiError::conflict(format!("a drill of this rule runs: {episode}"))),
        (Begun::TooMany | Begun::Yes, _) => {
            Err(ApiError::conflict(format!("{MAX_RUNNING} drills run already; wait until one of them is over")))
        }
    }
}

/// A drill, and whom it has reached.
#[utoipa::path(get, path = "/api/v1/drills/{episode}", tag = "alerts",
    params(("episode" = String, Path, description = "The drill's episode")),
    responses((status = 200, body = DrillView), (status = 404, body = super::error::Problem)))]
pub(crate) async fn one(
    State(api): State<Api>,
    Segments(episode): Segments<String>,
) -> Result<Json<DrillView>, ApiError> {
    let missing = format!("there is no drill '{episode}'");
    let view = api.store.read(move |db| view(db, &episode)).await?;
    view.map(Json).ok_or_else(|| ApiError::not_found(missing))
}

/// A rule by its name, or by the id of a runbook that no other rule has.
fn rule<'a>(api: &'a Api, name: &str) -> Result<&'a Rule, ApiError> {
    let rules = &api.config.alerting.rules;
    let by_runbook = || {
        let mut of_runbook = rules.iter().filter(|rule| rule.runbook == name);
        of_runbook.next().filter(|_| of_runbook.next().is_none())
    };
    rules.iter().find(|rule| rule.name == name).or_else(by_runbook).ok_or_else(|| {
        let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        ApiError::not_found(format!("there is no rule '{name}'; there are {}", names.join(", ")))
    })
}

fn resolve_after(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else { return Ok(DEFAULT_RESOLVE_AFTER) };
    parse_duration(text).filter(|after| RESOLVE_AFTER.contains(after)).ok_or_else(|| {
        ApiError::bad_request(format!(
            "resolve_after is '{text}'; allowed is a whole number and s, m or h, from 1s to 1h"
        ))
    })
}

/// Everybody whom a rule tells by now, also those who would wait for their hours, or are only called when nobody answers; or
/// those of them who are asked for.
fn targets(rule: &Rule, routed: Routed, asked: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let called = rule.escalate.iter().flat_map(|step| step.to.clone());
    let mut all: Vec<String> = routed.now.into_iter().chain(routed.later.into_keys()).chain(called).collect();
    all.sort();
    all.dedup();
    if all.is_empty() {
        return Err(ApiError::conflict(format!("the rule {} tells nobody; name its 'targets'", rule.name)));
    }
    let Some(asked) = asked else { return Ok(all) };
    match asked.iter().find(|name| !all.contains(name)) {
        Some(name) => Err(ApiError::bad_request(format!(
            "the rule {} does not tell '{name}'; it tells {}",
            rule.name,
            all.join(", ")
        ))),
        None if asked.is_empty() => {
            Err(ApiError::bad_request("'targets' names none; leave it out to tell all of them"))
        }
        None => Ok(all.into_iter().filter(|name| asked.contains(name)).collect()),
    }
}

/// The limit of the score that a rule watches, where it names none of its own.
fn limit(rule: &Rule) -> f64 {
    let Condition::Score { score, .. } = &rule.condition else { return 0.0 };
    let score = watched_score(score).0;
    let known = |name: &str| Detector::ALL.into_iter().find(|detector| detector.name() == name);
    let detector = Against::of_score(score).map(|(_, detector)| detector).or_else(|| known(score));
    detector.map_or(0.0, Detector::default_threshold)
}

/// The labels of what breaches, real ones where there are: the runbook's commands then find something. Or what is wrong with
/// the model that was asked for.
fn member(
    db: &Connection,
    rule: &Rule,
    asked: Option<String>,
    described: Vec<String>,
) -> rusqlite::Result<Result<Labels, String>> {
    let mut labels = rule.condition.matching().clone();
    if rule.group_by.iter().any(|name| name == "model") || labels.contains_key("model") {
        let known = described.into_iter().chain(journal::known_models(db)?).collect();
        match model(labels.remove("model"), asked, known) {
            Ok(model) => labels.insert("model".to_owned(), model),
            Err(why) => return Ok(Err(why)),
        };
    } else if asked.is_some() {
        return Ok(Err(format!("the rule {} is of no model; leave it out", rule.name)));
    }
    if rule.condition.is_of_windows() && !labels.contains_key("column") {
        let column: Option<String> = db
            .prepare_cached(
                "SELECT name FROM columns WHERE model = ?1 AND role = coalesce(?2, role) ORDER BY name LIMIT 1",
            )?
            .query_row(params![labels.get("model"), labels.get("role")], |row| row.get(0))
            .optional()?;
        labels.insert("column".to_owned(), column.unwrap_or_else(|| MADE_UP.to_owned()));
    }
    for name in &rule.group_by {
        labels.entry(name.clone()).or_insert_with(|| MADE_UP.to_owned());
    }
    Ok(Ok(labels))
}

/// Which model a drill is about.
fn model(of_rule: Option<String>, asked: Option<String>, mut known: Vec<String>) -> Result<String, String> {
    known.sort();
    known.dedup();
    match (of_rule, asked) {
        (Some(own), Some(asked)) if own != asked => Err(format!("the rule is of the model '{own}' alone")),
        (Some(own), _) => Ok(own),
        (None, Some(asked)) if known.contains(&asked) => Ok(asked),
        (None, Some(asked)) => Err(format!("there is no model '{asked}'; there are {}", known.join(", "))),
        (None, None) => match known.as_slice() {
            [] => Ok(MADE_UP.to_owned()),
            [only] => Ok(only.clone()),
            _ => Err(format!("say which model it is to be about: {}", known.join(", "))),
        },
    }
}

fn view(db: &Connection, episode: &str) -> rusqlite::Result<Option<DrillView>> {
    let Some(drill) = drills::one(db, episode)? else { return Ok(None) };
    let steps = db
        .prepare_cached(
            "SELECT target, action, state, attempts, (settled_at - created_at) / 1e6, last_error FROM outbox
             WHERE episode = ?1 AND action IN (?2, ?3) ORDER BY id",
        )?
        .query_map(params![episode, Action::Trigger.name(), Action::Resolve.name()], |row| {
            Ok(DrillStep {
                target: row.get(0)?,
                action: row.get(1)?,
                state: row.get(2)?,
                attempts: row.get(3)?,
                seconds: row.get(4)?,
                last_error: row.get(5)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(DrillView {
        episode: drill.episode,
        rule: drill.rule,
        runbook: drill.runbook,
        by: drill.author,
        started_at: rfc3339(drill.started_at),
        resolves_at: rfc3339(drill.resolve_at),
        outcome: drill.finished.map_or("running", |(_, outcome)| outcome.name()).to_owned(),
        finished_at: drill.finished.map(|(at, _)| rfc3339(at)),
        steps,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_drill_is_about_what_is_really_there() {
        let db = crate::store::in_memory().unwrap();
        let rules = Config::parse("", "", Path::new("")).unwrap().alerting.rules;
        let rule = |name: &str| rules.iter().find(|rule| rule.name == name).unwrap();
        let of = |name: &str, model: Option<&str>, known: &[&str]| {
            let known = known.iter().map(|name| (*name).to_owned()).collect();
            member(&db, rule(name), model.map(str::to_owned), known).unwrap()
        };
        assert_eq!(of("LatencySlo", None, &[]).unwrap()["model"], "drill");
        assert_eq!(of("LatencySlo", None, &["m"]).unwrap()["model"], "m");
        assert!(of("LatencySlo", None, &["m", "n"]).unwrap_err().contains("m, n"));
        assert!(of("LatencySlo", Some("x"), &["m"]).unwrap_err().contains("there is no model 'x'"));
        assert!(of("ArchiveLag", None, &["m", "n"]).unwrap().is_empty());
        assert!(of("ArchiveLag", Some("m"), &["m"]).unwrap_err().contains("is of no model"));
        assert_eq!(of("FeatureDrift", None, &["m"]).unwrap()["column"], "drill");
        db.execute_batch(
            "INSERT INTO columns VALUES ('m', 'a', 'number', 'prediction'), ('m', 'b', 'number', 'feature')",
        )
        .unwrap();
        assert_eq!(of("FeatureDrift", None, &["m"]).unwrap()["column"], "b");
        assert_eq!(of("MissingValues", None, &["m"]).unwrap()["column"], "a");
        assert!((limit(rule("NewChange")) - 0.2).abs() < 1e-12 && (limit(rule("MissingValues")) - 0.05).abs() < 1e-12);
    }

    #[test]
    fn everybody_is_told_or_those_who_are_asked_for() {
        let yaml = "alerts: {targets: {a: {webhook: {url: {env: A}}}, b: {webhook: {url: {env: B}}}, c: {webhook: {url: {env: C}}}},
                     rules: [{name: R, severity: page, runbook: latency-slo, targets: [b], escalate: [{after: 5m, to: [a]}],
                              when: {sli: latency, below: 0.9}}]}";
        let rules = Config::parse("", yaml, Path::new("")).unwrap().alerting.rules;
        let rule = rules.iter().find(|rule| rule.name == "R").unwrap();
        let routed = || Routed { now: rule.targets.clone(), ..Routed::default() };
        let asked =
            |names: &[&str]| targets(rule, routed(), Some(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(targets(rule, routed(), None).ok().unwrap(), ["a", "b"]);
        assert_eq!(asked(&["a"]).ok().unwrap(), ["a"]);
        assert!(asked(&["c"]).is_err() && asked(&[]).is_err());
        assert!(targets(&Rule { escalate: vec![], ..rule.clone() }, Routed::default(), None).is_err());
    }
}
