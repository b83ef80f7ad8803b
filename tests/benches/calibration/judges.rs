//! Who says when something has drifted: this project with and without its budget, and the defaults of others.
//!
//! The others' are their documented rules on scores that are equal to SciPy's (`tests/golden`). NannyML's distance is taken on
//! the reference's deciles where it would take Doane's bins.

use std::time::Duration;

use driftline_alerts::{
    Condition, KofM, Labels, Micros, Observation, Patience, Reading, Recovery, Rule, Severity, Transition, Wording,
};
use driftline_detectors::{ColumnKind, Detector, Persistence, Reference, Score, Verdict};

const DAY: Micros = 86_400_000_000;
/// As the collector has it, of windows that end each day.
const PATIENCE: Patience = Patience { forget_after: 4 * DAY, every: DAY };
/// As the configuration has it.
const WITHOUT_VERDICT: Duration = Duration::from_secs(7 * 86_400);
/// The name of what judges say, and the label of the column that they say it of.
const SAID: &str = "said";
const COLUMN: &str = "column";

/// Those that the shipped rules watch.
pub(crate) const WATCHED: [Detector; 3] = [Detector::Psi, Detector::MissingShare, Detector::NewCategoryShare];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Judge {
    /// The budget, as if every effect mattered.
    Budget,
    /// The budget, and the effect must matter: what ships.
    BudgetAndThreshold,
    /// What shipped before there was a budget, as if every effect mattered.
    Blocks,
    /// A test of independent rows at one in a thousand.
    Independent,
    /// The field's rule of thumb.
    FixedPsi,
    /// Wasserstein's distance over the standard deviation, or Jensen-Shannon's to base e of categories, from 0.1 on.
    Evidently,
    /// Jensen-Shannon's distance more than three standard deviations above the mean of ten chunks of the reference.
    NannyMl,
    /// p of Kolmogorov-Smirnov, or of chi-square for categories, below 0.05 over the number of columns. Rare categories are
    /// pooled here, in its favour: there each new one is drift.
    AlibiDetect,
}

impl Judge {
    pub(crate) const ALL: [Self; 8] = [
        Self::Budget,
        Self::BudgetAndThreshold,
        Self::Blocks,
        Self::Independent,
        Self::FixedPsi,
        Self::Evidently,
        Self::NannyMl,
        Self::AlibiDetect,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget, every effect matters",
            Self::BudgetAndThreshold => "budget, default thresholds",
            Self::Blocks => "block noise, every effect matters",
            Self::Independent => "independent noise at 1/1000",
            Self::FixedPsi => "PSI 0.2",
            Self::Evidently => "Evidently's defaults",
            Self::NannyMl => "NannyML's defaults",
            Self::AlibiDetect => "alibi-detect's KS, Bonferroni",
        }
    }

    /// In how many windows it must be so for somebody to be told. The others tell of each.
    pub(crate) fn persistence(self) -> Persistence {
        match self {
            Self::Evidently | Self::NannyMl | Self::AlibiDetect => Persistence { k: 1, m: 1 },
            _ => Persistence { k: 2, m: 3 },
        }
    }

    /// What this judge says of a score: whether it is over its limit, or, as what ships does, that there is no verdict; none when
    /// it does not look at it.
    pub(crate) fn verdict(self, score: &Score, column: &Context) -> Option<Option<bool>> {
        let has_none = self == Self::BudgetAndThreshold && score.verdict == Verdict::NotEnoughData;
        self.breached(score, column).map(|breached| (!has_none).then_some(breached))
    }

    /// Whether a score is over its limit; none when this judge does not look at it.
    fn breached(self, score: &Score, column: &Context) -> Option<bool> {
        let (noise, threshold) = (score.noise, score.detector.default_threshold());
        let is_watched = WATCHED.contains(&score.detector);
        let above = |limit: f64| is_watched.then_some(score.effect > limit);
        match self {
            Self::Budget => above(noise.level()),
            Self::BudgetAndThreshold => above(noise.level().max(threshold)),
            Self::Blocks => above(noise.blocks.unwrap_or(0.0).max(noise.independent)),
            Self::Independent => above(noise.independent),
            Self::FixedPsi => (score.detector == Detector::Psi).then_some(score.effect > threshold),
            Self::Evidently => match (column.kind, score.detector) {
                (ColumnKind::Numeric, Detector::Wasserstein) => Some(score.effect >= 0.1),
                (ColumnKind::Categorical, Detector::JensenShannon) => Some(score.value * 2f64.ln().sqrt() >= 0.1),
                _ => None,
            },
            Self::NannyMl => {
                (score.detector == Detector::JensenShannon).then_some(score.value > column.three_deviations)
            }
            Self::AlibiDetect => match (column.kind, score.detector) {
                (ColumnKind::Numeric, Detector::Ks) | (ColumnKind::Categorical, Detector::ChiSquare) => {
                    Some(score.p_value < 0.05 / column.columns as f64)
                }
                _ => None,
            },
        }
    }
}

