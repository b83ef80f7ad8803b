//! Codings: what a body or a gRPC message was compressed with, undone within a bound.
//!
//! A few kilobytes may claim gigabytes. Nothing here makes more than it was allowed to, whatever the input says, and no
//! decoder keeps a window of more than 16 MiB.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use crate::decode::DecodeError;
use crate::rows::Role;

/// Most bytes that a body decompresses to, and all messages of a body together. So much holds about as many cells as an
/// exchange may have; a body that was not compressed is bounded by its batch.
pub const MAX_DECOMPRESSED_BYTES: usize = 16 << 20;
/// Most codings of one body. One is usual, and a proxy may add its own; each costs up to the bound once.
const MAX_CODINGS: usize = 2;
/// Window of zstd that a decoder has to support for HTTP, and need not exceed: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;
/// Room that output grows by at first.
const FIRST_OUTPUT_BYTES: usize = 16 << 10;

/// One coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    const CHOICES: [(&'static str, Self); 5] = [
        ("gzip", Self::Gzip),
        ("x-gzip", Self::Gzip),
        ("deflate", Self::Deflate),
        ("br", Self::Brotli),
        ("zstd", Self::Zstd),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::CHOICES.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, coding)| coding)
    }

    /// The bytes before they were compressed; one more than the limit where there are more.
    fn undo(self, bytes: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(bytes), limit),
            Self::Deflate => inflate(bytes, limit),
            Self::Brotli if has_large_window(bytes) => Err(io::Error::other("its window is larger than 16 MiB")),
            Self::Brotli => read(brotli_decompressor::Decompressor::new(bytes, FIRST_OUTPUT_BYTES), limit),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                read(decoder, limit)
            }
        }
    }
}

/// A body without the codings that its header names, the last of them undone first.
///
/// # Errors
/// When a coding is unknown or there are too many, when the bytes are not what it says, or when there are more than the
/// limit.
pub(crate) fn undone<'a>(
    bytes: &'a [u8],
    header: Option<&str>,
    role: Role,
    limit: usize,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let header = header.unwrap_or_default();
    let names = header.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<&str> = names.filter(|name| !name.eq_ignore_ascii_case("identity")).take(MAX_CODINGS + 1).collect();
    let unknown = || DecodeError::ContentEncoding { role, encoding: header.to_owned() };
    if names.len() > MAX_CODINGS {
        return Err(unknown());
    }
    let mut body = Cow::Borrowed(bytes);
    for name in names.into_iter().rev() {
        let coding = Coding::named(name).ok_or_else(unknown)?;
        let plain = coding.undo(&body, limit);
        let plain = plain.map_err(|error| DecodeError::Malformed {
            role,
            what: format!("its coding '{name}' is broken: {error}"),
        })?;
        if plain.len() > limit {
            return Err(DecodeError::DecompressedSize { role });
        }
        body = Cow::Owned(plain);
    }
    Ok(body)
}

/// Brotli's large windows are no part of the coding (RFC 7932, section 9.1), but its reader takes them, and may allocate a
/// gigabyte for one. The first seven bits tell.
fn has_large_window(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x7f == 0x11)
}

fn read(decoder: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut plain)?;
    Ok(plain)
}

/// `deflate` means zlib's format; some senders leave its frame out, and readers have always taken both. The reader of
/// `flate2` takes a cut stream for a whole one, so the end is looked for here.
fn inflate(bytes: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let is_zlib = matches!(bytes, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31));
    let mut inflater = Decompress::new(is_zlib);
    let mut plain = Vec::new();
    while plain.len() <= limit {
        if plain.len() == plain.capacity() {
            plain.reserve(plain.len().max(FIRST_OUTPUT_BYTES));
        }
        let rest = bytes.get(inflater.total_in() as usize..).unwrap_or_default();
        let status = inflater.decompress_vec(rest, &mut plain, FlushDecompress::None)?;
        if status == Status::StreamEnd {
            break;
        }
        if plain.len() < plain.capacity() && inflater.total_in() as usize == bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    plain.truncate(limit + 1);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &[u8] = b"{\"instances\": [[1, 2, 3]]}";
    /// The same in Brotli, as it is written when nothing repeats.
    const BROTLI: &[u8] = b"\x8b\x0c\x80{\"instances\": [[1, 2, 3]]}\x03";

    fn compressed(name: &str, plain: &[u8]) -> Vec<u8> {
        let level = Compression::default();
        match name {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::bulk::compress(plain, 1).unwrap(),
        }
    }

    fn undo(bytes: &[u8], header: &str) -> Result<Vec<u8>, &'static str> {
        let undone = undone(bytes, Some(header), Role::Feature, MAX_DECOMPRESSED_BYTES);
        undone.map(Cow::into_owned).map_err(|error| error.reason())
    }

    #[test]
    fn brotli_and_deflate_without_a_frame_are_undone() {
        assert_eq!(undo(BROTLI, "br").unwrap(), PLAIN);
        assert_eq!(undo(&BROTLI[..20], "br"), Err("malformed"));
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(PLAIN).unwrap();
        assert_eq!(undo(&encoder.finish().unwrap(), "deflate").unwrap(), PLAIN);
    }

    #[test]
    fn codings_are_undone_from_the_last_and_only_a_few() {
        let twice = compressed("zstd", &compressed("gzip", PLAIN));
        assert_eq!(undo(&twice, "GZIP, identity, zstd").unwrap(), PLAIN);
        assert_eq!(undo(&twice, "gzip, gzip, zstd"), Err("content_encoding"));
        assert_eq!(undo(PLAIN, "snappy"), Err("content_encoding"));
        for plain in ["", "identity", " , "] {
            assert_eq!(undo(PLAIN, plain).unwrap(), PLAIN);
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let zeros = vec![0; MAX_DECOMPRESSED_BYTES + 1];
        for name in ["gzip", "deflate", "zstd"] {
            let bomb = compressed(name, &zeros);
            assert!(bomb.len() < 100_000, "{name}");
            assert_eq!(undo(&bomb, name), Err("decompressed_size"), "{name}");
            assert_eq!(undo(&compressed(name, &zeros[1..]), name).unwrap().len(), MAX_DECOMPRESSED_BYTES, "{name}");
        }
    }

    #[test]
    fn a_window_past_the_bound_is_refused() {
        let large = [&[0x11, 30][..], &BROTLI[1..]].concat();
        let error = undone(&large, Some("br"), Role::Feature, MAX_DECOMPRESSED_BYTES).unwrap_err();
        assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&vec![7; 1 << 20]).unwrap();
        assert_eq!(undo(&encoder.finish().unwrap(), "zstd"), Err("malformed"));
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back_and_what_was_cut_does_not(
            plain in proptest::collection::vec(any::<u8>(), 0..2000),
            name in prop_oneof![Just("gzip"), Just("deflate"), Just("zstd")],
            at in any::<prop::sample::Index>(),
        ) {
            let bytes = compressed(name, &plain);
            prop_assert_eq!(undo(&bytes, name), Ok(plain));
            let cut = at.index(bytes.len());
            // Nothing at all is a stream of no members.
            if cut > 0 {
                prop_assert_eq!(undo(&bytes[..cut], name), Err("malformed"));
            }
        }

        #[test]
        fn any_bytes_are_undone_within_the_limit_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            name in prop_oneof![Just("gzip"), Just("deflate"), Just("br"), Just("zstd")],
        ) {
            if let Ok(plain) = undone(&bytes, Some(name), Role::Feature, 100) {
                prop_assert!(plain.len() <= 100);
            }
        }
    }
}
