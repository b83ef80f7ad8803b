//! What one configuration makes of archived rows: windows, scores and alerts.

use std::collections::BTreeMap;

use driftline_alerts::{Condition, Notification, Severity, Transition};
use driftline_detectors::{Bar, Verdict};

use super::super::backfill::rebuild_from;
use super::super::samples::{Archive, From};
use crate::alerting::book::{Book, Change};
use crate::alerting::evidence;
use crate::api::ScoreView;
use crate::config::{Config, Model};
use crate::pipeline::HEADLINE;
use crate::pipeline::columns::Columns;
use crate::pipeline::judging;
use crate::pipeline::rebuild::{Rebuild, Rebuilt, Rows};
use crate::pipeline::series::{ClosedColumn, ClosedWindow};
use crate::references;
use crate::store;
use crate::times;

/// What a configuration makes of a stretch of time.
#[derive(Debug)]
pub(super) struct History {
    pub(super) model: String,
    /// The stretch of time that was asked for.
    pub(super) span: (i64, i64),
    pub(super) windows: u64,
    pub(super) rows: Rows,
    pub(super) episodes: Vec<Episode>,
    /// By version and column.
    pub(super) columns: BTreeMap<(String, String), Column>,
    /// Names of rules on indicators: rows of an archive do not tell what was not captured.
    pub(super) left_out: Vec<String>,
}

/// One alert, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Episode {
    /// The end of the window that began it.
    pub(super) began: i64,
    /// The end of the window that ended it; none when it went on.
    pub(super) ended: Option<i64>,
    /// What would have been said.
    pub(super) said: Notification,
}

/// One column of one version over time.
#[derive(Debug)]
pub(super) struct Column {
    /// The ends of windows, and the headline score's effect and limit in each, where it was taken.
    pub(super) course: Vec<Point>,
    /// The window in which it went furthest beyond its limit.
    pub(super) worst: Worst,
}

/// The headline score in one window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) ends: i64,
    pub(super) effect: Option<f64>,
    pub(super) limit: Option<f64>,
    pub(super) verdict: Option<Verdict>,
}

/// A window to look at.
#[derive(Debug)]
pub(super) struct Worst {
    pub(super) ends: i64,
    /// Effect over limit.
    pub(super) ratio: f64,
    pub(super) scores: Vec<ScoreView>,
    pub(super) bars: Vec<Bar>,
}

impl History {
    /// Takes the rows of a stretch of time through a configuration. What columns are is known from the collector that
    /// archived the rows, whose configuration is `archived_by`.
    pub(super) fn of(config: &Config, archived_by: &Config, archive: &Archive, from: &From) -> Result<Self, String> {
        let model = config.model(&from.model);
        let (references, file) = references::of_model(&model)?.ok_or_else(|| {
            format!(
                "model '{}' has no reference, so nothing is scored; build one with 'driftline reference build'",
                model.name
            )
        })?;
        let mut rebuild = Rebuild::new(&model, references, from.from, from.to).ok_or_else(|| {
            format!("no window of model '{}' ends in {}", model.name, times::span(from.from, from.to))
        })?;
        let database = |error: rusqlite::Error| format!("the database: {error}");
        let nowhere = store::nowhere().map_err(database)?;
        let columns = match store::look_into(&archived_by.data_dir) {
            Some(db) => Columns::load(&db, &model, Some(&file)).map_err(database)?,
            None => {
                eprintln!(
                    "there is no database in {}: every column is taken for a feature",
                    archived_by.data_dir.display()
                );
                Columns::load(&nowhere, &model, Some(&file)).map_err(database)?
            }
        };
        let rules = config.alerting.rules.clone();
        let is_of_scores = |condition: &Condition| matches!(condition, Condition::Score { .. });
        let left_out =
            rules.iter().filter(|rule| !is_of_scores(&rule.condition)).map(|rule| rule.name.clone()).collect();
        let (book, _) = Book::load(&nowhere, rules).map_err(database)?;
        let mut replay = Replay {
            model: &model,
            columns: &columns,
            book,
            public_url: &config.public_url,
            history: Self {
                model: model.name.clone(),
                span: (from.from, from.to),
                windows: 0,
                rows: Rows::default(),
                episodes: Vec::new(),
                columns: BTreeMap::new(),
                left_out,
            },
        };
        rebuild_from(archive, from, &mut rebuild, &mut |rebuilt| {
            replay.take(&rebuilt);
            Ok(())
        })?;
        replay.history.rows = rebuild.rows;
        Ok(replay.history)
    }

