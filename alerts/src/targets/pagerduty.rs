//! PagerDuty's Events API v2.

use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::Delivery;
use super::http::{Http, secret};
use crate::change_event::ChangeEvent;
use crate::notification::{Action, Notification, shorten, time_rfc3339};
use crate::rule::Severity;
use crate::secret::SecretSource;

/// Where events go unless the configuration says otherwise.
const DEFAULT_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Where events end, and where changes do, at the same host.
const EVENTS: &str = "/v2/enqueue";
const CHANGES: &str = "/v2/change/enqueue";
/// PagerDuty's limits.
const MAX_SUMMARY_CHARS: usize = 1024;
const MAX_BODY_BYTES: usize = 512_000;
const MAX_KEY_CHARS: usize = 255;
/// Of names: nothing shows longer ones.
const MAX_NAME_CHARS: usize = 255;
/// A longer address is left out: cut, it leads nowhere.
const MAX_ADDRESS_BYTES: usize = 2048;

/// An integration of a PagerDuty service.
#[derive(Debug)]
pub struct PagerDuty {
    url: String,
    routing_key: SecretSource,
    pictures: Pictures,
    http: Http,
}

/// Whether pictures can be looked at by their address. PagerDuty takes no picture itself, and only addresses of https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// By everybody who reaches it.
    Open,
    /// Not without a token. PagerDuty shows an image that cannot be loaded in the place of one.
    Guarded,
}

impl PagerDuty {
    /// A target that sends to `url` (PagerDuty's own unless given) with this integration key.
    ///
    /// # Errors
    /// When no TLS provider is installed, or the system's certificates cannot be read.
    pub fn new(url: Option<String>, routing_key: SecretSource, pictures: Pictures) -> Result<Self, String> {
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        Ok(Self { url, routing_key, pictures, http: Http::new()? })
    }

    /// Where changes go if events go to `url`; none if it is not the address of events.
    pub fn changes_url(url: &str) -> Option<String> {
        Some(format!("{}{CHANGES}", url.strip_suffix(EVENTS)?))
    }

    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        self.post(&self.url, |key| body(notification, key, self.pictures)).await
    }

    pub(super) async fn deliver_change(&self, change: &ChangeEvent) -> Delivery {
        match Self::changes_url(&self.url) {
            Some(url) => self.post(&url, |key| change_event(change, key).to_string()).await,
            None => Delivery::Refused {
                why: format!("the url does not end with {EVENTS}, so nobody knows where changes go"),
            },
        }
    }

    async fn post(&self, url: &str, body: impl FnOnce(&str) -> String) -> Delivery {
        let sent = async {
            let key = secret(&self.routing_key)?;
            let body = body(key.reveal());
            Ok(self.http.post(url, HeaderMap::new(), body).await?.withholding(&key))
        };
        sent.await.map_or_else(|delivery| delivery, |answer| answer.delivery())
    }
}

/// How much of an event's details is told.
#[derive(Debug, Clone, Copy)]
struct Details {
    has_picture: bool,
    rows: usize,
    /// Of each text.
    chars: usize,
    facts: usize,
}

impl Details {
    /// Texts that nobody reads to their end.
    const MOST_CHARS: usize = 8192;
    /// Shorter than this, texts say less than their number does.
    const FEWEST_CHARS: usize = 256;

    fn all(notification: &Notification, pictures: Pictures) -> Self {
        Self {
            has_picture: pictures == Pictures::Open,
            rows: notification.rows.len(),
            chars: Self::MOST_CHARS,
            facts: notification.facts.len(),
        }
    }

    /// The next smaller ones: the picture goes first, then rows, then the ends of texts, then facts from the last. What remains
    /// still says what is wrong. None where nothing can go any more.
    fn fewer(self) -> Option<Self> {
        match self {
            Self { has_picture: true, .. } => Some(Self { has_picture: false, ..self }),
            Self { rows: 1.., .. } => Some(Self { rows: self.rows / 2, ..self }),
            Self { chars, .. } if chars > Self::FEWEST_CHARS => Some(Self { chars: chars / 2, ..self }),
            Self { facts: 1.., .. } => Some(Self { facts: self.facts / 2, ..self }),
            _ => None,
        }
    }
}

