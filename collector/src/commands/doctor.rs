//! `driftline doctor`: whether what a collector stands on is there and does what it must. It asks the real things, beside a
//! collector that runs or without one, and leaves nothing behind.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use driftline_alerts::{SecretSource, SlackWay, Smtp, Transport};

use super::load;
use super::samples::Archive;
use crate::archive::agreement::{self, Agreement, DAYS};
use crate::archive::probe::{self, Probe};
use crate::config::{ArchivePlace, Config, Feed, Model, TargetKind};
use crate::feeds;
use crate::ingest::space;
use crate::model_metadata;
use crate::references::LoadedReferences;
use crate::store;
use crate::times;

/// Writes that are timed.
const SYNCS: u32 = 9;
const SYNC_BYTES: usize = 64 << 10;
/// A batch is acknowledged after such a write: slower than this, senders notice.
const SLOW_SYNC: Duration = Duration::from_millis(100);
/// Files that are named where many are wrong.
const MAX_PATHS: usize = 3;
/// Clocks that are further apart make the newest rows look late, or from the future.
const CLOCK_TOLERANCE_SECONDS: i64 = 60;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The configuration file.
    #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
    config: PathBuf,
}

/// What was found, or what is wrong and what to do.
type Finding = Result<String, String>;

pub(super) fn run(doctor: &Doctor) -> ExitCode {
    let config = match load(&doctor.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mut is_well = true;
    let mut tell = |what: &str, finding: Finding| {
        let (mark, text) = match &finding {
            Ok(found) => ("ok", found),
            Err(wrong) => ("WRONG", wrong),
        };
        is_well &= finding.is_ok();
        println!("{mark:<6} {what:<11} {text}");
    };
    tell("references", references(&config));
    for model in &config.models {
        if let Some(finding) = metadata(model) {
            tell("metadata", finding);
        }
        for feed in &model.slis.feeds {
            tell("feeds", listed(model, feed));
        }
    }
    tell("database", store::examine(&config.data_dir));
    tell("disk", disk(&config));
    match archive(&config) {
        Ok((probed, agreement)) => {
            tell("archive", stored(&config, &probed));
            tell("manifests", agreement.and_then(manifests));
            tell("clock", clock(&probed, times::now_micros()));
        }
        Err(why) => tell("archive", Err(format!("{}: {why}", place(&config)))),
    }
    for (what, secret) in secrets(&config) {
        tell("secrets", secret.read().map(|_| format!("{what} can be read")).map_err(|why| format!("{what}: {why}")));
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the archive's place does, and whether its manifests name what is there.
fn archive(config: &Config) -> Result<(Probe, Result<Option<Agreement>, String>), String> {
    let archive = Archive::open(config)?;
    archive.runtime.block_on(async {
        let probed = probe::probe(&archive.place).await?;
        Ok((probed, agreement::of(&archive.place).await))
    })
}

fn references(config: &Config) -> Finding {
    LoadedReferences::load(config).map_err(|problems| problems.join("; "))?;
    let with = config.models.iter().filter(|model| model.reference.is_some()).count();
    Ok(format!("{with} of {} models have one, and it can be read", config.models.len()))
}

/// What a model says of its columns, where the configuration names its metadata.
fn metadata(model: &Model) -> Option<Finding> {
    let name = &model.name;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let looked = match runtime {
        Ok(runtime) => runtime.block_on(model_metadata::look(model))?,
        Err(error) => Err(format!("no runtime: {error}")),
    };
    let told = |columns| format!("{name} says what types {columns} columns have");
    Some(looked.map(told).map_err(|why| format!("{name}: {why}; its columns' types are taken from their first values")))
}

/// Whether a feed can be listed, and what its newest file is.
fn listed(model: &Model, feed: &Feed) -> Finding {
    let name = format!("{} of {}", feed.name, model.name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let looked = match runtime {
        Ok(runtime) => runtime.block_on(feeds::look(feed)),
        Err(error) => Err(format!("no runtime: {error}")),
    };
    match looked {
        Ok(Some(newest)) => {
            Ok(format!("{name}: {} of {}, written {}", newest.name, feed.place, times::rfc3339(newest.written_at)))
        }
        Ok(None) => Err(format!("{name}: no file in {}; check its place and 'suffix'", feed.place)),
        Err(why) => Err(format!("{name}: {} cannot be listed: {why}", feed.place)),
    }
}

/// How much room there is, and how long a durable write takes.
fn disk(config: &Config) -> Finding {
    let folder = existing(&config.data_dir);
    let error = |error: &dyn std::fmt::Display| format!("{}: {error}; check data_dir and its owner", folder.display());
    let (free, floor) = space::free_and_floor(folder, config.ingest.min_free_bytes).map_err(|e| error(&e))?;
    let taken = sync_time(folder).map_err(|e| error(&e))?;
    let found = format!(
        "{}: {} MiB are free, {} of them stay free; a durable write of {} KiB takes {:.1} ms",
        folder.display(),
        free >> 20,
        floor >> 20,
        SYNC_BYTES >> 10,
        taken.as_secs_f64() * 1e3
    );
    if free < floor {
        return Err(format!("{found}; senders are told to wait: make room, or lower ingest.min_free_bytes"));
    }
    if taken > SLOW_SYNC {
        return Err(format!("{found}; every batch waits for one: put data_dir on a faster disk"));
    }
    Ok(found)
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder)
}

/// The median of some writes to a file that is on disk when they return.
fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".driftline-doctor-{}", std::process::id()));
    let timed = (|| {
        let mut file = File::create_new(&path)?;
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            let start = Instant::now();
            file.write_all(&[0; SYNC_BYTES])?;
            file.sync_all()?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    })();
    std::fs::remove_file(&path).ok();
    timed
}

