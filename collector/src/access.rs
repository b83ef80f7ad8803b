//! Who is let in: by a token, by a certificate, or everybody where nothing is asked.
//!
//! Tokens come as `Authorization: Bearer …`, or as the password of `Basic`, which is what a browser asks for and what a URL
//! can carry. They are kept as hashes and compared in constant time; no log, metric or answer holds one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use driftline_alerts::SecretSource;
use driftline_tls::{LOOK_INTERVAL, WatchedFiles};
use prometheus::IntCounter;
use sha2::{Digest, Sha256};
use tracing::{error, info};

use crate::config::Token;
use crate::door::Peer;
use crate::metrics::Metrics;

type Hash = [u8; 32];

/// Who is let in.
pub(crate) struct Gate {
    tokens: Vec<Arc<Token>>,
    /// Of each token; replaced when a file changes.
    hashes: ArcSwap<Vec<Hash>>,
    needs_certificate: bool,
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gate").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// Somebody who was let in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pass {
    /// What they came with; none where no token is asked for.
    pub(crate) token: Option<Arc<Token>>,
    /// The name in their certificate.
    certificate: Option<Arc<str>>,
}

impl Pass {
    /// Of somebody who came with a token.
    #[cfg(test)]
    pub(crate) fn with(token: Token) -> Self {
        Self { token: Some(Arc::new(token)), certificate: None }
    }

    /// Whether they may send for a model.
    pub(crate) fn is_for(&self, model: &str) -> bool {
        self.token.as_ref().is_none_or(|token| token.models.iter().any(|pattern| pattern.matches(model)))
    }

    /// How many models there may be that they send for, if that is limited.
    pub(crate) fn max_models(&self) -> Option<usize> {
        self.token.as_ref().and_then(|token| token.max_models).map(|models| models as usize)
    }

    /// Whether they may look, and say nothing.
    pub(crate) fn is_read_only(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.read_only)
    }

    /// Their name; none where nothing was asked for.
    pub(crate) fn name(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.name.as_str()).or(self.certificate.as_deref())
    }
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// A certificate is needed, and none was shown.
    NoCertificate,
    /// A token is needed, and there was none.
    NoToken,
    /// The token is none of those that are known.
    UnknownToken,
}

impl Denied {
    /// The name by which metrics count it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::NoToken => "no_token",
            Self::UnknownToken => "unknown_token",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::NoCertificate => "a client certificate is needed here, and none was shown",
            Self::NoToken => "a token is needed here: Authorization: Bearer …",
            Self::UnknownToken => "the token is not known here; it may have been replaced",
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let asks = [(header::WWW_AUTHENTICATE, r#"Bearer realm="driftline""#)];
        (StatusCode::UNAUTHORIZED, asks, format!("{}\n", self.says())).into_response()
    }
}

impl Gate {
    /// Reads the tokens.
    ///
    /// # Errors
    /// Which of them cannot be read.
    pub(crate) fn load(tokens: &[Token], needs_certificate: bool) -> Result<Self, String> {
        let tokens: Vec<Arc<Token>> = tokens.iter().cloned().map(Arc::new).collect();
        let hashes = ArcSwap::from_pointee(hashes(&tokens)?);
        Ok(Self { tokens, hashes, needs_certificate })
    }

    /// Whether it lets everybody in.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.is_empty() && !self.needs_certificate
    }

    /// Lets somebody in, or says why not.
    pub(crate) fn admit(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Pass, Denied> {
        let certificate = peer.and_then(|peer| peer.certificate.as_ref());
        if self.needs_certificate && certificate.is_none() {
            return Err(Denied::NoCertificate);
        }
        let certificate = certificate.and_then(|certificate| certificate.name.clone());
        if self.tokens.is_empty() {
            return Ok(Pass { token: None, certificate });
        }
        let hash: Hash = Sha256::digest(presented(headers).ok_or(Denied::NoToken)?).into();
        // All of them are looked at, and each to its end: how long it takes says nothing.
        let known = self.hashes.load();
        let found = known
            .iter()
            .zip(&self.tokens)
            .fold(None, |found, (known, token)| if is_same(known, &hash) { Some(Arc::clone(token)) } else { found });
        Ok(Pass { token: Some(found.ok_or(Denied::UnknownToken)?), certificate })
    }

    /// Reads files of tokens again when they change, for as long as it is polled. What was read last stays in force while a
    /// file is wrong or away.
    pub(crate) async fn keep_current(self: Arc<Self>) {
        let files = self.tokens.iter().filter_map(|token| match &token.token {
            SecretSource::File(path) => Some(path.as_path()),
            SecretSource::Environment(_) => None,
        });
        let mut watched = WatchedFiles::new(files.collect::<Vec<&Path>>());
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if !watched.changed() {
                continue;
            }
            match hashes(&self.tokens) {
                Ok(hashes) => {
                    self.hashes.store(Arc::new(hashes));
                    info!("tokens have changed and are in force");
                }
                Err(error) => error!(%error, "changed tokens cannot be used; the old ones stay in force"),
            }
        }
    }
}

