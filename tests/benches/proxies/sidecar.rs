//! The sidecar and its collector as processes, and the sidecar's account.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::processes::{PATIENCE, Process, eventually, free_address};

/// Where the workspace's binaries are: beside this program.
pub(crate) fn binaries(options: &crate::Options) -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.to_owned());
    let folder = options.binaries.clone().or_else(beside).unwrap();
    for name in ["driftline-sidecar", "driftline"] {
        assert!(
            folder.join(name).is_file(),
            "{} has no {name}; run 'cargo build --release --workspace --bins' first, or set DRIFTLINE_BINARIES",
            folder.display()
        );
    }
    folder
}

/// A collector that acknowledges.
#[derive(Debug)]
pub(crate) struct Collector {
    process: Process,
    pub(crate) address: SocketAddr,
    /// What it stores.
    _data: TempDir,
}

/// Where a collector's disk is memory. In a cluster it has a disk, on another machine: here its writes would be waited for by
/// the kernel's threads on the same two cores.
const MEMORY: &str = "/dev/shm";

impl Collector {
    pub(crate) fn start(binaries: &Path, folder: &Path) -> Self {
        Self::start_on(Some(Path::new(MEMORY)).filter(|memory| memory.is_dir()).unwrap_or(folder), binaries, folder)
    }

    /// One that stores somewhere else.
    pub(crate) fn start_on(place: &Path, binaries: &Path, folder: &Path) -> Self {
        let address = free_address();
        let config = folder.join("driftline.yaml");
        let data = tempfile::Builder::new().prefix("driftline-bench-").tempdir_in(place).unwrap();
        std::fs::write(&config, format!("listen: {address}\ndata_dir: {}\n", data.path().display())).unwrap();
        // In a cluster it is on another machine. Here it only gets what the others leave.
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(binaries.join("driftline")).args(["serve", "--config"]).arg(&config);
        let process = Process::start(&mut command, &folder.join("collector.log"));
        eventually("the collector is ready", || match get(address, "/readyz") {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        Self { process, address, _data: data }
    }

    /// Waits until it has counted what it took in: that is not the work of whoever is measured next.
    pub(crate) fn wait_until_idle(&self) {
        const LOOK: Duration = Duration::from_millis(200);
        let began = Instant::now();
        let mut before = self.process.cpu_seconds();
        while began.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
            let now = self.process.cpu_seconds();
            if now - before < LOOK.as_secs_f64() / 10.0 {
                return;
            }
            before = now;
        }
    }
}

/// A sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

/// The sidecar's account of exchanges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) seen: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    /// Left in the spool for the next start.
    pub(crate) spooled: u64,
}

impl Account {
    pub(crate) fn is_settled(self) -> bool {
        self.seen == self.delivered + self.dropped + self.spooled
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            seen: self.seen - before.seen,
            delivered: self.delivered - before.delivered,
            dropped: self.dropped - before.dropped,
            spooled: self.spooled.saturating_sub(before.spooled),
        }
    }
}

impl Sidecar {
    pub(crate) fn start(
        binaries: &Path,
        folder: &Path,
        upstream: SocketAddr,
        collector: SocketAddr,
        more: &[String],
    ) -> Self {
        let (address, admin) = (free_address(), free_address());
        let mut command = Command::new(binaries.join("driftline-sidecar"));
        command.args([
            format!("--listen={address}"),
            format!("--admin={admin}"),
            format!("--upstream={upstream}"),
            format!("--collector=http://{collector}"),
            "--model=benchmark".to_owned(),
        ]);
        command.args(more);
        let process = Process::start(&mut command, &folder.join(format!("sidecar-{}.log", address.port())));
        eventually("the sidecar is up", || get(admin, "/livez").map(drop));
        Self { process, address, admin }
    }

    pub(crate) fn metrics(&self) -> Result<String, String> {
        get(self.admin, "/metrics").map(|(_, text)| text)
    }

    pub(crate) fn account(&self) -> Account {
        let metrics = self.metrics().unwrap();
        let count = |what: &str| metric(&metrics, &format!("driftline_sidecar_exchanges_{what}_total")) as u64;
        Account {
            seen: count("seen"),
            delivered: count("delivered"),
            dropped: count("dropped"),
            spooled: metric(&metrics, SPOOLED) as u64,
        }
    }

    /// The account, once nothing is on its way any more, or as it is when patience ends.
    pub(crate) fn settled(&self) -> Account {
        let began = Instant::now();
        loop {
            let account = self.account();
            if account.is_settled() || began.elapsed() > PATIENCE {
                return account;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

const SPOOLED: &str = "driftline_sidecar_exchanges_spooled";

/// The sum of a metric's series.
pub(crate) fn metric(exposition: &str, name: &str) -> f64 {
    exposition
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| series.split('{').next() == Some(name))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}

/// Asks once, over a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
