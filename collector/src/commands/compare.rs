//! `driftline compare`: one file of rows beside another, or beside a reference.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use driftline_alerts::escape_html;
use driftline_detectors::causes::{Cause, CauseKind, MAX_NAMED};
use driftline_detectors::{
    Bar, Classified, Derivation, Detector, MIN_CLASSIFIED_ROWS, Reference, Score, Thresholds, Verdict, classify,
};
use serde::Serialize;

use super::EXIT_USAGE;
use crate::api::{CauseView, ScoreView};
use crate::backtest::{drawing, page};
use crate::causes;
use crate::numbers::{percent, significant, thousands};
use crate::pipeline::HEADLINE;
use crate::reference_build::{Counted, ReferencePlan, build_reference, count, sample};

/// Something has drifted.
const EXIT_DRIFT: u8 = 1;
/// No column had rows enough to tell.
const EXIT_NOT_ENOUGH_DATA: u8 = 2;
/// What all columns together are called, where a classifier tells rows apart by them.
const CLASSIFIER: &str = "(classifier)";
/// `EX_IOERR` of sysexits.h: a file could not be read, or the report not be written.
const EXIT_IO: u8 = 74;

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// What is normal: rows (.parquet, .csv, .jsonl, .ndjson), or a reference file (.json).
    #[arg(value_name = "NORMAL")]
    normal: PathBuf,
    /// The rows that are held against it.
    #[arg(value_name = "ROWS")]
    rows: PathBuf,
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
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Where to write it; standard output without it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
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

pub(super) fn run(compare: &Compare) -> ExitCode {
    let compared = match Compared::of(compare) {
        Ok(compared) => compared,
        Err((code, why)) => {
            eprintln!("driftline: {why}");
            return ExitCode::from(code);
        }
    };
    let said = match compare.format {
        Format::Table => compared.table(),
        Format::Json => compared.json(),
        Format::Html => compared.html(),
    };
    let written = match &compare.output {
        Some(path) => std::fs::write(path, said).map_err(|error| format!("{}: {error}", path.display())),
        None => std::io::stdout().write_all(said.as_bytes()).map_err(|error| error.to_string()),
    };
    if let Err(why) = written {
        eprintln!("driftline: {why}");
        return ExitCode::from(EXIT_IO);
    }
    ExitCode::from(compared.code())
}

/// Two samples side by side.
struct Compared<'c> {
    compare: &'c Compare,
    rows: (u64, u64),
    /// The farthest beyond its limit first.
    columns: Vec<Column>,
}

struct Column {
    name: String,
    /// All of them.
    scores: Vec<Score>,
    /// Those that decide.
    deciding: Vec<Detector>,
    /// What its drift looks like, by whichever score; that which accounts for most first.
    causes: Vec<Cause>,
    bars: Vec<Bar>,
}

impl<'c> Compared<'c> {
    fn of(compare: &'c Compare) -> Result<Self, (u8, String)> {
        let Normal { rows, references, derived } = normal(compare)?;
        let read = |why| (EXIT_IO, format!("{}: {why}", compare.rows.display()));
        let Counted { rows: of_rows, profiles } = count(&compare.rows, &references, &derived).map_err(read)?;
        let thresholds = Thresholds(compare.threshold.iter().copied().collect());
        let column = |(reference, profile): (&Reference, _)| {
            let scores = reference.scores(profile, &thresholds, true);
            Column {
                name: reference.column.clone(),
                deciding: compare.score.clone(),
                causes: reference.causes(profile, &scores),
                bars: reference.histogram(profile),
                scores,
            }
        };
        let mut columns: Vec<Column> = references.iter().zip(&profiles).map(column).collect();
        if compare.classifier {
            columns.push(classifier(compare, &references, &thresholds)?);
        }
        columns.sort_by(|a, b| b.beyond().total_cmp(&a.beyond()));
        Ok(Self { compare, rows: (rows, of_rows), columns })
    }

    /// The scores that decide, with their columns.
    fn deciding(&self) -> impl Iterator<Item = (&Column, &Score)> {
        self.columns.iter().flat_map(|column| {
            column.scores.iter().filter(|score| column.decides(score)).map(move |score| (column, score))
        })
    }

    fn has(&self, verdict: Verdict) -> bool {
        self.deciding().any(|(_, score)| score.verdict == verdict)
    }

    fn code(&self) -> u8 {
        match () {
            () if self.has(Verdict::Drift) => EXIT_DRIFT,
            () if self.has(Verdict::Ok) => 0,
            () => EXIT_NOT_ENOUGH_DATA,
        }
    }

