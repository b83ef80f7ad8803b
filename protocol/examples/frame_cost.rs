//! What framing costs, for each exchange, on requests of 30 features: encoding, compression by level, and the whole.
//!
//! `cargo run --release -p driftline-protocol --example frame_cost`

use std::hint::black_box;
use std::time::Instant;

use driftline_protocol::{Batch, Body, Exchange, Framer, Header, frame};
use prost::Message;

const ROUNDS: u32 = 30;

/// Numbers that look like a feature store's: some counts, some measurements, some categories.
fn exchange(number: u64) -> Exchange {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let inputs: Vec<String> = (0..30)
        .map(|feature| {
            let (datatype, value) = match feature % 5 {
                0 => ("INT64", ((random() * 1000.0) as i64).to_string()),
                1 => ("BYTES", format!("\"{}\"", ["JFK", "LGA", "EWR", "BOS", "ATL"][(random() * 5.0) as usize])),
                2 => ("FP64", format!("{:.2}", random() * 100.0)),
                _ => ("FP64", (random() * 10.0).to_string()),
            };
            format!(r#"{{"name":"feature_{feature}","shape":[1,1],"datatype":"{datatype}","data":[{value}]}}"#)
        })
        .collect();
    let request = format!(r#"{{"id":"{number}","inputs":[{}]}}"#, inputs.join(","));
    let response = format!(
        r#"{{"model_name":"flights","model_version":"3","id":"{number}","outputs":[{{"name":"delay","shape":[1,1],"datatype":"FP64","data":[{}]}}]}}"#,
        random()
    );
    let body = |text: String| Some(Body { size: text.len() as u64, content: text.into(), ..Body::default() });
    let json = Header { name: "content-type".into(), value: "application/json".into() };
    Exchange {
        sequence: number,
        request_id: format!("0198c1f27c1e70008000000000000001-{number}"),
        started_at_micros: 1_764_000_000_000_000 + number as i64 * 997,
        request_micros: 90,
        first_byte_micros: Some(2100 + number % 700),
        duration_micros: 2300 + number % 700,
        method: "POST".into(),
        target: "/v2/models/flights/infer".into(),
        status: 200,
        end: 1,
        request_headers: vec![json.clone()],
        response_headers: vec![json],
        request: body(request),
        response: body(response),
        protocol: "v2".into(),
        weight: 1,
        ..Exchange::default()
    }
}

/// Microseconds for each exchange, the fastest of the rounds: what interrupts is not the code's.
fn cost(exchanges: usize, mut run: impl FnMut()) -> f64 {
    let timed = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let fastest = (0..ROUNDS).map(timed).min().unwrap_or_default();
    fastest.as_secs_f64() * 1e6 / exchanges as f64
}

fn main() {
    for exchanges in [1usize, 16, 100, 400] {
        let header = Batch {
            boot_id: vec![1; 16],
            model: "flights".into(),
            first_sequence: 1,
            last_sequence: exchanges as u64,
            ..Batch::default()
        };
        let batch = Batch { exchanges: (1..=exchanges as u64).map(exchange).collect(), ..header.clone() };
        let raw = batch.encode_to_vec();
        println!("batch of {exchanges} exchanges, {} bytes each", raw.len() / exchanges);
        println!("  frame::encode   {:6.2} µs", cost(exchanges, || drop(black_box(frame::encode(&batch)))));
        if let Ok(mut framer) = Framer::new() {
            let framed = cost(exchanges, || {
                batch.exchanges.iter().for_each(|exchange| framer.add(exchange));
                drop(black_box(framer.finish(&header)));
            });
            batch.exchanges.iter().for_each(|exchange| framer.add(exchange));
            let bytes = framer.finish(&header).map_or(0, |frame| frame.len());
            println!("  Framer          {framed:6.2} µs, {:5.2} times smaller", raw.len() as f64 / bytes as f64);
        }
        for level in [3, 1, -1, -3] {
            let Ok(mut compressor) = zstd::bulk::Compressor::new(level) else { continue };
            let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(raw.len()));
            let compressed = cost(exchanges, || drop(black_box(compressor.compress_to_buffer(&raw, &mut out))));
            println!(
                "  zstd level {level:3}  {compressed:6.2} µs, {:5.2} times smaller",
                raw.len() as f64 / out.len() as f64
            );
        }
    }
}
