//! Who is still to be told of an alert, and when.

use driftline_alerts::{Alert, Micros};
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Alerting;
use crate::times::rfc3339;

/// A target that waits for its hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingView {
    target: String,
    /// The schedule that it waits for.
    schedule: String,
    /// When that begins; null when it is not in sight.
    at: Option<String>,
}

/// The alert whose episode this is; none when it has ended, or cannot be read.
pub(super) fn alert_of(db: &Connection, episode: &str) -> rusqlite::Result<Option<Alert>> {
    let state: Option<String> = db
        .prepare_cached(
            "SELECT state FROM alerts JOIN episodes USING (fingerprint) WHERE id = ?1 AND resolved_at IS NULL",
        )?
        .query_row([episode], |row| row.get(0))
        .optional()?;
    let alert = state.and_then(|state| serde_json::from_str::<Alert>(&state).ok());
    Ok(alert.filter(|alert| alert.open().is_some_and(|open| open.episode == episode)))
}

/// Who waits to be told of it.
pub(super) fn views(alerting: &Alerting, alert: Option<&Alert>, now: Micros) -> Vec<WaitingView> {
    let rule = |alert: &Alert| alerting.rules.iter().find(|rule| rule.name == alert.rule);
    let Some((alert, rule)) = alert.and_then(|alert| Some((alert, rule(alert)?))) else { return Vec::new() };
    let begins = |schedule: &str| alerting.routes.schedules.get(schedule)?.next_on(now).map(rfc3339);
    let waiting = alerting.routes.waiting(rule, alert, now).into_iter();
    waiting.map(|(target, schedule)| WaitingView { at: begins(&schedule), target, schedule }).collect()
}
