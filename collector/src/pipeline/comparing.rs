//! Closed windows beside earlier ones, while the pipeline runs: those are in the database, or on their way to it.

use std::sync::Arc;

use tracing::warn;

use super::ModelState;
use super::earlier::stored::{self, StoredEarlier};
use super::earlier::{Beside, Compared, Comparing, EarlierWindow};
use super::events::{Event, EventKind};
use super::series::ClosedWindow;
use crate::config::CompareWith;
use crate::metrics::Metrics;
use crate::store::Store;

/// Compares a window with earlier ones of its version, and keeps it for later ones. Gives what is to be said of it.
pub(super) fn compare(
    state: &mut ModelState,
    version: &Arc<str>,
    window: &mut ClosedWindow,
    store: &Store,
    waiting: &mut Vec<StoredEarlier>,
) -> Vec<Event> {
    let ModelState { config, references, comparing, name, .. } = state;
    if config.compare_with == CompareWith::default() {
        window.profiles.clear();
        return Vec::new();
    }
    let comparing = comparing
        .entry(Arc::clone(version))
        .or_insert_with(|| Comparing::new(config.compare_with, config.windows.clone()));
    let shelf = |ends: i64| {
        // What was kept since the last checkpoint is not stored yet.
        let is_it = |kept: &&StoredEarlier| *kept.model == **name && *kept.version == **version && kept.ends == ends;
        let stored = || store.read_blocking(|db| stored::load(db, (name, version), &references.identity, ends));
        match waiting.iter().find(is_it) {
            Some(kept) => EarlierWindow::unpacked(&kept.contents),
            None => stored()
                .inspect_err(
                    |error| warn!(model = %name, %version, %error, "an earlier window cannot be read, and is left out"),
                )
                .ok()
                .flatten(),
        }
    };
    let Compared { keep, accepted } = comparing.compare(window, references, &config.scoring, &shelf);
    let keep_from = comparing.keep_from(window.ends);
    waiting.extend(keep.map(|kept| StoredEarlier {
        model: name.to_string(),
        version: version.to_string(),
        reference: references.identity.clone(),
        ends: window.ends,
        contents: kept.packed(),
        keep_from,
    }));
    let text = |column| format!("{column} has stayed changed; windows are compared with what it is now from here on");
    let event = |column| Event { kind: EventKind::Drift, model: name.to_string(), text: text(column) };
    accepted.into_iter().map(event).collect()
}

/// Shows a column's scores beside earlier windows.
pub(super) fn show_beside(metrics: &Metrics, (model, version, column): (&str, &str, &str), beside: &Beside) {
    for score in &beside.scores {
        let series = [model, version, column, score.detector.name(), beside.against.name()];
        metrics.show_beside(series, score.effect, score.threshold_in_force());
    }
}
