//! What the configuration says of whom to tell: one function for each kind of target.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_alerts::{
    Action, Alertmanager, Mailbox, PagerDuty, Rate, SecretSource, SlackWay, Smtp, SmtpTls, Transport,
};
use driftline_document::{Node, Section, parse_duration};

use super::alerting::secret;
use super::told_changes::ToldChanges;

/// A rate over a shorter time is none of anybody's, and over a longer one it would hold pages back for too long.
const PER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// How often Alertmanager is told again of what fires. An alert that nobody ends goes on for four times as long.
const RESEND: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// A target as it is configured.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// What it is.
    pub kind: TargetKind,
    /// How often it may be told something.
    pub rate: Rate,
}

/// What a target is.
#[derive(Debug, Clone)]
pub enum TargetKind {
    /// PagerDuty.
    PagerDuty {
        /// Where events go; PagerDuty's own address unless given.
        url: Option<String>,
        /// The integration's key.
        routing_key: SecretSource,
        /// Which changes it is told of; none unless that is configured.
        changes: Option<ToldChanges>,
    },
    /// E-mail.
    Email {
        /// Who it comes from.
        from: Mailbox,
        /// Whom it goes to.
        to: Vec<Mailbox>,
        /// How it leaves.
        transport: Transport,
    },
    /// Slack.
    Slack(SlackWay),
    /// Microsoft Teams.
    Teams {
        /// The workflow's address.
        url: SecretSource,
    },
    /// Alertmanager.
    Alertmanager {
        /// Where each of its replicas is.
        urls: Vec<String>,
        /// How often what fires is sent again.
        resend: Duration,
    },
    /// Datadog's events.
    Datadog {
        /// The organisation's site.
        site: String,
        /// Another address than the site's.
        url: Option<String>,
        /// The key.
        api_key: SecretSource,
    },
    /// Opsgenie.
    Opsgenie {
        /// Where its API is; its own address unless given.
        url: Option<String>,
        /// The integration's key.
        api_key: SecretSource,
    },
    /// Anything that takes webhooks.
    Webhook {
        /// Its address.
        url: SecretSource,
        /// By which requests are signed.
        signing_key: Option<SecretSource>,
    },
}

impl TargetKind {
    /// How often one of this kind may be told something, unless the configuration says otherwise: what its makers allow, with
    /// something left for others who use the same key.
    fn usual_rate(&self) -> Option<Rate> {
        let (times, seconds) = match self {
            // About 120 a minute are taken for a key.
            Self::PagerDuty { .. } => (100, 60),
            // One a second for a channel.
            Self::Slack(_) => (1, 1),
            // Four a second for a workflow.
            Self::Teams { .. } => (3, 1),
            // Its smallest plan allows a few hundred a minute, for all that the account does.
            Self::Opsgenie { .. } => (100, 60),
            // Servers take more, and readers do not.
            Self::Email { .. } => (60, 60),
            Self::Alertmanager { .. } | Self::Datadog { .. } | Self::Webhook { .. } => (100, 1),
        };
        Rate::new(times, Duration::from_secs(seconds))
    }

    /// Which changes it is told of; none of the others has a place for them.
    pub fn changes(&self) -> Option<&ToldChanges> {
        match self {
            Self::PagerDuty { changes, .. } => changes.as_ref(),
            _ => None,
        }
    }

    /// Whether it is told of this. All are told of beginnings and ends.
    pub fn hears_of(&self, action: Action) -> bool {
        match action {
            Action::Trigger | Action::Resolve => true,
            // Alertmanager is told of all that fires every minute, and reminds by itself.
            Action::Remind => !matches!(self, Self::Alertmanager { .. }),
            // The others have no word for it, or would take it for a new message.
            Action::Acknowledge => matches!(
                self,
                Self::PagerDuty { .. } | Self::Opsgenie { .. } | Self::Email { .. } | Self::Slack(SlackWay::Api { .. })
            ),
        }
    }
}

