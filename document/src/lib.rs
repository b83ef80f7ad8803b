//! Configuration files with places: reading YAML so that every problem in it is found at once, each with its line.
//!
//! A [`Section`] hands out its fields one by one and remembers which were asked for; when it is done, what nobody asked
//! for is a problem. A field that is wrong is a problem too, and reading goes on with the default. At the end there is
//! either a whole configuration or the list of everything that is wrong with it.
//!
//! ```
//! let read = driftline_document::read("a.yaml", "lisen: x", |mut top| {
//!     top.required("listen").and_then(|node| Some(node.text()?.to_owned()))
//! });
//! assert_eq!(
//!     read.result.unwrap_err().to_string(),
//!     "a.yaml:1:1: lisen: is unknown; did you mean 'listen'?\na.yaml:1:1: listen: is missing"
//! );
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use saphyr::{LoadableYamlNode, MarkedYaml, Marker, Scalar, YamlData};

/// Something wrong in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The field, from the top: `models[0].windows.pane`.
    pub field: String,
    /// What is wrong; what is allowed.
    pub what: String,
}

/// All that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file, as it was named.
    pub file: String,
    /// The problems, in the order of their lines.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let Problem { line, column, field, what } = problem;
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{}:{line}:{column}: {field}: {what}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Problems {
    /// A file that is not there, or cannot be read.
    pub fn unreadable(file: &str, error: &std::io::Error, remedy: &str) -> Self {
        let what = format!("cannot be read: {error}; {remedy}");
        let problem = Problem { line: 1, column: 1, field: "the file".to_owned(), what };
        Self { file: file.to_owned(), problems: vec![problem] }
    }
}

/// What all nodes of a document share.
#[derive(Debug, Default)]
struct Findings {
    problems: RefCell<Vec<Problem>>,
    /// Every field that was asked for, with names that the user chose replaced by `*` and list positions by `[]`.
    asked: RefCell<BTreeSet<String>>,
    /// Those of them that the document has.
    found: RefCell<BTreeSet<String>>,
}

/// A document that was read.
#[derive(Debug)]
pub struct Read<T> {
    /// What was built from it, or everything that is wrong with it.
    pub result: Result<T, Problems>,
    /// Every field that it was asked for, with names that the user chose replaced by `*` and list positions by `[]`. With
    /// `found`, this is what examples in the documentation are held to.
    pub asked: BTreeSet<String>,
    /// Those of them that it has.
    pub found: BTreeSet<String>,
}

/// Reads every document of a file with a function that takes its top section, and gives what it made of each, in their
/// order; or everything that is wrong with them. Documents without anything in them are left out.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_each<T>(file: &str, text: &str, mut build: impl FnMut(Section<'_>) -> T) -> Result<Vec<T>, Problems> {
    let findings = Findings::default();
    let mut built = Vec::new();
    match MarkedYaml::load_from_str(text) {
        Err(error) => findings.add(*error.marker(), "", format!("not YAML: {}", error.info())),
        Ok(documents) => {
            let is_there = |root: &&MarkedYaml<'_>| !matches!(root.data, YamlData::Value(Scalar::Null));
            for root in documents.iter().filter(is_there) {
                built.extend(findings.root(root).section().map(&mut build));
            }
        }
    }
    let mut problems = findings.problems.into_inner();
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(built) } else { Err(Problems { file: file.to_owned(), problems }) }
}

