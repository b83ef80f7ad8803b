//! What a backtest says, as text and as JSON: a sentence, and the alerts with their reasons.

use std::fmt::Write;

use driftline_alerts::Severity;
use serde::Serialize;

use super::difference::{Difference, difference};
use super::{Episode, Reason, Trial};
use crate::config::SLIS;
use crate::numbers::{significant, thousands};
use crate::times;

/// One or two configurations on the same stretch of the past.
#[derive(Debug)]
pub(crate) struct Report<'t> {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) present: &'t Trial,
    /// The configuration that is proposed.
    pub(crate) proposed: Option<&'t Trial>,
    /// How many pages are fine.
    pub(crate) max_pages: Option<u64>,
}

#[derive(Serialize)]
struct ReportView<'t> {
    from: String,
    to: String,
    headline: String,
    max_pages: Option<u64>,
    within_max_pages: bool,
    present: TrialView<'t>,
    proposed: Option<TrialView<'t>>,
    difference: Option<Difference<'t>>,
}

#[derive(Serialize)]
struct TrialView<'t> {
    config: &'t str,
    windows: u64,
    rows: u64,
    pages: u64,
    tickets: u64,
    /// Alerts of which routes made something else than their rules say.
    rerouted: u64,
    episodes: &'t [Episode],
    episodes_not_kept: u64,
    left_out: &'t [String],
}

impl<'t> TrialView<'t> {
    fn of(trial: &'t Trial) -> Self {
        Self {
            config: &trial.config,
            windows: trial.windows,
            rows: trial.rows,
            pages: trial.count(Severity::Page),
            tickets: trial.count(Severity::Ticket),
            rerouted: trial.rerouted(),
            episodes: &trial.episodes,
            episodes_not_kept: trial.not_kept,
            left_out: &trial.left_out,
        }
    }
}

impl Report<'_> {
    /// The configuration that is judged: the proposed one, if there is one.
    pub(crate) fn judged(&self) -> &Trial {
        self.proposed.unwrap_or(self.present)
    }

    /// Whether it would have paged no oftener than is fine.
    pub(crate) fn is_within_max_pages(&self) -> bool {
        self.max_pages.is_none_or(|most| self.judged().count(Severity::Page) <= most)
    }

    pub(super) fn difference(&self) -> Option<Difference<'_>> {
        self.proposed.map(|proposed| difference(&self.present.episodes, &proposed.episodes))
    }

    /// What there is to know first, in a sentence or two.
    pub(crate) fn headline(&self) -> String {
        let judged = self.judged();
        let told = format!(
            "{} and {}",
            counted(judged.count(Severity::Page), "page"),
            counted(judged.count(Severity::Ticket), "ticket")
        );
        let instead = match self.proposed {
            Some(_) => format!(
                " with the proposed configuration, instead of {} and {}",
                counted(self.present.count(Severity::Page), "page"),
                counted(self.present.count(Severity::Ticket), "ticket")
            ),
            None => String::new(),
        };
        let allowed = match self.max_pages {
            Some(most) if !self.is_within_max_pages() => format!(" More than the {} allowed.", counted(most, "page")),
            Some(most) => format!(" Within the {} allowed.", counted(most, "page")),
            None => String::new(),
        };
        if judged.windows == 0 {
            return "No window could be judged: there are no rows.".to_owned();
        }
        format!("{told}{instead}.{allowed}")
    }

    pub(crate) fn json(&self) -> Result<String, String> {
        let view = ReportView {
            from: times::rfc3339(self.from),
            to: times::rfc3339(self.to),
            headline: self.headline(),
            max_pages: self.max_pages,
            within_max_pages: self.is_within_max_pages(),
            present: TrialView::of(self.present),
            proposed: self.proposed.map(TrialView::of),
            difference: self.difference(),
        };
        serde_json::to_string_pretty(&view).map(|json| json + "\n").map_err(|error| error.to_string())
    }

    pub(crate) fn text(&self) -> String {
        let mut text =
            format!("{}\n{}, {}\n", self.headline(), times::span(self.from, self.to), looked_at(self.judged()));
        text.extend(rerouted(self.judged()).map(|rerouted| format!("{rerouted}\n")));
        let section = |text: &mut String, title: &str, episodes: &[&Episode]| {
            write!(text, "\n{title}: {}\n", counted(episodes.len() as u64, "alert")).ok();
            episodes.iter().for_each(|episode| text.push_str(&episode_text(episode)));
        };
        match self.difference() {
            Some(Difference { kept, gone, added }) => {
                write!(text, "\nin both: {}\n", counted(kept as u64, "alert")).ok();
                section(&mut text, "gone with the proposed configuration", &gone);
                section(&mut text, "new with the proposed configuration", &added);
            }
            None => section(&mut text, "fired", &self.present.episodes.iter().collect::<Vec<_>>()),
        }
        let notes = notes(self.judged());
        if !notes.is_empty() {
            text.push_str("\nleft out:\n");
            notes.iter().for_each(|note| text.push_str(&format!("  {note}\n")));
        }
        text
    }
}

pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

pub(super) fn looked_at(trial: &Trial) -> String {
    format!("{} of {}", counted(trial.windows, "window"), counted(trial.rows, "row"))
}

/// That alerts are counted as routes make them, where that is not what their rules say.
pub(super) fn rerouted(trial: &Trial) -> Option<String> {
    let alerts = counted(trial.rerouted(), "alert");
    (trial.rerouted() > 0).then(|| format!("routes made {alerts} more or less urgent than the rule says"))
}

/// What an alert's rule says of it, where routes made something else of that.
pub(super) fn by_its_rule(episode: &Episode) -> Option<String> {
    let article = |severity| if severity == Severity::Info { "an" } else { "a" };
    episode.rule_severity.map(|severity| format!("{} {} by its rule", article(severity), severity.name()))
}

/// What is left out, in sentences.
pub(super) fn notes(trial: &Trial) -> Vec<String> {
    let mut notes = trial.left_out.clone();
    if trial.not_kept > 0 {
        notes.push(format!("{} more are counted nowhere: so many cannot be right", counted(trial.not_kept, "alert")));
    }
    if trial.course.is_cut {
        notes.push("some columns are judged and not shown: there are too many".to_owned());
    }
    notes
}

pub(super) fn labels_text<'l>(labels: impl IntoIterator<Item = (&'l String, &'l String)>) -> String {
    labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn when(episode: &Episode) -> String {
    let how = if episode.without_verdict { "ended without a verdict" } else { "resolved" };
    let resolved =
        episode.resolved.map_or("still fired at the end".to_owned(), |time| format!("{how} {}", times::rfc3339(time)));
    format!("fired {}, {resolved}", times::rfc3339(episode.fired))
}

fn episode_text(episode: &Episode) -> String {
    let severity = episode.severity.name();
    let mut text = format!("  {severity} {} ({}): {}\n", episode.rule, labels_text(&episode.labels), when(episode));
    text.extend(by_its_rule(episode).map(|said| format!("    {said}\n")));
    for Reason { labels, score, value, limit, n } in &episode.because {
        let (labels, value, limit) = (labels_text(labels), significant(*value), significant(*limit));
        let of = if SLIS.contains(&score.as_str()) { "events" } else { "rows" };
        let what = if labels.is_empty() { String::new() } else { format!("{labels}: ") };
        writeln!(text, "    {what}{score} {value}, limit {limit}, {} {of}", thousands(*n)).ok();
    }
    if episode.more > 0 {
        writeln!(text, "    and {} more", thousands(episode.more)).ok();
    }
    text
}
