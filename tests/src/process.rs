//! The binaries as processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::{PATIENCE, client, eventually};

/// A binary of the workspace, beside the tests' own.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running test has a path");
    let folder = own.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing; run 'cargo build --workspace --bins' in the same profile first",
        path.display()
    );
    path
}

/// Where ports for listeners begin, and how many there are: below those that the kernel gives to whoever calls out, or
/// another test's caller could take a port between two starts of its server.
const FIRST_PORT: u32 = 10_000;
const PORTS: u32 = 22_000;

/// A port for a listener that is not there yet, or not all the time. Nobody else is given it: it stays taken for all but
/// those who say that they use addresses again, as servers do.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    static HELD: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    // Every process begins elsewhere, and gives no port twice.
    let begin = std::process::id().wrapping_mul(101);
    let port = || FIRST_PORT + begin.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % PORTS;
    let mut candidates = (0..PORTS).filter_map(|_| u16::try_from(port()).ok());
    let (port, held) = candidates.find_map(|port| Some((port, hold(port).ok()?))).expect("a free port");
    HELD.lock().expect("nobody fails there").push(held);
    port
}

/// A socket at a port, which listens to nobody.
fn hold(port: u16) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// A process that is killed when the test ends, however it ends.
#[derive(Debug)]
struct Process {
    child: Child,
}

impl Process {
    fn start(name: &str, arguments: &[String], environment: &[(&str, &str)], log: &Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let child = Command::new(binary(name))
            .args(arguments)
            // Nothing routes to a test's sidecar that would have to learn that it leaves.
            .env("DRIFTLINE_DRAIN_DELAY", "0s")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Self { child }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        Command::new("kill").args([signal, &id]).status().expect("kill runs");
    }

    /// Waits for the end, and gives the exit code.
    async fn wait(&mut self) -> Option<i32> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(tokio::time::Instant::now() < deadline, "a process did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a command that ran to its end said.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs a binary of the workspace to its end.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(name: &str, arguments: &[&str], folder: &Path) -> Finished {
    let output = Command::new(binary(name)).args(arguments).current_dir(folder).output().expect("the binary runs");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn configure(folder: &Path, port: u16, configuration: &str) {
    let text = format!("listen: 127.0.0.1:{port}\ndata_dir: data\n{configuration}");
    std::fs::write(folder.join("driftline.yaml"), text).expect("the configuration can be written");
}

/// A collector in a folder.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    folder: PathBuf,
    port: u16,
}

impl Collector {
    /// Starts one with a configuration, to which address and folder are added, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start(folder: &Path, configuration: &str) -> Self {
        let mut collector = Self::launch(folder, configuration);
        collector.wait_until_ready().await;
        collector
    }

    /// The same, without waiting for anything.
    ///
    /// # Panics
    /// When its configuration cannot be written, or it cannot be started.
    #[must_use]
    pub fn launch(folder: &Path, configuration: &str) -> Self {
        let port = free_port();
        configure(folder, port, configuration);
        Self { process: Self::spawn(folder, &[]), folder: folder.to_owned(), port }
    }

    /// Gives it another configuration from its next start on.
    pub fn configure(&self, configuration: &str) {
        configure(&self.folder, self.port, configuration);
    }

    fn spawn(folder: &Path, environment: &[(&str, &str)]) -> Process {
        let config = folder.join("driftline.yaml").display().to_string();
        let arguments = ["serve".into(), "--config".into(), config];
        Process::start("driftline", &arguments, environment, &folder.join("collector.log"))
    }

