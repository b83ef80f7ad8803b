//! Tensors as raw bytes: little-endian values in row-major order, texts each with their length in four bytes before them.
//! The binary tensor extension of V2 and `raw_input_contents` of its gRPC form write them alike.

use crate::cells::Cells;
use crate::rows::Cell;
use crate::tensors::Datatype;

/// The values of a tensor that must have so many. Nothing is allocated for values that are not there.
pub(crate) fn cells(bytes: &[u8], datatype: Datatype, expected: usize) -> Result<Cells<'_>, String> {
    let integer = Cell::Integer;
    let cells = match datatype {
        Datatype::Bool => fixed(bytes, expected, |[byte]| Cell::Boolean(byte != 0)),
        Datatype::Uint8 => fixed(bytes, expected, |[byte]| integer(byte.into())),
        Datatype::Uint16 => fixed(bytes, expected, |value| integer(u16::from_le_bytes(value).into())),
        Datatype::Uint32 => fixed(bytes, expected, |value| integer(u32::from_le_bytes(value).into())),
        Datatype::Uint64 => fixed(bytes, expected, |value| unsigned(u64::from_le_bytes(value))),
        Datatype::Int8 => fixed(bytes, expected, |value| integer(i8::from_le_bytes(value).into())),
        Datatype::Int16 => fixed(bytes, expected, |value| integer(i16::from_le_bytes(value).into())),
        Datatype::Int32 => fixed(bytes, expected, |value| integer(i32::from_le_bytes(value).into())),
        Datatype::Int64 => fixed(bytes, expected, |value| integer(i64::from_le_bytes(value))),
        Datatype::Fp16 => return numbers(bytes, expected, |value| half(u16::from_le_bytes(value))),
        Datatype::Bf16 => return numbers(bytes, expected, |value| brain(u16::from_le_bytes(value))),
        Datatype::Fp32 => return numbers(bytes, expected, |value| f32::from_le_bytes(value).into()),
        Datatype::Fp64 => return numbers(bytes, expected, f64::from_le_bytes),
        Datatype::Bytes => texts(bytes, expected),
    };
    cells.map(Cells::Any)
}

fn numbers<const SIZE: usize>(
    bytes: &[u8],
    expected: usize,
    number: impl Fn([u8; SIZE]) -> f64,
) -> Result<Cells<'_>, String> {
    fixed(bytes, expected, number).map(Cells::Numbers)
}

/// An unsigned integer; past what a signed one holds, a number.
pub(crate) fn unsigned(value: u64) -> Cell<'static> {
    i64::try_from(value).map_or(Cell::Number(value as f64), Cell::Integer)
}

/// Bytes as text; what is not UTF-8 in them is replaced.
pub(crate) fn text(bytes: &[u8]) -> Cell<'_> {
    Cell::Text(String::from_utf8_lossy(bytes))
}

fn fixed<T, const SIZE: usize>(
    bytes: &[u8],
    expected: usize,
    cell: impl Fn([u8; SIZE]) -> T,
) -> Result<Vec<T>, String> {
    if Some(bytes.len()) != expected.checked_mul(SIZE) {
        return Err(format!("it has {} bytes, and its shape holds {expected} values of {SIZE}", bytes.len()));
    }
    Ok(bytes.as_chunks().0.iter().map(|value| cell(*value)).collect())
}

fn texts(mut bytes: &[u8], expected: usize) -> Result<Vec<Cell<'_>>, String> {
    let mut cells = Vec::with_capacity(expected.min(bytes.len() / size_of::<u32>()));
    while !bytes.is_empty() {
        if cells.len() == expected {
            return Err(format!("it has bytes behind the {expected} values of its shape"));
        }
        let text = bytes
            .split_first_chunk()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let Some((own, rest)) = text else {
            return Err(format!("it ends inside value {} of {expected}", cells.len() + 1));
        };
        cells.push(self::text(own));
        bytes = rest;
    }
    Ok(cells)
}

/// A half-precision float (IEEE 754 binary16).
pub(crate) fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

/// A brain float: the upper half of a single-precision one.
pub(crate) fn brain(bits: u16) -> f64 {
    f32::from_bits(u32::from(bits) << 16).into()
}

#[cfg(test)]
pub(crate) mod writing {
    //! The other way, for tests: what a client does.

    use super::*;

    /// The raw bytes of values of a datatype that they are exact in.
    pub(crate) fn bytes(cells: &[Cell<'_>], datatype: Datatype) -> Vec<u8> {
        cells.iter().flat_map(|cell| value(cell, datatype)).collect()
    }

    fn value(cell: &Cell<'_>, datatype: Datatype) -> Vec<u8> {
        match (datatype, cell) {
            (Datatype::Bool, Cell::Boolean(value)) => vec![u8::from(*value)],
            (Datatype::Uint8 | Datatype::Int8, Cell::Integer(value)) => value.to_le_bytes()[..1].into(),
            (Datatype::Uint16 | Datatype::Int16, Cell::Integer(value)) => value.to_le_bytes()[..2].into(),
            (Datatype::Uint32 | Datatype::Int32, Cell::Integer(value)) => value.to_le_bytes()[..4].into(),
            (Datatype::Uint64 | Datatype::Int64, Cell::Integer(value)) => value.to_le_bytes().into(),
            (Datatype::Uint64, Cell::Number(value)) => (*value as u64).to_le_bytes().into(),
            (Datatype::Fp16, Cell::Number(value)) => half::f16::from_f64(*value).to_le_bytes().into(),
            (Datatype::Bf16, Cell::Number(value)) => half::bf16::from_f64(*value).to_le_bytes().into(),
            (Datatype::Fp32, Cell::Number(value)) => (*value as f32).to_le_bytes().into(),
            (Datatype::Fp64, Cell::Number(value)) => value.to_le_bytes().into(),
            (Datatype::Bytes, Cell::Text(text)) => [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat(),
            (datatype, cell) => panic!("{cell:?} is no {datatype:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_and_brain_float_is_read_to_the_bit() {
        for bits in 0..=u16::MAX {
            let same = |ours: f64, theirs: f64| ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            assert!(same(half(bits), half::f16::from_bits(bits).to_f64()), "{bits:#x}");
            assert!(same(brain(bits), half::bf16::from_bits(bits).to_f64()), "{bits:#x}");
        }
    }

    #[test]
    fn bytes_that_are_too_few_or_too_many_are_refused() {
        for (_, datatype) in Datatype::CHOICES {
            assert!(cells(&[], datatype, 1).map_or(true, |cells| cells.len() != 1), "{datatype:?}");
            assert!(cells(&[0; 3], datatype, 7).map_or(true, |cells| cells.len() != 7), "{datatype:?}");
            assert!(cells(&[0; 16], datatype, usize::MAX).map_or(true, |cells| cells.len() < 5), "{datatype:?}");
            assert!(cells(&[0; 24], datatype, 2).is_err(), "{datatype:?}");
        }
        assert!(cells(b"\x02\0\0\0ab\xff\xff\xff\xffab", Datatype::Bytes, 2).unwrap_err().contains("value 2 of 2"));
    }

    #[test]
    fn what_no_signed_integer_holds_is_a_number_and_bytes_need_not_be_text() {
        let largest = cells(&[0xff; 8], Datatype::Uint64, 1).unwrap();
        assert_eq!(largest, [Cell::Number(18_446_744_073_709_551_615.0)]);
        assert_eq!(cells(b"\x01\0\0\0\xff", Datatype::Bytes, 1).unwrap(), [Cell::Text("\u{fffd}".into())]);
    }
}
