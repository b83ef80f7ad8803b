//! V2's JSON as nearly everybody writes it, read in one go.
//!
//! A reader of any JSON asks of each value what it is. Here a tensor's datatype says what its data holds, so a number goes
//! straight from its digits to its column. Read is what is written plainly: shape and datatype before the data, numbers or
//! texts in it and nothing else, no escapes, no name twice. All other bodies are left to `v2.rs`, which reads every JSON: the
//! rare, and also the wrong, for it can say what is wrong with them. A test holds that what both read is the same.

use std::borrow::Cow;

use crate::cells::Cells;
use crate::rows::Cell;
use crate::tensors::{Datatype, Description};

/// How deep lists and objects may nest here.
const MAX_DEPTH: usize = 8;
/// Digits that a 64-bit integer holds, whatever they are.
const MAX_DIGITS: usize = 18;
/// Integers up to here are doubles, and powers of ten up to the last of these: of two doubles, division is exact to the bit.
const MAX_EXACT: u64 = 1 << 53;
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// What a body says.
#[derive(Debug, Default)]
pub(crate) struct Document<'a> {
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) model_version: Option<Cow<'a, str>>,
    pub(crate) tensors: Vec<Tensor<'a>>,
}

/// A tensor whose data are as its datatype has them.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) description: Description<'a>,
    pub(crate) data: Cells<'a>,
}

/// Reads a body whose tensors are called this; none when it is not plain.
pub(crate) fn read<'a>(body: &'a [u8], tensors: &str) -> Option<Document<'a>> {
    let mut reader = Reader { text: std::str::from_utf8(body).ok()?, at: 0 };
    let mut document = Document::default();
    let mut found = None;
    reader.object(|reader, name| match name {
        "id" => once(&mut document.id, reader.string()?.into()),
        "model_version" => once(&mut document.model_version, reader.string()?.into()),
        _ if name == tensors => once(&mut found, reader.tensors()?),
        _ => reader.pass_over(1),
    })?;
    document.tensors = found?;
    reader.space();
    (reader.at == body.len()).then_some(document)
}

/// Sets what may be said once.
fn once<T>(said: &mut Option<T>, value: T) -> Option<()> {
    said.replace(value).is_none().then_some(())
}

