//! Maintenance windows: those of the configuration, and those that were made while the collector runs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use driftline_alerts::{Maintenance, Matchers, Pattern};
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::error::{ApiError, Params, Segments};
use super::writing::{Asker, Body, comment};
use crate::alerting::maintenance::{self, MAX_WINDOWS, Refusal, StoredWindow};
use crate::config::maintenance::{DAYS, clock, clock_text, day, day_name};
use crate::pipeline::events::{self, Event, EventKind};
use crate::times::{self, now_micros, rfc3339};

/// Longest name of a window, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Windows that have ended which one answer lists.
const MAX_ENDED: u32 = 1000;

/// Which windows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaintenanceQuery {
    /// `current` (those that come again) or `all` (those that have ended, too). Without it `current`.
    state: Option<String>,
}

/// A window to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWindow {
    /// What it is called: up to 100 letters, digits, '-' and '_'. No two windows that come again have one name.
    name: String,
    /// Labels of the alerts that it is of, as those of a silence.
    #[schema(value_type = BTreeMap<String, String>)]
    matching: BTreeMap<String, String>,
    /// Days of the week on which it begins, as in `monday`. Without them every day.
    days: Option<Vec<String>>,
    /// When it begins, as in `22:00`.
    from: String,
    /// When it ends, as in `02:30`: on the same day if that is later than `from`, else on the next.
    until: String,
    /// Whose clocks, by the IANA name of a time zone. Without it UTC.
    time_zone: Option<String>,
    /// When it comes no more (RFC 3339). Without it, it comes until it is ended.
    ends_at: Option<String>,
    /// Why.
    comment: String,
    /// Who makes it. Without it the name of the token that the request came with.
    author: Option<String>,
}

/// A maintenance window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowView {
    /// By which it is ended; null for one of the configuration, which is changed there.
    id: Option<String>,
    name: String,
    /// `on`, `off` (it comes again) or `ended`.
    state: String,
    matching: BTreeMap<String, String>,
    days: Vec<String>,
    from: String,
    until: String,
    time_zone: String,
    /// When it comes no more; null for one that comes until it is ended.
    ends_at: Option<String>,
    comment: String,
    author: String,
    created_at: Option<String>,
}

impl WindowView {
    fn of_configuration(window: &Maintenance, now: i64) -> Self {
        let time_zone = window.zone.iana_name().unwrap_or("UTC").to_owned();
        Self {
            id: None,
            name: window.name.clone(),
            state: if window.is_on(now) { "on" } else { "off" }.to_owned(),
            matching: window.matching.iter().map(|(name, pattern)| (name.clone(), pattern.to_string())).collect(),
            days: window.days.iter().map(|each| day_name(*each).to_owned()).collect(),
            from: clock_text(window.from),
            until: clock_text(window.until),
            time_zone,
            ends_at: None,
            comment: String::new(),
            author: String::new(),
            created_at: None,
        }
    }

    fn of_stored(stored: &StoredWindow, now: i64) -> Self {
        let has_ended = stored.ends_at <= now;
        let view = Self::of_configuration(&stored.window, now);
        Self {
            id: Some(stored.id.clone()),
            state: if has_ended { "ended".to_owned() } else { view.state },
            ends_at: (stored.ends_at < i64::MAX).then(|| rfc3339(stored.ends_at)),
            comment: stored.comment.clone(),
            author: stored.author.clone(),
            created_at: Some(rfc3339(stored.created_at)),
            ..view
        }
    }
}

/// Maintenance windows: those of the configuration first, in its order, then those made since, the newest first.
#[utoipa::path(get, path = "/api/v1/maintenance", tag = "alerts", params(MaintenanceQuery),
    responses((status = 200, body = [WindowView]), (status = 400, body = super::error::Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Params(query): Params<MaintenanceQuery>,
) -> Result<Json<Vec<WindowView>>, ApiError> {
    let now = now_micros();
    let ended_too = match query.state.as_deref() {
        None | Some("current") => false,
        Some("all") => true,
        Some(other) => return Err(ApiError::bad_request(format!("state is '{other}'; allowed are current and all"))),
    };
    let stored = api.store.read(move |db| {
        let mut windows = maintenance::to_come(db, now)?;
        if ended_too {
            windows.extend(maintenance::list(db, i64::MIN, now, MAX_ENDED)?);
        }
        Ok(windows)
    });
    let stored = stored.await?;
    let of_configuration =
        api.config.alerting.maintenance.iter().map(|window| WindowView::of_configuration(window, now));
    Ok(Json(of_configuration.chain(stored.iter().map(|stored| WindowView::of_stored(stored, now))).collect()))
}

/// Makes a window. While it is on, nothing is said of the alerts that it is of but their end; what fires still when it ends is
/// told then.
#[utoipa::path(post, path = "/api/v1/maintenance", tag = "alerts", request_body = NewWindow,
    responses((status = 201, body = WindowView), (status = 400, body = super::error::Problem),
              (status = 403, body = super::error::Problem), (status = 409, body = super::error::Problem),
              (status = 413, body = super::error::Problem), (status = 415, body = super::error::Problem),
              (status = 422, body = super::error::Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    asker: Asker,
    Body(new): Body<NewWindow>,
) -> Result<(StatusCode, Json<WindowView>), ApiError> {
    let now = now_micros();
    let stored = stored(new, asker, now)?;
    let name = stored.window.name.clone();
    let taken = || {
        ApiError::conflict(format!(
            "there is a maintenance window '{name}' already; end it, or name this one otherwise"
        ))
    };
    if api.config.alerting.maintenance.iter().any(|window| window.name == name) {
        return Err(taken());
    }
    let view = WindowView::of_stored(&stored, now);
    let event =
        event(&stored, &format!("{} makes the maintenance window {name} of {}", stored.author, stored.window.matching));
    let added = api.store.writer.write(move |db| {
        let added = maintenance::add(db, &stored, now)?;
        if added.is_ok() {
            events::store(db, &[event], now)?;
        }
        Ok(added)
    });
    match added.await? {
        Ok(()) => Ok((StatusCode::CREATED, Json(view))),
        Err(Refusal::NameTaken) => Err(taken()),
        Err(Refusal::TooMany) => {
            Err(ApiError::conflict(format!("there are {MAX_WINDOWS} maintenance windows already; end some of them")))
        }
    }
}

/// Ends a window that was made while the collector runs. One that has ended already stays as it is.
#[utoipa::path(delete, path = "/api/v1/maintenance/{id}", tag = "alerts",
    params(("id" = String, Path, description = "The window's id")),
    responses((status = 200, body = WindowView), (status = 403, body = super::error::Problem),
              (status = 404, body = super::error::Problem)))]
