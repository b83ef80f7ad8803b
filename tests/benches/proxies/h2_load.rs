//! HTTP/2: a few connections with a few streams each, and a thread that keeps the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::bodies::bodies;
use crate::load::{Arguments, Found};

/// Streams at once on each connection.
const STREAMS: usize = 4;

pub(crate) fn run(arguments: &Arguments) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let requests: Arc<Vec<Bytes>> =
        Arc::new(bodies(arguments.load, "inputs", 1).into_iter().map(Bytes::from).collect());
    let began = Instant::now();
    let due = Arc::new(Mutex::new(pace(arguments, began)));
    let next = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..arguments.connections.div_ceil(STREAMS) {
            let stream = TcpStream::connect(arguments.target).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (send, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(async move { connection.await.ok() });
            for _ in 0..STREAMS {
                let (arguments, requests, send) = (arguments.clone(), Arc::clone(&requests), send.clone());
                let (due, next) = (Arc::clone(&due), Arc::clone(&next));
                streams.spawn(async move { one_stream(&arguments, &requests, send, &due, &next, began).await });
            }
        }
        let mut found = Found::new();
        while let Some(stream) = streams.join_next().await {
            found.add(stream.unwrap());
        }
        found.seconds = began.elapsed().as_secs_f64();
        found
    })
}

/// The times at which requests are due, from a thread that sleeps precisely. None without a rate.
fn pace(arguments: &Arguments, began: Instant) -> Option<mpsc::Receiver<Instant>> {
    let rate = arguments.rate?;
    let (send, receive) = mpsc::channel(1 << 20);
    let seconds = arguments.seconds;
    std::thread::spawn(move || {
        for number in 0.. {
            let due = began + Duration::from_secs_f64(f64::from(number) / rate);
            if due.duration_since(began).as_secs_f64() >= seconds {
                return;
            }
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            if send.blocking_send(due).is_err() {
                return;
            }
        }
    });
    Some(receive)
}

async fn one_stream(
    arguments: &Arguments,
    requests: &[Bytes],
    mut send: SendRequest<Bytes>,
    due: &Mutex<Option<mpsc::Receiver<Instant>>>,
    next: &AtomicU64,
    began: Instant,
) -> Found {
    let mut found = Found::new();
    loop {
        let due = match &mut *due.lock().await {
            Some(paced) => paced.recv().await,
            None => Some(Instant::now()).filter(|now| now.duration_since(began).as_secs_f64() < arguments.seconds),
        };
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(due) = due.filter(|_| arguments.requests.is_none_or(|requests| number < requests)) else {
            return found;
        };
        match ask(&mut send, arguments, requests[number as usize % requests.len()].clone()).await {
            Ok(()) => found.answered(due.elapsed()),
            Err(why) => {
                found.failed(why);
                return found;
            }
        }
    }
}

async fn ask(send: &mut SendRequest<Bytes>, arguments: &Arguments, body: Bytes) -> Result<(), String> {
    let text = |error: h2::Error| error.to_string();
    std::future::poll_fn(|context| send.poll_ready(context)).await.map_err(text)?;
    let mut request = http::Request::post(format!("http://model{}", arguments.path))
        .header("content-type", arguments.load.content_type());
    if arguments.load == crate::workload::Workload::Grpc {
        request = request.header("te", "trailers");
    } else {
        request = request.header("content-length", body.len());
    }
    let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).map_err(text)?;
    stream.send_data(body, true).map_err(text)?;
    let answer = answer.await.map_err(text)?;
    if answer.status() != 200 {
        return Err(answer.status().to_string());
    }
    let mut body = answer.into_body();
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data.map_err(text)?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len()).map_err(text)?;
    }
    let trailers = body.trailers().await.map_err(text)?;
    match arguments.load {
        crate::workload::Workload::Grpc if trailers.is_none_or(|trailers| trailers["grpc-status"] != "0") => {
            Err("no grpc-status".to_owned())
        }
        _ if bytes < arguments.load.body_bytes() => Err(format!("only {bytes} bytes")),
        _ => Ok(()),
    }
}
