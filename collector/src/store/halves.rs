//! Requests and responses that come apart, and are joined here.
//!
//! Each half is durable when it is acknowledged. When the second comes, the exchange goes into the journal in the same
//! transaction in which the first stops waiting: killed at any moment, an exchange is there once, or both halves are.

use driftline_protocol::{Batch, EndState, Exchange, frame};
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::journal;
use crate::config::RequestsAlone;

/// Half of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Half {
    pub(crate) model: String,
    /// What the other half has, too.
    pub(crate) joined_by: String,
    pub(crate) side: Side,
    /// Where it comes from.
    pub(crate) source: String,
    pub(crate) exchange: Exchange,
}

/// Which half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// What became of a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It waits for the other.
    Waits,
    /// It met the other.
    Joined,
    /// It was there before.
    Repeated,
    /// It is a response whose request was given up on.
    Late,
}

/// What was given up on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
}

/// How long a half that is done with is recognised when it comes again.
const REMEMBERED_MICROS: i64 = 3_600_000_000;

/// Takes a half in.
pub(crate) fn take(db: &Connection, half: &Half, now: i64) -> rusqlite::Result<Taken> {
    let known: Option<(i64, String, String, Vec<u8>)> = db
        .prepare_cached("SELECT number, state, source, exchange FROM event_halves WHERE model = ?1 AND joined_by = ?2")?
        .query_row([&half.model, &half.joined_by], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((number, state, source, first)) = known else {
        db.prepare_cached(
            "INSERT INTO event_halves (model, joined_by, state, received_at, source, exchange)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            half.model,
            half.joined_by,
            half.side.name(),
            now,
            half.source,
            half.exchange.encode_to_vec()
        ])?;
        return Ok(Taken::Waits);
    };
    let is_first = match (state.as_str(), half.side) {
        ("request", Side::Response) => true,
        ("response", Side::Request) => false,
        ("alone", Side::Response) => return Ok(Taken::Late),
        _ => return Ok(Taken::Repeated),
    };
    let first = Exchange::decode(first.as_slice()).map_err(failed)?;
    let (request, response) = if is_first { (first, half.exchange.clone()) } else { (half.exchange.clone(), first) };
    let source = if is_first { source } else { half.source.clone() };
    let exchange = Exchange {
        response: response.response,
        response_headers: response.response_headers,
        status: 200,
        end: EndState::Complete.into(),
        ..request
    };
    append(db, &half.model, source, exchange, now)?;
    settle(db, number, "both", now)?;
    Ok(Taken::Joined)
}

