//! The rewritten body: what changes, between copies of what does not.
//!
//! Nothing is allocated until something changes, and no byte more than was reserved.

use super::Withheld;

/// Longest rewritten body: as long as the longest that is kept (`--max-body`).
const MAX_BYTES: usize = 16 << 20;

/// A text and the edits to it, made from its beginning to its end.
pub(super) struct Output<'a> {
    text: &'a str,
    written: Vec<u8>,
    /// How much of the text is written, or left out.
    done: usize,
    reserved: usize,
    room: &'a mut dyn FnMut(usize) -> bool,
    edited: bool,
}

/// A point to which the edits can be taken back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    written: usize,
    done: usize,
    edited: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(text: &'a str, room: &'a mut dyn FnMut(usize) -> bool) -> Self {
        Self { text, written: Vec::new(), done: 0, reserved: 0, room, edited: false }
    }

    /// Replaces a range of the text. Ranges come in order.
    pub(super) fn replace(&mut self, from: usize, to: usize, by: &str) -> Result<(), Withheld> {
        let from = from.max(self.done);
        let text = self.text;
        self.edited = true;
        self.write(text.get(self.done..from).ok_or(Withheld::Failed)?)?;
        self.write(by)?;
        self.done = to.max(from);
        Ok(())
    }

    /// Where the next edit would stand if everything before `position` were written: for counting what a part has become.
    pub(super) fn position(&self, position: usize) -> usize {
        self.written.len() + position.saturating_sub(self.done)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { written: self.written.len(), done: self.done, edited: self.edited }
    }

    /// Takes back every edit since a mark.
    pub(super) fn take_back(&mut self, to: Mark) {
        self.written.truncate(to.written);
        self.done = to.done;
        self.edited = to.edited;
    }

    /// The rewritten text; None when nothing was changed.
    pub(super) fn finish(mut self) -> Result<Option<Vec<u8>>, Withheld> {
        if !self.edited {
            return Ok(None);
        }
        let text = self.text;
        self.write(text.get(self.done..).ok_or(Withheld::Failed)?)?;
        Ok(Some(self.written))
    }

    fn write(&mut self, text: &str) -> Result<(), Withheld> {
        let needed = self.written.len() + text.len();
        if needed > MAX_BYTES {
            return Err(Withheld::TooLarge);
        }
        if needed > self.reserved {
            // The first reservation is what the body has now: most rewritten bodies are about as long.
            let target = needed.max(self.reserved + self.reserved / 2).max(self.text.len().min(MAX_BYTES));
            if !(self.room)(target - self.reserved) {
                return Err(Withheld::Budget);
            }
            self.written.reserve_exact(target - self.written.len());
            self.reserved = target;
        }
        self.written.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
