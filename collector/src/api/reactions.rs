//! Reactions: what is started because of an alert, who approved, and what became of it.

use axum::Json;
use axum::extract::State;
use driftline_alerts::{Decision, Hold};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Params, Segments};
use super::writing::{Asker, Body, comment};
use super::{Api, MAX_LIMIT};
use crate::alerting::reactions::stored::{self, JobState, Stored, Word};
use crate::alerting::reactions::{candidates, note, with_note};
use crate::config::Config;
use crate::times::{now_micros, rfc3339};

/// Which reactions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReactionsQuery {
    /// Only those in this state. Without it, or with `all`, all of them.
    state: Option<String>,
    /// How many, 1 to 1000. Without it 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A reaction to an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReactionView {
    /// The reaction's name, a dot, and the episode.
    id: String,
    reaction: String,
    /// The alert's id.
    episode: String,
    /// Null while it waits.
    model: Option<String>,
    /// `waiting` (for what `why` says), `asked`, `approved`, `starting`, `started`, `unknown` (it may have been started),
    /// `failed`, `declined` or `lapsed`.
    state: String,
    /// What it waits for, or what went wrong.
    why: Option<String>,
    /// When somebody was asked, or it was begun; null while it waits.
    created_at: Option<String>,
    /// Until when the question, or the yes, is good.
    good_until: Option<String>,
    /// Who approved or declined.
    decided: Option<WordView>,
    /// When it was started, or may have been.
    started_at: Option<String>,
    attempts: u32,
    next_attempt_at: Option<String>,
    /// What the scheduler calls the run.
    reference: Option<String>,
    /// What the job reported.
    result: Option<ResultView>,
}

/// Who decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WordView {
    by: String,
    note: String,
    at: String,
}

/// What a job reported of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultView {
    /// `running`, `succeeded` or `failed`.
    state: String,
    note: String,
    at: String,
}

impl From<Stored> for ReactionView {
    fn from(stored: Stored) -> Self {
        let word = |Word { by, note, at }| WordView { by, note, at: rfc3339(at) };
        let result = |Word { by, note, at }| ResultView { state: by, note, at: rfc3339(at) };
        Self {
            id: stored.id,
            reaction: stored.reaction,
            episode: stored.episode,
            model: Some(stored.model),
            state: stored.state.map_or("unknown", stored::State::name).to_owned(),
            why: stored.why,
            created_at: Some(rfc3339(stored.created_at)),
            good_until: stored.good_until.map(rfc3339),
            decided: stored.decided.map(word),
            started_at: stored.started_at.map(rfc3339),
            attempts: stored.attempts,
            next_attempt_at: stored.next_attempt_at.map(rfc3339),
            reference: stored.reference,
            result: stored.result.map(result),
        }
    }
}

impl ReactionView {
    /// One of which nothing is stored yet.
    fn waiting(reaction: &str, episode: &str, hold: &Hold) -> Self {
        Self {
            id: format!("{reaction}.{episode}"),
            reaction: reaction.to_owned(),
            episode: episode.to_owned(),
            model: None,
            state: "waiting".to_owned(),
            why: Some(hold.to_string()),
            created_at: None,
            good_until: None,
            decided: None,
            started_at: None,
            attempts: 0,
            next_attempt_at: None,
            reference: None,
            result: None,
        }
    }
}

/// The reactions to an episode: those that are stored, and those that wait for their guards. One that is approved may wait for
/// them, too.
pub(super) fn of_episode(db: &Connection, config: &Config, episode: &str) -> rusqlite::Result<Vec<ReactionView>> {
    let mut views: Vec<ReactionView> = stored::of_episode(db, episode)?.into_iter().map(ReactionView::from).collect();
    for configured in &config.alerting.reactions {
        let (reaction, rules) = (&configured.reaction, &config.alerting.rules);
        let found = candidates(db, reaction, rules, now_micros())?;
        let Some(candidate) = found.into_iter().find(|candidate| candidate.episode == episode) else { continue };
        let Decision::Wait(hold) = candidate.decision else { continue };
        match views.iter_mut().find(|view| view.reaction == reaction.name) {
            Some(view) => view.why = Some(hold.to_string()),
            None => views.push(ReactionView::waiting(&reaction.name, episode, &hold)),
        }
    }
    Ok(views)
}

