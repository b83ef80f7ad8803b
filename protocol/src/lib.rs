//! What travels through Driftline, and what it means.
//!
//! Two layers, neither of which does any I/O:
//!
//! * **The wire.** A sidecar sends [`Batch`]es of [`Exchange`]s, each in a [`frame`] with a checksum. The collector
//!   writes the same frame to its journal and answers with an [`Acknowledgement`].
//! * **The bodies.** [`inference_path`] tells which requests are inference and which protocol they speak;
//!   [`decode()`] turns an exchange's bodies into [`Rows`] of named columns, and says whether its answer tells of an error.
//!
//! ```
//! use driftline_protocol::{Batch, Exchange, frame};
//!
//! let batch = Batch {
//!     boot_id: vec![0; 16],
//!     model: "flights".into(),
//!     first_sequence: 1,
//!     last_sequence: 1,
//!     exchanges: vec![Exchange { sequence: 1, status: 200, ..Exchange::default() }],
//!     ..Batch::default()
//! };
//! let bytes = frame::encode(&batch).unwrap();
//! assert_eq!(frame::decode(&bytes).unwrap(), batch);
//! ```

mod batch;
mod bodies;
mod cells;
mod coding;
mod csv_body;
mod decode;
mod events;
mod exchange;
mod failure;
mod flatten;
mod format;
pub mod frame;
mod framer;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod generic;
mod grpc;
mod invocations;
mod json;
mod json_number;
mod mapping;
mod metadata;
mod naming;
mod not_numbers;
mod openai;
mod paths;
mod protobuf;
mod raw;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod round_trips;
mod rows;
mod seldon;
mod seldon_grpc;
mod stack;
mod tensorflow_grpc;
mod tensors;
mod torchserve;
mod traceparent;
mod v1;
mod v2;
mod v2_grpc;
mod v2_plain;
mod writer;

pub use batch::{Account, Acknowledgement, Batch, Dropped, MEDIA_TYPE};
pub use cells::Cells;
pub use coding::MAX_DECOMPRESSED_BYTES;
pub use decode::{DecodeError, Decoded, decode, decode_rows};
pub use exchange::{Body, EndState, Exchange, Framing, Header, MAX_MESSAGES, MAX_TARGET_BYTES, Messages, Redaction};
pub use frame::FrameError;
pub use framer::{Effort, Framer};
pub use mapping::{Mapping, NoPointer, Pointer};
pub use metadata::{Metadata, ValueType};
pub use naming::{Naming, TensorNaming};
pub use paths::{InferencePath, ModelProtocol, inference_path, path_of};
pub use rows::{Cell, Column, MAX_CELLS, MAX_COLUMNS, Role, Rows};
pub use traceparent::Traceparent;
