//! The messages of a gRPC body: each with a flag and its length before it, and compressed or not.

use std::borrow::Cow;

use crate::coding::{self, MAX_DECOMPRESSED_BYTES};
use crate::decode::DecodeError;
use crate::rows::Role;

/// Flag and length before a message.
const PREFIX_BYTES: usize = 5;
/// Most messages of one body: an empty one has five bytes, and what is read of it a hundred.
const MAX_READ: usize = 65_536;
const COMPRESSED: u8 = 1;
/// gRPC-Web puts trailers into the body, behind the last message.
const TRAILERS: u8 = 0x80;

/// The messages of a body, one by one, as they were before they were compressed.
#[derive(Debug)]
pub(crate) struct Messages<'a> {
    body: &'a [u8],
    /// What the header `grpc-encoding` says.
    encoding: Option<&'a str>,
    role: Role,
    /// Bytes that may still come of compressed messages.
    room: usize,
    /// Messages that may still be read.
    left: usize,
}

impl<'a> Messages<'a> {
    pub(crate) fn new(body: &'a [u8], encoding: Option<&'a str>, role: Role) -> Self {
        Self { body, encoding, role, room: MAX_DECOMPRESSED_BYTES, left: MAX_READ }
    }

    fn message(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.left = self.left.checked_sub(1).ok_or(DecodeError::TooManyMessages { role: self.role, most: MAX_READ })?;
        let malformed = |what: &str| DecodeError::Malformed { role: self.role, what: what.to_owned() };
        let ([flag, length @ ..], rest) =
            self.body.split_first_chunk::<PREFIX_BYTES>().ok_or_else(|| malformed("it ends before a gRPC message"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (message, rest) =
            rest.split_at_checked(length).ok_or_else(|| malformed("it ends inside a gRPC message"))?;
        self.body = rest;
        match *flag {
            0 => Ok(message.into()),
            COMPRESSED => {
                let plain = coding::undone(message, self.encoding, self.role, self.room)?;
                self.room -= plain.len().min(self.room);
                Ok(plain)
            }
            _ => Err(malformed("a gRPC message has an unknown flag")),
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Cow<'a, [u8]>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.first().is_none_or(|flag| flag & TRAILERS != 0) {
            return None;
        }
        let message = self.message();
        if message.is_err() {
            self.body = &[];
        }
        Some(message)
    }
}

#[cfg(test)]
pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(body: &[u8], encoding: Option<&str>) -> Result<Vec<Vec<u8>>, &'static str> {
        let messages = Messages::new(body, encoding, Role::Feature);
        messages.map(|message| message.map(Cow::into_owned).map_err(|error| error.reason())).collect()
    }

    #[test]
    fn messages_come_plain_and_compressed_and_trailers_are_none() {
        let zstd = zstd::bulk::compress(b"second", 1).unwrap();
        let body = [framed(0, b"first"), framed(1, &zstd), framed(0, b""), framed(0x80, b"grpc-status:0")].concat();
        assert_eq!(messages(&body, Some("zstd")).unwrap(), [&b"first"[..], b"second", b""]);
        assert_eq!(messages(&framed(1, b"as it is"), Some("identity")).unwrap(), [b"as it is"]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(messages(&framed(0, b"abc")[..7], None), Err("malformed"));
        assert_eq!(messages(b"\0\0\0", None), Err("malformed"));
        assert_eq!(messages(&framed(2, b""), None), Err("malformed"));
        assert_eq!(messages(&framed(1, b"no zstd"), Some("zstd")), Err("malformed"));
        assert_eq!(messages(&framed(1, b""), Some("snappy")), Err("content_encoding"));
    }

    #[test]
    fn a_body_of_nothing_but_prefixes_is_refused() {
        assert_eq!(messages(&framed(0, b"").repeat(MAX_READ), None).unwrap().len(), MAX_READ);
        assert_eq!(messages(&framed(0, b"").repeat(MAX_READ + 1), None), Err("too_many_messages"));
    }

    #[test]
    fn all_messages_of_a_body_share_one_bound() {
        let half = zstd::bulk::compress(&vec![0; MAX_DECOMPRESSED_BYTES / 2], 1).unwrap();
        let two = framed(1, &half).repeat(2);
        assert_eq!(messages(&two, Some("zstd")).unwrap().len(), 2);
        assert_eq!(messages(&[two, framed(1, &half)].concat(), Some("zstd")), Err("decompressed_size"));
    }
}
