//! A window beside earlier windows of its version: what is new since then, whatever the reference never knew.
//!
//! ```text
//!   recent      ├ day ├ day ├ day ├ day ├ day ├ day ├ day ┤┄┄├ window ┤    the last that were quiet
//!   same hour   ├ a week before ├┄┄┄┄┄┄┄┄┄┄┄├ a week before ├┄┄┄┄┄┄┄┄├ window ┤
//! ```
//!
//! Earlier windows are on the cells of the same reference, so they add up: what a window is held against is the exact sum of
//! the rows that they had. They end before it begins, so no row is compared with itself. A reference on other cells begins
//! anew.
//!
//! # Which of them count
//!
//! *Recent* windows lie side by side, and a column is held against the last of them in which it was quiet: a bad day must not
//! become a part of what the next is measured by. On its own that rule would never end, since a change that stays is never
//! quiet. So once every one of them is changed, for as long as all of them are (`over`, a week), the change is what is
//! normal: they are what counts from then on, and nothing before them. Somebody who wants to be told for longer has the
//! reference for it, which never gives in. What could not be judged counts as quiet, so that there is a beginning.
//!
//! Windows of the *same hour* count whatever they were. One bad week among four weighs a quarter, and a seasonal change would
//! otherwise be left out with it.
//!
//! Either is judged when two thirds of its windows are there, which a service that rests at weekends reaches.

mod choice;
mod standing;
pub(crate) mod stored;

use driftline_detectors::{Detector, Earlier, Profile, Reference, Score, Verdict};
use serde::{Deserialize, Serialize};

pub(crate) use self::choice::Course;
use self::choice::{choose, needed};
pub(crate) use self::standing::Standing;
use super::series::{ClosedWindow, References};
use crate::config::{CompareWith, Scoring, Windows};

const WEEK_MICROS: i64 = 7 * 86_400_000_000;
/// Scores of a window beside earlier ones: of all values, of their order, of their distance, and of those that are missing.
pub(crate) const COMPARED: [Detector; 4] = [Detector::Psi, Detector::Ks, Detector::Wasserstein, Detector::MissingShare];

/// Which earlier windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Against {
    Recent,
    SameHour,
}

impl Against {
    pub(crate) const ALL: [Self; 2] = [Self::Recent, Self::SameHour];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Recent => "recent",
            Self::SameHour => "same_hour",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|against| against.name() == name)
    }

    /// What rules call a score of it: `recent_psi`.
    pub(crate) fn score_name(self, detector: Detector) -> String {
        format!("{}_{}", self.name(), detector.name())
    }

    /// The comparison and the score that a rule names.
    pub(crate) fn of_score(name: &str) -> Option<(Self, Detector)> {
        let split = |against: Self| Some((against, name.strip_prefix(against.name())?.strip_prefix('_')?));
        let (against, score) = Self::ALL.into_iter().find_map(split)?;
        Some((against, COMPARED.into_iter().find(|detector| detector.name() == score)?))
    }
}

/// A column beside earlier windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beside {
    pub(crate) against: Against,
    /// From where the first of them begins to where the last ends; none when there is none.
    pub(crate) span: Option<(i64, i64)>,
    /// How many there are, and how many it takes.
    pub(crate) windows: u32,
    pub(crate) needed: u32,
    /// Whether they are a change that has just lasted for all of them, and so is what is normal from here on.
    pub(crate) is_accepted: bool,
    /// None while there are too few windows.
    pub(crate) scores: Vec<Score>,
}

impl Beside {
    /// Whether any score is beyond its limit.
    fn drifts(&self) -> bool {
        self.scores.iter().any(|score| score.verdict == Verdict::Drift)
    }
}

/// A window that later ones are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EarlierWindow {
    /// Of each of the reference's columns.
    pub(crate) profiles: Vec<Profile>,
    pub(crate) courses: Vec<Course>,
}