/// Text, and how far it is read. Whatever is not plain is none, and ends the reading.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// The next byte that is no space. It is not taken yet.
    fn next(&mut self) -> Option<u8> {
        self.space();
        self.byte()
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let is_it = self.byte() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        self.take_if(byte).then_some(())
    }

    /// What stands between an opening and a closing byte, with commas in between.
    fn series(&mut self, [open, close]: [u8; 2], mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(open)?;
        if self.next()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            one(self)?;
            let byte = self.next()?;
            self.at += 1;
            if byte != b',' {
                return (byte == close).then_some(());
            }
        }
    }

    /// An object's values, each read by a function that is told its name.
    fn object(&mut self, mut value: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.series(*b"{}", |reader| {
            let name = reader.string()?;
            reader.expect(b':')?;
            value(reader, name)
        })
    }

    fn tensors(&mut self) -> Option<Vec<Tensor<'a>>> {
        let mut tensors = Vec::new();
        self.series(*b"[]", |reader| {
            tensors.push(reader.tensor()?);
            Some(())
        })?;
        Some(tensors)
    }

    fn tensor(&mut self) -> Option<Tensor<'a>> {
        let (mut name, mut shape, mut datatype, mut data, mut parameters) = (None, None, None, None, None);
        self.object(|reader, key| match key {
            "name" => once(&mut name, reader.string()?),
            "shape" => once(&mut shape, reader.shape()?),
            "datatype" => once(&mut datatype, reader.string()?),
            "data" => once(&mut data, reader.data(datatype?, shape.as_deref()?)?),
            "parameters" => once(&mut parameters, reader.parameters()?),
            _ => reader.pass_over(3),
        })?;
        let description = Description { name: name?.into(), datatype: datatype?.into(), shape: shape? };
        Some(Tensor { description, data: data? })
    }

    /// Parameters that say nothing of data behind the JSON.
    fn parameters(&mut self) -> Option<()> {
        self.object(|reader, name| if name == "binary_data_size" { None } else { reader.pass_over(4) })
    }

    fn shape(&mut self) -> Option<Vec<u64>> {
        let mut shape = Vec::new();
        self.series(*b"[]", |reader| {
            reader.space();
            shape.push(reader.number()?.natural()?);
            Some(())
        })?;
        Some(shape)
    }

    fn data(&mut self, datatype: &str, shape: &[u64]) -> Option<Cells<'a>> {
        let expected = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size))?;
        let expected = usize::try_from(expected).ok()?;
        match Datatype::named(datatype)? {
            Datatype::Fp64 | Datatype::Fp16 | Datatype::Bf16 => {
                self.values(expected, |reader| reader.number()?.double()).map(Cells::Numbers)
            }
            Datatype::Fp32 => self.values(expected, |reader| reader.number()?.single()).map(Cells::Numbers),
            Datatype::Bytes => {
                self.values(expected, |reader| Some(Cell::Text(reader.string()?.into()))).map(Cells::Any)
            }
            Datatype::Bool => None,
            _ => self.values(expected, |reader| reader.number()?.integer().map(Cell::Integer)).map(Cells::Any),
        }
    }

    /// The values of a list, and of lists in it; so many, or it is not plain.
    fn values<T>(&mut self, expected: usize, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        // Each takes at least itself and a comma: what is not there has no room made for it.
        let most = (self.text.len() - self.at) / 2;
        let mut values = Vec::with_capacity(expected.min(most));
        self.values_at(&mut values, &mut one, 3)?;
        (values.len() == expected).then_some(values)
    }

    fn values_at<T>(
        &mut self,
        values: &mut Vec<T>,
        one: &mut impl FnMut(&mut Self) -> Option<T>,
        depth: usize,
    ) -> Option<()> {
        self.series(*b"[]", |reader| {
            if reader.next()? == b'[' {
                if depth == MAX_DEPTH { None } else { reader.values_at(values, one, depth + 1) }
            } else {
                values.push(one(reader)?);
                Some(())
            }
        })
    }

    /// Text without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.byte()? {
                b'"' => break,
                b'\\' | ..b' ' => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    /// Any value, which is not looked at.
    fn pass_over(&mut self, depth: usize) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        match self.next()? {
            b'{' => self.object(|reader, _| reader.pass_over(depth + 1)),
            b'[' => self.series(*b"[]", |reader| reader.pass_over(depth + 1)),
            b'"' => self.string().map(drop),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number()?.double().map(drop),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let is_it = self.text.get(self.at..)?.starts_with(word);
        self.at += word.len();
        is_it.then_some(())
    }

    /// A number that begins here. What it comes to stays in registers where it and what reads it are in one piece: a tenth
    /// less for a body.
    #[inline(always)]
    fn number(&mut self) -> Option<Number<'a>> {
        let text = self.text.get(self.at..)?;
        let bytes = text.as_bytes();
        let is_negative = bytes.first() == Some(&b'-');
        let whole = usize::from(is_negative);
        let (mut mantissa, mut end) = digits(bytes, whole, 0)?;
        let mut digits_found = end - whole;
        if bytes[whole] == b'0' && digits_found > 1 {
            return None;
        }
        let mut decimals = 0;
        if bytes.get(end) == Some(&b'.') {
            let fraction = end + 1;
            (mantissa, end) = digits(bytes, fraction, mantissa)?;
            decimals = end - fraction;
            digits_found += decimals;
        }
        let has_exponent = matches!(bytes.get(end), Some(b'e' | b'E'));
        if has_exponent {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
            (_, end) = digits(bytes, end + 1 + sign, 0)?;
        }
        self.at += end;
        let is_short = digits_found <= MAX_DIGITS && !has_exponent;
        let is_integer = decimals == 0 && !has_exponent;
        Some(Number { text: text.get(..end)?, is_negative, mantissa, decimals, is_short, is_integer })
    }
}

