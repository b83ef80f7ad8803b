//! OpenAI's API, as vLLM, Ollama and many others speak it, too: chat, completions, embeddings and responses; whole answers
//! and server-sent events.
//!
//! ```json
//! {"model": "llama-3", "temperature": 0.2, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
//! {"model": "llama-3-8b", "choices": [{"index": 0, "message": {"content": "Paris."}, "finish_reason": "stop"}],
//!  "usage": {"prompt_tokens": 14, "completion_tokens": 3}}
//! ```
//!
//! An exchange is one row of what can be watched without reading along: parameters, tokens, lengths, why it ended. **No
//! text of a prompt or an answer is in it.** The version is the model that the answer names.

mod answer;
mod lists;
mod measured;
mod request;

use std::borrow::Cow;

use crate::bodies::Bodies;
use crate::decode::{DecodeError, joined};
use crate::events::events;
use crate::exchange::Redaction;
use crate::failure;
use crate::format::Format;
use crate::paths::path_of;
use crate::rows::{Cell, ColumnsByName, Role, Rows};

use answer::Summary;
use request::Request;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Chat,
    Completions,
    Embeddings,
    Responses,
}

impl Operation {
    /// By the end of the path; where a route of the owner's named the protocol, by the request's keys.
    fn of(path: &str, request: &Request<'_>) -> Self {
        let ends = [
            ("/chat/completions", Self::Chat),
            ("/completions", Self::Completions),
            ("/embeddings", Self::Embeddings),
            ("/responses", Self::Responses),
        ];
        let by_keys = || match request {
            Request { messages: Some(_), .. } => Self::Chat,
            Request { prompt: Some(_), .. } => Self::Completions,
            _ => Self::Responses,
        };
        ends.iter().find(|(end, _)| path.ends_with(end)).map_or_else(by_keys, |(_, operation)| *operation)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
        }
    }
}

pub(crate) fn rows<'a>(bodies: &Bodies<'a>) -> Result<Rows<'a>, DecodeError> {
    let request: Request<'a> = read(bodies.request, Role::Feature)?;
    let operation = Operation::of(path_of(&bodies.exchange.target), &request);
    let mut features = Row::begin()?;
    features.set("operation", Some(Cell::Text(operation.name().into())))?;
    request.describe(&mut features)?;
    let Some(body) = bodies.response else { return joined(features.0, None) };
    let mut summary = Summary::default();
    match bodies.format(Role::Prediction) {
        Ok(Format::Json) => summary.add(read(body, Role::Prediction)?),
        Ok(Format::Events) => {
            let mut is_done = false;
            for event in events(body) {
                // The last event says only that it is the last.
                if event.data.trim_ascii() == b"[DONE]" {
                    is_done = true;
                    continue;
                }
                summary.add_chunk(&event).map_err(|error| DecodeError::json(Role::Prediction, &error))?;
            }
            // The API ends every stream of choices by a reason and by that event. Without both it stops in mid-sentence,
            // unless the owner's rules took out what says so.
            let is_whole = bodies.exchange.response.as_ref().is_some_and(|body| body.redaction() == Redaction::None);
            if is_whole && !is_done && summary.is_left_open() {
                summary.failure = Some(failure::SERVERS_DOING);
            }
        }
        format => {
            let content_type = format.err().unwrap_or("text/plain").to_owned();
            return Err(DecodeError::ContentType { role: Role::Prediction, content_type });
        }
    }
    let (model_version, failure) = (summary.model.clone().map(Cow::Owned), summary.failure);
    let mut predictions = Row::begin()?;
    summary.describe(&mut predictions)?;
    Ok(Rows { model_version, failure, ..joined(features.0, Some(predictions.0))? })
}