fn place(config: &Config) -> String {
    match &config.archive.place {
        ArchivePlace::Folder(folder) => folder.display().to_string(),
        ArchivePlace::S3 { bucket, prefix, .. } if prefix.is_empty() => format!("bucket {bucket}"),
        ArchivePlace::S3 { bucket, prefix, .. } => format!("bucket {bucket}, prefix {prefix}"),
    }
}

fn stored(config: &Config, probed: &Probe) -> Finding {
    let place = place(config);
    if !probed.keeps_what_is_there {
        return Err(format!(
            "{place}: a conditional put went over what was there, so rows could be lost or doubled; use a store that honours 'If-None-Match: *', as S3 does"
        ));
    }
    let owner = probed.owner.as_ref().map_or("nobody's yet".to_owned(), |owner| format!("collector {owner}'s"));
    Ok(format!(
        "{place}: written, read and taken away again in {:.0} ms; conditional puts are honoured; it is {owner}",
        probed.took.as_secs_f64() * 1e3
    ))
}

fn manifests(agreement: Option<Agreement>) -> Finding {
    let Some(Agreement { models, named, gone, changed, unnamed }) = agreement else {
        return Ok("there are none yet".to_owned());
    };
    let of = format!("{named} files that manifests name, of the newest {DAYS} days of {models} models");
    let some = |paths: &[String]| paths.iter().take(MAX_PATHS).map(String::as_str).collect::<Vec<_>>().join(", ");
    if !gone.is_empty() {
        return Err(format!(
            "{} of {of}, are gone: {}; restore them from a backup, or their rows are lost",
            gone.len(),
            some(&gone)
        ));
    }
    if !changed.is_empty() {
        return Err(format!(
            "{} of {of}, have another size than they were archived with: {}; restore them from a backup",
            changed.len(),
            some(&changed)
        ));
    }
    let newer = match unnamed {
        0 => String::new(),
        _ => format!("; {unnamed} beside them are newer than their manifests, or somebody else's"),
    };
    Ok(format!("all of {of}, are there{newer}"))
}

