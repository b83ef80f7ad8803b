//! An S3 server that is slow, refuses, loses answers and is killed, while the collector is killed, too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driftline_tests::{Collector, eventually};

use crate::dice::Dice;
use crate::exact;
use crate::faults::{Fault, Faults, LATE};
use crate::kills::{Kill, MODELS, counted, in_words, limits_and_model};
use crate::oracle::{Archive, check};
use crate::s3::{BUCKET, S3};
use crate::senders::{Ledger, Senders};
use crate::{Folder, Options, Outcome};

/// The server is killed once for so many kills of the collector.
const SERVER_KILLED_EVERY: u64 = 5;

fn configuration(url: &str, prefix: &str, dice: &mut Dice) -> String {
    format!(
        "archive:
  s3: {{bucket: {BUCKET}, prefix: {prefix}, endpoint: '{url}', access_key_id: {{file: key}}, secret_access_key: {{file: secret}}, request_timeout: 2s}}
{}",
        limits_and_model(dice)
    )
}

pub(crate) async fn run(options: &Options, dice: &mut Dice) -> Outcome {
    let Some(weed) = &options.weed else {
        return Outcome::Skipped("there is no S3 server; give SeaweedFS's binary with --weed".to_owned());
    };
    let folder = Folder::new(options);
    exact::write_reference(folder.path());
    let mut server = S3::start(weed, folder.path()).await;
    let faults = Faults::start(&server.address()).await;
    a_store_that_overwrites_is_told(folder.path(), &faults, dice).await;
    let mut collector = Collector::start(folder.path(), &configuration(&faults.url(), "archive", dice)).await;
    let ledger: Arc<Ledger> = Arc::default();
    let senders = Senders::start(&collector.url(), MODELS, 2, dice, &ledger);
    collector.kill().await;
    a_late_claim_of_a_run_that_died_stops_nobody(&mut collector, &faults).await;
    collector.kill().await;
    let kills = Kill::draw(options.kills, dice);
    let mut server_kills = 0;
    for (number, kill) in (1..).zip(&kills) {
        collector.configure(&configuration(&faults.url(), "archive", dice));
        let fault = Fault::HONEST[dice.below(Fault::HONEST.len() as u64) as usize];
        faults.set(fault);
        // Points of the archive are reached once the store does as it should again.
        let heals = tokio::spawn({
            let (faults, after) = (faults.clone(), dice.millis(200..1200));
            async move {
                tokio::time::sleep(after).await;
                faults.set(Fault::Nothing);
            }
        });
        if number % SERVER_KILLED_EVERY == 0 {
            collector.relaunch(&[]);
            tokio::time::sleep(dice.millis(300..900)).await;
            server.kill();
            collector.kill().await;
            // It takes batches without its store, too.
            collector.restart().await;
            ledger.next_acknowledgement().await;
            server.restart().await;
            server_kills += 1;
            collector.kill().await;
        }
        kill.of(&mut collector, &ledger, dice).await;
        heals.await.expect("nothing fails there");
    }
    collector.restart().await;
    a_second_collector_is_fenced(folder.path(), &faults, dice).await;
    // A store that does nothing does not hold the stop up.
    faults.set(Fault::SlowDown);
    ledger.next_acknowledgement().await;
    assert_eq!(collector.stop().await, Some(0), "it stops cleanly without its store");
    collector.restart().await;
    // Every fault once more, with nobody dying.
    for fault in Fault::HONEST {
        faults.set(fault);
        tokio::time::sleep(Duration::from_millis(400)).await;
        faults.set(Fault::Nothing);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    senders.stop().await;
    collector.settled().await;
    let found = check(&ledger.boots(), &Archive::S3(server.store()), &collector).await;
    assert!(found.exact_windows > 0, "the exact model had no windows");
    assert_eq!(collector.stop().await, Some(0), "it stops cleanly after all that");
    Outcome::Passed(format!(
        "{} kills of the collector ({}), {server_kills} of the S3 server, faults by request: {}; {}",
        kills.len(),
        counted(&kills),
        faults.counted(),
        in_words(&ledger, &found)
    ))
}

/// A store that ignores conditions is found out when the collector starts.
async fn a_store_that_overwrites_is_told(folder: &Path, faults: &Faults, dice: &mut Dice) {
    faults.set(Fault::Unconditional);
    let configuration = configuration(&faults.url(), "_driftline/overwritten", dice);
    archiving_stops(folder, "overwritten", &configuration, "does not honour 'If-None-Match: *'").await;
    faults.set(Fault::Nothing);
}

/// A run dies while its claim of the archive is on its way, and the claim comes after that of the next one.
async fn a_late_claim_of_a_run_that_died_stops_nobody(collector: &mut Collector, faults: &Faults) {
    let before = faults.count(Fault::LatePut);
    faults.set(Fault::LatePut);
    collector.relaunch(&[]);
    eventually("a claim is on its way", async || match faults.count(Fault::LatePut) {
        count if count > before => Ok(()),
        count => Err(format!("{count} late puts")),
    })
    .await;
    collector.kill().await;
    faults.set(Fault::Nothing);
    collector.restart().await;
    tokio::time::sleep(LATE).await;
    let position =
        async |name: &str| -> Result<i64, String> { Ok(collector.api("status").await?[name].as_i64().unwrap_or(0)) };
    let reached = position("journal_position").await.expect("it answers");
    eventually("it archives what comes", async || match position("archived_position").await? {
        archived if archived >= reached => Ok(()),
        archived => Err(format!("{archived} of {reached} are archived")),
    })
    .await;
}

async fn a_second_collector_is_fenced(folder: &Path, faults: &Faults, dice: &mut Dice) {
    let configuration = configuration(&faults.url(), "archive", dice);
    archiving_stops(folder, "second", &configuration, "their rows would be mixed").await;
}

/// Starts another collector in a folder of its own, and waits until it says that it does not archive, and why.
async fn archiving_stops(folder: &Path, name: &str, configuration: &str, why: &str) {
    let own = folder.join(name);
    std::fs::create_dir(&own).expect("a folder");
    for file in ["key", "secret", "reference.json"] {
        std::fs::copy(folder.join(file), own.join(file)).expect("a file");
    }
    let collector = Collector::launch(&own, configuration);
    eventually("the collector says that it does not archive", async || {
        let says = collector.readiness().await?;
        if says.contains(why) { Ok(()) } else { Err(says) }
    })
    .await;
}
