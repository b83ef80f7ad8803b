//! Each column's scores, and by those that decide whether it has drifted.

use std::fmt::Write as _;

use driftline_alerts::escape_html;
use driftline_detectors::causes::{Cause, CauseKind, MAX_NAMED};
use driftline_detectors::{
    Bar, Classified, Derivation, Detector, MIN_CLASSIFIED_ROWS, Reference, Score, Thresholds, Verdict, classify,
};
use serde::Serialize;

use super::sides::Rows;
use super::{Compare, EXIT_DRIFT, EXIT_IO, EXIT_NOT_ENOUGH_DATA, EXIT_USAGE, Format, Report, Side};
use crate::api::{CauseView, ScoreView};
use crate::backtest::{drawing, page};
use crate::causes;
use crate::numbers::{percent, significant, thousands};
use crate::reference_build::{Counted, count, reference_of, sample};

/// What all columns together are called, where a classifier tells rows apart by them.
const CLASSIFIER: &str = "(classifier)";

/// Two samples side by side.
pub(super) struct Compared<'c> {
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
    /// # Errors
    /// An exit code, and why there is nothing to say.
    pub(super) fn of(compare: &'c Compare) -> Result<Self, (u8, String)> {
        let window = compare.rows.open(&compare.archive)?;
        let Normal { rows, references, derived, source } = normal(compare)?;
        let Counted { rows: of_rows, profiles } =
            count(&window, &references, &derived).map_err(|why| (EXIT_IO, why))?;
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
            columns.push(classifier(source.as_ref(), &window, &references, &thresholds)?);
        }
        columns.sort_by(|a, b| b.beyond().total_cmp(&a.beyond()));
        Ok(Self { compare, rows: (rows, of_rows), columns })
    }

    pub(super) fn report(&self) -> Report {
        let text = match self.compare.format {
            Format::Table => self.table(),
            Format::Json => self.json(),
            Format::Html => self.html(),
        };
        Report { text, code: self.code() }
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
            normal: String,
            rows: String,
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
            normal: self.compare.normal.to_string(),
            rows: self.compare.rows.to_string(),
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
        let files = format!("{} beside {}", self.compare.rows, self.compare.normal);
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
fn classifier(
    normal: Option<&Rows>,
    rows: &Rows,
    references: &[Reference],
    thresholds: &Thresholds,
) -> Result<Column, (u8, String)> {
    let Some(normal) = normal else {
        return Err((EXIT_USAGE, "--classifier needs rows of both; a reference file holds none".to_owned()));
    };
    let sampled = |rows: &Rows| sample(rows, references).map_err(|why| (EXIT_IO, why));
    let (names, of_normal) = sampled(normal)?;
    let (_, of_rows) = sampled(rows)?;
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
    /// The rows; none of a reference file.
    source: Option<Rows>,
}

/// Columns that are derived of single others are left out: only a collector derives them of rows.
fn normal(compare: &Compare) -> Result<Normal, (u8, String)> {
    let wanted = |column: &str| {
        (compare.column.is_empty() || compare.column.iter().any(|wanted| wanted == column))
            && !compare.exclude.iter().any(|excluded| excluded == column)
    };
    let (mut file, source) = match &compare.normal {
        Side::File(path) if compare.normal.is_reference_file() => {
            let read = |why| (EXIT_IO, format!("{}: {why}", path.display()));
            (crate::references::read(path).map_err(read)?.0, None)
        }
        side => {
            let rows = side.open(&compare.archive)?;
            let built = reference_of(&rows, &compare.plan(&rows.not_features));
            (built.map_err(|why| (EXIT_IO, why))?, Some(rows))
        }
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
        return Err((EXIT_USAGE, format!("{} has none of the columns that are to be compared", compare.normal)));
    }
    Ok(Normal { rows: file.rows, references: file.columns, derived: file.derived, source })
}