/// Reactions, the newest first. Those that wait for their guards are listed with their alerts.
#[utoipa::path(get, path = "/api/v1/reactions", tag = "reactions", params(ReactionsQuery),
    responses((status = 200, body = [ReactionView]), (status = 400, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Params(query): Params<ReactionsQuery>,
) -> Result<Json<Vec<ReactionView>>, ApiError> {
    let state = match query.state.as_deref() {
        None | Some("all") => None,
        Some(name) => Some(stored::State::named(name).ok_or_else(|| {
            let names = stored::State::ALL.map(stored::State::name).join(", ");
            ApiError::bad_request(format!("state is '{name}'; allowed are all, {names}"))
        })?),
    };
    let limit = query.limit.unwrap_or(100);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
    }
    let listed = api.store.read(move |db| stored::list(db, state, limit)).await?;
    Ok(Json(listed.into_iter().map(ReactionView::from).collect()))
}

/// Somebody's decision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApproval {
    /// Whether it may be started.
    approve: bool,
    /// Who decides. Without it the name of the token that the request came with.
    by: Option<String>,
    /// What others should know.
    #[serde(default)]
    note: String,
}

/// Approves of a reaction, or declines it. It is started when its guards hold then, too.
#[utoipa::path(post, path = "/api/v1/reactions/{id}/approval", tag = "reactions", request_body = NewApproval,
    params(("id" = String, Path, description = "The reaction's id")),
    responses((status = 200, body = ReactionView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 404, body = super::error::Problem),
              (status = 409, body = super::error::Problem),
              (status = 413, body = super::error::Problem), (status = 415, body = super::error::Problem),
              (status = 422, body = super::error::Problem)))]
pub(crate) async fn approve(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    asker: Asker,
    Body(new): Body<NewApproval>,
) -> Result<Json<ReactionView>, ApiError> {
    let said = Answer::new(new.approve, (asker, new.by), new.note)?;
    answer(&api, id, said).await.map(|stored| Json(stored.into()))
}

/// A decision, by whoever is allowed to make it.
#[derive(Debug)]
pub(crate) struct Answer {
    approve: bool,
    by: String,
    note: String,
}

impl Answer {
    fn new(approve: bool, (asker, by): (Asker, Option<String>), note: String) -> Result<Self, ApiError> {
        Ok(Self { approve, by: asker.name(by, "by")?, note: comment(note, "note")? })
    }

    /// One that came by a signed link, from who may have no token.
    ///
    /// # Errors
    /// When it names nobody, or is too long.
    pub(crate) fn by_link(approve: bool, by: String, note: String) -> Result<Self, ApiError> {
        Self::new(approve, (Asker::default(), Some(by)), note)
    }
}

/// What a request to change a reaction came to.
enum Changed {
    Done(Box<Stored>),
    NoSuchReaction,
    TooLate(String),
}

impl Changed {
    fn answer(self, id: &str) -> Result<Stored, ApiError> {
        match self {
            Self::Done(stored) => Ok(*stored),
            Self::NoSuchReaction => Err(ApiError::not_found(format!(
                "there is no reaction '{id}'; /api/v1/reactions lists those there are"
            ))),
            Self::TooLate(why) => Err(ApiError::conflict(why)),
        }
    }
}

/// Decides on a reaction that waits for it.
///
/// # Errors
/// When there is none, or when it waits for nobody any more.
pub(crate) async fn answer(api: &Api, id: String, answer: Answer) -> Result<Stored, ApiError> {
    let (asked, approve) = (id.clone(), answer.approve);
    let stored = api.store.writer.write(move |db| decide(db, &asked, answer, now_micros())).await?.answer(&id)?;
    // One that waited is configured, or its wait would be over.
    api.metrics.reactions(&stored.reaction, if approve { "approved" } else { "declined" }).inc();
    Ok(stored)
}

