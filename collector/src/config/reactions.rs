//! What the configuration says of reactions: what is started because of which alerts, and what must hold first.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use driftline_alerts::{AirflowLogin, AirflowVersion, Approval, GitHubDispatch, Reaction, SecretSource};
use driftline_document::{Node, Section};

use super::alerting::secret;
use super::maintenance::matchers;

/// Reactions that there may be: each is held against every alert that fires.
const MAX_REACTIONS: usize = 100;
/// Rules that say that the data is wrong. What is trained on such data learns what is wrong with it.
const DATA_QUALITY: [&str; 4] = ["MissingValues", "SchemaChange", "StaleFeatures", "CaptureLoss"];

const DAY: Duration = Duration::from_secs(86_400);
/// Drift of six hours is no odd window any more, and no model is ruined by six hours of it.
const DEFAULT_AFTER: Duration = Duration::from_secs(6 * 3600);
const AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
const COOLDOWN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(90 * 86_400);
/// Long enough for a weekday's evening and morning.
const DEFAULT_WITHIN: Duration = Duration::from_secs(48 * 3600);
const WITHIN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// A reaction as it is configured.
#[derive(Debug, Clone)]
pub struct ReactionConfig {
    /// When.
    pub reaction: Reaction,
    /// What it starts.
    pub starter: StarterKind,
}

/// What a reaction starts.
#[derive(Debug, Clone)]
pub enum StarterKind {
    /// A DAG of Airflow's.
    Airflow {
        /// Where Airflow is.
        url: String,
        /// The DAG's id.
        dag: String,
        /// Which API it has.
        version: AirflowVersion,
        /// How it knows us.
        login: AirflowLogin,
    },
    /// Workflows of a repository on GitHub.
    GitHub {
        /// Where its API is.
        url: String,
        /// Owner and name.
        repository: String,
        /// The type of the event that workflows listen for.
        event_type: String,
        /// A token that may write contents.
        token: SecretSource,
    },
    /// A job of Databricks'.
    Databricks {
        /// The workspace's address.
        url: String,
        /// The job's number.
        job: u64,
        /// The job's parameter that is told why.
        parameter: Option<String>,
        /// A token that may run it.
        token: SecretSource,
    },
    /// Anything that takes CloudEvents.
    Webhook {
        /// Its address.
        url: SecretSource,
        /// A token that it asks for.
        token: Option<SecretSource>,
        /// By which requests are signed.
        signing_key: Option<SecretSource>,
    },
}

impl StarterKind {
    /// The secrets that it needs, each with what it is.
    pub(crate) fn secrets(&self) -> Vec<(&'static str, &SecretSource)> {
        match self {
            Self::Airflow { login: AirflowLogin::Token(token), .. }
            | Self::GitHub { token, .. }
            | Self::Databricks { token, .. } => vec![("token", token)],
            Self::Airflow { login: AirflowLogin::User(_, password), .. } => vec![("password", password)],
            Self::Webhook { url, token, signing_key } => {
                let token = token.iter().map(|token| ("token", token));
                let key = signing_key.iter().map(|key| ("signing key", key));
                std::iter::once(("address", url)).chain(token).chain(key).collect()
            }
        }
    }
}

/// The reactions of a section. `rules` are the names of all rules, and `evaluated` is how often indicators are looked at.
pub(super) fn reactions(
    entries: Vec<(String, Node<'_>)>,
    rules: &[&str],
    evaluated: Duration,
    folder: &Path,
) -> Vec<ReactionConfig> {
    if let Some((_, surplus)) = entries.get(MAX_REACTIONS) {
        surplus.problem(format!("there are {} reactions; allowed are {MAX_REACTIONS}", entries.len()));
    }
    entries.into_iter().filter_map(|(name, node)| reaction(name, &node, (rules, evaluated), folder)).collect()
}

fn reaction(
    name: String,
    node: &Node<'_>,
    (rules, evaluated): (&[&str], Duration),
    folder: &Path,
) -> Option<ReactionConfig> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.len() > 50 || !name.bytes().all(plain) {
        node.problem("a reaction's name is up to 50 letters, digits, '-' and '_'");
    }
    let mut section = node.section()?;
    let when = section.required("when").and_then(|node| {
        let when = matchers(&node)?;
        let named = when.iter().find(|(label, _)| *label == "rule").map(|(_, pattern)| pattern);
        if named.is_some_and(|pattern| !rules.iter().any(|rule| pattern.matches(rule))) {
            node.problem(format!("no rule is called that; there are {}", rules.join(", ")));
        }
        Some(when)
    });
    let after = section.optional("after").and_then(|node| {
        let after = node.duration(AFTER)?;
        if after < evaluated {
            node.problem("is shorter than evaluation_interval: whether the data is right would not be known yet");
        }
        Some(after)
    });
    let after = after.unwrap_or(DEFAULT_AFTER);
    let unless = section.optional("unless").and_then(|node| node.list());
    let unless = unless.map_or(DATA_QUALITY.map(str::to_owned).to_vec(), |nodes| {
        let name = |node: &Node<'_>| {
            node.parsed(&format!("the name of a rule: {}", rules.join(", ")), |text| {
                rules.contains(&text).then(|| text.to_owned())
            })
        };
        nodes.iter().filter_map(name).collect()
    });
    let cooldown = section.optional("cooldown").and_then(|node| node.duration(COOLDOWN)).unwrap_or(DAY);
    let at_most = section.optional("at_most").and_then(|node| node.integer(1..=24)).unwrap_or(1) as u32;
    let approval = section.optional("approval").map(|node| approval(node.section()?, folder));
    let approval = approval.unwrap_or(Some(Some(Approval { signing_key: None, within: DEFAULT_WITHIN })));
    let starter = starter(section, folder);
    let reaction = Reaction { name, when: when?, after, unless, cooldown, at_most, approval: approval? };
    Some(ReactionConfig { reaction, starter: starter? })
}

