use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, FixedSizeListArray,
    Float32Array, Float64Array, Int64Array, LargeStringArray, NullArray, StringArray, StringViewArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow_ipc::writer::StreamWriter;
use driftline_protocol::{Cell, Exchange, Naming, decode_rows, frame};
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::super::{Form, batches};
use super::*;

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    written(&[batch.unwrap()])
}

fn written(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

/// The exchanges of a stream's rows, model by model, or why there are none.
fn exchanges(bytes: &[u8], parameters: &RowParameters) -> Result<Vec<Exchange>, String> {
    let room = Arc::new(Semaphore::new(1 << 20));
    let more = |bytes: usize| Ok(Arc::clone(&room).try_acquire_many_owned((bytes >> 10) as u32).unwrap());
    let framed = batches(&Bytes::from(bytes.to_vec()), Form::Arrow, parameters, 7, &more);
    let framed = framed.map_err(|refused| format!("{refused:?}"))?;
    Ok(framed.iter().flat_map(|rows| frame::decode(&rows.frame).unwrap().exchanges).collect())
}

fn of_model(prediction: Option<&str>) -> RowParameters {
    let prediction = prediction.map(str::to_owned);
    RowParameters { model: Some("m".to_owned()), prediction, ..RowParameters::default() }
}

/// The columns of one row, as the pipeline reads them.
fn cells(exchange: &Exchange) -> Vec<(String, Cell<'static>)> {
    let naming = Naming::default();
    let rows = decode_rows(exchange, &naming).unwrap();
    let own = |cell: &Cell<'_>| match cell {
        Cell::Text(text) => Cell::Text(text.to_string().into()),
        Cell::Number(value) => Cell::Number(*value),
        Cell::Boolean(value) => Cell::Boolean(*value),
        _ => Cell::Missing,
    };
    rows.columns.iter().map(|column| (column.name.to_string(), own(&column.cells.get(0).unwrap()))).collect()
}

fn text(value: &str) -> Cell<'static> {
    Cell::Text(value.to_owned().into())
}

#[test]
fn columns_of_every_type_become_cells() {
    let words: DictionaryArray<Int8Type> = vec![Some("UA"), None].into_iter().collect();
    let vector = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None], 2);
    let columns: Vec<(&str, ArrayRef, Cell<'static>)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None])), Cell::Boolean(true)),
        ("int64", Arc::new(Int64Array::from(vec![Some(-7), None])), Cell::Number(-7.0)),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])), Cell::Number(u64::MAX as f64)),
        ("float32", Arc::new(Float32Array::from(vec![Some(0.1), None])), Cell::Number(f64::from(0.1f32))),
        ("float64", Arc::new(Float64Array::from(vec![Some(39.02), None])), Cell::Number(39.02)),
        (
            "infinity",
            Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), None])),
            Cell::Number(f64::NEG_INFINITY),
        ),
        ("utf8", Arc::new(StringArray::from(vec![Some("caf\u{e9} \"\n"), None])), text("caf\u{e9} \"\n")),
        ("large", Arc::new(LargeStringArray::from(vec![Some("b"), None])), text("b")),
        (
            "view",
            Arc::new(StringViewArray::from(vec![Some("longer than twelve bytes"), None])),
            text("longer than twelve bytes"),
        ),
        ("dictionary", Arc::new(words), text("UA")),
        ("date", Arc::new(Date32Array::from(vec![Some(15_706), None])), text("2013-01-01")),
        (
            "at",
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_357_016_400_000_000_001), None])),
            text("2013-01-01T05:00:00.000000001Z"),
        ),
        (
            "decimal",
            Arc::new(Decimal128Array::from(vec![Some(-1250), None]).with_precision_and_scale(9, 2).unwrap()),
            Cell::Number(-12.5),
        ),
        ("nothing", Arc::new(NullArray::new(2)), Cell::Missing),
    ];
    let expected: Vec<(String, Cell<'static>)> =
        columns.iter().map(|(name, _, cell)| ((*name).to_owned(), cell.clone())).collect();
    let lists: [(&str, ArrayRef); 1] = [("list", Arc::new(vector))];
    let columns = columns.into_iter().map(|(name, column, _)| (name, column)).chain(lists).collect();
    let made = exchanges(&stream(columns), &of_model(None)).unwrap();
    let first = cells(&made[0]);
    assert_eq!(first[..expected.len()], expected);
    let list = [("list_0".to_owned(), Cell::Number(1.0)), ("list_1".to_owned(), Cell::Missing)];
    assert_eq!(first[expected.len()..], list);
    assert!(cells(&made[1]).iter().all(|(_, cell)| *cell == Cell::Missing), "{:?}", cells(&made[1]));
    assert!(made[0].response.is_none() && made[0].started_at_micros == 7 && !made[0].request_id.is_empty());
}

