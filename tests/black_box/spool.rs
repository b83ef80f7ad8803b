//! The sidecar's spool: what happens to captures while the collector is away, and to the sidecar when its disk fails.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use driftline_tests::{DELIVERED, DROPPED, ModelServer, Receiver, SEEN, Sidecar, eventually, metric, run, send};

const SPOOLED: &str = "driftline_sidecar_exchanges_spooled";
const RECOVERED: &str = "driftline_sidecar_spool_recovered_exchanges_total";
const ERRORS: &str = "driftline_sidecar_spool_errors_total";

/// The bodies' numbers, each once, in the order in which they came. As the collector does it: of each boot, what is not
/// beyond what came before is a repetition.
fn numbers(collector: &Receiver) -> Vec<u64> {
    let mut through: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut numbers = Vec::new();
    for batch in collector.batches() {
        let through = through.entry(batch.boot_id).or_default();
        for exchange in batch.exchanges.iter().filter(|exchange| exchange.sequence > *through) {
            let body = &exchange.request.as_ref().unwrap().content;
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            numbers.push(body["inputs"][0]["data"][0].as_u64().unwrap());
        }
        *through = (*through).max(batch.last_sequence);
    }
    numbers
}

fn repetitions(collector: &Receiver) -> usize {
    collector.exchanges().len() - numbers(collector).len()
}

/// One test's sidecars, one after another, on the same spool.
struct Pod {
    folder: tempfile::TempDir,
    model: ModelServer,
    collector: Receiver,
    more: Vec<String>,
}

impl Pod {
    async fn new(more: &[&str]) -> Self {
        let more = more.iter().map(|argument| (*argument).to_owned()).collect();
        Self {
            folder: tempfile::tempdir().unwrap(),
            model: ModelServer::start().await,
            collector: Receiver::away(),
            more,
        }
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    async fn start(&self) -> Sidecar {
        self.start_in(&self.spool()).await
    }

    async fn start_in(&self, spool: &Path) -> Sidecar {
        let spool = format!("--spool-dir={}", spool.display());
        let mut arguments = vec![spool.as_str(), "--flush-interval=50ms", "--flush-budget=1s", "--drain-grace=1s"];
        arguments.extend(self.more.iter().map(String::as_str));
        let collector = self.collector.url();
        Sidecar::start(self.folder.path(), &self.model.address(), &collector, "m", &arguments).await
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = std::fs::read_dir(self.spool()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "segment"));
        paths.sort();
        paths
    }
}

/// Waits until nothing is on its way but in the spool, and gives seen, delivered, dropped and spooled.
async fn settled(sidecar: &Sidecar, seen: u64) -> (String, [u64; 4]) {
    eventually("the account adds up", async || {
        let metrics = sidecar.metrics().await;
        let counts = [SEEN, DELIVERED, DROPPED, SPOOLED].map(|name| metric(&metrics, name, &[]) as u64);
        let held = metric(&metrics, "driftline_sidecar_capture_bytes", &[]);
        let adds_up = counts[0] == seen && seen == counts[1] + counts[2] + counts[3] && held == 0.0;
        if adds_up { Ok((metrics, counts)) } else { Err(format!("{counts:?}, {held} bytes held")) }
    })
    .await
}

