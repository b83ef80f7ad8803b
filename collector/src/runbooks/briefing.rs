//! What a runbook says first, for whoever was just woken: its list under *In 30 seconds*, which every message of an alert carries.

use driftline_alerts::{Notification, shorten};
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};

use super::Runbook;
use super::values::Values;

/// The section's heading.
pub(crate) const SECTION: &str = "In 30 seconds";
/// Items of it that are told. The form asks for three.
const MAX_ITEMS: usize = 5;
/// Of an item's name, and of its words: what is longer is not read in 30 seconds.
const MAX_NAME_CHARS: usize = 40;
const MAX_CHARS: usize = 500;

/// Says in a notification what its runbook says first, with the alert's values filled in. Nothing, if it has no such list.
pub(crate) fn brief(notification: &mut Notification, runbook: Option<&Runbook>, public_url: &str) {
    let Some(runbook) = runbook else { return };
    let values = Values::new(public_url, Some(notification));
    let filled = |(name, words): (String, String)| (name, shorten(&values.fill(&words), MAX_CHARS));
    notification.briefing = items(runbook.body()).into_iter().map(filled).collect();
}

/// The items of the section's list that begin with a name in bold: the name, and the rest as plain text.
fn items(text: &str) -> Vec<(String, String)> {
    let mut items: Vec<(String, String)> = Vec::new();
    let mut heading: Option<String> = None;
    let (mut is_here, mut is_bold, mut depth) = (false, false, 0_usize);
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => {
                is_here = heading.take().is_some_and(|heading| heading.trim() == SECTION);
            }
            Event::Start(Tag::List(_)) => depth += 1,
            Event::End(TagEnd::List(_)) => depth = depth.saturating_sub(1),
            Event::Start(Tag::Item) if is_here && depth == 1 => items.push(Default::default()),
            Event::Start(Tag::Strong) => is_bold = true,
            Event::End(TagEnd::Strong) => is_bold = false,
            Event::Text(text) | Event::Code(text) => match (&mut heading, items.last_mut()) {
                (Some(heading), _) => heading.push_str(&text),
                (None, Some((name, words))) if is_here && depth == 1 => {
                    // A name is what stands first, and in bold.
                    let into = if is_bold && words.is_empty() { name } else { words };
                    into.push_str(&text);
                }
                _ => {}
            },
            Event::SoftBreak | Event::HardBreak if is_here => {
                items.last_mut().into_iter().for_each(|(_, words)| words.push(' '));
            }
            _ => {}
        }
    }
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = items.iter().map(|(name, words)| (shorten(&one_line(name), MAX_NAME_CHARS), one_line(words)));
    named.filter(|(name, words)| !name.is_empty() && !words.is_empty()).take(MAX_ITEMS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbooks::Runbooks;

    #[test]
    fn every_runbook_that_ships_says_whether_it_is_real_who_is_hurt_and_what_comes_first() {
        for runbook in Runbooks::shipped().iter() {
            let items = items(runbook.body());
            let names: Vec<&str> = items.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["Real?", "Hurt?", "First:"], "{}", runbook.id);
            for (_, words) in &items {
                assert!(!words.contains("**") && !words.contains('`'), "{}: {words}", runbook.id);
                assert!(words.chars().count() < MAX_CHARS, "{}: {words}", runbook.id);
            }
        }
    }

    #[test]
    fn only_the_list_of_the_section_is_taken_and_its_markup_is_not() {
        let text = "# T\n\n- **No:** not here\n\n## In 30 seconds\n\nWords.\n\n- **Real?** Yes, `{column}` is\n  *gone*.\n- no name\n  - **Deep:** no\n\n## Next\n\n- **No:** nor here\n";
        assert_eq!(items(text), [("Real?".to_owned(), "Yes, {column} is gone.".to_owned())]);
        assert!(items("## In 30 seconds\n\nText.").is_empty());
        let long =
            format!("## In 30 seconds\n\n{}", format!("- **{}** {}\n", "ü".repeat(90), "ü".repeat(900)).repeat(9));
        let long = items(&long);
        assert_eq!((long.len(), long[0].0.chars().count()), (MAX_ITEMS, MAX_NAME_CHARS));
        assert_eq!(shorten(&long[0].1, MAX_CHARS).chars().count(), MAX_CHARS);
    }
}
