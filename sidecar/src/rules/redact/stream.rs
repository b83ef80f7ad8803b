//! Bodies that are streams of JSON values: a line each, or server-sent events.
//!
//! Each message is redacted for itself. A stream that was cut off in the middle of a message loses that message; one with
//! anything else that can't be read is withheld.

use driftline_protocol::Messages;

use super::Withheld;
use super::json::redact_at;
use super::output::Output;
use super::policy::Policy;

/// What OpenAI's streams end with.
const DONE: &str = "[DONE]";

/// New sizes of a stream's messages; none where nobody told the messages apart.
pub(super) type Sizes = Option<Vec<u64>>;

/// Redacts lines of JSON.
pub(super) fn redact_lines(
    policy: &Policy,
    text: &str,
    messages: Option<&Messages>,
    output: &mut Output<'_>,
) -> Result<Sizes, Withheld> {
    each_line(text, messages, output, |line, at, output| redact_at(policy, line, at, output))
}

/// Redacts the JSON of server-sent events.
pub(super) fn redact_events(
    policy: &Policy,
    text: &str,
    messages: Option<&Messages>,
    output: &mut Output<'_>,
) -> Result<Sizes, Withheld> {
    let only_allowed = !policy.root().allowed;
    each_line(text, messages, output, |line, at, output| {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let json = value.trim();
            if json.is_empty() || json == DONE {
                return Ok(());
            }
            let before = value.len() - value.trim_start().len();
            return redact_at(policy, json, at + line.len() - value.len() + before, output);
        }
        // A lone CR ends a line, too; what follows it would be data that nobody looked at.
        if line.contains('\r') || !matches!(field, "" | "event" | "id" | "retry") {
            return Err(Withheld::Malformed);
        }
        if only_allowed && matches!(field, "" | "id") {
            output.replace(at, at + line.len(), "")?;
        }
        Ok(())
    })
}

/// Goes through the lines that are not blank, and keeps the messages' sizes in step with what they become.
fn each_line(
    text: &str,
    messages: Option<&Messages>,
    output: &mut Output<'_>,
    mut redact: impl FnMut(&str, usize, &mut Output<'_>) -> Result<(), Withheld>,
) -> Result<Sizes, Withheld> {
    let mut boundaries = Boundaries::new(messages);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let ended = line.strip_suffix('\n');
        let content = ended.unwrap_or(line);
        let content = content.strip_suffix('\r').unwrap_or(content);
        let mark = output.mark();
        if !content.trim().is_empty() {
            match redact(content, at, output) {
                // The stream was cut off here.
                Err(Withheld::Malformed) if ended.is_none() && at > 0 => {
                    output.take_back(mark);
                    output.replace(at, text.len(), "")?;
                }
                other => other?,
            }
        }
        at += line.len();
        boundaries.line_ends(at, output)?;
    }
    boundaries.finish()
}

/// Where messages end, before and after.
struct Boundaries<'a> {
    left: &'a [u64],
    before: u64,
    after: usize,
    sizes: Sizes,
}

impl<'a> Boundaries<'a> {
    fn new(messages: Option<&'a Messages>) -> Self {
        let left = messages.map_or(&[][..], |messages| &messages.sizes);
        Self { left, before: 0, after: 0, sizes: messages.map(|_| Vec::with_capacity(left.len())) }
    }

    fn line_ends(&mut self, at: usize, output: &Output<'_>) -> Result<(), Withheld> {
        while let Some((size, left)) = self.left.split_first() {
            let end = self.before.saturating_add(*size);
            if end > at as u64 {
                return Ok(());
            }
            // A message that ends within a line is none that was found by lines.
            if end < at as u64 && end != self.before {
                return Err(Withheld::Malformed);
            }
            let now = output.position(at);
            self.sizes.get_or_insert_default().push((now - self.after) as u64);
            (self.left, self.before, self.after) = (left, end, now);
        }
        Ok(())
    }

    fn finish(self) -> Result<Sizes, Withheld> {
        if self.left.is_empty() { Ok(self.sizes) } else { Err(Withheld::Malformed) }
    }
}
