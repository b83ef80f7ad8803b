//! Rows of a request, whatever they were written in, as exchanges of their models.

use std::collections::BTreeMap;
use std::fmt::Arguments;

use axum::http::StatusCode;
use driftline_protocol::{Batch, Body, EndState, Exchange, FrameError, ModelProtocol, frame};
use tokio::sync::OwnedSemaphorePermit;

use super::{EXPECTED, RowParameters};
use crate::ingest::refused::Refused;
use crate::ingest::{Ingest, MAX_FIELD_BYTES};

/// Rows that one request may bring.
pub(crate) const MAX_ROWS: usize = 50_000;
/// What a row takes in its batch besides its features and its prediction.
const ROW_BYTES: usize = 512;
/// Rows are charged for in such steps as they are made: what a body comes to, nobody knows before.
const ROOM_STEP: usize = 1 << 20;

/// One row. Features and prediction are JSON.
#[derive(Debug, Default)]
pub(super) struct Row<'a> {
    pub(super) features: &'a str,
    pub(super) prediction: Option<&'a str>,
    pub(super) id: Option<String>,
    pub(super) at_micros: Option<i64>,
    pub(super) model: Option<String>,
    pub(super) version: Option<String>,
}

/// The rows of one model, framed.
pub(super) struct ModelRows {
    pub(super) model: String,
    pub(super) rows: usize,
    pub(super) frame: Vec<u8>,
}

/// Room for so many bytes more, or why there is none.
pub(super) type MoreRoom<'r> = &'r dyn Fn(usize) -> Result<OwnedSemaphorePermit, Refused>;

impl Ingest {
    /// Room for what rows come to, step by step.
    pub(super) fn more_room(&self) -> impl Fn(usize) -> Result<OwnedSemaphorePermit, Refused> + use<> {
        let ingest = self.clone();
        move |bytes| ingest.room(bytes)
    }
}

/// The rows of a request, as far as they have been read.
pub(super) struct Gathered<'r> {
    parameters: &'r RowParameters,
    now: i64,
    /// What the ids of rows begin with that have none.
    ids: String,
    by_model: BTreeMap<String, Vec<Exchange>>,
    rows: usize,
    bytes: usize,
    more_room: MoreRoom<'r>,
    room: Vec<OwnedSemaphorePermit>,
}

impl<'r> Gathered<'r> {
    pub(super) fn new(parameters: &'r RowParameters, now: i64, more_room: MoreRoom<'r>) -> Self {
        let ids = uuid::Uuid::now_v7().simple().to_string();
        Self { parameters, now, ids, by_model: BTreeMap::new(), rows: 0, bytes: 0, more_room, room: Vec::new() }
    }

    /// Takes a row in. The place is what its sender finds it by.
    pub(super) fn add(&mut self, place: Arguments<'_>, row: Row<'_>) -> Result<(), Refused> {
        self.rows += 1;
        self.bytes += ROW_BYTES + row.features.len() + row.prediction.map_or(0, str::len);
        if self.rows > MAX_ROWS || self.bytes > frame::MAX_RAW_BYTES {
            let why = format!("more than {MAX_ROWS} rows, or too many bytes; send them in several requests");
            return Err(too_large(why));
        }
        while self.bytes > self.room.len() * ROOM_STEP {
            self.room.push((self.more_room)(ROOM_STEP)?);
        }
        let (model, mut exchange) =
            exchange(row, self.parameters, self.now).map_err(|why| bad(format!("{place}: {why}")))?;
        if exchange.request_id.is_empty() {
            exchange.request_id = format!("{}-{}", self.ids, self.rows);
        }
        self.by_model.entry(model).or_default().push(exchange);
        Ok(())
    }

    /// A frame for each model.
    pub(super) fn framed(self) -> Result<Vec<ModelRows>, Refused> {
        if self.rows == 0 {
            return Err(bad(format!("there is no row; {EXPECTED}")));
        }
        let instance = self.parameters.instance.clone().unwrap_or_default();
        let frame_of = |(model, mut exchanges): (String, Vec<Exchange>)| {
            (1..).zip(&mut exchanges).for_each(|(number, exchange)| exchange.sequence = number);
            let rows = exchanges.len();
            let batch = Batch {
                boot_id: vec![0; 16],
                model: model.clone(),
                instance: instance.clone(),
                first_sequence: 1,
                last_sequence: rows as u64,
                exchanges,
                ..Batch::default()
            };
            Ok(ModelRows { frame: frame::encode(&batch)?, model, rows })
        };
        let framed: Result<_, FrameError> = self.by_model.into_iter().map(frame_of).collect();
        framed.map_err(|error| too_large(format!("{error}; send the rows in several requests")))
    }
}

/// What will be wrong again.
pub(super) fn bad(why: String) -> Refused {
    Refused::Bad(StatusCode::BAD_REQUEST, why)
}

pub(super) fn too_large(why: String) -> Refused {
    Refused::Bad(StatusCode::PAYLOAD_TOO_LARGE, why)
}

/// One row as an exchange, and its model.
fn exchange(row: Row<'_>, parameters: &RowParameters, now: i64) -> Result<(String, Exchange), String> {
    let Row { features, prediction, id, at_micros, model, version } = row;
    if !features.starts_with('{') {
        return Err(format!("the features are no object; {EXPECTED}"));
    }
    let model = model.or_else(|| parameters.model.clone());
    let model = model.ok_or_else(|| format!("it names no model, and neither does ?model=; {EXPECTED}"))?;
    let version = version.or_else(|| parameters.version.clone());
    let id = id.unwrap_or_default();
    for (name, text) in [("id", &id), ("version", version.as_ref().unwrap_or(&id))] {
        if text.len() > MAX_FIELD_BYTES {
            return Err(format!("{name} has more than {MAX_FIELD_BYTES} bytes"));
        }
    }
    if version.as_ref().is_some_and(|version| version.is_empty() || version.contains(['/', '?', '#', ':'])) {
        return Err("version is empty, or has one of / ? # :".to_owned());
    }
    let version = version.map(|version| format!("/versions/{version}")).unwrap_or_default();
    let exchange = Exchange {
        request_id: id,
        started_at_micros: at_micros.unwrap_or(now),
        method: "POST".to_owned(),
        target: format!("/v1/models/{model}{version}:predict"),
        protocol: ModelProtocol::V1.name().to_owned(),
        status: 200,
        end: EndState::Complete.into(),
        request: Some(body(format!(r#"{{"instances": [{features}]}}"#))),
        response: prediction.map(|prediction| body(format!(r#"{{"predictions": [{prediction}]}}"#))),
        unmeasured: true,
        ..Exchange::default()
    };
    Ok((model, exchange))
}

fn body(text: String) -> Body {
    Body { size: text.len() as u64, content: text.into(), ..Body::default() }
}
