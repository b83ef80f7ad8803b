//! Finding one's way in JSON that is known to be valid.
//!
//! Whether it is, serde_json decides, once for each text: there are no two opinions of what JSON is. What is left is to
//! tell where a value begins and ends, which takes no second parser and keeps every byte as it was.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::Withheld;

/// A place in a valid JSON text. Reading moves it on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Scan<'a> {
    /// The beginning of a text, if it is one JSON value.
    pub(super) fn new(text: &'a str) -> Result<Self, Withheld> {
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| Withheld::Malformed)?;
        Ok(Self { text, at: 0 })
    }

    /// The next byte that is not white space; the place is moved to it.
    pub(super) fn peek(&mut self) -> Result<u8, Withheld> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += space;
        rest.get(space).copied().ok_or(Withheld::Malformed)
    }

    /// Passes a byte that must be there.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Withheld> {
        if self.peek()? != byte {
            return Err(Withheld::Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes a byte if it is there.
    pub(super) fn passes(&mut self, byte: u8) -> Result<bool, Withheld> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        Ok(found)
    }

    /// Passes a string, a number, a boolean or a null, and gives it as it is written.
    pub(super) fn scalar(&mut self) -> Result<&'a str, Withheld> {
        let first = self.peek()?;
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = if first == b'"' {
            let mut at = 1;
            loop {
                let next =
                    memchr::memchr2(b'"', b'\\', rest.get(at..).unwrap_or_default()).ok_or(Withheld::Malformed)?;
                at += next;
                if rest.get(at) == Some(&b'"') {
                    break at + 1;
                }
                at += 2;
            }
        } else {
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')).count()
        };
        self.at += length;
        self.text.get(start..self.at).filter(|scalar| !scalar.is_empty()).ok_or(Withheld::Malformed)
    }

    /// Passes a name and its colon.
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>, Withheld> {
        let name = string_of(self.scalar()?)?;
        self.expect(b':')?;
        Ok(name)
    }

    /// Passes a whole value, whatever it holds.
    pub(super) fn value(&mut self) -> Result<&'a str, Withheld> {
        self.peek()?;
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Withheld::Malformed)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => {
                    self.scalar()?;
                }
            }
            if depth == 0 {
                return self.text.get(start..self.at).ok_or(Withheld::Malformed);
            }
        }
    }

    /// Visits the members of the object that begins here, with the place of each value. The place itself stays.
    pub(super) fn members(mut self, mut visit: impl FnMut(&str, Self) -> Result<(), Withheld>) -> Result<(), Withheld> {
        self.expect(b'{')?;
        if self.passes(b'}')? {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            self.peek()?;
            visit(&name, self)?;
            self.value()?;
            if self.passes(b'}')? {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Visits the elements of the array that begins here. The place itself stays.
    pub(super) fn elements(mut self, mut visit: impl FnMut(&'a str) -> Result<(), Withheld>) -> Result<(), Withheld> {
        self.expect(b'[')?;
        if self.passes(b']')? {
            return Ok(());
        }
        loop {
            visit(self.value()?)?;
            if self.passes(b']')? {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }
}

/// What a string says. Escapes that stand for no character (half a surrogate pair) can't be told, and nor can the name or
/// value that they are in.
pub(super) fn string_of(token: &str) -> Result<Cow<'_, str>, Withheld> {
    let inside = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(Withheld::Malformed)?;
    if inside.contains('\\') {
        serde_json::from_str(token).map(Cow::Owned).map_err(|_| Withheld::Malformed)
    } else {
        Ok(Cow::Borrowed(inside))
    }
}