/// What a judge needs to know of a column besides the score.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    pub(crate) kind: ColumnKind,
    pub(crate) columns: usize,
    /// Of Jensen-Shannon's distance between ten chunks of the reference and all of it.
    pub(crate) three_deviations: f64,
}

/// The engine's own alert on what a judge says of columns, a window each day.
pub(crate) struct Alert {
    rule: Rule,
    state: driftline_alerts::Alert,
    /// What is said of the window.
    said: Vec<Observation>,
    days: Micros,
    pub(crate) firing: bool,
    pub(crate) begun: u64,
}

impl Alert {
    pub(crate) fn new(Persistence { k, m }: Persistence) -> Self {
        let rule = Rule {
            name: "Judge".into(),
            severity: Severity::Page,
            runbook: "feature-drift".into(),
            condition: Condition::Score {
                score: SAID.into(),
                matching: Labels::new(),
                above: None,
                windows: KofM { k, m },
            },
            group_by: Vec::new(),
            targets: Vec::new(),
            repeat: None,
            escalate: Vec::new(),
            explained_by: Vec::new(),
            recovery: Recovery { without_verdict: Some(WITHOUT_VERDICT), ..Recovery::default() },
            wording: Wording::default(),
        };
        let state = driftline_alerts::Alert::new(&rule, Labels::new());
        Self { rule, state, said: Vec::new(), days: 0, firing: false, begun: 0 }
    }

    pub(crate) fn take(&mut self, column: usize, detector: Detector, verdict: Option<bool>) {
        let breach = |breach| Reading::Score { value: f64::from(u8::from(breach)), threshold: 0.5, noise: 0.0, n: 1 };
        let labels = [(COLUMN, column.to_string()), ("score", detector.name().to_owned())];
        self.said.push(Observation {
            name: SAID.to_owned(),
            labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            reading: verdict.map_or(Reading::NotEnoughData, breach),
        });
    }

    pub(crate) fn over(&self) -> impl Iterator<Item = usize> {
        self.state.over().filter_map(|member| member.labels.get(COLUMN)?.parse().ok())
    }

    pub(crate) fn step(&mut self) {
        self.days += 1;
        let change = self.state.observe(&self.rule, &self.said, self.days * DAY, PATIENCE);
        self.said.clear();
        self.begun += u64::from(matches!(change, Some(Transition::Fired { .. })));
        self.firing = self.state.open().is_some();
    }
}

/// The mean and three standard deviations of these.
pub(crate) fn three_deviations(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    mean + 3.0 * (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// The scores' distance that NannyML takes.
pub(crate) fn jensen_shannon(scores: &[Score]) -> f64 {
    scores.iter().find(|score| score.detector == Detector::JensenShannon).map_or(0.0, |score| score.value)
}

impl Context {
    pub(crate) fn of(reference: &Reference, columns: usize, chunks: &[f64]) -> Self {
        Self { kind: reference.kind(), columns, three_deviations: three_deviations(chunks) }
    }
}
