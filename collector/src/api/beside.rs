//! A column beside earlier windows, and what that says together with its reference.

use driftline_detectors::{Detector, Score};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::scores::ScoreView;
use crate::pipeline::earlier::{Against, Beside, COMPARED, Standing};
use crate::times::rfc3339;

/// What windows are held against unless somebody asks for earlier windows.
pub(crate) const REFERENCE: &str = "reference";

/// A column beside earlier windows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BesideView {
    /// `recent`: the last windows that were quiet, side by side. `same_hour`: those that ended whole weeks before.
    against: String,
    /// From where the first of them begins to where the last ends; null when there is none.
    starts: Option<String>,
    ends: Option<String>,
    /// How many there are, and how many it takes.
    windows: u32,
    needed: u32,
    /// Whether they are a change that has just lasted for all of them, and so is what is normal from here on.
    is_accepted: bool,
    /// Empty while there are too few windows.
    scores: Vec<ScoreView>,
}

/// Where a column stands between its reference and the recent windows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingView {
    /// `new_change`: unlike both. `skew`: unlike the reference, as the recent windows were. `back_to_reference`: unlike the
    /// recent windows, and like the reference. `unchanged`: like both.
    kind: String,
    /// In words.
    says: String,
}

impl From<&Beside> for BesideView {
    fn from(beside: &Beside) -> Self {
        Self {
            against: beside.against.name().to_owned(),
            starts: beside.span.map(|(starts, _)| rfc3339(starts)),
            ends: beside.span.map(|(_, ends)| rfc3339(ends)),
            windows: beside.windows,
            needed: beside.needed,
            is_accepted: beside.is_accepted,
            scores: beside.scores.iter().map(ScoreView::from).collect(),
        }
    }
}

/// Which earlier windows are meant; none for the reference.
pub(super) fn against(name: Option<&str>, detector: Detector) -> Result<Option<Against>, ApiError> {
    let Some(name) = name.filter(|name| *name != REFERENCE) else { return Ok(None) };
    let Some(against) = Against::named(name) else {
        let names: Vec<&str> = [REFERENCE].into_iter().chain(Against::ALL.map(Against::name)).collect();
        let names = names.join(", ");
        return Err(ApiError::bad_request(format!("against is '{name}'; allowed is one of {names}")));
    };
    if !COMPARED.contains(&detector) {
        let (score, names) = (detector.name(), COMPARED.map(Detector::name).join(", "));
        return Err(ApiError::bad_request(format!("'{score}' is not taken beside earlier windows; those are {names}")));
    }
    Ok(Some(against))
}

/// What a column's scores say together.
pub(super) fn standing(scores: &[Score], beside: &[Beside]) -> Option<StandingView> {
    let recent = beside.iter().find(|beside| beside.against == Against::Recent)?;
    let verdict = |scores: &[Score], detector| Some(scores.iter().find(|score| score.detector == detector)?.verdict);
    let standing =
        Standing::of_column(|detector| Some((verdict(scores, detector)?, verdict(&recent.scores, detector)?)))?;
    Some(StandingView { kind: standing.name().to_owned(), says: standing.in_words(recent) })
}
