//! `driftline reference build` and `driftline reference show`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use driftline_detectors::{Derivation, MIN_SEGMENT_ROWS, Normal, Reference, ReferenceFile};
use driftline_document::parse_duration;

use super::samples::Archive;
use super::{EXIT_USAGE, load};
use crate::archive::read::{self, Stretch};
use crate::config::{ColumnType, Config, EventTime, Model, SegmentBy, Segments, Windows};
use crate::numbers::{significant, thousands};
use crate::pipeline::HEADLINE;
use crate::reference_build::{ArchivedRows, ReferencePlan, build_reference, write_reference};
use crate::times;

/// The archive's column of when a row happened.
const EVENT_TIME: &str = "event_time";

#[derive(Debug, Subcommand)]
pub(super) enum ReferenceCommand {
    /// Builds a reference from files or from the archive.
    Build(Box<Build>),
    /// Shows what a reference holds.
    Show {
        /// The reference file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Parquet (.parquet), CSV (.csv) and JSON lines (.jsonl, .ndjson) files.
    #[arg(required_unless_present = "archive", conflicts_with = "archive", value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Of what the collector archived, instead of files: rows of calls that succeeded and that the sample drew.
    #[arg(long, requires_all = ["config", "from", "to"], conflicts_with = "time_column")]
    archive: bool,
    /// Only archived rows of this version of the model.
    #[arg(long, value_name = "VERSION", requires = "archive")]
    version: Option<String>,
    /// Archived rows from this event time on, as in 2013-07-01 or 2013-07-01T05:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = times::parse, requires = "archive")]
    from: Option<i64>,
    /// Archived rows up to this event time, which is not part of it.
    #[arg(long, value_name = "TIME", value_parser = times::parse, requires = "archive")]
    to: Option<i64>,
    /// The model that it is for.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Only these columns; repeat, or separate by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    column: Vec<String>,
    /// Not these columns.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    exclude: Vec<String>,
    /// Columns that are names although they look like numbers.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    categorical: Vec<String>,
    /// Columns of texts that are no names, as comments are: their length, words and characters are scored.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    text: Vec<String>,
    /// Columns of times, where they are RFC 3339 texts: their age, hour and weekday are scored.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    timestamp: Vec<String>,
    /// Columns of embeddings, where they are arrays of JSON lines: their length, angle and places on axes are scored.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    embedding: Vec<String>,
    /// Look at columns of numbers together, too: how far a row lies off what they do together is scored.
    #[arg(long)]
    joint: bool,
    /// Of the columns of numbers, look at these together; repeat, or separate by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    joint_column: Vec<String>,
    /// Look at columns of categories together, too: which of their pairs go together otherwise is scored.
    #[arg(long)]
    joint_names: bool,
    /// Of the columns of categories, look at these together; repeat, or separate by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    joint_name: Vec<String>,
    /// Segments that are compared with themselves: a column, each of whose 20 most frequent values is one, or
    /// name=condition, as in "long_haul=distance > 1500"; repeat. Without it those of the model's description in --config.
    #[arg(long, value_name = "COLUMN|NAME=CONDITION", value_parser = SegmentBy::parse)]
    segment: Vec<SegmentBy>,
    /// The column that says when a row happened. With it the reference learns how far its own stretches of time lie
    /// apart, and windows are judged by that too.
    #[arg(long, value_name = "NAME")]
    time_column: Option<String>,
    /// Take the windows, the time column, and what is a text, a time or an embedding, from the model's description in this
    /// configuration.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pane", "window"])]
    config: Option<PathBuf>,
    /// Length of a pane, as in 1h: what the model's description will say.
    #[arg(long, value_name = "DURATION", requires = "window", requires = "time_column")]
    pane: Option<String>,
    /// Length of a window, as in 24h: a multiple of the pane.
    #[arg(long, value_name = "DURATION", requires = "pane")]
    window: Option<String>,
    /// How many MiB of columns stay in memory while rows are read. What is more waits in an unnamed file in the temporary
    /// folder (TMPDIR). The sample and the counts of the columns that are being worked at come on top.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    memory_mib: u32,
}

pub(super) fn run(command: ReferenceCommand) -> ExitCode {
    match command {
        ReferenceCommand::Build(build) => run_build(*build),
        ReferenceCommand::Show { file } => match crate::references::read(&file) {
            Ok((file, _)) => {
                show(&file);
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("driftline: {}: {why}", file.display());
                ExitCode::FAILURE
            }
        },
    }
}

fn run_build(build: Build) -> ExitCode {
    let Described { time, exclude: described, segments, types } = match described(&build) {
        Ok(described) => described,
        Err(code) => return code,
    };
    let segments = match build.segment.is_empty() {
        true => segments,
        false => Segments { by: build.segment.clone(), ..segments },
    };
    if let Err(why) = segments.check_number() {
        eprintln!("driftline: {why}");
        return ExitCode::from(EXIT_USAGE);
    }
    let mut exclude = build.exclude.clone();
    exclude.extend(described);
    let plan = ReferencePlan {
        model: build.model.clone(),
        inputs: build.inputs.clone(),
        columns: build.column.clone(),
        exclude,
        categorical: named(&build.categorical, types.named(ColumnType::Text)),
        text: build.text.clone(),
        timestamp: named(&build.timestamp, types.named(ColumnType::Timestamp)),
        embedding: named(&build.embedding, types.named(ColumnType::Embedding)),
        joint: build.joint,
        joint_columns: build.joint_column.clone(),
        joint_names: build.joint_names,
        joint_name_columns: build.joint_name.clone(),
        time,
        segments: segments.by,
        memory_bytes: usize::try_from(u64::from(build.memory_mib) << 20).ok(),
        options: std::env::args().skip(1).collect(),
    };
    let built = match archived(&build) {
        Ok(Some((config, stretch))) => build_of_archive(&plan, &config, &stretch),
        Ok(None) => build_reference(&plan).map_err(|error| error.to_string()),
        Err(code) => return code,
    };
    let file = match built {
        Ok(file) => file,
        Err(why) => {
            eprintln!("driftline: {why}");
            return ExitCode::FAILURE;
        }
    };
    match write_reference(&file, &build.output) {
        Ok(bytes) => {
            show(&file);
            println!("\nwritten to {} ({} bytes)", build.output.display(), thousands(bytes));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("driftline: cannot write {}: {error}", build.output.display());
            ExitCode::FAILURE
        }
    }
}

/// Columns that the command line and the model's description name.
fn named(here: &[String], described: impl Iterator<Item = String>) -> Vec<String> {
    here.iter().cloned().chain(described).collect()
}

/// The archive and what is wanted of it, if it is of the archive.
fn archived(build: &Build) -> Result<Option<(Config, Stretch)>, ExitCode> {
    let (true, Some(path), Some(from), Some(to)) = (build.archive, &build.config, build.from, build.to) else {
        return Ok(None);
    };
    if from >= to {
        eprintln!("driftline: --from is not before --to");
        return Err(ExitCode::from(EXIT_USAGE));
    }
    let stretch = Stretch { model: build.model.clone(), version: build.version.clone(), from, to };
    Ok(Some((load(path)?, stretch)))
}

fn build_of_archive(plan: &ReferencePlan, config: &Config, stretch: &Stretch) -> Result<ReferenceFile, String> {
    let archive = Archive::open(config)?;
    let files = archive.runtime.block_on(read::files(&archive.place, stretch))?;
    if files.is_empty() {
        return Err(format!(
            "the archive has no rows of model '{}' in {}",
            plan.model,
            times::span(stretch.from, stretch.to)
        ));
    }
    let mut rows = ArchivedRows::new(plan);
    for file in &files {
        let contents = archive.get(&file.path)?;
        rows.begin_file(&file.path, &contents);
        read::rows(contents, stretch, &mut |batch| rows.take(&batch)).map_err(|why| format!("{}: {why}", file.path))?;
    }
    rows.finish().map_err(|error| error.to_string())
}

/// What the command line, and the model's description, say of the rows.
#[derive(Default)]
struct Described {
    /// The time column and the windows.
    time: Option<(String, Windows)>,
    /// Columns that are no features.
    exclude: Vec<String>,
    /// The description's segments.
    segments: Segments,
    types: Types,
}

/// The types that the description gives to columns of which the command line says nothing.
#[derive(Default)]
struct Types(BTreeMap<String, ColumnType>);

impl Types {
    /// The columns of one of them.
    fn named(&self, kind: ColumnType) -> impl Iterator<Item = String> {
        self.0.iter().filter(move |(_, known)| **known == kind).map(|(name, _)| name.clone())
    }
}

/// Columns that say which row it is and when it happened, by the model's description.
pub(super) fn not_features(model: &Model) -> Vec<String> {
    let freshness = model.slis.freshness.iter().map(|freshness| freshness.column.clone());
    model.row_id.iter().cloned().chain(freshness).chain(time_of(model)).collect()
}

fn time_of(model: &Model) -> Option<String> {
    match &model.event_time {
        EventTime::Column { name, .. } => Some(name.clone()),
        EventTime::Request => None,
    }
}

fn described(build: &Build) -> Result<Described, ExitCode> {
    let usage = |why: String| {
        eprintln!("driftline: {why}");
        ExitCode::from(EXIT_USAGE)
    };
    if let Some(path) = &build.config {
        let config = load(path)?;
        if !config.models.iter().any(|model| model.name == build.model) {
            return Err(usage(format!("{} does not describe a model '{}'", path.display(), build.model)));
        }
        let model = config.model(&build.model);
        let exclude = not_features(&model);
        let column = if build.archive {
            Some(EVENT_TIME.to_owned())
        } else {
            build.time_column.clone().or_else(|| time_of(&model))
        };
        let time = column.map(|column| (column, model.windows));
        let said = [&build.categorical, &build.text, &build.timestamp, &build.embedding];
        let is_said = |name: &String| said.iter().any(|names| names.contains(name));
        let types = Types(model.columns.into_iter().filter(|(name, _)| !is_said(name)).collect());
        return Ok(Described { time, exclude, segments: model.segments, types });
    }
    let (Some(pane), Some(window)) = (&build.pane, &build.window) else { return Ok(Described::default()) };
    let duration = |text: &str| {
        let allowed = "a whole number and ms, s, m, h or d";
        parse_duration(text)
            .filter(|d| !d.is_zero())
            .ok_or_else(|| usage(format!("'{text}' is not a duration; allowed is {allowed}")))
    };
    let (pane, window) = (duration(pane)?, duration(window)?);
    if !window.as_millis().is_multiple_of(pane.as_millis()) {
        return Err(usage("--window is not a multiple of --pane".to_owned()));
    }
    let panes = (window.as_millis() / pane.as_millis()) as u32;
    let windows = Windows { pane, panes, min_filled: panes.div_ceil(2), ..Windows::default() };
    let time = build.time_column.clone().map(|column| (column, windows));
    Ok(Described { time, ..Described::default() })
}

fn show(file: &ReferenceFile) {
    println!("model {}, {} rows, built {}", file.model, thousands(file.rows), file.built_at);
    for source in &file.sources {
        println!("  from {} ({} bytes, sha256 {})", source.path, thousands(source.bytes), source.sha256);
    }
    match file.window {
        Some(window) => println!("  block noise for windows of {} panes of {} s", window.panes, window.pane_seconds),
        None => println!("  without block noise: built without times"),
    }
    let headline = file.columns.iter().filter_map(|column| column.nulls.get(&HEADLINE));
    let fewest = headline.filter_map(|null| null.few_blocks).min_by(|a, b| a.reference.total_cmp(&b.reference));
    if let Some(few) = fewest {
        println!(
            "  a budget of false pages rests on {} stretches of time; beyond what they have met, limits are carried on from the {} most extreme",
            few.reference, few.behind
        );
    }
    for derivation in &file.derived {
        let columns = derivation.columns();
        let scored = columns.iter().filter(|(name, _)| file.columns.iter().any(|column| column.column == *name));
        let sources = match derivation {
            Derivation::Joint { joint } => joint.sources().join(", ") + " together",
            Derivation::Names { names } => names.sources().join(", ") + " together",
            _ => derivation.column().to_owned(),
        };
        println!("  of {sources} {} columns are derived", scored.count());
    }
    println!();
    println!("{:<24} {:<12} {:>9} {:>9}  cells", "column", "kind", "values", "missing");
    for column in &file.columns {
        let profile = column.profile();
        let (kind, cells) = describe(column);
        println!(
            "{:<24} {:<12} {:>9} {:>9}  {cells}",
            column.column,
            kind,
            thousands(profile.usable()),
            thousands(profile.rows() - profile.usable()),
        );
    }
    if let Some(segments) = &file.segments {
        show_segments(segments);
    }
}

/// The segments with their rows, what of them is not scored, and of which no budget of false pages knows anything.
fn show_segments(segments: &driftline_detectors::Segments) {
    println!("\n{:<24} {:>9}", "segment", "rows");
    let is_known = |segment: &driftline_detectors::Segment| segment.columns.iter().any(|one| !one.nulls.is_empty());
    let any_known = segments.by.iter().flat_map(|by| &by.segments).any(is_known);
    for by in &segments.by {
        for (name, segment) in by.parting.segments().iter().zip(&by.segments) {
            let note = match segment.rows < MIN_SEGMENT_ROWS {
                true => "  not scored: too few rows",
                false if any_known && !is_known(segment) => {
                    "  not judged in a budget of false pages: rows in too little of the time"
                }
                false => "",
            };
            println!("{name:<24} {:>9}{note}", thousands(segment.rows));
        }
    }
}

fn describe(reference: &Reference) -> (&'static str, String) {
    match &reference.normal {
        Normal::Numeric { grid, exact, profile } => {
            let range = profile
                .range
                .map_or_else(String::new, |(low, high)| format!(", {} to {}", significant(low), significant(high)));
            let kind = if *exact { "all distinct values" } else { "quantiles" };
            ("numeric", format!("{} cut points, {kind}{range}", grid.cuts().len()))
        }
        Normal::Categorical { dictionary, .. } => {
            if is_boolean(dictionary.categories()) {
                return ("boolean", "false and true".to_owned());
            }
            let tail = if dictionary.has_tail() { " and the rest as one" } else { "" };
            ("categorical", format!("{} categories{tail}", dictionary.categories().len()))
        }
        Normal::Associations { associations, profile } => {
            let (columns, pairs) = (associations.columns.len(), profile.pairs.len());
            ("associations", format!("{pairs} pairs of {columns} columns"))
        }
        Normal::Contingencies { contingencies, profile } => {
            let (columns, pairs) = (contingencies.columns.len(), profile.tables.len());
            ("contingencies", format!("tables of {pairs} pairs of {columns} columns"))
        }
        Normal::Vectors { profile, .. } => ("vectors", format!("{} random features", profile.sums.len())),
    }
}

fn is_boolean(categories: &[String]) -> bool {
    categories.len() == 2 && categories.iter().all(|name| name == "true" || name == "false")
}
