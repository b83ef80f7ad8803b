//! Where notifications go: one file for each kind of target.

mod email;
mod pagerduty;

use std::time::Duration;

pub use email::{Email, EmailError, Mailbox, SmtpTls, Transport};
pub use pagerduty::PagerDuty;

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
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The target has it.
    Accepted,
    /// Not now.
    Retry {
        /// How long the target asks to wait.
        after: Option<Duration>,
        /// What happened, for a person to read.
        why: String,
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
        }
    }

    /// Makes one attempt to deliver.
    ///
    /// # Cancel safety
    /// A dropped attempt may have arrived. Both kinds of target recognise a repetition: PagerDuty by its `dedup_key`, a
    /// mail reader by its `Message-ID`.
    pub async fn deliver(&self, notification: &Notification) -> Delivery {
        let delivery = async {
            match self {
                Self::PagerDuty(target) => target.deliver(notification).await,
                Self::Email(target) => target.deliver(notification).await,
            }
        };
        tokio::time::timeout(DELIVERY_TIMEOUT, delivery)
            .await
            .unwrap_or_else(|_| Delivery::Retry { after: None, why: format!("no answer within {DELIVERY_TIMEOUT:?}") })
    }
}
