//! What is known of each model while its exchanges come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use driftline_protocol::Naming;

use super::checkpoint::{OpenPane, last_scores, load_series};
use super::columns::Columns;
use super::earlier::{Comparing, stored};
use super::reasons::Reasons;
use super::series::{References, Series};
use super::versions::Versions;
use super::watermarks::Watermarks;
use super::{Pipeline, comparing, hearing};
use crate::config::Model;
use crate::metrics::ModelMetrics;
use crate::segments::stored::last_windows;
use crate::store::StoreError;

/// One model: what is known of it, and its versions.
#[derive(Debug)]
pub(super) struct ModelState {
    pub(super) config: Model,
    pub(super) naming: Arc<Naming>,
    pub(super) references: Arc<References>,
    pub(super) columns: Columns,
    pub(super) versions: Versions,
    pub(super) watermarks: Watermarks,
    pub(super) series: BTreeMap<Arc<str>, Series>,
    /// What compares a version's windows with earlier ones, from its first window on.
    pub(super) comparing: HashMap<Arc<str>, Comparing>,
    /// Whether a version's column drifted when it was last judged.
    pub(super) drifting: HashMap<(Arc<str>, String), bool>,
    pub(super) name: Arc<str>,
    /// When anything came of it last.
    pub(super) heard_at: i64,
    /// Why indicators count as bad what came lately.
    pub(super) reasons: Reasons,
    pub(super) metrics: ModelMetrics,
}

impl Pipeline {
    /// Makes sure that a model's state is there.
    pub(super) fn model(&mut self, name: &str) -> Result<(), StoreError> {
        if self.models.contains_key(name) {
            return Ok(());
        }
        let config = self.parts.config.model(name);
        let references = self.parts.references.of(name);
        let file = self.parts.references.file(name);
        let told = self.parts.metadata.of(name);
        let metrics = &self.parts.metrics;
        let (columns, versions, watermarks, stored, heard_at) = self.parts.store.read_blocking(|db| {
            // A restart must not make gauges vanish until the next window closes.
            last_scores(db, name, |version, column, score, effect, limit| {
                metrics.show_score([name, version, column, score], effect, limit);
            })?;
            stored::last_comparisons(db, name, |version, column, beside| {
                comparing::show_beside(metrics, (name, version, column), beside);
            })?;
            last_windows(db, name, |version, segment, rows, worst| {
                let known = references.segments.as_ref();
                if known.is_some_and(|segments| segments.names().any(|name| name == segment)) {
                    metrics.show_segment([name, version, segment], rows, worst);
                }
            })?;
            let stored = load_series(db, name, &references.identity)?;
            let columns = Columns::load(db, &config, file)?.with_metadata(told);
            let heard_at = hearing::last_counted(db, name)?;
            Ok((columns, Versions::load(db, name)?, Watermarks::load(db, &config)?, stored, heard_at))
        })?;
        let mut series = BTreeMap::new();
        for (version, stored) in stored.into_iter().filter(|(version, _)| versions.is_active(version)) {
            let mut one = Series::new(config.windows.clone(), Some(stored.progress));
            for OpenPane { start, rows, profiles, segments } in stored.panes {
                if profiles.len() == references.columns.len() {
                    let segments = references.segments.as_ref().map(|known| known.restore(segments));
                    one.restore(start, rows, profiles, segments.unwrap_or_default());
                }
            }
            series.insert(Arc::from(version), one);
        }
        let metrics = self.parts.metrics.introduce_model(&config);
        let name: Arc<str> = Arc::from(name);
        let state = ModelState {
            naming: Arc::new(config.naming.clone()),
            config,
            references,
            columns,
            versions,
            watermarks,
            series,
            comparing: HashMap::new(),
            drifting: HashMap::new(),
            name: Arc::clone(&name),
            heard_at,
            reasons: Reasons::default(),
            metrics,
        };
        self.models.insert(name, state);
        Ok(())
    }
}