    fn headline(&self) -> String {
        let drifted: Vec<&str> =
            self.columns.iter().filter(|column| column.drifts()).map(|column| column.name.as_str()).collect();
        let of = format!(
            "{} columns, {} rows beside {}",
            self.columns.len(),
            thousands(self.rows.1),
            thousands(self.rows.0)
        );
        match (drifted.as_slice(), self.code()) {
            ([], EXIT_NOT_ENOUGH_DATA) => format!("Too few rows to tell: {of}"),
            ([], _) => format!("No drift: {of}"),
            (names, _) => format!("Drift in {}: {of}", names.join(", ")),
        }
    }

    fn table(&self) -> String {
        let mut text = self.headline() + "\n\n";
        let names = ["column", "score", "effect", "limit", "rows", "verdict"];
        let [column, score, effect, limit, rows, verdict] = names;
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap_or_default();
        line(format_args!("{column:<28} {score:<18} {effect:>10} {limit:>10} {rows:>11}  {verdict}"));
        for (column, score) in self.deciding() {
            let view = ScoreView::from(score);
            line(format_args!(
                "{:<28} {:<18} {:>10} {:>10} {:>11}  {}",
                column.name,
                score.detector.name(),
                significant(view.effect),
                significant(view.limit),
                thousands(score.n_window),
                view.verdict.replace('_', " ")
            ));
        }
        let mut drifted = self.columns.iter().filter(|column| column.drifts() && !column.causes.is_empty()).peekable();
        if drifted.peek().is_some() {
            line(format_args!(""));
        }
        drifted.for_each(|column| line(format_args!("{} looks like {}", column.name, column.looks())));
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'c> {
            headline: String,
            normal: &'c Path,
            rows: &'c Path,
            n_reference: u64,
            n_window: u64,
            verdict: &'static str,
            columns: Vec<One<'c>>,
        }
        #[derive(Serialize)]
        struct One<'c> {
            column: &'c str,
            scores: Vec<ScoreView>,
            causes: Vec<CauseView>,
            bars: &'c [Bar],
        }
        let columns = self.columns.iter().map(|column| One {
            column: &column.name,
            scores: column.scores.iter().map(ScoreView::from).collect(),
            causes: column.causes.iter().map(CauseView::from).collect(),
            bars: &column.bars,
        });
        let whole = Whole {
            headline: self.headline(),
            normal: &self.compare.normal,
            rows: &self.compare.rows,
            n_reference: self.rows.0,
            n_window: self.rows.1,
            verdict: match self.code() {
                EXIT_DRIFT => "drift",
                EXIT_NOT_ENOUGH_DATA => "not_enough_data",
                _ => "ok",
            },
            columns: columns.collect(),
        };
        // Texts and finite numbers can always be written.
        serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
    }

    fn html(&self) -> String {
        let state = if self.has(Verdict::Drift) { "is-over" } else { "is-fine" };
        let files = format!("{} beside {}", self.compare.rows.display(), self.compare.normal.display());
        let mut body = format!(
            "<header class=\"report-head {state}\"><p class=\"sub\">Driftline compare · {}</p><h1>{}</h1></header><section><h2>Columns \
             <span class=\"count\">the farthest first</span></h2><p class=\"swatches sub\"><span class=\"fill-reference\"></span>normal \
             <span class=\"fill-window\"></span>rows</p>",
            escape_html(&files),
            escape_html(&self.headline())
        );
        self.columns.iter().for_each(|column| body.push_str(&column.html()));
        page::page("Driftline compare", &(body + "</section>"))
    }
}

impl Column {
    /// By how much the farthest of the scores that decide is beyond its limit.
    fn beyond(&self) -> f64 {
        let of = |score: &Score| score.effect / score.threshold_in_force().max(f64::MIN_POSITIVE);
        self.scores.iter().filter(|score| self.decides(score)).map(of).fold(0.0, f64::max)
    }

    fn drifts(&self) -> bool {
        self.scores.iter().any(|score| self.decides(score) && score.verdict == Verdict::Drift)
    }

    fn decides(&self, score: &Score) -> bool {
        self.deciding.contains(&score.detector)
    }

    /// In the words that follow "looks like".
    fn looks(&self) -> String {
        let cause = |cause: &Cause| format!("{} ({} of the change)", causes::in_words(cause), percent(cause.share));
        self.causes.iter().map(cause).collect::<Vec<_>>().join("; and ")
    }

    /// The scores that decide are in sight, the others one click away.
    fn html(&self) -> String {
        let (first, others): (Vec<&Score>, Vec<&Score>) = self.scores.iter().partition(|score| self.decides(score));
        let drifted = others.iter().filter(|score| score.verdict == Verdict::Drift).count();
        let looks = if self.causes.is_empty() {
            String::new()
        } else {
            format!("<p class=\"breakable\">Looks like {}.</p>", escape_html(&self.looks()))
        };
        let others = if others.is_empty() {
            String::new()
        } else {
            let summary = format!("{} more scores, {drifted} of them drift", others.len());
            format!("<details><summary class=\"sub\">{summary}</summary>{}</details>", table(&others))
        };
        format!(
            "<article class=\"panel\"><h3 class=\"breakable\">{}</h3>{}{looks}{}{others}</article>",
            escape_html(&self.name),
            drawing::histogram(&self.bars),
            table(&first)
        )
    }
}

