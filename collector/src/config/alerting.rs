//! What the configuration says of alerts: the shipped rules, the user's own, and whom to tell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_alerts::{
    Condition, KofM, Labels, Mailbox, Objective, Pace, Rule, SecretSource, Severity, SlackWay, SmtpTls, Transport,
};
use driftline_detectors::{Detector, SEGMENT_DETECTORS};
use driftline_document::{Node, Section, read};

use crate::alerting::heartbeat;
use crate::pipeline::earlier::{Against, COMPARED};
use crate::runbooks;
use crate::segments::{segment_score, watched_score};

/// The rules that ship, in the format of the user's own.
const SHIPPED_RULES: &str = include_str!("shipped_rules.yaml");

/// Indicators that the collector counts of each model.
pub(crate) const SLIS: [&str; 4] = ["latency", "availability", "freshness", "capture"];
/// An indicator of the collector itself: of the times at which somebody looked, those at which the archive kept up.
pub(crate) const ARCHIVE_SLI: &str = "archive";

/// Rules and targets.
#[derive(Debug, Clone)]
pub struct Alerting {
    /// The rules that are evaluated.
    pub rules: Vec<Rule>,
    /// The targets by name.
    pub targets: BTreeMap<String, TargetConfig>,
    /// How often indicators are looked at. Scores are looked at when their window closes.
    pub evaluation_interval: Duration,
    /// Who is told that there is somebody who would tell.
    pub heartbeat: Option<Heartbeat>,
    /// The folder with runbooks besides those that ship.
    pub runbooks: Option<PathBuf>,
}

/// A target as it is configured.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// What it is.
    pub kind: TargetKind,
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

/// Where it is said, again and again, that this collector is alive.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The address, which is a secret.
    pub url: SecretSource,
    /// How often.
    pub every: Duration,
}

pub(super) fn alerting(section: Option<Section<'_>>, folder: &Path) -> Alerting {
    let mut alerting = Alerting {
        rules: Vec::new(),
        targets: BTreeMap::new(),
        evaluation_interval: Duration::from_secs(15),
        heartbeat: None,
        runbooks: None,
    };
    let mut own = Vec::new();
    if let Some(mut section) = section {
        let targets = section.optional("targets").and_then(|node| node.entries()).unwrap_or_default();
        for (_, node) in targets.iter().filter(|(name, _)| name == heartbeat::NAME) {
            node.problem("no target has this name: signs of life are counted under it");
        }
        alerting.targets = targets
            .into_iter()
            .filter_map(|(name, node)| Some((name, TargetConfig { kind: target(&node, folder)? })))
            .collect();
        let interval = section.optional("evaluation_interval");
        let interval = interval.and_then(|node| node.duration(Duration::from_millis(100)..=Duration::from_secs(3600)));
        alerting.evaluation_interval = interval.unwrap_or(alerting.evaluation_interval);
        alerting.heartbeat = section.optional("heartbeat").and_then(|node| read_heartbeat(node.section()?, folder));
        alerting.runbooks = section.optional("runbooks").and_then(|node| Some(folder.join(node.text()?)));
        let nodes = section.optional("rules").and_then(|node| node.list()).unwrap_or_default();
        own = rules(nodes, Some(&alerting));
    }
    let everyone: Vec<String> = alerting.targets.keys().cloned().collect();
    let is_replaced = |shipped: &ReadRule| own.iter().any(|rule| rule.name == shipped.name);
    let mut rules: Vec<ReadRule> = shipped_rules().into_iter().filter(|shipped| !is_replaced(shipped)).collect();
    rules.extend(own);
    alerting.rules = rules
        .into_iter()
        .filter_map(|read| {
            let mut rule = read.rule?;
            if read.everyone {
                rule.targets.clone_from(&everyone);
            }
            Some(rule)
        })
        .collect();
    alerting
}

/// A rule of the list, or the word that a shipped one is off.
struct ReadRule {
    name: String,
    rule: Option<Rule>,
    /// It names no targets: all of them are told.
    everyone: bool,
}