fn hashes(tokens: &[Arc<Token>]) -> Result<Vec<Hash>, String> {
    let hash = |token: &Arc<Token>| {
        let secret = token.token.read().map_err(|error| format!("the token '{}': {error}", token.name))?;
        Ok(Sha256::digest(secret.reveal().as_bytes()).into())
    };
    tokens.iter().map(hash).collect()
}

fn is_same(a: &Hash, b: &Hash) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The token that somebody came with.
fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = BASE64_STANDARD.decode(rest.trim()).ok()?;
    let colon = both.iter().position(|byte| *byte == b':')?;
    Some(both[colon + 1..].to_vec())
}

/// What stands before pages, API and whatever else is protected.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) gate: Arc<Gate>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Lets a reader in, or asks for a token in the way that a browser understands.
pub(crate) async fn let_readers_in(State(reading): State<Reading>, mut request: Request, next: Next) -> Response {
    match reading.gate.admit(request.headers(), peer(&request)) {
        Ok(pass) => {
            request.extensions_mut().insert(pass);
            next.run(request).await
        }
        Err(denied) => {
            let refused: IntCounter = reading.metrics.requests_refused(denied.reason());
            refused.inc();
            let mut response = denied.into_response();
            let asks = header::HeaderValue::from_static(r#"Basic realm="driftline", charset="UTF-8""#);
            response.headers_mut().append(header::WWW_AUTHENTICATE, asks);
            response
        }
    }
}

/// Who is at the other end of a request's connection.
pub(crate) fn peer(request: &Request) -> Option<&Peer> {
    request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rates;
    use crate::door::Certificate;

    fn gate(folder: &Path, needs_certificate: bool) -> Gate {
        let token = |name: &str, secret: &str| {
            let path = folder.join(name);
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            let (token, rates) = (SecretSource::File(path), Rates::default());
            Token { name: name.into(), token, models: Vec::new(), max_models: None, rates, read_only: false }
        };
        Gate::load(&[token("one", "s3cret"), token("two", "0ther")], needs_certificate).unwrap()
    }

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn tokens_are_known_in_both_ways_of_carrying_them() {
        let folder = tempfile::tempdir().unwrap();
        let gate = gate(folder.path(), false);
        let name = |authorization: &str| {
            gate.admit(&with(authorization), None).map(|pass| pass.name().unwrap_or_default().to_owned())
        };
        assert_eq!(name("Bearer s3cret").as_deref(), Ok("one"));
        assert_eq!(name("bearer 0ther").as_deref(), Ok("two"));
        // anybody:0ther
        assert_eq!(name("Basic YW55Ym9keTowdGhlcg==").as_deref(), Ok("two"));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "Basic YW55Ym9keTo="] {
            assert_eq!(name(wrong), Err(Denied::UnknownToken), "{wrong}");
        }
        for none in ["s3cret", "Digest s3cret", "Basic !", "Basic YQ=="] {
            assert_eq!(name(none), Err(Denied::NoToken), "{none}");
        }
        assert!(!format!("{gate:?}").contains("s3cret"));
    }

    #[test]
    fn where_a_certificate_is_needed_a_token_is_not_enough() {
        let folder = tempfile::tempdir().unwrap();
        let gate = gate(folder.path(), true);
        let peer = |certificate| Peer { address: ([127, 0, 0, 1], 1).into(), certificate };
        let ask = |certificate| gate.admit(&with("Bearer s3cret"), Some(&peer(certificate))).map(|_| ());
        assert_eq!(ask(None), Err(Denied::NoCertificate));
        assert_eq!(ask(Some(Certificate { name: None })), Ok(()));
    }
}
