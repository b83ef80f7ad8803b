//! What of a body may leave the pod.
//!
//! ```text
//!   headers ▸ format: JSON, JSON lines, server-sent events ─▶ policy applied value by value ─▶ rewritten, or untouched
//!                └─ anything else, or what can't be read ───────────────────────────────────▶ withheld, with a reason
//! ```
//!
//! What no rule speaks of leaves byte for byte as it came. What can't be read is never sent: a rule that can't be applied
//! is a reason to withhold the body, not to leak it. Nothing here is done while there are no rules.

mod format;
mod json;
mod output;
mod policy;
mod scan;
mod stream;
mod tables;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use driftline_protocol::{Body, Exchange, Header, Messages, Redaction};

use self::format::Format;
use self::output::Output;
pub(super) use self::policy::{Action, MAX_POINTERS, Policy};
use crate::budget::Reservation;

/// Why a body stayed in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Withheld {
    /// The rules say that bodies never leave.
    Never,
    /// It was longer than what is kept of a body: its rest could not be read.
    Truncated,
    /// It is compressed.
    Compressed,
    /// It is no JSON, by its content type: binary tensors, protobuf, forms, CSV.
    Format,
    /// It claims to be JSON, and is not.
    Malformed,
    /// Its values nest deeper than the redactor follows.
    TooDeep,
    /// Rewritten it would be longer than a body may be.
    TooLarge,
    /// There was no memory in the budget to rewrite it.
    Budget,
    /// The redactor failed.
    Failed,
}

impl Withheld {
    pub(crate) const ALL: [Self; 9] = [
        Self::Never,
        Self::Truncated,
        Self::Compressed,
        Self::Format,
        Self::Malformed,
        Self::TooDeep,
        Self::TooLarge,
        Self::Budget,
        Self::Failed,
    ];

    /// The name by which metrics count it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Truncated => "truncated",
            Self::Compressed => "compressed",
            Self::Format => "format",
            Self::Malformed => "malformed",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::Budget => "budget",
            Self::Failed => "failed",
        }
    }
}

/// What happened to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redacted {
    /// No rule spoke of anything in it.
    Untouched,
    Rewritten,
    Withheld(Withheld),
}

/// What happened to an exchange's bodies: the request's, the response's.
pub(crate) type BothRedacted = [Redacted; 2];

/// Takes both bodies away.
pub(super) fn withhold_both(exchange: &mut Exchange) -> BothRedacted {
    [&mut exchange.request, &mut exchange.response].map(|body| body.as_mut().map_or(Redacted::Untouched, withhold))
}

/// Takes a body away that the rules never let out.
pub(crate) fn withhold(body: &mut Body) -> Redacted {
    if body.size == 0 { Redacted::Untouched } else { take_away(body, Withheld::Never) }
}

/// Applies a policy to both bodies. What a rewritten body holds is reserved, while the old one still is.
pub(super) fn redact_both(policy: &Policy, exchange: &mut Exchange, reservation: &mut Reservation) -> BothRedacted {
    let Exchange { request, response, request_headers, response_headers, .. } = exchange;
    let Exchange { request_messages, response_messages, .. } = exchange;
    let mut redact = |body: &mut Option<Body>, headers: &[Header], messages: &mut Option<Messages>| match body {
        // The rules have changed since it passed.
        Some(body) if body.redaction() == Redaction::Withheld => Redacted::Withheld(Withheld::Never),
        Some(body) if body.size > 0 => redact_one(policy, body, headers, messages.as_mut(), reservation),
        _ => Redacted::Untouched,
    };
    [redact(request, request_headers, request_messages), redact(response, response_headers, response_messages)]
}

fn redact_one(
    policy: &Policy,
    body: &mut Body,
    headers: &[Header],
    messages: Option<&mut Messages>,
    reservation: &mut Reservation,
) -> Redacted {
    let taken = &mut 0;
    let room = &mut |bytes: usize| {
        let grown = reservation.grow(bytes);
        *taken += if grown { bytes } else { 0 };
        grown
    };
    let whole = !body.is_truncated();
    // A panic must neither end the shipper's thread nor let the body through.
    let rewritten =
        catch_unwind(AssertUnwindSafe(|| rewrite(policy, &body.content, whole, headers, messages.as_deref(), room)))
            .unwrap_or(Err(Withheld::Failed));
    let (redacted, given_back) = match rewritten {
        Ok(None) => (Redacted::Untouched, *taken),
        Ok(Some(Rewritten { content, sizes })) => {
            if let (Some(messages), Some(sizes)) = (messages, sizes) {
                messages.sizes = sizes;
            }
            let surplus = (*taken + body.content.len()).saturating_sub(content.len());
            body.content = Bytes::from(content);
            body.redaction = Redaction::Rewritten.into();
            (Redacted::Rewritten, surplus)
        }
        Err(reason) => {
            let given_back = *taken + body.content.len();
            (take_away(body, reason), given_back)
        }
    };
    reservation.shrink_by(given_back);
    redacted
}

fn take_away(body: &mut Body, reason: Withheld) -> Redacted {
    body.content = Bytes::new();
    body.redaction = Redaction::Withheld.into();
    Redacted::Withheld(reason)
}

/// A body as it may leave.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) content: Vec<u8>,
    /// The sizes of its messages, where it is a stream of them.
    sizes: stream::Sizes,
}

/// The body as it may leave; None when that is as it is.
pub(super) fn rewrite(
    policy: &Policy,
    content: &[u8],
    whole: bool,
    headers: &[Header],
    messages: Option<&Messages>,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Rewritten>, Withheld> {
    let format = Format::of(headers)?;
    if !whole {
        return Err(Withheld::Truncated);
    }
    let text = std::str::from_utf8(content).map_err(|_| Withheld::Malformed)?;
    let mut output = Output::new(text, room);
    let sizes = match format {
        Format::JsonOfStructure if !text.trim_start().starts_with(['{', '[']) => return Err(Withheld::Format),
        Format::Json | Format::JsonOfStructure => json::redact(policy, text, &mut output).map(|()| None)?,
        Format::Lines => stream::redact_lines(policy, text, messages, &mut output)?,
        Format::ServerSentEvents => stream::redact_events(policy, text, messages, &mut output)?,
    };
    Ok(output.finish()?.map(|content| Rewritten { content, sizes }))
}

#[cfg(test)]
mod tests;