fn shipped_rules() -> Vec<ReadRule> {
    let shipped = read("shipped_rules.yaml", SHIPPED_RULES, |mut top| {
        rules(top.required("rules").and_then(|node| node.list()).unwrap_or_default(), None)
    });
    // They are part of the program, and a test reads them.
    shipped.result.unwrap_or_default()
}

/// The rules of a list; of `alerting`, which targets and runbooks they may name. Shipped ones are right by test.
fn rules(nodes: Vec<Node<'_>>, alerting: Option<&Alerting>) -> Vec<ReadRule> {
    let mut rules: Vec<ReadRule> = Vec::new();
    for node in nodes {
        let Some(section) = node.section() else { continue };
        let Some(rule) = rule(section, alerting) else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            node.problem(format!("there is another rule '{}'", rule.name));
        }
        rules.push(rule);
    }
    rules
}

fn rule(mut section: Section<'_>, alerting: Option<&Alerting>) -> Option<ReadRule> {
    let name = section.required("name").and_then(|node| {
        node.parsed("up to 100 letters, digits, '-' and '_'", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (!text.is_empty() && text.len() <= 100 && text.bytes().all(plain)).then(|| text.to_owned())
        })
    });
    let enabled = section.optional("enabled").and_then(|node| node.boolean()).unwrap_or(true);
    if !enabled {
        let rest = ["severity", "runbook", "when", "group_by", "targets"];
        rest.into_iter().for_each(|field| drop(section.optional(field)));
        return Some(ReadRule { name: name?, rule: None, everyone: false });
    }
    let severities = Severity::ALL.map(|severity| (severity.name(), severity));
    let severity = section.required("severity").and_then(|node| node.one_of(&severities));
    let runbook = section.required("runbook").and_then(|node| {
        if alerting.is_some_and(|alerting| alerting.runbooks.is_some()) {
            // Whether it is in the folder shows when that is read.
            return node.parsed(runbooks::ID_FORM, |text| runbooks::is_id(text).then(|| text.to_owned()));
        }
        let known: Vec<&str> = runbooks::shipped_ids().collect();
        let allowed =
            format!("the id of a runbook: {}; alerts.runbooks names a folder with your own", known.join(", "));
        node.parsed(&allowed, |text| known.contains(&text).then(|| text.to_owned()))
    });
    let when = section.required("when");
    let condition = when.as_ref().and_then(|node| condition(node.section()?));
    if let (Some(node), Some(Condition::Score { score, .. }), Some(Severity::Page)) = (&when, &condition, severity)
        && watched_score(score).1
    {
        node.problem(format!(
            "'{score}' is of segments, which no budget of false pages counts: nobody is woken by it; let it be a ticket, or watch the whole"
        ));
    }
    let group_by = section.optional("group_by").and_then(|node| node.list());
    let group_by = group_by.map(|names| names.iter().filter_map(|node| Some(node.text()?.to_owned())).collect());
    let named_targets = section.optional("targets").and_then(|node| node.list());
    let everyone = named_targets.is_none();
    let mut rule_targets = Vec::new();
    for node in named_targets.unwrap_or_default() {
        let Some(target) = node.text() else { continue };
        match alerting {
            Some(alerting) if !alerting.targets.contains_key(target) => {
                let known: Vec<&str> = alerting.targets.keys().map(String::as_str).collect();
                node.problem(format!("'{target}' is no target; under alerts.targets are: {}", known.join(", ")));
            }
            _ => rule_targets.push(target.to_owned()),
        }
    }
    let name = name?;
    let rule = Rule {
        name: name.clone(),
        severity: severity?,
        runbook: runbook?,
        condition: condition?,
        group_by: group_by.unwrap_or_else(|| vec!["model".to_owned()]),
        targets: rule_targets,
    };
    Some(ReadRule { name, rule: Some(rule), everyone })
}