/// Whether a body on a path that serves all sorts of models is a chat's.
pub(crate) fn is_chat(request: &[u8]) -> bool {
    const KEY: &[u8] = b"\"messages\"";
    // Most bodies are not, and need not be read twice.
    if !request.windows(KEY.len()).any(|window| window == KEY) {
        return false;
    }
    #[derive(serde::Deserialize)]
    struct Chat {
        #[serde(rename = "messages")]
        _messages: Vec<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Chat>(request).is_ok()
}

fn read<'de, T: serde::Deserialize<'de>>(body: &'de [u8], role: Role) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|error| DecodeError::json(role, &error))
}

/// One row, set column by column.
struct Row<'a>(ColumnsByName<'a>);

impl<'a> Row<'a> {
    fn begin() -> Result<Self, DecodeError> {
        let mut columns = ColumnsByName::default();
        columns.next_row()?;
        Ok(Self(columns))
    }

    /// Sets a column; what was not said is no column.
    fn set(&mut self, name: &'static str, cell: Option<Cell<'a>>) -> Result<(), DecodeError> {
        cell.map_or(Ok(()), |cell| self.0.set(name.into(), cell))
    }

    fn set_count(&mut self, name: &'static str, count: Option<u64>) -> Result<(), DecodeError> {
        self.set(name, count.and_then(|count| i64::try_from(count).ok()).map(Cell::Integer))
    }
}

#[cfg(test)]
mod tests {
    use crate::recorded::{EVENTS, JSON, exchange, rows};

    const CHAT: &str = r#"{"model": "llama-3", "temperature": 0, "max_tokens": 64, "tools": [{"type": "function"}],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Narv\u00edk?"}]}"#;

    fn decoded(path: &str, request: &str, content_type: &str, response: &str) -> Result<Vec<String>, &'static str> {
        rows(&exchange(path, (JSON, request), (content_type, response)), &crate::Naming::default())
    }

    #[test]
    fn a_chat_is_a_row_without_its_words() {
        let answer = r#"{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "llama-3-8b-q4",
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
                         "message": {"role": "assistant", "content": "In Norway.", "refusal": null}}],
            "usage": {"prompt_tokens": 21, "completion_tokens": 4, "total_tokens": 25,
                      "prompt_tokens_details": {"cached_tokens": 16}}}"#;
        let chat = exchange("/v1/chat/completions", (JSON, CHAT), (JSON, answer));
        let naming = crate::Naming::default();
        let row = rows(&chat, &naming).unwrap().join("");
        assert_eq!(
            row,
            "operation=\"chat\" request_model=\"llama-3\" stream=false temperature=0.0 max_tokens=64 tool_count=1 \
             message_count=2 prompt_chars=25 attachment_count=0 response_id=\"chatcmpl-1\" finish_reason=\"stop\" \
             prompt_tokens=21 cached_tokens=16 completion_tokens=4 total_tokens=25 choice_count=1 completion_chars=10 \
             tool_calls=0 is_refusal=false"
        );
        let decoded = crate::decode_rows(&chat, &naming).unwrap();
        assert_eq!(decoded.model_version.as_deref(), Some("llama-3-8b-q4"));
        assert!(!format!("{decoded:?}").contains("Norway") && !format!("{decoded:?}").contains("Narv"));
    }

    #[test]
    fn a_stream_comes_to_what_the_whole_answer_would_have_been() {
        let events = r#"data: {"id":"c-1","model":"m-2","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

: keep-alive

data: {"id":"c-1","model":"m-2","choices":[{"index":0,"delta":{"content":"In "},"finish_reason":null}]}

data: {"id":"c-1","model":"m-2","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":""}}]}}]}

