//! The steps of a runbook: what somebody ticks off while they work through it.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::lint;

/// Sections whose numbered lists are steps.
const SECTIONS: [&str; 3] = ["First five minutes", "Mitigate", "Verify"];
/// Steps of one runbook. More than this nobody works through.
const MAX_STEPS: usize = 100;
/// Of a step's words.
const MAX_CHARS: usize = 200;

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its section and its number there: `first-five-minutes-2`.
    pub(crate) id: String,
    /// The section's heading.
    pub(crate) section: &'static str,
    /// What it is about: its first words in bold, or else its first paragraph.
    pub(crate) text: String,
}

/// What is being read of a step.
#[derive(Debug, Default)]
struct Reading {
    bold: String,
    paragraph: String,
    is_bold: bool,
    /// The first paragraph is over.
    is_read: bool,
}

impl Reading {
    fn take(&mut self, text: &str) {
        if self.is_read {
            return;
        }
        self.paragraph.push_str(text);
        if self.is_bold {
            self.bold.push_str(text);
        }
    }

    fn words(&self) -> String {
        let words = if self.bold.trim().is_empty() { &self.paragraph } else { &self.bold };
        words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_CHARS).collect()
    }
}

/// The steps of a runbook's text, in their order.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut section, mut heading): (Option<&'static str>, Option<String>) = (None, None);
    // Depth of lists, and which of them are steps: those that are numbered, in none other.
    let (mut depth, mut is_numbered) = (0_usize, false);
    let mut reading: Option<Reading> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => {
                let said = heading.take().unwrap_or_default();
                section = SECTIONS.into_iter().find(|known| *known == said.trim());
            }
            Event::Start(Tag::List(first)) => {
                depth += 1;
                if depth == 1 {
                    is_numbered = first.is_some();
                } else if let Some(reading) = &mut reading {
                    reading.is_read = true;
                }
            }
            Event::End(TagEnd::List(_)) => depth = depth.saturating_sub(1),
            Event::Start(Tag::Item) if depth == 1 && is_numbered && section.is_some() => {
                reading = Some(Reading::default());
            }
            Event::End(TagEnd::Item) if depth == 1 => {
                if let (Some(section), Some(reading)) = (section, reading.take())
                    && steps.len() < MAX_STEPS
                {
                    let number = steps.iter().filter(|step| step.section == section).count() + 1;
                    steps.push(Step {
                        id: format!("{}-{number}", lint::anchor(section)),
                        section,
                        text: reading.words(),
                    });
                }
            }
            Event::Start(Tag::Strong) => note(&mut reading, |reading| reading.is_bold = reading.bold.is_empty()),
            Event::End(TagEnd::Strong) => note(&mut reading, |reading| reading.is_bold = false),
            Event::End(TagEnd::Paragraph) | Event::Start(Tag::CodeBlock(_)) => {
                note(&mut reading, |reading| reading.is_read |= !reading.paragraph.is_empty());
            }
            Event::Text(text) | Event::Code(text) => match &mut heading {
                Some(heading) => heading.push_str(&text),
                None => note(&mut reading, |reading| reading.take(&text)),
            },
            Event::SoftBreak | Event::HardBreak => note(&mut reading, |reading| reading.take(" ")),
            _ => {}
        }
    }
    steps
}

fn note(reading: &mut Option<Reading>, change: impl FnOnce(&mut Reading)) {
    if let Some(reading) = reading {
        change(reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbooks::Runbooks;

    #[test]
    fn numbered_steps_of_three_sections_are_known_by_their_bold_words() {
        let text = "# T\n\n## First five minutes\n\nRead.\n\n1. **Is it `so`?** Look.\n\n   ```sh\n   1. echo\n   ```\n\n   Good: **no**.\n\
                    2. Look at\n   temp.\n   1. not this\n\n## What it means\n\n1. no\n\n## Mitigate\n\n- no\n\n1. **Roll back.** Undo: on.\n";
        let steps: Vec<(String, String)> = steps(text).into_iter().map(|step| (step.id, step.text)).collect();
        let expected = [
            ("first-five-minutes-1", "Is it so?"),
            ("first-five-minutes-2", "Look at temp."),
            ("mitigate-1", "Roll back."),
        ];
        assert_eq!(steps, expected.map(|(id, text)| (id.to_owned(), text.to_owned())));
    }

    #[test]
    fn every_shipped_runbook_has_steps_to_look_and_to_mitigate() {
        for runbook in Runbooks::shipped().iter() {
            let steps = steps(runbook.body());
            for section in ["First five minutes", "Mitigate"] {
                assert!(steps.iter().any(|step| step.section == section), "{}: {section}", runbook.id);
            }
            assert!(steps.iter().all(|step| !step.text.is_empty()), "{}: {steps:?}", runbook.id);
        }
    }

    #[test]
    fn nothing_is_too_long_or_too_much() {
        let many = "## Mitigate\n\n".to_owned() + &format!("1. {}\n", "é".repeat(1000)).repeat(MAX_STEPS + 5);
        let steps = steps(&many);
        assert_eq!((steps.len(), steps[0].text.chars().count()), (MAX_STEPS, MAX_CHARS));
        assert!(super::steps("1. ## Mitigate\n  - x\n\n</ol>").is_empty());
    }
}
