//! `driftline backtest`: when somebody would have been told, and under another configuration.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::backfill::rebuild_from;
use super::samples::{Archive, From};
use super::{EXIT_USAGE, load};
use crate::backtest::files::Files;
use crate::backtest::indicators::Indicators;
use crate::backtest::report::Report;
use crate::backtest::{Trial, page};
use crate::config::{Config, EventTime, Model, TimeUnit};
use crate::numbers::thousands;
use crate::pipeline::columns::Columns;
use crate::pipeline::rebuild::Rebuild;
use crate::{references, store, times};

/// More pages than `--max-pages`.
const EXIT_TOO_MANY_PAGES: u8 = 1;
/// There was no window to judge, which is no answer.
const EXIT_NOTHING_JUDGED: u8 = 2;
/// `EX_IOERR` of sysexits.h: the archive or a reference could not be read, or the report not be written.
const EXIT_IO: u8 = 74;

#[derive(Debug, Args)]
pub(super) struct Backtest {
    /// The collector's configuration: models, rules, and where the archive is.
    #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
    config: PathBuf,
    /// A configuration that is proposed, tried on the same rows; its pages are those that count.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Only this model; without it, all that have a reference.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Windows that end after this event time, as in 2013-07-01 or 2013-07-01T05:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    from: i64,
    /// Windows that end by this event time.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    to: i64,
    /// Rows of one model in these Parquet (.parquet), CSV (.csv) and JSON lines (.jsonl, .ndjson) files, instead of an
    /// archive.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// The column of --data that says when a row happened; that of the model's description without it.
    #[arg(long, value_name = "NAME", requires = "data")]
    time_column: Option<String>,
    /// More pages than this are a failure.
    #[arg(long, value_name = "PAGES")]
    max_pages: Option<u64>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to write the report; standard output without it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A sentence, and the alerts with their reasons.
    Text,
    Json,
    /// One page with pictures that needs nothing but itself.
    Html,
}

pub(super) fn run(backtest: &Backtest) -> ExitCode {
    let configs = load(&backtest.config).and_then(|present| {
        let proposed = backtest.against.as_deref().map(load).transpose()?;
        Ok((present, proposed))
    });
    let (present, proposed) = match configs {
        Ok(configs) => configs,
        Err(code) => return code,
    };
    if let Err(why) = check(backtest, &[Some(&present), proposed.as_ref()]) {
        eprintln!("driftline: {why}");
        return ExitCode::from(EXIT_USAGE);
    }
    match judge(backtest, &present, proposed.as_ref()) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("driftline: {why}");
            ExitCode::from(EXIT_IO)
        }
    }
}

/// Whether what is asked can be answered.
fn check(backtest: &Backtest, configs: &[Option<&Config>]) -> Result<(), String> {
    if backtest.from >= backtest.to {
        return Err("--from is not before --to".to_owned());
    }
    for config in configs.iter().copied().flatten() {
        let models = models(backtest, config);
        if let (false, [model]) = (backtest.data.is_empty(), models.as_slice()) {
            time_of(backtest, model)?;
        } else if !backtest.data.is_empty() && models.len() > 1 {
            return Err("--data holds rows of one model; name it with --model".to_owned());
        }
        if models.is_empty() {
            return Err(match &backtest.model {
                Some(model) => format!("model '{model}' has no reference in every configuration, so nothing is scored"),
                None => "no model has a reference in every configuration, so nothing is scored".to_owned(),
            });
        }
    }
    Ok(())
}

/// Which column of --data says when a row happened, and how.
fn time_of(backtest: &Backtest, model: &Model) -> Result<(String, TimeUnit), String> {
    match (&backtest.time_column, &model.event_time) {
        (Some(column), EventTime::Column { name, unit }) if column == name => Ok((name.clone(), *unit)),
        (Some(column), _) => Ok((column.clone(), TimeUnit::Rfc3339)),
        (None, EventTime::Column { name, unit }) => Ok((name.clone(), *unit)),
        (None, EventTime::Request) => {
            Err(format!("model '{}' has no event_time column; name that of --data with --time-column", model.name))
        }
    }
}

