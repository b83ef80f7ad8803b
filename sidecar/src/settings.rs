//! The sidecar's settings: flags, each of which is also an environment variable.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;

use crate::upstream::Upstream;

/// Tees a model server's traffic to a Driftline collector, without ever standing in its way.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(name = "driftline-sidecar", version, max_term_width = 110)]
pub struct Settings {
    /// Address to accept the callers' connections on.
    #[arg(long, env = "DRIFTLINE_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// Address of the model's server: host:port, unix:/path, or https://host:port for one with TLS.
    #[arg(long, env = "DRIFTLINE_UPSTREAM", value_name = "ADDRESS")]
    pub upstream: Upstream,

    /// Address of the collector, as in http://driftline:4600, or https:// for one with TLS.
    #[arg(long, env = "DRIFTLINE_COLLECTOR", value_name = "URL")]
    pub collector: CollectorUrl,

    /// Authority of the collector's certificate, PEM; without it, the public ones.
    #[arg(long, env = "DRIFTLINE_COLLECTOR_CA", value_name = "FILE")]
    pub collector_ca: Option<PathBuf>,

    /// Certificate and chain, PEM, to show a collector that asks for one; read again when it changes.
    #[arg(long, env = "DRIFTLINE_COLLECTOR_CERTIFICATE", value_name = "FILE", requires = "collector_key")]
    pub collector_certificate: Option<PathBuf>,

    /// Private key of that certificate, PEM.
    #[arg(long, env = "DRIFTLINE_COLLECTOR_KEY", value_name = "FILE", requires = "collector_certificate")]
    pub collector_key: Option<PathBuf>,

    /// File with the token that the collector knows this sidecar by, and nothing else; read again when it changes.
    #[arg(long, env = "DRIFTLINE_COLLECTOR_TOKEN_FILE", value_name = "FILE")]
    pub collector_token_file: Option<PathBuf>,

    /// Name of the model, under which everything is shown.
    #[arg(long, env = "DRIFTLINE_MODEL", value_name = "NAME", value_parser = model_name)]
    pub model: String,

    /// Name of this instance, for example the pod's.
    #[arg(long, env = "DRIFTLINE_INSTANCE", value_name = "NAME", default_value_t = host_name())]
    pub instance: String,

    // 4601 sits beside the collector's 4600, and no model server that we know of uses it.
    /// Address to serve /metrics, /livez and /readyz on.
    #[arg(long, env = "DRIFTLINE_ADMIN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4601")]
    pub admin: SocketAddr,

    /// YAML file that says what is captured, sampled and redacted; it is loaded again on SIGHUP and when it changes.
    #[arg(long, env = "DRIFTLINE_RULES", value_name = "FILE")]
    pub rules: Option<PathBuf>,

    /// Checks settings and rules, says what is wrong with them, and starts nothing.
    #[arg(long)]
    pub check: bool,

    // At 1,000 exchanges a second of 2 KB, compressed five times, 64 MiB hold two minutes without a collector.
    /// Memory that capture may take, in all: three quarters for what waits for the collector, one for what is not compressed
    /// yet; past it exchanges are sent without their bodies or dropped, and counted, never delayed.
    #[arg(long, env = "DRIFTLINE_CAPTURE_BUDGET", value_name = "SIZE", default_value = "64MiB")]
    pub capture_budget: Bytes,

    // A row of 30 features is under 1 KB; 1 MiB holds a batch of a thousand of them.
    /// How much is kept of each body; the rest passes, and the exchange is marked as truncated.
    #[arg(long, env = "DRIFTLINE_MAX_BODY", value_name = "SIZE", default_value = "1MiB")]
    pub max_body: Bytes,

    /// Connections open at once; more wait in the kernel's queue. Fewer where the limit of open files is low.
    #[arg(long, env = "DRIFTLINE_MAX_CONNECTIONS", value_name = "COUNT", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// OTLP receiver to send a span of each exchange to, over HTTP, as in http://otel-collector:4318; none by default.
    #[arg(long, env = "DRIFTLINE_OTLP_ENDPOINT", value_name = "URL", value_parser = otlp_endpoint)]
    pub otlp_endpoint: Option<HostPort>,

    // One pumps 50,000 requests a second; a model's server that needs more has many cores to share.
    /// Threads that pump.
    #[arg(long, env = "DRIFTLINE_THREADS", value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,

    /// Certificate and chain, PEM, to end the callers' TLS with; read again when it changes.
    #[arg(long, env = "DRIFTLINE_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// Private key of the certificate, PEM.
    #[arg(long, env = "DRIFTLINE_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// Authority of the callers' certificates, PEM; callers without one are then refused.
    #[arg(long, env = "DRIFTLINE_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_certificate")]
    pub tls_client_ca: Option<PathBuf>,