/// Reads a document with a function that takes its top section.
pub fn read<T>(file: &str, text: &str, build: impl FnOnce(Section<'_>) -> T) -> Read<T> {
    let findings = Findings::default();
    let built = match MarkedYaml::load_from_str(text) {
        Err(error) => {
            let marker = error.marker();
            findings.add(*marker, "", format!("not YAML: {}", error.info()));
            None
        }
        Ok(documents) => {
            let empty = MarkedYaml::from(YamlData::Mapping(saphyr::AnnotatedMapping::new()));
            let root = match documents.as_slice() {
                [] => &empty,
                [root] if matches!(root.data, YamlData::Value(Scalar::Null)) => &empty,
                [root] => root,
                [_, second, ..] => {
                    findings.add(second.span.start, "", "there is a second document; only one is allowed".to_owned());
                    &empty
                }
            };
            findings.root(root).section().map(build)
        }
    };
    let mut problems = findings.problems.into_inner();
    problems.sort();
    problems.dedup();
    let result = match built {
        Some(built) if problems.is_empty() => Ok(built),
        _ => Err(Problems { file: file.to_owned(), problems }),
    };
    Read { result, asked: findings.asked.into_inner(), found: findings.found.into_inner() }
}

impl Findings {
    /// The top of a document.
    fn root<'a>(&'a self, root: &'a MarkedYaml<'a>) -> Node<'a> {
        Node { value: root, at: root.span.start, path: String::new(), pattern: String::new(), findings: self }
    }

    fn add(&self, at: Marker, field: &str, what: String) {
        let field = if field.is_empty() { "the file".to_owned() } else { field.to_owned() };
        self.problems.borrow_mut().push(Problem { line: at.line().max(1), column: at.col() + 1, field, what });
    }
}

/// A value in the document.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    value: &'a MarkedYaml<'a>,
    at: Marker,
    path: String,
    pattern: String,
    findings: &'a Findings,
}

impl<'a> Node<'a> {
    /// That this value is wrong, for whoever finds it out when all is read.
    pub fn as_problem(&self, what: impl Into<String>) -> Problem {
        let (line, column) = (self.at.line().max(1), self.at.col() + 1);
        Problem { line, column, field: self.path.clone(), what: what.into() }
    }

    /// Notes that this value is wrong.
    pub fn problem(&self, what: impl Into<String>) {
        self.findings.add(self.at, &self.path, what.into());
    }

    fn wrong<T>(&self, allowed: &str) -> Option<T> {
        let found = match &self.value.data {
            YamlData::Value(Scalar::Null) => "nothing".to_owned(),
            YamlData::Value(Scalar::Boolean(value)) => value.to_string(),
            YamlData::Value(Scalar::Integer(value)) => value.to_string(),
            YamlData::Value(Scalar::FloatingPoint(value)) => value.to_string(),
            YamlData::Value(Scalar::String(value)) => format!("'{value}'"),
            YamlData::Sequence(_) => "a list".to_owned(),
            YamlData::Mapping(_) => "a section".to_owned(),
            _ => "something else".to_owned(),
        };
        self.problem(format!("{found} is not allowed; allowed is {allowed}"));
        None
    }

