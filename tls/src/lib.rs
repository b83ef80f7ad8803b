//! TLS from files: certificates, keys and authorities, read again when they change.
//!
//! The sidecar ends its callers' TLS with it and speaks TLS to the model's server and to the collector; the collector ends
//! the sidecars'. What is wrong with a file is said with the file's name and with nothing that is in it.

mod client;
mod files;
mod peer;
mod pem;
mod server;

pub use client::{ClientFiles, client_config, server_name};
pub use files::{LOOK_INTERVAL, WatchedFiles};
pub use peer::peer_name;
pub use server::{ClientCertificates, ServerFiles, ServerTls};
