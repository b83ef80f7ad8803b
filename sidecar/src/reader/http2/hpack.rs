//! HPACK decoding (RFC 7541): header blocks to header lists, within bounds.
//!
//! Written here because the pump's thread runs it on bytes that anybody may send. Of the crates that decode HPACK alone,
//! one panics on an integer that is cut off and copies the rest of a block for each field, and one builds a hash map of the
//! whole Huffman code for each string: 20,000 times for a block of 64 KiB. This one allocates only for what enters the
//! dynamic table.

use std::collections::VecDeque;

use super::huffman;
use super::static_table::STATIC_TABLE;
use crate::reader::Unreadable;
use crate::reader::capture::Fields;

/// Largest dynamic table that is followed, and the one that both sides begin with. Known servers and clients allow 4 KiB to
/// 64 KiB.
const MAX_TABLE_BYTES: usize = 64 << 10;
const FIRST_TABLE_BYTES: usize = 4096;
/// What an entry counts besides its bytes (RFC 7541, section 4.1).
const ENTRY_BYTES: usize = 32;
/// Longest header list. Servers commonly stop at 8 to 64 KiB themselves.
const MAX_LIST_BYTES: usize = 64 << 10;
/// A list's memory is kept for the next one up to here.
const KEPT_LIST_BYTES: usize = 4 << 10;

/// One direction's decoder: the dynamic table as its sender has it.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    /// What the entries count, and may count.
    size: usize,
    max_size: usize,
}

#[derive(Debug)]
struct Entry {
    /// The name, then the value.
    bytes: Box<[u8]>,
    name_bytes: usize,
}

/// A decoded header list. Its memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct FieldList {
    bytes: Vec<u8>,
    /// Where each field's name and value end.
    ends: Vec<(u32, u32)>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, max_size: FIRST_TABLE_BYTES }
    }

    /// The memory that the table counts.
    pub(super) fn table_bytes(&self) -> usize {
        self.size
    }

    /// The receiver allows this much, and the sender knows. It may say again that it uses less.
    pub(super) fn allow(&mut self, max_size: usize) {
        if max_size < self.max_size {
            self.resize(max_size);
        }
    }

    /// Decodes a whole header block.
    pub(super) fn decode(&mut self, mut block: &[u8], list: &mut FieldList) -> Result<(), Unreadable> {
        list.clear();
        while let Some(first) = block.first() {
            match first.leading_zeros() {
                // An indexed field.
                0 => {
                    let index = integer(&mut block, 7)?;
                    let (name, value) = self.entry(index)?;
                    list.push(name, value)?;
                }
                // A literal that enters the table.
                1 => {
                    self.literal(&mut block, 6, list)?;
                    if let Some((name, value)) = list.last() {
                        self.insert(name, value);
                    }
                }
                // A new size of the table, which only a block's beginning may hold.
                2 if list.ends.is_empty() => {
                    let max_size = integer(&mut block, 5)?;
                    if max_size > MAX_TABLE_BYTES {
                        return Err(Unreadable::HeadTooLarge);
                    }
                    self.resize(max_size);
                }
                2 => return Err(Unreadable::Malformed),
                // A literal that does not.
                _ => self.literal(&mut block, 4, list)?,
            }
        }
        Ok(())
    }

    fn literal(&self, block: &mut &[u8], prefix_bits: u32, list: &mut FieldList) -> Result<(), Unreadable> {
        match integer(block, prefix_bits)? {
            0 => string(block, &mut list.bytes)?,
            index => list.bytes.extend_from_slice(self.entry(index)?.0),
        }
        let name_end = list.bytes.len();
        string(block, &mut list.bytes)?;
        list.end(name_end)
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Unreadable> {
        let index = index.checked_sub(1).ok_or(Unreadable::Malformed)?;
        if let Some((name, value)) = STATIC_TABLE.get(index) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(index - STATIC_TABLE.len()).ok_or(Unreadable::Malformed)?;
        Ok(entry.bytes.split_at(entry.name_bytes))
    }

    fn insert(&mut self, name: &[u8], value: &[u8]) {
        let bytes = name.len() + value.len() + ENTRY_BYTES;
        self.evict_to(self.max_size.saturating_sub(bytes));
        // One that is too large for the whole table empties it, and does not enter (RFC 7541, section 4.4).
        if bytes <= self.max_size {
            self.size += bytes;
            self.entries.push_front(Entry { bytes: [name, value].concat().into(), name_bytes: name.len() });
        }
    }

    fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict_to(max_size);
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.bytes.len() + ENTRY_BYTES;
        }
    }
}

impl FieldList {
    /// Forgets the fields, and gives memory back that few lists need.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(KEPT_LIST_BYTES);
        self.ends.shrink_to(KEPT_LIST_BYTES / ENTRY_BYTES);
    }

    /// The memory that it holds, used or not.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<(u32, u32)>()
    }

    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        self.bytes.extend_from_slice(name);
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.end(name_end)
    }

    /// Ends a field whose bytes are there.
    fn end(&mut self, name_end: usize) -> Result<(), Unreadable> {
        if self.bytes.len() + (self.ends.len() + 1) * ENTRY_BYTES > MAX_LIST_BYTES {
            return Err(Unreadable::HeadTooLarge);
        }
        self.ends.push((name_end as u32, self.bytes.len() as u32));
        Ok(())
    }

    fn last(&self) -> Option<(&[u8], &[u8])> {
        self.get(self.ends.len().checked_sub(1)?)
    }

    fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let start = if index == 0 { 0 } else { self.ends.get(index - 1)?.1 };
        let (name_end, value_end) = *self.ends.get(index)?;
        Some((
            self.bytes.get(start as usize..name_end as usize)?,
            self.bytes.get(name_end as usize..value_end as usize)?,
        ))
    }
}

