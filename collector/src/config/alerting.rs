//! What the configuration says of alerts: the shipped rules and the user's own, what is silent when, and whom to tell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_alerts::{Action, Maintenance, Routes, Rule, SecretSource};
use driftline_document::{Node, Section};

use super::models::Model;
use super::reactions::{ReactionConfig, reactions};
use super::recovery::{DEFAULT_FLAPPING, read_flapping};
use super::rules::{REPEATS, ReadRule, check_causes, check_reach, rules, shipped_rules};
use super::targets::{TargetConfig, target};
use super::wording::template;
use super::{maintenance, routes};
use crate::alerting::dashboard::{self, Dashboard};
use crate::alerting::heartbeat;

/// Rules and targets.
#[derive(Debug, Clone)]
pub struct Alerting {
    /// The rules that are evaluated.
    pub rules: Vec<Rule>,
    /// The targets by name.
    pub targets: BTreeMap<String, TargetConfig>,
    /// Who is told by rules that name no targets.
    pub routes: Routes,
    /// How often indicators are looked at. Scores are looked at when their window closes.
    pub evaluation_interval: Duration,
    /// When nothing is said of some alerts but their end.
    pub maintenance: Vec<Maintenance>,
    /// What is started because of some alerts.
    pub reactions: Vec<ReactionConfig>,
    /// Who is told that there is somebody who would tell.
    pub heartbeat: Option<Heartbeat>,
    /// The folder with runbooks besides those that ship.
    pub runbooks: Option<PathBuf>,
    /// Where the owner's dashboard shows what an alert is about.
    pub dashboard: Option<Dashboard>,
}

impl Alerting {
    /// The names of the targets that are told of this.
    pub(crate) fn hearers(&self, action: Action) -> Vec<String> {
        let hearers = self.targets.iter().filter(|(_, target)| target.kind.hears_of(action));
        hearers.map(|(name, _)| name.clone()).collect()
    }

    /// Whether a rule tells all targets that there are, or will be, or those that the routes choose.
    pub(crate) fn tells_everyone(&self, rule: &Rule) -> bool {
        self.targets.is_empty() || self.routes.routed.contains(&rule.name)
    }
}

/// Where it is said, again and again, that this collector is alive.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The address, which is a secret.
    pub url: SecretSource,
    /// How often.
    pub every: Duration,
}

pub(super) fn alerting(section: Option<Section<'_>>, models: &[Model], folder: &Path) -> Alerting {
    let mut alerting = Alerting {
        rules: Vec::new(),
        targets: BTreeMap::new(),
        routes: Routes::default(),
        evaluation_interval: Duration::from_secs(15),
        maintenance: Vec::new(),
        reactions: Vec::new(),
        heartbeat: None,
        runbooks: None,
        dashboard: None,
    };
    let mut own = Vec::new();
    let mut repeat = None;
    let mut flapping = Some(DEFAULT_FLAPPING);
    let mut routes_at = None;
    let mut reacting = Vec::new();
    if let Some(mut section) = section {
        let targets = section.optional("targets").and_then(|node| node.entries()).unwrap_or_default();
        for (_, node) in targets.iter().filter(|(name, _)| name == heartbeat::NAME) {
            node.problem("no target has this name: signs of life are counted under it");
        }
        alerting.targets =
            targets.into_iter().filter_map(|(name, node)| Some((name, target(&node, folder)?))).collect();
        let interval = section.optional("evaluation_interval");
        let interval = interval.and_then(|node| node.duration(Duration::from_millis(100)..=Duration::from_secs(3600)));
        alerting.evaluation_interval = interval.unwrap_or(alerting.evaluation_interval);
        alerting.heartbeat = section.optional("heartbeat").and_then(|node| read_heartbeat(node.section()?, folder));
        let windows = section.optional("maintenance").and_then(|node| node.list()).unwrap_or_default();
        alerting.maintenance = maintenance::windows(windows);
        repeat = section.optional("repeat").and_then(|node| node.duration(REPEATS));
        alerting.runbooks = section.optional("runbooks").and_then(|node| Some(folder.join(node.text()?)));
        let links = section.optional("links").and_then(|node| node.section());
        alerting.dashboard = links.and_then(|mut links| dashboard(&links.optional("dashboard")?));
        if let Some(node) = section.optional("flapping") {
            flapping = read_flapping(&node);
        }
        if let Some(node) = section.optional("schedules") {
            alerting.routes.schedules = routes::schedules(&node);
        }
        routes_at = section.optional("routes");
        if let Some(node) = &routes_at {
            alerting.routes.routes = routes::routes(node, &alerting.targets, &alerting.routes.schedules);
        }
        let nodes = section.optional("rules").and_then(|node| node.list()).unwrap_or_default();
        own = rules(nodes, Some(&alerting));
        reacting = section.optional("reactions").and_then(|node| node.entries()).unwrap_or_default();
    }
    let everyone: Vec<String> = alerting.targets.keys().cloned().collect();
    let is_replaced = |shipped: &ReadRule<'_>| own.iter().any(|rule| rule.name == shipped.name);
    let mut rules: Vec<ReadRule<'_>> = shipped_rules().into_iter().filter(|shipped| !is_replaced(shipped)).collect();
    rules.extend(own);
    check_causes(&rules);
    check_reach(&rules, models);
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    alerting.reactions = reactions(reacting, &names, alerting.evaluation_interval, folder);
    alerting.rules = rules
        .into_iter()
        .filter_map(|read| {
            let mut rule = read.rule?;
            if read.everyone && alerting.routes.routes.is_empty() {
                rule.targets.clone_from(&everyone);
            } else if read.everyone {
                alerting.routes.routed.insert(rule.name.clone());
            }
            rule.repeat = read.repeat.unwrap_or(repeat);
            // Scores have their k of m, and windows that were waited for close in seconds.
            rule.recovery.flapping = flapping.filter(|_| !rule.condition.is_of_windows());
            Some(rule)
        })
        .collect();
    if let Some(node) = routes_at {
        routes::check_reach(&node, &alerting.routes, &alerting.rules);
    }
    alerting
}

fn read_heartbeat(mut section: Section<'_>, folder: &Path) -> Option<Heartbeat> {
    let url = section.required("url").and_then(|node| secret(&node, folder));
    let every = section.optional("every");
    let every = every.and_then(|node| node.duration(Duration::from_secs(1)..=Duration::from_secs(3600)));
    Some(Heartbeat { url: url?, every: every.unwrap_or(Duration::from_secs(60)) })
}

/// The address of a dashboard, with names of its own.
fn dashboard(node: &Node<'_>) -> Option<Dashboard> {
    let address = template(node, &dashboard::NAMES)?;
    let allowed = "an address that begins with https:// or http://, and has no spaces outside of its {{ names }}";
    node.parsed(allowed, |text| {
        let plain = address.fill(usize::MAX, |_| "".into());
        let has_scheme = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
        (has_scheme && !plain.contains(|each: char| each.is_whitespace() || each.is_control())).then_some(())
    })?;
    Some(Dashboard::new(address))
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
    use crate::config::parsed;

    #[test]
    fn secrets_never_stand_in_the_file() {
        let error = parsed("alerts: {targets: {pd: {pagerduty: {routing_key: abc123}}}}").unwrap_err();
        assert!(error.contains("does not belong into this file"), "{error}");
        assert!(!error.contains("abc123"), "{error}");
    }
}
