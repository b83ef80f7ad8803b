//! The replay: flights in the order of their time, through the sidecar to the model, faster than life; and what became of
//! them, later, to the collector.

use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::flights::{Flight, WEATHER};

/// Requests under way at once.
const CONCURRENCY: usize = 32;
/// Stretches without flights, nights and the months between, are passed in at most this much event time.
const LONGEST_GAP_MICROS: i64 = 3_600_000_000;
/// What becomes of a flight is known this long after its scheduled departure, and its delay.
const OUTCOME_DELAY_MICROS: i64 = 6 * 3_600_000_000;
/// Outcomes are sent when so many are known.
const OUTCOMES_AT_ONCE: usize = 500;

/// Where the replay goes, and how fast.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    pub(crate) sidecar: SocketAddr,
    pub(crate) collector: SocketAddr,
    pub(crate) model: String,
    /// Seconds that a day of flights takes.
    pub(crate) seconds_per_day: f64,
}

/// How the replay went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests that were sent.
    pub(crate) sent: AtomicU64,
    /// Requests that the model answered with success.
    pub(crate) answered: AtomicU64,
    /// Outcomes that the collector took.
    pub(crate) outcomes: AtomicU64,
}

/// The stretches that are replayed: the odd days of January, which the reference does not know; then summer; then winter
/// again.
pub(crate) fn is_replayed(flight: &Flight) -> bool {
    match flight.month_and_day() {
        (1, day) => day % 2 == 1,
        (7 | 12, day) => day <= 20,
        _ => false,
    }
}

/// The days that the reference is built from.
pub(crate) fn is_reference(flight: &Flight) -> bool {
    matches!(flight.month_and_day(), (1, day) if day % 2 == 0)
}

/// Replays all flights, and returns when the last request is answered and the last outcome sent. `progress` is told how
/// many flights have left.
pub(crate) async fn run(
    flights: Vec<Flight>,
    course: Course,
    tally: Arc<Tally>,
    progress: impl Fn(u64, &Flight),
) -> Result<(), String> {
    let client = Client::builder()
        .pool_max_idle_per_host(CONCURRENCY)
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))?;
    let (late, arrivals) = mpsc::channel(1024);
    let outcomes = tokio::spawn(report_outcomes(client.clone(), course.clone(), arrivals, Arc::clone(&tally)));
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let url = format!("http://{}/v2/models/{}/infer", course.sidecar, course.model);
    let scale = course.seconds_per_day / 86_400e6;
    let mut due = Instant::now();
    let mut previous = flights.first().map_or(0, |flight| flight.scheduled_at);
    for (index, flight) in flights.into_iter().enumerate() {
        let gap = (flight.scheduled_at - previous).min(LONGEST_GAP_MICROS);
        previous = flight.scheduled_at;
        due += Duration::from_secs_f64(gap as f64 * scale);
        tokio::time::sleep_until(due).await;
        // A machine that cannot keep up delays the rest instead of catching up in a burst.
        due = due.max(Instant::now() - Duration::from_millis(200));
        let permit = Arc::clone(&permits).acquire_owned().await.map_err(|error| error.to_string())?;
        progress(index as u64 + 1, &flight);
        let body = request(&flight);
        let (client, url, tally_of_one) = (client.clone(), url.clone(), Arc::clone(&tally));
        tally.sent.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let sent =
                client.post(url).header("x-request-id", body["id"].as_str().unwrap_or_default()).json(&body).send();
            let answered = match sent.await {
                Ok(response) => response.status().is_success() && response.bytes().await.is_ok(),
                Err(error) => {
                    tracing::warn!(%error, "a request of the replay failed");
                    false
                }
            };
            tally_of_one.answered.fetch_add(u64::from(answered), Ordering::Relaxed);
            drop(permit);
        });
        late.send(flight).await.map_err(|error| error.to_string())?;
    }
    drop(late);
    let _all = permits.acquire_many(CONCURRENCY as u32).await.map_err(|error| error.to_string())?;
    outcomes.await.map_err(|error| error.to_string())?
}

/// A flight as a request of the Open Inference Protocol.
fn request(flight: &Flight) -> Value {
    let tensor = |name: &str, datatype: &str, value: Value| json!({ "name": name, "shape": [1], "datatype": datatype, "data": [value] });
    let time =
        |micros: i64| jiff::Timestamp::from_microsecond(micros).map_or(Value::Null, |time| json!(time.to_string()));
    let mut inputs = vec![
        tensor("flight_id", "BYTES", json!(flight.id)),
        tensor("scheduled_at", "BYTES", time(flight.scheduled_at)),
        tensor("weather_at", "BYTES", flight.weather_at.map_or(Value::Null, time)),
        tensor("carrier", "BYTES", json!(flight.carrier)),
        tensor("origin", "BYTES", json!(flight.origin)),
        tensor("dest", "BYTES", json!(flight.dest)),
        tensor("distance", "FP64", json!(flight.distance)),
        tensor("hour", "FP64", json!(flight.hour)),
    ];
    inputs.extend(WEATHER.iter().zip(flight.weather).map(|(name, value)| tensor(name, "FP64", json!(value))));
    json!({ "id": flight.id, "inputs": inputs })
}

/// A flight whose outcome becomes known at a time; the earliest is the greatest, for the heap.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival(std::cmp::Reverse<i64>, String, bool);

/// Sends what became of the flights, once that much event time has passed.
async fn report_outcomes(
    client: Client,
    course: Course,
    mut departures: mpsc::Receiver<Flight>,
    tally: Arc<Tally>,
) -> Result<(), String> {
    let mut waiting: BinaryHeap<Arrival> = BinaryHeap::new();
    let mut known: Vec<String> = Vec::new();
    let url = format!("http://{}/v1/outcomes", course.collector);
    loop {
        let departed = departures.recv().await;
        // When nothing departs any more, everything becomes known.
        let now = departed.as_ref().map_or(i64::MAX, |flight| flight.scheduled_at);
        while waiting.peek().is_some_and(|arrival| arrival.0.0 <= now) {
            let Some(Arrival(std::cmp::Reverse(at), id, late)) = waiting.pop() else { break };
            let observed_at = jiff::Timestamp::from_microsecond(at).map(|time| time.to_string()).unwrap_or_default();
            known.push(
                json!({ "model": course.model, "row_id": id, "outcome": late, "observed_at": observed_at }).to_string(),
            );
        }
        if known.len() >= OUTCOMES_AT_ONCE || (departed.is_none() && !known.is_empty()) {
            let count = known.len() as u64;
            let response = client.post(&url).body(known.join("\n")).send().await;
            let response = response.map_err(|error| format!("outcomes could not be sent: {error}"))?;
            if !response.status().is_success() {
                return Err(format!("outcomes were refused: {}", response.text().await.unwrap_or_default()));
            }
            tally.outcomes.fetch_add(count, Ordering::Relaxed);
            known.clear();
        }
        let Some(flight) = departed else { return Ok(()) };
        if let Some(late) = flight.late {
            let delay = flight.arr_delay.unwrap_or(0.0).max(0.0) * 60e6;
            let known_at = flight.scheduled_at + OUTCOME_DELAY_MICROS + delay as i64;
            waiting.push(Arrival(std::cmp::Reverse(known_at), flight.id, late));
        }
    }
}
