//! Protobuf messages, field by field, as they lie.
//!
//! The messages of model servers are read without being built: a derived reader copies every text, and makes a structure of
//! two hundred bytes for each two bytes of a hostile body.

/// What a field holds, by how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    /// Bytes, a text, a message, or numbers one after the other.
    Bytes(&'a [u8]),
}

/// The fields of a message: their numbers and values, in the order in which they were written.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), &'static str> {
        let key = varint(&mut self.0)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0).ok_or("a field has no valid number")?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(fixed64(&mut self.0)?),
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(usize::try_from(length).ok().and_then(|length| take(&mut self.0, length)).ok_or(CUT)?)
            }
            5 => Value::Fixed32(fixed32(&mut self.0)?),
            _ => return Err("a field is of a wire type that is not used any more"),
        };
        Ok((number, value))
    }
}

const CUT: &str = "it ends inside a field";

impl<'a> Value<'a> {
    /// The bytes of a field that has some.
    pub(crate) fn bytes(self) -> Result<&'a [u8], &'static str> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err("a field holds a number where bytes should be"),
        }
    }

    /// Repeated numbers: one in each field, or one after the other. Both are allowed everywhere.
    pub(crate) fn varints(self, mut each: impl FnMut(u64) -> Result<(), &'static str>) -> Result<(), &'static str> {
        match self {
            Self::Varint(value) => each(value),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(varint(&mut packed)?)?;
                }
                Ok(())
            }
            _ => Err(NOT_NUMBERS),
        }
    }

    /// The same of numbers of four bytes.
    pub(crate) fn fixed32s(self, mut each: impl FnMut(u32) -> Result<(), &'static str>) -> Result<(), &'static str> {
        match self {
            Self::Fixed32(value) => each(value),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(fixed32(&mut packed)?)?;
                }
                Ok(())
            }
            _ => Err(NOT_NUMBERS),
        }
    }

    /// The same of numbers of eight bytes.
    pub(crate) fn fixed64s(self, mut each: impl FnMut(u64) -> Result<(), &'static str>) -> Result<(), &'static str> {
        match self {
            Self::Fixed64(value) => each(value),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(fixed64(&mut packed)?)?;
                }
                Ok(())
            }
            _ => Err(NOT_NUMBERS),
        }
    }
}

const NOT_NUMBERS: &str = "a field does not hold the numbers that it should";

/// A number of as many bytes as it needs, taken from the front.
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte has room for one bit; what is above it is dropped, as everybody does.
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() < 10 { CUT } else { "a number has more than ten bytes" })
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn fixed32(bytes: &mut &[u8]) -> Result<u32, &'static str> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(CUT)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*taken))
}

fn fixed64(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(CUT)?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, &'static str> {
        Fields(bytes).collect()
    }

    #[test]
    fn fields_of_every_kind_are_read_in_order() {
        let bytes = b"\x08\x96\x01\x12\x02ab\x1d\0\0\x80\x3f\x21\0\0\0\0\0\0\xf0\x3f\x12\0";
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"ab")),
            (3, Value::Fixed32(1f32.to_bits())),
            (4, Value::Fixed64(1f64.to_bits())),
            (2, Value::Bytes(b"")),
        ];
        assert_eq!(fields(bytes).unwrap(), expected);
    }

    #[test]
    fn what_is_no_message_says_why_once() {
        for (bytes, why) in [
            (&b"\x12\x03ab"[..], "ends inside"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends inside"),
            (b"\x08\x80", "ends inside"),
            (b"\x1d\0\0", "ends inside"),
            (b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "more than ten"),
            (b"\x00\x00", "no valid number"),
            (b"\x0b\x0c", "wire type"),
        ] {
            let error = fields(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert_eq!(Fields(bytes).count(), 1);
        }
    }

    #[test]
    fn numbers_come_packed_and_one_by_one() {
        let mut all = Vec::new();
        for field in [Value::Varint(1), Value::Bytes(b"\x02\xac\x02")] {
            field
                .varints(|value| {
                    all.push(value);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(all, [1, 2, 300]);
        assert!(Value::Bytes(b"\0\0\0").fixed32s(|_| Ok(())).is_err());
        assert!(Value::Varint(1).fixed64s(|_| Ok(())).is_err());
    }
}
