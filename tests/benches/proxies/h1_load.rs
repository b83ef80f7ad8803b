//! HTTP/1.1: one thread and one blocking connection each. Threads sleep to within a tenth of a millisecond, which an
//! asynchronous runtime's timer does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bodies::bodies;
use crate::load::{Arguments, Found};
use crate::upstream::content_length;

/// No connection, or it went before an answer began.
pub(crate) const LOST: &str = "no connection, or it was lost before an answer";
/// An answer that began and did not end.
pub(crate) const CUT_OFF: &str = "cut off within an answer";

pub(crate) fn run(arguments: &Arguments) -> Found {
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(requests(arguments));
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let threads: Vec<_> = (0..arguments.connections)
        .map(|_| {
            let (arguments, requests, next) = (arguments.clone(), Arc::clone(&requests), Arc::clone(&next));
            std::thread::spawn(move || one_connection(&arguments, &requests, &next, began))
        })
        .collect();
    let mut found = Found::new();
    for thread in threads {
        found.add(thread.join().unwrap());
    }
    found.seconds = began.elapsed().as_secs_f64();
    found
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

fn one_connection(arguments: &Arguments, requests: &[Vec<u8>], next: &AtomicU64, began: Instant) -> Found {
    let mut found = Found::new();
    let mut connection = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = match arguments.rate {
            Some(rate) => began + Duration::from_secs_f64(number as f64 / rate),
            None => Instant::now(),
        };
        let is_over = due.duration_since(began).as_secs_f64() >= arguments.seconds
            || arguments.requests.is_some_and(|requests| number >= requests);
        if is_over {
            return found;
        }
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        let request = &requests[number as usize % requests.len()];
        match ask(&mut connection, arguments, request) {
            Ok(()) => found.answered(due.elapsed()),
            Err(why) => {
                connection = None;
                found.failed(why);
                if !arguments.reconnect {
                    return found;
                }
                // A client that is refused does not hammer.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

fn ask(connection: &mut Option<Connection>, arguments: &Arguments, request: &[u8]) -> Result<(), String> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(arguments.target).map_err(kind)?;
            stream.set_nodelay(true).map_err(kind)?;
            stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(kind)?;
            connection.insert(Connection { stream, buffer: vec![0; 80 << 10] })
        }
    };
    let Connection { stream, buffer } = connection;
    stream.write_all(request).map_err(kind)?;
    let mut filled = 0;
    let (head_end, chunked) = loop {
        filled += read(stream, buffer, filled)?;
        if let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
            let head = &buffer[..end];
            if !head.starts_with(b"HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(&head[..head.len().min(60)]).into_owned());
            }
            break (end + 4, memchr::memmem::find(&head.to_ascii_lowercase(), b"chunked").is_some());
        }
    };
    if chunked {
        // The payload has nothing that looks like its end.
        while !buffer[..filled].ends_with(b"\r\n0\r\n\r\n") {
            filled += read(stream, buffer, filled)?;
        }
        return Ok(());
    }
    let total = head_end + content_length(&buffer[..head_end]);
    while filled < total {
        filled += read(stream, buffer, filled)?;
    }
    if filled == total { Ok(()) } else { Err(format!("{} bytes too many", filled - total)) }
}

/// Reads on behind what is there of an answer.
fn read(stream: &mut TcpStream, buffer: &mut [u8], filled: usize) -> Result<usize, String> {
    let lost = if filled > 0 { CUT_OFF } else { LOST };
    match stream.read(&mut buffer[filled..]) {
        Ok(0) => Err(lost.to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(kind(error)).map_err(|kind| if kind == LOST { lost.to_owned() } else { kind }),
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
