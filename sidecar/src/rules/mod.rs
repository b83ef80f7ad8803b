//! The owner's rules: what is captured, which part of it is kept, and what of it may leave the pod.
//!
//! They come from a file (`--rules`), which `docs/sidecar.example.yaml` shows whole. They are read once for each request,
//! from a snapshot that a reload replaces; no reader ever waits for one. An exchange is redacted by the rules that hold
//! when it is put into a batch.

mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod in_force;
mod key;
mod path;
mod redact;
mod reload;
mod sample;

use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use driftline_protocol::{Exchange, ModelProtocol, inference_path, path_of};

pub(crate) use file::{Fingerprint, RulesFile};
pub(crate) use in_force::with_rules;
pub(crate) use redact::{BothRedacted, Redacted, Withheld, withhold};
pub(crate) use reload::Reloading;

use self::path::PathPattern;
use self::redact::Policy;
use self::sample::Sampling;
use crate::reader::{Captured, is_named};

/// The rules in force. Reloading stores new ones; whoever reads, reads the ones that were there when it began.
pub(crate) type SharedRules = Arc<ArcSwap<Rules>>;

/// What is captured, kept, and allowed to leave.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The owner's routes; the first that matches decides.
    routes: Vec<OwnRoute>,
    /// Whether the shipped list of inference paths applies after them.
    defaults: bool,
    sampling: Sampling,
    /// Headers that the owner allowed, in lower case.
    kept_headers: Vec<String>,
    bodies: Bodies,
    policy: Policy,
}

/// What the rules say of a request that is to be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// The protocol of its bodies.
    pub(crate) protocol: ModelProtocol,
}

/// A route of the owner's.
#[derive(Debug)]
struct OwnRoute {
    method: String,
    path: PathPattern,
    capture: bool,
    /// None: what the path says, or JSON of any kind.
    protocol: Option<ModelProtocol>,
    keep_one_in: Option<NonZeroU32>,
}

/// Whether bodies leave the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bodies {
    /// What redaction leaves of them.
    Redacted,
    Never,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            defaults: true,
            sampling: Sampling::default(),
            kept_headers: Vec::new(),
            bodies: Bodies::Redacted,
            policy: Policy::default(),
        }
    }
}

impl Rules {
    /// Whether a request is inference, and by which protocol. None for what passes uncaptured.
    pub(crate) fn route(&self, method: &str, target: &str) -> Option<Route> {
        let Some(own) = self.own_route(method, target) else {
            return inference_path(method, target)
                .filter(|_| self.defaults)
                .map(|path| Route { protocol: path.protocol });
        };
        let by_path = || inference_path(method, target).map_or(ModelProtocol::Generic, |path| path.protocol);
        own.capture.then(|| Route { protocol: own.protocol.unwrap_or_else(by_path) })
    }

    fn own_route(&self, method: &str, target: &str) -> Option<&OwnRoute> {
        let path = if self.routes.is_empty() { "" } else { path_of(target) };
        self.routes.iter().find(|route| route.method == method && route.path.matches(path))
    }

    /// The name, in lower case, under which a header may leave the pod; None when it may not.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        always_kept(name)
            .or_else(|| self.kept_headers.iter().map(String::as_str).find(|kept| kept.eq_ignore_ascii_case(name)))
    }

    /// Whether there is any use for bodies.
    pub(crate) fn keeps_bodies(&self) -> bool {
        self.bodies == Bodies::Redacted
    }

    /// Whether everything leaves the pod as it passed.
    pub(crate) fn rewrites_nothing(&self) -> bool {
        self.bodies == Bodies::Redacted && self.policy.is_empty()
    }

    /// Decides whether a finished exchange is kept, and writes into it what it stands for. One that has no id to decide
    /// by gets one.
    pub(crate) fn sample(&self, exchange: &mut Exchange) -> bool {
        let own = self.own_route(&exchange.method, &exchange.target).and_then(|route| route.keep_one_in);
        self.sampling.keeps(exchange, own.unwrap_or(self.sampling.keep_one_in))
    }

    /// Rewrites or withholds bodies as the rules say, and says what was done to the request's and the response's. Runs on
    /// the shipper's thread, before anything is sent. What a rewritten body holds is reserved with the exchange.
    pub(crate) fn redact(&self, captured: &mut Captured) -> BothRedacted {
        match self.bodies {
            Bodies::Never => redact::withhold_both(&mut captured.exchange),
            Bodies::Redacted if self.rewrites_nothing() => [Redacted::Untouched; 2],
            Bodies::Redacted => redact::redact_both(&self.policy, &mut captured.exchange, &mut captured.reservation),
        }
    }
}

/// The name of a header that says how to read the bodies, or how a call ended. Everything else may hold what nobody
/// allowed to leave the pod.
fn always_kept(name: &str) -> Option<&'static str> {
    match name.len() {
        11 if is_named(name, "grpc-status") => Some("grpc-status"),
        12 if is_named(name, "content-type") => Some("content-type"),
        13 if is_named(name, "grpc-encoding") => Some("grpc-encoding"),
        16 if is_named(name, "content-encoding") => Some("content-encoding"),
        31 if is_named(name, "inference-header-content-length") => Some("inference-header-content-length"),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn rules(text: &str) -> Rules {
        file::parse("rules.yaml", text, std::path::Path::new("/")).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn own_routes_come_first_and_the_first_that_matches_decides() {
        let rules = rules(
            "routes:\n\
             - {path: /score/internal, capture: false}\n\
             - {path: /score/*}\n\
             - {method: PUT, path: /x/**, protocol: v1}\n\
             - {path: /v2/models/debug/infer, capture: false}\n\
             - {path: /v2/models/*/infer}\n",
        );
        let protocol = |method: &str, target: &str| rules.route(method, target).map(|route| route.protocol);
        assert_eq!(protocol("POST", "/score/a?b=/c"), Some(ModelProtocol::Generic));
        assert_eq!(protocol("POST", "/score/internal"), None);
        assert_eq!(protocol("GET", "/score/a"), None);
        assert_eq!(protocol("PUT", "http://h/x/y/z"), Some(ModelProtocol::V1));
        assert_eq!(protocol("POST", "/v2/models/debug/infer"), None);
        assert_eq!(protocol("POST", "/v2/models/m/infer"), Some(ModelProtocol::V2), "the path tells");
        assert_eq!(protocol("POST", "/invocations"), Some(ModelProtocol::Invocations), "the shipped list");
        let only_own = super::tests::rules("defaults: false\nroutes: [{path: /score}]");
        assert!(only_own.route("POST", "/invocations").is_none() && only_own.route("POST", "/score").is_some());
    }

    #[test]
    fn a_route_has_a_sample_of_its_own() {
        let rules = rules("sample: {keep_one_in: 1000}\nroutes: [{path: /score, sample: {keep_one_in: 1}}]");
        let kept = |target: &str| {
            let exchange = |id: u32| Exchange {
                method: "POST".to_owned(),
                target: target.to_owned(),
                request_id: format!("r-{id}"),
                status: 200,
                ..Exchange::default()
            };
            (0..1000).filter(|id| rules.sample(&mut exchange(*id))).count()
        };
        assert_eq!(kept("/score"), 1000);
        assert!(kept("/invocations") < 20);
    }

    #[test]
    fn headers_leave_only_when_they_are_named() {
        let rules = rules("headers: {keep: [X-Tenant]}");
        assert_eq!(rules.header("x-tenant"), Some("x-tenant"));
        assert_eq!(rules.header("Content-Type"), Some("content-type"));
        assert_eq!(rules.header("authorization"), None);
    }
}
