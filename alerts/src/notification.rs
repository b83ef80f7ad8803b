//! What somebody is told: enough to know in half a minute whether it is real, who is hurt, and what to do first.

use serde::{Deserialize, Serialize};

use crate::rule::{Labels, Severity};
use crate::state::Micros;

/// One message to one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// What became of the episode.
    pub action: Action,
    /// Identity of the episode: a target that accepted its trigger gets exactly one resolve for it.
    pub episode: String,
    /// The rule's name.
    pub rule: String,
    /// How urgent it is.
    pub severity: Severity,
    /// One line: what, where, how much.
    pub summary: String,
    /// The summary of the trigger: what an episode's messages are filed under.
    pub subject: String,
    /// The rule's condition in words.
    pub condition: String,
    /// What it is about.
    pub labels: Labels,
    /// When it began.
    pub started_at: Micros,
    /// When it ended; none before that.
    pub resolved_at: Option<Micros>,
    /// Who is on it; none as long as nobody said so.
    #[serde(default)]
    pub acknowledged: Option<Acknowledgement>,
    /// Which of its episode's reminders it is; 0 for everything else, of which there is one.
    #[serde(default)]
    pub reminder: u64,
    /// Whether somebody made it up, to see who would be told. It is said in the summary, the facts and the labels, too: not
    /// every target shows all of them.
    #[serde(default)]
    pub drill: bool,
    /// What its runbook says first, for whoever was just woken: whether it is real, who is hurt, what to do first. Name and
    /// words; empty where the runbook has no such section.
    #[serde(default)]
    pub briefing: Vec<(String, String)>,
    /// What it rests on: name and value, in the order in which a person wants them.
    pub facts: Vec<(String, String)>,
    /// The members that are over, the worst first.
    pub rows: Vec<EvidenceRow>,
    /// Members that did not fit into `rows`.
    pub more_rows: u64,
    /// A picture of the worst member: reference against window.
    pub picture: Option<Picture>,
    /// The page of this alert.
    pub page_url: String,
    /// Its runbook.
    pub runbook_url: String,
    /// The owner's dashboard of what it is about; none where nobody said where that is.
    #[serde(default)]
    pub dashboard_url: Option<String>,
}

impl Notification {
    /// What tells this message from all others, the same for every attempt at it.
    pub(crate) fn key(&self) -> String {
        match self.reminder {
            0 => format!("{}.{}", self.episode, self.action.name()),
            reminder => format!("{}.{}.{reminder}", self.episode, self.action.name()),
        }
    }

    /// How the episode stands, in words; nothing when it has just begun.
    pub(crate) fn standing(&self) -> String {
        match (self.action, &self.acknowledged) {
            (Action::Trigger, _) => String::new(),
            (Action::Remind, _) => "Still firing".to_owned(),
            (Action::Acknowledge, Some(Acknowledgement { by, .. })) => format!("Acknowledged by {by}"),
            (Action::Acknowledge, None) => "Acknowledged".to_owned(),
            (Action::Resolve, _) => "Resolved".to_owned(),
        }
    }

    /// The summary after how the episode stands.
    pub(crate) fn title(&self) -> String {
        match self.standing().as_str() {
            "" => self.summary.clone(),
            standing => format!("{standing}: {}", self.summary),
        }
    }

    /// What is to be known first. Nothing once it is over, or in somebody's hands.
    pub(crate) fn briefing(&self) -> &[(String, String)] {
        match self.action {
            Action::Trigger | Action::Remind => &self.briefing,
            Action::Acknowledge | Action::Resolve => &[],
        }
    }

    /// Where to look, in the order in which a person does, each with its name.
    pub(crate) fn links(&self) -> Vec<(&'static str, &str)> {
        let known = [("Runbook", self.runbook_url.as_str()), ("Alert in Driftline", self.page_url.as_str())];
        known.into_iter().chain(self.dashboard_url.as_deref().map(|address| ("Dashboard", address))).collect()
    }

    /// Where its picture is for those who look from elsewhere, and what it shows; none where there is none, or where it is
    /// served to everybody on the way.
    pub(crate) fn picture_address(&self) -> Option<(String, &str)> {
        let picture = self.picture.as_ref()?;
        let (base, episode) = self.page_url.strip_prefix("https://")?.rsplit_once("/alerts/")?;
        Some((format!("https://{base}/api/v1/alerts/{episode}/picture"), picture.caption.as_str()))
    }

    /// All that it rests on, as lines of plain text: for targets that have one field for it.
    pub(crate) fn description(&self) -> String {
        let mut lines: Vec<String> = self.briefing().iter().map(|(name, words)| format!("{name} {words}")).collect();
        lines.push(self.condition.clone());
        lines.extend(self.acknowledged.iter().map(|said| format!("Acknowledged: {}", said.in_words())));
        lines.extend(self.facts.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.extend(self.rows.iter().map(|row| format!("{}: {}", row.what, row.in_words())));
        lines.extend((self.more_rows > 0).then(|| format!("and {} more", self.more_rows)));
        lines.join("\n")
    }
}

/// Somebody's word that they are on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// What they said; may be empty.
    pub note: String,
    /// When.
    pub at: Micros,
}

