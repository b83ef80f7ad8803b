//! The chunked transfer coding (RFC 9112, section 7.1), one byte at a time where it must and in slices where it can.

use crate::reader::Unreadable;

/// Longest chunk-size line and longest trailer section that are followed.
const MAX_LINE_BYTES: u32 = 16 << 10;

/// Where in a chunked body the next byte falls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    size: u64,
    /// Bytes of the current line, or of the trailer section.
    line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the hexadecimal digits; whether there was one.
    Size(bool),
    /// In whatever follows them, up to the line's end.
    Extension,
    Data,
    /// After the data: the line end that closes it.
    DataEnd,
    /// At the beginning of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    Trailer,
}

/// What feeding bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// All bytes belong to the body, and it goes on.
    More,
    /// The body ended; this many bytes belonged to it.
    End(usize),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size(false), size: 0, line: 0 }
    }

    /// Follows bytes, and hands on those that are data.
    pub(super) fn feed(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<Fed, Unreadable> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let take = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - at);
                data(&bytes[at..at + take]);
                at += take;
                self.size -= take as u64;
                if self.size == 0 {
                    self.state = State::DataEnd;
                    self.line = 0;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            self.line += 1;
            if self.line > MAX_LINE_BYTES {
                return Err(Unreadable::HeadTooLarge);
            }
            self.state = match (self.state, byte) {
                (State::Size(_), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    if self.size >> 60 != 0 {
                        return Err(Unreadable::Malformed);
                    }
                    let digit = char::from(byte).to_digit(16).unwrap_or(0);
                    self.size = self.size << 4 | u64::from(digit);
                    State::Size(true)
                }
                (State::Size(true), b'\n') | (State::Extension, b'\n') => {
                    self.line = 0;
                    if self.size == 0 { State::TrailerStart } else { State::Data }
                }
                (State::Size(true), b';' | b'\r' | b' ' | b'\t') => State::Extension,
                (State::Extension, _) => State::Extension,
                (State::DataEnd, b'\r') => State::DataEnd,
                (State::DataEnd, b'\n') => {
                    self.line = 0;
                    State::Size(false)
                }
                (State::TrailerStart, b'\n') => return Ok(Fed::End(at)),
                (State::TrailerStart, b'\r') => State::TrailerStart,
                (State::Trailer, b'\n') => State::TrailerStart,
                (State::TrailerStart | State::Trailer, _) => State::Trailer,
                (State::Size(_) | State::DataEnd | State::Data, _) => return Err(Unreadable::Malformed),
            };
        }
        Ok(Fed::More)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(parts: &[&[u8]]) -> Result<(Vec<u8>, usize), Unreadable> {
        let mut chunked = Chunked::new();
        let mut data = Vec::new();
        let mut consumed = 0;
        for part in parts {
            match chunked.feed(part, |bytes| data.extend_from_slice(bytes))? {
                Fed::More => consumed += part.len(),
                Fed::End(at) => return Ok((data, consumed + at)),
            }
        }
        Err(Unreadable::UnexpectedResponse) // stands for "not ended" here
    }

    const BODY: &[u8] = b"5;name=value\r\nhello\r\n00A\r\n, chunks!!\r\n0\r\nX-Checksum: 1\r\nY: 2\r\n\r\n";

    proptest! {
        #[test]
        fn any_split_of_the_bytes_reads_the_same(cuts in proptest::collection::vec(0..=BODY.len(), 0..6)) {
            let mut cuts = [cuts, vec![0, BODY.len()]].concat();
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &BODY[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&parts), Ok((b"hello, chunks!!".to_vec(), BODY.len())));
        }
    }

    #[test]
    fn what_follows_the_body_is_left_alone() {
        assert_eq!(read(&[b"1\r\na\r\n0\r\n\r\nPOST /"]), Ok((b"a".to_vec(), 11)));
    }

    #[test]
    fn broken_grammar_is_given_up() {
        for body in [b"x\r\n".as_slice(), b"\r\n", b"3\r\nabcd\r\n", b"fffffffffffffffff\r\n", b"-1\r\n"] {
            assert_eq!(read(&[body]), Err(Unreadable::Malformed), "{body:?}");
        }
        assert_eq!(read(&[&[b'1'; 1], &[b';'; 20_000]]), Err(Unreadable::HeadTooLarge));
    }
}