data: {"id":"c-1","model":"m-2","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}

data: {"id":"c-1","model":"m-2","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}

data: {"id":"c-1","model":"m-2","choices":[],"usage":{"prompt_tokens":21,"completion_tokens":4,"total_tokens":25}}

data: [DONE]

"#;
        let row = decoded("/openai/v1/chat/completions", CHAT, EVENTS, events).unwrap().join("");
        let answered = row.split_once("response_id=").unwrap().1;
        assert_eq!(
            answered,
            "\"c-1\" finish_reason=\"length\" prompt_tokens=21 completion_tokens=4 total_tokens=25 choice_count=2 \
             chunk_count=6 completion_chars=3 tool_calls=1 is_refusal=false"
        );
        let broken = r#"data: {"error": {"message": "out of memory", "code": 500}}"#;
        assert!(decoded("/v1/chat/completions", CHAT, EVENTS, broken).unwrap()[0].contains("finish_reason=\"error\""));
        assert_eq!(decoded("/v1/chat/completions", CHAT, EVENTS, "data: {\"choices\": [\n\n"), Err("malformed"));
    }

    /// What a stream of a chat came to, and how its row says that it ended.
    fn streamed(path: &str, events: &str) -> (u32, Option<String>) {
        let exchange = exchange(path, (JSON, CHAT), (EVENTS, events));
        let naming = crate::Naming::default();
        let decoded = crate::decode(&exchange, &naming);
        let rows = decoded.rows.unwrap();
        let reason = rows.columns.iter().find(|column| column.name == "finish_reason");
        (decoded.outcome, reason.map(|column| format!("{:?}", column.cells.get(0).unwrap())))
    }

    #[test]
    fn a_stream_with_an_error_in_it_is_no_success() {
        let word = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"In\"}}]}\n\n";
        let done = "data: [DONE]\n\n";
        let error = Some(r#"Text("error")"#.to_owned());
        for (events, outcome) in [
            // vLLM, before and after it nested its errors; text generation inference; a server's own.
            (r#"data: {"object":"error","message":"died","type":"InternalServerError","code":500}"#, 500),
            (r#"data: {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}"#, 400),
            ("event: error\ndata: {\"error\":\"out of memory\",\"error_type\":\"generation\"}", 500),
            ("event: error\ndata: out of memory", 500),
            (r#"data: {"id":"c","choices":[],"error":{"code":502,"message":"the provider is gone"}}"#, 502),
            (r#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#, 500),
        ] {
            let events = format!("{word}{events}\n\n{done}");
            assert_eq!(streamed("/v1/chat/completions", &events), (outcome, error.clone()), "{events}");
        }
        let failed = r#"data: {"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"server_error","message":"no"}}}"#;
        assert_eq!(streamed("/v1/responses", failed), (500, error.clone()));
        let refused = failed.replace("server_error", "invalid_prompt");
        assert_eq!(streamed("/v1/responses", &refused), (400, error));
    }

    #[test]
    fn a_stream_that_says_neither_why_nor_that_it_ends_was_cut() {
        let word = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"In\"}}]}\n\n";
        let outcome = |events: &str| streamed("/v1/chat/completions", events).0;
        assert_eq!(outcome(word), 500);
        assert_eq!(outcome(&format!("{word}data: [DONE]\n\n")), 200);
        let reason = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        assert_eq!(outcome(&format!("{word}{reason}")), 200);
        assert_eq!(outcome(": keep-alive\n\n"), 200, "nothing was begun");
        let mut redacted = exchange("/v1/chat/completions", (JSON, CHAT), (EVENTS, word));
        redacted.response.as_mut().unwrap().set_redaction(crate::Redaction::Rewritten);
        assert_eq!(
            crate::decode(&redacted, &crate::Naming::default()).outcome,
            200,
            "the reason may be what was cut out"
        );
    }

    #[test]
    fn completions_and_embeddings_count_their_inputs() {
        let answer = r#"{"model": "m", "choices": [{"index": 0, "text": "ab", "finish_reason": "stop"}, {"index": 1, "text": "c", "finish_reason": "stop"}]}"#;
        let row =
            decoded("/v1/completions", r#"{"prompt": ["x", "yz"], "n": 1, "logit_bias": {"1": 2}}"#, JSON, answer);
        let row = row.unwrap().join("");
        assert!(row.contains("operation=\"completions\"") && row.contains("input_count=2 prompt_chars=3"), "{row}");
        assert!(row.contains("choice_count=2 completion_chars=3"), "{row}");
        let answer = r#"{"object": "list", "model": "e", "data": [{"index": 0, "embedding": [0.5, 1, 2]}], "usage": {"prompt_tokens": 3}}"#;
        let row = decoded("/v1/embeddings", r#"{"input": [1, 2, 3], "dimensions": 3}"#, JSON, answer).unwrap().join("");
        assert!(row.contains("dimensions=3 input_count=1 prompt_chars=0"), "{row}");
        assert!(row.ends_with("prompt_tokens=3 embedding_count=1 embedding_dimensions=3"), "{row}");
    }

    #[test]
    fn a_response_is_the_same_whole_and_in_events() {
        let response = r#"{"id": "resp_1", "object": "response", "model": "m-2", "status": "incomplete", "error": null,
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [{"type": "reasoning", "id": "rs_1", "summary": []},
                       {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hello", "annotations": []}]},
                       {"type": "function_call", "id": "fc_1", "arguments": "{}"}],
            "usage": {"input_tokens": 5, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 6}}}"#
            .replace('\n', "");
        let request = r#"{"model": "m", "instructions": "Be kind.", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_image", "file_id": "f"}]}]}"#;
        let whole = decoded("/v1/responses", request, JSON, &response).unwrap().join("");
        assert!(whole.contains("input_count=1 prompt_chars=10 attachment_count=1"), "{whole}");
        let expected = "response_id=\"resp_1\" finish_reason=\"max_output_tokens\" prompt_tokens=5 completion_tokens=9 reasoning_tokens=6";
        assert!(whole.contains(expected) && whole.contains("completion_chars=5 tool_calls=1"), "{whole}");
        let events = format!(
            "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_1\",\"status\":\"in_progress\",\"output\":[]}}}}\n\n\
             data: {{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"delta\":\"Hello\"}}\n\n\
             data: {{\"type\":\"response.incomplete\",\"response\":{response}}}\n\n"
        );
        let streamed = decoded("/v1/responses", request, EVENTS, &events).unwrap().join("");
        assert_eq!(streamed.replace("chunk_count=3 ", ""), whole);
        let cut = events.split("data: {\"type\":\"response.incomplete").next().unwrap();
        assert!(decoded("/v1/responses", request, EVENTS, cut).unwrap()[0].contains("completion_chars=5"));
    }

    #[test]
    fn a_short_body_cannot_claim_gigabytes_or_the_stack() {
        let nothing = "{},".repeat(100_000);
        let answer = format!(r#"{{"choices": [{nothing}{{}}], "output": [{nothing}{{}}]}}"#);
        assert!(decoded("/v1/chat/completions", CHAT, JSON, &answer).is_ok());
        let deep = |key: &str| format!("{}1{}", format!("{{\"{key}\": ").repeat(100_000), "}".repeat(100_000));
        let input = format!(r#"{{"input": {}}}"#, deep("content"));
        assert_eq!(decoded("/v1/responses", &input, JSON, "{}"), Err("malformed"));
        let event = |data: &str| decoded("/v1/responses", "{}", EVENTS, &format!("data: {data}\n\n")).err();
        assert_eq!(event(&format!(r#"{{"delta": {}}}"#, deep("content"))), Some("malformed"));
        assert_eq!(event(&deep("response")), None, "what nobody asks for is passed over");
    }

    #[test]
    fn parameters_of_the_wrong_type_cost_no_row_and_answers_of_the_wrong_type_do() {
        let odd =
            r#"{"model": {"name": "m"}, "temperature": "warm", "stream": null, "max_tokens": -1, "messages": "hi"}"#;
        let row = decoded("/v1/chat/completions", odd, JSON, r#"{"choices": []}"#).unwrap().join("");
        assert!(row.starts_with("operation=\"chat\" stream=false message_count=1 prompt_chars=2"), "{row}");
        assert_eq!(decoded("/v1/chat/completions", odd, JSON, r#"{"choices": {}}"#), Err("malformed"));
        assert_eq!(decoded("/v1/chat/completions", "[1]", JSON, "{}"), Err("malformed"));
        assert_eq!(decoded("/v1/chat/completions", odd, "audio/mpeg", "{}"), Err("content_type"));
    }
}