    pub(super) fn pages(&self) -> usize {
        self.alerts(Severity::Page)
    }

    pub(super) fn tickets(&self) -> usize {
        self.alerts(Severity::Ticket)
    }

    fn alerts(&self, severity: Severity) -> usize {
        self.episodes.iter().filter(|episode| episode.said.severity == severity).count()
    }

    /// Episodes of this history to which the other has none of the same rule at the same time.
    pub(super) fn only_here<'h>(&'h self, other: &'h Self) -> impl Iterator<Item = &'h Episode> {
        let overlap = |a: &Episode, b: &Episode| {
            let ends = |episode: &Episode| episode.ended.unwrap_or(i64::MAX);
            a.said.rule == b.said.rule && a.said.labels == b.said.labels && a.began < ends(b) && b.began < ends(a)
        };
        self.episodes.iter().filter(move |own| !other.episodes.iter().any(|theirs| overlap(own, theirs)))
    }
}

/// Windows on their way to alerts.
struct Replay<'r> {
    model: &'r Model,
    columns: &'r Columns,
    book: Book,
    public_url: &'r str,
    history: History,
}

impl Replay<'_> {
    fn take(&mut self, rebuilt: &Rebuilt) {
        let Rebuilt { version, window } = rebuilt;
        self.history.windows += 1;
        for column in &window.columns {
            self.history.note(version, window, column);
        }
        let observations = judging::observations(&self.model.name, version, window, self.columns);
        let forget_after = judging::forget_after(&self.model.windows);
        for change in self.book.observe_scores(&observations, window.ends, forget_after) {
            self.tell(&change, window);
        }
    }

    fn tell(&mut self, change: &Change, window: &ClosedWindow) {
        let columns = &self.history.columns;
        let course = |version: &str, column: &str, score: &str| {
            let course = columns.get(&(version.to_owned(), column.to_owned()));
            let course = course.filter(|_| score == HEADLINE.name()).map_or(&[][..], |column| &column.course);
            let first = course.len().saturating_sub(evidence::SPARKLINE_WINDOWS);
            course[first..].iter().map(|point| point.effect).collect()
        };
        let context =
            evidence::Context { window: Some(window), history: &course, public_url: self.public_url, now: window.ends };
        let said = evidence::notification(change, &context);
        match &change.transition {
            Transition::Fired { .. } => {
                self.history.episodes.push(Episode { began: window.ends, ended: None, said });
            }
            Transition::Resolved { episode, .. } => {
                let open = self.history.episodes.iter_mut().rfind(|open| open.said.episode == *episode);
                if let Some(open) = open {
                    open.ended = Some(window.ends);
                }
            }
        }
    }
}

impl History {
    fn note(&mut self, version: &str, window: &ClosedWindow, column: &ClosedColumn) {
        let headline = column.scores.iter().find(|score| score.detector == HEADLINE);
        let ratio = headline
            .filter(|score| score.verdict != Verdict::NotEnoughData)
            .map_or(0.0, |score| score.effect / score.threshold_in_force().max(f64::MIN_POSITIVE));
        let known = self.columns.entry((version.to_owned(), column.column.clone())).or_insert_with(|| Column {
            course: Vec::new(),
            worst: Worst { ends: window.ends, ratio: f64::NEG_INFINITY, scores: Vec::new(), bars: Vec::new() },
        });
        known.course.push(Point {
            ends: window.ends,
            effect: headline.map(|score| score.effect),
            limit: headline.map(driftline_detectors::Score::threshold_in_force),
            verdict: headline.map(|score| score.verdict),
        });
        if ratio > known.worst.ratio {
            known.worst = Worst {
                ends: window.ends,
                ratio,
                scores: column.scores.iter().map(ScoreView::from).collect(),
                bars: column.bars.clone(),
            };
        }
    }
}