/// How somebody is asked; none inside when nobody is.
fn approval(mut section: Section<'_>, folder: &Path) -> Option<Option<Approval>> {
    let required = section.optional("required").map_or(Some(true), |node| node.boolean());
    let signing_key = section.optional("signing_key").map(|node| secret(&node, folder));
    let within = section.optional("within").and_then(|node| node.duration(WITHIN)).unwrap_or(DEFAULT_WITHIN);
    match (required?, signing_key) {
        (true, None) => Some(Some(Approval { signing_key: None, within })),
        (true, Some(key)) => Some(Some(Approval { signing_key: Some(key?), within })),
        (false, None) => Some(None),
        (false, Some(_)) => {
            section.problem("'signing_key' is for links that approve, and no approval is required");
            None
        }
    }
}

fn starter(mut section: Section<'_>, folder: &Path) -> Option<StarterKind> {
    type Read = fn(Section<'_>, &Path) -> Option<StarterKind>;
    const KINDS: [(&str, Read); 4] =
        [("airflow", airflow), ("github", github), ("databricks", databricks), ("webhook", webhook)];
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

fn airflow(mut section: Section<'_>, folder: &Path) -> Option<StarterKind> {
    let url = section.required("url").and_then(|node| address(&node));
    let dag = section.required("dag").and_then(|node| {
        node.parsed("a DAG's id: up to 250 letters, digits, '-', '_' and '.'", |text| plain(text, 250))
    });
    let version = section.required("version").and_then(|node| {
        node.parsed("2 or 3", |text| match text {
            "2" => Some(AirflowVersion::Two),
            "3" => Some(AirflowVersion::Three),
            _ => None,
        })
    });
    let token = section.optional("token").map(|node| secret(&node, folder));
    let user = section.optional("user").map(|node| Some(node.text()?.to_owned()));
    let password = section.optional("password").map(|node| secret(&node, folder));
    let login = match (token, user, password) {
        (Some(token), None, None) => token.map(AirflowLogin::Token),
        (None, Some(user), Some(password)) => user.zip(password).map(|(user, word)| AirflowLogin::User(user, word)),
        _ => {
            section.problem("needs either 'token', or 'user' and 'password'");
            None
        }
    };
    Some(StarterKind::Airflow { url: url?, dag: dag?, version: version?, login: login? })
}

fn github(mut section: Section<'_>, folder: &Path) -> Option<StarterKind> {
    let url = section.optional("url").map_or(Some("https://api.github.com".to_owned()), |node| address(&node));
    let repository = section.required("repository").and_then(|node| {
        node.parsed("an owner and a name, as in acme/models", |text| {
            let (owner, name) = text.split_once('/')?;
            plain(owner, 100).and(plain(name, 100)).map(|_| text.to_owned())
        })
    });
    let event_type = section.required("event_type").and_then(|node| {
        let most = GitHubDispatch::MAX_EVENT_TYPE;
        node.parsed(&format!("a text of up to {most} characters"), |text| {
            (!text.is_empty() && text.chars().count() <= most).then(|| text.to_owned())
        })
    });
    let token = section.required("token").and_then(|node| secret(&node, folder));
    Some(StarterKind::GitHub { url: url?, repository: repository?, event_type: event_type?, token: token? })
}

fn databricks(mut section: Section<'_>, folder: &Path) -> Option<StarterKind> {
    let url = section.required("url").and_then(|node| address(&node));
    let job = section.required("job").and_then(|node| node.integer(1..=i64::MAX as u64));
    let parameter = section.optional("parameter").map(|node| {
        node.parsed("a parameter's name: up to 100 letters, digits, '-', '_' and '.'", |text| plain(text, 100))
    });
    let token = section.required("token").and_then(|node| secret(&node, folder));
    let parameter = match parameter {
        None => None,
        Some(read) => Some(read?),
    };
    Some(StarterKind::Databricks { url: url?, job: job?, parameter, token: token? })
}

fn webhook(mut section: Section<'_>, folder: &Path) -> Option<StarterKind> {
    let url = section.required("url").and_then(|node| secret(&node, folder));
    let token = section.optional("token").and_then(|node| secret(&node, folder));
    let signing_key = section.optional("signing_key").and_then(|node| secret(&node, folder));
    Some(StarterKind::Webhook { url: url?, token, signing_key })
}

fn address(node: &Node<'_>) -> Option<String> {
    node.parsed("a URL with http:// or https://", |text| {
        (text.starts_with("http://") || text.starts_with("https://")).then(|| text.to_owned())
    })
}

/// A name that stands in an address as it is.
fn plain(text: &str, most: usize) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = !text.is_empty() && text.len() <= most && !matches!(text, "." | "..");
    (is_name && text.bytes().all(is_plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn parse(reaction: &str) -> Result<ReactionConfig, String> {
        let text = format!("alerts:\n  reactions:\n    retrain:\n      {reaction}\n");
        let config = parsed(&text)?;
        Ok(config.alerting.reactions[0].clone())
    }

    #[test]
    fn nothing_is_started_unless_it_is_configured_and_then_somebody_is_asked_first() {
        let nothing = parsed("").unwrap();
        assert!(nothing.alerting.reactions.is_empty());
        let read = parse("{when: {rule: FeatureDrift}, webhook: {url: {env: HOOK}}}").unwrap();
        let Reaction { after, unless, cooldown, at_most, approval, .. } = read.reaction;
        assert_eq!((after, cooldown, at_most), (DEFAULT_AFTER, DAY, 1));
        assert_eq!(unless, DATA_QUALITY);
        assert_eq!(approval, Some(Approval { signing_key: None, within: DEFAULT_WITHIN }));
        let free = parse("{when: {rule: '*'}, approval: {required: false}, webhook: {url: {env: HOOK}}}").unwrap();
        assert_eq!(free.reaction.approval, None);
    }

    #[test]
    fn rules_of_data_quality_are_rules_that_ship() {
        let rules = parsed("").unwrap().alerting.rules;
        for name in DATA_QUALITY {
            assert!(rules.iter().any(|rule| rule.name == name), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_reaction_is_said_with_its_line() {
        let hook = "webhook: {url: {env: HOOK}}";
        for (reaction, says) in [
            (format!("{{{hook}}}"), "when: is missing"),
            (format!("{{when: {{rule: FeatureDrif}}, {hook}}}"), "no rule is called that"),
            (format!("{{when: {{rule: '*'}}, unless: [Nothing], {hook}}}"), "the name of a rule"),
            (format!("{{when: {{rule: '*'}}, at_most: 0, {hook}}}"), "from 1 to 24"),
            (format!("{{when: {{rule: '*'}}, after: 0s, {hook}}}"), "a duration from 1s"),
            (format!("{{when: {{rule: '*'}}, after: 5s, {hook}}}"), "shorter than evaluation_interval"),
            (
                format!("{{when: {{rule: '*'}}, approval: {{required: false, signing_key: {{env: A}}}}, {hook}}}"),
                "no approval is required",
            ),
            ("{when: {rule: '*'}}".to_owned(), "needs one of airflow, github, databricks, webhook"),
            (format!("{{when: {{rule: '*'}}, {hook}, databricks: {{}}}}"), "needs one of"),
            (
                "{when: {rule: '*'}, airflow: {url: 'http://a', dag: a/b, version: 4, user: u}}".to_owned(),
                "allowed is a DAG's id",
            ),
            ("{when: {rule: '*'}, airflow: {url: 'http://a', dag: d, version: 4, user: u}}".to_owned(), "2 or 3"),
            ("{when: {rule: '*'}, airflow: {url: 'http://a', dag: d, version: 3, user: u}}".to_owned(), "'password'"),
            (
                "{when: {rule: '*'}, github: {repository: acme, event_type: t, token: {env: T}}}".to_owned(),
                "an owner and a name",
            ),
            ("{when: {rule: '*'}, github: {repository: a/b, event_type: t, token: abc}}".to_owned(), "does not belong"),
        ] {
            let error = parse(&reaction).unwrap_err();
            assert!(error.contains("d.yaml:") && error.contains(says), "{reaction}: {error}");
        }
    }
}