    /// What a model's server without TLS speaks, offered to callers with TLS (ALPN), most wanted first.
    #[arg(long, env = "DRIFTLINE_TLS_PROTOCOLS", value_name = "NAMES", value_delimiter = ',', default_value = "http/1.1",
          value_parser = ["http/1.1", "h2"])]
    pub tls_protocols: Vec<String>,

    /// Authority of the model's server's certificate, PEM; without it, the public ones. Read again when it changes.
    #[arg(long, env = "DRIFTLINE_UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,

    /// Certificate and chain, PEM, to show a model's server that asks for one; read again when it changes.
    #[arg(long, env = "DRIFTLINE_UPSTREAM_CERTIFICATE", value_name = "FILE", requires = "upstream_key")]
    pub upstream_certificate: Option<PathBuf>,

    /// Private key of that certificate, PEM.
    #[arg(long, env = "DRIFTLINE_UPSTREAM_KEY", value_name = "FILE", requires = "upstream_certificate")]
    pub upstream_key: Option<PathBuf>,

    /// Name in the model's server's certificate, where it is not the host's.
    #[arg(long, env = "DRIFTLINE_UPSTREAM_SERVER_NAME", value_name = "NAME")]
    pub upstream_server_name: Option<String>,

    // Short enough that a page shows what just happened, long enough that a batch compresses well.
    /// How long an exchange waits for others before a batch is sent.
    #[arg(long, env = "DRIFTLINE_FLUSH_INTERVAL", value_name = "DURATION", default_value = "250ms", value_parser = duration)]
    pub flush_interval: Duration,

    // Kubernetes grants 30 s from SIGTERM to SIGKILL; this and the two below fit into it. It takes a pod out of its
    // services at the same time as it sends SIGTERM, so new connections still come for a while.
    /// How long connections are still accepted after SIGTERM, while /readyz already says no.
    #[arg(long, env = "DRIFTLINE_DRAIN_DELAY", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub drain_delay: Duration,

    /// How long connections may take to end after that.
    #[arg(long, env = "DRIFTLINE_DRAIN_GRACE", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_grace: Duration,

    /// How long the last batches may take to be acknowledged after that.
    #[arg(long, env = "DRIFTLINE_FLUSH_BUDGET", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub flush_budget: Duration,

    /// Folder in which batches wait while the collector is away; without one they wait in memory. One sidecar's alone.
    #[arg(long, env = "DRIFTLINE_SPOOL_DIR", value_name = "FOLDER")]
    pub spool_dir: Option<PathBuf>,

    // At 1,000 exchanges a second of 2 KB, compressed five times, 1 GiB is three quarters of an hour without a collector.
    /// Disk space that the spool may take; past it the newest batches are dropped and counted.
    #[arg(long, env = "DRIFTLINE_SPOOL_MAX", value_name = "SIZE", default_value = "1GiB", requires = "spool_dir")]
    pub spool_max: Bytes,

    /// Syncs each segment of the spool to disk when it is full, so that a node that crashes loses the last one at most;
    /// without this, what the kernel had not written yet. A sidecar that crashes loses nothing of it either way.
    #[arg(long, env = "DRIFTLINE_SPOOL_FSYNC", requires = "spool_dir")]
    pub spool_fsync: bool,
}

/// Two bodies of this size fit into a frame of 16 MiB even if they do not compress at all, with everything else that an
/// exchange carries.
const MAX_BODY_BYTES: usize = 7 << 20;
/// What an exchange takes at most besides its bodies.
const EXCHANGE_BYTES: usize = 64 << 10;
/// A batch is about a megabyte before it is compressed.
const MIN_SPOOL_BYTES: usize = 1 << 20;

impl Settings {
    /// What an exchange with two full bodies takes.
    pub(crate) fn exchange_bytes(&self) -> usize {
        2 * self.max_body.0 + EXCHANGE_BYTES
    }