fn condition(mut section: Section<'_>) -> Option<Condition> {
    let score = section.optional("score");
    let sli = section.optional("sli");
    let matching = section.optional("matching").and_then(|node| node.entries()).unwrap_or_default();
    let matching = matching.into_iter().filter_map(|(name, node)| Some((name, node.text()?.to_owned()))).collect();
    match (score, sli) {
        (Some(score), None) => {
            let names = score_names();
            let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
            let score = score.one_of(&names)?.to_owned();
            let above = section.optional("above").and_then(|node| node.number(0.0..=1e9));
            let windows = section.optional("windows").and_then(|node| node.parsed("'k of m', as in 2 of 3", k_of_m));
            let windows = windows.or(KofM::new(1, 1))?;
            Some(Condition::Score { score, matching, above, windows })
        }
        (None, Some(sli)) => {
            let names: Vec<(&str, &str)> = SLIS.into_iter().chain([ARCHIVE_SLI]).map(|name| (name, name)).collect();
            let sli = sli.one_of(&names)?.to_owned();
            if let Some(objective) = section.optional("objective") {
                return budget(section, objective, sli, matching);
            }
            let below = section.required("below").and_then(|node| node.number(0.0..=1.0));
            let hour = Duration::from_secs(3600);
            let over = section.optional("over").and_then(|node| node.duration(Duration::from_secs(10)..=24 * hour));
            let min_events = section.optional("min_events").and_then(|node| node.integer(1..=1_000_000_000));
            Some(Condition::Sli {
                sli,
                matching,
                below: below?,
                over: over.unwrap_or(Duration::from_secs(300)),
                // One bad request among a few is no reason to wake anybody.
                min_events: min_events.unwrap_or(100),
            })
        }
        _ => {
            section.problem("needs either 'score' or 'sli'");
            None
        }
    }
}

/// What rules may look at: scores against the reference, those of segments, and those beside earlier windows.
fn score_names() -> Vec<String> {
    let beside = |against: Against| COMPARED.map(|detector| against.score_name(detector));
    let all = Detector::ALL.map(|detector| detector.name().to_owned()).into_iter();
    all.chain(SEGMENT_DETECTORS.into_iter().map(segment_score))
        .chain(Against::ALL.into_iter().flat_map(beside))
        .collect()
}

/// A condition on an error budget. One that can never be met is a problem, not a silence.
fn budget(mut section: Section<'_>, target: Node<'_>, sli: String, matching: Labels) -> Option<Condition> {
    let period = section
        .optional("over")
        .map_or(Some(Duration::from_secs(30 * 86_400)), |node| node.duration(Objective::PERIODS));
    let paces = [("fast", Pace::Fast), ("slow", Pace::Slow)];
    let pace = section.required("burns").and_then(|node| node.one_of(&paces));
    let objective =
        target.number(0.5..=0.999_999).zip(period).and_then(|(target, period)| Objective::new(target, period))?;
    let pace = pace?;
    if objective.pairs(pace).is_empty() {
        target.problem(format!(
            "can never fire: an outage burns {:.1} times as fast as the objective allows, and every rate of this pace is higher",
            objective.highest_rate()
        ));
        return None;
    }
    Some(Condition::Budget { sli, matching, objective, pace })
}

fn k_of_m(text: &str) -> Option<KofM> {
    let (k, m) = text.split_once(" of ")?;
    KofM::new(k.trim().parse().ok()?, m.trim().parse().ok()?)
}

