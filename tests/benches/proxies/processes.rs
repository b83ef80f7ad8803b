//! Processes, and what the kernel says of them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before the benchmark gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The unit of processor time in `/proc`. It is the same on every Linux that this runs on.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// A process that ends with the benchmark.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program. Its standard input is a pipe that closes when the benchmark ends, however it ends; its output
    /// goes to a log.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} cannot be started: {error}", command.get_program()));
        Self { child }
    }

    /// Starts a part of this program, and gives what it says first.
    pub(crate) fn start_part(arguments: &[String]) -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self { child }, line.trim().to_owned())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
    }

    /// Asks it to stop, waits until it has, and says how it ended.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if asked.elapsed() > PATIENCE {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Processor time of it and its children so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        family(self.id()).into_iter().filter_map(cpu_ticks).sum::<u64>() as f64 / TICKS_PER_SECOND
    }

    /// The most memory that it and its children ever held, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        family(self.id()).into_iter().filter_map(|id| memory(id, "VmHWM:")).sum()
    }

    /// The memory that it and its children hold now, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        family(self.id()).into_iter().filter_map(|id| memory(id, "VmRSS:")).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A master takes its workers along when it is asked, and leaves them behind when it is killed.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("-TERM");
            let asked = Instant::now();
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && asked.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A process and its descendants.
fn family(id: u32) -> Vec<u32> {
    let ids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = ids.filter_map(|id: u32| Some((id, stat(id)?.get(1)?.parse().ok()?))).collect();
    let mut family = vec![id];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        at += 1;
    }
    family
}

/// The fields of `/proc/ID/stat` after the name: the first is the state.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn cpu_ticks(id: u32) -> Option<u64> {
    let fields = stat(id)?;
    let field = |number: usize| fields.get(number)?.parse::<u64>().ok();
    Some(field(11)? + field(12)?)
}

fn memory(id: u32, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Waits until somebody accepts connections there.
pub(crate) fn wait_until_open(what: &str, address: SocketAddr) {
    eventually(what, || TcpStream::connect(address).map(drop).map_err(|error| error.to_string()));
}

/// Waits until something holds.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(state) if began.elapsed() > PATIENCE => panic!("{what}: still {state}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
