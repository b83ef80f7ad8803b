//! What an answer says, whole or in chunks.

use std::borrow::Cow;

use serde::Deserialize;

use super::Row;
use super::lists::{Calls, Embeddings, Few};
use super::measured::{Measured, Single};
use crate::decode::DecodeError;
use crate::events;
use crate::failure;
use crate::json::Value;
use crate::rows::Cell;

/// A whole answer, or a chunk of a chat's or a completion's.
#[derive(Debug, Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    id: Option<Single<'a>>,
    #[serde(borrow)]
    model: Option<Single<'a>>,
    #[serde(borrow)]
    usage: Option<Usage<'a>>,
    #[serde(borrow)]
    error: Option<Value<'a>>,
    /// Of chats and completions.
    #[serde(borrow)]
    choices: Option<Few<Choice<'a>>>,
    /// Of embeddings.
    data: Option<Embeddings>,
    /// Of responses: what was said and done, and how it ended.
    #[serde(borrow)]
    output: Option<Few<Item<'a>>>,
    #[serde(borrow)]
    status: Option<Single<'a>>,
    #[serde(borrow)]
    incomplete_details: Option<Incomplete<'a>>,
}

/// A chunk of a stream: an event about a response says what it is.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Single<'a>>,
    /// What was added.
    delta: Option<Measured>,
    /// The response as it is by then.
    #[serde(borrow)]
    response: Option<Answer<'a>>,
}

#[derive(Debug, Deserialize)]
struct Usage<'a> {
    #[serde(borrow)]
    prompt_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    input_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    completion_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    output_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    total_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    prompt_tokens_details: Option<Details<'a>>,
    #[serde(borrow)]
    input_tokens_details: Option<Details<'a>>,
    #[serde(borrow)]
    completion_tokens_details: Option<Details<'a>>,
    #[serde(borrow)]
    output_tokens_details: Option<Details<'a>>,
}

#[derive(Debug, Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    reasoning_tokens: Option<Single<'a>>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<Single<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Single<'a>>,
    message: Option<Message>,
    /// What a chunk adds to the message.
    delta: Option<Message>,
    /// A completion's.
    text: Option<Measured>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<Measured>,
    refusal: Option<Measured>,
    tool_calls: Option<Calls>,
}

/// A message, a call of a function, or a thought.
#[derive(Debug, Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Single<'a>>,
    content: Option<Measured>,
}

#[derive(Debug, Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Option<Single<'a>>,
}

/// What an answer comes to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    id: Option<String>,
    pub(super) model: Option<String>,
    finish_reason: Option<String>,
    choices: Option<u64>,
    chunks: Option<u64>,
    chars: u64,
    is_refusal: bool,
    tool_calls: u64,
    embeddings: Option<Embeddings>,
    tokens: Tokens,
    /// The status for which an error stands that was told of.
    pub(super) failure: Option<u32>,
}

#[derive(Debug, Default)]
struct Tokens {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
}

