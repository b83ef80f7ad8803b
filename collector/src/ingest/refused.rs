//! Why something was not taken, and what its sender is told.
//!
//! A sender of ours drops what is answered with 400, 413 or 422, for it would be wrong again; with everything else it comes
//! back, later and with the same. So what somebody can put right, be it a token, a limit or a full disk, loses nothing.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::Denied;

/// When a sender should come back when the database cannot be written, or there is no room in memory.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);
/// When a sender should come back that waits for a person: to free a disk, or to raise a limit.
const RETRY_AFTER_REPAIR: Duration = Duration::from_secs(30);

/// Why something was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is wrong, and will be wrong again.
    Bad(StatusCode, String),
    /// It is right, and cannot be taken now.
    NotNow(String),
    /// There is no room in memory for it now.
    NoRoom,
    /// There is no room on disk for it now.
    Full { reason: &'static str, why: String },
    /// It comes too fast.
    TooFast { after: Duration, why: String },
    /// There are too many of its kind.
    TooMany { reason: &'static str, why: String },
    /// Nobody knows who sends it.
    Denied { denied: Denied, from: Option<SocketAddr> },
    /// Its sender may not send it.
    Forbidden(String),
}

impl Refused {
    /// Every reason, so that counters exist before the first.
    pub(crate) const REASONS: [&'static str; 17] = [
        "malformed",
        "timeout",
        "too_large",
        "unsuitable",
        "storage",
        "memory",
        "database_full",
        "disk_full",
        "rate",
        "senders",
        "models",
        "events_waiting",
        "no_certificate",
        "no_token",
        "unknown_token",
        "model_not_allowed",
        "other",
    ];

    /// The name by which metrics count it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Bad(StatusCode::BAD_REQUEST, _) => "malformed",
            Self::Bad(StatusCode::REQUEST_TIMEOUT, _) => "timeout",
            Self::Bad(StatusCode::PAYLOAD_TOO_LARGE, _) => "too_large",
            Self::Bad(StatusCode::UNPROCESSABLE_ENTITY, _) => "unsuitable",
            Self::Bad(..) => "other",
            Self::NotNow(_) => "storage",
            Self::NoRoom => "memory",
            Self::Full { reason, .. } | Self::TooMany { reason, .. } => reason,
            Self::TooFast { .. } => "rate",
            Self::Denied { denied, .. } => denied.reason(),
            Self::Forbidden(_) => "model_not_allowed",
        }
    }

    /// Whether it is taken when it comes again, without anybody's doing: no warning is due.
    pub(super) fn passes_by_itself(&self) -> bool {
        matches!(self, Self::NoRoom | Self::TooFast { .. })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, after, why) = match self {
            Self::Bad(status, why) => return (status, format!("{why}\n")).into_response(),
            Self::Denied { denied, .. } => return denied.into_response(),
            Self::Forbidden(why) => return (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
            Self::NotNow(why) => (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, why),
            Self::NoRoom => {
                let why = "too much is being taken in; come back later".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, why)
            }
            Self::Full { why, .. } => (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER_REPAIR, why),
            Self::TooFast { after, why } => (StatusCode::TOO_MANY_REQUESTS, after, why),
            Self::TooMany { why, .. } => (StatusCode::TOO_MANY_REQUESTS, RETRY_AFTER_REPAIR, why),
        };
        // Whole seconds are all that the header knows; none would mean at once.
        let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
        (status, [(header::RETRY_AFTER, seconds.to_string())], format!("{why}\n")).into_response()
    }
}
