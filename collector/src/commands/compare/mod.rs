//! `driftline compare`: rows beside other rows, or beside a reference. Rows are those of a file or of the archive.

mod preset;
mod scores;
mod sides;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use driftline_detectors::Detector;

use self::preset::{Preset, TheirNumbers};
use self::scores::Compared;
use self::sides::Side;
use super::EXIT_USAGE;
use crate::filter::Filter;
use crate::pipeline::HEADLINE;
use crate::reference_build::ReferencePlan;
use crate::times;

/// Something has drifted.
const EXIT_DRIFT: u8 = 1;
/// No column had rows enough to tell.
const EXIT_NOT_ENOUGH_DATA: u8 = 2;
/// `EX_IOERR` of sysexits.h: rows could not be read, or the report not be written.
const EXIT_IO: u8 = 74;

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// What is normal: rows (.parquet, .csv, .jsonl, .ndjson), a reference file (.json), or rows of the archive, as in
    /// archive:version=3 or archive:from=2013-07-01,to=2013-07-08.
    #[arg(value_name = "NORMAL", value_parser = Side::parse)]
    normal: Side,
    /// The rows that are held against it: a file, or rows of the archive.
    #[arg(value_name = "ROWS", value_parser = Side::parse)]
    rows: Side,
    #[command(flatten)]
    archive: OfArchive,
    /// Only these columns; repeat, or separate by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    column: Vec<String>,
    /// Not these columns.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    exclude: Vec<String>,
    /// Columns that are names although they look like numbers.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    categorical: Vec<String>,
    /// Look at columns of numbers together, too. A reference file says itself whether it does.
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
    /// Learn to tell the rows of the two apart by all columns together, too. How well that goes decides as well.
    #[arg(long)]
    classifier: bool,
    /// The scores that decide, and that the table shows; separate by commas. JSON has all.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = HEADLINE.name(), value_parser = detector)]
    score: Vec<Detector>,
    /// From which effect on a difference matters, as in psi=0.1; repeat for several scores.
    #[arg(long, value_name = "SCORE=EFFECT", value_parser = threshold)]
    threshold: Vec<(Detector, f64)>,
    /// Instead of scores, what another tool says of the rows by its own defaults, to compare before one moves over.
    #[arg(long, value_enum, conflicts_with_all = [
        "joint", "joint_column", "joint_names", "joint_name", "classifier", "score", "threshold",
    ])]
    preset: Option<Preset>,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Where to write it; standard output without it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What is said of rows of the archive, on both sides.
#[derive(Debug, Args)]
struct OfArchive {
    /// The collector's configuration: it says where the archive is.
    #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
    config: PathBuf,
    /// The model whose archived rows are meant, where the side names no other.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Archived rows from this event time on, where the side says nothing else, as in 2013-07-01 or 2013-07-01T05:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    from: Option<i64>,
    /// Archived rows up to this event time, which is not part of it.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    to: Option<i64>,
    /// Only archived rows for which this holds: temp > 30 and carrier in ('UA', 'DL') and dest is not null.
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::parse)]
    filter: Option<Filter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each column and score, the farthest first.
    Table,
    Json,
    /// One page with pictures that needs nothing but itself.
    Html,
}

fn detector(name: &str) -> Result<Detector, String> {
    let known = || Detector::ALL.map(Detector::name).join(", ");
    Detector::named(name).ok_or_else(|| format!("no score; the scores are {}", known()))
}

fn threshold(text: &str) -> Result<(Detector, f64), String> {
    let (name, effect) = text.split_once('=').ok_or("needs a score and an effect, as in psi=0.1")?;
    let effect = effect.parse().ok().filter(|effect: &f64| effect.is_finite() && *effect >= 0.0);
    Ok((detector(name)?, effect.ok_or("the effect is a number from 0 on")?))
}

/// What there is to say, and the exit code that says the same.
struct Report {
    text: String,
    code: u8,
}

pub(super) fn run(compare: &Compare) -> ExitCode {
    let Report { text, code } = match report(compare) {
        Ok(report) => report,
        Err((code, why)) => {
            eprintln!("driftline: {why}");
            return ExitCode::from(code);
        }
    };
    let written = match &compare.output {
        Some(path) => std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display())),
        None => std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string()),
    };
    if let Err(why) = written {
        eprintln!("driftline: {why}");
        return ExitCode::from(EXIT_IO);
    }
    ExitCode::from(code)
}

fn report(compare: &Compare) -> Result<Report, (u8, String)> {
    compare.check_sides()?;
    match compare.preset {
        Some(preset) => Ok(TheirNumbers::of(compare, preset)?.report()),
        None => Ok(Compared::of(compare)?.report()),
    }
}

impl Compare {
    /// Whether what is said of the archive is said of some side.
    fn check_sides(&self) -> Result<(), (u8, String)> {
        let archive = &self.archive;
        let is_said =
            archive.model.is_some() || archive.from.is_some() || archive.to.is_some() || archive.filter.is_some();
        let is_archive = |side: &Side| matches!(side, Side::Archive { .. });
        if is_said && ![&self.normal, &self.rows].into_iter().any(is_archive) {
            return Err((
                EXIT_USAGE,
                "--model, --from, --to and --where are of rows of the archive, as in archive:version=3; a file is compared whole"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Which columns are taken of rows, and what for. `not_features` are of no interest.
    fn plan(&self, not_features: &[String]) -> ReferencePlan {
        ReferencePlan {
            columns: self.column.clone(),
            exclude: [self.exclude.as_slice(), not_features].concat(),
            categorical: self.categorical.clone(),
            joint: self.joint,
            joint_columns: self.joint_column.clone(),
            joint_names: self.joint_names,
            joint_name_columns: self.joint_name.clone(),
            ..ReferencePlan::default()
        }
    }
}
