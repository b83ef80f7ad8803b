//! Change over time: scores and indicators beside their own past, as rules watch them.
//!
//! ```text
//!   psi      ├ window ┤├ window ┤├ window ┤┄┄┄├ window ┤   windows side by side     ─▶ psi_cusum, psi_ewma, …
//!   latency  ├  day   ┤├  day   ┤├  day   ┤┄┄┄├  day   ┤   whole days, by the clock ─▶ latency_cusum, …
//! ```
//!
//! A score says how far a window is from its reference; here its own last values say what it mostly is, and whether it has
//! risen from there, be it far below its threshold. Streams are made anew each time from what is stored: there is no state
//! that a restart could lose, and a backtest makes the same of the same windows.
//!
//! Windows that lie side by side share no row. Those that slide between them would give the same news again and again, and
//! are no part of any stream.

use std::collections::BTreeMap;
use std::time::Duration;

use driftline_alerts::{Condition, Counts, Observation, Patience, Reading, Rule};
use driftline_detectors::change::{ChangeKind, Stream};
use driftline_detectors::{Detector, Verdict};
use driftline_protocol::Role;
use rusqlite::{Connection, params};

use super::earlier::COMPARED;
use super::judging::{self, score_labels};
use super::series::ClosedWindow;
use crate::config::{SLIS, Windows};

/// Values of a stream, the newest among them: two months of days. What is older says nothing of what is normal now.
pub(crate) const STREAM_VALUES: usize = 60;
const DAY_MICROS: i64 = 86_400_000_000;
/// Of fewer events a day says nothing: as with an indicator's rules, one bad one among a few is no news.
const MIN_EVENTS: u64 = 100;
/// By how much the share of an indicator's bad events must rise to matter: one in two hundred.
const SHARE_THAT_MATTERS: f64 = 0.005;
/// Where a detector's own limit lies on its scale.
const LIMIT: f64 = 1.0;

/// What a rule watches over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverTime {
    pub(crate) of: Of,
    kind: ChangeKind,
}

/// Whose stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// A score of each column.
    Score(Detector),
    /// An indicator of each model.
    Sli(&'static str),
}

impl OverTime {
    /// All that rules may watch.
    fn all() -> impl Iterator<Item = Self> {
        let of = COMPARED.map(Of::Score).into_iter().chain(SLIS.map(Of::Sli));
        of.flat_map(|of| ChangeKind::ALL.map(|kind| Self { of, kind }))
    }

    /// Their names.
    pub(crate) fn names() -> impl Iterator<Item = String> {
        Self::all().map(Self::name)
    }

    /// What rules call it: `psi_cusum`.
    fn name(self) -> String {
        format!("{}_{}", self.of_name(), self.kind.name())
    }

    /// The name of what it is the stream of: `psi`.
    pub(crate) fn of_name(self) -> &'static str {
        match self.of {
            Of::Score(detector) => detector.name(),
            Of::Sli(sli) => sli,
        }
    }

    /// What a rule names, if it is a stream.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|watched| watched.name() == name)
    }
}

/// The streams that rules watch, each once.
pub(crate) fn watched(rules: &[Rule]) -> Vec<OverTime> {
    let of_rule = |rule: &Rule| match &rule.condition {
        Condition::Score { score, .. } => OverTime::named(score),
        Condition::Sli { .. } | Condition::Budget { .. } | Condition::Expression { .. } => None,
    };
    let mut all: Vec<OverTime> = Vec::new();
    for watched in rules.iter().filter_map(of_rule) {
        if !all.contains(&watched) {
            all.push(watched);
        }
    }
    all
}

/// A score of a window, as streams have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    column: String,
    detector: Detector,
    effect: f64,
}

/// The points of a window, those that say something.
pub(crate) fn points(window: &ClosedWindow) -> Vec<Point> {
    let mut points = Vec::new();
    for column in &window.columns {
        let scores = column.scores.iter().filter(|score| score.verdict != Verdict::NotEnoughData);
        points.extend(scores.filter(|score| COMPARED.contains(&score.detector)).map(|score| Point {
            column: column.column.clone(),
            detector: score.detector,
            effect: score.effect,
        }));
    }
    points
}

