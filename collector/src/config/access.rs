//! What the configuration says of who may send and who may read, and of how much.

use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_alerts::SecretSource;
use driftline_document::{Node, Section};

use super::alerting::secret;

/// TLS on the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Who signs the senders' certificates, PEM; with it, sending needs one.
    pub client_ca: Option<PathBuf>,
}

/// What is taken in, from whom, and how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingest {
    /// Who may send; everybody who reaches the port when there are none.
    pub tokens: Vec<Token>,
    /// How much each model may send.
    pub per_model: Rates,
    /// Boots of sidecars that are told apart.
    pub max_senders: u64,
    /// Bytes that the database may hold, most of which are the journal.
    pub max_database_bytes: u64,
    /// Bytes of the disk that stay free; a share of the disk unless given.
    pub min_free_bytes: Option<u64>,
    /// Events of others' loggers.
    pub events: Events,
}

/// How events of others' loggers become exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// A request and its response are joined if they arrive so close together.
    pub join_within: Duration,
    /// What becomes of a request without a response.
    pub requests_alone: RequestsAlone,
}

/// What becomes of a request whose response was not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestsAlone {
    /// It is archived and not counted: it may have failed.
    Archive,
    /// It counts: its logger sends requests only.
    Count,
}

impl RequestsAlone {
    const CHOICES: [(&'static str, Self); 2] = [("archive", Self::Archive), ("count", Self::Count)];
}

/// A token, and what it is good for.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its name in logs.
    pub name: String,
    /// Where it is kept.
    pub token: SecretSource,
    /// The models that it is for.
    pub models: Vec<ModelPattern>,
    /// How many models there may be that it is for.
    pub max_models: Option<u64>,
    /// How much may be sent with it.
    pub rates: Rates,
    /// Whether it is for looking only, and not for what people say of alerts.
    pub read_only: bool,
}

/// The name of a model, or the beginning of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPattern {
    text: String,
    is_prefix: bool,
}

impl ModelPattern {
    /// Whether a model is meant.
    pub fn matches(&self, model: &str) -> bool {
        if self.is_prefix { model.starts_with(&self.text) } else { model == self.text }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_pattern = name.bytes().all(plain) && (is_prefix || !name.is_empty());
        is_pattern.then(|| Self { text: name.to_owned(), is_prefix })
    }
}

/// How much may come in a second; none where it is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Exchanges.
    pub exchanges: Option<u64>,
    /// Bytes, as they are sent.
    pub bytes: Option<u64>,
}

/// Who may read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Tokens for pages and API; everybody who reaches the port when there are none.
    pub tokens: Vec<Token>,
    /// What needs one of them besides pages and API.
    pub protect: Vec<Protected>,
}

/// What is open to everybody unless it is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protected {
    /// `/metrics`.
    Metrics,
    /// `/livez` and `/readyz`.
    Health,
}