/// This machine's clock beside the store's.
fn clock(probed: &Probe, now: i64) -> Finding {
    let ahead = (now - probed.written_at) / 1_000_000;
    let found = format!("{}, {} s from the archive's store", times::rfc3339(now), ahead.abs());
    if ahead.abs() > CLOCK_TOLERANCE_SECONDS {
        return Err(format!("{found}; one of the two is wrong: check that this machine keeps its time by NTP"));
    }
    Ok(found)
}

/// The secrets that the configuration names, and what each is for.
fn secrets(config: &Config) -> Vec<(String, &SecretSource)> {
    let mut secrets = Vec::new();
    if let ArchivePlace::S3 { credentials: Some((key_id, secret)), .. } = &config.archive.place {
        secrets.push(("the archive's key id".to_owned(), key_id));
        secrets.push(("the archive's secret key".to_owned(), secret));
    }
    let places = config.models.iter().flat_map(|model| &model.slis.feeds).map(|feed| (&feed.name, &feed.place));
    for (feed, place) in places {
        if let ArchivePlace::S3 { credentials: Some((key_id, secret)), .. } = place {
            secrets.push((format!("the key id of the feed {feed}"), key_id));
            secrets.push((format!("the secret key of the feed {feed}"), secret));
        }
    }
    for token in &config.ingest.tokens {
        secrets.push((format!("the token of {}", token.name), &token.token));
    }
    for (name, target) in &config.alerting.targets {
        let mut named = |what: &str, secret| secrets.push((format!("the {what} of {name}"), secret));
        match &target.kind {
            TargetKind::PagerDuty { routing_key, .. } => named("key", routing_key),
            TargetKind::Email { transport: Transport::Smtp(Smtp { credentials: Some((_, password)), .. }), .. } => {
                named("password", password);
            }
            TargetKind::Slack(SlackWay::Api { token, .. }) => named("token", token),
            TargetKind::Slack(SlackWay::Webhook(url)) | TargetKind::Teams { url } => named("address", url),
            TargetKind::Datadog { api_key, .. } | TargetKind::Opsgenie { api_key, .. } => named("key", api_key),
            TargetKind::Webhook { url, signing_key } => {
                named("address", url);
                signing_key.iter().for_each(|key| named("signing key", key));
            }
            TargetKind::Email { .. } | TargetKind::Alertmanager { .. } => {}
        }
    }
    for configured in &config.alerting.reactions {
        let name = &configured.reaction.name;
        let key = configured.reaction.approval.as_ref().and_then(|approval| approval.signing_key.as_ref());
        let named = configured.starter.secrets().into_iter().chain(key.map(|key| ("key for links", key)));
        secrets.extend(named.map(|(what, secret)| (format!("the {what} of {name}"), secret)));
    }
    secrets.extend(config.alerting.heartbeat.iter().map(|told| ("the address of the heartbeat".to_owned(), &told.url)));
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(written_at: i64) -> Probe {
        Probe { keeps_what_is_there: true, owner: None, took: Duration::from_millis(5), written_at }
    }

    #[test]
    fn a_clock_that_is_minutes_off_is_wrong() {
        assert!(clock(&probed(0), 59_000_000).is_ok());
        assert!(clock(&probed(0), 62_000_000).unwrap_err().contains("62 s from"));
        assert!(clock(&probed(90_000_000), 0).is_err());
    }

    #[test]
    fn a_store_that_writes_over_what_is_there_is_wrong() {
        let config = Config::parse("d.yaml", "archive: {folder: a}", Path::new("/x")).unwrap();
        assert!(stored(&config, &probed(0)).unwrap().contains("/x/a: written, read"));
        let careless = Probe { keeps_what_is_there: false, ..probed(0) };
        assert!(stored(&config, &careless).unwrap_err().contains("If-None-Match"));
    }
}
