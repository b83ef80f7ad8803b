//! What the fuzz targets in `fuzz/` call: any bytes go in, and whatever must hold is asserted.

#![allow(missing_docs, reason = "each is a fuzz target of the same name")]

use std::sync::Once;

use crate::ingest::{Refused, rows};

/// A body of `POST /v1/rows` with the content type of Arrow streams.
pub fn arrow_rows(data: &[u8]) {
    static QUIET: Once = Once::new();
    // libFuzzer's own hook ends the process in every panic, and those of the reader of streams are caught. One that gets
    // out of here still ends it.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    match rows::read_arrow(data) {
        Ok(rows) => assert!((1..=rows::MAX_ROWS).contains(&rows)),
        Err(refused) => assert!(Refused::REASONS.contains(&refused.reason()), "{refused:?}"),
    }
}
