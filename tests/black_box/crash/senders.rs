//! Senders that keep to the sidecar's side of the promise: a batch is sent again, the same, until it is acknowledged. And
//! they do what sidecars do at their worst: send again what was acknowledged, send overlaps, and die with a batch on its way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftline_protocol::{Acknowledgement, Batch, frame};
use driftline_tests::client;
use prost::Message as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::dice::Dice;
use crate::rows::exchange;

/// Exchanges of a batch at most.
const BATCH: u64 = 20;
/// Between two batches of a sender.
const PAUSE: Duration = Duration::from_millis(8);
/// Exchanges began up to so long before they are sent: some come too late for their windows.
const OLDEST_MICROS: u64 = 3_000_000;
/// A collector that does not answer for so long is taken for dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a boot: what it sends to, when each of its exchanges began, and how many of them were acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Boot {
    pub(crate) model: &'static str,
    pub(crate) started_at: Vec<i64>,
    pub(crate) acknowledged: u64,
}

/// What all senders did.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) boots: Mutex<BTreeMap<u64, Boot>>,
    /// Batches that were acknowledged.
    pub(crate) batches: AtomicU64,
    /// Batches that were answered with 503.
    pub(crate) deferred: AtomicU64,
    /// Batches that were sent more than once.
    pub(crate) repeated: AtomicU64,
    next_boot: AtomicU64,
    acknowledged: Notify,
}

impl Ledger {
    /// Waits until somebody's next batch is acknowledged.
    pub(crate) async fn next_acknowledgement(&self) {
        let before = self.batches.load(Ordering::Relaxed);
        while self.batches.load(Ordering::Relaxed) == before {
            // One that nobody waited for is told at once.
            self.acknowledged.notified().await;
        }
    }

    /// One whose boots are numbered after another's, and which knows these boots.
    pub(crate) fn after(other: &Self, boots: BTreeMap<u64, Boot>) -> Arc<Self> {
        let next_boot = AtomicU64::new(other.next_boot.load(Ordering::Relaxed));
        Arc::new(Self { boots: Mutex::new(boots), next_boot, ..Self::default() })
    }

    /// Exchanges that were acknowledged.
    pub(crate) fn exchanges(&self) -> u64 {
        self.boots.lock().unwrap().values().map(|boot| boot.acknowledged).sum()
    }

    /// A copy of what was known until now.
    pub(crate) fn boots(&self) -> BTreeMap<u64, Boot> {
        self.boots.lock().unwrap().clone()
    }
}

/// Running senders.
pub(crate) struct Senders {
    stopping: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Senders {
    /// Starts so many, which send to a collector until they are stopped. Boots take turns with the models.
    pub(crate) fn start(
        url: &str,
        models: &'static [&'static str],
        count: u64,
        dice: &mut Dice,
        ledger: &Arc<Ledger>,
    ) -> Self {
        let stopping = Arc::<AtomicBool>::default();
        let task = |_| {
            let sender = Sender {
                url: format!("{url}/v1/exchanges"),
                models,
                client: client(),
                dice: Dice::new(dice.next()),
                ledger: Arc::clone(ledger),
                stopping: Arc::clone(&stopping),
            };
            tokio::spawn(sender.run())
        };
        let tasks = (0..count).map(task).collect();
        Self { stopping, tasks }
    }

    /// Stops them once everything that they still mean to deliver is acknowledged.
    pub(crate) async fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a sender fails where the collector answers what it may not");
        }
    }
}

struct Sender {
    url: String,
    models: &'static [&'static str],
    client: reqwest::Client,
    dice: Dice,
    ledger: Arc<Ledger>,
    stopping: Arc<AtomicBool>,
}

impl Sender {
    async fn run(mut self) {
        while !self.stopping.load(Ordering::Relaxed) {
            let boot = 1 + self.ledger.next_boot.fetch_add(1, Ordering::Relaxed);
            self.live(boot).await;
        }
    }

    /// One boot's life. It ends by a batch that nobody knows the fate of, or when the senders stop.
    async fn live(&mut self, boot: u64) {
        let mut before = 0;
        while !self.stopping.load(Ordering::Relaxed) {
            // Some send a part again of what was acknowledged.
            let first = 1 + before - if self.dice.one_in(20) { self.dice.below(before.min(BATCH) + 1) } else { 0 };
            let last = before + 1 + self.dice.below(BATCH);
            let frame = frame::encode(&self.batch(boot, first, last)).expect("a batch can be framed");
            let mut tries = 0;
            while !self.send(boot, last, &frame).await {
                tries += 1;
                if tries == 1 {
                    self.ledger.repeated.fetch_add(1, Ordering::Relaxed);
                }
                if self.dice.one_in(150) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            if self.dice.one_in(15) {
                // The same once more: an answer that was lost on its way.
                self.send(boot, last, &frame).await;
            }
            before = last;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn batch(&mut self, boot: u64, first: u64, last: u64) -> Batch {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros() as i64;
        let mut boots = self.ledger.boots.lock().unwrap();
        let model = self.models[boot as usize % self.models.len()];
        let known = boots.entry(boot).or_insert_with(|| Boot { model, ..Boot::default() });
        while (known.started_at.len() as u64) < last {
            known.started_at.push(now - self.dice.below(OLDEST_MICROS) as i64);
        }
        let mut boot_id = vec![7; 16];
        boot_id[..8].copy_from_slice(&boot.to_be_bytes());
        Batch {
            boot_id,
            model: model.into(),
            instance: format!("pod-{boot}"),
            sent_at_micros: now,
            first_sequence: first,
            last_sequence: last,
            exchanges: (first..=last)
                .map(|sequence| exchange(boot, sequence, known.started_at[sequence as usize - 1]))
                .collect(),
            ..Batch::default()
        }
    }

    /// Sends a batch once. True when it was acknowledged.
    async fn send(&mut self, boot: u64, last: u64, frame: &[u8]) -> bool {
        let request = self.client.post(&self.url).timeout(PATIENCE).body(frame.to_vec());
        let Ok(response) = request.send().await else { return false };
        let status = response.status().as_u16();
        let Ok(body) = response.bytes().await else { return false };
        if status == 503 {
            self.ledger.deferred.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let says = String::from_utf8_lossy(&body);
        assert_eq!(status, 200, "a batch that is right is refused: {says}");
        let acknowledgement = Acknowledgement::decode(body).expect("an acknowledgement");
        assert!(acknowledgement.durable_through >= last, "{acknowledgement:?} to a batch through {last}");
        let mut boots = self.ledger.boots.lock().unwrap();
        let known = boots.entry(boot).or_default();
        known.acknowledged = known.acknowledged.max(last);
        drop(boots);
        self.ledger.batches.fetch_add(1, Ordering::Relaxed);
        self.ledger.acknowledged.notify_one();
        true
    }
}
