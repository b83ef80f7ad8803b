//! What the configuration says of models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_detectors::WindowShape;
use driftline_document::{Node, Section, in_units};
use driftline_protocol::Naming;

use super::compare_with::{self, CompareWith};
use super::false_pages::{self, FalsePages};
use super::feeds::{Feed, feeds};
use super::indicators::{FIRST_MESSAGE_SLI, HEARD_SLI};
use super::metadata::{MetadataSource, metadata};
use super::scoring::{Scoring, scoring};
use super::segments::{Segments, segments};
use super::slices::{Slices, slices};
use super::watermarks::{Watermark, watermarks};
use super::{body, tensors};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// One model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its name, as the sidecars give it.
    pub name: String,
    /// The reference file; without one nothing is scored.
    pub reference: Option<PathBuf>,
    /// Where the model describes its inputs and outputs itself.
    pub metadata: Option<MetadataSource>,
    /// When a row happened.
    pub event_time: EventTime,
    /// The column that identifies a row, by which outcomes find it; without one it is the request's id and the row's
    /// place in it.
    pub row_id: Option<String>,
    /// Names that the bodies do not say, and what becomes of tensors.
    pub naming: Naming,
    /// Types of columns that neither the reference nor the protocol tells right.
    pub columns: BTreeMap<String, ColumnType>,
    /// How time is cut.
    pub windows: Windows,
    /// Earlier windows that windows are compared with, besides the reference.
    pub compare_with: CompareWith,
    /// Which scores are taken, and from which effect on a difference matters.
    pub scoring: Scoring,
    /// Parts of the rows that are each compared with themselves.
    pub segments: Segments,
    /// How many alerts may begin for nothing; without it each score is judged alone.
    pub false_pages: Option<FalsePages>,
    /// What makes a request good.
    pub slis: Slis,
}

/// When a row happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTime {
    /// When its request began.
    Request,
    /// As a column says.
    Column {
        /// The column.
        name: String,
        /// How it writes times.
        unit: TimeUnit,
    },
}

/// How a column writes times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// As text: RFC 3339, with an offset.
    Rfc3339,
    /// Seconds since the Unix epoch.
    Seconds,
    /// Milliseconds since the Unix epoch.
    Milliseconds,
    /// Microseconds since the Unix epoch.
    Microseconds,
}

impl TimeUnit {
    const CHOICES: [(&'static str, Self); 4] = [
        ("rfc3339", Self::Rfc3339),
        ("seconds", Self::Seconds),
        ("milliseconds", Self::Milliseconds),
        ("microseconds", Self::Microseconds),
    ];

    /// Microseconds in one; none for text.
    pub(crate) fn micros(self) -> Option<f64> {
        match self {
            Self::Rfc3339 => None,
            Self::Seconds => Some(1e6),
            Self::Milliseconds => Some(1e3),
            Self::Microseconds => Some(1.0),
        }
    }
}

/// The type that a column is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// A 64-bit float.
    Number,
    /// A 64-bit integer.
    Integer,
    /// True or false.
    Boolean,
    /// Text.
    Text,
    /// A time.
    Timestamp,
    /// A vector of single-precision floats. What is scored is derived from it.
    Embedding,
}

impl ColumnType {
    /// All of them with their names.
    pub(crate) const CHOICES: [(&'static str, Self); 6] = [
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("boolean", Self::Boolean),
        ("text", Self::Text),
        ("timestamp", Self::Timestamp),
        ("embedding", Self::Embedding),
    ];

    /// The name by which configuration, database and API know it.
    pub fn name(self) -> &'static str {
        Self::CHOICES.iter().find(|(_, kind)| *kind == self).map_or("text", |(name, _)| name)
    }

    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::CHOICES.iter().find(|(own, _)| *own == name).map(|(_, kind)| *kind)
    }
}

/// How event time is cut into panes and windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// The length of a pane.
    pub pane: Duration,
    /// Panes in a window.
    pub panes: u32,
    /// Panes from one window's end to the next.
    pub every: u32,
    /// How much later than the newest row others may come and still count.
    pub lateness: Duration,
    /// Panes of a window that must hold rows for it to be judged.
    pub min_filled: u32,
    /// A time at which a pane begins, in microseconds since the Unix epoch.
    pub origin: i64,
    /// Without any row for this long, open windows close.
    pub close_when_idle: Duration,
}

impl Windows {
    /// Their shape in panes, as references need to know it.
    pub fn shape(&self) -> WindowShape {
        let (day, pane) = (DAY.as_micros(), self.pane.as_micros());
        let season = if day.is_multiple_of(pane) { (day / pane) as u32 } else { 1 };
        WindowShape { panes: self.panes, min_filled: self.min_filled, every: self.every, season }
    }

    /// The pane's length in microseconds.
    pub fn pane_micros(&self) -> i64 {
        self.pane.as_micros() as i64
    }

    /// A window's length in microseconds.
    pub fn window_micros(&self) -> i64 {
        self.pane_micros() * i64::from(self.panes)
    }

