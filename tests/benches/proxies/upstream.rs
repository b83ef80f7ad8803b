//! The model's server: it reads a request whole, and answers at once with what was ready.

use std::net::SocketAddr;

use bytes::Bytes;
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bodies::bodies;
use crate::numbers::Numbers;
use crate::workload::{EVENTS, Workload};

#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    http2: bool,
}

/// Answers until its standard input closes. Says first where it listens.
pub(crate) fn serve(arguments: &Arguments) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let arguments = arguments.clone();
    std::thread::spawn(|| {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        std::process::exit(0);
    });
    runtime.block_on(async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(arguments.listen).unwrap();
        let listener: TcpListener = socket.listen(4096).unwrap();
        println!("{}", listener.local_addr().unwrap());
        let answers: &'static Answers = Box::leak(Box::new(Answers::new()));
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            stream.set_nodelay(true).ok();
            if arguments.http2 {
                tokio::spawn(http2(stream, answers));
            } else {
                tokio::spawn(http1(stream, answers));
            }
        }
    });
}

/// Whole HTTP/1.1 answers, and bodies for HTTP/2.
struct Answers {
    small: Vec<Bytes>,
    small_bodies: Vec<Bytes>,
    large: Vec<Bytes>,
    messages: Vec<Bytes>,
    events: Vec<Bytes>,
}

impl Answers {
    fn new() -> Self {
        let whole = |workload: Workload| -> Vec<Bytes> {
            let answer = |body: Vec<u8>| {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                Bytes::from([head.into_bytes(), body].concat())
            };
            bodies(workload, "outputs", 2).into_iter().map(answer).collect()
        };
        let plain = |workload| bodies(workload, "outputs", 2).into_iter().map(Bytes::from).collect();
        let mut numbers = Numbers::new(3);
        let event = |number: usize| {
            let data = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{:x}\"}}}}]}}\n\n", numbers.next());
            let data = if number + 1 < EVENTS { data } else { "data: [DONE]\n\n".to_owned() };
            Bytes::from(format!("{:x}\r\n{data}\r\n", data.len()))
        };
        Self {
            small: whole(Workload::Small),
            small_bodies: plain(Workload::Small),
            large: whole(Workload::Large),
            messages: plain(Workload::Grpc),
            events: (0..EVENTS).map(event).collect(),
        }
    }
}

async fn http1(mut stream: TcpStream, answers: &Answers) {
    let mut buffer = vec![0; 128 << 10];
    let mut filled = 0;
    let mut next = Numbers::new(stream.peer_addr().map_or(1, |address| u64::from(address.port()))).next() as usize;
    loop {
        let (head_end, kind) = loop {
            if let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break (end + 4, Kind::of(&buffer[..end]));
            }
            match stream.read(&mut buffer[filled..]).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => filled += bytes,
            }
        };
        let total = head_end + content_length(&buffer[..head_end]);
        while filled < total {
            match stream.read(&mut buffer[filled..]).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => filled += bytes,
            }
        }
        buffer.copy_within(total..filled, 0);
        filled -= total;
        next = next.wrapping_add(1);
        let written = match kind {
            Kind::Small => stream.write_all(&answers.small[next % answers.small.len()]).await,
            Kind::Large => stream.write_all(&answers.large[next % answers.large.len()]).await,
            Kind::Events => events(&mut stream, answers).await,
        };
        if written.is_err() {
            return;
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Small,
    Large,
    Events,
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let has = |text: &str| memchr::memmem::find(line, text.as_bytes()).is_some();
        match () {
            () if has("large") => Self::Large,
            () if has("completions") || has("sse") => Self::Events,
            () => Self::Small,
        }
    }
}

async fn events(stream: &mut TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    for event in &answers.events {
        stream.write_all(event).await?;
        // Others have their turn, as they would while a model thinks of its next token.
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Proxies write this header as they like.
pub(crate) fn content_length(head: &[u8]) -> usize {
    let lines = head.split(|byte| *byte == b'\n');
    let value = |line: &[u8]| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:").then(|| std::str::from_utf8(value).ok()?.trim().parse().ok())?
    };
    lines.filter_map(value).next().unwrap_or(0)
}

async fn http2(stream: TcpStream, answers: &'static Answers) {
    let Ok(mut connection) =
        h2::server::Builder::new().max_concurrent_streams(1000).handshake::<_, Bytes>(stream).await
    else {
        return;
    };
    let mut next = 0_usize;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        next = next.wrapping_add(1);
        tokio::spawn(async move {
            let is_grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
            let mut body = request.into_body();
            while let Some(Ok(bytes)) = body.data().await {
                body.flow_control().release_capacity(bytes.len()).ok();
            }
            let kind = if is_grpc { "application/grpc" } else { "application/json" };
            let answer = if is_grpc { &answers.messages } else { &answers.small_bodies };
            let mut head = http::Response::builder().header("content-type", kind);
            if !is_grpc {
                head = head.header("content-length", answer[0].len());
            }
            let Ok(mut send) = respond.send_response(head.body(()).unwrap(), false) else { return };
            let body = answer[next % answer.len()].clone();
            if send.send_data(body, !is_grpc).is_ok() && is_grpc {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                send.send_trailers(trailers).ok();
            }
        });
    }
}
