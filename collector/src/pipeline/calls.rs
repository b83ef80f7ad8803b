//! A call and its indicators: whether the model was there, answered in time, and began its stream in time.

use std::time::Duration;

use driftline_alerts::Counts;
use driftline_protocol::{EndState, Exchange};

use super::slis::SliCounts;
use crate::config::{FIRST_MESSAGE_SLI, Slis};

/// Most exchanges that one stands for. A sender that claims more would drown all others, and sums end somewhere.
const MAX_WEIGHT: u64 = 1_000_000;

/// A call, as indicators see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) exchange: &'a Exchange,
    /// What its answer came to, as an HTTP status; see [`driftline_protocol::Decoded::outcome`].
    pub(crate) outcome: u32,
}

impl<'a> Call<'a> {
    /// One whose status says what it came to, as archived ones' do.
    pub(crate) fn archived(exchange: &'a Exchange) -> Self {
        Self { exchange, outcome: exchange.status }
    }

    /// Whether it was answered, and well.
    pub(crate) fn succeeded(self) -> bool {
        (200..300).contains(&self.outcome) && self.exchange.end() == EndState::Complete
    }

    /// Whether an answer of success passed to its end, whatever could be kept of it.
    pub(super) fn is_answer(self) -> bool {
        answered(self.exchange) && (200..300).contains(&self.outcome)
    }
}

/// For how many exchanges one stands.
pub(crate) fn weight(exchange: &Exchange) -> u64 {
    exchange.weight().min(MAX_WEIGHT)
}

/// What a call is for an indicator that it is an event of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Good,
    Bad,
    /// It was seen, and what would tell was not kept.
    Unknown,
}

impl Judged {
    pub(super) fn of(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Bad }
    }

    /// As many events as the call stands for.
    pub(super) fn counts(self, weight: u64) -> Counts {
        match self {
            Self::Good => Counts { good: weight, valid: weight, unknown: 0 },
            Self::Bad => Counts { good: 0, valid: weight, unknown: 0 },
            Self::Unknown => Counts { good: 0, valid: 0, unknown: weight },
        }
    }
}

