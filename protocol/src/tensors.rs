//! From named tensors to columns, for every protocol that has them.
//!
//! The first dimension counts the rows. A tensor of one value a row is a column of its name. One of k values a row is k
//! columns, with the names that the configuration gives or `name_0` to `name_{k-1}`; or one column of vectors, where the
//! configuration says so and where it is wider than a table is.

use std::borrow::Cow;

use crate::cells::Cells;
use crate::decode::DecodeError;
use crate::failure;
use crate::naming::{Naming, TensorNaming};
use crate::rows::{Cell, Column, MAX_CELLS, MAX_COLUMNS, MAX_NAME_BYTES, Role, Rows};

/// Columns that a tensor is split in without being told to. Tables that come as one tensor have up to a few hundred; the
/// common embeddings begin at 384.
const MAX_SPLIT: usize = 256;
/// Longest vector that an embedding column holds: past what any language model has. An image is no embedding.
const MAX_DIMENSIONS: usize = 16_384;

/// The type of a tensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    pub(crate) const CHOICES: [(&'static str, Self); 14] = [
        ("BOOL", Self::Bool),
        ("UINT8", Self::Uint8),
        ("UINT16", Self::Uint16),
        ("UINT32", Self::Uint32),
        ("UINT64", Self::Uint64),
        ("INT8", Self::Int8),
        ("INT16", Self::Int16),
        ("INT32", Self::Int32),
        ("INT64", Self::Int64),
        ("FP16", Self::Fp16),
        ("BF16", Self::Bf16),
        ("FP32", Self::Fp32),
        ("FP64", Self::Fp64),
        ("BYTES", Self::Bytes),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::CHOICES.into_iter().find(|(own, _)| *own == name).map(|(_, datatype)| datatype)
    }

    /// Whether the cell already is as the datatype has it: most are, and need no look at what else they could be.
    pub(crate) fn has(self, cell: &Cell<'_>) -> bool {
        match cell {
            Cell::Number(_) => matches!(self, Self::Fp64 | Self::Fp16 | Self::Bf16),
            Cell::Text(_) => self == Self::Bytes,
            Cell::Boolean(_) => self == Self::Bool,
            Cell::Integer(_) => {
                !matches!(self, Self::Bool | Self::Bytes | Self::Fp16 | Self::Bf16 | Self::Fp32 | Self::Fp64)
            }
            Cell::Missing => true,
            Cell::Field(_) | Cell::Embedding(_) => false,
        }
    }

    /// The cell as the datatype has it; as it came when it does not fit.
    pub(crate) fn fit(self, cell: Cell<'_>) -> Result<Cell<'_>, Cell<'_>> {
        match (self, cell) {
            (_, Cell::Missing) => Ok(Cell::Missing),
            (Self::Bool, Cell::Integer(value @ (0 | 1))) => Ok(Cell::Boolean(value == 1)),
            (Self::Bool, cell @ Cell::Boolean(_)) | (Self::Bytes, cell @ Cell::Text(_)) => Ok(cell),
            (Self::Bool | Self::Bytes, cell) => Err(cell),
            (Self::Fp32, Cell::Integer(value)) => Ok(Cell::Number(f64::from(value as f32))),
            (Self::Fp32, Cell::Number(value)) => Ok(Cell::Number(f64::from(value as f32))),
            (Self::Fp16 | Self::Bf16 | Self::Fp64, Cell::Integer(value)) => Ok(Cell::Number(value as f64)),
            (Self::Fp16 | Self::Bf16 | Self::Fp64, cell @ Cell::Number(_)) => Ok(cell),
            // Some servers write whole floats for integer tensors.
            (_, Cell::Number(value)) if value.fract() == 0.0 => Ok(Cell::Number(value)),
            (_, cell @ Cell::Integer(_)) => Ok(cell),
            (_, cell) => Err(cell),
        }
    }
}

/// What a tensor says of itself besides its values.
#[derive(Debug)]
pub(crate) struct Description<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) datatype: Cow<'a, str>,
    pub(crate) shape: Vec<u64>,
}

/// One side of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Side<'a> {
    /// How many rows its tensors have; none when it has none that are read.
    pub(crate) rows: Option<usize>,
    pub(crate) columns: Vec<Column<'a>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) model_version: Option<Cow<'a, str>>,
    /// Whether it tells of an error, and of nothing else.
    pub(crate) is_error: bool,
}