/// Whether a window is one of those that lie side by side.
pub(crate) fn is_side_by_side(windows: &Windows, ends: i64) -> bool {
    (ends - windows.origin).rem_euclid(windows.window_micros()) == 0
}

/// How long alerts wait for a column that says nothing: as many windows as with scores, side by side.
pub(crate) fn patience(windows: &Windows) -> Patience {
    let of_scores = judging::forget_after(windows);
    let every = windows.window_micros();
    Patience { forget_after: of_scores.saturating_add(4 * every), every }
}

/// The points of the window of a model's version that ended then; none where there is no such window.
pub(crate) type Shelf<'s> = dyn FnMut(i64) -> Vec<Point> + 's;

/// What rules are told of a window that lies beside those before it.
pub(crate) fn observations(
    (model, version): (&str, &str),
    window: &ClosedWindow,
    role: &dyn Fn(&str) -> Role,
    watched: &[OverTime],
    shelf: &mut Shelf<'_>,
) -> Vec<Observation> {
    let of_scores: Vec<(OverTime, Detector)> = watched
        .iter()
        .filter_map(|watched| match watched.of {
            Of::Score(detector) => Some((*watched, detector)),
            Of::Sli(_) => None,
        })
        .collect();
    if of_scores.is_empty() {
        return Vec::new();
    }
    let streams = streams(window, shelf);
    let mut observations = Vec::new();
    for column in &window.columns {
        let streams = streams.get(column.column.as_str());
        for (watched, detector) in &of_scores {
            let Some(score) = column.scores.iter().find(|score| score.detector == *detector) else { continue };
            let stream = streams.and_then(|streams| streams.get(&detector.name()));
            let stream = stream.filter(|_| score.verdict != Verdict::NotEnoughData);
            let reading = stream.map_or(Reading::NotEnoughData, |effects| {
                reading(Stream::of_score(*detector, effects, score.threshold), watched.kind, effects.len())
            });
            let labels = score_labels(model, version, &column.column, role(&column.column));
            observations.push(Observation { name: watched.name(), labels, reading });
        }
    }
    observations
}

/// The streams of a window's columns by the names of their scores, its own points the last.
fn streams(window: &ClosedWindow, shelf: &mut Shelf<'_>) -> BTreeMap<String, BTreeMap<&'static str, Vec<f64>>> {
    let length = window.ends - window.starts;
    let earlier = (1..STREAM_VALUES as i64).rev().map(|back| shelf(window.ends - back * length));
    let mut streams: BTreeMap<String, BTreeMap<&'static str, Vec<f64>>> = BTreeMap::new();
    for Point { column, detector, effect } in earlier.chain([points(window)]).flatten() {
        streams.entry(column).or_default().entry(detector.name()).or_default().push(effect);
    }
    streams
}

fn reading(stream: Stream<'_>, kind: ChangeKind, values: usize) -> Reading {
    stream.standing(kind).map_or(Reading::NotEnoughData, |standing| Reading::Score {
        value: standing.height,
        threshold: LIMIT,
        noise: 0.0,
        n: values as u64,
    })
}

/// The points of a stored window, if it was scored against this reference.
pub(crate) fn stored(
    db: &Connection,
    (model, version): (&str, &str),
    reference: &str,
    ends: i64,
) -> rusqlite::Result<Vec<Point>> {
    let mut statement = db.prepare_cached(
        "SELECT column_name, detector, effect FROM scores
         WHERE model = ?1 AND version = ?2 AND ends = ?3 AND verdict != 'not_enough_data'
               AND EXISTS (SELECT 1 FROM windows WHERE model = ?1 AND version = ?2 AND ends = ?3 AND reference = ?4)",
    )?;
    let mut rows = statement.query(params![model, version, ends, reference])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        if let Some(detector) = COMPARED.into_iter().find(|detector| detector.name() == name) {
            points.push(Point { column: row.get(0)?, detector, effect: row.get(2)? });
        }
    }
    Ok(points)
}