/// At least one digit from a place on: where they end, and what they amount to behind those before them, which holds up to
/// [`MAX_DIGITS`].
#[inline(always)]
fn digits(bytes: &[u8], start: usize, before: u64) -> Option<(u64, usize)> {
    let (mut amount, mut at) = (before, start);
    while let Some(eight) = bytes.get(at..).and_then(eight_digits) {
        amount = amount.wrapping_mul(100_000_000).wrapping_add(eight);
        at += 8;
    }
    while let Some(byte @ b'0'..=b'9') = bytes.get(at) {
        amount = amount.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    (at > start).then_some((amount, at))
}

/// What eight digits amount to, all at once; none when there are fewer. Bytes are lanes of one integer: pairs of digits
/// become numbers below a hundred, and then pairs of these.
fn eight_digits(bytes: &[u8]) -> Option<u64> {
    let ones = u64::from_le_bytes(*bytes.first_chunk()?) ^ 0x3030_3030_3030_3030;
    let are_above_nine = (ones & 0x7f7f_7f7f_7f7f_7f7f).wrapping_add(0x7676_7676_7676_7676) | ones;
    if are_above_nine & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// A number as it is written.
struct Number<'a> {
    text: &'a str,
    is_negative: bool,
    /// Its digits without the point, where it is short.
    mantissa: u64,
    /// Digits behind the point.
    decimals: usize,
    /// Has no exponent, and so few digits that the mantissa holds them.
    is_short: bool,
    /// Has neither point nor exponent.
    is_integer: bool,
}

impl Number<'_> {
    fn natural(&self) -> Option<u64> {
        (self.is_integer && self.is_short && !self.is_negative).then_some(self.mantissa)
    }

    /// A zero below zero is a double.
    fn integer(&self) -> Option<i64> {
        let is_zero_below = self.is_negative && self.mantissa == 0;
        let magnitude = (self.is_integer && self.is_short && !is_zero_below).then_some(self.mantissa as i64)?;
        Some(if self.is_negative { -magnitude } else { magnitude })
    }

    /// The nearest double; none past the largest.
    #[inline(always)]
    fn double(&self) -> Option<f64> {
        if self.is_short && self.mantissa <= MAX_EXACT {
            let magnitude = self.mantissa as f64 / POWERS_OF_TEN[self.decimals];
            return Some(if self.is_negative { -magnitude } else { magnitude });
        }
        self.text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The nearest double's nearest in single precision. Integers become singles by one step in `v2.rs`: so are those here
    /// that a double holds.
    fn single(&self) -> Option<f64> {
        let is_exact = !self.is_integer || self.is_short && self.mantissa <= MAX_EXACT;
        is_exact.then_some(f64::from(self.double()? as f32))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::DecodeError;
    use crate::naming::Naming;
    use crate::tensors::Side;
    use crate::v2;

    fn tensor(datatype: &str, shape: &str, data: &str) -> String {
        format!(r#"{{"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}"#)
    }

    fn body(tensors: &[String]) -> String {
        format!(r#"{{"inputs": [{}]}}"#, tensors.join(", "))
    }

    /// What a body says, to the bit.
    fn said(side: Result<Side<'_>, DecodeError>) -> Result<String, DecodeError> {
        let side = side?;
        let (id, rows) = (side.id.clone(), side.rows);
        Ok(format!("{id:?} {rows:?} {:?}", v2::tests::columns(side)))
    }

    /// Whether a body is plain. If it is, the reader of any JSON says the same of it.
    fn is_plain(body: &str) -> bool {
        let naming = Naming::default();
        let Some(_) = read(body.as_bytes(), "inputs") else { return false };
        let short = v2::request(body.as_bytes(), None, &naming);
        assert_eq!(said(short), said(v2::request_of_any(body.as_bytes(), &[], &naming)), "{body}");
        true
    }

    const NUMBER: &str = "-?(0|[1-9][0-9]{0,21})([.][0-9]{1,21})?([eE][+-]?[0-9]{1,3})?";

    proptest! {
        #[test]
        fn what_both_read_is_the_same(
            data in proptest::collection::vec(prop_oneof![NUMBER, "-?[0-9]{1,3}", "\"[a-z0-9é\\\\]{0,3}\"", "null|true|[-+.e0-9]{1,6}"], 0..3),
            datatype in prop::sample::select(&Datatype::CHOICES[..]),
            cut in any::<prop::sample::Index>(),
            more in "[\\[\\]{}\",: 0-9a-z.-]{0,2}",
            at in any::<prop::sample::Index>(),
        ) {
            let whole = body(&[tensor(datatype.0, &format!("[{}]", data.len()), &format!("[{}]", data.join(",")))]);
            is_plain(&whole);
            let mut wrong: Vec<char> = whole.chars().collect();
            wrong.remove(cut.index(wrong.len()));
            is_plain(&wrong.iter().collect::<String>());
            let mut other: Vec<char> = whole.chars().collect();
            let at = at.index(other.len());
            other.splice(at..at, more.chars());
            is_plain(&other.iter().collect::<String>());
        }

        #[test]
        fn every_double_comes_back_to_the_bit(value in any::<f64>(), short in -1_000_000_000i64..1_000_000_000, decimals in 0usize..12) {
            let short = format!("{:.decimals$}", short as f64 / 1000.0);
            let texts = [value.to_string(), format!("{value:e}"), serde_json::to_string(&value).unwrap(), short];
            for text in texts.iter().filter(|text| text.parse().is_ok_and(f64::is_finite)) {
                let body = body(&[tensor("FP64", "[1]", &format!("[{text}]"))]);
                let document = read(body.as_bytes(), "inputs").unwrap();
                let Cells::Numbers(numbers) = &document.tensors[0].data else { panic!("{text} is no number") };
                prop_assert_eq!(numbers[0].to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
            }
        }
    }

    #[test]
    fn what_clients_write_is_plain() {
        let nested = tensor("FP32", "[2, 2]", "[[1, 2.5], [-3e2, 0.1]]");
        let integers = tensor("INT64", "[3]", "[ 1 ,-7,\n123456789012345678 ]");
        let texts = tensor("BYTES", "[2, 1]", r#"["UA", "Zürich"]"#);
        let told = r#"{"name": "x", "datatype": "UINT8", "parameters": {"content_type": "np", "more": [{}, null]}, "shape": [1], "data": [7]}"#;
        assert!(
            is_plain(&body(&[nested, integers])) && is_plain(&body(&[texts])) && is_plain(&body(&[told.to_owned()]))
        );
        assert!(is_plain(
            r#" {"id": "7", "parameters": {"a": [true, false, 1e9, "b"]}, "inputs": [], "outputs": [{"name": "y"}]} "#
        ));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_reader_of_any_json() {
        let x = |datatype, shape, data| body(&[tensor(datatype, shape, data)]);
        let bodies = [
            x("FP64", "[2]", "[1, null]"),
            x("FP64", "[2]", "[1]"),
            x("FP64", "[1]", "1"),
            x("FP64", "[1]", "[01]"),
            x("FP64", "[1]", "[1e999]"),
            x("FP32", "[1]", "[9007199791611905]"),
            x("INT64", "[1]", "[-0]"),
            x("INT64", "[1]", "[9223372036854775808]"),
            x("INT64", "[1]", "[1.0]"),
            x("BYTES", "[1]", r#"["caf\u00e9"]"#),
            x("BYTES", "[1]", "[\"a\tb\"]"),
            x("BOOL", "[1]", "[true]"),
            x("COMPLEX", "[1]", "[1]"),
            x("FP64", "[18446744073709551615, 2]", "[1]"),
            r#"{"inputs": [{"name": "x", "data": [1], "shape": [1], "datatype": "FP64"}]}"#.to_owned(),
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}]}"#
                .to_owned(),
            r#"{"inputs": [], "inputs": []}"#.to_owned(),
            r#"{"id": null, "inputs": []}"#.to_owned(),
            r#"{"inputs": []} x"#.to_owned(),
            r#"{"outputs": []}"#.to_owned(),
            format!(r#"{{"x": {}{}, "inputs": []}}"#, "[".repeat(9), "]".repeat(9)),
        ];
        for body in bodies {
            assert!(read(body.as_bytes(), "inputs").is_none(), "{body}");
        }
        assert!(read(b"{\"inputs\": [], \"x\": \"\xff\"}", "inputs").is_none());
    }
}