    /// From one window's end to the next, in microseconds.
    pub fn every_micros(&self) -> i64 {
        self.pane_micros() * i64::from(self.every)
    }

    /// The first end of a window at a time or after it. Ends lie at the origin plus a multiple of `every`.
    pub fn first_end_from(&self, micros: i64) -> i64 {
        let every = self.every_micros();
        let since = micros - self.origin;
        self.origin + since.div_euclid(every) * every + if since.rem_euclid(every) == 0 { 0 } else { every }
    }

    /// Where the pane of a time begins.
    pub fn pane_start(&self, micros: i64) -> i64 {
        let pane = self.pane_micros();
        self.origin + (micros - self.origin).div_euclid(pane) * pane
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            pane: Duration::from_secs(3600),
            panes: 24,
            every: 1,
            lateness: Duration::from_secs(600),
            min_filled: 12,
            origin: 0,
            close_when_idle: Duration::from_secs(900),
        }
    }
}

/// What makes a request good.
#[derive(Debug, Clone, PartialEq)]
pub struct Slis {
    /// Faster than this is good.
    pub latency: Duration,
    /// A stream whose first message comes sooner than this is good; without it streams may begin when they like.
    pub first_message: Option<Duration>,
    /// Columns that hold the time of what they were computed from, and how old that may be.
    pub freshness: Vec<Freshness>,
    /// Files of others that must keep coming.
    pub feeds: Vec<Feed>,
    /// How old the newest outcome may be while there are requests; without it outcomes may come as they like.
    pub outcomes: Option<Duration>,
    /// Windows that are good or bad by a score of theirs.
    pub slices: Vec<Slices>,
    /// Columns whose newest time must go on, requests or none.
    pub watermarks: Vec<Watermark>,
    /// How long ago the last request may be; without it only a silence that the model's own last day makes unlikely is one.
    pub heard: Option<Duration>,
}

/// How old a feature may be when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The column that holds the time.
    pub column: String,
    /// How it writes times.
    pub unit: TimeUnit,
    /// How much older than the event it may be.
    pub max_age: Duration,
}

impl Default for Slis {
    fn default() -> Self {
        // A second is what people wait without losing their thought; a model with an own objective names it.
        Self {
            latency: Duration::from_secs(1),
            first_message: None,
            freshness: Vec::new(),
            feeds: Vec::new(),
            outcomes: None,
            slices: Vec::new(),
            watermarks: Vec::new(),
            heard: None,
        }
    }
}

impl Model {
    /// A model that the configuration does not describe: counted, archived, and not scored.
    pub(crate) fn undescribed(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            reference: None,
            metadata: None,
            event_time: EventTime::Request,
            row_id: None,
            naming: Naming::default(),
            columns: BTreeMap::new(),
            windows: Windows::default(),
            compare_with: CompareWith::default(),
            scoring: Scoring::default(),
            segments: Segments::default(),
            false_pages: Some(FalsePages::default()),
            slis: Slis::default(),
        }
    }
}

pub(super) fn models(nodes: Vec<Node<'_>>, folder: &Path) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    for node in nodes {
        let Some(section) = node.section() else { continue };
        let Some(model) = model(section, folder) else { continue };
        if models.iter().any(|other| other.name == model.name) {
            node.problem(format!("there is another model '{}'; each is described once", model.name));
        }
        models.push(model);
    }
    models
}

fn model(mut section: Section<'_>, folder: &Path) -> Option<Model> {
    let name = section.required("name").and_then(|node| {
        node.parsed("up to 100 letters, digits, '-', '_' and '.', not beginning with '.'", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (text.len() <= 100 && text.bytes().all(plain) && !text.starts_with('.')).then(|| text.to_owned())
        })
    });
    let reference = section.optional("reference").and_then(|node| Some(folder.join(node.text()?)));
    let metadata = section.optional("metadata").and_then(|node| metadata(&node, folder));
    let event_time = section
        .optional("event_time")
        .and_then(|node| node.section())
        .and_then(|mut section| {
            let name = section.required("column")?.text()?.to_owned();
            Some(EventTime::Column { name, unit: unit(&mut section) })
        })
        .unwrap_or(EventTime::Request);
    let row_id = section.optional("row_id").and_then(|node| Some(node.text()?.to_owned()));
    let features = section
        .optional("features")
        .and_then(|node| node.list())
        .map(|names| names.iter().filter_map(|node| Some(node.text()?.to_owned())).collect());
    let body = section.optional("body").and_then(|node| node.section()).map(body::mapping);
    let tensors = section.optional("tensors").and_then(|node| node.entries()).unwrap_or_default();
    let columns = section.optional("columns").and_then(|node| node.entries()).unwrap_or_default();
    let columns =
        columns.into_iter().filter_map(|(name, node)| Some((name, node.one_of(&ColumnType::CHOICES)?))).collect();
    let windows = section.optional("windows").and_then(|node| node.section()).map(windows).unwrap_or_default();
    let compare_with = section.optional("compare_with").and_then(|node| {
        if reference.is_none() {
            node.problem("needs a 'reference': earlier windows are counted on its cells");
        }
        Some(compare_with::compare_with(node.section()?, &windows))
    });
    let scoring = scoring(&mut section);
    let segments = segments(&mut section);
    let false_pages = section.optional("false_pages").and_then(|node| {
        node.parsed(
            "'off' or so many in a time, as in 1 per month; a time is a week, month, quarter or year",
            false_pages::budget,
        )
    });
    let slis = section.optional("slis").and_then(|node| node.section());
    let slis = slis.map(|section| self::slis(section, folder)).unwrap_or_default();
    Some(Model {
        name: name?,
        reference,
        metadata,
        event_time,
        row_id,
        naming: Naming { features: features.unwrap_or_default(), tensors: tensors::tensors(tensors), body },
        columns,
        windows,
        compare_with: compare_with.unwrap_or_default(),
        scoring,
        segments,
        false_pages: false_pages.unwrap_or(Some(FalsePages::default())),
        slis,
    })
}

