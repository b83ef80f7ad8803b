//! Server-sent events, as the WHATWG's HTML standard has them: the data of each, and whether it is called an error.

use std::borrow::Cow;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) data: Cow<'a, [u8]>,
    /// Whether its type is `error`.
    pub(crate) is_error: bool,
}

/// The events of a body that have data. What the body ends within is an event, too: a server that closes right after the
/// last one means it.
pub(crate) fn events(body: &[u8]) -> impl Iterator<Item = Event<'_>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    Events { lines: Lines { rest: body } }
}

struct Events<'a> {
    lines: Lines<'a>,
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut data: Option<Cow<'a, [u8]>> = None;
        let mut is_error = false;
        for line in self.lines.by_ref() {
            if line.is_empty() {
                if data.is_some() {
                    break;
                }
                is_error = false;
                continue;
            }
            if let Some(kind) = field(line, b"event") {
                is_error = kind == b"error";
            }
            let Some(value) = field(line, b"data") else { continue };
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    data.to_mut().push(b'\n');
                    data.to_mut().extend_from_slice(value);
                }
            }
        }
        data.map(|data| Event { data, is_error })
    }
}

/// The value of a line with a field of this name; none of comments and other fields.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Lines that end with CR, LF or both.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Vec<String> {
        events(body.as_bytes()).map(|event| String::from_utf8(event.data.into_owned()).unwrap()).collect()
    }

    #[test]
    fn events_are_told_apart_as_the_standard_says() {
        assert_eq!(read("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d"), ["a", "b", "c", "d"]);
        assert_eq!(read(": hello\nevent: x\nid: 1\ndata:a\ndata:  b\n\n: bye\n\n"), ["a\n b"]);
        assert_eq!(read("data\n\ndata\ndata\n\ndata:"), ["", "\n", ""], "the standard's own example");
        assert_eq!(read("\u{feff}data: a\n\n\n\n\ndatabase: b\n\n"), ["a"]);
        assert_eq!(read(""), [""; 0]);
    }

    #[test]
    fn an_event_is_an_error_by_its_own_type_only() {
        let are_errors = |body: &str| events(body.as_bytes()).map(|event| event.is_error).collect::<Vec<_>>();
        assert_eq!(are_errors("event: error\ndata: a\n\ndata: b\n\ndata: c\nevent:error"), [true, false, true]);
        assert_eq!(are_errors("event: error\n\ndata: a\n\nevent: errors\ndata: b\n\n"), [false, false]);
        assert_eq!(are_errors("event: error\nevent: message\ndata: a"), [false], "the last one says it");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(events in proptest::collection::vec("[a-z \n]{0,20}", 0..8), end in "(\n|\r|\r\n)") {
            let mut body = String::new();
            for event in &events {
                event.split('\n').for_each(|line| body += &format!("data: {line}{end}"));
                body += &end;
            }
            prop_assert_eq!(read(&body), events);
        }
    }
}