fn target(node: &Node<'_>, folder: &Path) -> Option<TargetKind> {
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
    let mut named: Vec<(Node<'_>, Read)> =
        KINDS.into_iter().filter_map(|(name, read)| Some((section.optional(name)?, read))).collect();
    match (named.pop(), named.is_empty()) {
        (Some((node, read)), true) => read(node.section()?, folder),
        _ => {
            section.problem(format!("needs one of {}", KINDS.map(|(name, _)| name).join(", ")));
            None
        }
    }
}

fn text(node: Option<Node<'_>>) -> Option<String> {
    node.and_then(|node| Some(node.text()?.to_owned()))
}

fn pagerduty(mut section: Section<'_>, folder: &Path) -> Option<TargetKind> {
    let url = text(section.optional("url"));
    let routing_key = section.required("routing_key").and_then(|node| secret(&node, folder));
    Some(TargetKind::PagerDuty { url, routing_key: routing_key? })
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
    Some(TargetKind::Alertmanager { urls })
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

fn read_heartbeat(mut section: Section<'_>, folder: &Path) -> Option<Heartbeat> {
    let url = section.required("url").and_then(|node| secret(&node, folder));
    let every = section.optional("every");
    let every = every.and_then(|node| node.duration(Duration::from_secs(1)..=Duration::from_secs(3600)));
    Some(Heartbeat { url: url?, every: every.unwrap_or(Duration::from_secs(60)) })
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
    Some(Transport::Smtp { host: host?, port: port as u16, tls, ca_file, credentials: user.zip(password) })
}

/// Where a secret is kept: `{env: NAME}` or `{file: /path}`. One that stands in the file itself is refused.
pub(super) fn secret(node: &Node<'_>, folder: &Path) -> Option<SecretSource> {
    if !node.is_section() {
        // The usual message would quote it.
        node.problem("a secret does not belong into this file; write {env: NAME} or {file: /path}");
        return None;
    }
    let entries = node.entries()?;
    match entries.as_slice() {
        [(kind, value)] if kind == "env" => Some(SecretSource::Environment(value.text()?.to_owned())),
        [(kind, value)] if kind == "file" => Some(SecretSource::File(folder.join(value.text()?))),
        _ => {
            node.problem("needs {env: NAME} or {file: /path}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse("d.yaml", text, Path::new("/")).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_shipped_rules_are_right() {
        let read = read("shipped_rules.yaml", SHIPPED_RULES, |mut top| {
            rules(top.required("rules").and_then(|node| node.list()).unwrap_or_default(), None).len()
        });
        assert!(read.result.unwrap_or_else(|problems| panic!("{problems}")) >= 5);
    }

    #[test]
    fn own_rules_replace_shipped_ones_by_name_and_shipped_ones_tell_everyone() {
        let config = parse(
            "alerts:\n  targets:\n    mail: {email: {from: a@example.com, to: [b@example.com], directory: out}}\n  rules:\n    - {name: LatencySlo, enabled: false}\n    - name: FeatureDrift\n      severity: page\n      runbook: feature-drift\n      when: {score: ks, above: 0.3, windows: 3 of 4}\n      targets: []\n",
        )
        .unwrap();
        let rule = |name: &str| config.alerting.rules.iter().find(|rule| rule.name == name);
        assert!(rule("LatencySlo").is_none());
        assert_eq!(
            (rule("FeatureDrift").unwrap().severity, rule("FeatureDrift").unwrap().targets.len()),
            (Severity::Page, 0)
        );
        assert_eq!(rule("PredictionDrift").unwrap().targets, ["mail"]);
    }

    #[test]
    fn secrets_never_stand_in_the_file() {
        let error = parse("alerts: {targets: {pd: {pagerduty: {routing_key: abc123}}}}").unwrap_err();
        assert!(error.contains("does not belong into this file"), "{error}");
        assert!(!error.contains("abc123"), "{error}");
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        for (rule, says) in [
            ("{name: A, severity: page, runbook: nope, when: {sli: latency, below: 0.9}}", "the id of a runbook"),
            ("{name: A, severity: page, runbook: latency-slo, when: {sli: speed, below: 0.9}}", "one of latency"),
            ("{name: A, severity: page, runbook: latency-slo, when: {sli: latency, below: 99}}", "from 0 to 1"),
            ("{name: A, severity: page, runbook: feature-drift, when: {score: psi, windows: 3 of 2}}", "k of m"),
            ("{name: A, severity: page, runbook: feature-drift, when: {above: 3}}", "either 'score' or 'sli'"),
            ("{name: A, severity: page, runbook: feature-drift, when: {score: psi}, targets: [x]}", "is no target"),
        ] {
            let error = parse(&format!("alerts: {{rules: [{rule}]}}")).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