async fn recovered(sidecar: &Sidecar, exchanges: u64) -> String {
    eventually("everything in the spool is delivered or lost", async || {
        let metrics = sidecar.metrics().await;
        let found = metric(&metrics, RECOVERED, &[]) as u64;
        let waiting = metric(&metrics, "driftline_sidecar_spool_segments", &[]);
        if found == exchanges && waiting == 0.0 { Ok(metrics) } else { Err(format!("{found}, {waiting} segments")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spooled_survives_a_kill_and_is_delivered_once_in_order() {
    let pod = Pod::new(&[]).await;
    let mut sidecar = pod.start().await;
    send(&sidecar, 0..200, 1, 100).await;
    let (_, counts) = settled(&sidecar, 200).await;
    assert_eq!(counts, [200, 0, 0, 200]);
    sidecar.kill().await;

    // Another boot adds to it, and is killed as well.
    let mut sidecar = pod.start().await;
    send(&sidecar, 200..300, 1, 100).await;
    settled(&sidecar, 100).await;
    sidecar.kill().await;

    let sidecar = pod.start().await;
    send(&sidecar, 300..400, 1, 100).await;
    pod.collector.open().await;
    recovered(&sidecar, 300).await;
    let (metrics, counts) = settled(&sidecar, 100).await;
    assert_eq!(counts, [100, 100, 0, 0]);
    assert_eq!(metric(&metrics, RECOVERED, &[("outcome", "delivered")]), 300.0);
    assert_eq!(numbers(&pod.collector), (0..400).collect::<Vec<_>>());
    assert_eq!(repetitions(&pod.collector), 0);
    assert!(pod.segments().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_comes_and_goes_gets_everything_in_order_and_a_stop_leaves_the_rest() {
    let pod = Pod::new(&[]).await;
    let mut sidecar = pod.start().await;
    send(&sidecar, 0..50, 1, 100).await;
    pod.collector.open().await;
    let (_, counts) = settled_delivered(&sidecar, 50).await;
    assert_eq!(counts, [50, 50, 0, 0]);
    send(&sidecar, 50..100, 1, 100).await;
    assert_eq!(settled_delivered(&sidecar, 100).await.1, [100, 100, 0, 0]);
    assert_eq!(numbers(&pod.collector), (0..100).collect::<Vec<_>>());
    assert_eq!(sidecar.stop().await, Some(0));

    let away = Pod { collector: Receiver::away(), ..pod };
    let mut sidecar = away.start().await;
    send(&sidecar, 0..30, 1, 100).await;
    assert_eq!(sidecar.stop().await, Some(0));
    let log = away.log();
    assert!(log.contains("seen=30 delivered=0 dropped=0 spooled=30"), "{log}");
    let sidecar = away.start().await;
    away.collector.open().await;
    recovered(&sidecar, 30).await;
    assert_eq!(numbers(&away.collector), (0..30).collect::<Vec<_>>());
}

async fn settled_delivered(sidecar: &Sidecar, seen: u64) -> (String, [u64; 4]) {
    eventually("everything is delivered", async || {
        let (metrics, counts) = settled(sidecar, seen).await;
        if counts[1] == seen { Ok((metrics, counts)) } else { Err(format!("{counts:?}")) }
    })
    .await
}

impl Pod {
    fn log(&self) -> String {
        let logs = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let text: String = logs.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        // Without the colours of a terminal.
        let mut parts = text.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        first + &parts.filter_map(|part| part.split_once('m')).map(|(_, rest)| rest).collect::<String>()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_drops_the_newest_by_name_and_keeps_to_its_size() {
    let pod = Pod::new(&["--spool-max=1MiB"]).await;
    let sidecar = pod.start().await;
    // Once it knows that the collector is away: a batch that is on its way meanwhile stays in memory when the spool is full.
    send(&sidecar, 0..10, 1, 12_000).await;
    settled(&sidecar, 10).await;
    send(&sidecar, 10..300, 1, 12_000).await;
    let (metrics, counts) = settled(&sidecar, 300).await;
    assert!(counts[2] > 50 && counts[3] > 50, "{counts:?}");
    assert_eq!(metric(&metrics, DROPPED, &[("reason", "spool_full")]), counts[2] as f64);
    let held: u64 = pod.segments().iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(held <= 1 << 20, "{held}");
    pod.collector.open().await;
    let (_, after) = eventually("the spool is drained", async || {
        let (metrics, after) = settled(&sidecar, 300).await;
        if after[3] == 0 { Ok((metrics, after)) } else { Err(format!("{after:?}")) }
    })
    .await;
    assert_eq!((after[1], after[2]), (counts[3], counts[2]));
    let numbers = numbers(&pod.collector);
    assert!(numbers.is_sorted() && numbers.len() as u64 == counts[3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_segments_cost_what_was_in_them_and_nothing_else() {
    let pod = Pod::new(&["--spool-max=1MiB"]).await;
    let mut sidecar = pod.start().await;
    // Eight batches of about 25 kB, in segments of 64 KiB.
    for batch in 0..8_usize {
        send(&sidecar, batch * 5..batch * 5 + 5, 1, 8_000).await;
        settled(&sidecar, batch as u64 * 5 + 5).await;
    }
    sidecar.kill().await;
    let segments = pod.segments();
    assert!(segments.len() >= 3, "{segments:?}");
    // A changed byte in a frame; a header that is none; a torn tail.
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    bytes[36 + 24 + 100] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();
    std::fs::write(&segments[1], b"nonsense").unwrap();
    let last = segments.last().unwrap();
    let length = std::fs::metadata(last).unwrap().len();
    std::fs::File::options().write(true).open(last).unwrap().set_len(length - 7).unwrap();

    let sidecar = pod.start().await;
    send(&sidecar, 100..110, 1, 10).await;
    pod.collector.open().await;
    let (metrics, counts) = settled_delivered(&sidecar, 10).await;
    assert_eq!(counts, [10, 10, 0, 0]);
    assert_eq!(metric(&metrics, ERRORS, &[("reason", "corrupt")]), 1.0, "{metrics}");
    assert_eq!(metric(&metrics, ERRORS, &[("reason", "torn")]), 2.0, "{metrics}");
    let lost = metric(&metrics, RECOVERED, &[("outcome", "lost")]);
    assert!(lost >= 2.0, "{lost}: both damaged frames say how many exchanges they had");
    let numbers = numbers(&pod.collector);
    assert!(numbers.is_sorted() && numbers.ends_with(&(100..110).collect::<Vec<_>>()), "{numbers:?}");
    assert!(numbers.len() > 15 && numbers.len() < 45, "{numbers:?}");
    assert_eq!(repetitions(&pod.collector), 0);
    assert!(pod.segments().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_deleted_or_cannot_be_written_stops_nothing() {
    let pod = Pod::new(&[]).await;
    let mut sidecar = pod.start().await;
    send(&sidecar, 0..20, 1, 100).await;
    settled(&sidecar, 20).await;
    std::fs::remove_dir_all(pod.spool()).unwrap();
    send(&sidecar, 20..40, 1, 100).await;
    settled(&sidecar, 40).await;
    assert!(!pod.segments().is_empty(), "it is made again");
    pod.collector.open().await;
    assert_eq!(settled_delivered(&sidecar, 40).await.1, [40, 40, 0, 0]);
    assert_eq!(numbers(&pod.collector), (0..40).collect::<Vec<_>>());
    assert_eq!(sidecar.stop().await, Some(0));

    // Not for root either.
    let pod = Pod { collector: Receiver::away(), ..pod };
    let mut sidecar = pod.start_in(Path::new("/proc/driftline-spool")).await;
    send(&sidecar, 0..40, 1, 100).await;
    let metrics = eventually("batches wait in memory", async || {
        let metrics = sidecar.metrics().await;
        if metric(&metrics, "driftline_sidecar_backlog_batches", &[]) > 0.0 { Ok(metrics) } else { Err(metrics) }
    })
    .await;
    assert!(metric(&metrics, ERRORS, &[]) > 0.0, "{metrics}");
    pod.collector.open().await;
    assert_eq!(settled_delivered(&sidecar, 40).await.1, [40, 40, 0, 0]);
    assert_eq!(sidecar.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sidecar_on_the_same_folder_is_refused_with_a_reason() {
    let pod = Pod::new(&[]).await;
    let _first = pod.start().await;
    let spool = format!("--spool-dir={}", pod.spool().display());
    let arguments = ["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--upstream=127.0.0.1:9", "--model=m", &spool];
    let second =
        run("driftline-sidecar", &[&arguments[..], &["--collector=http://127.0.0.1:9"]].concat(), pod.folder.path());
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(
        second.stderr.contains("another process has") && second.stderr.contains("--spool-dir"),
        "{}",
        second.stderr
    );
}
