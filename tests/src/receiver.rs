//! A collector of the tests: it keeps what it is sent, and answers as it is told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use driftline_protocol::{Acknowledgement, Batch, Exchange, frame};
use prost::Message;

use crate::free_port;

/// How batches are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Each is acknowledged, and kept.
    Durable,
    /// Each is refused with this status, and not kept.
    Status(u16),
}

/// A collector that is told what to answer. It can be away: then nobody listens.
#[derive(Debug, Clone)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<Answer>,
    kept: Mutex<Vec<Batch>>,
    /// Whose batches came when, answered as they may have been.
    tries: Mutex<Vec<(String, Instant)>>,
}

impl Receiver {
    /// One that has an address, and is away.
    #[must_use]
    pub fn away() -> Self {
        let shared = Shared { answer: Mutex::new(Answer::Durable), kept: Mutex::default(), tries: Mutex::default() };
        Self { address: (Ipv4Addr::LOCALHOST, free_port()).into(), shared: Arc::new(shared) }
    }

    /// One that listens.
    pub async fn start() -> Self {
        let receiver = Self::away();
        receiver.open().await;
        receiver
    }

    /// Begins to listen, until the test's runtime ends.
    ///
    /// # Panics
    /// When its address was taken meanwhile.
    pub async fn open(&self) {
        let listener = tokio::net::TcpListener::bind(self.address).await.expect("its address is free");
        let routes = Router::new()
            .route("/v1/exchanges", post(receive))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&self.shared));
        tokio::spawn(async move { axum::serve(listener, routes).await });
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers differently from now on.
    pub fn answers(&self, answer: Answer) {
        *hold(&self.shared.answer) = answer;
    }

    /// What was acknowledged, in the order in which it came.
    #[must_use]
    pub fn batches(&self) -> Vec<Batch> {
        hold(&self.shared.kept).clone()
    }

    /// The exchanges of what was acknowledged.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.batches().into_iter().flat_map(|batch| batch.exchanges).collect()
    }

    /// When this instance sent a batch, whatever it was answered.
    #[must_use]
    pub fn tries_of(&self, instance: &str) -> Vec<Instant> {
        hold(&self.shared.tries).iter().filter(|(who, _)| who == instance).map(|(_, at)| *at).collect()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, bytes: Bytes) -> Response {
    let Ok(batch) = frame::decode(&bytes) else { return (StatusCode::BAD_REQUEST, "no batch").into_response() };
    hold(&shared.tries).push((batch.instance.clone(), Instant::now()));
    match *hold(&shared.answer) {
        Answer::Durable => {
            let acknowledgement = Acknowledgement { durable_through: batch.last_sequence };
            hold(&shared.kept).push(batch);
            acknowledgement.encode_to_vec().into_response()
        }
        Answer::Status(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT).into_response(),
    }
}

fn hold<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