pub(crate) async fn end(
    State(api): State<Api>,
    asker: Asker,
    Segments(id): Segments<String>,
) -> Result<Json<WindowView>, ApiError> {
    let now = now_micros();
    let missing = format!(
        "there is no maintenance window '{id}'; /api/v1/maintenance lists those there are, and those without an id are the configuration's"
    );
    let by = asker.name(None, "author").unwrap_or_else(|_| "somebody".to_owned());
    let ended = api.store.writer.write(move |db| {
        let before = maintenance::one(db, &id)?;
        let ended = maintenance::end(db, &id, now)?;
        if let Some(ended) = ended.as_ref().filter(|_| ended != before) {
            events::store(
                db,
                &[event(ended, &format!("{by} ends the maintenance window {}", ended.window.name))],
                now,
            )?;
        }
        Ok(ended)
    });
    ended.await?.map(|ended| Json(WindowView::of_stored(&ended, now))).ok_or_else(|| ApiError::not_found(missing))
}

fn stored(new: NewWindow, asker: Asker, now: i64) -> Result<StoredWindow, ApiError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if new.name.is_empty() || new.name.len() > MAX_NAME_BYTES || !new.name.bytes().all(is_plain) {
        return Err(ApiError::bad_request("'name' is up to 100 letters, digits, '-' and '_'"));
    }
    let time = |field: &str, text: &str| -> Result<Time, ApiError> {
        clock(text)
            .ok_or_else(|| ApiError::bad_request(format!("{field} is '{text}'; write a time of the day, as in 02:30")))
    };
    let (from, until) = (time("from", &new.from)?, time("until", &new.until)?);
    let zone = new.time_zone.as_deref().map_or(Ok(TimeZone::UTC), |name| {
        let unknown = || format!("time_zone is '{name}'; write the IANA name of one, as in Europe/Berlin");
        TimeZone::get(name)
            .ok()
            .filter(|zone| zone.iana_name().is_some())
            .ok_or_else(|| ApiError::bad_request(unknown()))
    })?;
    let ends_at = new.ends_at.as_deref().map_or(Ok(i64::MAX), |text| {
        times::parse(text).map_err(|why| ApiError::bad_request(format!("ends_at is '{text}': {why}")))
    })?;
    if ends_at <= now {
        return Err(ApiError::bad_request("'ends_at' is over"));
    }
    let patterns: Result<BTreeMap<String, Pattern>, String> =
        new.matching.into_iter().map(|(name, text)| Ok((name, Pattern::try_from(text)?))).collect();
    let matching = patterns.and_then(Matchers::try_from);
    let matching = matching.map_err(|why| ApiError::bad_request(format!("matching: {why}")))?;
    let days = days(new.days)?;
    Ok(StoredWindow {
        id: uuid::Uuid::now_v7().to_string(),
        window: Maintenance { name: new.name, matching, days, from, until, zone },
        ends_at,
        comment: comment(new.comment, "comment")?,
        author: asker.name(new.author, "author")?,
        created_at: now,
    })
}

/// The days that are named, each once; all of them when none is.
fn days(named: Option<Vec<String>>) -> Result<Vec<Weekday>, ApiError> {
    let Some(named) = named else { return Ok(DAYS.map(|(_, day)| day).to_vec()) };
    let mut days = Vec::new();
    for name in &named {
        let all = || DAYS.map(|(name, _)| name).join(", ");
        let day = day(name).ok_or_else(|| ApiError::bad_request(format!("days: '{name}' is none of {}", all())))?;
        if !days.contains(&day) {
            days.push(day);
        }
    }
    if days.is_empty() {
        return Err(ApiError::bad_request("'days' names none; leave it out for every day"));
    }
    Ok(days)
}

fn event(stored: &StoredWindow, text: &str) -> Event {
    let models = stored.window.matching.iter().find(|(name, _)| *name == "model");
    let model = models.map(|(_, pattern)| pattern.to_string()).filter(|model| !model.ends_with('*'));
    Event { kind: EventKind::Maintenance, model: model.unwrap_or_default(), text: text.replace('\n', " ") }
}
