//! W3C's `traceparent`: the trace that a request is part of.

/// What a `traceparent` says (version 00: `00-trace-span-flags`).
///
/// ```
/// use driftline_protocol::Traceparent;
///
/// let parent = Traceparent::read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
/// assert!(parent.is_sampled && parent.span_id[1] == 0xf0);
/// assert!(Traceparent::read("00-4bf9-00f0-01").is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that the request was made in.
    pub span_id: [u8; 8],
    /// Whether its caller records the trace.
    pub is_sampled: bool,
}

impl Traceparent {
    /// Reads one. Versions to come may have more parts; ids of zeros are none.
    pub fn read(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex(version)?;
        if version == 0xff || version == 0 && parts.next().is_some() {
            return None;
        }
        let (trace_id, span_id): ([u8; 16], [u8; 8]) = (hex(trace)?, hex(span)?);
        let [flags] = hex(flags)?;
        let are_ids = trace_id != [0; 16] && span_id != [0; 8];
        are_ids.then_some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }
}

/// So many bytes, written in hexadecimal digits.
fn hex<const BYTES: usize>(digits: &str) -> Option<[u8; BYTES]> {
    if digits.len() != 2 * BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
