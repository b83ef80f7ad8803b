//! Where notifications go: one file for each kind of target.

mod alertmanager;
mod datadog;
mod email;
mod heartbeat;
pub(crate) mod http;
mod opsgenie;
mod pagerduty;
mod recipients;
mod slack;
mod smtp;
mod teams;
mod webhook;

use std::time::Duration;

pub use alertmanager::Alertmanager;
pub use datadog::Datadog;
pub use email::{Email, Mailbox, Transport};
pub use heartbeat::Heartbeat;
pub use opsgenie::Opsgenie;
pub use pagerduty::{PagerDuty, Pictures};
pub use slack::{Slack, SlackWay};
pub use smtp::{Smtp, SmtpTls};
pub use teams::Teams;
pub use webhook::Webhook;
pub(crate) use webhook::signature as webhook_signature;

use crate::change_event::ChangeEvent;
use crate::notification::Notification;

/// No target may hold a delivery up for longer; then it is tried again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Somewhere to tell.
#[derive(Debug)]
pub enum Target {
    /// PagerDuty's Events API v2.
    PagerDuty(PagerDuty),
    /// E-mail.
    Email(Email),
    /// Slack.
    Slack(Slack),
    /// Microsoft Teams.
    Teams(Teams),
    /// Alertmanager.
    Alertmanager(Alertmanager),
    /// Datadog's events.
    Datadog(Datadog),
    /// Opsgenie.
    Opsgenie(Opsgenie),
    /// Anything that takes webhooks.
    Webhook(Webhook),
}

/// What came before an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// What the target gave when it accepted the episode's trigger, for whatever comes after that.
    pub begun: Option<String>,
    /// Whether the trigger may have reached those of whom this does not say so.
    pub begun_in_doubt: bool,
    /// What the target gave when it accepted this very message in part.
    pub so_far: Option<String>,
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The target has it.
    Accepted {
        /// What it calls the message, or who of those behind it has it, where that has to be known when the episode ends.
        receipt: Option<String>,
    },
    /// Some of those behind the target have it, and others do not.
    Partly {
        /// Who has it, for the target.
        receipt: String,
        /// Who does not have it, and why.
        why: String,
        /// Whether they may take it yet.
        again: bool,
    },
    /// Not now.
    Retry {
        /// How long the target asks to wait.
        after: Option<Duration>,
        /// What happened, for a person to read.
        why: String,
        /// Whether it may have arrived all the same: there was no answer, or one that does not say. Of what did not arrive
        /// nobody has to be told that it ended.
        in_doubt: bool,
    },
    /// It will never be taken like this.
    Refused {
        /// What the target said.
        why: String,
    },
}

impl Target {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PagerDuty(_) => "pagerduty",
            Self::Email(_) => "email",
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::Alertmanager(_) => "alertmanager",
            Self::Datadog(_) => "datadog",
            Self::Opsgenie(_) => "opsgenie",
            Self::Webhook(_) => "webhook",
        }
    }

    /// How often what fires must be said again, for targets that forget what they do not hear of; what ended is said again
    /// for a few times as long.
    pub fn again(&self) -> Option<Duration> {
        match self {
            Self::Alertmanager(target) => Some(target.resend()),
            _ => None,
        }
    }

    /// Makes one attempt to deliver what has not arrived before.
    ///
    /// # Cancel safety
    /// A dropped attempt may have arrived. Most kinds of target recognise a repetition: PagerDuty, Opsgenie, Datadog and
    /// Alertmanager by the episode, a mail reader by its `Message-ID`, a webhook by its `Idempotency-Key`. Slack and Teams
    /// show it twice.
    pub async fn deliver(&self, notification: &Notification, before: &Before) -> Delivery {
        let delivery = async {
            match self {
                Self::PagerDuty(target) => target.deliver(notification).await,
                // A conversation with a mail server takes more room than all the others.
                Self::Email(target) => Box::pin(target.deliver(notification, before)).await,
                Self::Slack(target) => target.deliver(notification, before.begun.as_deref()).await,
                Self::Teams(target) => target.deliver(notification).await,
                Self::Alertmanager(target) => target.deliver(notification).await,
                Self::Datadog(target) => target.deliver(notification).await,
                Self::Opsgenie(target) => target.deliver(notification).await,
                Self::Webhook(target) => target.deliver(notification).await,
            }
        };
        within(delivery).await
    }

    /// Makes one attempt to tell of a change.
    ///
    /// # Cancel safety
    /// A dropped attempt may have arrived. PagerDuty shows a repetition twice.
    pub async fn deliver_change(&self, change: &ChangeEvent) -> Delivery {
        match self {
            Self::PagerDuty(target) => within(target.deliver_change(change)).await,
            _ => Delivery::Refused { why: format!("a target of the kind {} takes no changes", self.kind()) },
        }
    }
}

/// The delivery, or that it took too long.
async fn within(delivery: impl Future<Output = Delivery>) -> Delivery {
    tokio::time::timeout(DELIVERY_TIMEOUT, delivery).await.unwrap_or_else(|_| Delivery::Retry {
        after: None,
        why: format!("no answer within {DELIVERY_TIMEOUT:?}"),
        in_doubt: true,
    })
}
