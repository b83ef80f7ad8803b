//! From closed windows to alerts, and what is said of these and of those on indicators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftline_alerts::{Expression, Labels, Observation, Patience, Reading, Rule, Severity, Transition};
use driftline_detectors::{Score, Verdict};
use driftline_protocol::Role;
use tracing::warn;

use super::checkpoint::StoredWindow;
use super::columns::role_name;
use super::comparing::{compare, show_beside};
use super::earlier::{Against, stored};
use super::events::{Event, EventKind};
use super::over_time;
use super::series::{ClosedColumn, ClosedWindow, Wall};
use super::{HEADLINE, ModelState, Pipeline, expressions};
use crate::alerting::book::{Change, Orphan};
use crate::alerting::evidence::{self, Watched};
use crate::alerting::news::News;
use crate::alerting::{around, changes, confidence, facts, pulling};
use crate::causes::{HISTORY_WINDOWS, Past};
use crate::config::{EventTime, Windows};
use crate::numbers::{significant, thousands};
use crate::runbooks::briefing;
use crate::segments::segment_score;
use crate::store::Store;
use crate::times::{self, now_micros};
use crate::vocabulary::{LABELS, Named};

/// A column or a version that is gone is watched for at least so long more.
pub(super) const SHORTEST_FORGET_MICROS: i64 = 3_600_000_000;
/// It is gone when so many windows of the others have closed without it.
const FORGET_WINDOWS: i64 = 4;

impl Pipeline {
    /// Episodes that no rule will end, because theirs was taken out while it fired or their alert cannot be read: they are
    /// closed, and who was told of the beginning is told of the end.
    pub(super) fn resolve_orphans(&mut self, orphans: Vec<Orphan>) {
        for mut orphan in orphans {
            let resolved = orphan.resolved.take();
            let state = resolved.and_then(|alert| serde_json::to_string(&alert).ok());
            self.next.alerts.extend(state.map(|state| (orphan.fingerprint.clone(), orphan.rule.clone(), state)));
            let ended = evidence::orphaned(&orphan, &self.parts.config.public_url, now_micros());
            self.next.news.push(News::Ended { notification: Box::new(ended) });
        }
    }

    pub(super) fn close_windows(&mut self) {
        let now = Instant::now();
        let mut closed = Vec::new();
        for model in self.models.values_mut() {
            let wall = match model.config.event_time {
                EventTime::Request => Wall::IsEventTime(now_micros()),
                EventTime::Column { .. } => Wall::BesideEventTime(now_micros()),
            };
            for (version, series) in &mut model.series {
                for window in series.close_windows(&model.references, &model.config.scoring, now, wall) {
                    closed.push((Arc::clone(&model.name), Arc::clone(version), window));
                }
            }
        }
        for (model, version, window) in closed {
            self.judge(&model, &version, window);
        }
    }