/// Counts a call's indicators at a time, for as many calls as it stands for, and says which. Gives whether it has a latency.
pub(crate) fn count_call(
    slis: &mut SliCounts,
    (model, call, limits): (&str, Call<'_>, &Slis),
    (at, weight): (i64, u64),
    mut say: impl FnMut(&'static str, Counts),
) -> bool {
    let limit_micros = limits.latency.as_micros() as u64;
    let begun = limits.first_message.and_then(|limit| Some((FIRST_MESSAGE_SLI, began_in_time(call, limit)?)));
    let judged = indicators(call, limit_micros).map(|(sli, is_good)| (sli, Judged::of(is_good)));
    for (sli, judged) in judged.chain(begun) {
        let counts = judged.counts(weight);
        slis.count(model, sli, "", at, counts);
        say(sli, counts);
    }
    let took = call.exchange.status > 0 || gave_up(call, limit_micros);
    if took {
        slis.latency(model, at, call.exchange.duration_micros, weight);
    }
    took
}

/// The indicators that an exchange is valid for, and whether it was good.
fn indicators(call: Call<'_>, latency_limit_micros: u64) -> impl Iterator<Item = (&'static str, bool)> {
    let Call { exchange, outcome: status } = call;
    let answered = answered(exchange);
    // What the caller did wrong, and what it broke off, says nothing about the model.
    let callers_doing = (400..500).contains(&status) && status != 408 && status != 429
        || matches!(exchange.end(), EndState::Cancelled | EndState::Upgraded | EndState::Unreadable);
    let available = (!callers_doing).then_some(("availability", answered && status < 400));
    let in_time = exchange.duration_micros <= latency_limit_micros;
    let timed = (call.is_answer() || gave_up(call, latency_limit_micros)).then_some(("latency", in_time));
    available.into_iter().chain(timed)
}

/// Whether a stream began in time; none of what is no stream. One message alone is none: each answer over gRPC is one. Of what
/// the caller broke off, its first message or the want of it says whether that was for the waiting. A sidecar that was out of
/// memory counted messages and kept no times: of a stream it is unknown then, unless it ended before the limit.
fn began_in_time(Call { exchange, outcome }: Call<'_>, limit: Duration) -> Option<Judged> {
    let limit_micros = limit.as_micros() as u64;
    let messages = exchange.response_messages.as_ref().filter(|_| (200..300).contains(&outcome))?;
    let is_cancelled = exchange.end() == EndState::Cancelled;
    let is_stream = (answered(exchange) || is_cancelled) && messages.count > 1;
    let took_longer = exchange.duration_micros > limit_micros;
    match messages.gaps_micros.first() {
        Some(waited) if is_stream => Some(Judged::of(*waited <= limit_micros)),
        Some(waited) => (is_cancelled && *waited > limit_micros).then_some(Judged::Bad),
        // All that passed, passed within it.
        None if is_stream && !took_longer => Some(Judged::Good),
        None if is_stream => Some(Judged::Unknown),
        None if is_cancelled && took_longer => Some(if messages.count > 0 { Judged::Unknown } else { Judged::Bad }),
        None => None,
    }
}

/// Whether the model's answer passed to its end: what the sidecar could keep of it says nothing about that.
fn answered(exchange: &Exchange) -> bool {
    matches!(exchange.end(), EndState::Complete | EndState::Truncated | EndState::Budget)
}

/// Whether the caller broke it off after the limit: whatever the answer would have been, it would have been late.
fn gave_up(Call { exchange, outcome: status }: Call<'_>, latency_limit_micros: u64) -> bool {
    exchange.end() == EndState::Cancelled
        && exchange.duration_micros > latency_limit_micros
        && (status == 0 || (200..300).contains(&status))
}

#[cfg(test)]
mod tests {
    use driftline_protocol::Messages;

    use super::*;

    fn exchange(status: u32, end: EndState, micros: u64) -> Exchange {
        Exchange { status, end: end.into(), duration_micros: micros, ..Exchange::default() }
    }

    fn indicated(status: u32, end: EndState, micros: u64) -> Vec<(&'static str, bool)> {
        indicators(Call::archived(&exchange(status, end, micros)), 1000).collect()
    }

    #[test]
    fn what_the_caller_did_is_not_held_against_the_model() {
        assert_eq!(indicated(200, EndState::Complete, 900), [("availability", true), ("latency", true)]);
        assert_eq!(indicated(200, EndState::Truncated, 1100), [("availability", true), ("latency", false)]);
        assert_eq!(indicated(200, EndState::Budget, 900), [("availability", true), ("latency", true)]);
        assert_eq!(indicated(503, EndState::Complete, 10), [("availability", false)]);
        assert_eq!(indicated(429, EndState::Complete, 10), [("availability", false)], "overload is the model's doing");
        assert_eq!(indicated(404, EndState::Complete, 10), []);
        assert_eq!(indicated(0, EndState::Cancelled, 1000), []);
        assert_eq!(indicated(0, EndState::Cancelled, 1001), [("latency", false)], "waited longer than the limit");
        assert_eq!(indicated(200, EndState::Cancelled, 1001), [("latency", false)], "amid an answer");
        assert_eq!(indicated(404, EndState::Cancelled, 1001), []);
        assert_eq!(indicated(0, EndState::UpstreamError, 10), [("availability", false)]);
    }

    #[test]
    fn a_grpc_call_that_failed_is_no_success_for_its_http_status() {
        let called = |code: &str| {
            let status = driftline_protocol::Header { name: "grpc-status".into(), value: code.into() };
            let exchange = Exchange { response_headers: vec![status], ..exchange(200, EndState::Complete, 900) };
            indicators(Call { exchange: &exchange, outcome: exchange.outcome() }, 1000).collect::<Vec<_>>()
        };
        assert_eq!(called("0"), [("availability", true), ("latency", true)]);
        assert_eq!(called("14"), [("availability", false)], "unavailable");
        assert_eq!(called("8"), [("availability", false)], "overload is the model's doing");
        assert_eq!(called("3"), [], "the caller's argument");
        assert_eq!(called("no code"), [("availability", false)]);
    }

    #[test]
    fn streams_begin_in_time_or_not_and_what_is_no_stream_does_neither() {
        let began = |end, gaps: &[u64], count, micros| {
            let messages = Messages { gaps_micros: gaps.to_vec(), count, ..Messages::default() };
            let exchange = Exchange { response_messages: Some(messages), ..exchange(200, end, micros) };
            began_in_time(Call::archived(&exchange), Duration::from_millis(1))
        };
        assert_eq!(began(EndState::Complete, &[1000, 5], 2, 9000), Some(Judged::Good), "however long it goes on");
        assert_eq!(began(EndState::Truncated, &[1001], 900, 9000), Some(Judged::Bad));
        assert_eq!(began(EndState::Complete, &[5000], 1, 5000), None, "a call over gRPC");
        assert_eq!(began(EndState::Complete, &[], 0, 5000), None, "nothing was said");
        assert_eq!(began(EndState::Cancelled, &[900, 5], 2, 9000), Some(Judged::Good), "broken off for another reason");
        assert_eq!(began(EndState::Cancelled, &[1001], 1, 1100), Some(Judged::Bad));
        assert_eq!(began(EndState::Cancelled, &[900], 1, 9000), None);
        assert_eq!(began(EndState::Cancelled, &[], 0, 1001), Some(Judged::Bad), "before the first");
        assert_eq!(began(EndState::Cancelled, &[], 0, 1000), None);
        assert_eq!(began(EndState::UpstreamError, &[5000, 5], 2, 9000), None, "availability's");
        // Messages were counted, and there was no room for their times.
        assert_eq!(began(EndState::Complete, &[], 2, 9000), Some(Judged::Unknown));
        assert_eq!(began(EndState::Budget, &[], 2, 1000), Some(Judged::Good), "all of it passed within the limit");
        assert_eq!(began(EndState::Cancelled, &[], 2, 9000), Some(Judged::Unknown));
        assert_eq!(began(EndState::Cancelled, &[], 1, 9000), Some(Judged::Unknown), "the first may have come late");
        assert_eq!(began(EndState::Cancelled, &[], 1, 900), None);
        assert_eq!(began(EndState::Complete, &[], 1, 9000), None, "no stream");
        assert_eq!(began(EndState::UpstreamError, &[], 2, 9000), None);
        let alone = exchange(200, EndState::Complete, 9000);
        assert_eq!(began_in_time(Call::archived(&alone), Duration::from_millis(1)), None);
        let failed = Exchange {
            response_messages: Some(Messages { gaps_micros: vec![5000, 1], count: 2, ..Messages::default() }),
            ..alone
        };
        assert_eq!(began_in_time(Call { exchange: &failed, outcome: 500 }, Duration::from_millis(1)), None);
    }

    #[test]
    fn an_answer_that_tells_of_an_error_is_no_success_for_its_status() {
        let exchange = exchange(200, EndState::Complete, 900);
        let called = |outcome| indicators(Call { exchange: &exchange, outcome }, 1000).collect::<Vec<_>>();
        assert_eq!(called(200), [("availability", true), ("latency", true)]);
        assert_eq!(called(500), [("availability", false)]);
        assert_eq!(called(400), [], "the caller's doing");
    }
}
