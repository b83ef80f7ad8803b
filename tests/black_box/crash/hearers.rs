//! Whoever is told: slow receivers of four kinds, which now and then take something and say nothing to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::dice::Dice;

/// They take so many milliseconds for each.
const SLOW: std::ops::Range<u64> = 30..90;
/// One answer of so many is lost: what it is about was taken.
const LOST: u64 = 200;

/// Targets by name, in the order of [`start`].
pub(crate) const NAMES: [&str; 4] = ["pager", "hook", "channel", "mailbox"];

/// One of them.
pub(crate) struct Hearer {
    /// What it was told, by episode and in the order in which it took it.
    told: Mutex<BTreeMap<String, Vec<String>>>,
    pub(crate) taken: AtomicU64,
    pub(crate) lost: AtomicU64,
    dice: Mutex<Dice>,
}

impl Hearer {
    fn new(dice: &mut Dice) -> Arc<Self> {
        let dice = Mutex::new(Dice::new(dice.next()));
        Arc::new(Self { told: Mutex::default(), taken: AtomicU64::new(0), lost: AtomicU64::new(0), dice })
    }

    pub(crate) fn told(&self) -> BTreeMap<String, Vec<String>> {
        self.told.lock().unwrap().clone()
    }

    /// How many episodes were told last of this.
    pub(crate) fn stand_at(&self, action: &str) -> u64 {
        self.told.lock().unwrap().values().filter(|told| told.last().is_some_and(|last| last == action)).count() as u64
    }

    /// What was told more than once.
    pub(crate) fn repeated(&self) -> u64 {
        self.told.lock().unwrap().values().map(|told| told.len() as u64 - 2).sum()
    }