#[test]
fn a_flat_and_a_nested_table_of_the_same_rows_are_the_same() {
    let temp: ArrayRef = Arc::new(Float64Array::from(vec![39.02, 41.0]));
    let late: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.25), None]));
    let at: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(1_357_016_400_000), None]));
    let key: ArrayRef = Arc::new(Int64Array::from(vec![1545, 1546]));
    let version: ArrayRef = Arc::new(StringArray::from(vec![Some("3"), None]));
    let structure = |name: &str, column: &ArrayRef| -> ArrayRef {
        Arc::new(StructArray::try_from(vec![(name, Arc::clone(column))]).unwrap())
    };
    let nested = stream(vec![
        ("features", structure("temp", &temp)),
        ("prediction", structure("late", &late)),
        ("id", Arc::clone(&key)),
        ("timestamp", Arc::clone(&at)),
        ("version", Arc::clone(&version)),
    ]);
    let flat = stream(vec![("key", key), ("temp", temp), ("late", late), ("hour", at), ("version", version)]);
    let named =
        RowParameters { id: Some("key".to_owned()), timestamp: Some("hour".to_owned()), ..of_model(Some("late")) };
    let (nested, flat) = (exchanges(&nested, &of_model(None)).unwrap(), exchanges(&flat, &named).unwrap());
    assert_eq!(cells(&nested[0]), cells(&flat[0]));
    assert_eq!(cells(&nested[0]), [("temp".to_owned(), Cell::Number(39.02)), ("late".to_owned(), Cell::Number(0.25))]);
    for exchange in [&nested[0], &flat[0]] {
        assert_eq!((exchange.request_id.as_str(), exchange.started_at_micros), ("1545", 1_357_016_400_000_000));
        assert_eq!(exchange.target, "/v1/models/m/versions/3:predict");
    }
    assert!(flat[1].response.is_none(), "it has no prediction");
    assert_eq!(flat[1].target, "/v1/models/m:predict");
}

#[test]
fn what_is_wrong_is_said_with_its_row_or_column() {
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2])) };
    let texts = |second: &str| -> ArrayRef { Arc::new(StringArray::from(vec!["1", second])) };
    let refused = |columns, parameters: &RowParameters| exchanges(&stream(columns), parameters).unwrap_err();
    let model = of_model(None);
    assert!(refused(vec![("x", numbers())], &RowParameters::default()).contains("row 1: it names no model"));
    let error = refused(vec![("x", numbers()), ("version", texts("a/b"))], &model);
    assert!(error.contains("row 2: version is empty, or has"), "{error}");
    let error = refused(vec![("timestamp", numbers())], &model);
    assert!(error.contains("row 1: timestamp: it is of type Int64; allowed are timestamps and texts"), "{error}");
    let error = refused(vec![("x", Arc::new(BinaryArray::from(vec![&b"a"[..]])))], &model);
    assert!(error.contains("column 'x' is of type Binary, which no row can have"), "{error}");
    assert!(refused(vec![("x", numbers())], &of_model(Some("y"))).contains("the URL names the column 'y'"));
    let structure: ArrayRef = Arc::new(StructArray::try_from(vec![("x", numbers())]).unwrap());
    let error = refused(vec![("features", structure), ("y", numbers())], &model);
    assert!(error.contains("beside 'features' there is a column 'y'"), "{error}");
    assert!(exchanges(b"ARROW1\0\0", &model).unwrap_err().contains("it is a file"));
    assert!(exchanges(b"", &model).unwrap_err().contains("there is no row"));
    let many: ArrayRef = Arc::new(NullArray::new(50_001));
    assert!(refused(vec![("x", many)], &model).contains("more than 50000 rows"));
}

#[test]
fn a_dictionarys_long_word_is_not_repeated_without_end() {
    let word = "x".repeat(1 << 20);
    let words: DictionaryArray<Int8Type> = vec![Some(word.as_str()); 200].into_iter().collect();
    let error = exchanges(&stream(vec![("x", Arc::new(words))]), &of_model(None)).unwrap_err();
    assert!(error.contains("too many bytes"), "{error}");
    let words: DictionaryArray<Int8Type> = vec![Some(word.as_str())].into_iter().collect();
    let names: Vec<String> = (0..20).map(|index| format!("x{index}")).collect();
    let words: ArrayRef = Arc::new(words);
    let columns = names.iter().map(|name| (name.as_str(), Arc::clone(&words))).collect();
    let error = exchanges(&stream(columns), &of_model(None)).unwrap_err();
    assert!(error.contains("row 1") && error.contains("the row has more than"), "{error}");
}

/// A stream with a dictionary, nulls, views, a list and two batches.
fn sample() -> Vec<u8> {
    let words: DictionaryArray<Int8Type> = vec![Some("UA"), None, Some("DL")].into_iter().collect();
    let views = StringViewArray::from(vec![Some("longer than twelve bytes"), Some("short"), None]);
    let lists =
        FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None, None], 2);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("words", Arc::new(words)),
        ("views", Arc::new(views)),
        ("lists", Arc::new(lists)),
        ("x", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)]))),
        ("id", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    written(&[batch.clone(), batch.slice(1, 2)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_stream_that_is_cut_or_changed_is_refused_or_read(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x80)]), 0..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(made) = exchanges(&bytes, &of_model(None)) {
            prop_assert!(made.len() <= 50_000);
        }
    }
}
