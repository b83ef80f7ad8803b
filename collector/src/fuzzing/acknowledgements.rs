//! What people send about alerts: acknowledgements, decisions with a token or by a signed link, ticks, silences, windows.
//!
//! An input is a line, `METHOD PATH TYPE`, and a body. It is asked of the routes that the collector serves, on a database with
//! an episode `e` that fires and a reaction `retrain.e` that waits for its approval. `SIGN` in a path becomes the signature
//! that is right for it: without one, no input would get past it.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use driftline_alerts::{Notification, Secret, sign_approval};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower_service::Service;

use crate::alerting::book::Orphan;
use crate::alerting::evidence;
use crate::api::{self, Api};
use crate::config::Config;
use crate::feeds::Feeds;
use crate::metrics::Metrics;
use crate::pages;
use crate::references::LoadedReferences;
use crate::runbooks::Runbooks;
use crate::store::Store;
use crate::times::now_micros;

const KEY: &str = "a key of which no input knows anything";
const REACTION: &str = "retrain.e";
/// For how long it waits: ten years.
const WAITS_MICROS: i64 = 3_650 * 86_400_000_000;
/// What stands for the right signature.
const SIGN: &str = "SIGN";
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// A collector without its threads.
struct World {
    runtime: Runtime,
    router: Router,
    store: Store,
    _folder: TempDir,
}

/// Any request about alerts is answered, never by a fault of ours; and whatever it has changed keeps to what is promised of it.
pub fn acknowledgements(data: &[u8]) {
    ask(data);
}

/// How an input is answered; none when it is no request.
fn ask(data: &[u8]) -> Option<StatusCode> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    let world = WORLD.get_or_init(World::new).as_ref().expect("a collector can be made in a folder of its own");
    let asked = Asked::read(data)?;
    let may_decide = asked.may_decide;
    let request = asked.request()?;
    let status = world.answer(request);
    assert!(!status.is_server_error(), "answered with {status}: {}", String::from_utf8_lossy(data));
    if status.is_success() {
        world
            .store
            .writer
            .write_blocking(move |db| check_and_reset(db, may_decide))
            .expect("the database can be looked at");
    }
    Some(status)
}

/// What an input asks for.
struct Asked<'d> {
    method: &'d str,
    path: String,
    kind: &'d str,
    body: &'d [u8],
    /// Whether it may decide on a reaction: by the API, which is open here, or by a link that is signed.
    may_decide: bool,
}

impl<'d> Asked<'d> {
    fn read(data: &'d [u8]) -> Option<Self> {
        let end = data.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&data[..end]).ok()?;
        let mut words = line.splitn(3, ' ');
        let (method, path, kind) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        let signed = path.contains(SIGN).then(|| signature(path)).flatten();
        let may_decide = signed.is_some() || path.starts_with("/api/");
        let path = signed.map_or_else(|| path.to_owned(), |signature| path.replace(SIGN, &signature));
        Some(Self { method, path, kind, body: &data[end + 1..], may_decide })
    }

    fn request(self) -> Option<Request<Body>> {
        let request = Request::builder().method(self.method).uri(self.path).header(header::CONTENT_TYPE, self.kind);
        request.body(Body::from(self.body.to_vec())).ok()
    }
}

/// The signature for the end that a path names; none when it names no such time.
fn signature(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("expires=")?;
    let expires = rest.split('&').next()?.parse().ok()?;
    Some(sign_approval(&Secret::new(KEY), REACTION, expires))
}

impl World {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        std::fs::write(folder.path().join("key"), KEY).ok()?;
        let text = "alerts:
  reactions:
    retrain:
      when: {rule: FeatureDrift}
      approval: {signing_key: {file: key}}
      webhook: {url: {env: NOWHERE}}
";
        let config = Arc::new(Config::parse("d.yaml", text, folder.path()).ok()?);
        let store = Store::open(&folder.path().join("data")).ok()?;
        store.writer.write_blocking(|db| populate(db)).ok()?;
        let api = Api {
            store: store.clone(),
            config: Arc::clone(&config),
            references: Arc::new(LoadedReferences::default()),
            runbooks: Arc::new(Runbooks::shipped()),
            feeds: Arc::new(Feeds::new(&config)),
            metrics: Metrics::new().ok()?,
            started_at: now_micros(),
        };
        let router = pages::links(api.clone()).merge(api::routes(api));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        Some(Self { runtime, router, store, _folder: folder })
    }

    fn answer(&self, request: Request<Body>) -> StatusCode {
        self.runtime.block_on(async {
            // A router is always ready, and cannot fail.
            let Ok(response) = self.router.clone().call(request).await;
            let status = response.status();
            to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.expect("an answer is whole and of a size");
            status
        })
    }
}

