//! A collector that acknowledges every batch and does nothing with it.
//!
//! The real one decodes, counts and archives. In a cluster it does that on another machine; here it shares two cores with
//! the load, the server and the proxy, and its work shows in everybody's 99th percentile. Beside the real one, this one
//! shows what is the sidecar's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use driftline_protocol::Acknowledgement;
use prost::Message;

/// Starts one; it runs until the benchmark ends.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = stream.try_clone()?;
    let mut requests = BufReader::new(stream);
    let body = Acknowledgement { durable_through: u64::MAX }.encode_to_vec();
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut (&mut requests).take(length), &mut std::io::sink())?;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        answers.write_all(&[head.as_bytes(), &body].concat())?;
    }
}
