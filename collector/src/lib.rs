//! The collector: it takes what sidecars send, makes it durable, counts it, scores it, archives it, and tells people.
//!
//! ```text
//!   POST /v1/exchanges ─▶ ingest ─▶ store (journal, fsync) ─▶ acknowledgement
//!                                      │ read once, in order
//!                                      ▼
//!                                  pipeline ─▶ scores, indicators ─▶ alerting ─▶ outbox ─▶ people
//!                                      └─────▶ archive ─▶ Parquet
//!   /metrics   /api/v1   pages   ◀──── store, metrics
//! ```
//!
//! One database holds journal and state; a transaction moves them together. See `store/schema.sql`.

mod access;
mod alerting;
mod api;
mod archive;
mod backtest;
mod causes;
mod commands;
pub mod config;
mod counted_expressions;
#[cfg(test)]
mod documented;
mod door;
mod failpoint;
mod feeds;
mod filter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ingest;
mod interchange;
mod metrics;
mod model_metadata;
mod numbers;
mod own_metrics;
mod page_budget;
mod pages;
mod pipeline;
#[cfg(test)]
mod protocols_page;
mod reference_build;
mod references;
mod runbooks;
mod segments;
mod server;
mod store;
mod telemetry;
mod times;
mod vitals;
mod vocabulary;
mod watchdog;

pub use commands::main;
pub use config::Config;
pub use reference_build::{ReferenceError, ReferencePlan, build_reference, write_reference};
pub use server::{Collector, StartError};
pub use store::StoreError;
