//! The rules' file: YAML, read whole and checked whole.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_document::{Node, Problems, Section};
use driftline_protocol::ModelProtocol;
use sha2::{Digest, Sha256};

use super::key::{HmacKey, KeySource};
use super::path::PathPattern;
use super::redact::{Action, MAX_POINTERS, Policy};
use super::sample::{MAX_KEEP_ONE_IN, Sampling};
use super::{Bodies, OwnRoute, Rules};
use driftline_tls::WatchedFiles;

/// Each request is compared with every route, so there is a bound.
const MAX_ROUTES: usize = 100;
const MAX_FIELDS: usize = 1000;
const MAX_FIELD_BYTES: usize = 256;
/// Besides the built-in ones; an exchange carries sixteen of each side at most.
const MAX_HEADERS: usize = 10;
/// Longest file: rules of the allowed size fit many times.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Headers that are credentials. Nobody needs them in an archive.
const CREDENTIALS: [&str; 6] =
    ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "x-amz-security-token"];

/// Where the rules are.
#[derive(Debug, Clone)]
pub(crate) struct RulesFile {
    pub(crate) path: PathBuf,
}

/// What tells one text of rules from another: the first six bytes of its SHA-256. The key has no part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) i64);

/// A file's rules, and what they were made from.
pub(crate) struct Loaded {
    pub(super) rules: Rules,
    pub(super) fingerprint: Fingerprint,
    /// The file itself, and the key's.
    pub(super) files: WatchedFiles,
}

impl RulesFile {
    /// Reads and checks the file, and reads the key that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(&self) -> Result<Loaded, Problems> {
        let file = self.path.display().to_string();
        let mut files = WatchedFiles::default();
        files.watch(&self.path);
        let text = self
            .text()
            .map_err(|error| Problems::unreadable(&file, &error, "give the path of a YAML file with --rules"))?;
        let hash = Sha256::digest(text.as_bytes());
        let fingerprint = Fingerprint(hash.iter().take(6).fold(0, |number, byte| number << 8 | i64::from(*byte)));
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let rules = driftline_document::read(&file, &text, |top| build(top, folder, &mut files)).result?;
        Ok(Loaded { rules, fingerprint, files })
    }

    fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        File::open(&self.path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("it is longer than {MAX_FILE_BYTES} bytes")));
        }
        Ok(text)
    }
}

/// Checks a file's text. Relative paths in it are taken from the folder.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn parse(file: &str, text: &str, folder: &Path) -> Result<Rules, Problems> {
    driftline_document::read(file, text, |top| build(top, folder, &mut WatchedFiles::default())).result
}

fn build(mut top: Section<'_>, folder: &Path, files: &mut WatchedFiles) -> Rules {
    let default = Rules::default();
    let routes = top.optional("routes").and_then(|node| bounded_list(&node, MAX_ROUTES)).unwrap_or_default();
    let routes = routes.iter().filter_map(route).collect();
    let defaults = top.optional("defaults").and_then(|node| node.boolean()).unwrap_or(default.defaults);
    let sample = top.optional("sample").and_then(|node| node.section());
    let sampling = sample.map_or(default.sampling, sampling);
    let mut headers = top.optional("headers").and_then(|node| node.section());
    let kept = headers.as_mut().and_then(|headers| headers.optional("keep"));
    let kept = kept.and_then(|node| bounded_list(&node, MAX_HEADERS)).unwrap_or_default();
    let kept_headers = kept.iter().filter_map(header).collect();
    let bodies = top
        .optional("bodies")
        .and_then(|node| node.one_of(&[("redacted", Bodies::Redacted), ("never", Bodies::Never)]))
        .unwrap_or(default.bodies);
    let redaction = top.optional("redaction").and_then(|node| node.section());
    let policy = redaction.map_or(default.policy, |section| policy(section, folder, files));
    Rules { routes, defaults, sampling, kept_headers, bodies, policy }
}

fn bounded_list<'a>(node: &Node<'a>, most: usize) -> Option<Vec<Node<'a>>> {
    let list = node.list()?;
    if list.len() > most {
        node.problem(format!("{} are too many; allowed are up to {most}", list.len()));
    }
    Some(list)
}

fn route(node: &Node<'_>) -> Option<OwnRoute> {
    let mut section = node.section()?;
    let method = section.optional("method").and_then(|node| {
        node.parsed("a method in capitals, as in POST", |text| {
            (!text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_uppercase()))
                .then(|| text.to_owned())
        })
    });
    let path = section.required("path").and_then(|node| node.parsed(PathPattern::ALLOWED, PathPattern::parse));
    let protocols = ModelProtocol::ALL.map(|protocol| (protocol.name(), protocol));
    let protocol = section.optional("protocol").and_then(|node| node.one_of(&protocols));
    let capture = section.optional("capture").and_then(|node| node.boolean()).unwrap_or(true);
    let mut sample = section.optional("sample").and_then(|node| node.section());
    let keep_one_in = sample.as_mut().and_then(keep_one_in);
    if !capture && (protocol.is_some() || sample.is_some()) {
        section.problem("says how to capture what it does not; leave out protocol and sample, or capture: false");
    }
    Some(OwnRoute { method: method.unwrap_or_else(|| "POST".to_owned()), path: path?, capture, protocol, keep_one_in })
}

