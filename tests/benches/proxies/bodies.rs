//! Bodies: rows of numbers in the Open Inference Protocol, no two alike.

use crate::numbers::Numbers;
use crate::workload::Workload;

/// Bodies of a workload's requests or answers.
pub(crate) fn bodies(workload: Workload, which: &str, seed: u64) -> Vec<Vec<u8>> {
    let mut numbers = Numbers::new(seed);
    let bytes = workload.body_bytes();
    let body = |_| match workload {
        Workload::Grpc => message(bytes, &mut numbers),
        _ => tensors(which, bytes, &mut numbers),
    };
    (0..workload.variants()).map(body).collect()
}

/// JSON of exactly so many bytes: eight columns with as many rows as fit, and spaces.
fn tensors(which: &str, bytes: usize, numbers: &mut Numbers) -> Vec<u8> {
    const COLUMNS: usize = 8;
    const ROOM_FOR_ONE_ROW: usize = 9;
    let frame = 24 + COLUMNS * 64;
    let rows = (bytes.saturating_sub(frame) / (COLUMNS * ROOM_FOR_ONE_ROW)).max(1);
    let column = |number: usize| {
        let values: Vec<String> = (0..rows).map(|_| format!("{:.4}", numbers.below(9_999_999) as f64 / 1e4)).collect();
        let values = values.join(",");
        format!(r#"{{"name":"column_{number}","shape":[{rows}],"datatype":"FP64","data":[{values}]}}"#)
    };
    let columns = (0..COLUMNS).map(column).collect::<Vec<_>>().join(",");
    let mut text = format!(r#"{{"{which}":[{columns}]"#);
    assert!(text.len() < bytes, "{} bytes do not fit into {bytes}", text.len());
    text.extend(std::iter::repeat_n(' ', bytes - 1 - text.len()));
    text.push('}');
    text.into_bytes()
}

/// A gRPC message with its prefix: bytes of which half is chance.
fn message(bytes: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut message = vec![0];
    message.extend((bytes as u32).to_be_bytes());
    message.extend((0..bytes).map(|at| if at % 2 == 0 { numbers.next() as u8 } else { 0 }));
    message
}
