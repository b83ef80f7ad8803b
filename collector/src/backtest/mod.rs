//! When somebody would have been told: windows of the past through the rules, in virtual time.
//!
//! ```text
//!   archived rows ─▶ windows, made again ─▶ observations ─▶ the rules' alerts ─▶ episodes
//!                          └──────────────▶ course: every score over the windows, and each column's worst window
//! ```
//!
//! Windows are those of [`crate::pipeline::rebuild`], observations those of [`crate::pipeline::judging`], and the alerts'
//! state machine is the collector's own; only the clock is another. A window is looked at when the live pipeline could have
//! closed it at the earliest: the allowed lateness after its end. Indicators are counted again from the same rows
//! ([`indicators`]), and looked at in between.

mod course;
pub(crate) mod difference;
pub(crate) mod drawing;
mod episodes;
pub(crate) mod files;
pub(crate) mod indicators;
pub(crate) mod left_out;
pub(crate) mod page;
pub(crate) mod report;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use driftline_alerts::{Condition, Expression, Observation, Routes, Rule, Severity, Source, Transition};
use driftline_protocol::Role;

pub(crate) use course::Course;
pub(crate) use episodes::{Episode, Reason};

use self::episodes::fired;
use self::indicators::Indicators;
use self::left_out::{nothing_counted, why_left_out};

use crate::alerting::book::{Book, Change};
use crate::config::Windows;
use crate::pipeline::over_time::{self, OverTime, STREAM_VALUES};
use crate::pipeline::rebuild::{Rebuilding, Rebuilt};
use crate::pipeline::{evaluating, expressions, judging};
use crate::vocabulary::Named;

/// Episodes that are kept one by one. A rule that fires oftener than this is wrong, however often.
const MAX_EPISODES: usize = 10_000;
/// One configuration, tried on the past.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// Where the configuration was read.
    pub(crate) config: String,
    pub(crate) windows: u64,
    pub(crate) rows: u64,
    pub(crate) episodes: Vec<Episode>,
    /// Episodes past [`MAX_EPISODES`].
    pub(crate) not_kept: u64,
    /// Rules that could not be tried, and what else is not as it would be live; each in a sentence.
    pub(crate) left_out: Vec<String>,
    pub(crate) course: Course,
}

/// One model's rules while its windows close, one after the other.
pub(crate) struct ModelTrial<'t> {
    trial: &'t mut Trial,
    book: Book,
    model: &'t str,
    windows: Windows,
    role: &'t dyn Fn(&str) -> Role,
    /// Counted again; none where no rule is on any.
    indicators: Option<Indicators>,
    /// Windows that closed among rows that are not all counted yet.
    waiting: VecDeque<Rebuilt>,
    /// What rules watch over time, and what they need of earlier windows for it, by version and end.
    watched: Vec<OverTime>,
    earlier: BTreeMap<Arc<str>, BTreeMap<i64, Vec<over_time::Point>>>,
    /// By their place among the trial's episodes: those that fire.
    firing: Vec<(String, usize)>,
}

impl Trial {
    /// Begins with a model, whose columns have these roles, and alerts that go by these routes. `models` says how many there
    /// will be.
    pub(crate) fn begin<'t>(
        &'t mut self,
        (model, windows): (&'t str, &Windows),
        (rules, routes, models): (&[Rule], &Routes, usize),
        role: &'t dyn Fn(&str) -> Role,
        indicators: Option<Indicators>,
    ) -> ModelTrial<'t> {
        let rules = rules.iter().filter(|rule| {
            let left_out = why_left_out(rule, models, indicators.as_ref().is_some_and(Indicators::has_calls));
            let is_tried = left_out.is_none();
            self.left_out.extend(left_out.filter(|why| !self.left_out.contains(why)));
            is_tried
        });
        let book = Book::new(rules.cloned().collect()).routed_by(routes.clone());
        let watched = over_time::watched(book.rules());
        ModelTrial {
            trial: self,
            book,
            model,
            windows: windows.clone(),
            role,
            indicators,
            waiting: VecDeque::new(),
            watched,
            earlier: BTreeMap::new(),
            firing: Vec::new(),
        }
    }

    /// How many episodes are of this severity.
    pub(crate) fn count(&self, severity: Severity) -> u64 {
        self.episodes.iter().filter(|episode| episode.severity == severity).count() as u64
    }

    /// How many episodes are of another severity than their rules say.
    pub(crate) fn rerouted(&self) -> u64 {
        self.episodes.iter().filter(|episode| episode.rule_severity.is_some()).count() as u64
    }
}

