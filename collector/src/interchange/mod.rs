//! The rules as other systems write them, so that they can be looked at, and kept, where somebody has all others.

#[cfg(test)]
mod agreement;
mod prometheus;
mod quoting;

pub(crate) use prometheus::prometheus;
