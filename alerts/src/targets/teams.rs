//! Microsoft Teams, by a workflow that takes webhooks and posts adaptive cards.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::Delivery;
use super::http::{Http, secret};
use crate::notification::{Action, Notification, shorten, time_in_words};
use crate::secret::SecretSource;

/// Teams takes 28 KB; of multi-byte text some clients were seen to fail earlier.
const MAX_BODY_BYTES: usize = 20_000;
const MAX_TITLE_CHARS: usize = 200;
const MAX_FACT_CHARS: usize = 500;

/// A workflow of a channel.
#[derive(Debug)]
pub struct Teams {
    url: SecretSource,
    http: Http,
}

impl Teams {
    /// A target that posts to a workflow's address, which is its secret.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(url: SecretSource) -> Result<Self, String> {
        Ok(Self { url, http: Http::new()? })
    }

    pub(super) async fn deliver(&self, notification: &Notification) -> Delivery {
        let sent = async { self.http.post(secret(&self.url)?.reveal(), HeaderMap::new(), body(notification)).await };
        match sent.await {
            Err(delivery) => delivery,
            // A connector that is busy answers 200, and says in the body that it is not.
            Ok(answer) if answer.status.is_success() && answer.text.contains("HTTP error 429") => answer.retry(),
            Ok(answer) => answer.delivery(),
        }
    }
}

/// The card. When it is too large, facts and members go from the end.
fn body(notification: &Notification) -> String {
    let facts = facts(notification);
    let mut shown = facts.len();
    loop {
        let text = card(notification, &facts[..shown], facts.len() - shown).to_string();
        if text.len() <= MAX_BODY_BYTES || shown == 0 {
            return text;
        }
        shown /= 2;
    }
}

fn facts(notification: &Notification) -> Vec<Value> {
    let fact =
        |title: &str, value: &str| json!({ "title": shorten(title, 100), "value": shorten(value, MAX_FACT_CHARS) });
    let mut facts: Vec<Value> = notification.briefing().iter().map(|(name, words)| fact(name, words)).collect();
    facts.push(fact("Condition", &notification.condition));
    facts.push(fact("Since", &time_in_words(notification.started_at)));
    facts.extend(notification.resolved_at.map(|end| fact("Until", &time_in_words(end))));
    facts.extend(notification.facts.iter().map(|(name, value)| fact(name, value)));
    facts.extend(notification.rows.iter().map(|row| fact(&row.what, &row.in_words())));
    facts
}

fn card(notification: &Notification, facts: &[Value], left_out: usize) -> Value {
    let colour = match notification.action {
        Action::Trigger | Action::Remind => "attention",
        Action::Acknowledge => "accent",
        Action::Resolve => "good",
    };
    let mut parts = vec![
        json!({ "type": "TextBlock", "size": "large", "weight": "bolder", "wrap": true, "color": colour,
                "text": shorten(&notification.title(), MAX_TITLE_CHARS) }),
        json!({ "type": "FactSet", "facts": facts }),
    ];
    let hidden = left_out as u64 + notification.more_rows;
    if hidden > 0 {
        parts.push(json!({ "type": "TextBlock", "text": format!("and {hidden} more"), "isSubtle": true }));
    }
    let open = |(title, url): (&str, &str)| json!({ "type": "Action.OpenUrl", "title": title, "url": url });
    let actions: Vec<Value> = notification.links().into_iter().map(open).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": parts,
                "actions": actions,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::notification;

    #[test]
    fn a_card_that_is_too_large_loses_facts_and_says_how_many() {
        let mut huge = notification(Action::Trigger);
        huge.rows = vec![huge.rows[0].clone(); 20];
        huge.facts = vec![("€".repeat(400), "ü".repeat(4000)); 60];
        let text = body(&huge);
        assert!(text.len() <= MAX_BODY_BYTES, "{}", text.len());
        let card: Value = serde_json::from_str(&text).unwrap();
        let content = &card["attachments"][0]["content"];
        let shown = content["body"][1]["facts"].as_array().unwrap().len();
        assert_eq!(content["body"][2]["text"], format!("and {} more", 85 - shown));
        assert_eq!(content["actions"][0]["title"], "Runbook");
    }
}
