//! Every public function has a worked example that runs as a test.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// The crate's files.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The name of a public function that begins in this line. What is `pub` can be reached from outside: the compiler warns of
/// what cannot (`unreachable_pub`).
fn public_function(line: &str) -> Option<&str> {
    let mut rest = line.trim_start().strip_prefix("pub ")?;
    for before in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(before).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// Public functions of a file, each with whether its documentation shows how it is used.
fn functions(text: &str) -> Vec<(String, bool)> {
    let (mut found, mut has_example, mut in_block) = (Vec::new(), false, false);
    for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
        let trimmed = line.trim_start();
        if let Some(name) = public_function(line) {
            found.push((name.to_owned(), has_example));
        }
        if let Some(said) = trimmed.strip_prefix("///") {
            if let Some(language) = said.trim().strip_prefix("```") {
                in_block = !in_block;
                // A block in another language, or one that is not run, is no example.
                has_example |= in_block && language.is_empty();
            }
        } else if !trimmed.starts_with("#[") {
            has_example = false;
        }
    }
    found
}

#[test]
fn every_public_function_has_an_example_that_runs() {
    let (mut all, mut without) = (0, Vec::new());
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        for (name, has_example) in functions(&fs::read_to_string(&path).unwrap()) {
            all += 1;
            if !has_example {
                without.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(all > 100, "only {all} public functions were found");
    assert!(without.is_empty(), "without an example: {without:#?}");
}

#[test]
fn what_has_no_example_is_found() {
    let text = r"
        /// Adds.
        ///
        /// ```
        /// assert_eq!(add(1, 1), 2);
        /// ```
        #[must_use]
        pub fn add(a: u8, b: u8) -> u8 {}

        /// ```text
        /// a ─▶ b
        /// ```
        pub const fn shown<T>() {}

        pub(crate) fn hidden() {}
        pub fn bare() {}
    ";
    let expected = [("add", true), ("shown", false), ("bare", false)].map(|(name, has)| (name.to_owned(), has));
    assert_eq!(functions(text), expected);
}
