//! A batch of exchanges, what its receiver answers, and the account that a sidecar gives of itself.

use crate::exchange::Exchange;

/// Exchanges of one model, from one boot of one sidecar. The protobuf message of `driftline.v1.Batch`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    /// Identity of this boot of the sidecar: a UUID's 16 bytes. Sequence numbers count within it.
    #[prost(bytes = "vec", tag = "1")]
    pub boot_id: Vec<u8>,
    /// The model's name.
    #[prost(string, tag = "2")]
    pub model: String,
    /// Where the sidecar runs: the pod's name, or the host's.
    #[prost(string, tag = "3")]
    pub instance: String,
    /// When it was first sent, by the sidecar's wall clock, in microseconds since the Unix epoch.
    #[prost(int64, tag = "4")]
    pub sent_at_micros: i64,
    /// Sequence number of the first exchange in it.
    #[prost(uint64, tag = "5")]
    pub first_sequence: u64,
    /// Sequence number of the last exchange in it.
    #[prost(uint64, tag = "6")]
    pub last_sequence: u64,
    /// The sidecar's account when the batch was made.
    #[prost(message, optional, tag = "7")]
    pub account: Option<Account>,
    /// The exchanges, in the order of their sequence numbers, none missing.
    #[prost(message, repeated, tag = "8")]
    pub exchanges: Vec<Exchange>,
    /// The version of the sidecar; empty from one that is older than this field.
    #[prost(string, tag = "9")]
    pub sidecar_version: String,
}

/// What became of every exchange since the sidecar's boot. The counts only grow, so a repeated or a lost batch makes no
/// error in them. At rest `seen = delivered + Σ dropped`; what is on its way makes up the difference.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Account {
    /// Exchanges that were to be captured.
    #[prost(uint64, tag = "1")]
    pub seen: u64,
    /// Exchanges that a collector acknowledged.
    #[prost(uint64, tag = "2")]
    pub delivered: u64,
    /// Exchanges that passed to their end with their record kept, and that the sample drew.
    #[prost(uint64, tag = "4")]
    pub captured: u64,
    /// Exchanges that were lost, by reason.
    #[prost(message, repeated, tag = "3")]
    pub dropped: Vec<Dropped>,
}

/// How many exchanges were lost for one reason.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Dropped {
    /// The reason's name, as in the sidecar's metrics.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

/// The answer to a batch. It is given once the batch is durable.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Acknowledgement {
    /// Every exchange of this boot up to this sequence number is durable.
    #[prost(uint64, tag = "1")]
    pub durable_through: u64,
}

/// Media type of a framed batch, and of its acknowledgement.
pub const MEDIA_TYPE: &str = "application/vnd.driftline.v1+protobuf";
