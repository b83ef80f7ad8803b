//! HTTP/1.1, in two ways.
//!
//! As fast as it goes, one thread serves all connections from one event loop, as load generators do: with a thread for each,
//! what two cores do most is to switch between them, and how they do differs by a tenth from run to run.
//!
//! At a fixed rate, each connection has a thread that blocks: threads sleep to within a tenth of a millisecond, which an
//! event loop's timer does not, and each is woken for itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bodies::bodies;
use crate::load::{Arguments, Found};
use crate::upstream::content_length;

/// No connection, or it went before an answer began.
pub(crate) const LOST: &str = "no connection, or it was lost before an answer";
/// An answer that began and did not end.
pub(crate) const CUT_OFF: &str = "cut off within an answer";
/// A client that is refused does not hammer.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn run(arguments: &Arguments) -> Found {
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(requests(arguments));
    let turns = Arc::new(Turns { arguments: arguments.clone(), next: AtomicU64::new(0), began: Instant::now() });
    let began = turns.began;
    let each =
        if arguments.rate.is_some() { from_threads(&turns, &requests) } else { from_one_thread(&turns, &requests) };
    let mut found = Found::new();
    each.into_iter().for_each(|one| found.add(one));
    found.seconds = began.elapsed().as_secs_f64();
    found
}

/// Whose turn it is, and when.
#[derive(Debug)]
struct Turns {
    arguments: Arguments,
    next: AtomicU64,
    began: Instant,
}

impl Turns {
    /// The next request's number, and when it is due; none when it is over.
    fn next(&self) -> Option<(usize, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.arguments.rate {
            Some(rate) => self.began + Duration::from_secs_f64(number as f64 / rate),
            None => Instant::now(),
        };
        let is_over = due.duration_since(self.began).as_secs_f64() >= self.arguments.seconds
            || self.arguments.requests.is_some_and(|requests| number >= requests);
        (!is_over).then_some((number as usize, due))
    }
}

fn from_threads(turns: &Arc<Turns>, requests: &Arc<Vec<Vec<u8>>>) -> Vec<Found> {
    let start = |_| {
        let (turns, requests) = (Arc::clone(turns), Arc::clone(requests));
        std::thread::spawn(move || one_connection(&turns, &requests))
    };
    let threads: Vec<_> = (0..turns.arguments.connections).map(start).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn from_one_thread(turns: &Arc<Turns>, requests: &Arc<Vec<Vec<u8>>>) -> Vec<Found> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let start = |_| tokio::spawn(one_connection_of_many(Arc::clone(turns), Arc::clone(requests)));
        let tasks: Vec<_> = (0..turns.arguments.connections).map(start).collect();
        let mut each = Vec::new();
        for task in tasks {
            each.push(task.await.unwrap());
        }
        each
    })
}

fn requests(arguments: &Arguments) -> Vec<Vec<u8>> {
    let whole = |body: Vec<u8>| {
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: model\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            arguments.path,
            body.len()
        );
        [head.into_bytes(), body].concat()
    };
    bodies(arguments.load, "inputs", 1).into_iter().map(whole).collect()
}

fn one_connection(turns: &Turns, requests: &[Vec<u8>]) -> Found {
    let mut found = Found::new();
    let mut connection = None;
    while let Some((number, due)) = turns.next() {
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        match ask(&mut connection, &turns.arguments, &requests[number % requests.len()]) {
            Ok(()) => found.answered(due.elapsed()),
            Err(why) => {
                connection = None;
                found.failed(why);
                if !turns.arguments.reconnect {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
    found
}

async fn one_connection_of_many(turns: Arc<Turns>, requests: Arc<Vec<Vec<u8>>>) -> Found {
    let mut found = Found::new();
    let mut connection = None;
    while let Some((number, due)) = turns.next() {
        match ask_of_many(&mut connection, &turns.arguments, &requests[number % requests.len()]).await {
            Ok(()) => found.answered(due.elapsed()),
            Err(why) => {
                connection = None;
                found.failed(why);
                if !turns.arguments.reconnect {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    found
}

/// A connection, and room for an answer.
struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S> Connection<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; 80 << 10] }
    }
}

fn ask(connection: &mut Option<Connection<TcpStream>>, arguments: &Arguments, request: &[u8]) -> Result<(), String> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(arguments.target).map_err(kind)?;
            stream.set_nodelay(true).map_err(kind)?;
            stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(kind)?;
            connection.insert(Connection::new(stream))
        }
    };
    let Connection { stream, buffer } = connection;
    stream.write_all(request).map_err(kind)?;
    let mut answer = Answer::default();
    while !answer.is_whole(buffer)? {
        let read = stream.read(&mut buffer[answer.filled..]);
        answer.add(read)?;
    }
    Ok(())
}

async fn ask_of_many(
    connection: &mut Option<Connection<tokio::net::TcpStream>>,
    arguments: &Arguments,
    request: &[u8],
) -> Result<(), String> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let stream = tokio::net::TcpStream::connect(arguments.target).await.map_err(kind)?;
            stream.set_nodelay(true).map_err(kind)?;
            connection.insert(Connection::new(stream))
        }
    };
    let Connection { stream, buffer } = connection;
    stream.write_all(request).await.map_err(kind)?;
    let mut answer = Answer::default();
    while !answer.is_whole(buffer)? {
        let read = stream.read(&mut buffer[answer.filled..]).await;
        answer.add(read)?;
    }
    Ok(())
}

/// What there is of an answer.
#[derive(Debug, Default)]
struct Answer {
    filled: usize,
    /// Where it ends, once its head is there.
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    At(usize),
    LastChunk,
}

impl Answer {
    fn is_whole(&mut self, buffer: &[u8]) -> Result<bool, String> {
        let filled = &buffer[..self.filled];
        if self.end.is_none()
            && let Some(end) = memchr::memmem::find(filled, b"\r\n\r\n")
        {
            let head = &filled[..end];
            if !head.starts_with(b"HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(&head[..head.len().min(60)]).into_owned());
            }
            let is_chunked = memchr::memmem::find(&head.to_ascii_lowercase(), b"chunked").is_some();
            let whole = end + 4;
            let end = if is_chunked { End::LastChunk } else { End::At(whole + content_length(&filled[..whole])) };
            self.end = Some(end);
        }
        match self.end {
            None => Ok(false),
            // The payload has nothing that looks like its end.
            Some(End::LastChunk) => Ok(filled.ends_with(b"\r\n0\r\n\r\n")),
            Some(End::At(end)) if filled.len() > end => Err(format!("{} bytes too many", filled.len() - end)),
            Some(End::At(end)) => Ok(filled.len() == end),
        }
    }

    /// Notes what was read behind what was there.
    fn add(&mut self, read: std::io::Result<usize>) -> Result<(), String> {
        let lost = if self.filled > 0 { CUT_OFF } else { LOST };
        match read {
            Ok(0) => Err(lost.to_owned()),
            Ok(bytes) => {
                self.filled += bytes;
                Ok(())
            }
            Err(error) => Err(kind(error)).map_err(|kind| if kind == LOST { lost.to_owned() } else { kind }),
        }
    }
}

/// A connection that cannot be had or is gone has one name, whatever the kernel calls it: in front of a proxy a server
/// that is not there refuses by a reset.
fn kind(error: std::io::Error) -> String {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset => LOST.to_owned(),
        _ => error.to_string(),
    }
}