impl Summary {
    /// Adds one of a stream's chunks.
    pub(super) fn add_chunk(&mut self, chunk: &events::Event<'_>) -> serde_json::Result<()> {
        self.chunks = Some(self.chunks.unwrap_or(0) + 1);
        // An event that is called an error need not be JSON.
        if let Some(status) = failure::reported(&chunk.data, None).or(chunk.is_error.then_some(failure::SERVERS_DOING))
        {
            self.fail(status);
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(&chunk.data)?;
        let Some(kind) = text(event.kind) else {
            self.add(serde_json::from_slice(&chunk.data)?);
            return Ok(());
        };
        if let Some(response) = event.response {
            self.add(response);
        }
        if kind.ends_with("output_text.delta") {
            self.chars += event.delta.map_or(0, |delta| delta.chars);
        }
        if kind == "error" {
            self.fail(failure::SERVERS_DOING);
        }
        Ok(())
    }

    fn fail(&mut self, status: u32) {
        self.failure.get_or_insert(status);
        self.finish_reason = Some("error".to_owned());
    }

    /// Whether it has choices, of which none says how it ended.
    pub(super) fn is_left_open(&self) -> bool {
        self.choices.is_some() && self.finish_reason.is_none()
    }

    /// Adds a whole answer, or the answer as it is by now.
    pub(super) fn add(&mut self, answer: Answer<'_>) {
        self.id = self.id.take().or(text(answer.id));
        self.model = text(answer.model).or(self.model.take());
        self.embeddings = answer.data.or(self.embeddings);
        for choice in answer.choices.into_iter().flat_map(|choices| choices.0) {
            self.add_choice(choice);
        }
        if let Some(output) = answer.output.filter(|output| !output.0.is_empty()) {
            self.add_output(output.0);
        }
        if let Some(ended) = ended(answer.incomplete_details, answer.status) {
            self.failure = self.failure.or((ended == "failed").then_some(failure::SERVERS_DOING));
            self.finish_reason = Some(ended);
        }
        if let Some(error) = answer.error {
            self.failure = None;
            self.fail(failure::status_of(&error));
        }
        if let Some(usage) = answer.usage {
            self.tokens = Tokens::of(&usage);
        }
    }

    fn add_choice(&mut self, choice: Choice<'_>) {
        let place = choice.index.and_then(|index| index.count()).unwrap_or(0);
        self.choices = self.choices.max(Some(place.saturating_add(1)));
        let reason = text(choice.finish_reason);
        if reason.as_deref() == Some("error") {
            self.fail(failure::SERVERS_DOING);
        }
        self.finish_reason = self.finish_reason.take().or(reason);
        self.chars += choice.text.map_or(0, |text| text.chars);
        let Some(message) = choice.message.or(choice.delta) else { return };
        self.chars += message.content.map_or(0, |content| content.chars);
        self.is_refusal |= message.refusal.is_some_and(|refusal| refusal.chars > 0);
        self.tool_calls += message.tool_calls.map_or(0, |calls| calls.0);
    }

    /// Takes over what a response holds by now, in place of what its events added.
    fn add_output(&mut self, output: Vec<Item<'_>>) {
        (self.chars, self.tool_calls) = (0, 0);
        for item in output {
            let kind = text(item.kind).unwrap_or_default();
            self.tool_calls += u64::from(kind.ends_with("_call"));
            if kind == "message" {
                self.chars += item.content.map_or(0, |content| content.chars);
            }
        }
    }

    /// Sets a row's columns.
    pub(super) fn describe(self, row: &mut Row<'_>) -> Result<(), DecodeError> {
        let said = |text: Option<String>| text.map(|text| Cell::Text(text.into()));
        row.set("response_id", said(self.id))?;
        row.set("finish_reason", said(self.finish_reason))?;
        row.set_count("prompt_tokens", self.tokens.prompt)?;
        row.set_count("cached_tokens", self.tokens.cached)?;
        row.set_count("completion_tokens", self.tokens.completion)?;
        row.set_count("reasoning_tokens", self.tokens.reasoning)?;
        row.set_count("total_tokens", self.tokens.total)?;
        if let Some(embeddings) = self.embeddings {
            row.set_count("embedding_count", Some(embeddings.count))?;
            return row.set_count("embedding_dimensions", Some(embeddings.dimensions));
        }
        row.set_count("choice_count", self.choices)?;
        row.set_count("chunk_count", self.chunks)?;
        row.set_count("completion_chars", Some(self.chars))?;
        row.set_count("tool_calls", Some(self.tool_calls))?;
        row.set("is_refusal", Some(Cell::Boolean(self.is_refusal)))
    }
}

impl Tokens {
    fn of(usage: &Usage<'_>) -> Self {
        let count = |first: &Option<Single<'_>>, second: &Option<Single<'_>>| {
            first.as_ref().and_then(Single::count).or(second.as_ref().and_then(Single::count))
        };
        let prompt_details = usage.prompt_tokens_details.as_ref().or(usage.input_tokens_details.as_ref());
        let completion_details = usage.completion_tokens_details.as_ref().or(usage.output_tokens_details.as_ref());
        Self {
            prompt: count(&usage.prompt_tokens, &usage.input_tokens),
            completion: count(&usage.completion_tokens, &usage.output_tokens),
            total: count(&usage.total_tokens, &None),
            cached: prompt_details.and_then(|details| count(&details.cached_tokens, &None)),
            reasoning: completion_details.and_then(|details| count(&details.reasoning_tokens, &None)),
        }
    }
}

/// How a response ended: why it was cut short, or its status once it is final.
fn ended(incomplete: Option<Incomplete<'_>>, status: Option<Single<'_>>) -> Option<String> {
    let reason = incomplete.and_then(|incomplete| text(incomplete.reason));
    reason.or_else(|| text(status).filter(|status| !matches!(status.as_str(), "in_progress" | "queued")))
}

fn text(single: Option<Single<'_>>) -> Option<String> {
    single.and_then(Single::text).map(Cow::into_owned)
}