/// The event, with as many details as there is room for.
fn body(notification: &Notification, routing_key: &str, pictures: Pictures) -> String {
    let mut details = Details::all(notification, pictures);
    loop {
        let text = event(notification, routing_key, details).to_string();
        match details.fewer() {
            Some(fewer) if text.len() > MAX_BODY_BYTES => details = fewer,
            _ => return text,
        }
    }
}

fn event(notification: &Notification, routing_key: &str, details: Details) -> Value {
    let Details { has_picture, rows, chars, facts } = details;
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": match notification.action {
            // The same key again adds to the incident, and wakes nobody who has acknowledged it.
            Action::Trigger | Action::Remind => "trigger",
            Action::Acknowledge => "acknowledge",
            Action::Resolve => "resolve",
        },
        "dedup_key": shorten(&notification.episode, MAX_KEY_CHARS),
    });
    if matches!(notification.action, Action::Acknowledge | Action::Resolve) {
        return event;
    }
    let mut details: Map<String, Value> = Map::new();
    details.insert("condition".into(), json!(shorten(&notification.condition, chars)));
    for (name, value) in notification.briefing().iter().chain(notification.facts.iter().take(facts)) {
        details.insert(shorten(name, MAX_NAME_CHARS), json!(shorten(value, chars)));
    }
    let members: Vec<Value> = notification
        .rows
        .iter()
        .take(rows)
        .map(|row| {
            json!({ "what": row.what, "value": row.value, "threshold": row.threshold, "n": row.n, "last_windows": row.sparkline })
        })
        .collect();
    if !members.is_empty() {
        details.insert("members".into(), json!(members));
    }
    let hidden = notification.more_rows + (notification.rows.len() - rows) as u64;
    if hidden > 0 {
        details.insert("more_members".into(), json!(hidden));
    }
    let mut payload = json!({
        "summary": shorten(&notification.summary, MAX_SUMMARY_CHARS),
        "source": shorten(notification.labels.get("model").map_or("driftline", String::as_str), MAX_NAME_CHARS),
        "severity": match notification.severity {
            Severity::Page => "critical",
            Severity::Ticket => "warning",
            Severity::Info => "info",
        },
        "timestamp": time_rfc3339(notification.started_at),
        "class": shorten(&notification.rule, MAX_NAME_CHARS),
        "custom_details": details,
    });
    if let Some(model) = notification.labels.get("model") {
        payload["component"] = json!(shorten(model, MAX_NAME_CHARS));
    }
    event["payload"] = payload;
    event["client"] = json!("Driftline");
    if is_address(&notification.page_url) {
        event["client_url"] = json!(notification.page_url);
    }
    let links = notification.links().into_iter().filter(|(_, address)| is_address(address));
    let links: Vec<Value> = links.map(|(text, address)| json!({ "href": address, "text": text })).collect();
    // An empty list is refused.
    if !links.is_empty() {
        event["links"] = json!(links);
    }
    let picture = notification.picture_address().filter(|(address, _)| has_picture && is_address(address));
    if let Some((address, caption)) = picture {
        event["images"] = json!([
            { "src": address, "href": notification.page_url, "alt": shorten(caption, MAX_NAME_CHARS) },
        ]);
    }
    event
}

/// A change. It has no key of its own, so its details have one for people.
fn change_event(change: &ChangeEvent, routing_key: &str) -> Value {
    let mut event = json!({
        "routing_key": routing_key,
        "payload": {
            "summary": shorten(&change.summary, MAX_SUMMARY_CHARS),
            "source": shorten(&change.source, MAX_NAME_CHARS),
            "timestamp": time_rfc3339(change.at),
            "custom_details": { "kind": shorten(&change.kind, MAX_NAME_CHARS), "change": change.id },
        },
    });
    if is_address(&change.page_url) {
        event["links"] = json!([{ "href": change.page_url, "text": "Driftline" }]);
    }
    event
}