    /// Takes something, and its time; gives whether it says so.
    async fn hear(&self, episode: &str, action: &str) -> bool {
        self.told.lock().unwrap().entry(episode.to_owned()).or_default().push(action.to_owned());
        self.taken.fetch_add(1, Ordering::Relaxed);
        let (pause, is_lost) = {
            let mut dice = self.dice.lock().unwrap();
            (dice.millis(SLOW), dice.one_in(LOST))
        };
        tokio::time::sleep(pause).await;
        if is_lost {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        !is_lost
    }
}

/// Starts to listen; gives them, and what the configuration says of targets.
pub(crate) async fn start(folder: &std::path::Path, dice: &mut Dice) -> ([Arc<Hearer>; 4], String) {
    let hearers = NAMES.map(|_| Hearer::new(dice));
    let [pager, hook, channel, mailbox] = &hearers;
    let pager = serve(Router::new().route("/v2/enqueue", post(take_event)).with_state(Arc::clone(pager))).await;
    let hook = serve(Router::new().route("/hook", post(take_webhook)).with_state(Arc::clone(hook))).await;
    let slack = Router::new()
        .route("/chat.postMessage", post(take_message))
        .route("/chat.update", post(take_update))
        .with_state(Arc::clone(channel));
    let slack = serve(slack).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let smtp = listener.local_addr().expect("a bound address").port();
    tokio::spawn(take_mails(listener, Arc::clone(mailbox)));
    std::fs::write(folder.join("key"), "k".repeat(32)).expect("a file");
    std::fs::write(folder.join("hook"), format!("{hook}/hook")).expect("a file");
    let targets = [
        format!("pagerduty: {{url: '{pager}/v2/enqueue', routing_key: {{file: key}}}}"),
        "webhook: {url: {file: hook}}".to_owned(),
        format!("slack: {{token: {{file: key}}, channel: C1, url: '{slack}'}}"),
        format!(
            "email: {{from: d@example.com, to: [o@example.com], smtp: {{host: 127.0.0.1, port: {smtp}, tls: none}}}}"
        ),
    ];
    let lines = NAMES.iter().zip(targets).map(|(name, kind)| format!("    {name}: {{{kind}, rate: 10000 per 1s}}\n"));
    let lines = lines.collect();
    (hearers, lines)
}

async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// An answer, or that of a gateway which lost it.
fn answer(is_said: bool, status: StatusCode, body: Value) -> (StatusCode, Json<Value>) {
    if is_said { (status, Json(body)) } else { (StatusCode::BAD_GATEWAY, Json(json!({}))) }
}

/// PagerDuty: an event has the episode as its key.
async fn take_event(State(pager): State<Arc<Hearer>>, Json(event): Json<Value>) -> (StatusCode, Json<Value>) {
    let is_said = pager.hear(text(&event, "dedup_key"), text(&event, "event_action")).await;
    answer(is_said, StatusCode::ACCEPTED, json!({ "status": "success", "dedup_key": event["dedup_key"] }))
}

/// A webhook: what tells repetitions is in its header.
async fn take_webhook(
    State(hook): State<Arc<Hearer>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers["idempotency-key"].to_str().expect("plain text");
    let (episode, action) = key.rsplit_once('.').expect("an episode and an action");
    assert_eq!(episode, text(&body, "groupKey"));
    answer(hook.hear(episode, action).await, StatusCode::OK, json!({}))
}

/// Slack: a message, which is the beginning, or a reply in its thread.
async fn take_message(State(channel): State<Arc<Hearer>>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let Some(episode) = episode_of(&body) else {
        assert!(body["thread_ts"].is_string(), "a message of no episode: {body}");
        return (StatusCode::OK, Json(json!({ "ok": true, "channel": "C1", "ts": "2.0" })));
    };
    let is_said = channel.hear(&episode, "trigger").await;
    answer(is_said, StatusCode::OK, json!({ "ok": true, "channel": "C1", "ts": format!("1.{episode}") }))
}

/// Slack: the message says by now that it is over.
async fn take_update(State(channel): State<Arc<Hearer>>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let episode = episode_of(&body).expect("a message of an episode");
    assert_eq!(text(&body, "ts"), format!("1.{episode}"), "the episode's own message");
    assert!(text(&body, "text").contains("Resolved: "), "{body}");
    let is_said = channel.hear(&episode, "resolve").await;
    answer(is_said, StatusCode::OK, json!({ "ok": true, "channel": "C1", "ts": body["ts"] }))
}

/// The episode that a message links to.
fn episode_of(body: &Value) -> Option<String> {
    let texts = body["blocks"].as_array()?.iter().map(|block| text(&block["text"], "text"));
    let link = texts.filter_map(|text| text.split_once("/alerts/")).next()?.1;
    Some(link.split('|').next()?.to_owned())
}

async fn take_mails(listener: TcpListener, mailbox: Arc<Hearer>) {
    while let Ok((stream, _)) = listener.accept().await {
        let mailbox = Arc::clone(&mailbox);
        // A conversation ends when the collector is killed.
        tokio::spawn(async move { converse(stream, &mailbox).await });
    }
}

/// SMTP, as much of it as one mail needs. A mail whose answer is lost was taken, and the connection breaks.
async fn converse(stream: TcpStream, mailbox: &Hearer) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mailbox\r\n").await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let says = match line.get(..4).unwrap_or_default() {
            "EHLO" => "250-mailbox\r\n250 8BITMIME",
            "MAIL" | "RCPT" => "250 fine",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let (mut key, mut has_ended) = (String::new(), false);
                line.clear();
                while !has_ended && stream.read_line(&mut line).await? > 0 {
                    has_ended = line == ".\r\n";
                    if let Some(id) = line.strip_prefix("Message-ID: <") {
                        key = id.split('@').next().unwrap_or_default().to_owned();
                    }
                    line.clear();
                }
                // One that was killed in the middle of its head has told nothing.
                if !has_ended {
                    return Ok(());
                }
                let (episode, action) = key.rsplit_once('.').expect("an episode and an action");
                if !mailbox.hear(episode, action).await {
                    return Ok(());
                }
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "502 what?",
        };
        stream.write_all(format!("{says}\r\n").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}
