//! What a request asks for.

use serde::Deserialize;

use super::Row;
use super::lists::Length;
use super::measured::{Measured, Single};
use crate::decode::DecodeError;
use crate::rows::Cell;

#[derive(Debug, Deserialize)]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    model: Option<Single<'a>>,
    /// A chat's.
    pub(super) messages: Option<Measured>,
    /// A completion's.
    pub(super) prompt: Option<Measured>,
    /// An embedding's or a response's.
    input: Option<Measured>,
    instructions: Option<Measured>,
    #[serde(borrow)]
    stream: Option<Single<'a>>,
    #[serde(borrow)]
    temperature: Option<Single<'a>>,
    #[serde(borrow)]
    top_p: Option<Single<'a>>,
    #[serde(borrow)]
    max_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    max_completion_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    max_output_tokens: Option<Single<'a>>,
    #[serde(borrow)]
    presence_penalty: Option<Single<'a>>,
    #[serde(borrow)]
    frequency_penalty: Option<Single<'a>>,
    #[serde(borrow)]
    n: Option<Single<'a>>,
    #[serde(borrow)]
    dimensions: Option<Single<'a>>,
    #[serde(borrow)]
    reasoning_effort: Option<Single<'a>>,
    tools: Option<Length>,
}

impl<'a> Request<'a> {
    pub(super) fn describe(self, row: &mut Row<'a>) -> Result<(), DecodeError> {
        let is_stream = matches!(self.stream, Some(Single(Some(Cell::Boolean(true)))));
        let max_tokens = self.max_completion_tokens.or(self.max_output_tokens).or(self.max_tokens);
        let number = |single: Option<Single<'a>>| single.and_then(Single::number);
        let count = |single: Option<Single<'a>>| single.and_then(|single| single.count());
        row.set("request_model", self.model.and_then(Single::text).map(Cell::Text))?;
        row.set("stream", Some(Cell::Boolean(is_stream)))?;
        row.set("temperature", number(self.temperature))?;
        row.set("top_p", number(self.top_p))?;
        row.set("presence_penalty", number(self.presence_penalty))?;
        row.set("frequency_penalty", number(self.frequency_penalty))?;
        row.set("reasoning_effort", self.reasoning_effort.and_then(Single::text).map(Cell::Text))?;
        row.set_count("max_tokens", count(max_tokens))?;
        row.set_count("n", count(self.n))?;
        row.set_count("dimensions", count(self.dimensions))?;
        row.set_count("tool_count", self.tools.map(|tools| tools.0))?;
        row.set_count("message_count", self.messages.map(|messages| messages.items))?;
        row.set_count("input_count", self.prompt.or(self.input).map(|input| input.items))?;
        let texts = [self.messages, self.prompt, self.input, self.instructions];
        let texts = || texts.iter().flatten();
        row.set_count("prompt_chars", Some(texts().map(|text| text.chars).sum()))?;
        row.set_count("attachment_count", Some(texts().map(|text| text.attachments).sum()))
    }
}