impl Protected {
    const CHOICES: [(&'static str, Self); 2] = [("metrics", Self::Metrics), ("health", Self::Health)];
}

/// A month's boots of a thousand pods that restart every few hours.
const DEFAULT_MAX_SENDERS: u64 = 100_000;
/// Hours of what a busy collector takes in while its archive's store is away.
const DEFAULT_MAX_DATABASE_BYTES: u64 = 16 << 30;
/// A logger's queue and its retries take seconds; a model that answers after this has other problems.
const DEFAULT_JOIN_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn tls(mut section: Section<'_>, folder: &Path) -> Option<Tls> {
    let certificate = section.required("certificate").and_then(|node| Some(folder.join(node.text()?)));
    let key = section.required("key").and_then(|node| Some(folder.join(node.text()?)));
    let client_ca = section.optional("client_ca").and_then(|node| Some(folder.join(node.text()?)));
    Some(Tls { certificate: certificate?, key: key?, client_ca })
}

pub(super) fn ingest(section: Option<Section<'_>>, folder: &Path) -> Ingest {
    let mut ingest = Ingest {
        tokens: Vec::new(),
        per_model: Rates::default(),
        max_senders: DEFAULT_MAX_SENDERS,
        max_database_bytes: DEFAULT_MAX_DATABASE_BYTES,
        min_free_bytes: None,
        events: Events { join_within: DEFAULT_JOIN_WITHIN, requests_alone: RequestsAlone::Archive },
    };
    let Some(mut section) = section else { return ingest };
    let tokens = section.optional("tokens").and_then(|node| node.list()).unwrap_or_default();
    ingest.tokens = distinct(tokens, |section| sender_token(section, folder));
    let per_model = section.optional("per_model").and_then(|node| node.section());
    ingest.per_model = per_model.map(|mut section| rates(&mut section)).unwrap_or_default();
    let max_senders = section.optional("max_senders").and_then(|node| node.integer(1..=10_000_000));
    ingest.max_senders = max_senders.unwrap_or(ingest.max_senders);
    let max_database_bytes = section.optional("max_database_bytes").and_then(|node| node.integer(2 << 20..=1 << 50));
    ingest.max_database_bytes = max_database_bytes.unwrap_or(ingest.max_database_bytes);
    ingest.min_free_bytes = section.optional("min_free_bytes").and_then(|node| node.integer(0..=1 << 50));
    if let Some(mut section) = section.optional("cloud_events").and_then(|node| node.section()) {
        let times = Duration::from_millis(100)..=Duration::from_secs(86_400);
        let join_within = section.optional("join_within").and_then(|node| node.duration(times));
        ingest.events.join_within = join_within.unwrap_or(ingest.events.join_within);
        let alone = section.optional("requests_alone").and_then(|node| node.one_of(&RequestsAlone::CHOICES));
        ingest.events.requests_alone = alone.unwrap_or(ingest.events.requests_alone);
    }
    ingest
}

pub(super) fn reading(section: Option<Section<'_>>, folder: &Path) -> Reading {
    let Some(mut section) = section else { return Reading::default() };
    let tokens = section.optional("tokens").and_then(|node| node.list()).unwrap_or_default();
    let tokens = distinct(tokens, |section| reader_token(section, folder));
    let protect = section.optional("protect");
    let nodes = protect.as_ref().and_then(Node::list).unwrap_or_default();
    let reading =
        Reading { tokens, protect: nodes.iter().filter_map(|node| node.one_of(&Protected::CHOICES)).collect() };
    if let Some(protect) = protect.filter(|_| reading.tokens.is_empty()) {
        protect.problem("protects nothing without 'tokens'");
    }
    reading
}

/// Tokens whose names differ: the names are all that logs say of them.
fn distinct(nodes: Vec<Node<'_>>, read: impl Fn(&mut Section<'_>) -> Option<Token>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for node in nodes {
        let Some(token) = node.section().and_then(|mut section| read(&mut section)) else { continue };
        if tokens.iter().any(|other| other.name == token.name) {
            node.problem(format!("there is another token '{}'", token.name));
        }
        tokens.push(token);
    }
    tokens
}

fn sender_token(section: &mut Section<'_>, folder: &Path) -> Option<Token> {
    let models = section.required("models").and_then(|node| node.list()).unwrap_or_default();
    let allowed = "the name of a model, or the beginning of many and '*', as in team-*";
    let models = models.iter().filter_map(|node| node.parsed(allowed, ModelPattern::read)).collect();
    let max_models = section.optional("max_models").and_then(|node| node.integer(1..=10_000));
    let rates = rates(section);
    Some(Token { models, max_models, rates, ..token(section, folder)? })
}

fn reader_token(section: &mut Section<'_>, folder: &Path) -> Option<Token> {
    let read_only = section.optional("read_only").and_then(|node| node.boolean()).unwrap_or(false);
    Some(Token { read_only, ..token(section, folder)? })
}

fn token(section: &mut Section<'_>, folder: &Path) -> Option<Token> {
    let name = section.required("name").and_then(|node| Some(node.text()?.to_owned()));
    let token = section.required("token").and_then(|node| secret(&node, folder));
    let (models, rates) = (Vec::new(), Rates::default());
    Some(Token { name: name?, token: token?, models, max_models: None, rates, read_only: false })
}

fn rates(section: &mut Section<'_>) -> Rates {
    let mut rate = |name| section.optional(name).and_then(|node| node.integer(1..=1 << 40));
    Rates { exchanges: rate("exchanges_per_second"), bytes: rate("bytes_per_second") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    #[test]
    fn tokens_are_bound_to_models_by_name_or_beginning() {
        let config = parsed(
            "ingest: {tokens: [{name: a, token: {file: a.token}, models: [flights, 'team-*'], max_models: 3, bytes_per_second: 5}]}",
        )
        .unwrap();
        let token = &config.ingest.tokens[0];
        assert_eq!(token.token, SecretSource::File("/etc/a.token".into()));
        assert_eq!((token.max_models, token.rates), (Some(3), Rates { exchanges: None, bytes: Some(5) }));
        let allows = |model| token.models.iter().any(|pattern| pattern.matches(model));
        assert!(allows("flights") && allows("team-") && allows("team-x"));
        assert!(!allows("flights2") && !allows("team") && !allows("x-team-x"));
    }

    #[test]
    fn what_cannot_work_is_refused_and_no_secret_is_quoted() {
        for (text, says) in [
            ("ingest: {tokens: [{name: a, token: s3cret, models: ['*']}]}", "does not belong into this file"),
            ("ingest: {tokens: [{name: a, token: {env: A}}]}", "models: is missing"),
            ("ingest: {tokens: [{name: a, token: {env: A}, models: ['a*b']}]}", "the beginning of many"),
            (
                "ingest: {tokens: [{name: a, token: {env: A}, models: [m]}, {name: a, token: {env: B}, models: [m]}]}",
                "another token 'a'",
            ),
            ("api: {protect: [metrics]}", "protects nothing"),
            ("tls: {certificate: c.pem}", "key: is missing"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
    }
}
