//! The collector as a process, and what the kernel says of its threads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driftline_tests::metric;
use serde_json::Value;

use crate::http::Connection;
use crate::numbers::Numbers;
use crate::processes::{Process, TICKS_PER_SECOND, eventually, free_address};
use crate::{generator, rows};

/// Rows that the reference is built from.
const REFERENCE_ROWS: usize = 50_000;
/// A window of event time, of one pane: six seconds of a run.
pub(crate) const WINDOW_MICROS: i64 = 360_000_000;
/// How much later than the newest rows may come and still count: by one second of a run a window closes after its end.
const LATENESS_MICROS: i64 = 60_000_000;
/// Half a million rows take Evidently half a minute, and two such windows may wait.
const SCORING_PATIENCE: Duration = Duration::from_secs(600);
/// Threads that end take their processor time with them: so often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A collector in a folder, with a reference.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    folder: PathBuf,
}

impl Collector {
    pub(crate) fn start(binaries: &Path, folder: &Path) -> Self {
        let binary = binaries.join("driftline");
        build_reference(&binary, folder);
        let address = free_address();
        let config = folder.join("driftline.yaml");
        let (window, lateness) = (WINDOW_MICROS / 1_000_000, LATENESS_MICROS / 1_000_000);
        let text = format!(
            "listen: {address}\ndata_dir: data\nmodels:\n  - name: benchmark\n    reference: reference.json\n    \
             windows: {{pane: {window}s, window: {window}s, every: {window}s, lateness: {lateness}s}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(binary);
        command.args(["serve", "--config"]).arg(&config);
        Self::run(&mut command, address, folder)
    }

    /// Starts what one would write instead, in Python, in the folder of a collector: it finds the reference's rows there.
    pub(crate) fn start_beside(python: &Path, folder: &Path) -> Self {
        let address = free_address();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/collector/beside.py");
        let mut command = Command::new(python);
        command.arg(script).arg(address.port().to_string()).arg(folder);
        command.args([WINDOW_MICROS, LATENESS_MICROS].map(|micros| micros.to_string()));
        Self::run(&mut command, address, folder)
    }

    fn run(command: &mut Command, address: SocketAddr, folder: &Path) -> Self {
        let process = Process::start(command, &folder.join("collector.log"));
        eventually("the collector is ready", || match Connection::open(address) {
            Ok(mut connection) => match connection.ask("GET", "/readyz", b"") {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            },
            Err(error) => Err(error.to_string()),
        });
        Self { process, address, folder: folder.to_owned() }
    }

    pub(crate) fn metrics(&self) -> String {
        generator::metrics(&mut Connection::open(self.address).unwrap())
    }

    /// Waits until so many exchanges are counted, and no window waits for its scores.
    pub(crate) fn wait_until_counted(&self, exchanges: u64) {
        let mut connection = Connection::open(self.address).unwrap();
        eventually("everything is counted", || match generator::counted(&mut connection) {
            counted if counted >= exchanges => Ok(()),
            counted => Err(format!("{counted} of {exchanges}")),
        });
        let began = Instant::now();
        while metric(&generator::metrics(&mut connection), "windows_waiting", &[]) > 0.0 {
            assert!(began.elapsed() < SCORING_PATIENCE, "windows still wait for their scores");
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// What it answers to a path, in JSON.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, answer) = Connection::open(self.address).unwrap().ask("GET", path, b"").unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }

    /// Bytes that it has had written to the disk.
    pub(crate) fn written_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.process.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// Bytes of its database and of its archive.
    pub(crate) fn stored_bytes(&self) -> (u64, u64) {
        let data = self.folder.join("data");
        let archive = folder_bytes(&data.join("archive"));
        (folder_bytes(&data) - archive, archive)
    }
}

fn build_reference(binary: &Path, folder: &Path) {
    let file = folder.join("reference.csv");
    std::fs::write(&file, rows::csv(REFERENCE_ROWS, &mut Numbers::new(3))).unwrap();
    let built = Command::new(binary)
        .args(["reference", "build", "--model=benchmark", "--output"])
        .args([&folder.join("reference.json"), &file])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        // A file that was taken away in between.
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(bytes).sum()
}

/// Processor time by stage, in seconds, while it is looked at.
#[derive(Debug)]
pub(crate) struct Stages {
    is_over: Arc<AtomicBool>,
    watcher: JoinHandle<BTreeMap<String, f64>>,
}

impl Stages {
    pub(crate) fn watch(process: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let watcher = std::thread::spawn(move || {
            let before = threads(process);
            let mut last = BTreeMap::new();
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK_INTERVAL);
                last.extend(threads(process));
            }
            let mut stages: BTreeMap<String, f64> = BTreeMap::new();
            for (thread, (name, seconds)) in last {
                let before = before.get(&thread).map_or(0.0, |(_, seconds)| *seconds);
                *stages.entry(name).or_default() += seconds - before;
            }
            stages
        });
        Self { is_over, watcher }
    }

    pub(crate) fn end(self) -> BTreeMap<String, f64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.watcher.join().unwrap()
    }
}

/// The threads of a process: the stage that each is of, and its processor time in seconds.
fn threads(process: u32) -> BTreeMap<String, (String, f64)> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{process}/task")) else { return BTreeMap::new() };
    let thread = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (before, after) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let stage = stage(before.split_once('(')?.1);
        Some((entry.file_name().into_string().ok()?, (stage.to_owned(), ticks as f64 / TICKS_PER_SECOND)))
    };
    entries.filter_map(|entry| thread(entry.ok()?)).collect()
}

/// The kernel keeps fifteen characters of a thread's name.
fn stage(thread: &str) -> &str {
    match thread {
        "driftline-pipel" => "decode and count",
        "driftline-write" => "journal and state",
        "driftline-runti" => "ingest and archive",
        other => other,
    }
}