impl Acknowledgement {
    /// Who it was, when, and what they said.
    pub(crate) fn in_words(&self) -> String {
        let Self { by, note, at } = self;
        let note = if note.is_empty() { String::new() } else { format!(": {note}") };
        format!("by {by} at {}{note}", time_in_words(*at))
    }
}

/// What became of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It began.
    Trigger,
    /// It has not ended, and nobody has said that they are on it.
    Remind,
    /// Somebody is on it.
    Acknowledge,
    /// It ended.
    Resolve,
}

impl Action {
    /// The name by which API and outbox know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Remind => "remind",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }
}

/// One member in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceRow {
    /// What it is: a column, a version.
    pub what: String,
    /// The value.
    pub value: String,
    /// What it was compared with.
    pub threshold: String,
    /// The sample size.
    pub n: String,
    /// The value in the last windows, as a line of block characters.
    pub sparkline: String,
}

/// A column of a table of rows.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// What stands above it.
    pub name: &'static str,
    /// Whether it is a line of block characters.
    pub is_line: bool,
    of: fn(&EvidenceRow) -> &String,
}

impl Figure {
    const ALL: [Self; 4] = [
        Self { name: "Value", is_line: false, of: |row| &row.value },
        Self { name: "Limit", is_line: false, of: |row| &row.threshold },
        Self { name: "Rows", is_line: false, of: |row| &row.n },
        Self { name: "Last windows", is_line: true, of: |row| &row.sparkline },
    ];

    /// What a row has of it; empty where it has none.
    #[must_use]
    pub fn of(self, row: &EvidenceRow) -> &str {
        (self.of)(row)
    }
}

impl EvidenceRow {
    /// The figures that some of the rows have: an expression's have neither a limit nor a size.
    #[must_use]
    pub fn figures(rows: &[Self]) -> Vec<Figure> {
        let is_there = |figure: &Figure| rows.iter().any(|row| !figure.of(row).is_empty());
        Figure::ALL.into_iter().filter(is_there).collect()
    }

    /// The figures in one line, as far as there are any: `14.5 (limit 0.2, n = 9 000) ▁▇`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let named = [("limit ", &self.threshold), ("n = ", &self.n)];
        let named: Vec<String> = named
            .into_iter()
            .filter(|(_, figure)| !figure.is_empty())
            .map(|(name, figure)| format!("{name}{figure}"))
            .collect();
        let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
        let line = if self.sparkline.is_empty() { String::new() } else { format!(" {}", self.sparkline) };
        format!("{}{named}{line}", self.value)
    }
}

/// A small picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// A PNG file, in base64.
    pub png_base64: String,
    /// What it shows.
    pub caption: String,
}

/// Most rows that a notification carries.
pub const MAX_ROWS: usize = 20;

/// A line of eight block heights for a series, scaled from zero to its largest value. Gaps are spaces.
///
/// ```
/// assert_eq!(driftline_alerts::sparkline(&[Some(0.0), Some(1.0), None, Some(4.0), Some(8.0)]), "▁▂ ▅█");
/// ```
pub fn sparkline(values: &[Option<f64>]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = values.iter().flatten().copied().fold(0.0, f64::max);
    let block = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if highest > 0.0 => BLOCKS[((value.max(0.0) / highest * 8.0) as usize).min(7)],
        Some(_) => BLOCKS[0],
    };
    values.iter().map(block).collect()
}

/// The longest beginning of a text that has at most so many characters, with an ellipsis when something is missing.
pub fn shorten(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()
}

/// How long something took, in the two largest units that it has.
pub(crate) fn duration_in_words(micros: Micros) -> String {
    let seconds = micros.max(0) / 1_000_000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let mut left = seconds;
    let parts = units[first..].iter().take(2).map(|(size, name)| {
        let count = left / size;
        left %= size;
        (count, name)
    });
    let parts: Vec<String> = parts
        .enumerate()
        .filter(|(place, (count, _))| *place == 0 || *count > 0)
        .map(|(_, (count, name))| format!("{count} {name}"))
        .collect();
    parts.join(" ")
}