impl<'a> Side<'a> {
    pub(crate) fn into_owned(self) -> Side<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Side {
            rows: self.rows,
            columns: self.columns.into_iter().map(Column::into_owned).collect(),
            id: self.id.map(owned),
            model_version: self.model_version.map(owned),
            is_error: self.is_error,
        }
    }

    /// The rows of both sides.
    pub(crate) fn join(self, predictions: Option<Self>) -> Result<Rows<'a>, DecodeError> {
        let predictions = predictions.unwrap_or_default();
        let count = match (self.rows, predictions.rows) {
            (Some(request), Some(response)) if request != response => {
                return Err(DecodeError::RowMismatch { request, response });
            }
            (request, response) => request.or(response).unwrap_or(0),
        };
        let said = |text: &Cow<'_, str>| !text.is_empty();
        let mut columns = self.columns;
        columns.extend(predictions.columns);
        Ok(Rows {
            count,
            columns,
            id: self.id.filter(said).or(predictions.id.filter(said)),
            model_version: predictions.model_version.filter(said).or(self.model_version.filter(said)),
            failure: predictions.is_error.then_some(failure::SERVERS_DOING),
        })
    }
}

/// Puts the tensors of one side next to each other.
#[derive(Debug)]
pub(crate) struct Assembly<'a> {
    role: Role,
    naming: &'a Naming,
    /// How many tensors there are to come.
    tensors: usize,
    rows: Option<usize>,
    cells: usize,
    columns: Vec<Column<'a>>,
}