fn sampling(mut section: Section<'_>) -> Sampling {
    let default = Sampling::default();
    let keep_one_in = keep_one_in(&mut section).unwrap_or(default.keep_one_in);
    let mut always = section.optional("always_keep").and_then(|node| node.section());
    let errors = always.as_mut().and_then(|always| always.optional("errors")).and_then(|node| node.boolean());
    let slower = always.as_mut().and_then(|always| always.optional("slower_than"));
    let slower = slower.and_then(|node| node.duration(Duration::from_millis(1)..=Duration::from_secs(86_400)));
    Sampling { keep_one_in, keep_errors: errors.unwrap_or(default.keep_errors), keep_slower_than: slower }
}

fn keep_one_in(section: &mut Section<'_>) -> Option<NonZeroU32> {
    let number = section.optional("keep_one_in")?.integer(1..=MAX_KEEP_ONE_IN)?;
    NonZeroU32::new(u32::try_from(number).ok()?)
}

fn header(node: &Node<'_>) -> Option<String> {
    let name = node.parsed("a header's name, as in x-tenant", |text| {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (!text.is_empty() && text.len() <= 64 && text.bytes().all(is_token)).then(|| text.to_ascii_lowercase())
    })?;
    if CREDENTIALS.contains(&name.as_str()) {
        node.problem("holds credentials, which never leave the pod; allowed are headers that do not");
    }
    Some(name)
}

fn policy(mut section: Section<'_>, folder: &Path, files: &mut WatchedFiles) -> Policy {
    let mut policy = Policy::default();
    let one_more = "one JSON pointer more than allowed";
    let wrong_pointer = |node: &Node<'_>| {
        node.problem(format!(
            "is no JSON pointer, or {one_more}; allowed are {MAX_POINTERS} like /instances/*/3, with ~1 for / and ~0 for ~"
        ));
    };
    if let Some(allow) = section.optional("allow").and_then(|node| bounded_list(&node, MAX_FIELDS)) {
        policy.allow_nothing_else();
        for node in allow {
            match field(&node) {
                Some(name) if name.starts_with('/') && !policy.allow_pointer(&name) => wrong_pointer(&node),
                Some(name) if !name.starts_with('/') => policy.allow_field(&name),
                _ => {}
            }
        }
    }
    let mut first_hmac: Option<Node<'_>> = None;
    let rules = section.optional("rules").and_then(|node| bounded_list(&node, MAX_FIELDS)).unwrap_or_default();
    for node in rules {
        let Some(mut rule) = node.section() else { continue };
        let (named, placed) = (rule.optional("field"), rule.optional("pointer"));
        let actions = [("drop", Action::Drop), ("mask", Action::Mask), ("hmac", Action::Hmac)];
        let action = rule.required("action").and_then(|node| node.one_of(&actions));
        if action == Some(Action::Hmac) {
            first_hmac.get_or_insert(node.clone());
        }
        // A rule whose action is wrong is a problem already; its name is still to be checked.
        let action = action.unwrap_or(Action::Drop);
        match (named, placed) {
            (Some(named), None) => {
                if let Some(name) = field(&named) {
                    policy.act_on_field(&name, action);
                }
            }
            (None, Some(placed)) => {
                if placed.text().is_some_and(|pointer| !policy.act_on_pointer(pointer, action)) {
                    wrong_pointer(&placed);
                }
            }
            _ => node.problem("needs one of field and pointer"),
        }
    }
    policy.key = section.optional("hmac_key").and_then(|node| key(&node, folder, files));
    if let Some(node) = first_hmac.filter(|_| !section.has("hmac_key")) {
        node.problem("needs a key; write redaction.hmac_key: {file: /path} or {env: NAME}");
    }
    policy
}

fn field(node: &Node<'_>) -> Option<String> {
    node.parsed(&format!("a field's name of up to {MAX_FIELD_BYTES} bytes"), |text| {
        (!text.is_empty() && text.len() <= MAX_FIELD_BYTES).then(|| text.to_owned())
    })
}