    /// Checks what one flag alone cannot tell.
    ///
    /// # Errors
    /// All problems at once, one a line.
    pub fn validate(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        if self.capture_budget.0 < 2 * self.exchange_bytes() {
            problems.push(format!(
                "--capture-budget: {} cannot hold an exchange with two bodies of --max-body {} and its frame; allowed is {} or more",
                self.capture_budget, self.max_body, Bytes(2 * self.exchange_bytes())
            ));
        }
        if self.max_body.0 > MAX_BODY_BYTES {
            problems.push(format!(
                "--max-body: {} is too much; allowed is up to {}",
                self.max_body,
                Bytes(MAX_BODY_BYTES)
            ));
        }
        if self.spool_max.0 < MIN_SPOOL_BYTES {
            problems.push(format!(
                "--spool-max: {} holds less than a few batches; allowed is {} or more",
                self.spool_max,
                Bytes(MIN_SPOOL_BYTES)
            ));
        }
        if self.flush_interval > Duration::from_secs(60) {
            problems.push("--flush-interval: too long; allowed is up to 60s".to_owned());
        }
        if !matches!(self.upstream, Upstream::Tls(_))
            && (self.upstream_ca.is_some()
                || self.upstream_certificate.is_some()
                || self.upstream_server_name.is_some())
        {
            problems.push(format!(
                "--upstream-ca, --upstream-certificate, --upstream-server-name: {} has no TLS; write https://host:port",
                self.upstream
            ));
        }
        if !self.collector.is_tls && (self.collector_ca.is_some() || self.collector_certificate.is_some()) {
            problems.push(format!(
                "--collector-ca, --collector-certificate: {} has no TLS; write https://host:port",
                self.collector
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }
}

/// A host and a port; the host may be a name, which is looked up for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is not host:port, as in 127.0.0.1:8080 or [::1]:8080");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let port: u16 = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || port == 0 || host.contains(['/', '[', ']']) || (bare.is_none() && host.contains(':')) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// The collector's address: `http://host[:port]`, or `https://` for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl {
    /// Where to connect.
    pub host_port: HostPort,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

/// The collector's usual port.
const COLLECTOR_PORT: u16 = 4600;

impl FromStr for CollectorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.strip_prefix("https://").map(|rest| format!("http://{rest}"));
        let host_port = http_address(plain.as_deref().unwrap_or(text), "driftline", COLLECTOR_PORT)?;
        Ok(Self { host_port, is_tls: plain.is_some() })
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", if self.is_tls { "https" } else { "http" }, self.host_port)
    }
}

/// The port that OTLP over HTTP usually has.
const OTLP_PORT: u16 = 4318;

fn otlp_endpoint(text: &str) -> Result<HostPort, String> {
    http_address(text, "otel-collector", OTLP_PORT)
}

/// Reads `http://host[:port]`.
fn http_address(text: &str, example: &str, default_port: u16) -> Result<HostPort, String> {
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(format!("'{text}' is not an address like http://{example}:{default_port}"));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(format!("'{text}' has more than a host and a port; write http://host:port"));
    }
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if has_port { rest.parse() } else { format!("{rest}:{default_port}").parse() }
}

/// A size in bytes, written with a unit: `64MiB`, `500kB`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is not a size; write a whole number and B, kB, MB, GB, KiB, MiB or GiB");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: usize = number.parse().map_err(|_| wrong())?;
        let factor: usize = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => write!(formatter, "{}MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => write!(formatter, "{}KiB", bytes >> 10),
            bytes => write!(formatter, "{bytes}B"),
        }
    }
}

/// A duration with its unit: `250ms`, `20s`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write a whole number and ms, s, m or h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// Model names stand in paths, labels and file names, so they are kept to what is plain in all three.
fn model_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = !text.is_empty() && text.len() <= 100 && text.bytes().all(plain) && !text.starts_with('.');
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "'{text}' is not a model name; allowed are up to 100 letters, digits, '-', '_' and '.', not beginning with '.'"
        ))
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &[&str]) -> Result<Settings, String> {
        let base =
            ["driftline-sidecar", "--listen", "127.0.0.1:0", "--upstream", "model:8080", "--collector", "http://c"];
        Settings::try_parse_from([&base, extra].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_addresses_sizes_and_durations() {
        let settings = parse(&["--model", "m", "--capture-budget", "3MiB", "--drain-grace", "2m"]).unwrap();
        assert_eq!(settings.collector.to_string(), "http://c:4600");
        assert_eq!(settings.capture_budget, Bytes(3 << 20));
        assert_eq!(settings.drain_grace, Duration::from_secs(120));
        assert_eq!("[::1]:80".parse::<HostPort>().unwrap().to_string(), "[::1]:80");
        assert_eq!("http://[::1]".parse::<CollectorUrl>().unwrap().to_string(), "http://[::1]:4600");
        assert_eq!("https://c/".parse::<CollectorUrl>().unwrap().to_string(), "https://c:4600");
    }

    #[test]
    fn says_what_is_wrong_and_what_is_allowed() {
        for (arguments, says) in [
            (&["--model", "a/b"][..], "not a model name"),
            (&[], "--model"),
            (&["--model", "m", "--max-body", "1 MiX"], "not a size"),
            (&["--model", "m", "--flush-interval", "5"], "not a duration"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!("ftp://c".parse::<CollectorUrl>().unwrap_err().contains("http://driftline:4600"));
        assert!("model".parse::<HostPort>().unwrap_err().contains("not host:port"));
        let settings = parse(&["--model", "m", "--capture-budget", "1MiB", "--max-body", "20MiB"]).unwrap();
        assert_eq!(settings.validate().unwrap_err().lines().count(), 2);
        let own = ["--upstream-certificate", "own.pem", "--upstream-key", "own.key"];
        for flags in [&["--collector-ca", "ca.pem"][..], &["--upstream-ca", "ca.pem"], &own] {
            let settings = parse(&[&["--model", "m"], flags].concat()).unwrap();
            assert!(settings.validate().unwrap_err().contains("has no TLS"));
        }
        assert!(parse(&["--model", "m", "--upstream-certificate", "own.pem"]).unwrap_err().contains("--upstream-key"));
    }
}