impl EarlierWindow {
    /// As it is kept: most counts take a byte there.
    pub(crate) fn packed(&self) -> Vec<u8> {
        // Serialising plain data into memory cannot fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// None when it is no such window.
    pub(crate) fn unpacked(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// Earlier windows by their ends.
pub(crate) type Shelf<'s> = dyn Fn(i64) -> Option<EarlierWindow> + 's;

/// What comes of comparing a window.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// What later windows are compared with, if this is one of those.
    pub(crate) keep: Option<EarlierWindow>,
    /// Columns whose change is what is normal from here on.
    pub(crate) accepted: Vec<String>,
}

/// Compares a version's windows, in their order.
#[derive(Debug)]
pub(crate) struct Comparing {
    with: CompareWith,
    windows: Windows,
    /// The recent windows' sums, by the end of the last of them: windows that slide share them.
    recent: Option<(i64, Vec<Sum>)>,
}

/// Earlier windows of one column, added up.
#[derive(Debug)]
struct Sum {
    profile: Profile,
    span: Option<(i64, i64)>,
    windows: u32,
    is_accepted: bool,
}

impl Comparing {
    pub(crate) fn new(with: CompareWith, windows: Windows) -> Self {
        Self { with, windows, recent: None }
    }

    /// Compares a window that has just closed.
    pub(crate) fn compare(
        &mut self,
        window: &mut ClosedWindow,
        references: &References,
        scoring: &Scoring,
        shelf: &Shelf<'_>,
    ) -> Compared {
        let profiles = std::mem::take(&mut window.profiles);
        let is_covered = window.filled >= self.windows.min_filled;
        if let Some(windows) = self.with.recent {
            self.add_up_recent(windows, window.starts, references, shelf);
        }
        let recent = self.with.recent.zip(self.recent.as_ref());
        let same_hour = self.with.same_hour.map(|weeks| (weeks, self.same_hour(weeks, window.ends, references, shelf)));
        let mut courses = Vec::with_capacity(profiles.len());
        let columns = window.columns.iter_mut().zip(references.columns.iter().zip(&profiles));
        for (index, (column, (reference, profile))) in columns.enumerate() {
            let beside = |against, windows, sum: &Sum| {
                let needed = needed(windows);
                let earlier = Earlier { profile: &sum.profile, windows: sum.windows };
                let scores = if sum.windows < needed {
                    Vec::new()
                } else {
                    reference.scores_beside(COMPARED, earlier, profile, &scoring.thresholds, is_covered)
                };
                let Sum { span, windows, is_accepted, .. } = *sum;
                Beside { against, span, windows, needed, is_accepted, scores }
            };
            let recent = recent.map(|(windows, (_, sums))| beside(Against::Recent, windows, &sums[index]));
            courses.push(recent.as_ref().map_or(Course::Quiet, course));
            let same_hour = same_hour.as_ref().map(|(weeks, sums)| beside(Against::SameHour, *weeks, &sums[index]));
            column.beside = recent.into_iter().chain(same_hour).collect();
        }
        let is_side_by_side = self.with.recent.is_some() && self.last_end_by(window.ends) == window.ends;
        if !is_covered || !(is_side_by_side || self.with.same_hour.is_some()) {
            return Compared::default();
        }
        let is_accepted = |(_, course): &(_, &Course)| is_side_by_side && **course == Course::Accepted;
        let accepted = window.columns.iter().zip(&courses).filter(is_accepted);
        let accepted = accepted.map(|(column, _)| column.column.clone()).collect();
        Compared { keep: Some(EarlierWindow { profiles, courses }), accepted }
    }

    /// Windows that ended before this are compared with no window that is still to close, when one has closed at `ends`.
    pub(crate) fn keep_from(&self, ends: i64) -> i64 {
        let recent = self.with.recent.map_or(0, |windows| (2 * i64::from(windows) + 1) * self.windows.window_micros());
        let same_hour = self.with.same_hour.map_or(0, |weeks| i64::from(weeks) * WEEK_MICROS);
        ends.saturating_sub(recent.max(same_hour))
    }

    /// How far back from a window's end those lie that decide what it is compared with: all that are kept.
    pub(crate) fn reach(&self) -> i64 {
        -self.keep_from(0)
    }

    /// The last end by this time of the windows that lie side by side.
    fn last_end_by(&self, time: i64) -> i64 {
        let Windows { origin, .. } = self.windows;
        origin + (time - origin).div_euclid(self.windows.window_micros()) * self.windows.window_micros()
    }

    /// Adds up the recent windows of each column, unless the window before had the same.
    fn add_up_recent(&mut self, windows: u32, starts: i64, references: &References, shelf: &Shelf<'_>) {
        let last = self.last_end_by(starts);
        if self.recent.as_ref().is_some_and(|(known, _)| *known == last) {
            return;
        }
        // Twice as far back, for those of a bad week are left out.
        let ends = (0..2 * i64::from(windows)).map(|back| last - back * self.windows.window_micros());
        let earlier: Vec<(i64, Option<EarlierWindow>)> = ends.map(|ends| (ends, shelf(ends))).collect();
        let sums = references.columns.iter().enumerate().map(|(index, reference)| {
            let course = |(_, window): &(_, Option<EarlierWindow>)| Some(*window.as_ref()?.courses.get(index)?);
            let (chosen, is_accepted) = choose(&earlier.iter().map(course).collect::<Vec<_>>(), windows as usize);
            let chosen = chosen.into_iter().filter_map(|place| earlier.get(place));
            let chosen = chosen.filter_map(|(ends, window)| Some((*ends, window.as_ref()?)));
            Sum { is_accepted, ..self.sum((index, reference), chosen) }
        });
        self.recent = Some((last, sums.collect()));
    }

    /// What the windows of the same hour add up to, for each column.
    fn same_hour(&self, weeks: u32, ends: i64, references: &References, shelf: &Shelf<'_>) -> Vec<Sum> {
        let ends = (1..=i64::from(weeks)).map(|weeks| ends - weeks * WEEK_MICROS);
        let earlier: Vec<(i64, EarlierWindow)> = ends.filter_map(|ends| Some((ends, shelf(ends)?))).collect();
        let all = || earlier.iter().map(|(ends, window)| (*ends, window));
        references.columns.iter().enumerate().map(|column| self.sum(column, all())).collect()
    }

    fn sum<'w>(
        &self,
        (index, reference): (usize, &Reference),
        earlier: impl Iterator<Item = (i64, &'w EarlierWindow)>,
    ) -> Sum {
        let mut sum = Sum { profile: reference.empty_profile(), span: None, windows: 0, is_accepted: false };
        for (ends, window) in earlier {
            let Some(profile) = window.profiles.get(index) else { continue };
            sum.profile.merge(profile);
            sum.windows += 1;
            let starts = ends - self.windows.window_micros();
            sum.span = Some(sum.span.map_or((starts, ends), |(first, last)| (first.min(starts), last.max(ends))));
        }
        sum
    }
}

fn course(recent: &Beside) -> Course {
    match () {
        () if recent.drifts() => Course::Changed,
        () if recent.is_accepted => Course::Accepted,
        () => Course::Quiet,
    }
}

#[cfg(test)]
mod tests;