impl Rebuilding for ModelTrial<'_> {
    fn rows(&mut self, batch: &RecordBatch) -> Result<(), String> {
        self.indicators.as_mut().map_or(Ok(()), |indicators| indicators.take(batch))
    }

    fn window(&mut self, rebuilt: Rebuilt) -> Result<(), String> {
        self.waiting.push_back(rebuilt);
        Ok(())
    }

    fn through(&mut self, time: i64) -> Result<(), String> {
        if let Some(indicators) = &mut self.indicators {
            indicators.settle(time)?;
        }
        self.advance(time)
    }
}

impl ModelTrial<'_> {
    /// Takes what is left, once all rows were handed in.
    ///
    /// # Errors
    /// That of what indicators are counted in.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        self.advance(i64::MAX)?;
        if let Some(indicators) = &self.indicators {
            let notes = nothing_counted(self.book.rules(), self.model, indicators);
            self.trial
                .left_out
                .extend(notes.into_iter().filter(|note| !self.trial.left_out.contains(note)).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Goes through what is known up to a time: windows as they close, and indicators as they are looked at.
    fn advance(&mut self, through: i64) -> Result<(), String> {
        loop {
            let closes = self.waiting.front().map(|rebuilt| self.closes_at(rebuilt)).filter(|at| *at <= through);
            let looks = self.indicators.as_ref().and_then(|indicators| indicators.next_look(through));
            match (closes, looks) {
                (closes, Some(looks)) if closes.is_none_or(|closes| looks < closes) => self.look(looks)?,
                (Some(_), _) => {
                    let Some(rebuilt) = self.waiting.pop_front() else { return Ok(()) };
                    self.judge(&rebuilt)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn closes_at(&self, rebuilt: &Rebuilt) -> i64 {
        rebuilt.window.ends.saturating_add(self.windows.lateness.as_micros() as i64)
    }

    /// Takes the indicators to their rules.
    fn look(&mut self, now: i64) -> Result<(), String> {
        let Some(indicators) = &mut self.indicators else { return Ok(()) };
        indicators.looked();
        let conditions: Vec<Condition> = self.book.rules().iter().map(|rule| rule.condition.clone()).collect();
        for (index, condition) in conditions.iter().enumerate() {
            let (Some(indicators), Some((sli, over))) = (&self.indicators, evaluating::by_the_clock(condition)) else {
                continue;
            };
            let observations = indicators.observations((condition, sli), now)?;
            let forget_after = evaluating::forget_indicator_after(over);
            for change in self.book.observe(index, &observations, now, forget_after) {
                self.note(&change, (now - over.as_micros() as i64, now), now);
            }
        }
        Ok(())
    }

    /// Takes a window that closes to the rules.
    fn judge(&mut self, rebuilt: &Rebuilt) -> Result<(), String> {
        let Rebuilt { version, window } = rebuilt;
        self.trial.windows += 1;
        let (now, role) = (self.closes_at(rebuilt), self.role);
        let mut observations = judging::observations(self.model, version, window, role);
        let indicators = &self.indicators;
        let measure = |named: &Named, over: Duration| indicators.as_ref()?.measure(named, over, now);
        // Rules that name metrics are left out: of the past there are none.
        let sources = |expression: &Expression| expression.variables().iter().map(|_| Source::Value(None)).collect();
        let known = (&measure as &dyn Fn(&Named, Duration) -> Option<f64>, &sources as &expressions::Sources<'_>);
        observations.extend(expressions::of_window(self.book.rules(), (self.model, version), window, role, known));
        let mut changes = self.book.observe_scores(&observations, now, judging::patience(&self.windows));
        let rises = self.rises(rebuilt, role);
        changes.extend(self.book.observe_scores(&rises, now, over_time::patience(&self.windows)));
        for change in changes {
            self.note(&change, (window.starts, window.ends), now);
        }
        self.trial.course.take(self.model, version, window);
        self.indicators.as_mut().map_or(Ok(()), |indicators| indicators.take_window(window))
    }

    /// What the rules are told of a window beside those before it.
    fn rises(&mut self, Rebuilt { version, window }: &Rebuilt, role: &dyn Fn(&str) -> Role) -> Vec<Observation> {
        if !over_time::is_side_by_side(&self.windows, window.ends) {
            return Vec::new();
        }
        let earlier = self.earlier.entry(Arc::clone(version)).or_default();
        let mut shelf = |ends: i64| earlier.get(&ends).cloned().unwrap_or_default();
        let observations = over_time::observations((self.model, version), window, role, &self.watched, &mut shelf);
        earlier.insert(window.ends, over_time::points(window));
        if earlier.len() > STREAM_VALUES {
            earlier.pop_first();
        }
        observations
    }

    fn note(&mut self, change: &Change, window: (i64, i64), now: i64) {
        match &change.transition {
            Transition::Fired { .. } if self.trial.episodes.len() >= MAX_EPISODES => self.trial.not_kept += 1,
            Transition::Fired { episode } => {
                self.firing.push((episode.clone(), self.trial.episodes.len()));
                let own = self.book.rules().iter().find(|rule| rule.name == change.rule.name);
                self.trial.episodes.push(fired(change, own, window, now));
            }
            Transition::Resolved { episode, .. } => {
                if let Some(place) = self.firing.iter().position(|(firing, _)| firing == episode) {
                    let (_, index) = self.firing.swap_remove(place);
                    let episode = &mut self.trial.episodes[index];
                    episode.resolved = Some(now);
                    episode.without_verdict = !change.transition.given_up(&change.rule).is_empty();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use driftline_alerts::{KofM, Labels};
    use driftline_detectors::{Bar, Detector, Noise, Score, Verdict};

    use super::*;
    use crate::pipeline::series::{ClosedColumn, ClosedWindow};
    use report::Report;

    const DAY: i64 = 86_400_000_000;
    const HOSTILE: &str = "<b onload='x'>&\"";

    fn rule(name: &str, group_by: &str) -> Rule {
        Rule {
            name: name.to_owned(),
            severity: Severity::Page,
            runbook: "feature-drift".to_owned(),
            condition: Condition::Score {
                score: "psi".to_owned(),
                matching: Labels::new(),
                above: None,
                windows: KofM { k: 2, m: 2 },
            },
            group_by: vec![group_by.to_owned()],
            targets: Vec::new(),
            repeat: None,
            escalate: Vec::new(),
            explained_by: Vec::new(),
            recovery: driftline_alerts::Recovery::default(),
            wording: driftline_alerts::Wording::default(),
        }
    }

    fn window(day: i64, psi: f64) -> Rebuilt {
        let score = Score {
            detector: Detector::Psi,
            value: psi,
            upper: psi,
            effect: psi,
            interval: (psi, psi),
            null_mean: 0.0,
            n_reference: 1000,
            n_window: 500,
            p_value: 0.5,
            noise: Noise { independent: 0.05, blocks: None, budget: None },
            threshold: 0.2,
            verdict: if psi > 0.2 { Verdict::Drift } else { Verdict::Ok },
        };
        let bar = Bar { label: HOSTILE.to_owned(), from: None, to: None, reference: 1.0, window: 1.0 };
        let column = ClosedColumn {
            column: HOSTILE.to_owned(),
            scores: vec![score],
            bars: vec![bar],
            causes: Vec::new(),
            beside: Vec::new(),
        };
        let (starts, ends) = ((day - 1) * DAY, day * DAY);
        let window = ClosedWindow {
            starts,
            ends,
            rows: 500,
            filled: 1,
            panes: 1,
            columns: vec![column],
            profiles: Vec::new(),
            segments: Vec::new(),
        };
        Rebuilt { version: Arc::from("1"), window }
    }

    /// Days of these scores through these rules, each closed six hours after its end.
    fn tried(rules: &[Rule], models: usize, psi: &[f64]) -> Trial {
        routed(rules, &Routes::default(), models, psi)
    }

    fn routed(rules: &[Rule], routes: &Routes, models: usize, psi: &[f64]) -> Trial {
        let (mut trial, lateness) = (Trial::default(), Duration::from_secs(6 * 3600));
        let windows = Windows { lateness, ..Windows::default() };
        let mut of_model = trial.begin(("m", &windows), (rules, routes, models), &|_| Role::Feature, None);
        for (day, psi) in (1..).zip(psi) {
            of_model.window(window(day, *psi)).unwrap();
        }
        of_model.finish().unwrap();
        trial
    }

    #[test]
    fn alerts_fire_and_resolve_when_their_windows_could_have_closed() {
        let trial = tried(&[rule("R", "model")], 1, &[0.1, 0.9, 0.8, 0.1, 0.1, 0.9, 0.9]);
        let times: Vec<_> = trial.episodes.iter().map(|episode| (episode.fired, episode.resolved)).collect();
        assert_eq!(times, [(3 * DAY + DAY / 4, Some(4 * DAY + DAY / 4)), (7 * DAY + DAY / 4, None)]);
        let Episode { window, because, .. } = &trial.episodes[0];
        assert_eq!(*window, (2 * DAY, 3 * DAY));
        assert_eq!((because[0].value, because[0].limit, because[0].n), (0.8, 0.2, 500));
        assert_eq!((trial.windows, trial.count(Severity::Page), trial.count(Severity::Ticket)), (7, 2, 0));
    }

    #[test]
    fn what_routes_make_a_ticket_pages_nobody_and_the_report_says_what_its_rule_says() {
        let yaml = "alerts:
  targets: {a: {webhook: {url: {env: A}}}}
  routes: [{matching: [rule=R, model=m], severity: ticket, targets: [a]}, {targets: [a]}]
";
        let config = crate::config::Config::parse("d.yaml", yaml, std::path::Path::new("/")).unwrap();
        let mut routes = config.alerting.routes;
        routes.routed = ["R", "S"].map(str::to_owned).into();
        let trial = routed(&[rule("R", "model"), rule("S", "model")], &routes, 1, &[0.9, 0.9]);
        assert_eq!((trial.count(Severity::Page), trial.count(Severity::Ticket), trial.rerouted()), (1, 1, 1));
        let report = Report { from: 0, to: 2 * DAY, present: &trial, proposed: None, max_pages: Some(1) };
        assert_eq!(report.headline(), "1 page and 1 ticket. Within the 1 page allowed.");
        let text = report.text();
        assert!(text.contains("\nroutes made 1 alert more or less urgent than the rule says\n"), "{text}");
        assert!(text.contains("  ticket R (model=m): fired") && text.contains("    a page by its rule\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        let [of_r, of_s] = [0, 1].map(|index: usize| &json["present"]["episodes"][index]);
        assert_eq!((&of_r["severity"], &of_r["rule_severity"]), (&"ticket".into(), &"page".into()));
        assert_eq!((&json["present"]["rerouted"], &of_s["rule_severity"]), (&1.into(), &serde_json::Value::Null));
        let page = page::html(&report);
        assert!(page.contains("routes made 1 alert") && page.contains("a page by its rule"));
    }

    #[test]
    fn what_has_no_verdict_any_more_ends_without_one_after_its_days() {
        let mut rules = [rule("R", "model")];
        rules[0].recovery.without_verdict = Some(Duration::from_secs(7 * 86_400));
        let (mut trial, windows) = (Trial::default(), Windows { every: 24, ..Windows::default() });
        let mut of_model = trial.begin(("m", &windows), (&rules, &Routes::default(), 1), &|_| Role::Feature, None);
        for day in 1..20 {
            let mut window = window(day, if day <= 2 { 0.9 } else { 0.15 });
            if day > 2 {
                window.window.columns[0].scores[0].verdict = Verdict::NotEnoughData;
            }
            of_model.window(window).unwrap();
        }
        of_model.finish().unwrap();
        let [Episode { fired, resolved: Some(ended), without_verdict: true, .. }] = trial.episodes[..] else {
            panic!("{:?}", trial.episodes)
        };
        assert_eq!(ended - fired, 7 * DAY);
        assert!(report::when(&trial.episodes[0]).contains("ended without a verdict 1970-01-10"));
    }

    #[test]
    fn a_rise_far_below_the_threshold_is_seen_beside_the_windows_before_it() {
        let mut rules = [rule("R", "model")];
        rules[0].condition = Condition::Score {
            score: "psi_cusum".to_owned(),
            matching: Labels::new(),
            above: None,
            windows: KofM { k: 1, m: 1 },
        };
        let quiet = [0.03, 0.04, 0.02, 0.03, 0.05, 0.03, 0.04, 0.02, 0.03, 0.04, 0.03];
        let psi = [quiet.as_slice(), &[0.12; 14]].concat();
        let trial = tried(&rules, 1, &psi);
        let [Episode { window, resolved, because, .. }] = &trial.episodes[..] else { panic!("{:?}", trial.episodes) };
        assert_eq!(*window, (13 * DAY, 14 * DAY), "the third window of the rise");
        assert_eq!(*resolved, Some(24 * DAY + DAY / 4), "ten windows later that is what is normal");
        assert!(because[0].value > 1.0 && because[0].limit == 1.0 && because[0].n == 14, "{because:?}");
        rules[0].condition = Condition::Score {
            score: "latency_cusum".to_owned(),
            matching: Labels::new(),
            above: None,
            windows: KofM { k: 1, m: 1 },
        };
        assert!(tried(&rules, 1, &psi).left_out[0].contains("nothing says when the model was called"));
    }

    #[test]
    fn a_rule_that_spans_models_is_left_out_of_several_and_tried_on_one() {
        let rules = [rule("R", "column")];
        assert_eq!(tried(&rules, 1, &[0.9, 0.9]).episodes.len(), 1);
        let several = tried(&rules, 2, &[0.9, 0.9]);
        assert!(several.episodes.is_empty() && several.left_out[0].contains("rule R is not tried"));
    }

    #[test]
    fn pages_that_are_too_many_are_said_and_names_stay_text_on_the_page() {
        let (quiet, loud) = (tried(&[], 1, &[0.9, 0.9]), tried(&[rule(HOSTILE, "model")], 1, &[0.9, 0.9]));
        let report = |proposed, max_pages| Report { from: 0, to: 9 * DAY, present: &quiet, proposed, max_pages };
        assert!(report(None, Some(0)).is_within_max_pages() && report(Some(&loud), Some(1)).is_within_max_pages());
        let report = report(Some(&loud), Some(0));
        assert!(!report.is_within_max_pages());
        assert!(
            report.headline().starts_with("1 page and 0 tickets with the proposed configuration, instead of 0 pages")
        );
        let page = page::html(&report);
        assert!(!page.contains("<b ") && page.contains("&lt;b onload=&#39;x&#39;&gt;&amp;&quot;"));
        assert!(report.text().contains("new with the proposed configuration: 1 alert\n"));
    }
}
