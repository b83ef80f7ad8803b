//! Conversations that hyper has with itself, recorded and read.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use driftline_protocol::{EndState, Exchange};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::reader::Side;
use crate::reader::script::Piece::{self, Client, Server};
use crate::reader::script::{self, assert_accounted, limits};

/// Room for a header block of several frames.
const MAX_HEADER_BYTES: u32 = 60 << 10;
const CALLS: usize = 12;

/// A gRPC body of messages of these sizes.
fn grpc(sizes: &[usize]) -> Bytes {
    let mut body = BytesMut::new();
    for size in sizes {
        body.put_u8(0);
        body.put_u32(*size as u32);
        body.put_bytes(b'm', *size);
    }
    body.freeze()
}

fn request_sizes(call: usize) -> Vec<usize> {
    vec![call * 1000, call]
}

fn response_sizes(call: usize) -> Vec<usize> {
    (0..call).map(|n| n * 7000).collect()
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let call: usize = request.headers()["x-call"].to_str().unwrap().parse().unwrap();
    request.into_body().collect().await.unwrap();
    let trailers = HeaderMap::from_iter([(hyper::header::HeaderName::from_static("grpc-status"), call.into())]);
    let body = Full::new(grpc(&response_sizes(call))).with_trailers(async { Some(Ok(trailers)) });
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

async fn call(mut client: hyper::client::conn::http2::SendRequest<Full<Bytes>>, call: usize) {
    let request = Request::post("http://model/inference.GRPCInferenceService/ModelInfer")
        .header("content-type", "application/grpc")
        .header("x-request-id", format!("call-{call}"))
        .header("x-call", call)
        // The Huffman code makes this longer than a frame.
        .header("x-long", HeaderValue::from_str(&"~".repeat(if call.is_multiple_of(3) { 12_000 } else { 3 })).unwrap())
        .body(Full::new(grpc(&request_sizes(call))))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let trailers = response.into_body().collect().await.unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], call.to_string());
}

/// Carries bytes both ways until the client is done, and records them in their order.
async fn record(mut client: DuplexStream, mut server: DuplexStream) -> Vec<(Side, Vec<u8>)> {
    let mut record = Vec::new();
    let (mut from_client, mut from_server) = (vec![0; 4096], vec![0; 4096]);
    loop {
        let (side, bytes, sink) = tokio::select! {
            read = client.read(&mut from_client) => (Side::Client, &from_client[..read.unwrap()], &mut server),
            read = server.read(&mut from_server) => (Side::Upstream, &from_server[..read.unwrap()], &mut client),
        };
        if bytes.is_empty() {
            return record;
        }
        record.push((side, bytes.to_vec()));
        if sink.write_all(bytes).await.is_err() {
            return record;
        }
    }
}

async fn conversation() -> Vec<(Side, Vec<u8>)> {
    // Room for what either side has in flight: the carrier in between writes one way at a time.
    let (client, client_end) = tokio::io::duplex(4 << 20);
    let (server, server_end) = tokio::io::duplex(4 << 20);
    let recorded = tokio::spawn(record(client_end, server_end));
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(server), service_fn(answer));
    let serving = tokio::spawn(serving);
    let (client, connection) =
        hyper::client::conn::http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(client)).await.unwrap();
    let connection = tokio::spawn(connection);
    let calls: Vec<_> = (0..CALLS).map(|number| tokio::spawn(call(client.clone(), number))).collect();
    for call in calls {
        call.await.unwrap();
    }
    // And some one after the other, on a table that has filled.
    for number in [1, 3, 1] {
        call(client.clone(), number).await;
    }
    drop(client);
    connection.await.unwrap().unwrap();
    let record = recorded.await.unwrap();
    serving.abort();
    record
}

#[tokio::test]
async fn hypers_own_calls_are_read_whole_however_they_are_cut() {
    let record = conversation().await;
    let pieces: Vec<Piece<'_>> = record
        .iter()
        .map(|(side, bytes)| match side {
            Side::Client => Client(bytes),
            Side::Upstream => Server(bytes),
        })
        .collect();
    let limits = limits(16 << 20, 1 << 20);
    let whole = script::read(&limits, &pieces);
    assert_accounted(&limits);
    assert_eq!((whole.exchanges.len(), &whole.result), (CALLS + 3, &Ok(())));
    for exchange in &whole.exchanges {
        let call: usize = exchange.response_header("grpc-status").unwrap().parse().unwrap();
        assert_eq!((exchange.request_id.as_str(), exchange.status), (format!("call-{call}").as_str(), 200));
        assert_eq!(exchange.end(), EndState::Complete);
        let body = |body: &Option<driftline_protocol::Body>| body.as_ref().unwrap().content.clone();
        assert_eq!(body(&exchange.request), grpc(&request_sizes(call)));
        assert_eq!(body(&exchange.response), grpc(&response_sizes(call)));
        let count = |exchange: &Exchange| exchange.response_messages.as_ref().unwrap().count;
        assert_eq!(count(exchange), call as u64);
    }
    for after in [1, 9, 1000] {
        let limits = script::limits(16 << 20, 1 << 20);
        assert_eq!(script::read(&limits, &script::cut(&pieces, after)), whole, "cut after every {after} bytes");
    }
}
