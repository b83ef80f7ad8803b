//! The messages of an Arrow stream, looked at before they are read.
//!
//! What a message says of itself is anybody's: lengths of gigabytes, buffers over one another, types that nest without end.
//! So each is held against the bytes that are there first, and nothing is made of it that they do not bear. Buffers are
//! then read where they lie. What the reader still trips over costs its request, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{DataType, Field, Schema};
use axum::body::Bytes;
use driftline_protocol::MAX_COLUMNS;

use super::super::row::{MAX_ROWS, bad, too_large};
use crate::ingest::refused::Refused;

/// Before a message's length, since 2019.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// What a file begins with.
const FILE_MAGIC: &[u8] = b"ARROW1";
/// How deep structures and lists may nest: their cells are read as JSON, which is not read deeper than 16.
const MAX_DEPTH: usize = 8;

/// Gives each batch of rows of a stream, after all of its messages were looked at.
pub(super) fn read(bytes: &Bytes, mut each: impl FnMut(&RecordBatch) -> Result<(), Refused>) -> Result<(), Refused> {
    guarded(|| check(bytes))?;
    let mut decoder = StreamDecoder::new();
    let mut rest = Buffer::from(bytes.clone());
    while let Some(batch) = guarded(|| decoder.decode(&mut rest).map_err(|error| wrong(&error)))? {
        each(&batch)?;
    }
    guarded(|| decoder.finish().map_err(|error| wrong(&error)))
}

/// The reader has been made to panic by what was written for that.
fn guarded<T>(read: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    let unreadable = |_| Err(wrong(&"its messages contradict themselves"));
    // After a panic nothing of what it worked on is looked at again.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(unreadable)
}

fn wrong(why: &dyn std::fmt::Display) -> Refused {
    bad(format!("the body is no Arrow stream that can be read: {why}"))
}

/// Holds all messages against the bytes that are there.
fn check(bytes: &[u8]) -> Result<(), Refused> {
    if bytes.starts_with(FILE_MAGIC) {
        return Err(wrong(
            &"it is a file; write it in the streaming format (pyarrow.ipc.new_stream, write_ipc_stream)",
        ));
    }
    let mut rest = bytes;
    let mut rows = 0usize;
    while let Some((metadata, behind)) = message(rest)? {
        let message = root_as_message(metadata).map_err(|error| wrong(&error))?;
        let length = usize::try_from(message.bodyLength()).ok();
        let (body, behind) = length.and_then(|length| behind.split_at_checked(length)).ok_or_else(cut)?;
        rest = behind;
        match message.header_type() {
            MessageHeader::Schema => {
                let schema = message.header_as_schema().ok_or_else(cut)?;
                check_types(&try_fb_to_schema(schema).map_err(|error| wrong(&error))?).map_err(bad)?;
            }
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch().ok_or_else(cut)?;
                if dictionary.isDelta() {
                    return Err(wrong(&"a dictionary is sent in pieces; send it whole (emit_dictionary_deltas=False)"));
                }
                check_buffers(dictionary.data().ok_or_else(cut)?, body)?;
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(cut)?;
                check_buffers(batch, body)?;
                rows = usize::try_from(batch.length()).ok().and_then(|more| rows.checked_add(more)).ok_or_else(cut)?;
                if rows > MAX_ROWS {
                    return Err(too_large(format!("more than {MAX_ROWS} rows; send them in several requests")));
                }
            }
            _ => return Err(wrong(&"it holds something else than a schema, dictionaries and batches of rows")),
        }
    }
    Ok(())
}

fn cut() -> Refused {
    wrong(&"it ends before its messages do, or says so")
}

/// A message's metadata, and what is behind it.
type Begun<'a> = (&'a [u8], &'a [u8]);

/// The next message; none at the stream's end.
fn message(bytes: &[u8]) -> Result<Option<Begun<'_>>, Refused> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = bytes.strip_prefix(&CONTINUATION).unwrap_or(bytes);
    let (length, bytes) = bytes.split_first_chunk().ok_or_else(cut)?;
    match u32::from_le_bytes(*length) as usize {
        0 => Ok(None),
        length => bytes.split_at_checked(length).map(Some).ok_or_else(cut),
    }
}

/// Buffers are within their body, and no two of them the same bytes: a short body would be many long columns.
fn check_buffers(batch: arrow_ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), Refused> {
    if batch.compression().is_some() {
        return Err(wrong(&"its buffers are compressed; send them as they are"));
    }
    let mut in_all = 0usize;
    for buffer in batch.buffers().iter().flatten() {
        let (offset, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let (Ok(offset), Ok(length)) = (offset, length) else { return Err(cut()) };
        let end = offset.checked_add(length).filter(|end| *end <= body.len());
        in_all = end.and_then(|_| in_all.checked_add(length)).ok_or_else(cut)?;
    }
    if in_all > body.len() { Err(wrong(&"its buffers overlap")) } else { Ok(()) }
}

/// A table may have as many columns as an exchange on each side, of types that a row can have.
fn check_types(schema: &Schema) -> Result<(), String> {
    let mut columns = 0;
    schema.fields().iter().try_for_each(|field| check_field(field, 0, &mut columns))
}

fn check_field(field: &Field, depth: usize, columns: &mut usize) -> Result<(), String> {
    let name = field.name();
    if depth > MAX_DEPTH {
        return Err(format!("column '{name}' nests deeper than {MAX_DEPTH}"));
    }
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        data_type => data_type,
    };
    match data_type {
        DataType::Struct(fields) => return fields.iter().try_for_each(|field| check_field(field, depth + 1, columns)),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            return check_field(item, depth + 1, columns);
        }
        data_type if !is_scalar(data_type) => {
            return Err(format!(
                "column '{name}' is of type {data_type}, which no row can have; cast it, or leave it out"
            ));
        }
        _ => *columns += 1,
    }
    if *columns > 2 * MAX_COLUMNS {
        Err(format!("the table has more than {} columns", 2 * MAX_COLUMNS))
    } else {
        Ok(())
    }
}

fn is_scalar(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Date64, Decimal128, Decimal256, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
    let is_number = data_type.is_integer() || data_type.is_floating();
    is_number
        || matches!(data_type, Null | Boolean | Utf8 | LargeUtf8 | Utf8View | Timestamp(..) | Date32 | Date64)
        || matches!(data_type, Decimal128(..) | Decimal256(..))
}
