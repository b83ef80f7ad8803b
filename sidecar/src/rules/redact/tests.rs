//! The laws of redaction, and what they mean in each protocol.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use driftline_protocol::{EndState, Framing};
use prometheus::Registry;
use proptest::prelude::*;

use super::*;
use crate::account::Accounts;
use crate::budget::Budget;
use crate::reader::Captured;
use crate::rules::{Rules, file};

const JSON: &str = "application/json";
/// The pseudonym of "123-45-6789" under the tests' key.
const PSEUDONYM: &str = "c5e5fd81ed3e05504b23ff6146781b13";

fn rules(text: &str) -> Rules {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let key = format!("driftline-key-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let key = std::env::temp_dir().join(key);
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let rules = file::parse("rules", &text.replace("KEY", key.to_str().unwrap()), Path::new(""));
    std::fs::remove_file(key).unwrap();
    rules.unwrap_or_else(|problems| panic!("{problems}"))
}

fn redaction(text: &str) -> Rules {
    rules(&format!("redaction:\n  hmac_key: {{file: KEY}}\n{text}"))
}

fn rewritten(rules: &Rules, content_type: &str, body: &str) -> Result<String, Withheld> {
    let header = Header { name: "content-type".to_owned(), value: content_type.to_owned() };
    let rewritten = rewrite(&rules.policy, body.as_bytes(), true, &[header], None, &mut |_| true)?;
    Ok(rewritten.map_or_else(|| body.to_owned(), |rewritten| String::from_utf8(rewritten.content).unwrap()))
}

#[track_caller]
fn becomes(rules: &Rules, body: &str, expected: &str) {
    assert_eq!(rewritten(rules, JSON, body).as_deref(), Ok(expected));
}

#[test]
fn fields_are_dropped_masked_and_replaced_at_any_depth_and_the_rest_is_byte_for_byte_the_same() {
    let rules = redaction(
        "  rules: [{field: a, action: drop}, {field: b, action: mask}, {field: ssn, action: hmac}, {field: x.y, action: drop}]",
    );
    becomes(&rules, r#"{"a":1,"k":1.10}"#, r#"{"k":1.10}"#);
    becomes(&rules, r#"{"k": 1e400 , "a": {"z": 1} }"#, r#"{"k": 1e400  }"#);
    becomes(&rules, r#"{"a":1,"a":2}"#, r#"{}"#);
    becomes(&rules, r#"{"a":1,"k":2,"a":3,"l":4,"a":5}"#, r#"{"k":2,"l":4}"#);
    becomes(&rules, r#"[{"b":[1,{"c":"d"},null,true]}]"#, r#"[{"b":["***",{"c":"***"},null,"***"]}]"#);
    becomes(&rules, r#"{"ssn":"123-45-6789"}"#, &format!(r#"{{"ssn":"{PSEUDONYM}"}}"#));
    // Escapes hide neither a name nor a value.
    becomes(&rules, r#"{"\u0073sn":"\u0031\u00323-45-6789"}"#, &format!(r#"{{"\u0073sn":"{PSEUDONYM}"}}"#));
    becomes(&rules, r#"{"x":{"y":1,"z":2},"y":3}"#, r#"{"x":{"z":2},"y":3}"#);
    becomes(&rules, r#"{"ssn":{"a":1,"z":null}}"#, r#"{"ssn":{"z":null}}"#);
    becomes(&rules, "[]", "[]");
    // A number and the text of it become the same, as documented.
    let number = rewritten(&rules, JSON, r#"{"ssn":7}"#).unwrap();
    assert_eq!(number, rewritten(&rules, JSON, r#"{"ssn":"7"}"#).unwrap());
    assert_ne!(number, rewritten(&rules, JSON, r#"{"ssn":7.0}"#).unwrap());
}

#[test]
fn pointers_name_what_has_only_a_position() {
    let rules =
        redaction("  rules: [{pointer: /instances/*/1, action: drop}, {pointer: /instances/0/0, action: mask}]");
    becomes(&rules, r#"{"instances":[[1,2,3],[4,5]]}"#, r#"{"instances":[["***",null,3],[4,null]]}"#);
    becomes(&rules, r#"{"instances":{"x":[1,2]},"o":[[1,2]]}"#, r#"{"instances":{"x":[1,null]},"o":[[1,2]]}"#);
}

#[test]
fn tensors_are_columns_by_their_name() {
    let tensor = |name: &str, datatype: &str, data: &str| {
        format!(r#"{{"name":"{name}","shape":[2,1],"datatype":"{datatype}","data":{data}}}"#)
    };
    let body = |tensors: &[String]| format!(r#"{{"id":"7","inputs":[{}]}}"#, tensors.join(","));
    let (age, ssn) = (tensor("age", "FP64", "[1.50,2]"), tensor("ssn", "INT64", "[[123],[null]]"));
    let both = body(&[age.clone(), ssn.clone()]);
    becomes(&redaction("  rules: [{field: ssn, action: drop}]"), &both, &body(std::slice::from_ref(&age)));
    becomes(&redaction("  rules: [{field: age, action: drop}]"), &both, &body(std::slice::from_ref(&ssn)));
    let masked = tensor("ssn", "BYTES", r#"[["***"],[null]]"#);
    becomes(&redaction("  rules: [{field: ssn, action: mask}]"), &both, &body(&[age.clone(), masked]));
    // Members in any order; what stands beside the data is redacted with it.
    becomes(
        &redaction("  rules: [{field: ssn, action: mask}]"),
        r#"{"outputs":[{"data":[1],"parameters":{"p":2},"datatype":"FP32","shape":[1],"name":"ssn"}]}"#,
        r#"{"outputs":[{"data":["***"],"parameters":{"p":"***"},"datatype":"BYTES","shape":[1],"name":"ssn"}]}"#,
    );
    // What is no tensor, for its datatype, is still named.
    becomes(
        &redaction("  rules: [{field: ssn, action: drop}]"),
        r#"{"inputs":[{"name":"ssn","shape":[1],"datatype":"STRING","data":["x"]},{"name":"ssn","data":1}]}"#,
        r#"{"inputs":[null,null]}"#,
    );
    // A rule for a field called name means people, not tensors.
    let names = redaction("  rules: [{field: name, action: drop}]");
    becomes(&names, &both, &both);
    becomes(&names, r#"{"inputs":[{"name":"Ann","x":1}]}"#, r#"{"inputs":[{"x":1}]}"#);
    // Only what is allowed: tensors and columns that nobody listed are gone, names of the model are not.
    let allow = redaction("  allow: [age]");
    becomes(&allow, &both, &format!(r#"{{"inputs":[{age}]}}"#));
    becomes(&allow, r#"{"model_name":"m","outputs":[],"id":"x"}"#, r#"{"model_name":"m","outputs":[]}"#);
}

#[test]
fn tables_are_columns_by_their_list_of_names() {
    let rules = redaction("  rules: [{field: ssn, action: drop}, {field: mail, action: mask}]");
    becomes(
        &rules,
        r#"{"dataframe_split":{"data":[["1",2,"m"],["3",4,"n",5]],"columns":["ssn","age","mail"]}}"#,
        r#"{"dataframe_split":{"data":[[null,2,"***"],[null,4,"***",null]],"columns":["ssn","age","mail"]}}"#,
    );
    becomes(&rules, r#"{"dataframe_records":[{"ssn":1,"age":2}]}"#, r#"{"dataframe_records":[{"age":2}]}"#);
    becomes(
        &rules,
        r#"{"data":{"names":["ssn"],"ndarray":[["x"]]}}"#,
        r#"{"data":{"names":["ssn"],"ndarray":[[null]]}}"#,
    );
    let allow = redaction("  allow: [age]");
    becomes(
        &allow,
        r#"{"dataframe_split":{"index":[7],"columns":["ssn","age"],"data":[["1",2]]}}"#,
        r#"{"dataframe_split":{"columns":["ssn","age"],"data":[[null,2]]}}"#,
    );
    let levels = r#"{"columns":[["a","ssn"]],"data":[[1]]}"#;
    assert_eq!(rewritten(&rules, JSON, levels), Err(Withheld::Malformed));
}

#[test]
fn only_what_is_allowed_leaves() {
    let allow = redaction("  allow: [age, person, /instances/*/1]\n  rules: [{field: ssn, action: drop}]");
    becomes(
        &allow,
        r#"{"instances":[{"age":1,"ssn":2,"x":{"y":3}},{"x":4},[5,6,null,{"z":7}]],"more":["a"]}"#,
        r#"{"instances":[{"age":1},{},[null,6,null,{}]]}"#,
    );
    becomes(&allow, r#"{"person":{"a":[1],"ssn":2}}"#, r#"{"person":{"a":[1]}}"#);
    becomes(&allow, r#""secret""#, "null");
    becomes(&redaction("  allow: []"), r#"{"a":{"b":1}}"#, "{}");
}

#[test]
fn a_conversation_keeps_its_shape() {
    let rules = redaction("  rules: [{field: content, action: mask}]");
    becomes(
        &rules,
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"***","text":"***"}]}]}"#,
    );
}

#[test]
fn what_cannot_be_read_is_withheld_and_named() {
    let rules = redaction("  rules: [{field: ssn, action: drop}]");
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    for (content_type, body, reason) in [
        (JSON, r#"{"ssn":"#, Withheld::Malformed),
        (JSON, r#"{"a":NaN}"#, Withheld::Malformed),
        (JSON, r#"{"ssn\ud800":1}"#, Withheld::Malformed),
        (JSON, "{} {}", Withheld::Malformed),
        (JSON, deep.as_str(), Withheld::TooDeep),
        ("text/csv", "1,2", Withheld::Format),
        ("text/plain", "123456789", Withheld::Format),
        ("text/event-stream", "{\"ssn\":1}\n", Withheld::Malformed),
        ("text/event-stream", ": x\rdata: {\"ssn\":1}\n", Withheld::Malformed),
        ("application/x-ndjson", "{\"ssn\"\n{}\n", Withheld::Malformed),
    ] {
        assert_eq!(rewritten(&rules, content_type, body), Err(reason), "{body}");
    }
    assert_eq!(rewrite(&rules.policy, b"{}", false, &[], None, &mut |_| true).unwrap_err(), Withheld::Truncated);
    assert_eq!(rewrite(&rules.policy, b"\"\xff\"", true, &[], None, &mut |_| true).unwrap_err(), Withheld::Malformed);
    assert_eq!(rewritten(&rules, "text/plain", r#"{"ssn":1}"#).as_deref(), Ok("{}"), "callers forget the type");
}

#[test]
fn streams_are_redacted_message_by_message() {
    let rules = redaction("  rules: [{field: content, action: mask}, {field: ssn, action: drop}]");
    let events = "event: x\ndata: {\"delta\":{\"content\":\"a\"}}\n\ndata:{\"n\":1}\r\n\r\n: ping\n\ndata: [DONE]\n\n";
    let expected = events.replace("\"a\"", "\"***\"");
    assert_eq!(rewritten(&rules, "text/event-stream", events), Ok(expected));
    // Cut off in the middle of a message: that one is lost, and no other.
    let cut = "data: {\"content\":\"a\"}\n\ndata: {\"content\":\"b";
    let expected = "data: {\"content\":\"***\"}\n\n".to_owned();
    assert_eq!(rewritten(&rules, "text/event-stream", cut), Ok(expected));
    let lines = "{\"ssn\":1,\"x\":2}\n\n{\"x\":1.0}\n{\"ssn\":3}";
    assert_eq!(rewritten(&rules, "application/jsonl", lines).as_deref(), Ok("{\"x\":2}\n\n{\"x\":1.0}\n{}"));
    let allow = redaction("  allow: [x]");
    let events = ": hello\nid: 7\nevent: e\ndata: {\"x\":1,\"y\":2}\n\n";
    let expected = Ok("\n\nevent: e\ndata: {\"x\":1}\n\n");
    assert_eq!(rewritten(&allow, "text/event-stream", events).as_deref(), expected);
}

fn captured(content_type: &str, body: &str, budget: &std::sync::Arc<Budget>) -> Captured {
    let accounts = Accounts::new(&Registry::new()).unwrap();
    let header = Header { name: "content-type".to_owned(), value: content_type.to_owned() };
    let body = Body { content: body.to_owned().into(), size: body.len() as u64, ..Body::default() };
    let reservation = budget.reserve(1000 + body.content.len()).unwrap();
    let exchange = Exchange {
        request_headers: vec![header],
        request: Some(body),
        response: Some(Body::default()),
        end: EndState::Complete.into(),
        ..Exchange::default()
    };
    Captured { exchange: Box::new(exchange), ticket: accounts.ticket(), reservation }
}

#[test]
fn messages_keep_their_sizes_in_step() {
    let rules = redaction("  rules: [{field: ssn, action: drop}]");
    let messages = ["{\"ssn\":1,\"x\":2}\n", "{\"x\":3}\n", "{\"ssn\":4}\n"];
    let budget = Budget::new(1 << 20);
    let mut captured = captured("application/x-ndjson", &messages.concat(), &budget);
    let sizes = messages.map(|message| message.len() as u64).to_vec();
    captured.exchange.request_messages =
        Some(Messages { framing: Framing::Lines.into(), count: 3, sizes, ..Messages::default() });
    assert_eq!(rules.redact(&mut captured), [Redacted::Rewritten, Redacted::Untouched]);
    let content = captured.exchange.request.as_ref().unwrap().content.clone();
    assert_eq!(content, "{\"x\":2}\n{\"x\":3}\n{}\n");
    assert_eq!(captured.exchange.request_messages.as_ref().unwrap().sizes, [8, 8, 3]);
    captured.ticket.delivered();
}

#[test]
fn what_grows_is_reserved_or_withheld_and_nothing_is_kept_in_the_books() {
    let rules = redaction("  rules: [{field: v, action: hmac}]");
    let body = format!(r#"{{"v":[{}1]}}"#, "1,".repeat(1000));
    let budget = Budget::new(100_000);
    let mut grown = captured(JSON, &body, &budget);
    assert_eq!(rules.redact(&mut grown)[0], Redacted::Rewritten);
    let request = grown.exchange.request.clone().unwrap();
    assert_eq!((request.redaction(), request.size), (Redaction::Rewritten, body.len() as u64));
    assert!(!request.is_truncated());
    assert!(request.content.len() > 30_000 && budget.used() >= 1000 + request.content.len());
    grown.ticket.delivered();
    drop(grown.reservation);
    assert_eq!(budget.used(), 0);
    let budget = Budget::new(20_000);
    let mut withheld = captured(JSON, &body, &budget);
    assert_eq!(rules.redact(&mut withheld)[0], Redacted::Withheld(Withheld::Budget));
    let request = withheld.exchange.request.as_ref().unwrap();
    assert_eq!((request.content.len(), request.redaction(), request.size), (0, Redaction::Withheld, body.len() as u64));
    assert_eq!(budget.used(), 1000);
    withheld.ticket.delivered();
}

#[test]
fn without_rules_nothing_is_read_and_with_never_nothing_leaves() {
    let budget = Budget::new(1 << 20);
    let mut untouched = captured("application/grpc", "\u{1}binary", &budget);
    let before = untouched.exchange.clone();
    assert_eq!(Rules::default().redact(&mut untouched), [Redacted::Untouched; 2]);
    assert_eq!(untouched.exchange, before);
    let never = rules("bodies: never");
    assert_eq!(never.redact(&mut untouched), [Redacted::Withheld(Withheld::Never), Redacted::Untouched]);
    assert_eq!(untouched.exchange.request.as_ref().unwrap().content, "");
    untouched.ticket.delivered();
}

#[test]
fn neither_rules_nor_errors_show_the_key() {
    let rules = redaction("  rules: [{field: a, action: hmac}]");
    assert!(!format!("{rules:?}").contains("0123456789"));
}

/// JSON as a tree that keeps every byte, for a second opinion.
#[derive(Debug, Clone)]
enum Tree {
    Scalar(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn text(&self, space: &str) -> String {
        let joined = |parts: Vec<String>| parts.join(&format!("{space},{space}"));
        match self {
            Self::Scalar(text) => text.clone(),
            Self::List(values) => format!("[{}]", joined(values.iter().map(|value| value.text(space)).collect())),
            Self::Object(members) => {
                let member = |(name, value): &(String, Self)| format!("\"{name}\"{space}:{space}{}", value.text(space));
                format!("{{{}}}", joined(members.iter().map(member).collect()))
            }
        }
    }

    /// The tree with everything under "ssn" and "s.n" (n inside s) changed.
    fn redacted(&self, action: Option<Action>, forced: bool, above: &str) -> Self {
        match self {
            Self::Scalar(text) if !forced || text == "null" => self.clone(),
            Self::Scalar(_) => Self::Scalar("\"***\"".to_owned()),
            Self::List(values) => {
                Self::List(values.iter().map(|value| value.redacted(action, forced, above)).collect())
            }
            Self::Object(members) => {
                let named = |name: &str| name == "ssn" || name == "n" && above == "s";
                let stays = |name: &str| !(named(name) && action == Some(Action::Drop));
                let member = |(name, value): &(String, Self)| {
                    let redacted = value.redacted(action, forced || named(name), name);
                    stays(name).then(|| (name.clone(), redacted))
                };
                Self::Object(members.iter().filter_map(member).collect())
            }
        }
    }

    /// The same with a mark in every text: one for what is under a name, one for what is not.
    fn marked(&self, name: &str, under: bool) -> Self {
        match self {
            Self::Scalar(_) if under => Self::Scalar("\"MARK-IN\"".to_owned()),
            Self::Scalar(_) => Self::Scalar("\"MARK-OUT\"".to_owned()),
            Self::List(values) => Self::List(values.iter().map(|value| value.marked(name, under)).collect()),
            Self::Object(members) => {
                let member = |(own, value): &(String, Self)| (own.clone(), value.marked(name, under || own == name));
                Self::Object(members.iter().map(member).collect())
            }
        }
    }
}

fn tree(names: &'static [&'static str]) -> impl Strategy<Value = Tree> {
    let scalars =
        ["1", "-0.0", "1.10", "1e400", "12345678901234567890123", "true", "null", "\"t\"", "\"\\\"\\\\,]}\"", "\"ü\""];
    let scalar = prop::sample::select(scalars.to_vec()).prop_map(|text| Tree::Scalar(text.to_owned()));
    scalar.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
            prop::collection::vec((prop::sample::select(names), inner), 0..6).prop_map(|members| {
                Tree::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

const PLAIN_NAMES: &[&str] = &["ssn", "a", "s", "n", "x.y", ""];
/// Names that mean something to a protocol.
const NAMES: &[&str] =
    &["ssn", "a", "name", "shape", "datatype", "data", "inputs", "outputs", "columns", "instances", "ndarray"];

proptest! {
    #[test]
    fn what_is_named_is_changed_and_everything_else_is_the_same_to_the_byte(
        tree in tree(PLAIN_NAMES), space in prop::sample::select(vec!["", " ", "\n\t"])
    ) {
        let mask = redaction("  rules: [{field: ssn, action: mask}, {field: s.n, action: mask}]");
        let expected = tree.redacted(Some(Action::Mask), false, "").text(space);
        prop_assert_eq!(rewritten(&mask, JSON, &tree.text(space)), Ok(expected));
        let drop = redaction("  rules: [{field: ssn, action: drop}, {field: s.n, action: drop}]");
        let found = rewritten(&drop, JSON, &tree.text(space)).unwrap();
        let bare = |text: &str| text.replace([' ', '\n', '\t'], "");
        prop_assert_eq!(bare(&found), tree.redacted(Some(Action::Drop), false, "").text(""));
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&found).is_ok());
    }

    #[test]
    fn no_value_under_a_redacted_name_survives(
        tree in tree(NAMES), action in prop::sample::select(vec!["drop", "mask", "hmac"]), space in prop::sample::select(vec!["", " "])
    ) {
        let rules = redaction(&format!("  rules: [{{field: ssn, action: {action}}}]"));
        let text = tree.marked("ssn", false).text(space);
        if let Ok(found) = rewritten(&rules, JSON, &text) {
            prop_assert!(!found.contains("MARK-IN"), "{found}");
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&found).is_ok(), "{found}");
        }
    }

    #[test]
    fn nothing_leaves_that_is_not_allowed(tree in tree(PLAIN_NAMES), space in prop::sample::select(vec!["", " "])) {
        let rules = redaction("  allow: [ssn]");
        let text = tree.marked("ssn", false).text(space);
        let found = rewritten(&rules, JSON, &text).unwrap();
        prop_assert!(!found.contains("MARK-OUT"), "{found}");
        prop_assert_eq!(found.matches("MARK-IN").count(), text.matches("MARK-IN").count());
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&found).is_ok(), "{found}");
    }
}
