//! Silences: what is not to be told for a time.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use driftline_alerts::{Matchers, Pattern, Silence};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Params, Segments};
use super::writing::{Asker, Body, comment};
use super::{Api, MAX_LIMIT};
use crate::alerting::silences::{self, MAX_SILENCES, StoredSilence};
use crate::pipeline::events::{self, Event, EventKind};
use crate::times::{self, now_micros, rfc3339};

/// What is silent for longer is switched off, and belongs into the configuration.
const MAX_MICROS: i64 = 366 * 86_400_000_000;

/// Which silences.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SilencesQuery {
    /// `current` (on, or to come), `ended` or `all`. Without it `current`.
    state: Option<String>,
    /// How many, 1 to 1000. Without it 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A silence to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSilence {
    /// Labels of the alerts that it is of, and what their values must be: one value, or the beginning of many and `*`. All of
    /// them must match. Labels are `rule`, `severity`, `model`, `version`, `column` and `role`.
    #[schema(value_type = BTreeMap<String, String>)]
    matching: BTreeMap<String, String>,
    /// When it begins. Without it at once.
    from: Option<String>,
    /// When it ends.
    until: String,
    /// Why.
    comment: String,
    /// Who makes it. Without it the name of the token that the request came with.
    author: Option<String>,
}

/// A silence.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SilenceView {
    id: String,
    /// `on`, `pending` or `ended`.
    state: String,
    matching: BTreeMap<String, String>,
    from: String,
    until: String,
    comment: String,
    author: String,
    created_at: String,
}

impl SilenceView {
    fn new(stored: &StoredSilence, now: i64) -> Self {
        let StoredSilence { silence, comment, author, created_at } = stored;
        let state = match (silence.is_on(now), silence.until <= now) {
            (true, _) => "on",
            (false, true) => "ended",
            (false, false) => "pending",
        };
        Self {
            id: silence.id.clone(),
            state: state.to_owned(),
            matching: silence.matching.iter().map(|(name, pattern)| (name.clone(), pattern.to_string())).collect(),
            from: rfc3339(silence.from),
            until: rfc3339(silence.until),
            comment: comment.clone(),
            author: author.clone(),
            created_at: rfc3339(*created_at),
        }
    }
}

/// Silences, the ones that end last first.
#[utoipa::path(get, path = "/api/v1/silences", tag = "alerts", params(SilencesQuery),
    responses((status = 200, body = [SilenceView]), (status = 400, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Params(query): Params<SilencesQuery>,
) -> Result<Json<Vec<SilenceView>>, ApiError> {
    let now = now_micros();
    let (from, until) = match query.state.as_deref() {
        None | Some("current") => (now, i64::MAX),
        Some("ended") => (i64::MIN, now),
        Some("all") => (i64::MIN, i64::MAX),
        Some(other) => {
            return Err(ApiError::bad_request(format!("state is '{other}'; allowed are current, ended and all")));
        }
    };
    let limit = query.limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}; allowed is 1 to {MAX_LIMIT}")));
    }
    let silences = api.store.read(move |db| silences::list(db, from, until, limit)).await?;
    Ok(Json(silences.iter().map(|stored| SilenceView::new(stored, now)).collect()))
}

/// Makes a silence. From then on, and until it ends, nothing is said of the alerts that it is of but their end, to those who
/// were told of their beginning; what fires still when it ends is told then.
#[utoipa::path(post, path = "/api/v1/silences", tag = "alerts", request_body = NewSilence,
    responses((status = 201, body = SilenceView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 409, body = super::error::Problem),
              (status = 413, body = super::error::Problem), (status = 415, body = super::error::Problem),
              (status = 422, body = super::error::Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    asker: Asker,
    Body(new): Body<NewSilence>,
) -> Result<(StatusCode, Json<SilenceView>), ApiError> {
    let now = now_micros();
    let stored = stored(new, asker, now)?;
    let view = SilenceView::new(&stored, now);
    let event = event(&stored, &format!("{} silences {}", stored.author, what(&stored)));
    let added = api.store.writer.write(move |db| {
        let added = silences::add(db, &stored, now)?;
        if added {
            events::store(db, &[event], now)?;
        }
        Ok(added)
    });
    if !added.await? {
        return Err(ApiError::conflict(format!("there are {MAX_SILENCES} silences already; end some of them")));
    }
    Ok((StatusCode::CREATED, Json(view)))
}

/// Ends a silence. One that has ended already stays as it is.
#[utoipa::path(delete, path = "/api/v1/silences/{id}", tag = "alerts",
    params(("id" = String, Path, description = "The silence's id")),
    responses((status = 200, body = SilenceView), (status = 403, body = super::error::Problem),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn end(
    State(api): State<Api>,
    asker: Asker,
    Segments(id): Segments<String>,
) -> Result<Json<SilenceView>, ApiError> {
    let now = now_micros();
    let missing = format!("there is no silence '{id}'; /api/v1/silences lists those there are");
    let by = asker.name(None, "author").unwrap_or_else(|_| "somebody".to_owned());
    let ended = api.store.writer.write(move |db| {
        let before = silences::one(db, &id)?;
        let ended = silences::end(db, &id, now)?;
        if let Some(ended) = ended.as_ref().filter(|_| ended != before) {
            events::store(db, &[event(ended, &format!("{by} ends the silence of {}", ended.silence.matching))], now)?;
        }
        Ok(ended)
    });
    ended.await?.map(|ended| Json(SilenceView::new(&ended, now))).ok_or_else(|| ApiError::not_found(missing))
}

fn stored(new: NewSilence, asker: Asker, now: i64) -> Result<StoredSilence, ApiError> {
    let time = |field: &str, text: &str| {
        times::parse(text).map_err(|why| ApiError::bad_request(format!("{field} is '{text}': {why}")))
    };
    let from = new.from.as_deref().map_or(Ok(now), |text| time("from", text))?;
    let until = time("until", &new.until)?;
    if until <= from || until <= now {
        return Err(ApiError::bad_request("'until' is over, or not after 'from'"));
    }
    if until - from > MAX_MICROS {
        return Err(ApiError::bad_request("a silence is 366 days long at most; take the rule out instead"));
    }
    let patterns: Result<BTreeMap<String, Pattern>, String> =
        new.matching.into_iter().map(|(name, text)| Ok((name, Pattern::try_from(text)?))).collect();
    let matching = patterns.and_then(Matchers::try_from);
    let matching = matching.map_err(|why| ApiError::bad_request(format!("matching: {why}")))?;
    Ok(StoredSilence {
        silence: Silence { id: uuid::Uuid::now_v7().to_string(), matching, from, until },
        comment: comment(new.comment, "comment")?,
        author: asker.name(new.author, "author")?,
        created_at: now,
    })
}

fn what(stored: &StoredSilence) -> String {
    let StoredSilence { silence, comment, .. } = stored;
    let why = if comment.is_empty() { String::new() } else { format!(": {comment}") };
    format!("{} until {}{why}", silence.matching, rfc3339(silence.until))
}

fn event(stored: &StoredSilence, text: &str) -> Event {
    let models = stored.silence.matching.iter().find(|(name, _)| *name == "model");
    let model = models.map(|(_, pattern)| pattern.to_string()).filter(|model| !model.ends_with('*'));
    Event { kind: EventKind::Silence, model: model.unwrap_or_default(), text: text.replace('\n', " ") }
}
