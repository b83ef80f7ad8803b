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
/// Of a name, and of any other text: nobody reads longer ones there, and escaped each is still whole in a section.
const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 580;
/// Instead of what there is no room for.
const MORE: &str = "… and more: see the alert";
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
    let named = |(name, words): &(String, String)| format!("*{}* {}", cut(name, MAX_NAME), cut(words, MAX_TEXT));
    let briefing: Vec<String> = notification.briefing().iter().map(named).collect();
    let mut lines = vec![format!("*{}*, {since}", cut(&notification.condition, MAX_TEXT))];
    lines.extend(
        notification.acknowledged.iter().map(|said| format!("*Acknowledged* {}", cut(&said.in_words(), MAX_TEXT))),
    );
    for row in notification.rows.iter().take(MAX_ROWS) {
        lines.push(format!("• `{}` {}", cut(&row.what, MAX_NAME), cut(&row.in_words(), MAX_TEXT)));
    }
    let hidden = notification.rows.len().saturating_sub(MAX_ROWS) as u64 + notification.more_rows;
    if hidden > 0 {
        lines.push(format!("and {hidden} more"));
    }
    lines.extend(notification.facts.iter().map(named));
    let links: Vec<String> =
        notification.links().into_iter().map(|(name, address)| format!("<{}|{name}>", escape(address))).collect();
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    // What to do is above what is known, and its links are at hand without scrolling.
    let parts = [whole(&briefing, "\n"), whole(&links, " · "), whole(&lines, "\n")];
    let mut blocks = vec![json!({
        "type": "header", "text": { "type": "plain_text", "text": shorten(&headline(notification), MAX_HEADER) },
    })];
    blocks.extend(parts.into_iter().filter(|text| !text.is_empty()).map(section));
    json!({ "text": cut(&headline(notification), MAX_TEXT), "blocks": blocks })
}

/// As many of the parts as there is room for, each of them whole: half a link leads nowhere, and half an entity is none.
fn whole(parts: &[String], between: &str) -> String {
    let room = MAX_SECTION - MORE.chars().count() - between.len();
    let mut text = String::new();
    let mut is_short = false;
    for part in parts {
        let between = if text.is_empty() { "" } else { between };
        if text.chars().count() + between.len() + part.chars().count() > room {
            is_short = true;
            continue;
        }
        text.push_str(between);
        text.push_str(part);
    }
    if is_short {
        text.push_str(between);
        text.push_str(MORE);
    }
    text
}

/// A text of at most so many characters, as Slack is to show it.
fn cut(text: &str, max_chars: usize) -> String {
    escape(&shorten(text, max_chars))
}

/// Slack's three characters of control. A line end in a name would begin a line of its own.
fn escape(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect();
    one_line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notification::tests::notification;

    #[test]
    fn nothing_in_a_message_is_markup_that_somebody_else_wrote() {
        let mut hostile = notification(Action::Trigger);
        hostile.rows[0].what = "<!channel> `x`\n*bold* & co".into();
        let text = message(&hostile)["blocks"][3]["text"]["text"].to_string();
        assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"), "{text}");
    }

    /// The texts of all sections.
    fn sections(message: &Value) -> Vec<&str> {
        message["blocks"].as_array().unwrap()[1..].iter().map(|block| block["text"]["text"].as_str().unwrap()).collect()
    }

    #[test]
    fn what_to_do_comes_first_and_of_what_is_over_it_is_not_said() {
        let (trigger, resolve) = (message(&notification(Action::Trigger)), message(&notification(Action::Resolve)));
        assert!(sections(&trigger)[0].starts_with("*Real?* Yes."), "{trigger}");
        assert!(sections(&trigger)[1].starts_with("<http://driftline/runbooks/feature-drift|Runbook> · "));
        assert!(sections(&resolve)[0].starts_with("<http://driftline/runbooks/"));
    }

    proptest! {
        #[test]
        fn nothing_is_cut_within_a_link_or_an_entity_and_all_of_it_fits(
            texts in proptest::collection::vec(("[\\PC&<>\n`]{0,30}", 1usize..200), 1..12),
            link in 0usize..4000,
        ) {
            let long = |index: usize| texts[index % texts.len()].0.repeat(texts[index % texts.len()].1);
            let mut said = notification(Action::Trigger);
            (said.summary, said.condition) = (long(0), long(1));
            said.briefing = (0..3).map(|index| (long(index), long(index + 1))).collect();
            said.facts = (0..texts.len()).map(|index| (long(index), long(index + 3))).collect();
            said.rows[0].what = long(2);
            said.dashboard_url = Some(format!("https://grafana/{}", "d&".repeat(link)));
            let message = message(&said);
            prop_assert!(message["blocks"][0]["text"]["text"].as_str().unwrap().chars().count() <= MAX_HEADER);
            prop_assert!(message["text"].as_str().unwrap().chars().count() <= MAX_SECTION);
            for text in sections(&message) {
                prop_assert!(!text.is_empty() && text.chars().count() <= MAX_SECTION, "{} characters", text.chars().count());
                let plain = ["&amp;", "&lt;", "&gt;"].iter().fold(text.to_owned(), |text, entity| text.replace(entity, ""));
                prop_assert!(!plain.contains('&'), "half an entity: {}", text);
                prop_assert_eq!(plain.matches('<').count(), plain.matches('>').count(), "half a link: {}", text);
            }
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_said_to_be_missing() {
        let mut huge = notification(Action::Trigger);
        huge.summary = "ü".repeat(9000);
        huge.facts = vec![("a".repeat(500), "€".repeat(5000)); 9];
        huge.rows = vec![huge.rows[0].clone(); 20];
        let message = message(&huge);
        assert_eq!(message["blocks"][0]["text"]["text"].as_str().unwrap().chars().count(), MAX_HEADER);
        assert!(sections(&message)[1].contains("|Runbook>") && sections(&message)[2].ends_with(MORE), "{message}");
    }
}
