//! Slack: by an incoming webhook, or by its API, where an episode is one message that says how it stands, with a thread.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Delivery;
use super::http::{Answer, Http, secret, secret_header};
use crate::notification::{Action, Notification, shorten, time_in_words};
use crate::rule::Severity;
use crate::secret::SecretSource;

/// Where the API is unless the configuration says otherwise.
const DEFAULT_URL: &str = "https://slack.com/api";
/// Slack's limits, in characters.
const MAX_HEADER: usize = 150;
const MAX_SECTION: usize = 3000;
/// A message of more rows is no message.
const MAX_ROWS: usize = 8;
/// Errors that the same message will meet again.
const FINAL: [&str; 5] = ["msg_too_long", "invalid_blocks", "msg_blocks_too_long", "no_text", "invalid_arguments"];

/// A channel.
#[derive(Debug)]
pub struct Slack {
    way: SlackWay,
    http: Http,
}

/// How it is reached.
#[derive(Debug, Clone)]
pub enum SlackWay {
    /// By an incoming webhook. Its address is its secret, and it cannot change what was said.
    Webhook(SecretSource),
    /// By the API, with a bot's token.
    Api {
        /// The token.
        token: SecretSource,
        /// The channel's id or name.
        channel: String,
        /// Where the API is; Slack's own unless given.
        url: Option<String>,
    },
}

impl Slack {
    /// A target that tells a channel.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(way: SlackWay) -> Result<Self, String> {
        Ok(Self { way, http: Http::new()? })
    }

    /// `receipt` is the message's, as the trigger's acceptance gave it.
    pub(super) async fn deliver(&self, notification: &Notification, receipt: Option<&str>) -> Delivery {
        let sent = async {
            match &self.way {
                SlackWay::Webhook(url) => {
                    let body = message(notification).to_string();
                    let answer = self.http.post(secret(url)?.reveal(), HeaderMap::new(), body).await?;
                    Ok(answer.delivery())
                }
                SlackWay::Api { token, channel, url } => {
                    let token = format!("Bearer {}", secret(token)?.reveal());
                    let call = |method: &str, mut body: Value| {
                        let url = format!("{}/{method}", url.as_deref().unwrap_or(DEFAULT_URL).trim_end_matches('/'));
                        let headers = secret_header("authorization", &token);
                        if body["channel"].is_null() {
                            body["channel"] = json!(channel);
                        }
                        async move { Ok(judged(&self.http.post(&url, headers?, body.to_string()).await?)) }
                    };
                    let Some((channel, message_ts)) = receipt.and_then(|receipt| receipt.split_once(' ')) else {
                        return call("chat.postMessage", message(notification)).await;
                    };
                    // The message itself shows how it stands, and who follows its thread hears of it. What nobody has taken up
                    // is for the whole channel once more.
                    let mut changed = message(notification);
                    changed["channel"] = json!(channel);
                    changed["ts"] = json!(message_ts);
                    match call("chat.update", changed).await? {
                        Delivery::Accepted { .. } => {}
                        other => return Ok(other),
                    }
                    let mut reply =
                        json!({ "channel": channel, "thread_ts": message_ts, "text": escape(&headline(notification)) });
                    if notification.action == Action::Remind {
                        reply["reply_broadcast"] = json!(true);
                    }
                    call("chat.postMessage", reply).await
                }
            }
        };
        sent.await.unwrap_or_else(|delivery: Delivery| delivery)
    }
}

/// The API answers 200 to most of what it refuses, and says so in the body. The receipt is channel and time stamp.
fn judged(answer: &Answer) -> Delivery {
    let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    match (said["ok"].as_bool(), said["error"].as_str()) {
        (Some(true), _) => {
            let id = |name: &str| said[name].as_str();
            Delivery::Accepted { receipt: id("channel").zip(id("ts")).map(|(channel, ts)| format!("{channel} {ts}")) }
        }
        (Some(false), Some(error)) if FINAL.contains(&error) => Delivery::Refused { why: answer.why() },
        _ => answer.retry(),
    }
}

fn headline(notification: &Notification) -> String {
    let mark = match (notification.action, notification.severity) {
        (Action::Resolve, _) => "✅",
        (Action::Acknowledge, _) => "👀",
        (_, Severity::Page) => "🔴",
        (_, Severity::Ticket) => "🟠",
        (_, Severity::Info) => "🔵",
    };
    format!("{mark} {}", notification.title())
}

fn message(notification: &Notification) -> Value {
    let since = match notification.resolved_at {
        None => format!("since {}", time_in_words(notification.started_at)),
        Some(end) => format!("from {} to {}", time_in_words(notification.started_at), time_in_words(end)),
    };
    let mut lines = vec![format!("*{}*, {}", escape(&notification.condition), since)];
    lines.extend(notification.acknowledged.iter().map(|said| format!("*Acknowledged* {}", escape(&said.in_words()))));
    lines.extend(notification.facts.iter().map(|(name, value)| format!("*{}*: {}", escape(name), escape(value))));
    for row in notification.rows.iter().take(MAX_ROWS) {
        let (what, value, threshold) = (escape(&row.what), escape(&row.value), escape(&row.threshold));
        lines.push(format!("• `{what}` {value} (limit {threshold}, n = {}) {}", escape(&row.n), row.sparkline));
    }
    let hidden = notification.rows.len().saturating_sub(MAX_ROWS) as u64 + notification.more_rows;
    if hidden > 0 {
        lines.push(format!("and {hidden} more"));
    }
    let links = notification.links().into_iter().map(|(name, address)| format!("<{}|{name}>", escape(address)));
    let links = links.collect::<Vec<_>>().join(" · ");
    let section =
        |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": shorten(text, MAX_SECTION) } });
    json!({
        "text": shorten(&escape(&headline(notification)), MAX_SECTION),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": shorten(&headline(notification), MAX_HEADER) } },
            section(&lines.join("\n")),
            section(&links),
        ],
    })
}

/// Slack's three characters of control. A line end in a name would begin a line of its own.
fn escape(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect();
    one_line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::notification;

    #[test]
    fn nothing_in_a_message_is_markup_that_somebody_else_wrote() {
        let mut hostile = notification(Action::Trigger);
        hostile.rows[0].what = "<!channel> `x`\n*bold* & co".into();
        let text = message(&hostile)["blocks"][1]["text"]["text"].to_string();
        assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"), "{text}");
    }

    #[test]
    fn messages_keep_within_slacks_limits() {
        let mut huge = notification(Action::Trigger);
        huge.summary = "ü".repeat(9000);
        huge.facts = vec![("a".repeat(500), "€".repeat(5000)); 9];
        huge.rows = vec![huge.rows[0].clone(); 20];
        let message = message(&huge);
        let chars = |value: &Value| value.as_str().unwrap().chars().count();
        assert_eq!(chars(&message["blocks"][0]["text"]["text"]), MAX_HEADER);
        assert_eq!(chars(&message["blocks"][1]["text"]["text"]), MAX_SECTION);
        assert!(message["blocks"][2]["text"]["text"].as_str().unwrap().contains("Runbook"));
    }
}
