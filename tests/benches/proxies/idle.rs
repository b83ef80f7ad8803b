//! What the sidecar costs while nothing happens.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Options;
use crate::compare::upstream;
use crate::sidecar::{Collector, Sidecar, binaries};
use crate::workload::Workload;

/// How long memory may take to come to rest.
const REST: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: m\r\ncontent-length: 2\r\n\r\n{}";

pub(crate) fn run(options: &Options) -> Value {
    let binaries = binaries(options);
    let folder = tempfile::Builder::new().prefix("driftline-bench-").tempdir().unwrap();
    let binary_bytes = std::fs::metadata(binaries.join("driftline-sidecar")).unwrap().len();
    println!("binary                    {:>8.2} MB   (at most 6)", binary_bytes as f64 / 1e6);

    let collector = Collector::start(&binaries, folder.path());
    let (_upstream, address) = upstream(Workload::Small, "127.0.0.1:0");
    let mut rows = Vec::new();
    let mut idle_bytes = 0;
    // A proxy has two files for each connection, and the sidecar takes no more connections than leave it 128 others.
    let limit = crate::open_files_limit();
    let possible = limit / 2 - 100;
    for wanted in [0, 1_000, 10_000] {
        let connections = wanted.min(possible);
        if connections < wanted {
            println!("only {connections} of {wanted} connections: the limit of open files is {limit}");
        }
        // A new one each time: memory that was used once is not given back to the kernel.
        let sidecar = Sidecar::start(&binaries, folder.path(), address, collector.address, &[]);
        std::thread::sleep(REST);
        let before = sidecar.process.resident_bytes();
        let mut streams: Vec<TcpStream> =
            (0..connections).map(|_| TcpStream::connect(sidecar.address).unwrap()).collect();
        std::thread::sleep(REST);
        let connected = sidecar.process.resident_bytes();
        let mut answer = vec![0; 4096];
        for stream in &mut streams {
            stream.write_all(REQUEST).unwrap();
            assert!(stream.read(&mut answer).unwrap() > 0, "each connection is answered");
        }
        sidecar.settled();
        std::thread::sleep(REST);
        let used = sidecar.process.resident_bytes();
        if connections == 0 {
            idle_bytes = before;
            println!("idle                      {:>8.2} MB   (at most 6)", before as f64 / 1e6);
            continue;
        }
        let each = |bytes: u64| bytes.saturating_sub(before) as f64 / 1e3 / connections as f64;
        println!(
            "{connections:>6} idle connections   {:>8.2} KB each, {:.2} KB after one exchange on each   (at most 10)",
            each(connected),
            each(used)
        );
        rows.push(json!({
            "connections": connections, "kilobytes_each": each(connected), "kilobytes_each_used": each(used),
        }));
    }
    json!({ "binary_bytes": binary_bytes, "idle_bytes": idle_bytes, "connections": rows })
}
