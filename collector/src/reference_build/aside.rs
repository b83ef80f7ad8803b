//! Columns set aside while their files are read: one after the other, in memory up to a bound, and past it in a file.
//!
//! Rows come side by side and a reference is made column by column, each gone through more than once. What is set aside is
//! read again from here, so that sources are read once, and memory does not grow with them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::values::Value;

/// Bytes that are moved at once.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of all columns together that stay in memory where nobody says more or less. Past it, full blocks go to a file.
pub(super) const MEMORY_BYTES: usize = 256 << 20;

/// The values of one column, in the order of their rows.
#[derive(Debug, Default)]
pub(super) struct Lane {
    blocks: Vec<Block>,
    /// The block that is being filled.
    open: Vec<u8>,
    values: u64,
}

#[derive(Debug)]
enum Block {
    Memory(Vec<u8>),
    File { at: u64, bytes: usize },
}

/// Where full blocks are.
#[derive(Debug)]
pub(super) struct Aside {
    memory_left: usize,
    /// Without a name: it is gone when this process is.
    file: Option<File>,
    file_bytes: u64,
}

impl Aside {
    /// So many bytes stay in memory.
    pub(super) fn holding(bytes: usize) -> Self {
        Self { memory_left: bytes, file: None, file_bytes: 0 }
    }

    fn keep(&mut self, block: Vec<u8>) -> io::Result<Block> {
        if let Some(left) = self.memory_left.checked_sub(block.len()) {
            self.memory_left = left;
            return Ok(Block::Memory(block));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all_at(&block, self.file_bytes)?;
        let at = self.file_bytes;
        self.file_bytes += block.len() as u64;
        Ok(Block::File { at, bytes: block.len() })
    }
}

impl Lane {
    /// Adds a value.
    pub(super) fn push(&mut self, value: &Value<'_>, aside: &mut Aside) -> io::Result<()> {
        self.open = postcard::to_extend(value, std::mem::take(&mut self.open)).map_err(io::Error::other)?;
        self.values += 1;
        if self.open.len() >= BLOCK_BYTES {
            let full = std::mem::take(&mut self.open);
            self.blocks.push(aside.keep(full)?);
        }
        Ok(())
    }

    /// Adds missing values until it has so many.
    pub(super) fn fill_to(&mut self, values: u64, aside: &mut Aside) -> io::Result<()> {
        (self.values..values).try_for_each(|_| self.push(&Value::Missing, aside))
    }

    /// Its values from the first on.
    pub(super) fn reader<'l>(&'l self, aside: &'l Aside) -> Reader<'l> {
        Reader { lane: self, aside, next_block: 0, block: Vec::new(), at: 0, left: self.values }
    }
}

/// Reads a lane from the first value on.
#[derive(Debug)]
pub(super) struct Reader<'l> {
    lane: &'l Lane,
    aside: &'l Aside,
    next_block: usize,
    block: Vec<u8>,
    at: usize,
    left: u64,
}

impl Reader<'_> {
    /// The next value; none after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Value<'_>>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.at == self.block.len() {
            self.load()?;
        }
        let (value, rest) = postcard::take_from_bytes(&self.block[self.at..]).map_err(io::Error::other)?;
        self.at = self.block.len() - rest.len();
        Ok(Some(value))
    }

    fn load(&mut self) -> io::Result<()> {
        self.block.clear();
        match self.lane.blocks.get(self.next_block) {
            Some(Block::Memory(bytes)) => self.block.extend_from_slice(bytes),
            Some(Block::File { at, bytes }) => {
                let file = self.aside.file.as_ref().ok_or_else(|| io::Error::other("what was set aside is gone"))?;
                self.block.resize(*bytes, 0);
                file.read_exact_at(&mut self.block, *at)?;
            }
            None => self.block.extend_from_slice(&self.lane.open),
        }
        self.next_block += 1;
        self.at = 0;
        Ok(())
    }
}

/// What there is to say when something cannot be set aside.
pub(super) fn no_room(error: io::Error) -> String {
    format!("what was read cannot be set aside: {error}; give the temporary folder room, or name another by TMPDIR")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Missing),
            Just(Value::Other),
            any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,40}".prop_map(|text| Value::Text(text.into())),
            proptest::collection::vec(-1f32..1.0, 0..9000).prop_map(Value::Vector),
            any::<i64>().prop_map(Value::Time),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_set_aside_comes_back_from_memory_and_file(
            columns in proptest::collection::vec(proptest::collection::vec(any_value(), 0..40), 1..4),
            memory in 0usize..300_000,
        ) {
            let mut aside = Aside::holding(memory);
            let mut lanes: Vec<Lane> = columns.iter().map(|_| Lane::default()).collect();
            for row in 0..40 {
                for (lane, values) in lanes.iter_mut().zip(&columns) {
                    if let Some(value) = values.get(row) {
                        lane.push(value, &mut aside).unwrap();
                    }
                }
            }
            for (lane, values) in lanes.iter().zip(&columns) {
                let mut reader = lane.reader(&aside);
                for value in values {
                    let read = reader.next().unwrap();
                    prop_assert_eq!(read.as_ref(), Some(value));
                }
                prop_assert_eq!(reader.next().unwrap(), None);
            }
        }
    }
}
