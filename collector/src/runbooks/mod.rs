//! Runbooks: Markdown with a head. Those that ship are one for each shipped rule; a configuration adds its own from a folder,
//! and those of the same name take the place of ours.

pub(crate) mod briefing;
pub(crate) mod lint;
mod snippets;
pub(crate) mod steps;
pub(crate) mod values;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::config::Alerting;

/// More files of a folder than this are not read.
const MAX_FILES: usize = 1000;
/// A longer text is no runbook.
const MAX_BYTES: u64 = 1 << 20;
/// The file that says what a folder is; no runbook.
const README: &str = "README";

/// A runbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runbook {
    /// Its id: the file's name.
    pub(crate) id: Cow<'static, str>,
    /// The file's text.
    text: Cow<'static, str>,
    /// Whether it comes from the configuration's folder.
    is_own: bool,
}

macro_rules! runbooks {
    ($($id:literal),* $(,)?) => {
        /// Ids and texts of those that ship.
        const SHIPPED: &[(&str, &str)] = &[$(($id, include_str!(concat!("../../../runbooks/", $id, ".md")))),*];
    };
}

runbooks![
    "archive-lag",
    "availability-budget",
    "availability-slo",
    "capture-loss",
    "catalogue",
    "certificate-unreadable",
    "collector-down",
    "delivery-failure",
    "feature-drift",
    "first-message-slo",
    "late-outcomes",
    "late-rows",
    "latency-budget",
    "latency-slo",
    "limit-reached",
    "metadata-unreadable",
    "missing-values",
    "model-silent",
    "new-category",
    "new-change",
    "part-stalled",
    "prediction-drift",
    "reaction-failed",
    "room",
    "schema-change",
    "segment-drift",
    "senders-refused",
    "sidecar-silent",
    "stale-features",
    "stale-feed",
    "stale-watermark",
    "undecodable",
];

/// Ids of those that ship.
pub(crate) fn shipped_ids() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(id, _)| *id)
}

/// All that a collector has, by id.
#[derive(Debug, Clone)]
pub(crate) struct Runbooks(BTreeMap<Cow<'static, str>, Runbook>);

impl Runbooks {
    /// Those that ship.
    pub(crate) fn shipped() -> Self {
        let runbook = |(id, text): &(&'static str, &'static str)| {
            let (id, text) = (Cow::Borrowed(*id), Cow::Borrowed(*text));
            (id.clone(), Runbook { id, text, is_own: false })
        };
        Self(SHIPPED.iter().map(runbook).collect())
    }

    /// Those that ship and the configuration's. Every rule finds its own here, or it is an error.
    pub(crate) fn load(alerting: &Alerting) -> Result<Self, String> {
        let mut all = Self::shipped();
        if let Some(folder) = &alerting.runbooks {
            let own = read_folder(folder).map_err(|why| format!("alerts.runbooks: {}: {why}", folder.display()))?;
            all.0.extend(own.into_iter().map(|runbook| (runbook.id.clone(), runbook)));
        }
        match alerting.rules.iter().find(|rule| all.find(&rule.runbook).is_none()) {
            None => Ok(all),
            Some(rule) => Err(format!(
                "rule {}: there is no runbook '{}'; write {}.md into the folder of alerts.runbooks, or name one of {}",
                rule.name,
                rule.runbook,
                rule.runbook,
                all.0.keys().map(|id| &**id).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    /// The runbook of that id.
    pub(crate) fn find(&self, id: &str) -> Option<&Runbook> {
        self.0.get(id)
    }

    /// All of them, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Runbook> {
        self.0.values()
    }
}

fn read_folder(folder: &Path) -> Result<Vec<Runbook>, String> {
    let mut runbooks = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(id) = name.and_then(|name| name.strip_suffix(".md")).filter(|id| *id != README) else { continue };
        if !is_id(id) {
            return Err(format!("'{id}.md': {ID_FORM}"));
        }
        if runbooks.len() == MAX_FILES {
            return Err(format!("has more than {MAX_FILES} runbooks"));
        }
        let text = read_text(&path).map_err(|why| format!("{id}.md: {why}"))?;
        runbooks.push(Runbook { id: Cow::Owned(id.to_owned()), text: Cow::Owned(text), is_own: true });
    }
    Ok(runbooks)
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES { Err(format!("is longer than {MAX_BYTES} bytes")) } else { Ok(text) }
}

/// What an id looks like, in words.
pub(crate) const ID_FORM: &str = "a runbook's id is up to 100 small letters, digits and '-'";

/// Whether a command line of ours is one, without the program's name.
///
/// # Errors
/// The first line of what is wrong with it.
fn parses(command: &str) -> Result<(), String> {
    let words = words(command);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    crate::commands::parses(&words).map_err(|why| why.lines().next().unwrap_or_default().to_owned())
}

/// The words of a command as a shell takes them: quotes hold together, and what begins with `|`, `>`, `&` or `#` is not ours.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for char in command.chars().chain([' ']) {
        match (char, quote) {
            (char, Some(end)) if char == end => quote = None,
            (char, Some(_)) => word.get_or_insert_default().push(char),
            ('"' | '\'', None) => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            (char, None) => word.get_or_insert_default().push(char),
        }
    }
    let ours = words.iter().take_while(|word| !word.starts_with(['|', '>', '&', '#', ';']));
    ours.cloned().collect()
}

/// Whether a text may be a runbook's id: it stands in addresses and file names.
pub(crate) fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 100 && text.bytes().all(is_plain)
}