    /// Waits until it takes batches, and works on them.
    ///
    /// # Panics
    /// When it ends, or does not become ready.
    pub async fn wait_until_ready(&mut self) {
        let url = format!("{}/readyz", self.url());
        let log = self.folder.join("collector.log");
        let process = &mut self.process;
        eventually("the collector is ready", async || {
            if let Ok(Some(status)) = process.child.try_wait() {
                panic!("the collector ended with {status}:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            let response = client().get(&url).send().await.map_err(|error| error.to_string())?;
            if response.status().is_success() { Ok(()) } else { Err(response.status().to_string()) }
        })
        .await;
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An answer of its API.
    ///
    /// # Errors
    /// When there is none, or it is an error.
    pub async fn api(&self, path: &str) -> Result<serde_json::Value, String> {
        let url = format!("{}/api/v1/{path}", self.url());
        let response = client().get(url).send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if status.is_success() {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            Err(format!("{status}: {text}"))
        }
    }

    /// What it says of why it is not ready.
    ///
    /// # Errors
    /// When it is ready, or does not answer.
    pub async fn readiness(&self) -> Result<String, String> {
        let url = format!("{}/readyz", self.url());
        let response = client().get(url).send().await.map_err(|error| error.to_string())?;
        let is_ready = response.status().is_success();
        let says = response.text().await.map_err(|error| error.to_string())?;
        if is_ready { Err(says) } else { Ok(says) }
    }

    /// Whether it says that it lives.
    pub async fn is_alive(&self) -> bool {
        let url = format!("{}/livez", self.url());
        client().get(url).send().await.is_ok_and(|response| response.status().is_success())
    }

    /// Its metrics.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.url());
        client().get(url).send().await.expect("metrics").text().await.expect("metrics are text")
    }

    /// Waits until everything in the journal is counted and archived, and says how many rows are in the archive.
    pub async fn settled(&self) -> u64 {
        eventually("everything is counted and archived", async || {
            let status = self.api("status").await?;
            let at = |name: &str| status[name].as_i64().unwrap_or(-1);
            let (journal, counted, archived) =
                (at("journal_position"), at("counted_position"), at("archived_position"));
            if journal == counted && journal == archived {
                Ok(self.api("archive?limit=1").await?["rows"].as_u64().unwrap_or(0))
            } else {
                Err(format!("journal {journal}, counted {counted}, archived {archived}"))
            }
        })
        .await
    }

    /// Kills it, at once and without a word, and starts it again.
    pub async fn kill_and_restart(&mut self) {
        self.kill().await;
        self.restart().await;
    }

    /// Kills it, at once and without a word.
    pub async fn kill(&mut self) {
        self.process.signal("-KILL");
        self.process.wait().await;
    }

    /// Starts it again, with the configuration that it had.
    pub async fn restart(&mut self) {
        self.relaunch(&[]);
        self.wait_until_ready().await;
    }

    /// The same with these in its environment, and without waiting for anything.
    pub fn relaunch(&mut self, environment: &[(&str, &str)]) {
        self.process = Self::spawn(&self.folder, environment);
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// When that cannot be told.
    pub fn has_ended(&mut self) -> bool {
        self.process.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Asks it to stop, and gives its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.process.signal("-TERM");
        self.process.wait().await
    }
}

/// A sidecar.
#[derive(Debug)]
pub struct Sidecar {
    process: Process,
    address: String,
    admin: u16,
}

impl Sidecar {
    /// Starts one between callers and a model's server, and waits until it is ready.
    pub async fn start(folder: &Path, upstream: &str, collector: &str, model: &str, more: &[&str]) -> Self {
        Self::start_on("127.0.0.1", folder, upstream, collector, model, more).await
    }

    /// The same, with callers at another address of this machine.
    pub async fn start_on(
        host: &str,
        folder: &Path,
        upstream: &str,
        collector: &str,
        model: &str,
        more: &[&str],
    ) -> Self {
        let (port, admin) = (free_port(), free_port());
        let mut arguments: Vec<String> = vec![
            format!("--listen={host}:{port}"),
            format!("--admin=127.0.0.1:{admin}"),
            format!("--upstream={upstream}"),
            format!("--collector={collector}"),
            format!("--model={model}"),
        ];
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let sidecar = Self {
            process: Process::start("driftline-sidecar", &arguments, &[], &folder.join(format!("sidecar-{port}.log"))),
            address: format!("{host}:{port}"),
            admin,
        };
        eventually("the sidecar is ready", async || {
            let response = client().get(format!("http://127.0.0.1:{admin}/readyz")).send().await;
            response.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
        sidecar
    }

    /// Where callers connect: host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// The address of a page of its admin port.
    #[must_use]
    pub fn admin(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    /// Its metrics.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> String {
        client().get(self.admin("/metrics")).send().await.expect("metrics").text().await.expect("metrics are text")
    }

    /// Sends it a signal, as in `-HUP`.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Its memory, in bytes, as the kernel counts it.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The CPU time that each of its pumps' threads has taken so far.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn pump_threads(&self) -> Vec<Duration> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.child.id())).expect("it runs");
        let read = |path: &Path, name| std::fs::read_to_string(path.join(name)).expect("the kernel says it");
        let pumps =
            tasks.map(|task| task.expect("a thread").path()).filter(|path| read(path, "comm").contains("-pump-"));
        let nanoseconds = |path: PathBuf| {
            read(&path, "schedstat").split(' ').next().and_then(|time| time.parse().ok()).expect("a time")
        };
        pumps.map(|path| Duration::from_nanos(nanoseconds(path))).collect()
    }

    /// Kills it, at once and without a word.
    pub async fn kill(&mut self) {
        self.process.signal("-KILL");
        self.process.wait().await;
    }

    /// Asks it to stop, and gives its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.process.signal("-TERM");
        self.process.wait().await
    }
}
