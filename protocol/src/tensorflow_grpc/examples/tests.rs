use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::decode::decode_rows;
use crate::exchange::{Body, Exchange};
use crate::grpc::framed;

/// `tensorflow.Feature`, with one of its lists.
#[derive(Clone, PartialEq, prost::Oneof)]
enum List {
    #[prost(message, tag = "1")]
    Texts(Texts),
    #[prost(message, tag = "2")]
    Floats(Floats),
    #[prost(message, tag = "3")]
    Integers(Integers),
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(bytes = "vec", repeated, tag = "1")]
    value: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Floats {
    #[prost(float, repeated, tag = "1")]
    value: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct Integers {
    #[prost(int64, repeated, tag = "1")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct WrittenFeature {
    #[prost(oneof = "List", tags = "1, 2, 3")]
    list: Option<List>,
}

#[derive(Clone, PartialEq, Message)]
struct Features {
    #[prost(btree_map = "string, message", tag = "1")]
    feature: BTreeMap<String, WrittenFeature>,
}

#[derive(Clone, PartialEq, Message)]
struct Example {
    #[prost(message, optional, tag = "1")]
    features: Option<Features>,
}

/// `ExampleList`, and with a context `ExampleListWithContext`.
#[derive(Clone, PartialEq, Message)]
struct ExampleList {
    #[prost(message, repeated, tag = "1")]
    examples: Vec<Example>,
    #[prost(message, optional, tag = "2")]
    context: Option<Example>,
}

#[derive(Clone, PartialEq, Message)]
struct Input {
    #[prost(message, optional, tag = "1")]
    plain: Option<ExampleList>,
    #[prost(message, optional, tag = "2")]
    with_context: Option<ExampleList>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "2")]
    input: Option<Input>,
}

#[derive(Clone, PartialEq, Message)]
struct ModelSpec {
    #[prost(string, tag = "3")]
    signature_name: String,
    #[prost(string, tag = "4")]
    version_label: String,
}

#[derive(Clone, PartialEq, Message)]
struct Class {
    #[prost(string, tag = "1")]
    label: String,
    #[prost(float, tag = "2")]
    score: f32,
}

#[derive(Clone, PartialEq, Message)]
struct Classes {
    #[prost(message, repeated, tag = "1")]
    classes: Vec<Class>,
}

#[derive(Clone, PartialEq, Message)]
struct Classification {
    #[prost(message, repeated, tag = "1")]
    classifications: Vec<Classes>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(float, tag = "1")]
    value: f32,
}

