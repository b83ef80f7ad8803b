//! The owner's rules: what is captured, which part of it is kept, and what of it may leave the pod.
//!
//! They are read once for each request, from a snapshot that a reload replaces; no reader ever waits for one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use driftline_protocol::{Exchange, ModelProtocol, inference_path};

/// The rules in force. Reloading stores new ones; whoever reads, reads the ones that were there when it began.
pub(crate) type SharedRules = Arc<ArcSwap<Rules>>;

/// Headers that say how to read the bodies, and how a call ended. Everything else may hold what nobody allowed to leave
/// the pod.
const KEPT_HEADERS: [&str; 5] =
    ["content-type", "content-encoding", "inference-header-content-length", "grpc-encoding", "grpc-status"];

/// What is captured, kept, and allowed to leave.
#[derive(Debug, Default)]
pub(crate) struct Rules {}

/// What the rules say of a request that is to be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// The protocol of its bodies.
    pub(crate) protocol: ModelProtocol,
}

impl Rules {
    /// Whether a request is inference, and by which protocol. None for what passes uncaptured.
    pub(crate) fn route(&self, method: &str, target: &str) -> Option<Route> {
        inference_path(method, target).map(|path| Route { protocol: path.protocol })
    }

    /// The name, in lower case, under which a header may leave the pod; None when it may not.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        KEPT_HEADERS.into_iter().find(|kept| kept.eq_ignore_ascii_case(name))
    }

    /// Decides whether a finished exchange is kept, and writes into it what it stands for.
    pub(crate) fn sample(&self, exchange: &mut Exchange) -> bool {
        exchange.weight = 1;
        true
    }

    /// Rewrites or withholds bodies as the rules say. Runs on the shipper's thread, before anything is sent.
    pub(crate) fn redact(&self, _exchange: &mut Exchange) {}
}