    /// Shows a closed window, and takes its scores to the rules.
    fn judge(&mut self, model: &Arc<str>, version: &Arc<str>, mut window: ClosedWindow) {
        let Some(state) = self.models.get_mut(model) else { return };
        let metrics = &self.parts.metrics;
        let of_segments = window.segments.iter_mut().flat_map(|segment| &mut segment.columns);
        for column in window.columns.iter_mut().chain(of_segments) {
            let before = column.scores.len();
            column.scores.retain(is_finite);
            let left_out = before - column.scores.len();
            if left_out > 0 {
                warn!(%model, %version, column = column.column, left_out, "scores are no finite numbers, and are left out");
                metrics.scores_not_finite.inc_by(left_out as u64);
            }
        }
        let accepted = compare(state, version, &mut window, &self.parts.store, &mut self.next.earlier);
        metrics.windows_closed.with_label_values(&[model]).inc();
        metrics.window_rows.with_label_values(&[model, version]).set(window.rows as i64);
        let role = |column: &str| state.columns.role(column);
        let mut observations = observations(model, version, &window, &role);
        let now = now_micros();
        let store = &self.parts.store;
        let measure = |named: &Named, over: Duration| {
            store.read_blocking(|db| expressions::measure(db, model, named, over, now)).ok()?
        };
        let own = &self.own;
        let sources = |expression: &Expression| own.sources(expression, metrics);
        let known = (&measure as &dyn Fn(&Named, Duration) -> Option<f64>, &sources as &expressions::Sources<'_>);
        observations.extend(expressions::of_window(self.book.rules(), (model, version), &window, &role, known));
        let watched = over_time::watched(self.book.rules());
        let rises = match over_time::is_side_by_side(&state.config.windows, window.ends) {
            true => {
                let mut shelf =
                    shelf(&self.parts.store, &self.next.windows, (model, version), &state.references.identity);
                over_time::observations((model, version), &window, &role, &watched, &mut shelf)
            }
            false => Vec::new(),
        };
        for column in &window.columns {
            for score in &column.scores {
                let series = [model, version, column.column.as_str(), score.detector.name()];
                metrics.show_score(series, score.effect, score.threshold_in_force());
            }
            column.beside.iter().for_each(|beside| show_beside(metrics, (model, version, &column.column), beside));
            self.next.events.extend(drift_event(state, version, column));
        }
        self.next.events.extend(accepted);
        for segment in &window.segments {
            metrics.show_segment([model, version, &segment.name], segment.rows, segment.shown());
        }
        self.next.events.push(Event { kind: EventKind::Window, model: model.to_string(), text: window_text(&window) });
        let windows = &state.config.windows;
        let (patience, with_streams) = (patience(windows), over_time::patience(windows));
        let mut changes = self.book.observe_scores(&observations, now_micros(), patience);
        changes.extend(self.book.observe_scores(&rises, now_micros(), with_streams));
        metrics.observations_refused.inc_by(self.book.take_refused());
        for change in changes {
            self.note(&change, Some((model, &window)));
        }
        self.count_slices((model, version), &window);
        self.tell();
        let reference = self.models.get(model).map(|state| state.references.identity.clone()).unwrap_or_default();
        self.next.windows.push(StoredWindow {
            model: model.to_string(),
            version: version.to_string(),
            reference,
            window,
        });
    }

    /// Puts a change of an alert into the next checkpoint.
    pub(super) fn note(&mut self, change: &Change, window: Option<(&Arc<str>, &ClosedWindow)>) {
        let now = now_micros();
        let (store, waiting) = (&self.parts.store, &self.next.windows);
        let history = |watched: &Watched<'_>| {
            let Some((model, window)) = window else { return Vec::new() };
            let mut history = store.read_blocking(|db| score_history(db, model, watched)).unwrap_or_default();
            // Windows that closed since the last checkpoint are not stored yet.
            let is_of_version = |stored: &&StoredWindow| *stored.model == **model && stored.version == watched.version;
            let waiting = waiting.iter().filter(is_of_version).map(|stored| &stored.window);
            history.extend(waiting.chain([window]).filter_map(|window| past(window, watched)));
            history
        };
        let context = evidence::Context {
            window: window.map(|(_, window)| window),
            history: &history,
            public_url: &self.parts.config.public_url,
            dashboard: self.parts.config.alerting.dashboard.as_ref(),
            now,
        };
        let mut notification = evidence::notification(change, &context);
        if let Transition::Fired { .. } = change.transition {
            let runbook = self.parts.runbooks.find(&change.rule.runbook);
            briefing::brief(&mut notification, runbook, context.public_url);
            let since = evidence::since(change, &context).map(|since| since.first);
            notification.facts.extend(self.around(change, window, since, now));
            notification.facts.extend(self.made_of_it(change));
            notification.facts.extend(self.rows_of(change, context.window, now));
        }
        notification.facts.extend(self.facts_of_deliveries(&change.alert.labels));
        notification.facts.extend(self.facts_of_arrivals(change));
        notification.facts.extend(self.facts_of_sidecars(change));
        notification.facts.extend(self.facts_of_watermarks(change));
        notification.facts.extend(self.facts_of_running(change));
        notification.facts.extend(self.facts_of_reasons(change));
        facts::put_in_order(&mut notification.facts);
        let kind = match change.transition {
            Transition::Fired { .. } => EventKind::AlertFired,
            Transition::Resolved { .. } => EventKind::AlertResolved,
        };
        let model = change.alert.labels.get("model").cloned().unwrap_or_default();
        let text = format!("{}: {} — runbook {}", change.rule.name, notification.summary, notification.runbook_url);
        self.next.events.push(Event { kind, model, text });
        let notification = Box::new(notification);
        self.next.news.push(match change.transition {
            Transition::Fired { .. } => {
                let (fingerprint, runbook) = (change.alert.fingerprint(), change.rule.runbook.clone());
                let is_flapping = change.alert.open().is_some_and(|open| open.is_flapping);
                News::Began { notification, fingerprint, runbook, is_flapping }
            }
            Transition::Resolved { .. } => {
                // What no route makes of it any more, since a restart, is not looked at again.
                let (routes, severity) = (&self.parts.config.alerting.routes, change.rule.severity);
                if self.own_rule(change).is_some_and(|own| !routes.severities(own, &LABELS).contains(&severity)) {
                    self.parts.metrics.show_firing(&change.rule.name, severity.name(), (0, 0));
                }
                News::Ended { notification }
            }
        });
    }

