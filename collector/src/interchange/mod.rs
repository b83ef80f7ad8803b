//! The rules as other systems write them, so that they can be looked at, and kept, where somebody has all others.

#[cfg(test)]
mod agreement;
mod openslo;
mod prometheus;
mod quoting;
#[cfg(test)]
mod recorded;

pub(crate) use openslo::{export as openslo, import as import_openslo};
pub(crate) use prometheus::prometheus;
