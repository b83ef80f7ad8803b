//! Server-sent events, as the WHATWG's HTML standard has them: the data of each.

use std::borrow::Cow;

/// The data of each event of a body. What the body ends within is an event, too: a server that closes right after the last
/// one means it.
pub(crate) fn data_of_events(body: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    Events { lines: Lines { rest: body } }
}

struct Events<'a> {
    lines: Lines<'a>,
}

impl<'a> Iterator for Events<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut data: Option<Cow<'a, [u8]>> = None;
        for line in self.lines.by_ref() {
            if line.is_empty() {
                if data.is_some() {
                    return data;
                }
                continue;
            }
            let Some(value) = field_data(line) else { continue };
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    data.to_mut().push(b'\n');
                    data.to_mut().extend_from_slice(value);
                }
            }
        }
        data
    }
}

/// The value of a line of data; none of comments and other fields.
fn field_data(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
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
        data_of_events(body.as_bytes()).map(|data| String::from_utf8(data.into_owned()).unwrap()).collect()
    }

    #[test]
    fn events_are_told_apart_as_the_standard_says() {
        assert_eq!(read("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d"), ["a", "b", "c", "d"]);
        assert_eq!(read(": hello\nevent: x\nid: 1\ndata:a\ndata:  b\n\n: bye\n\n"), ["a\n b"]);
        assert_eq!(read("data\n\ndata\ndata\n\ndata:"), ["", "\n", ""], "the standard's own example");
        assert_eq!(read("\u{feff}data: a\n\n\n\n\ndatabase: b\n\n"), ["a"]);
        assert_eq!(read(""), [""; 0]);
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