    /// The rule of a change as it is configured.
    fn own_rule(&self, change: &Change) -> Option<&Rule> {
        self.book.rules().iter().find(|own| own.name == change.rule.name)
    }

    /// That routes have made something else of an alert than its rule says.
    fn made_of_it(&self, change: &Change) -> Option<(String, String)> {
        let (rule, own) = (&change.rule, self.own_rule(change)?.severity);
        let words = || format!("{} by a route; the rule says {}", rule.severity.name(), own.name());
        (own != rule.severity).then(|| ("Severity".to_owned(), words()))
    }

    /// How the rows are pulled that an alert rests on.
    fn rows_of(&self, change: &Change, window: Option<&ClosedWindow>, now: i64) -> Option<(String, String)> {
        let worst = evidence::worst(change)?;
        let state = self.models.get(worst.labels.get("model")?.as_str())?;
        let command = pulling::command(&change.rule, worst, (&state.config, window), now)?;
        Some(("Rows".to_owned(), command))
    }

    /// What is around an alert that begins, as far as that can be read.
    fn around(
        &self,
        change: &Change,
        window: Option<(&Arc<str>, &ClosedWindow)>,
        since: Option<i64>,
        now: i64,
    ) -> Vec<(String, String)> {
        let model = change.alert.labels.get("model").map_or("", String::as_str);
        let slices = self.models.get(model).map_or(&[][..], |model| &model.config.slis.slices);
        let read = self.parts.store.read_blocking(|db| {
            let affected = around::affected(db, change, window.map(|(model, window)| (&**model, window)), since)?;
            let left = confidence::budgets_left(db, (self.book.rules(), slices), change, now)?;
            Ok((affected, left, changes::last_before(db, model, now, &self.next.changes)?))
        });
        let (affected, left, changed) = read.unwrap_or_else(|error| {
            warn!(%error, "what is around an alert cannot be read, and is left out");
            (None, None, None)
        });
        let members: Vec<_> = change.alert.over().collect();
        let moved = window.and_then(|(_, window)| around::moved_with_it(&members, window));
        let sure = confidence::confidence(change, window.map(|(_, window)| window));
        let facts = [
            ("Affected", affected),
            ("Also moved", moved),
            ("Changed before", changed),
            ("Budget", left),
            ("Confidence", sure),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    pub(super) fn show_alerts(&self) {
        let routes = &self.parts.config.alerting.routes;
        // Those of which none fires are shown, too.
        let mut counts: BTreeMap<(&str, Severity), (i64, i64)> = BTreeMap::new();
        for rule in self.book.rules() {
            let severities = routes.severities(rule, &LABELS).into_iter();
            counts.extend(severities.map(|severity| ((rule.name.as_str(), severity), (0, 0))));
        }
        for (rule, alert) in self.book.firing() {
            let (firing, muted) = counts.entry((&rule.name, alert.severity(rule))).or_default();
            *firing += 1;
            *muted += i64::from(alert.open().is_some_and(|open| !open.told.muted_by.is_empty()));
        }
        for ((rule, severity), counted) in counts {
            self.parts.metrics.show_firing(rule, severity.name(), counted);
        }
    }
}

/// Earlier windows of a version, as streams have them: those that closed since the last checkpoint are not stored yet.
fn shelf<'s>(
    store: &'s Store,
    waiting: &'s [StoredWindow],
    (model, version): (&'s str, &'s str),
    reference: &'s str,
) -> impl FnMut(i64) -> Vec<over_time::Point> + 's {
    move |ends| {
        let is_it =
            |stored: &&StoredWindow| stored.model == model && stored.version == version && stored.window.ends == ends;
        match waiting.iter().find(is_it) {
            Some(stored) if stored.reference == reference => over_time::points(&stored.window),
            Some(_) => Vec::new(),
            None => store
                .read_blocking(|db| over_time::stored(db, (model, version), reference, ends))
                .inspect_err(|error| warn!(model, version, ends, %error, "a window cannot be read, and is left out"))
                .unwrap_or_default(),
        }
    }
}