fn unit(section: &mut Section<'_>) -> TimeUnit {
    section.optional("unit").and_then(|node| node.one_of(&TimeUnit::CHOICES)).unwrap_or(TimeUnit::Rfc3339)
}

fn windows(mut section: Section<'_>) -> Windows {
    let defaults = Windows::default();
    let pane = section.optional("pane").and_then(|node| node.duration(SECOND..=7 * DAY)).unwrap_or(defaults.pane);
    let mut in_panes = |name: &'static str, default: u32| {
        let Some(node) = section.optional(name) else { return default };
        let longest = pane.saturating_mul(Windows::MAX_PANES);
        let Some(duration) = node.duration(pane..=longest) else { return default };
        if !duration.as_millis().is_multiple_of(pane.as_millis()) {
            node.problem(format!("{} is not a multiple of the pane, {}", in_units(duration), in_units(pane)));
        }
        (duration.as_millis() / pane.as_millis()) as u32
    };
    let panes = in_panes("window", defaults.panes);
    let every = in_panes("every", defaults.every);
    if every > panes {
        section.problem("'every' is longer than 'window': rows in between would never be looked at");
    }
    let lateness = section.optional("lateness").and_then(|node| node.duration(Duration::ZERO..=7 * DAY));
    let min_filled = section.optional("min_filled").and_then(|node| node.integer(1..=u64::from(panes)));
    let origin = section.optional("origin").and_then(|node| {
        node.parsed("a time like 2013-01-01T05:00:00Z", |text| {
            text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
        })
    });
    let close_when_idle = section.optional("close_when_idle").and_then(|node| node.duration(SECOND..=7 * DAY));
    Windows {
        pane,
        panes,
        every,
        lateness: lateness.unwrap_or(defaults.lateness),
        min_filled: min_filled.map_or(panes.div_ceil(2), |panes| panes as u32),
        origin: origin.unwrap_or(defaults.origin),
        close_when_idle: close_when_idle.unwrap_or(defaults.close_when_idle),
    }
}

impl Windows {
    /// Longest window, in panes: a year of days, or a day of four-minute slices.
    const MAX_PANES: u32 = 366;
}

fn slis(mut section: Section<'_>, folder: &Path) -> Slis {
    let defaults = Slis::default();
    let mut below = |name: &'static str| {
        let mut bound = section.optional(name)?.section()?;
        bound.required("below")?.duration(Duration::from_millis(1)..=Duration::from_secs(3600))
    };
    let (latency, first_message) = (below("latency"), below(FIRST_MESSAGE_SLI));
    let freshness = section.optional("freshness").and_then(|node| node.list()).unwrap_or_default();
    let freshness = freshness.into_iter().filter_map(|node| {
        let mut section = node.section()?;
        let column = section.required("column").and_then(|node| Some(node.text()?.to_owned()));
        let unit = unit(&mut section);
        let max_age = section.required("max_age").and_then(|node| node.duration(SECOND..=366 * DAY));
        Some(Freshness { column: column?, unit, max_age: max_age? })
    });
    let freshness = freshness.collect();
    let feeds = section.optional("feeds").map(|node| feeds(&node, folder)).unwrap_or_default();
    let mut max_age = |name: &'static str| {
        let mut bound = section.optional(name)?.section()?;
        bound.required("max_age")?.duration(SECOND..=366 * DAY)
    };
    let (outcomes, heard) = (max_age("outcomes"), max_age(HEARD_SLI));
    let slices = section.optional("slices").map(|node| slices(&node)).unwrap_or_default();
    let watermarks = section.optional("watermarks").map(|node| watermarks(&node, unit)).unwrap_or_default();
    let latency = latency.unwrap_or(defaults.latency);
    Slis { latency, first_message, freshness, feeds, outcomes, slices, watermarks, heard }
}
