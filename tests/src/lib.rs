//! The harness of the black-box tests: it starts the real binaries in folders of their own, and talks to them as their
//! users do.

mod flights;
mod model_server;
mod process;
mod receiver;
mod traffic;

pub use flights::{MonthOfFlights, january_file, month};
pub use model_server::ModelServer;
pub use process::{Collector, Finished, Sidecar, binary, free_port, run};
pub use receiver::{Answer, Receiver};
pub use traffic::{DELIVERED, DROPPED, SEEN, send};

use std::time::Duration;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds, and fails with what it last was otherwise.
///
/// # Panics
/// When it did not hold in time.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(state) if tokio::time::Instant::now() > deadline => panic!("{what}: still {state}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The value of a metric in an exposition: the sum over all its series that have these labels.
#[must_use]
pub fn metric(exposition: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |series: &str, (label, value): &(&str, &str)| series.contains(&format!("{label}=\"{value}\""));
    exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| series.split('{').next() == Some(name))
        .filter(|(series, _)| labels.iter().all(|label| has(series, label)))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}

/// An HTTP client of the tests.
#[must_use]
pub fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::new()
}
