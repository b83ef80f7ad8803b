//! Two collectors where there may be one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use driftline_tests::{Collector, eventually, run as run_binary};

use crate::dice::Dice;
use crate::kills::{MODEL, in_words};
use crate::oracle::{Archive, check};
use crate::senders::{Ledger, Senders};
use crate::{Folder, Options, Outcome};

pub(crate) async fn run(options: &Options, dice: &mut Dice) -> Outcome {
    let folder = Folder::new(options);
    let [first, second, third] = ["first", "second", "third"].map(|name| folder.path().join(name));
    for own in [&first, &second, &third] {
        std::fs::create_dir(own).expect("a folder");
    }
    let shared = folder.path().join("archive");
    let archive = Archive::Folder(shared.clone());
    let at = |place: &Path| {
        format!("archive: {{folder: '{}', partition: day, max_age: 150ms, delta: true}}\n{MODEL}", place.display())
    };
    let mut collector = Collector::start(&first, &at(&shared)).await;
    let ledger: Arc<Ledger> = Arc::default();
    send(&collector, dice, &ledger).await;
    collector.settled().await;

    second_on_the_folder_is_refused(&first);

    // Another collector on the same archive takes batches, and archives none of them there.
    let mut other = Collector::launch(&second, &at(&shared));
    stopped(&other, "their rows would be mixed").await;
    let others: Arc<Ledger> = Arc::default();
    send(&other, dice, &others).await;
    send(&collector, dice, &ledger).await;
    collector.settled().await;
    check(&ledger.boots(), &archive, &collector).await;
    // With a place of its own nothing of that is lost.
    assert_eq!(other.stop().await, Some(0));
    other.configure(&at(&second.join("archive")));
    other.restart().await;
    other.settled().await;
    check(&others.boots(), &Archive::Folder(second.join("archive")), &other).await;
    drop(other);

    // One on a copy of the database, which was alone when it was started: the first finds out at its next cut.
    assert_eq!(collector.stop().await, Some(0));
    copy(&first.join("data"), &third.join("data"));
    collector.restart().await;
    let mut twin = Collector::start(&third, &at(&shared)).await;
    let twins = Ledger::after(&ledger, ledger.boots());
    send(&twin, dice, &twins).await;
    twin.settled().await;
    let firsts = Ledger::after(&twins, BTreeMap::new());
    send(&collector, dice, &firsts).await;
    stopped(&collector, "copy of this data_dir").await;
    let found = check(&twins.boots(), &archive, &twin).await;
    assert_eq!(twin.stop().await, Some(0));
    Outcome::Passed(format!(
        "a second collector refused by its folder, fenced by its archive, and fenced on a copy; {}",
        in_words(&twins, &found)
    ))
}

/// Sends for a moment, until everything is acknowledged.
async fn send(collector: &Collector, dice: &mut Dice, ledger: &Arc<Ledger>) {
    let senders = Senders::start(&collector.url(), &["m"], 2, dice, ledger);
    for _ in 0..20 {
        ledger.next_acknowledgement().await;
    }
    senders.stop().await;
}

fn second_on_the_folder_is_refused(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("driftline.yaml")).expect("a configuration");
    let (_, rest) = text.split_once('\n').expect("its first line is the address");
    std::fs::write(folder.join("second.yaml"), format!("listen: 127.0.0.1:0\n{rest}")).expect("a file");
    let refused = run_binary("driftline", &["serve", "--config", "second.yaml"], folder);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("another collector runs on"), "{}", refused.stderr);
    assert!(refused.stderr.contains("each needs a data_dir of its own"), "{}", refused.stderr);
}

/// Waits until a collector says that it archives no more, for this reason.
async fn stopped(collector: &Collector, why: &str) {
    eventually("archiving has stopped", async || {
        let says = collector.readiness().await?;
        if says.contains("archiving has stopped") && says.contains(why) { Ok(()) } else { Err(says) }
    })
    .await;
    assert!(collector.is_alive().await, "counting goes on");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a file");
    }
}