/// Gives up on halves that came before a time, a bounded number of them. Requests go into the journal alone; of responses
/// nothing can be made.
pub(crate) fn give_up(
    db: &Connection,
    before: i64,
    alone: RequestsAlone,
    limit: u32,
    now: i64,
) -> rusqlite::Result<GivenUp> {
    let late: Vec<(i64, String, String, String, Vec<u8>)> = db
        .prepare_cached(
            "SELECT number, model, state, source, exchange FROM event_halves
             WHERE received_at < ?1 AND state IN ('request', 'response') ORDER BY received_at LIMIT ?2",
        )?
        .query_map(params![before, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut given_up = GivenUp::default();
    for (number, model, state, source, exchange) in late {
        if state == "response" {
            db.prepare_cached("DELETE FROM event_halves WHERE number = ?1")?.execute([number])?;
            given_up.responses += 1;
            continue;
        }
        let mut exchange = Exchange::decode(exchange.as_slice()).map_err(failed)?;
        if alone == RequestsAlone::Count {
            exchange.status = 200;
            exchange.set_end(EndState::Complete);
        }
        append(db, &model, source, exchange, now)?;
        settle(db, number, "alone", now)?;
        given_up.requests += 1;
    }
    db.prepare_cached(
        "DELETE FROM event_halves WHERE number IN (SELECT number FROM event_halves
         WHERE received_at < ?1 AND state IN ('both', 'alone') ORDER BY received_at LIMIT ?2)",
    )?
    .execute(params![now - REMEMBERED_MICROS, limit])?;
    Ok(given_up)
}

/// How many halves wait.
pub(crate) fn waiting(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM event_halves WHERE state IN ('request', 'response')")?
        .query_row([], |row| row.get(0))
}

fn settle(db: &Connection, number: i64, state: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE event_halves SET state = ?2, received_at = ?3, exchange = x'' WHERE number = ?1")?
        .execute(params![number, state, now])?;
    Ok(())
}

/// An exchange in a batch of its own. It is compressed on the thread that writes: a few microseconds for a row, and some
/// milliseconds for the largest body that is taken.
fn append(db: &Connection, model: &str, source: String, exchange: Exchange, now: i64) -> rusqlite::Result<()> {
    let batch = Batch {
        boot_id: vec![0; 16],
        model: model.to_owned(),
        instance: source,
        first_sequence: 1,
        last_sequence: 1,
        exchanges: vec![Exchange { sequence: 1, ..exchange }],
        ..Batch::default()
    };
    journal::append_unnumbered(db, &frame::encode(&batch).map_err(failed)?, now)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

#[cfg(test)]
mod tests {
    use driftline_protocol::Body;
    use proptest::prelude::*;

    use super::*;

    fn database() -> Connection {
        super::super::in_memory().unwrap()
    }

    fn half(key: &str, side: Side) -> Half {
        let body = |text: &str| Some(Body { content: text.to_owned().into(), size: 1, ..Body::default() });
        let exchange = match side {
            Side::Request => Exchange { request_id: key.into(), request: body("q"), ..Exchange::default() },
            Side::Response => Exchange { response: body("a"), ..Exchange::default() },
        };
        Half { model: "m".into(), joined_by: key.into(), side, source: side.name().into(), exchange }
    }

    /// What a reader of the journal sees: ids, and which bodies there are.
    fn journalled(db: &Connection) -> Vec<(String, bool, bool, u32)> {
        let entries = journal::read_after(db, 0, usize::MAX).unwrap();
        let read = |entry: journal::Entry| {
            let batch = frame::decode(&journal::frame(db, entry.position).unwrap()).unwrap();
            assert_eq!(batch.instance, "request", "where the request came from");
            let exchange = &batch.exchanges[0];
            (exchange.request_id.clone(), exchange.request.is_some(), exchange.response.is_some(), exchange.status)
        };
        entries.into_iter().map(read).collect()
    }

    #[test]
    fn halves_are_joined_in_either_order_and_once() {
        for order in [[Side::Request, Side::Response], [Side::Response, Side::Request]] {
            let db = database();
            assert_eq!(take(&db, &half("1", order[0]), 0).unwrap(), Taken::Waits);
            assert_eq!(take(&db, &half("1", order[0]), 0).unwrap(), Taken::Repeated);
            assert_eq!(waiting(&db).unwrap(), 1);
            assert_eq!(take(&db, &half("1", order[1]), 0).unwrap(), Taken::Joined);
            for side in order {
                assert_eq!(take(&db, &half("1", side), 0).unwrap(), Taken::Repeated);
            }
            assert_eq!(journalled(&db), [("1".to_owned(), true, true, 200)]);
            assert_eq!(waiting(&db).unwrap(), 0);
        }
    }

    #[test]
    fn a_request_alone_is_journalled_and_counts_only_where_it_should() {
        for (alone, status) in [(RequestsAlone::Archive, 0), (RequestsAlone::Count, 200)] {
            let db = database();
            take(&db, &half("1", Side::Request), 10).unwrap();
            take(&db, &half("2", Side::Response), 10).unwrap();
            assert_eq!(give_up(&db, 10, alone, 100, 10).unwrap(), GivenUp::default(), "they still have time");
            assert_eq!(give_up(&db, 11, alone, 100, 11).unwrap(), GivenUp { requests: 1, responses: 1 });
            assert_eq!(give_up(&db, 12, alone, 100, 12).unwrap(), GivenUp::default());
            assert_eq!(take(&db, &half("1", Side::Response), 13).unwrap(), Taken::Late);
            assert_eq!(take(&db, &half("1", Side::Request), 13).unwrap(), Taken::Repeated);
            assert_eq!(journalled(&db), [("1".to_owned(), true, false, status)]);
            give_up(&db, 0, alone, 100, 12 + REMEMBERED_MICROS).unwrap();
            let left: i64 = db.query_row("SELECT count(*) FROM event_halves", [], |row| row.get(0)).unwrap();
            assert_eq!(left, 0, "in the end it is forgotten");
        }
    }

    proptest! {
        #[test]
        fn however_halves_come_and_repeat_each_exchange_is_there_once(
            arrivals in proptest::collection::vec((0u8..6, any::<bool>(), 0i64..3), 1..60)
        ) {
            let db = database();
            let (mut now, mut requests) = (0, std::collections::BTreeSet::new());
            for (key, is_request, passes) in arrivals {
                now += passes;
                let side = if is_request { Side::Request } else { Side::Response };
                if is_request {
                    requests.insert(key.to_string());
                }
                take(&db, &half(&key.to_string(), side), now).unwrap();
                give_up(&db, now - 5, RequestsAlone::Archive, 10, now).unwrap();
            }
            give_up(&db, now + 1, RequestsAlone::Archive, 100, now + 1).unwrap();
            let mut ids: Vec<String> = journalled(&db).into_iter().map(|(id, ..)| id).collect();
            ids.sort();
            prop_assert_eq!(ids, requests.into_iter().collect::<Vec<_>>());
        }
    }
}