/// The key: `{env: NAME}` or `{file: /path}`. One that stands in the file itself is refused, and not quoted.
fn key(node: &Node<'_>, folder: &Path, files: &mut WatchedFiles) -> Option<HmacKey> {
    if !node.is_section() {
        node.problem("a secret does not belong into this file; write {env: NAME} or {file: /path}");
        return None;
    }
    let mut section = node.section()?;
    let source = match (section.optional("env"), section.optional("file")) {
        (Some(name), None) => KeySource::Environment(name.unquoted_text("a variable's name")?.to_owned()),
        (None, Some(path)) => KeySource::File(folder.join(path.unquoted_text("a file's path")?)),
        _ => {
            node.problem("needs {env: NAME} or {file: /path}");
            return None;
        }
    };
    if let KeySource::File(path) = &source {
        files.watch(path);
    }
    source.read().map_err(|what| node.problem(what)).ok()?.key()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let text = parse("rules.yaml", text, Path::new("/nowhere")).map_or_else(|p| p.to_string(), |_| String::new());
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_empty_file_captures_everything_and_touches_nothing() {
        let rules = parse("rules.yaml", "", Path::new("/")).unwrap();
        assert!(rules.defaults && rules.policy.is_empty() && rules.bodies == Bodies::Redacted);
        assert_eq!(rules.sampling, Sampling::default());
        assert!(!parse("rules.yaml", "redaction: {allow: []}", Path::new("/")).unwrap().policy.is_empty());
    }

    #[test]
    fn every_problem_is_found_at_once_with_its_place_and_what_is_allowed() {
        let text = "\
sampel: {keep_one_in: 2}
sample: {keep_one_in: 0, always_keep: {slower_than: 5}}
routes:
  - {path: score}
  - {path: /a, capture: false, protocol: v3}
headers: {keep: [authorization, \"a b\"]}
bodies: maybe
redaction:
  allow: [ssn, \"/a~2\"]
  rules:
    - {field: ssn, action: hide}
    - {action: hmac}
";
        let expected = [
            "rules.yaml:1:1: sampel: is unknown; did you mean 'sample'?",
            "rules.yaml:2:10: sample.keep_one_in: 0 is not allowed; allowed is a whole number from 1 to 1000000",
            "rules.yaml:2:40: sample.always_keep.slower_than: 5 is not allowed",
            "rules.yaml:4:6: routes[0].path: 'score' is not allowed; allowed is a path",
            "rules.yaml:5:32: routes[1].protocol: 'v3' is not allowed; allowed is one of v1",
            "rules.yaml:6:18: headers.keep[0]: holds credentials",
            "rules.yaml:6:33: headers.keep[1]: 'a b' is not allowed",
            "rules.yaml:7:1: bodies: 'maybe' is not allowed; allowed is one of redacted, never",
            "rules.yaml:9:16: redaction.allow[1]: is no JSON pointer",
            "rules.yaml:11:20: redaction.rules[0].action: 'hide' is not allowed; allowed is one of drop, mask, hmac",
            "rules.yaml:12:7: redaction.rules[1]: needs a key",
            "rules.yaml:12:7: redaction.rules[1]: needs one of field and pointer",
        ];
        let found = problems(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\n{expected}");
        }
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        let found = problems("redaction: {hmac_key: hunter2-hunter2-hunter2}").join("\n");
        assert!(found.contains("does not belong into this file") && !found.contains("hunter2"), "{found}");
        for mistaken in ["{env: hunter2}", "{env: [hunter2]}", "{file: {path: hunter2}}", "{file: 5 , env: hunter2}"] {
            let found = problems(&format!("redaction: {{hmac_key: {mistaken}}}")).join("\n");
            assert!(!found.is_empty() && !found.contains("hunter2"), "{found}");
        }
        let found = problems("redaction: {hmac_key: {file: no-such-key}}").join("\n");
        assert!(found.contains("/nowhere/no-such-key cannot be read"), "{found}");
        let many = format!("redaction: {{allow: [{}]}}", "/a, ".repeat(65));
        assert!(problems(&many).join("").contains("one JSON pointer more"));
    }

    #[test]
    fn the_documented_example_is_accepted_and_shows_every_field() {
        let text = include_str!("../../../docs/sidecar.example.yaml");
        let folder = std::env::temp_dir().join(format!("driftline-example-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hmac-key"), "0123456789abcdef").unwrap();
        let text = text.replace("/run/secrets/hmac-key", "hmac-key");
        let read = |text: &str| {
            driftline_document::read("docs/sidecar.example.yaml", text, |top| {
                build(top, &folder, &mut WatchedFiles::default())
            })
        };
        let rules = read(&text).result.unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!((rules.sampling.keep_one_in.get(), rules.bodies), (10, Bodies::Redacted));
        // Fields that exclude others are shown behind "#| ".
        let uncommented: String = text.lines().map(|line| line.replacen("#| ", "", 1) + "\n").collect();
        let all = read(&uncommented);
        let missing: Vec<&String> = all.asked.difference(&all.found).collect();
        assert!(missing.is_empty(), "fields that docs/sidecar.example.yaml does not show: {missing:?}");
        assert!(all.found.len() > 15, "{}", all.found.len());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
