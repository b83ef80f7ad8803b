//! V2's JSON as nearly everybody writes it, read in one go.
//!
//! A reader of any JSON asks of each value what it is. Here a tensor's datatype says what its data holds, so a number goes
//! straight from its digits to its column. Read is what is written plainly: shape and datatype before the data, numbers or
//! texts in it and nothing else, no escapes, no name twice. All other bodies are left to `v2.rs`, which reads every JSON: the
//! rare, and also the wrong, for it can say what is wrong with them. A test holds that what both read is the same.

use std::borrow::Cow;

use crate::cells::Cells;
use crate::json_number::Number;
use crate::rows::Cell;
use crate::tensors::{Datatype, Description};

/// How deep lists and objects may nest here.
const MAX_DEPTH: usize = 8;
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

    #[inline(always)]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// The next byte that is no space. It is not taken yet.
    #[inline(always)]
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
        let rest = self.text.get(self.at..)?;
        let length = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        self.at += length;
        self.take_if(b'"').then(|| rest.get(..length))?
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

    /// A number that begins here.
    #[inline(always)]
    fn number(&mut self) -> Option<Number<'a>> {
        let number = Number::read(self.text, self.at)?;
        self.at = number.end;
        Some(number)
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