    /// A text that is not empty.
    pub fn text(&self) -> Option<&'a str> {
        match &self.value.data {
            YamlData::Value(Scalar::String(value)) if !value.is_empty() => Some(value),
            _ => self.wrong("a text"),
        }
    }

    /// A text that no message quotes: somebody may have written a secret there.
    pub fn unquoted_text(&self, allowed: &str) -> Option<&'a str> {
        match &self.value.data {
            YamlData::Value(Scalar::String(value)) if !value.is_empty() => Some(value),
            _ => {
                self.problem(format!("what stands here is not allowed; allowed is {allowed}"));
                None
            }
        }
    }

    /// A text that a function reads; it says what is allowed otherwise.
    pub fn parsed<T>(&self, allowed: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        match &self.value.data {
            YamlData::Value(Scalar::String(value)) => parse(value).or_else(|| self.wrong(allowed)),
            // A version or a name may look like a number.
            YamlData::Value(Scalar::Integer(value)) => parse(&value.to_string()).or_else(|| self.wrong(allowed)),
            _ => self.wrong(allowed),
        }
    }

    /// True or false.
    pub fn boolean(&self) -> Option<bool> {
        match &self.value.data {
            YamlData::Value(Scalar::Boolean(value)) => Some(*value),
            _ => self.wrong("true or false"),
        }
    }

    /// A whole number within bounds.
    pub fn integer(&self, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let bounds = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        match &self.value.data {
            YamlData::Value(Scalar::Integer(value)) => {
                u64::try_from(*value).ok().filter(|value| allowed.contains(value)).or_else(|| self.wrong(&bounds))
            }
            _ => self.wrong(&bounds),
        }
    }

    /// A number within bounds.
    pub fn number(&self, allowed: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let bounds = format!("a number from {} to {}", allowed.start(), allowed.end());
        let value = match &self.value.data {
            YamlData::Value(Scalar::Integer(value)) => *value as f64,
            YamlData::Value(Scalar::FloatingPoint(value)) => value.0,
            _ => return self.wrong(&bounds),
        };
        if allowed.contains(&value) { Some(value) } else { self.wrong(&bounds) }
    }

    /// A duration with its unit: `250ms`, `30s`, `5m`, `6h`, `10d`; within bounds.
    pub fn duration(&self, allowed: std::ops::RangeInclusive<Duration>) -> Option<Duration> {
        let bounds = format!(
            "a duration from {} to {}, as a whole number and ms, s, m, h or d",
            in_units(*allowed.start()),
            in_units(*allowed.end())
        );
        self.parsed(&bounds, |text| parse_duration(text).filter(|duration| allowed.contains(duration)))
    }

    /// One of a few names.
    pub fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.parsed(&format!("one of {}", names.join(", ")), |text| {
            choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
        })
    }

    /// A list; its values one by one.
    pub fn list(&self) -> Option<Vec<Node<'a>>> {
        let YamlData::Sequence(values) = &self.value.data else { return self.wrong("a list") };
        let node = |(index, value): (usize, &'a MarkedYaml<'a>)| Node {
            value,
            at: value.span.start,
            path: format!("{}[{index}]", self.path),
            pattern: format!("{}[]", self.pattern),
            findings: self.findings,
        };
        Some(values.iter().enumerate().map(node).collect())
    }

    /// A section whose names the user chooses; each with its value.
    pub fn entries(&self) -> Option<Vec<(String, Node<'a>)>> {
        let YamlData::Mapping(entries) = &self.value.data else { return self.wrong("a section") };
        let mut named = Vec::new();
        for (key, value) in entries {
            let Some(name) = key_text(key) else {
                self.findings.add(key.span.start, &self.path, "a name here must be a text".to_owned());
                continue;
            };
            let node = Node {
                value,
                at: key.span.start,
                path: join(&self.path, &name),
                pattern: join(&self.pattern, "*"),
                findings: self.findings,
            };
            named.push((name, node));
        }
        Some(named)
    }

    /// Whether this is a section. Nothing is noted either way.
    pub fn is_section(&self) -> bool {
        matches!(self.value.data, YamlData::Mapping(_))
    }

    /// A section with fields of fixed names.
    pub fn section(&self) -> Option<Section<'a>> {
        if matches!(self.value.data, YamlData::Mapping(_)) {
            Some(Section { node: self.clone(), asked: Vec::new() })
        } else {
            self.wrong("a section")
        }
    }
}

/// A section of the document, while its fields are read.
#[derive(Debug)]
pub struct Section<'a> {
    node: Node<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// A field that need not be there. A null counts as absent.
    pub fn optional(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.asked.push(name);
        let pattern = join(&self.node.pattern, name);
        self.node.findings.asked.borrow_mut().insert(pattern.clone());
        let YamlData::Mapping(entries) = &self.node.value.data else { return None };
        let (key, value) = entries.iter().find(|(key, _)| key_text(key).as_deref() == Some(name))?;
        if matches!(value.data, YamlData::Value(Scalar::Null)) {
            return None;
        }
        self.node.findings.found.borrow_mut().insert(pattern.clone());
        let path = join(&self.node.path, name);
        Some(Node { value, at: key.span.start, path, pattern, findings: self.node.findings })
    }

    /// A field that must be there.
    pub fn required(&mut self, name: &'static str) -> Option<Node<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            let field = join(&self.node.path, name);
            self.node.findings.add(self.node.at, &field, "is missing".to_owned());
        }
        found
    }

    /// Notes that the section as a whole is wrong.
    pub fn problem(&self, what: impl Into<String>) {
        self.node.problem(what);
    }

    /// Whether a field is there, without reading it.
    pub fn has(&self, name: &str) -> bool {
        let YamlData::Mapping(entries) = &self.node.value.data else { return false };
        entries.iter().any(|(key, _)| key_text(key).as_deref() == Some(name))
    }
}