/// Whether every number of a score is one. One that is not says nothing, and no database, JSON or gauge takes it.
pub(crate) fn is_finite(score: &Score) -> bool {
    let Score { value, upper, effect, interval, null_mean, p_value, threshold, .. } = *score;
    [value, upper, effect, interval.0, interval.1, null_mean, p_value, threshold, score.noise.independent]
        .into_iter()
        .chain(score.noise.blocks)
        .chain(score.noise.budget)
        .all(f64::is_finite)
}

/// For how long a column or a version may be missing while others of its model are scored, in microseconds.
pub(crate) fn forget_after(windows: &Windows) -> i64 {
    let every = windows.every_micros();
    let idle = windows.lateness.saturating_add(windows.close_when_idle).as_micros() as i64;
    every.saturating_mul(FORGET_WINDOWS).saturating_add(idle).max(SHORTEST_FORGET_MICROS)
}

/// How long alerts wait for a column or a version that says nothing.
pub(crate) fn patience(windows: &Windows) -> Patience {
    Patience { forget_after: forget_after(windows), every: windows.every_micros() }
}

/// What the rules are told of a window: every score of every column, against the reference and beside earlier windows.
pub(crate) fn observations(
    model: &str,
    version: &str,
    window: &ClosedWindow,
    role: &dyn Fn(&str) -> Role,
) -> Vec<Observation> {
    let of_column = |column: &ClosedColumn| {
        let role = role(&column.column);
        let observation = |name, score| observation(model, version, (column, role), (name, score));
        let scores = column.scores.iter().map(|score| (score.detector.name().to_owned(), score));
        let beside = column
            .beside
            .iter()
            .flat_map(|beside| beside.scores.iter().map(|score| (beside.against.score_name(score.detector), score)));
        scores.chain(beside).map(|(name, score)| observation(name, score)).collect::<Vec<_>>()
    };
    let whole = window.columns.iter().flat_map(of_column);
    whole.chain(segment_observations(model, version, window, role)).collect()
}

/// What the rules are told of a window's segments: every score, under a name of its own, of columns that do not drift by it
/// as a whole. Of the others the whole's alert speaks.
fn segment_observations(
    model: &str,
    version: &str,
    window: &ClosedWindow,
    role: &dyn Fn(&str) -> Role,
) -> Vec<Observation> {
    let mut observations = Vec::new();
    for segment in &window.segments {
        for column in &segment.columns {
            let role = role(&column.column);
            let whole = window.column(None, &column.column).map_or(&[] as &[Score], |whole| &whole.scores);
            let drifts = |detector| whole.iter().any(|s| s.detector == detector && s.verdict == Verdict::Drift);
            for score in column.scores.iter().filter(|score| !drifts(score.detector)) {
                let named = (segment_score(score.detector), score);
                let mut observation = observation(model, version, (column, role), named);
                observation.labels.insert("segment".to_owned(), segment.name.clone());
                observations.push(observation);
            }
        }
    }
    observations
}