#[derive(Clone, PartialEq, Message)]
struct Regression {
    #[prost(message, repeated, tag = "1")]
    regressions: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Classified {
    #[prost(message, optional, tag = "1")]
    result: Option<Classification>,
    #[prost(message, optional, tag = "2")]
    model_spec: Option<ModelSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct Regressed {
    #[prost(message, optional, tag = "1")]
    result: Option<Regression>,
}

#[derive(Clone, PartialEq, Message)]
struct Inferred {
    #[prost(message, optional, tag = "1")]
    model_spec: Option<ModelSpec>,
    #[prost(message, optional, tag = "2")]
    classification: Option<Classification>,
    #[prost(message, optional, tag = "3")]
    regression: Option<Regression>,
}

#[derive(Clone, PartialEq, Message)]
struct AllInferred {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Inferred>,
}

fn texts(values: &[&str]) -> List {
    List::Texts(Texts { value: values.iter().map(|value| value.as_bytes().to_vec()).collect() })
}

fn floats(values: &[f32]) -> List {
    List::Floats(Floats { value: values.to_vec() })
}

fn integers(values: &[i64]) -> List {
    List::Integers(Integers { value: values.to_vec() })
}

fn example<const N: usize>(features: [(&str, List); N]) -> Example {
    let features = features.map(|(name, list)| (name.to_owned(), WrittenFeature { list: Some(list) }));
    Example { features: Some(Features { feature: features.into() }) }
}

fn request(examples: Vec<Example>, context: Option<Example>) -> Vec<u8> {
    let list = ExampleList { examples, context };
    let input = match list.context {
        None => Input { plain: Some(list), with_context: None },
        Some(_) => Input { plain: None, with_context: Some(list) },
    };
    Request { input: Some(input) }.encode_to_vec()
}

fn classified(rows: &[&[(&str, f32)]]) -> Classification {
    let class = |(label, score): &(&str, f32)| Class { label: (*label).to_owned(), score: *score };
    let classes = |row: &&[(&str, f32)]| Classes { classes: row.iter().map(class).collect() };
    Classification { classifications: rows.iter().map(classes).collect() }
}

fn regressed(values: &[f32]) -> Regression {
    Regression { regressions: values.iter().map(|value| Value { value: *value }).collect() }
}

fn exchange(call: &str, request: &[u8], response: &[u8]) -> Exchange {
    let body = |message: &[u8]| {
        let content = framed(0, message);
        Some(Body { size: content.len() as u64, content: content.into(), ..Body::default() })
    };
    Exchange {
        method: "POST".into(),
        target: format!("/tensorflow.serving.PredictionService/{call}"),
        status: 200,
        request: body(request),
        response: body(response),
        ..Exchange::default()
    }
}

fn rows(call: &str, request: &[u8], response: &[u8], naming: &Naming) -> Result<Vec<String>, &'static str> {
    crate::recorded::rows(&exchange(call, request, response), naming)
}

#[test]
fn examples_are_rows_and_classes_columns_by_their_labels() {
    let examples = vec![
        example([("wind", floats(&[1.5, 2.0])), ("carrier", texts(&["UA"])), ("hour", integers(&[-5]))]),
        example([("wind", floats(&[3.0])), ("tags", texts(&[])), ("carrier", texts(&["DL"]))]),
    ];
    let result = classified(&[&[("late", 0.25), ("", 0.75)], &[("on time", 0.5)]]);
    let spec = ModelSpec { version_label: "stable".into(), ..ModelSpec::default() };
    let answer = Classified { result: Some(result), model_spec: Some(spec) }.encode_to_vec();
    let (request, naming) = (request(examples, None), Naming::default());
    let found = rows("Classify", &request, &answer, &naming).unwrap();
    assert_eq!(
        found,
        [
            r#"carrier="UA" hour=-5 tags=- wind_0=1.5 wind_1=2.0 late=0.25 prediction_1=0.75 on time=-"#,
            r#"carrier="DL" hour=- tags=- wind_0=3.0 wind_1=- late=- prediction_1=- on time=0.5"#,
        ]
    );
    let exchange = exchange("Classify", &request, &answer);
    assert_eq!(decode_rows(&exchange, &naming).unwrap().model_version.as_deref(), Some("stable"));
}

#[test]
fn a_context_is_of_every_example_that_has_none_of_its_own() {
    let context = example([("site", texts(&["north"])), ("x", integers(&[9])), ("at", floats(&[1.0, 2.0]))]);
    let request = request(vec![example([("x", integers(&[1]))]), example([("x", integers(&[2]))])], Some(context));
    let answer = Regressed { result: Some(regressed(&[0.5, 0.0])) }.encode_to_vec();
    let found = rows("Regress", &request, &answer, &Naming::default()).unwrap();
    let shared = r#"at_0=1.0 at_1=2.0 site="north""#;
    assert_eq!(found, [format!("x=1 {shared} prediction=0.5"), format!("x=2 {shared} prediction=0.0")]);
}

#[test]
fn several_results_have_the_names_of_their_signatures() {
    let spec = |name: &str| Some(ModelSpec { signature_name: name.into(), version_label: "7".into() });
    let results = vec![
        Inferred { model_spec: spec("delay"), regression: Some(regressed(&[3.0])), ..Inferred::default() },
        Inferred {
            model_spec: spec("kind"),
            classification: Some(classified(&[&[("late", 0.5)]])),
            ..Inferred::default()
        },
        Inferred { regression: Some(regressed(&[4.0])), ..Inferred::default() },
    ];
    let request = request(vec![example([("x", floats(&[1.0]))])], None);
    let several = AllInferred { results: results.clone() }.encode_to_vec();
    let found = rows("MultiInference", &request, &several, &Naming::default());
    assert_eq!(found.unwrap(), ["x=1.0 delay.prediction=3.0 kind.late=0.5 prediction=4.0"]);
    let uneven = Inferred { regression: Some(regressed(&[4.0, 5.0])), ..Inferred::default() };
    let uneven = AllInferred { results: [results, vec![uneven]].concat() }.encode_to_vec();
    assert_eq!(rows("MultiInference", &request, &uneven, &Naming::default()), Err("malformed"));
}

#[test]
fn the_configuration_says_what_becomes_of_features() {
    let two = || vec!["speed".to_owned(), "gust".to_owned()];
    let told =
        [("wind", TensorNaming::Columns(two())), ("text", TensorNaming::Embedding), ("photo", TensorNaming::Ignored)];
    let naming = Naming { tensors: told.map(|(name, told)| (name.to_owned(), told)).into(), ..Naming::default() };
    let photo = || integers(&vec![0; 100_000]);
    let read = |wind: &[f32]| {
        let example = || example([("wind", floats(wind)), ("text", floats(&[0.5, 2.0])), ("photo", photo())]);
        rows("Regress", &request((0..50).map(|_| example()).collect(), None), &[], &naming)
    };
    assert_eq!(read(&[1.0, 2.0]).unwrap()[49], "text=[0.5, 2.0] speed=1.0 gust=2.0");
    assert_eq!(read(&[1.0]), Err("shape"));
}

#[test]
fn a_short_body_claims_no_more_than_is_allowed() {
    let naming = Naming::default();
    let read = |examples: Vec<Example>, context| rows("Regress", &request(examples, context), &[], &naming);
    let wide = example([("w", texts(&["a"; 1000]))]);
    let empty = || vec![Example::default(); MAX_CELLS / 1000];
    assert_eq!(read([vec![wide.clone()], empty()].concat(), None), Err("too_many_cells"));
    assert_eq!(read([vec![Example::default()], empty()].concat(), Some(wide)), Err("too_many_cells"));
    assert_eq!(read(vec![example([("w", texts(&["a"; 1001]))])], None), Err("too_many_columns"));
    let long = || example([("s", texts(&[&"x".repeat(2000)]))]);
    assert_eq!(read(vec![Example::default(); 2], Some(long())), Err("shape"));
    assert!(read(vec![Example::default()], Some(long())).is_ok(), "one row repeats nothing");
    let vector = example([("v", floats(&[0.5; 300]))]);
    assert_eq!(read(vec![Example::default(); 2], Some(vector)), Err("shape"));
    assert_eq!(read(vec![example([("v", integers(&vec![0; MAX_CELLS + 1]))])], None), Err("too_many_cells"));
    let name = "n".repeat(1001);
    assert_eq!(read(vec![example([(&name, integers(&[1]))])], None), Err("malformed"));
}

#[test]
fn what_does_not_add_up_is_refused_with_a_reason() {
    let naming = Naming::default();
    let one = request(vec![example([("x", integers(&[1]))])], None);
    let answer = Regressed { result: Some(regressed(&[1.0, 2.0])) }.encode_to_vec();
    assert_eq!(rows("Regress", &one, &answer, &naming), Err("row_mismatch"));
    assert_eq!(rows("Regress", &one, b"\x0a\x03\x0a\x01\x09", &naming), Err("malformed"));
    assert_eq!(rows("Regress", &one, b"", &naming).unwrap(), ["x=1"], "a result that is not there says nothing");
    let long = classified(&[&[(&"l".repeat(1001), 0.5)]]);
    let long = Classified { result: Some(long), model_spec: None }.encode_to_vec();
    assert_eq!(rows("Classify", &one, &long, &naming), Err("malformed"));
    for request in [&b"\x12\x05\x0a\x03\x0a\x01\x0a"[..], b"\x12\x02\x08\x01", b"\x0a\x01\x0a"] {
        assert_eq!(rows("Regress", request, &[], &naming), Err("malformed"), "{request:?}");
    }
    assert_eq!(rows("Regress", b"", b"", &naming), Ok(vec![]));
}

/// One list in each of some rows, and the cells that it must become.
fn lists() -> impl Strategy<Value = (List, Vec<Cell<'static>>)> {
    let text = proptest::collection::vec("\\PC{0,6}", 0..4).prop_map(|values| {
        let list = texts(&values.iter().map(String::as_str).collect::<Vec<_>>());
        (list, values.into_iter().map(|value| Cell::Text(value.into())).collect())
    });
    let float = proptest::collection::vec(proptest::num::f32::NORMAL, 0..4)
        .prop_map(|values| (floats(&values), values.iter().map(|value| Cell::Number((*value).into())).collect()));
    let integer = proptest::collection::vec(any::<i64>(), 0..4)
        .prop_map(|values| (integers(&values), values.iter().map(|value| Cell::Integer(*value)).collect()));
    prop_oneof![text, float, integer]
}

proptest! {
    #[test]
    fn examples_and_values_come_back(
        examples in proptest::collection::vec((proptest::collection::btree_map("[a-d]", lists(), 0..4), -1e9f32..1e9), 1..8)
    ) {
        let written = examples.iter().map(|(features, _)| {
            let feature = |(name, (list, _)): (&String, &(List, _))| (name.clone(), WrittenFeature { list: Some(list.clone()) });
            Example { features: Some(Features { feature: features.iter().map(feature).collect() }) }
        });
        let values: Vec<f32> = examples.iter().map(|(_, value)| *value).collect();
        let answer = Regressed { result: Some(regressed(&values)) }.encode_to_vec();
        let exchange = exchange("Regress", &request(written.collect(), None), &answer);
        let naming = Naming::default();
        let read = decode_rows(&exchange, &naming).unwrap();
        prop_assert_eq!(read.count, examples.len());
        for (row, (features, value)) in examples.iter().enumerate() {
            let cells = |name: &str| {
                let own = |column: &&crate::rows::Column<'_>| column.name.split('_').next() == Some(name);
                read.columns.iter().filter(own).map(|column| column.cells.get(row).unwrap().into_owned()).collect::<Vec<_>>()
            };
            for (name, (_, expected)) in features {
                let found: Vec<_> = cells(name).into_iter().filter(|cell| *cell != Cell::Missing).collect();
                prop_assert_eq!(&found, expected);
            }
            prop_assert_eq!(cells("prediction"), [Cell::Number((*value).into())]);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_decoded_without_a_panic(
        message in proptest::collection::vec(any::<u8>(), 0..60),
        call in prop_oneof![Just(Call::Classify), Just(Call::Regress), Just(Call::MultiInference)],
        role in prop_oneof![Just(Role::Feature), Just(Role::Prediction)]
    ) {
        if let Err(error) = call.read(&message, &Naming::default(), role) {
            prop_assert!(DecodeError::REASONS.contains(&error.reason()));
        }
    }
}