fn decide(db: &Connection, id: &str, answer: Answer, now: i64) -> rusqlite::Result<Changed> {
    let Some(before) = stored::one(db, id)? else { return Ok(Changed::NoSuchReaction) };
    let Stored { reaction, model, state, good_until, decided, .. } = &before;
    if let Some(Word { by, at, .. }) = decided {
        return Ok(Changed::TooLate(format!("{by} has decided at {}", rfc3339(*at))));
    }
    if *state != Some(stored::State::Asked) || good_until.is_none_or(|until| now >= until) {
        let why = before.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        return Ok(Changed::TooLate(format!("it waits for nobody's approval any more{why}")));
    }
    let Answer { approve, by, note: said } = answer;
    let what = if approve { "approved by" } else { "declined by" };
    note(db, (reaction, model), &with_note(format!("{what} {by}"), &said), now)?;
    stored::decided(db, id, approve, &Word { by, note: said, at: now })?;
    Ok(stored::one(db, id)?.map_or(Changed::NoSuchReaction, |stored| Changed::Done(Box::new(stored))))
}

/// What a job says of itself.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewResult {
    state: JobState,
    /// What others should know: a version, a score, a link.
    #[serde(default)]
    note: String,
}

/// Reports what became of what was started: the job itself does, at the end, and when it likes before. What it says last of its
/// end is not changed any more.
#[utoipa::path(post, path = "/api/v1/reactions/{id}/result", tag = "reactions", request_body = NewResult,
    params(("id" = String, Path, description = "The reaction's id")),
    responses((status = 200, body = ReactionView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 404, body = super::error::Problem),
              (status = 409, body = super::error::Problem),
              (status = 413, body = super::error::Problem), (status = 415, body = super::error::Problem),
              (status = 422, body = super::error::Problem)))]
pub(crate) async fn report(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    Body(new): Body<NewResult>,
) -> Result<Json<ReactionView>, ApiError> {
    let (said, state) = (comment(new.note, "note")?, new.state);
    let reported = id.clone();
    let done = api.store.writer.write(move |db| take_report(db, &reported, state, said, now_micros())).await?;
    let (changed, is_news) = done;
    let stored = changed.answer(&id)?;
    let is_known = api.config.alerting.reactions.iter().any(|one| one.reaction.name == stored.reaction);
    match state {
        JobState::Succeeded if is_news && is_known => api.metrics.reactions(&stored.reaction, "job_succeeded").inc(),
        JobState::Failed if is_news && is_known => api.metrics.reactions(&stored.reaction, "job_failed").inc(),
        _ => {}
    }
    Ok(Json(stored.into()))
}

/// Writes a report down, and says whether it was one; a report that comes again changes nothing.
fn take_report(
    db: &Connection,
    id: &str,
    state: JobState,
    said: String,
    now: i64,
) -> rusqlite::Result<(Changed, bool)> {
    let Some(before) = stored::one(db, id)? else { return Ok((Changed::NoSuchReaction, false)) };
    if before.started_at.is_none() {
        return Ok((Changed::TooLate("it was not started: there is no job that could report".to_owned()), false));
    }
    let runs = state == JobState::Running;
    match &before.result {
        Some(word) if word.by == state.name() && (!runs || word.note == said) => {
            return Ok((Changed::Done(Box::new(before)), false));
        }
        Some(Word { by, at, .. }) if by != JobState::Running.name() => {
            return Ok((Changed::TooLate(format!("the job reported '{by}' at {}", rfc3339(*at))), false));
        }
        _ => {}
    }
    let text = with_note(format!("the job reports '{}'", state.name()), &said);
    note(db, (&before.reaction, &before.model), &text, now)?;
    stored::reported(db, id, &Word { by: state.name().to_owned(), note: said, at: now })?;
    let after = stored::one(db, id)?;
    Ok((after.map_or(Changed::NoSuchReaction, |stored| Changed::Done(Box::new(stored))), true))
}