fn observation(
    model: &str,
    version: &str,
    (column, role): (&ClosedColumn, Role),
    (name, score): (String, &Score),
) -> Observation {
    let reading = match score.verdict {
        Verdict::NotEnoughData => Reading::NotEnoughData,
        Verdict::Ok | Verdict::Drift => Reading::Score {
            value: score.effect,
            threshold: score.threshold,
            noise: score.noise.level(),
            n: score.n_window,
        },
    };
    Observation { name, labels: score_labels(model, version, &column.column, role), reading }
}

/// The labels of what is observed of a column.
pub(super) fn score_labels(model: &str, version: &str, column: &str, role: Role) -> Labels {
    let labels = [("model", model), ("version", version), ("column", column), ("role", role_name(role))];
    labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn headline(column: &ClosedColumn) -> Option<&Score> {
    column.scores.iter().find(|score| score.detector == HEADLINE)
}

/// The line that says that a column began or stopped to drift.
fn drift_event(state: &mut ModelState, version: &Arc<str>, column: &ClosedColumn) -> Option<Event> {
    let score = headline(column).filter(|score| score.verdict != Verdict::NotEnoughData)?;
    let drifts = score.verdict == Verdict::Drift;
    let before = state.drifting.insert((Arc::clone(version), column.column.clone()), drifts).unwrap_or(false);
    if drifts == before {
        return None;
    }
    let numbers =
        format!("{} {}, limit {}", HEADLINE.name(), significant(score.effect), significant(score.threshold_in_force()));
    let says = if drifts { "drifts" } else { "is back within its limit" };
    Some(Event {
        kind: EventKind::Drift,
        model: state.name.to_string(),
        text: format!("{} {says} ({numbers})", column.column),
    })
}

fn window_text(window: &ClosedWindow) -> String {
    let span = times::span(window.starts, window.ends);
    let rows = format!("{span}: {} rows, {} of {} panes filled", thousands(window.rows), window.filled, window.panes);
    let judged = || window.columns.iter().filter_map(headline);
    let drifting: Vec<String> = window
        .columns
        .iter()
        .filter_map(|column| Some((column, headline(column)?)))
        .filter(|(_, score)| score.verdict == Verdict::Drift)
        .map(|(column, score)| format!("{} ({})", column.column, significant(score.effect)))
        .collect();
    if window.columns.is_empty() {
        format!("{rows}; no reference, so nothing is scored")
    } else if !drifting.is_empty() {
        format!("{rows}; drift in {}", drifting.join(", "))
    } else if judged().all(|score| score.verdict == Verdict::NotEnoughData) {
        format!("{rows}; not enough data")
    } else {
        format!("{rows}; no drift")
    }
}

/// A score of a window, as its history has it.
fn past(window: &ClosedWindow, watched: &Watched<'_>) -> Option<Past> {
    let score = window.column(watched.segment, watched.column)?.score(watched.detector)?;
    Some(Past { ends: window.ends, effect: score.effect })
}

/// The last windows of a score that are stored, the newest last.
pub(super) fn score_history(
    db: &rusqlite::Connection,
    model: &str,
    watched: &Watched<'_>,
) -> rusqlite::Result<Vec<Past>> {
    let Watched { version, segment, column, detector } = *watched;
    if let Some((against, detector)) = Against::of_score(detector) {
        return stored::history(db, (model, version, column), (against, detector), HISTORY_WINDOWS);
    }
    let scores = match segment {
        None => {
            "SELECT ends, effect FROM scores WHERE model = ?1 AND version = ?2 AND column_name = ?3 AND detector = ?4
                 AND ?6 IS NULL ORDER BY ends DESC LIMIT ?5"
        }
        Some(_) => {
            "SELECT ends, effect FROM segment_scores WHERE model = ?1 AND version = ?2 AND column_name = ?3
                    AND detector = ?4 AND segment = ?6 ORDER BY ends DESC LIMIT ?5"
        }
    };
    let mut history: Vec<Past> = db
        .prepare_cached(scores)?
        .query_map(rusqlite::params![model, version, column, detector, HISTORY_WINDOWS, segment], |row| {
            Ok(Past { ends: row.get(0)?, effect: row.get(1)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    history.reverse();
    Ok(history)
}