fn models<'c>(backtest: &Backtest, config: &'c Config) -> Vec<&'c Model> {
    let is_asked = |model: &&Model| backtest.model.as_ref().is_none_or(|name| *name == model.name);
    config.models.iter().filter(|model| model.reference.is_some()).filter(is_asked).collect()
}

fn judge(backtest: &Backtest, present: &Config, proposed: Option<&Config>) -> Result<u8, String> {
    let archive = backtest.data.is_empty().then(|| Archive::open(present)).transpose()?;
    let tried = |path: &Path, config: &Config| try_out(backtest, archive.as_ref(), (path, config), &present.data_dir);
    let now = tried(&backtest.config, present)?;
    let then = match (&backtest.against, proposed) {
        (Some(path), Some(config)) => Some(tried(path, config)?),
        _ => None,
    };
    let report = Report {
        from: backtest.from,
        to: backtest.to,
        present: &now,
        proposed: then.as_ref(),
        max_pages: backtest.max_pages,
    };
    let written = match backtest.format {
        Format::Text => report.text(),
        Format::Json => report.json()?,
        Format::Html => page::html(&report),
    };
    match &backtest.output {
        Some(path) => {
            std::fs::write(path, written).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            eprintln!("{}", report.headline());
        }
        None => io::stdout().write_all(written.as_bytes()).map_err(|error| error.to_string())?,
    }
    Ok(if report.judged().windows == 0 {
        EXIT_NOTHING_JUDGED
    } else if report.is_within_max_pages() {
        0
    } else {
        EXIT_TOO_MANY_PAGES
    })
}

/// Tries a configuration on the archive, or else on the files that are named. What the collector knows of its columns, its
/// database says.
fn try_out(
    backtest: &Backtest,
    archive: Option<&Archive>,
    (path, config): (&Path, &Config),
    data_dir: &Path,
) -> Result<Trial, String> {
    let mut trial = Trial { config: path.display().to_string(), ..Trial::default() };
    let known = store::look(data_dir).map_err(|error| format!("the database: {error}"))?;
    if known.is_none() {
        let why = "there is no database that says which columns are predictions; all are taken for features";
        trial.left_out.push(why.to_owned());
    }
    let models = models(backtest, config);
    for model in &models {
        let Some((references, file)) = references::of_model(model, &config.alerting.rules)? else { continue };
        let Some(mut rebuild) = Rebuild::new(model, references, backtest.from, backtest.to) else { continue };
        let columns = match &known {
            Some(db) => Columns::load(db, model, Some(&file)).map_err(|error| format!("the database: {error}"))?,
            None => Columns::of_model(model, Some(&file)),
        };
        let role = |column: &str| columns.role(column);
        let from = From {
            config: backtest.config.clone(),
            model: model.name.clone(),
            version: None,
            from: backtest.from,
            to: backtest.to,
        };
        let interval = config.alerting.evaluation_interval.as_micros() as i64;
        let indicators = Indicators::of(model, (backtest.from, backtest.to), interval)?;
        let rules = (config.alerting.rules.as_slice(), &config.alerting.routes, models.len());
        let mut of_model = trial.begin((&model.name, &model.windows), rules, &role, Some(indicators));
        let mut unusable = 0;
        match archive {
            Some(archive) => drop(rebuild_from(archive, &from, &mut rebuild, &mut of_model)?),
            None => {
                let time = time_of(backtest, model)?;
                let of_model_columns = file.columns.iter().map(|column| column.column.as_str()).collect();
                let row_id = model.row_id.as_deref();
                let files = Files { paths: &backtest.data, time, row_id, of_model: of_model_columns };
                unusable = files.rebuild(&mut Columns::of_model(model, Some(&file)), &mut rebuild, &mut of_model)?;
            }
        }
        of_model.finish()?;
        if unusable > 0 {
            let rows = thousands(unusable);
            trial.left_out.push(format!("{rows} rows of --data have no usable time, and are in no window"));
        }
        trial.rows += rebuild.rows.counted;
    }
    Ok(trial)
}
