//! Segments of a model's rows: counted beside the whole, and each compared with itself in the reference.
//!
//! ```text
//!   rows of a pane ─┬─▶ profiles of the whole
//!                   └─▶ split ─▶ rows of each segment ─▶ its profiles ─▶ windows ─▶ its scores
//!                                                                            └─▶ how much of the whole's drift is the mix
//! ```
//!
//! A model without segments pays one look for each batch of rows.

mod closing;
mod split;
pub(crate) mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::ArrowError;
use arrow_select::take::take_record_batch;
use driftline_detectors::{Derivation, Detector, NullEffects, Parting, Profile, Reference, Watch, level};
use tracing::{error, warn};

pub(crate) use self::closing::{ClosedSegment, Closing, WorstScore, beyond};
pub(crate) use self::split::Split;
use crate::config::{Model, SegmentBy};
use crate::pipeline::columns::archived_name;
use crate::pipeline::counting;
use crate::pipeline::series::References;
use crate::pipeline::table::Finished;

/// What stands before a score's name where rules watch it in segments: those that watch the whole do not see segments.
const SCORE_PREFIX: &str = "segment_";

/// The name under which rules watch a score in segments.
pub(crate) fn segment_score(detector: Detector) -> String {
    format!("{SCORE_PREFIX}{}", detector.name())
}

/// The score that a rule watches, and whether it does so in segments.
pub(crate) fn watched_score(name: &str) -> (&str, bool) {
    name.strip_prefix(SCORE_PREFIX).map_or((name, false), |name| (name, true))
}

/// A model's segments, ready to count on.
#[derive(Debug)]
pub(crate) struct ModelSegments {
    /// The columns on the cells that segments share, with the counts of all rows.
    shared: Box<References>,
    by: Vec<Parted>,
    /// Whether a budget of false pages says how far their scores may go.
    is_in_budget: bool,
    /// Archived columns that are counted, or that these are derived from.
    counted: BTreeSet<String>,
}

/// One way in which rows are parted.
#[derive(Debug)]
struct Parted {
    parting: Parting,
    split: Split,
    segments: Vec<KnownSegment>,
}

/// What normal looks like in one segment.
#[derive(Debug)]
struct KnownSegment {
    name: String,
    rows: u64,
    /// One for each of the shared columns.
    references: Vec<Reference>,
}

/// The rows of one segment in a pane.
#[derive(Debug, Default)]
pub(crate) struct SegmentPane {
    pub(crate) rows: u64,
    /// One for each of the shared columns; empty without rows.
    pub(crate) profiles: Vec<Profile>,
}

impl ModelSegments {
    /// The segments that a model's description names, as its reference has them. None without any.
    pub(crate) fn of(
        model: &Model,
        derived: &[Derivation],
        file: Option<&driftline_detectors::Segments>,
    ) -> Option<Self> {
        let by: Vec<Parted> = model.segments.by.iter().filter_map(|by| parted(model, by, file)).collect();
        let columns = file.filter(|_| !by.is_empty())?.columns.clone();
        let sources = derived.iter().map(Derivation::column);
        let names = columns.iter().map(|column| column.column.as_str()).chain(sources);
        let counted = names.map(|name| archived_name(name).into_owned()).chain(["event_time".to_owned()]).collect();
        let shared = References { columns, derived: derived.to_vec(), ..References::default() };
        Some(Self { shared: Box::new(shared), by, is_in_budget: false, counted })
    }

    /// What is known of histories that could have been, of all columns of all segments.
    pub(crate) fn nulls(&self) -> impl Iterator<Item = &NullEffects> {
        self.references().flat_map(|reference| reference.nulls.values())
    }

    /// Shares what of a budget is theirs: so many alerts for each window, of rules that watch these scores. The share of windows
    /// in which each may be over its limit; none when nothing is known of histories.
    pub(crate) fn allow_false_pages(&mut self, watches: &[Watch], per_window: f64) -> Option<f64> {
        let level = level(&self.references().collect::<Vec<_>>(), watches, &[], per_window)?;
        let segments = self.by.iter_mut().flat_map(|parted| &mut parted.segments);
        segments.flat_map(|segment| &mut segment.references).for_each(|reference| reference.allow(Some(level)));
        self.is_in_budget = true;
        Some(level)
    }

    /// Whether a budget of false pages says how far their scores may go. Scores of which it knows nothing are not judged then.
    pub(crate) fn is_in_budget(&self) -> bool {
        self.is_in_budget
    }