/// A time as people write it, to the second and in UTC.
pub(crate) fn time_in_words(micros: Micros) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time as machines write it: RFC 3339.
pub(crate) fn time_rfc3339(micros: Micros) -> String {
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn notification(action: Action) -> Notification {
        Notification {
            action,
            episode: "episode-1".into(),
            rule: "FeatureDrift".into(),
            severity: Severity::Ticket,
            summary: "flights: temp has drifted (psi 14.5, limit 0.2)".into(),
            subject: "flights: temp has drifted (psi 14.5, limit 0.2)".into(),
            condition: "psi above 0.2 in 2 of 3 windows".into(),
            labels: [("model".to_owned(), "flights".to_owned())].into(),
            started_at: 1_373_500_000_000_000,
            resolved_at: (action == Action::Resolve).then_some(1_373_600_000_000_000),
            acknowledged: (action == Action::Acknowledge).then(|| Acknowledgement {
                by: "ada".into(),
                note: "looking at the feed".into(),
                at: 1_373_500_060_000_000,
            }),
            reminder: u64::from(action == Action::Remind),
            drill: false,
            briefing: [("Real?", "Yes."), ("Hurt?", "Whoever acts on it."), ("First:", "Look at the shape (step 3).")]
                .map(|(name, words)| (name.to_owned(), words.to_owned()))
                .into(),
            facts: vec![("Rows".into(), "29 425 in the last window".into())],
            rows: vec![EvidenceRow {
                what: "temp".into(),
                value: "14.5".into(),
                threshold: "0.2".into(),
                n: "13068".into(),
                sparkline: "▁▁█".into(),
            }],
            more_rows: 0,
            picture: Some(Picture { png_base64: "iVBORw0KGgo=".into(), caption: "temp".into() }),
            page_url: "http://driftline/alerts/episode-1".into(),
            runbook_url: "http://driftline/runbooks/feature-drift".into(),
            dashboard_url: Some("https://grafana/d/driftline?var-model=flights&from=1".into()),
        }
    }

    #[test]
    fn every_message_has_a_key_of_its_own_and_says_how_things_stand() {
        let title = |action| notification(action).title().replace(&notification(action).summary, "…");
        assert_eq!(title(Action::Trigger), "…");
        assert_eq!(title(Action::Acknowledge), "Acknowledged by ada: …");
        let second = Notification { reminder: 2, ..notification(Action::Remind) };
        let all = [Action::Trigger, Action::Remind, Action::Acknowledge, Action::Resolve];
        let mut keys: Vec<String> = all.map(|action| notification(action).key()).into();
        keys.extend([second.key(), notification(Action::Resolve).key()]);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5, "{keys:?}");
    }

    #[test]
    fn what_comes_first_is_said_first_and_not_of_what_is_over() {
        let said = |action| notification(action).description();
        assert!(said(Action::Trigger).starts_with("Real? Yes.\nHurt? Whoever acts on it.\nFirst: Look"));
        assert!(said(Action::Remind).starts_with("Real?"));
        assert!(said(Action::Resolve).starts_with("psi above 0.2"));
    }

    #[test]
    fn a_row_says_what_it_has_and_leaves_no_place_empty() {
        let [whole] = <[EvidenceRow; 1]>::try_from(notification(Action::Trigger).rows).unwrap();
        assert_eq!(whole.in_words(), "14.5 (limit 0.2, n = 13068) ▁▁█");
        let indicator = EvidenceRow { sparkline: String::new(), ..whole.clone() };
        assert_eq!(indicator.in_words(), "14.5 (limit 0.2, n = 13068)");
        let expression = EvidenceRow { threshold: String::new(), n: String::new(), ..indicator.clone() };
        assert_eq!(expression.in_words(), "14.5");
        let names = |rows: &[EvidenceRow]| EvidenceRow::figures(rows).iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(std::slice::from_ref(&expression)), ["Value"]);
        assert_eq!(names(&[expression, indicator.clone()]), ["Value", "Limit", "Rows"]);
        assert_eq!(names(&[indicator, whole]), ["Value", "Limit", "Rows", "Last windows"]);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shorten("größer", 10), "größer");
        assert_eq!(shorten("größer", 4), "grö…");
        assert_eq!(shorten("größer", 0), "…");
    }

    proptest! {
        #[test]
        fn a_text_is_a_beginning_of_itself_and_never_longer_than_allowed(text in "\\PC{0,80}", max_chars in 0usize..90) {
            let short = shorten(&text, max_chars);
            prop_assert!(short.chars().count() <= max_chars.max(1));
            match short.strip_suffix('…') {
                Some(beginning) if short != text => prop_assert!(text.starts_with(beginning)),
                _ => prop_assert_eq!(short, text),
            }
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let words =
            [0, 59, 60, 3_661, 7_200, 90_061, 86_400 * 30].map(|seconds| duration_in_words(seconds * 1_000_000));
        assert_eq!(words, ["0 s", "59 s", "1 min", "1 h 1 min", "2 h", "1 d 1 h", "30 d"]);
        assert_eq!(duration_in_words(-5), "0 s");
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(time_in_words(1_373_500_000_000_000), "2013-07-10 23:46:40 UTC");
        assert_eq!(time_rfc3339(1_373_500_000_000_000), "2013-07-10T23:46:40Z");
    }
}