pub(super) fn target(node: &Node<'_>, folder: &Path) -> Option<TargetConfig> {
    type Read = fn(Section<'_>, &Path) -> Option<TargetKind>;
    const KINDS: [(&str, Read); 8] = [
        ("pagerduty", pagerduty),
        ("email", email),
        ("slack", slack),
        ("teams", teams),
        ("alertmanager", alertmanager),
        ("datadog", datadog),
        ("opsgenie", opsgenie),
        ("webhook", webhook),
    ];
    let mut section = node.section()?;
    let own_rate = section.optional("rate").and_then(|node| {
        let allowed = format!("how often in how long, as in 120 per 1m: up to {} times, in 1s to 1h", Rate::MAX_TIMES);
        node.parsed(&allowed, rate)
    });
    let mut named: Vec<(Node<'_>, Read)> =
        KINDS.into_iter().filter_map(|(name, read)| Some((section.optional(name)?, read))).collect();
    let kind = match (named.pop(), named.is_empty()) {
        (Some((node, read)), true) => read(node.section()?, folder)?,
        _ => {
            section.problem(format!("needs one of {}", KINDS.map(|(name, _)| name).join(", ")));
            return None;
        }
    };
    let rate = own_rate.or_else(|| kind.usual_rate())?;
    Some(TargetConfig { kind, rate })
}

fn rate(text: &str) -> Option<Rate> {
    let (times, per) = text.split_once(" per ")?;
    let per = parse_duration(per.trim()).filter(|per| PER.contains(per))?;
    Rate::new(times.trim().parse().ok()?, per)
}

fn text(node: Option<Node<'_>>) -> Option<String> {
    node.and_then(|node| Some(node.text()?.to_owned()))
}

fn pagerduty(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let url = text(section.optional("url"));
    let routing_key = section.required("routing_key").and_then(|node| secret(&node, folder));
    let changes_at = section.optional("changes");
    if let (Some(node), Some(url)) = (&changes_at, &url)
        && PagerDuty::changes_url(url).is_none()
    {
        node.problem("needs a url that ends with /v2/enqueue: changes go to /v2/change/enqueue beside it");
    }
    let changes = changes_at.and_then(|node| ToldChanges::read(node.section()?));
    Some(TargetKind::PagerDuty { url, routing_key: routing_key?, changes })
}

fn slack(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let webhook = section.optional("webhook").and_then(|node| secret(&node, folder));
    let token = section.optional("token").and_then(|node| secret(&node, folder));
    let (channel, url) = (text(section.optional("channel")), text(section.optional("url")));
    match (webhook, token, channel) {
        (Some(webhook), None, None) => Some(TargetKind::Slack(SlackWay::Webhook(webhook))),
        (None, Some(token), Some(channel)) => Some(TargetKind::Slack(SlackWay::Api { token, channel, url })),
        _ => {
            section.problem("needs either 'webhook', or 'token' and 'channel'");
            None
        }
    }
}

fn teams(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let url = section.required("workflow").and_then(|node| secret(&node, folder));
    Some(TargetKind::Teams { url: url? })
}

fn alertmanager(mut section: Section<'_>, _: &Path) -> Option<TargetKind> {
    let nodes = section.required("urls").and_then(|node| node.list())?;
    let urls: Vec<String> = nodes.iter().filter_map(|node| Some(node.text()?.to_owned())).collect();
    if urls.is_empty() {
        section.problem("'urls' is empty; name every replica");
    }
    let resend = section.optional("resend").and_then(|node| node.duration(RESEND)).unwrap_or(Alertmanager::RESEND);
    Some(TargetKind::Alertmanager { urls, resend })
}

fn datadog(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let site = text(section.optional("site")).unwrap_or_else(|| "datadoghq.com".to_owned());
    let url = text(section.optional("url"));
    let api_key = section.required("api_key").and_then(|node| secret(&node, folder));
    Some(TargetKind::Datadog { site, url, api_key: api_key? })
}

fn opsgenie(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let url = text(section.optional("url"));
    let api_key = section.required("api_key").and_then(|node| secret(&node, folder));
    Some(TargetKind::Opsgenie { url, api_key: api_key? })
}

fn webhook(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let url = section.required("url").and_then(|node| secret(&node, folder));
    let signing_key = section.optional("signing_key").and_then(|node| secret(&node, folder));
    Some(TargetKind::Webhook { url: url?, signing_key })
}

fn email(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let address = "a mail address, as in Driftline <driftline@example.com>";
    let from = section.required("from").and_then(|node| node.parsed(address, |text| text.parse::<Mailbox>().ok()));
    let to = section.required("to").and_then(|node| node.list());
    let to: Option<Vec<Mailbox>> =
        to.map(|list| list.iter().filter_map(|node| node.parsed(address, |text| text.parse().ok())).collect());
    if to.as_ref().is_some_and(Vec::is_empty) {
        section.problem("'to' is empty");
    }
    let smtp = section.optional("smtp").and_then(|node| smtp(node.section()?, folder));
    let directory = section.optional("directory").and_then(|node| Some(folder.join(node.text()?)));
    let transport = match (smtp, directory) {
        (Some(smtp), None) => Some(smtp),
        (None, Some(directory)) => Some(Transport::Directory(directory)),
        _ => {
            section.problem("needs either 'smtp' or 'directory'");
            None
        }
    };
    Some(TargetKind::Email { from: from?, to: to?, transport: transport? })
}

fn smtp(mut section: Section<'_>, folder: &Path) -> Option<Transport> {
    let host = section.required("host").and_then(|node| Some(node.text()?.to_owned()));
    let choices = [("starttls", SmtpTls::StartTls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
    let tls = section.optional("tls").and_then(|node| node.one_of(&choices)).unwrap_or(SmtpTls::StartTls);
    let usual_port = match tls {
        SmtpTls::StartTls => 587,
        SmtpTls::Implicit => 465,
        SmtpTls::None => 25,
    };
    let port = section.optional("port").and_then(|node| node.integer(1..=65_535)).unwrap_or(usual_port);
    let ca_file: Option<PathBuf> = section.optional("ca_file").and_then(|node| Some(folder.join(node.text()?)));
    let user = section.optional("user").and_then(|node| Some(node.text()?.to_owned()));
    let password = section.optional("password").and_then(|node| secret(&node, folder));
    if user.is_some() != password.is_some() {
        section.problem("'user' and 'password' go together");
    }
    if user.is_some() && tls == SmtpTls::None {
        section.problem("a password would cross the network in the clear; use tls: starttls");
    }
    Some(Transport::Smtp(Smtp { host: host?, port: port as u16, tls, ca_file, credentials: user.zip(password) }))
}
