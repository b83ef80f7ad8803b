//! What somebody copies out of a runbook at night: commands in its text, and pieces of configuration.

use std::path::Path;

use super::Runbook;
use super::lint::{Line, lines};
use crate::config::Config;

/// Commands of ours within the text. One without an argument is only talked about.
pub(super) fn spoken_commands(runbook: &Runbook, find: &mut impl FnMut(usize, String)) {
    for line in lines(runbook).filter(|line| !line.is_code) {
        for span in line.text.split('`').skip(1).step_by(2) {
            let Some(command) = span.strip_prefix("driftline ") else { continue };
            let is_whole = command.contains(" --") || command.split(' ').any(is_place);
            if is_whole && let Err(why) = super::parses(command) {
                find(line.number, format!("'driftline {command}' is no command: {why}"));
            }
        }
    }
}

/// Whether a word stands for what a person fills in.
fn is_place(word: &str) -> bool {
    word.starts_with('{') || word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Pieces of configuration of a runbook that ships: each is one by itself, once its places are filled in. In one's own they
/// may rest on the rest of the configuration.
pub(super) fn configuration(runbook: &Runbook, find: &mut impl FnMut(usize, String)) {
    for (first, text) in blocks(runbook, "yaml") {
        let places = [("{model}", "flights"), ("{column}", "temp"), ("{alert}", "a-1"), ("{url}", "http://driftline")];
        let filled = places.into_iter().fold(text, |text, (place, value)| text.replace(place, value));
        if let Err(problems) = Config::parse("driftline.yaml", &filled, Path::new("/")) {
            find(first, format!("what begins here is no configuration: {problems}"));
        }
    }
}

/// The blocks of a language, without their indentation, each with the number of its first line.
fn blocks(runbook: &Runbook, language: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut open: Option<usize> = None;
    for Line { number, text, is_code } in lines(runbook) {
        let indent = text.len() - text.trim_start().len();
        match (text.trim_start().strip_prefix("```"), open) {
            (Some(said), _) => open = (said == language).then_some(indent),
            (None, Some(indent)) if is_code => {
                if blocks.last().is_none_or(|(first, block)| first + block.lines().count() != number) {
                    blocks.push((number, String::new()));
                }
                if let Some((_, block)) = blocks.last_mut() {
                    block.push_str(text.get(indent..).unwrap_or_default());
                    block.push('\n');
                }
            }
            _ => {}
        }
    }
    blocks
}