/// What nobody asked for is unknown.
impl Drop for Section<'_> {
    fn drop(&mut self) {
        let YamlData::Mapping(entries) = &self.node.value.data else { return };
        for key in entries.keys() {
            let name = key_text(key).unwrap_or_else(|| "?".to_owned());
            if self.asked.iter().any(|asked| *asked == name) {
                continue;
            }
            let near = self.asked.iter().min_by_key(|asked| distance(asked, &name));
            let hint = match near {
                Some(near) if distance(near, &name) <= 2 => format!("is unknown; did you mean '{near}'?"),
                _ => format!("is unknown; known here are {}", self.asked.join(", ")),
            };
            self.node.findings.add(key.span.start, &join(&self.node.path, &name), hint);
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn key_text(key: &MarkedYaml<'_>) -> Option<String> {
    match &key.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(value)) => Some(value.to_string()),
        _ => None,
    }
}

/// Edits that turn one name into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Reads a duration with its unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// A duration in the largest unit that divides it.
pub fn in_units(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let read = read("d.yaml", text, |mut top| {
            let listen = top.required("listen").and_then(|node| node.text());
            let mut windows = top.optional("windows").and_then(|node| node.section());
            let pane = windows
                .as_mut()
                .and_then(|windows| windows.optional("pane"))
                .and_then(|node| node.duration(Duration::from_secs(1)..=Duration::from_secs(86_400)));
            let _ = top.optional("ratio").and_then(|node| node.number(0.0..=1.0));
            let _ = top.optional("names").and_then(|node| Some(node.list()?.iter().filter_map(Node::text).count()));
            (listen.map(str::to_owned), pane)
        });
        read.result.map_or_else(|problems| problems.to_string().lines().map(str::to_owned).collect(), |_| Vec::new())
    }

    #[test]
    fn every_problem_is_found_at_once_with_its_place() {
        let text = "lisen: x\nwindows:\n  pane: 3 weeks\n  every: 1d\nratio: 7\nnames:\n  - a\n  - 3\n";
        assert_eq!(
            problems(text),
            [
                "d.yaml:1:1: lisen: is unknown; did you mean 'listen'?",
                "d.yaml:1:1: listen: is missing",
                "d.yaml:3:3: windows.pane: '3 weeks' is not allowed; allowed is a duration from 1s to 1d, as a whole number and ms, s, m, h or d",
                "d.yaml:4:3: windows.every: is unknown; known here are pane",
                "d.yaml:5:1: ratio: 7 is not allowed; allowed is a number from 0 to 1",
                "d.yaml:8:5: names[1]: 3 is not allowed; allowed is a text",
            ]
        );
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        assert!(problems("a: [1,\nb: }")[0].starts_with("d.yaml:2:"), "{:?}", problems("a: [1,\nb: }"));
        assert!(problems("listen: x\nlisten: y")[0].contains("duplicated key"));
        assert_eq!(problems("- a"), ["d.yaml:1:1: the file: a list is not allowed; allowed is a section"]);
        assert_eq!(problems(""), ["d.yaml:1:1: listen: is missing"]);
        assert!(problems("listen: a\n---\nlisten: b").join("").contains("second document"));
    }

    #[test]
    fn each_document_of_a_file_is_read_and_its_lines_are_the_files() {
        let names = |text: &str| {
            let name = |mut top: Section<'_>| {
                let node = top.required("name")?;
                Some((node.text()?.to_owned(), node.as_problem("odd").line))
            };
            read_each("d.yaml", text, name).map_err(|problems| problems.to_string())
        };
        let text = "---\nname: a\n---\n# nothing\n---\nname: b\n";
        assert_eq!(names(text).unwrap(), [Some(("a".to_owned(), 2)), Some(("b".to_owned(), 6))]);
        assert_eq!(names("").unwrap(), []);
        assert_eq!(names("name: a\n---\nnam: b\n").unwrap_err().lines().count(), 2);
        assert!(names("name: a\n---\nnam: b\n").unwrap_err().starts_with("d.yaml:3:1: "));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(in_units(Duration::from_secs(90)), "90s");
        assert_eq!(in_units(Duration::from_secs(7200)), "2h");
        for wrong in ["90", "s", "1.5h", "-1s", "1 s", "99999999999999999999d"] {
            assert_eq!(parse_duration(wrong), None);
        }
    }
}