fn is_address(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ADDRESS_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notification::EvidenceRow;
    use crate::notification::tests::notification;

    #[test]
    fn a_trigger_says_what_where_and_how_much_and_a_resolve_only_which() {
        let trigger: Value =
            serde_json::from_str(&body(&notification(Action::Trigger), "key", Pictures::Open)).unwrap();
        assert_eq!(trigger["payload"]["severity"], "warning");
        assert_eq!(trigger["payload"]["custom_details"]["members"][0]["what"], "temp");
        assert_eq!(trigger["payload"]["custom_details"]["First:"], "Look at the shape (step 3).");
        let links: Vec<&Value> = trigger["links"].as_array().unwrap().iter().map(|link| &link["text"]).collect();
        assert_eq!(links, ["Runbook", "Alert in Driftline", "Dashboard"]);
        let resolve: Value =
            serde_json::from_str(&body(&notification(Action::Resolve), "key", Pictures::Open)).unwrap();
        assert_eq!(resolve["dedup_key"], trigger["dedup_key"]);
        assert_eq!(resolve.as_object().unwrap().len(), 3);
    }

    #[test]
    fn a_reminder_is_the_incident_once_more_and_an_acknowledgement_its_own() {
        let event = |action| event(&notification(action), "key", Details::all(&notification(action), Pictures::Open));
        let action = |action| event(action)["event_action"].clone();
        assert_eq!((action(Action::Remind), action(Action::Acknowledge)), (json!("trigger"), json!("acknowledge")));
        assert!(event(Action::Acknowledge).get("payload").is_none());
    }

    #[test]
    fn a_change_says_what_was_changed_where_and_when_and_goes_beside_the_events() {
        let change = ChangeEvent {
            id: 7,
            summary: "ü".repeat(MAX_SUMMARY_CHARS + 1),
            source: "flights".into(),
            kind: "version".into(),
            at: 1_373_500_000_000_000,
            page_url: "https://driftline/models/flights".into(),
        };
        let event = change_event(&change, "key");
        assert_eq!(event["payload"]["timestamp"], "2013-07-10T23:46:40Z");
        assert_eq!(event["payload"]["custom_details"], json!({ "kind": "version", "change": 7 }));
        assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), MAX_SUMMARY_CHARS);
        assert_eq!(event["links"][0]["href"], "https://driftline/models/flights");
        assert!(change_event(&ChangeEvent { page_url: String::new(), ..change }, "key").get("links").is_none());
        let eu = PagerDuty::changes_url("https://events.eu.pagerduty.com/v2/enqueue");
        assert_eq!(eu.as_deref(), Some("https://events.eu.pagerduty.com/v2/change/enqueue"));
        assert_eq!(PagerDuty::changes_url("https://relay/pd"), None);
    }

    #[test]
    fn what_is_too_large_shrinks_until_it_fits() {
        let mut huge = notification(Action::Trigger);
        huge.summary = "ü".repeat(5000);
        huge.rows = vec![huge.rows[0].clone(); 20];
        for row in &mut huge.rows {
            row.what = "€".repeat(20_000);
        }
        let text = body(&huge, "key", Pictures::Open);
        let event: Value = serde_json::from_str(&text).unwrap();
        assert!(text.len() <= MAX_BODY_BYTES);
        assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), MAX_SUMMARY_CHARS);
        assert!(event["payload"]["custom_details"]["more_members"].as_u64().unwrap() >= 10);
    }

    #[test]
    fn severities_are_theirs() {
        let theirs = |severity| {
            let said = Notification { severity, ..notification(Action::Trigger) };
            event(&said, "key", Details::all(&said, Pictures::Open))["payload"]["severity"].clone()
        };
        assert_eq!(
            Severity::ALL.map(theirs),
            Severity::ALL.map(|severity| match severity {
                Severity::Page => json!("critical"),
                Severity::Ticket => json!("warning"),
                Severity::Info => json!("info"),
            })
        );
    }

    #[test]
    fn a_picture_is_shown_where_it_is_served_to_all_who_look_by_https_and_addresses_are_whole_or_left_out() {
        let mut said = notification(Action::Trigger);
        let event_of = |said: &Notification| event(said, "key", Details::all(said, Pictures::Open));
        assert!(event_of(&said).get("images").is_none(), "not over http");
        said.page_url = "https://driftline/alerts/episode-1".into();
        let image = event_of(&said)["images"][0].clone();
        assert_eq!(image["src"], "https://driftline/api/v1/alerts/episode-1/picture");
        assert_eq!(image["href"], "https://driftline/alerts/episode-1");
        let guarded = event(&said, "key", Details::all(&said, Pictures::Guarded));
        assert!(guarded.get("images").is_none(), "nobody at PagerDuty has a token");
        said.page_url = format!("https://driftline/{}", "a".repeat(MAX_ADDRESS_BYTES));
        said.runbook_url = String::new();
        said.dashboard_url = Some(String::new());
        let event = event_of(&said);
        assert!(["links", "images", "client_url"].iter().all(|field| event.get(*field).is_none()));
    }

    #[test]
    fn the_picture_goes_before_anything_that_is_said() {
        let mut said = notification(Action::Trigger);
        said.page_url = "https://driftline/alerts/episode-1".into();
        let fits = body(&said, "key", Pictures::Open).len();
        assert!(body(&said, "key", Pictures::Open).contains("/picture"));
        // One that is too large by a character, or by as much as the picture takes.
        for over in [1, 100] {
            let mut large = said.clone();
            large.facts.clear();
            let own = body(&large, "key", Pictures::Open).len();
            let each = "f".repeat(Details::MOST_CHARS);
            while body(&large, "key", Pictures::Open).len() + each.len() + 20 < MAX_BODY_BYTES {
                large.facts.push((format!("{:08}", large.facts.len()), each.clone()));
            }
            let room = MAX_BODY_BYTES - body(&large, "key", Pictures::Open).len();
            large.facts.push(("last".into(), "l".repeat(room + over - r#","last":"""#.len())));
            assert!(own < fits + 20);
            let event: Value = serde_json::from_str(&body(&large, "key", Pictures::Open)).unwrap();
            assert!(event.get("images").is_none());
            let details = event["payload"]["custom_details"].as_object().unwrap();
            assert_eq!(details["members"].as_array().unwrap().len(), 1);
            assert!(details["last"].as_str().unwrap().ends_with('l'), "nothing else is cut");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_said_fits_and_is_an_event(
            texts in proptest::collection::vec(("[\\PC\u{0}\u{7}]{0,40}", 0usize..40_000), 4..40),
            rows in 0usize..30,
        ) {
            let long = |index: usize| {
                let (text, times) = &texts[index % texts.len()];
                text.repeat(times / 40 + 1)
            };
            let mut said = notification(Action::Trigger);
            (said.summary, said.condition, said.rule, said.episode) = (long(0), long(1), long(2), long(3));
            said.labels.insert("model".into(), long(4));
            said.facts = (0..texts.len()).map(|index| (long(index), long(index + 1))).collect();
            let row = said.rows[0].clone();
            said.rows = (0..rows).map(|index| EvidenceRow { what: long(index), value: long(index + 2), ..row.clone() }).collect();
            let text = body(&said, "key", Pictures::Open);
            prop_assert!(text.len() <= MAX_BODY_BYTES, "{} bytes", text.len());
            let event: Value = serde_json::from_str(&text).unwrap();
            let chars = |value: &Value| value.as_str().unwrap().chars().count();
            let payload = &event["payload"];
            prop_assert!(chars(&payload["summary"]) <= MAX_SUMMARY_CHARS);
            prop_assert!(chars(&event["dedup_key"]) <= MAX_KEY_CHARS);
            for name in ["source", "class", "component"] {
                prop_assert!(chars(&payload[name]) <= MAX_NAME_CHARS);
            }
            let shown = payload["custom_details"]["members"].as_array().map_or(0, Vec::len) as u64;
            let hidden = payload["custom_details"]["more_members"].as_u64().unwrap_or(0);
            prop_assert_eq!(shown + hidden, rows as u64);
        }
    }
}
