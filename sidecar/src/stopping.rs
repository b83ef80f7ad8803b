//! How the sidecar's parts learn that it is stopping, without asking at every chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether the sidecar is to stop. Clones share it; asking is one load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopping {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    waiting: Notify,
}

impl Stopping {
    /// Asks everyone to stop.
    pub(crate) fn request(&self) {
        self.shared.requested.store(true, Ordering::SeqCst);
        self.shared.waiting.notify_waiters();
    }

    /// Whether it was asked for.
    pub(crate) fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::Relaxed)
    }

    /// Waits until it is.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn requested(&self) {
        let waiting = self.shared.waiting.notified();
        tokio::pin!(waiting);
        // Registered before the question is asked, so that a request in between is not missed.
        waiting.as_mut().enable();
        if !self.shared.requested.load(Ordering::SeqCst) {
            waiting.await;
        }
    }
}