/// All columns together, as a classifier sees them that learns to tell the rows of the two apart.
fn classifier(compare: &Compare, references: &[Reference], thresholds: &Thresholds) -> Result<Column, (u8, String)> {
    if compare.normal.extension().is_some_and(|ending| ending == "json") {
        return Err((EXIT_USAGE, "--classifier needs rows of both; a reference file holds none".to_owned()));
    }
    let sampled = |path: &Path| sample(path, references).map_err(|why| (EXIT_IO, format!("{}: {why}", path.display())));
    let (names, of_normal) = sampled(&compare.normal)?;
    let (_, of_rows) = sampled(&compare.rows)?;
    let deciding = vec![Detector::Auc];
    let Some(Classified { score, columns }) = classify(of_normal, of_rows, thresholds) else {
        return Err((
            EXIT_NOT_ENOUGH_DATA,
            format!("--classifier needs {MIN_CLASSIFIED_ROWS} rows of both to learn from; leave it out"),
        ));
    };
    let named =
        columns.iter().take(MAX_NAMED).filter_map(|(column, share)| Some((names.get(*column)?.clone(), *share)));
    let kind = CauseKind::ToldApart { columns: named.collect(), count: columns.len() };
    let causes = if score.verdict == Verdict::Drift { vec![Cause { kind, share: 1.0 }] } else { Vec::new() };
    Ok(Column { name: CLASSIFIER.to_owned(), scores: vec![score], deciding, causes, bars: Vec::new() })
}

fn table(scores: &[&Score]) -> String {
    if scores.is_empty() {
        return String::new();
    }
    let row = |score: &&Score| {
        let view = ScoreView::from(*score);
        format!(
            "<tr class=\"verdict-{0}\"><td>{1}</td><td>{2}</td><td>{3}</td><td>{4}</td><td>{5}</td></tr>",
            view.verdict,
            score.detector.name(),
            significant(view.effect),
            significant(view.limit),
            thousands(score.n_window),
            view.verdict.replace('_', " ")
        )
    };
    format!(
        "<div class=\"table-scroller\"><table><thead><tr><th>score</th><th>effect</th><th>limit</th><th>rows</th><th>verdict</th></tr>\
         </thead><tbody>{}</tbody></table></div>",
        scores.iter().map(row).collect::<String>()
    )
}

/// What is normal, and of how many rows.
struct Normal {
    rows: u64,
    references: Vec<Reference>,
    /// How some of them are derived of several columns together.
    derived: Vec<Derivation>,
}

/// Columns that are derived of single others are left out: only a collector derives them of rows.
fn normal(compare: &Compare) -> Result<Normal, (u8, String)> {
    let wanted = |column: &str| {
        (compare.column.is_empty() || compare.column.iter().any(|wanted| wanted == column))
            && !compare.exclude.iter().any(|excluded| excluded == column)
    };
    let mut file = if compare.normal.extension().is_some_and(|ending| ending == "json") {
        let read = |why| (EXIT_IO, format!("{}: {why}", compare.normal.display()));
        crate::references::read(&compare.normal).map_err(read)?.0
    } else {
        let plan = ReferencePlan {
            inputs: vec![compare.normal.clone()],
            columns: compare.column.clone(),
            exclude: compare.exclude.clone(),
            categorical: compare.categorical.clone(),
            joint: compare.joint,
            joint_columns: compare.joint_column.clone(),
            joint_names: compare.joint_names,
            joint_name_columns: compare.joint_name.clone(),
            ..ReferencePlan::default()
        };
        build_reference(&plan).map_err(|error| (EXIT_IO, error.to_string()))?
    };
    let is_wanted = |reference: &Reference| {
        let derivation = file.derived.iter().find(|derivation| derivation.gives(&reference.column));
        match derivation {
            Some(Derivation::Joint { joint }) => joint.sources().iter().all(|source| wanted(source)),
            Some(Derivation::Names { names }) => names.sources().iter().all(|source| wanted(source)),
            Some(_) => false,
            None => wanted(&reference.column),
        }
    };
    file.columns.retain(is_wanted);
    if file.columns.is_empty() {
        return Err((
            EXIT_USAGE,
            format!("{} has none of the columns that are to be compared", compare.normal.display()),
        ));
    }
    Ok(Normal { rows: file.rows, references: file.columns, derived: file.derived })
}
