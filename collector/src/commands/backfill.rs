//! `driftline backfill`: the scores of past windows, made again from the archive.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use driftline_detectors::Detector;

use super::samples::{Archive, From};
use super::windows::{Format, Sink};
use super::{EXIT_USAGE, load};
use crate::archive::read::{self, Stretch, StretchFile};
use crate::config::Config;
use crate::numbers::thousands;
use crate::pipeline::HEADLINE;
use crate::pipeline::checkpoint::StoredWindow;
use crate::pipeline::rebuild::{Rebuild, Rebuilding, Rebuilt};
use crate::pipeline::rewriting::{self, Rewritten};
use crate::references;
use crate::store;
use crate::times::{self, now_micros};

#[derive(Debug, Args)]
pub(super) struct Backfill {
    #[command(flatten)]
    from: From,
    /// Score against this reference instead of the configured one.
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The score that the table shows; CSV and JSON lines have all.
    #[arg(long, value_name = "NAME", default_value = HEADLINE.name(), value_parser = detector)]
    score: Detector,
    /// Put the windows in the place of those that are stored, for pages and API. Nobody is alerted. No collector may run
    /// on the database meanwhile.
    #[arg(long)]
    write: bool,
}

fn detector(name: &str) -> Result<Detector, String> {
    let known = || Detector::ALL.map(Detector::name).join(", ");
    Detector::named(name).ok_or_else(|| format!("no score; the scores are {}", known()))
}

pub(super) fn run(backfill: &Backfill) -> ExitCode {
    let config = match load(&backfill.from.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if backfill.from.from >= backfill.from.to {
        eprintln!("driftline: --from is not before --to");
        return ExitCode::from(EXIT_USAGE);
    }
    match make_again(backfill, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("driftline: {why}");
            ExitCode::FAILURE
        }
    }
}

fn make_again(backfill: &Backfill, config: &Config) -> Result<(), String> {
    let mut model = config.model(&backfill.from.model);
    if backfill.reference.is_some() {
        model.reference.clone_from(&backfill.reference);
    }
    let references =
        references::of_model(&model, &config.alerting.rules)?.map(|(references, _)| references).unwrap_or_default();
    let reference = references.identity.clone();
    if references.columns.is_empty() {
        eprintln!("model '{}' has no reference, so nothing is scored; name one with --reference", model.name);
    }
    let (from, to) = (backfill.from.from, backfill.from.to);
    let Some(mut rebuild) = Rebuild::new(&model, references, from, to) else {
        return Err(format!("no window of model '{}' ends in {}", model.name, times::span(from, to)));
    };
    let archive = Archive::open(config)?;
    let mut claimed = backfill.write.then(|| claim(config)).transpose()?;
    let transaction = claimed.as_mut().map(|claimed| claimed.connection.transaction()).transpose();
    let transaction = transaction.map_err(|error| format!("the database: {error}"))?;
    let mut sink = Sink::new(backfill.format, backfill.score, BufWriter::new(io::stdout()))?;
    let (mut windows, mut written) = (0, Written::default());
    let files = rebuild_from(&archive, &backfill.from, &mut rebuild, &mut |Rebuilt { version, window }| {
        windows += 1;
        let version = version.to_string();
        let window = StoredWindow { model: model.name.clone(), version, reference: reference.clone(), window };
        sink.write(&window)?;
        match &transaction {
            Some(db) => written.count(rewriting::rewrite(db, &window, &model.slis.slices, now_micros())),
            None => Ok(()),
        }
    })?;
    sink.finish()?;
    if let Some(transaction) = transaction {
        rewriting::note(&transaction, &model.name, (from, to), written.stored, now_micros())
            .and_then(|()| transaction.commit())
            .map_err(|error| format!("the database: {error}; nothing is written"))?;
    }
    let rows = rebuild.rows;
    eprintln!(
        "{} windows of {} rows of {} files; {} more rows are of calls that failed or outside the sample, and not counted",
        thousands(windows),
        thousands(rows.counted),
        thousands(files),
        thousands(rows.not_counted)
    );
    if backfill.write {
        eprintln!("{written}");
    }
    Ok(())
}

/// Claims the database, if everything that it counted is archived.
fn claim(config: &Config) -> Result<store::Claimed, String> {
    let claimed = store::claim(&config.data_dir).map_err(|error| format!("--write: {error}"))?;
    match rewriting::not_archived(&claimed.connection).map_err(|error| format!("the database: {error}"))? {
        0 => Ok(claimed),
        batches => Err(format!(
            "--write: {batches} batches are counted and not archived, and windows would lack their rows; start the collector, and stop it once /api/v1/status says that archived_position is journal_position"
        )),
    }
}

/// What became of the windows that were to be written.
#[derive(Debug, Default)]
struct Written {
    stored: u64,
    recounted: u64,
    open: u64,
    larger: u64,
}

impl Written {
    fn count(&mut self, rewritten: rusqlite::Result<Rewritten>) -> Result<(), String> {
        match rewritten.map_err(|error| format!("the database: {error}; nothing is written"))? {
            Rewritten::Stored { recounted } => {
                self.stored += 1;
                self.recounted += recounted;
            }
            Rewritten::Open => self.open += 1,
            Rewritten::Larger => self.larger += 1,
        }
        Ok(())
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} windows are written", thousands(self.stored))?;
        if self.recounted > 0 {
            write!(formatter, "; {} events of slices are counted again", thousands(self.recounted))?;
        }
        if self.open > 0 {
            write!(formatter, "; {} are still open, and the collector will close them", thousands(self.open))?;
        }
        if self.larger > 0 {
            let larger = thousands(self.larger);
            write!(formatter, "; {larger} are left as they are, because the archive has fewer rows than they had")?;
        }
        Ok(())
    }
}

/// Hands the rows of an archive to a rebuild, and takes the windows that close, the earliest first. Gives how many files
/// hold rows of them.
pub(super) fn rebuild_from(
    archive: &Archive,
    from: &From,
    rebuild: &mut Rebuild,
    take: &mut dyn Rebuilding,
) -> Result<u64, String> {
    let stretch = |(begins, ends)| Stretch { from: begins, to: ends, ..from.stretch() };
    let files = archive.runtime.block_on(read::files(&archive.place, &stretch(rebuild.span())))?;
    // Of each, what is known of its rows' times: its partition at first, which may be far longer than a stretch.
    let mut times: Vec<(i64, i64)> = files.iter().map(|file| (file.starts, file.ends)).collect();
    // They are in the order of their beginnings.
    let mut first = 0;
    for (begins, ends) in rebuild.stretches() {
        while files.get(first).is_some_and(|file| file.ends <= begins) {
            first += 1;
        }
        let of_partition = files.iter().zip(&mut times).skip(first).take_while(|(file, _)| file.starts < ends);
        for (StretchFile { path, version, .. }, times) in of_partition {
            if times.0 >= ends || times.1 <= begins {
                continue;
            }
            let contents = archive.get(path)?;
            *times = read::times(&contents).unwrap_or(*times);
            read::rows(contents, &stretch((begins, ends)), &mut |batch| {
                take.rows(&batch)?;
                rebuild.take(version, &batch)
            })
            .map_err(|why| format!("{path}: {why}"))?;
        }
        rebuild.close(ends).into_iter().try_for_each(|rebuilt| take.window(rebuilt))?;
        take.through(ends)?;
    }
    Ok(files.len() as u64)
}