/// What becomes of a tensor.
#[derive(Debug)]
pub(crate) enum Kept<'a> {
    Columns(Vec<Cow<'a, str>>),
    Embedding,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(role: Role, naming: &'a Naming, tensors: usize) -> Self {
        Self { role, naming, tensors, rows: None, cells: 0, columns: Vec::with_capacity(tensors.min(MAX_COLUMNS)) }
    }

    /// Adds a tensor. Its values are read by a function that is told their type and how many there must be, and only once
    /// that many may be there.
    pub(crate) fn add(
        &mut self,
        tensor: Description<'a>,
        values: impl FnOnce(Datatype, usize) -> Result<Cells<'a>, String>,
    ) -> Result<(), DecodeError> {
        if self.naming.tensors.get(&*tensor.name) == Some(&TensorNaming::Ignored) {
            return Ok(());
        }
        let Description { name, datatype, shape } = tensor;
        let role = self.role;
        if name.len() > MAX_NAME_BYTES {
            let what = format!("a name has {} bytes; {MAX_NAME_BYTES} may be", name.len());
            return Err(DecodeError::Malformed { role, what });
        }
        let wrong = |what: String| DecodeError::Shape { role, column: name.to_string(), what };
        let datatype = Datatype::named(&datatype)
            .ok_or_else(|| wrong(format!("datatype '{datatype}' is none that a column can have")))?;
        let (count, width) = layout(&shape).map_err(&wrong)?;
        let kept = self.kept(&name, datatype, width)?;
        let expected = count.checked_mul(width).filter(|cells| *cells <= MAX_CELLS - self.cells);
        let expected = expected.ok_or(DecodeError::TooManyCells)?;
        let cells = values(datatype, expected).map_err(&wrong)?;
        if cells.len() != expected {
            return Err(wrong(format!("shape {shape:?} does not hold {} values", cells.len())));
        }
        match self.rows {
            Some(rows) if rows != count => {
                return Err(wrong(format!("it has {count} rows, and the tensors before it {rows}")));
            }
            _ => self.rows = Some(count),
        }
        self.cells += expected;
        match kept {
            Kept::Columns(names) => {
                let columns = names.into_iter().zip(cells.split(width));
                self.columns.extend(columns.map(|(name, cells)| Column { name, role, cells }));
            }
            Kept::Embedding => {
                let vectors = vectors(&cells, width.max(1));
                let cells = vectors.ok_or_else(|| wrong("an embedding holds numbers, and this tensor texts".into()))?;
                self.columns.push(Column { name, role, cells });
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Side<'a> {
        Side { rows: self.rows, columns: self.columns, ..Side::default() }
    }

    /// What becomes of a tensor with so many values in each row.
    pub(crate) fn kept(&self, name: &Cow<'a, str>, datatype: Datatype, width: usize) -> Result<Kept<'a>, DecodeError> {
        let naming = self.naming;
        let wrong = |what: String| DecodeError::Shape { role: self.role, column: name.to_string(), what };
        let all = |names: &'a [String]| Kept::Columns(names.iter().map(|name| Cow::Borrowed(name.as_str())).collect());
        let told = naming.tensors.get(&**name);
        let is_only_input = self.role == Role::Feature && self.tensors == 1;
        let kept = match told {
            Some(TensorNaming::Columns(names)) if names.len() != width => {
                return Err(wrong(format!("it has {width} values a row, and the configuration names {}", names.len())));
            }
            Some(TensorNaming::Columns(names)) => all(names),
            Some(_) => Kept::Embedding,
            None if is_only_input && width > 1 && naming.features.len() == width => all(&naming.features),
            None if width == 1 => Kept::Columns(vec![name.clone()]),
            None if width <= MAX_SPLIT || datatype == Datatype::Bytes && width <= MAX_COLUMNS => {
                Kept::Columns((0..width).map(|index| Cow::Owned(format!("{name}_{index}"))).collect())
            }
            None if datatype == Datatype::Bytes => return Err(DecodeError::TooManyColumns),
            None => Kept::Embedding,
        };
        let columns = match &kept {
            Kept::Columns(names) => names.len(),
            Kept::Embedding if width > MAX_DIMENSIONS => {
                let most = format!("it has {width} values a row, and a vector has at most {MAX_DIMENSIONS}");
                return Err(wrong(format!("{most}; have it ignored by the configuration (tensors)")));
            }
            Kept::Embedding => 1,
        };
        if self.columns.len() + columns > MAX_COLUMNS { Err(DecodeError::TooManyColumns) } else { Ok(kept) }
    }
}

/// Rows, and values in each.
fn layout(shape: &[u64]) -> Result<(usize, usize), String> {
    let Some((count, rest)) = shape.split_first() else {
        return Err("the shape is empty, and its first number should count the rows".to_owned());
    };
    let width = rest.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
    let fits = |size: u64| usize::try_from(size).ok();
    let (Some(count), Some(width)) = (fits(*count), width.and_then(fits)) else {
        return Err(format!("shape {shape:?} holds more values than any body"));
    };
    if width == 0 && count > 0 {
        return Err(format!("shape {shape:?} counts rows and holds no value"));
    }
    Ok((count, width))
}

/// The values of each row as a vector; none when one is a text. What is missing is not a number.
fn vectors(cells: &Cells<'_>, width: usize) -> Option<Cells<'static>> {
    let number = |cell: &Cell<'_>| match cell {
        Cell::Missing => Some(f32::NAN),
        Cell::Integer(value) => Some(*value as f32),
        Cell::Number(value) => Some(*value as f32),
        Cell::Boolean(value) => Some(f32::from(u8::from(*value))),
        Cell::Text(_) | Cell::Field(_) | Cell::Embedding(_) => None,
    };
    let vector = |values: &[Cell<'_>]| Some(Cell::Embedding(values.iter().map(number).collect::<Option<_>>()?));
    match cells {
        Cells::Numbers(numbers) => {
            let vector = |values: &[f64]| Cell::Embedding(values.iter().map(|value| *value as f32).collect());
            Some(numbers.chunks(width).map(vector).collect())
        }
        Cells::Any(cells) => cells.chunks(width).map(vector).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and cells that come of one input of these numbers, or why none do.
    fn columns(naming: &Naming, shape: &[u64], values: &[f64]) -> Result<Vec<(String, Vec<Cell<'static>>)>, String> {
        let mut assembly = Assembly::new(Role::Feature, naming, 1);
        let description = Description { name: "x".into(), datatype: "FP64".into(), shape: shape.to_vec() };
        let cells = || values.iter().map(|value| Cell::Number(*value)).collect();
        assembly.add(description, |_, _| Ok(cells())).map_err(|error| error.to_string())?;
        let columns = assembly.finish().columns.into_iter().map(Column::into_owned);
        Ok(columns.map(|column| (column.name.into_owned(), column.cells.into_vec())).collect())
    }

    fn told(naming: TensorNaming) -> Naming {
        Naming { tensors: [("x".to_owned(), naming)].into(), ..Naming::default() }
    }

    fn names(naming: &Naming, width: u64) -> Result<String, String> {
        let columns = columns(naming, &[1, width], &vec![0.5; width as usize])?;
        Ok(columns.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn the_configuration_names_columns() {
        let two = || vec!["a".to_owned(), "b".to_owned()];
        let named = told(TensorNaming::Columns(two()));
        assert_eq!(names(&named, 2).unwrap(), "a,b");
        assert!(names(&named, 3).unwrap_err().contains("3 values a row, and the configuration names 2"));
        // Of a single input the names of features are meant, if there are as many.
        let features = Naming { features: two(), ..Naming::default() };
        assert_eq!(names(&features, 2).unwrap(), "a,b");
        assert_eq!(names(&features, 3).unwrap(), "x_0,x_1,x_2");
        assert_eq!(names(&features, 1).unwrap(), "x");
    }

    #[test]
    fn a_vector_is_one_column_where_it_is_told_to_or_wider_than_a_table() {
        let embedding = told(TensorNaming::Embedding);
        let columns = columns(&embedding, &[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let vector = |values: &[f32]| Cell::Embedding(values.into());
        assert_eq!(columns, [("x".to_owned(), vec![vector(&[1.0, 2.0]), vector(&[3.0, 4.0])])]);
        let untold = Naming::default();
        let split = names(&untold, MAX_SPLIT as u64).unwrap();
        assert_eq!(split.split(',').count(), MAX_SPLIT);
        assert_eq!(names(&untold, MAX_SPLIT as u64 + 1).unwrap(), "x");
        assert_eq!(names(&untold, MAX_DIMENSIONS as u64).unwrap(), "x");
        assert!(names(&untold, MAX_DIMENSIONS as u64 + 1).unwrap_err().contains("ignored"));
    }

    #[test]
    fn a_long_name_is_not_written_for_each_of_many_columns() {
        let naming = Naming::default();
        let named = |length: usize| {
            let mut assembly = Assembly::new(Role::Feature, &naming, 1);
            let description = Description { name: "n".repeat(length).into(), datatype: "FP64".into(), shape: vec![1] };
            assembly.add(description, |_, _| Ok(vec![Cell::Number(0.5)].into()))
        };
        assert_eq!(named(MAX_NAME_BYTES), Ok(()));
        assert!(named(MAX_NAME_BYTES + 1).unwrap_err().to_string().contains("1001 bytes"));
    }

    #[test]
    fn what_is_ignored_is_not_read_and_counts_no_rows() {
        let naming = told(TensorNaming::Ignored);
        let mut assembly = Assembly::new(Role::Feature, &naming, 2);
        let description = |name: &'static str, shape: &[u64]| Description {
            name: name.into(),
            datatype: "FP64".into(),
            shape: shape.to_vec(),
        };
        assembly.add(description("x", &[u64::MAX, 224]), |_, _| panic!("it is read")).unwrap();
        assembly.add(description("y", &[1]), |_, _| Ok(Cells::Numbers(vec![1.0]))).unwrap();
        let side = assembly.finish();
        assert_eq!((side.rows, side.columns.len()), (Some(1), 1));
    }

    #[test]
    fn values_that_cannot_be_there_are_not_asked_for() {
        let naming = Naming::default();
        for shape in [&[][..], &[3, 0], &[u64::MAX], &[u64::MAX, u64::MAX], &[1 << 40, 1], &[2001, 2000], &[1, 1 << 40]]
        {
            let mut assembly = Assembly::new(Role::Feature, &naming, 1);
            let description = Description { name: "x".into(), datatype: "BOOL".into(), shape: shape.to_vec() };
            let read = |_, expected| panic!("{expected} values of {shape:?} are read");
            assert!(assembly.add(description, read).is_err());
        }
        assert_eq!(columns(&naming, &[0, 2], &[]).unwrap().len(), 2);
    }

    #[test]
    fn what_a_datatype_has_fits_it_as_it_is() {
        let numbers = [0.0, 0.1, 1e300, -7.0].map(Cell::Number);
        let others = [Cell::Missing, Cell::Integer(0), Cell::Integer(-9), Cell::Boolean(true), Cell::Text("1".into())];
        let strange = [Cell::Field("1".into()), Cell::Embedding([1.0].into())];
        let cells: Vec<Cell<'_>> = numbers.into_iter().chain(others).chain(strange).collect();
        for (name, datatype) in Datatype::CHOICES {
            for cell in cells.iter().filter(|cell| datatype.has(cell)) {
                assert_eq!(datatype.fit(cell.clone()), Ok(cell.clone()), "{name}");
            }
        }
    }

    #[test]
    fn single_precision_is_what_a_parquet_column_of_it_holds() {
        let fit = |value| Datatype::Fp32.fit(value);
        assert_eq!(fit(Cell::Number(39.02)), Ok(Cell::Number(39.020_000_457_763_67)));
        assert_eq!(fit(Cell::Number(39.020_000_457_763_67)), Ok(Cell::Number(39.020_000_457_763_67)));
        assert_eq!(fit(Cell::Integer(16_777_217)), Ok(Cell::Number(16_777_216.0)));
        assert_eq!(Datatype::Fp64.fit(Cell::Number(39.02)), Ok(Cell::Number(39.02)));
    }
}