/// An episode that fires, and a reaction that waits.
fn populate(db: &Connection) -> rusqlite::Result<()> {
    let now = now_micros();
    let orphan = Orphan {
        fingerprint: "f".into(),
        rule: "FeatureDrift".into(),
        labels: [("model".to_owned(), "m".to_owned())].into(),
        episode: "e".into(),
        since: now,
        triggered: None,
        resolved: None,
    };
    let said = Notification { resolved_at: None, ..evidence::orphaned(&orphan, "http://driftline", now) };
    let said = serde_json::to_string(&said).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    db.execute(
        "INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification)
         VALUES ('e', 'f', 'FeatureDrift', 'ticket', 'feature-drift', ?1, ?2)",
        params![now, said],
    )?;
    db.execute(
        "INSERT INTO reactions (id, reaction, episode, model, state, created_at, good_until)
         VALUES (?1, 'retrain', 'e', 'm', 'asked', ?2, ?3)",
        // The yes is good for as long as the question was, counted from when it is given.
        params![REACTION, now, now + WAITS_MICROS],
    )?;
    Ok(())
}

/// Holds what was changed against what is promised, and takes it back.
fn check_and_reset(db: &Connection, may_decide: bool) -> rusqlite::Result<()> {
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    for (what, broken) in [
        (
            "an acknowledgement has an author, and bounds",
            "episodes WHERE acknowledged_at IS NOT NULL AND (length(acknowledged_by) NOT BETWEEN 1 AND 100 OR length(acknowledged_note) > 1000)",
        ),
        ("a tick has an author, and bounds", "ticks WHERE length(author) NOT BETWEEN 1 AND 100 OR length(note) > 1000"),
        (
            "a silence ends, and has an author",
            "silences WHERE ends_at <= starts_at OR ends_at - starts_at > 366 * 86400000000 OR length(author) NOT BETWEEN 1 AND 100 OR length(comment) > 1000",
        ),
        (
            "a window has a name and an author",
            "maintenance WHERE length(name) NOT BETWEEN 1 AND 100 OR length(author) NOT BETWEEN 1 AND 100 OR days = '[]'",
        ),
    ] {
        assert_eq!(count(&format!("SELECT count(*) FROM {broken}"))?, 0, "{what}");
    }
    let decided = count("SELECT count(*) FROM reactions WHERE decided_at IS NOT NULL")?;
    assert!(decided == 0 || may_decide, "somebody decided who may not");
    db.execute_batch(&format!(
        "UPDATE episodes SET acknowledged_at = NULL, acknowledged_by = NULL, acknowledged_note = NULL WHERE id = 'e';
         UPDATE reactions SET state = 'asked', decided_at = NULL, decided_by = NULL, decided_note = NULL, result = NULL,
                result_note = NULL, result_at = NULL, settled_at = NULL, why = NULL, good_until = created_at + {WAITS_MICROS};
         DELETE FROM reactions WHERE id != 'retrain.e'; DELETE FROM episodes WHERE id != 'e';
         DELETE FROM ticks; DELETE FROM silences; DELETE FROM maintenance; DELETE FROM outbox; DELETE FROM drills;"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_answered_as_what_they_are() {
        let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/acknowledgements");
        for (name, status) in [
            ("acknowledge", 200),
            ("escapes", 400),
            ("tick", 200),
            ("approve", 200),
            ("signed", 200),
            ("look", 200),
            ("forged", 403),
            ("silence", 201),
            ("window", 201),
            ("end", 404),
        ] {
            let seed = std::fs::read(seeds.join(name)).unwrap();
            // Twice: what the first has changed is taken back.
            for _ in 0..2 {
                assert_eq!(ask(&seed).map(|answered| answered.as_u16()), Some(status), "{name}");
            }
        }
        assert_eq!(ask(b"no request"), None);
    }
}