impl Runbook {
    /// The title: its first heading.
    pub(crate) fn title(&self) -> &str {
        self.body().lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(&self.id)
    }

    /// A field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let head = self.text.strip_prefix("---\n")?.split("\n---\n").next()?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The text after the head.
    pub(crate) fn body(&self) -> &str {
        let after_head = self.text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
        after_head.map_or(&*self.text, |(_, body)| body)
    }

    /// Whether it comes from the configuration's folder.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Lines of the head, so that a line of the body can be told by its number in the file.
    fn head_lines(&self) -> usize {
        self.text[..self.text.len() - self.body().len()].lines().count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_command_is_taken_apart_as_a_shell_does_it() {
        let taken = |text: &str| words(text).join("/");
        assert_eq!(taken("silence add --comment \"one cause\"  --for 1h"), "silence/add/--comment/one cause/--for/1h");
        assert_eq!(taken("compare a b --where \"origin = 'JFK'\" | head -3"), "compare/a/b/--where/origin = 'JFK'");
        assert_eq!(taken("x --empty '' # why"), "x/--empty/");
    }

    #[test]
    fn every_file_of_the_folder_ships() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks");
        let files: BTreeSet<String> =
            read_folder(&folder).unwrap().into_iter().map(|runbook| runbook.id.into_owned()).collect();
        assert_eq!(files, shipped_ids().map(str::to_owned).collect());
    }

    #[test]
    fn every_runbook_that_ships_ends_with_how_it_is_kept_true_and_has_no_place_that_nobody_filled_in() {
        for runbook in Runbooks::shipped().iter() {
            let after = runbook.body().split("\n## After\n").nth(1).unwrap();
            assert!(after.contains("`tested:"), "{}: {after}", runbook.id);
            let left =
                runbook.body().lines().find(|line| line.len() > 1 && line.starts_with('@') && line.ends_with('@'));
            assert_eq!(left, None, "{}", runbook.id);
        }
    }

    #[test]
    fn every_shipped_rule_has_its_runbook_and_every_runbook_its_rule() {
        let config = Config::parse("", "", Path::new("")).unwrap();
        let used: BTreeSet<&str> = config.alerting.rules.iter().map(|rule| rule.runbook.as_str()).collect();
        assert_eq!(used, shipped_ids().collect());
        let shipped = Runbooks::shipped();
        for rule in &config.alerting.rules {
            let runbook = shipped.find(&rule.runbook).unwrap();
            let said = runbook.field("rule").unwrap_or_default();
            assert!(said.split(", ").any(|said| said == rule.name), "{}: {said}", runbook.id);
            let severities = runbook.field("severity").unwrap_or_default();
            assert!(severities.split(", ").any(|said| said == rule.severity.name()), "{}: {severities}", runbook.id);
        }
    }

    #[test]
    fn a_folder_adds_runbooks_and_replaces_ours_and_a_rule_without_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("feature-drift.md", "---\nid: feature-drift\n---\n# Ours\n");
        write("checkout-latency.md", "---\nid: checkout-latency\n---\n# Slow\n");
        write("README.md", "what this is");
        let rule =
            "- {name: Own, severity: info, runbook: checkout-latency, when: {sli: latency, below: 0.9, over: 5m}}";
        let config = |rule: &str| {
            let yaml = format!("alerts:\n  runbooks: {}\n  rules:\n    {rule}\n", folder.path().display());
            Config::parse("c.yaml", &yaml, Path::new("")).unwrap().alerting
        };
        let all = Runbooks::load(&config(rule)).unwrap();
        assert_eq!(all.find("feature-drift").unwrap().title(), "Ours");
        assert_eq!(all.find("checkout-latency").unwrap().title(), "Slow");
        assert!(all.find("README").is_none() && all.find("latency-slo").is_some());

        let refused = Runbooks::load(&config(&rule.replace("checkout-latency", "checkout"))).unwrap_err();
        assert!(refused.starts_with("rule Own: there is no runbook 'checkout'; write checkout.md into"), "{refused}");
        write("Not An Id.md", "");
        let refused = Runbooks::load(&config(rule)).unwrap_err();
        assert!(refused.contains("'Not An Id.md': a runbook's id is"), "{refused}");
        std::fs::remove_file(folder.path().join("Not An Id.md")).unwrap();
        write("long.md", &"x".repeat(MAX_BYTES as usize + 1));
        assert!(Runbooks::load(&config(rule)).unwrap_err().contains("long.md: is longer than"));
    }
}