    fn references(&self) -> impl Iterator<Item = &Reference> {
        self.known().flat_map(|segment| &segment.references)
    }

    /// Their names, in the order of their panes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.known().map(|segment| segment.name.as_str())
    }

    fn known(&self) -> impl Iterator<Item = &KnownSegment> {
        self.by.iter().flat_map(|parted| &parted.segments)
    }

    /// Counts the rows of a table in the pane of each segment that they are of.
    pub(crate) fn count(&self, table: &Finished, panes: &mut Vec<SegmentPane>) {
        panes.resize_with(self.known().count(), SegmentPane::default);
        let counted = match self.counted_columns(&table.batch) {
            Ok(counted) => counted,
            Err(error) => return error!(%error, "rows could not be parted into segments, and are counted in none"),
        };
        let mut panes = panes.iter_mut();
        for parted in &self.by {
            let mut rows: Vec<Vec<u32>> = vec![Vec::new(); parted.segments.len()];
            for (row, place) in (0..).zip(parted.split.places(&table.batch)) {
                if let Some(place) = place {
                    rows[place].push(row);
                }
            }
            for (rows, pane) in rows.into_iter().zip(&mut panes) {
                self.count_rows(&counted, rows, pane);
            }
        }
    }

    fn count_rows(&self, counted: &RecordBatch, rows: Vec<u32>, pane: &mut SegmentPane) {
        if rows.is_empty() {
            return;
        }
        if pane.profiles.is_empty() {
            pane.profiles = self.shared.columns.iter().map(Reference::empty_profile).collect();
        }
        pane.rows += rows.len() as u64;
        // Which rows held something of another type is not known any more: in a segment it is as missing as what is absent.
        match take_record_batch(counted, &UInt32Array::from(rows)) {
            Ok(batch) => {
                let table = Finished { batch, wrong_type: HashMap::new(), came: HashMap::new() };
                counting::count(&table, &self.shared, &mut pane.profiles);
            }
            Err(error) => error!(%error, "rows of a segment could not be put together, and are not counted in it"),
        }
    }

    /// The columns of a batch that are counted in segments.
    fn counted_columns(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let fields = batch.schema_ref().fields().iter().enumerate();
        let places: Vec<usize> =
            fields.filter(|(_, field)| self.counted.contains(field.name())).map(|(place, _)| place).collect();
        batch.project(&places)
    }

    /// Panes of segments by their names, in the order in which they are counted here. What was counted of a segment that is
    /// not watched any more is left out.
    pub(crate) fn restore(&self, stored: Vec<(String, SegmentPane)>) -> Vec<SegmentPane> {
        let mut panes: Vec<SegmentPane> = self.known().map(|_| SegmentPane::default()).collect();
        for (name, pane) in stored {
            let place = self.names().position(|known| known == name);
            if let Some(place) = place.filter(|_| pane.profiles.len() == self.shared.columns.len()) {
                panes[place] = pane;
            }
        }
        panes
    }
}

/// One of a model's ways to part its rows, as its reference has it. None, and a warning, where it has not.
fn parted(model: &Model, by: &SegmentBy, file: Option<&driftline_detectors::Segments>) -> Option<Parted> {
    let is_this = |parting: &Parting| match (by, parting) {
        (SegmentBy::Column { name, most }, Parting::Column { name: known, values }) => {
            name == known && values.len() as u64 <= *most
        }
        (SegmentBy::Condition { name, holds }, Parting::Condition { name: known, holds: held }) => {
            name == known && holds == held
        }
        _ => false,
    };
    let known = file.and_then(|file| Some((file, file.by.iter().find(|known| is_this(&known.parting))?)));
    let Some((file, known)) = known else {
        warn!(
            model = %model.name,
            segments = by.name(),
            "the reference was built without these segments, so they are not watched; build it again with this configuration"
        );
        return None;
    };
    let split =
        Split::new(&known.parting).inspect_err(|why| warn!(model = %model.name, "{why}; it is not watched")).ok()?;
    let segment = |(name, segment): (String, &driftline_detectors::Segment)| KnownSegment {
        name,
        rows: segment.rows,
        references: segment.columns.iter().enumerate().map(|(at, column)| file.reference(at, column)).collect(),
    };
    let segments = known.parting.segments().into_iter().zip(&known.segments).map(segment).collect();
    Some(Parted { parting: known.parting.clone(), split, segments })
}