impl Fields for FieldList {
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // A name that is not ASCII is no name.
        let named = |(name, value)| Some((std::str::from_utf8(name).ok()?, value));
        (0..self.ends.len()).filter_map(|index| self.get(index)).filter_map(named)
    }
}

/// An integer whose first bits share a byte with something else (RFC 7541, section 5.1), of up to 28 bits more.
fn integer(block: &mut &[u8], prefix_bits: u32) -> Result<usize, Unreadable> {
    let mut next = || {
        let (byte, rest) = block.split_first().ok_or(Unreadable::Malformed)?;
        *block = rest;
        Ok(usize::from(*byte))
    };
    let mask = (1 << prefix_bits) - 1;
    let mut value = next()? & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unreadable::Malformed)
}

/// A string, plain or in the Huffman code (RFC 7541, section 5.2).
fn string(block: &mut &[u8], text: &mut Vec<u8>) -> Result<(), Unreadable> {
    let is_huffman = block.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = integer(block, 7)?;
    let (string, rest) = block.split_at_checked(length).ok_or(Unreadable::Malformed)?;
    *block = rest;
    if is_huffman {
        // No code is shorter than five bits, and so no text longer than this; a block's own bound bounds it, too.
        huffman::decode(string, text).ok_or(Unreadable::Malformed)
    } else {
        text.extend_from_slice(string);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Unreadable> {
        let mut list = FieldList::default();
        decoder.decode(block, &mut list)?;
        Ok(list.fields().map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned())).collect())
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_standards_own_requests_decode() {
        // RFC 7541, appendix C.4: with Huffman code, three requests on one connection.
        let mut decoder = Decoder::new();
        let first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        let block = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(decode(&mut decoder, block).unwrap(), owned(&first));
        let second = [first.as_slice(), &[("cache-control", "no-cache")]].concat();
        let block = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        assert_eq!(decode(&mut decoder, block).unwrap(), owned(&second));
        let block = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        let third = decode(&mut decoder, block).unwrap();
        assert_eq!(third[1..3], owned(&[(":scheme", "https"), (":path", "/index.html")]));
        assert_eq!(third[4], ("custom-key".to_owned(), "custom-value".to_owned()));
        assert_eq!(decoder.table_bytes(), 164);
    }

    #[test]
    fn the_table_evicts_and_follows_its_size() {
        let mut decoder = Decoder::new();
        let literal = |name: &str, value: &str| {
            [&[0x40, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
        };
        // Room for one entry of 34.
        let block = [vec![0x3f, 40 - 31], literal("a", "1"), literal("b", "2"), vec![0xbe]].concat();
        let fields = decode(&mut decoder, &block).unwrap();
        assert_eq!(fields, owned(&[("a", "1"), ("b", "2"), ("b", "2")]));
        assert_eq!(decoder.table_bytes(), 34);
        assert_eq!(decode(&mut decoder, &[0xbf]), Err(Unreadable::Malformed), "evicted");
        // One that is too large empties it.
        decode(&mut decoder, &literal("name", "long value")).unwrap();
        assert_eq!(decoder.table_bytes(), 0);
        decode(&mut decoder, &literal("a", "1")).unwrap();
        decoder.allow(4096);
        assert_eq!(decoder.table_bytes(), 34, "what is allowed is not yet used");
        decoder.allow(0);
        assert_eq!(decoder.table_bytes(), 0);
    }

    #[test]
    fn what_breaks_the_grammar_or_the_bounds_is_refused() {
        let refused = |block: &[u8]| decode(&mut Decoder::new(), block).unwrap_err();
        for block in [
            b"\x80".as_slice(),
            b"\xbe",
            b"\xff",
            b"\xff\xff\xff\xff\xff\x01",
            b"\x40",
            b"\x40\x01",
            b"\x40\x01a",
            b"\x40\x01a\x05b",
            b"\x00\x81\x00\x00",
            b"\x82\x20",
        ] {
            assert_eq!(refused(block), Unreadable::Malformed, "{block:x?}");
        }
        assert_eq!(refused(b"\x3f\xe2\xff\x03"), Unreadable::HeadTooLarge, "a table past the bound");
        assert_eq!(refused(&[0x82; 3000]), Unreadable::HeadTooLarge, "a list past the bound");
    }

    proptest! {
        #[test]
        fn any_blocks_decode_or_are_refused_within_the_bounds(
            blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8)
        ) {
            let mut decoder = Decoder::new();
            let mut list = FieldList::default();
            for block in blocks {
                decoder.decode(&block, &mut list).ok();
                let entries: usize = decoder.entries.iter().map(|entry| entry.bytes.len() + ENTRY_BYTES).sum();
                prop_assert_eq!(entries, decoder.size);
                prop_assert!(decoder.size <= decoder.max_size && decoder.max_size <= MAX_TABLE_BYTES);
            }
        }
    }
}