/// What rules are told of an indicator: the days before today, for each of its labels.
pub(crate) fn of_indicator(
    db: &Connection,
    model: &str,
    (sli, watched): (&str, OverTime),
    now: i64,
) -> rusqlite::Result<Vec<(String, Reading)>> {
    let today = now.div_euclid(DAY_MICROS) * DAY_MICROS;
    let mut days: BTreeMap<String, Vec<(i64, Counts)>> = BTreeMap::new();
    let mut statement = db.prepare_cached(
        "SELECT label, (hour - ?3) / ?5 AS day, sum(good), sum(valid) FROM sli_hours
         WHERE model = ?1 AND sli = ?2 AND hour >= ?3 AND hour < ?4 GROUP BY label, day ORDER BY label, day",
    )?;
    let first = today - STREAM_VALUES as i64 * DAY_MICROS;
    let mut rows = statement.query(params![model, sli, first, today, DAY_MICROS])?;
    while let Some(row) = rows.next()? {
        let counts = Counts { good: row.get::<_, i64>(2)? as u64, valid: row.get::<_, i64>(3)? as u64, unknown: 0 };
        days.entry(row.get(0)?).or_default().push((row.get(1)?, counts));
    }
    let of_label = |(label, days): (String, Vec<(i64, Counts)>)| {
        let last = STREAM_VALUES as i64 - 1;
        let says: Vec<&(i64, Counts)> = days.iter().filter(|(_, counts)| counts.valid >= MIN_EVENTS).collect();
        let shares: Vec<f64> = says.iter().map(|(_, counts)| counts.bad() as f64 / counts.valid as f64).collect();
        // Without yesterday there is no news.
        let reading = match says.last() {
            Some((day, _)) if *day == last => {
                reading(Stream::of_shares(&shares, SHARE_THAT_MATTERS), watched.kind, shares.len())
            }
            _ => Reading::NotEnoughData,
        };
        (label, reading)
    };
    Ok(days.into_iter().map(of_label).collect())
}

/// For how long an indicator's label may be missing while others are looked at.
pub(crate) const FORGET_INDICATORS: Duration = Duration::from_secs(4 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::slis::SliCounts;

    #[test]
    fn names_are_those_of_scores_and_indicators_with_a_detector_each() {
        let names: Vec<String> = OverTime::names().collect();
        assert_eq!(names.len(), (COMPARED.len() + SLIS.len()) * ChangeKind::ALL.len());
        for name in &names {
            assert_eq!(OverTime::named(name).map(OverTime::name).as_ref(), Some(name));
            assert_eq!(Detector::named(name), None);
        }
        assert_eq!(OverTime::named("missing_share_page_hinkley").unwrap().of_name(), "missing_share");
        assert_eq!(OverTime::named("psi"), None);
    }

    /// Days of an indicator, each with so many bad events of a thousand; where there are none, of ten.
    fn indicator(bad: &[Option<u64>]) -> Connection {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        for (day, bad) in (0..).zip(bad) {
            let events = bad.map_or(Counts { good: 0, valid: 10, unknown: 0 }, |bad| Counts {
                good: 1000 - bad,
                valid: 1000,
                unknown: 0,
            });
            // By two hours, as they come.
            for hour in [3, 17] {
                let half = Counts { good: events.good / 2, valid: events.valid / 2, unknown: 0 };
                counts.count("m", "latency", "", day * DAY_MICROS + hour * DAY_MICROS / 24, half);
            }
        }
        counts.store(&db).unwrap();
        db
    }

    fn height(db: &Connection, day: i64) -> Option<f64> {
        let watched = OverTime::named("latency_cusum").unwrap();
        let readings = of_indicator(db, "m", ("latency", watched), day * DAY_MICROS + 7).unwrap();
        match readings.first()?.1 {
            Reading::Score { value, .. } => Some(value),
            _ => None,
        }
    }

    #[test]
    fn an_indicator_rises_by_whole_days_and_a_quiet_day_says_nothing() {
        let quiet = [10, 12, 8, 10, 14, 10, 6, 10, 12, 8, 10, 10].map(Some);
        let db = indicator(&[quiet.as_slice(), &[Some(40), Some(44), None]].concat());
        assert!(height(&db, 12).is_some_and(|height| height < LIMIT));
        assert!(height(&db, 13).is_some_and(|height| height < LIMIT), "one bad day");
        assert!(height(&db, 14).is_some_and(|height| height > LIMIT), "and another");
        assert_eq!(height(&db, 15), None, "the last day had ten events");
        assert_eq!(height(&db, 10), None, "ten days teach what is normal");
    }
}
