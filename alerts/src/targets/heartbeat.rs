//! A dead man's switch: somebody else's service that tells people when it hears nothing any more.

use reqwest::header::HeaderMap;

use super::Delivery;
use super::http::{Http, secret};
use crate::secret::SecretSource;

/// An address that waits for a sign of life.
#[derive(Debug)]
pub struct Heartbeat {
    url: SecretSource,
    http: Http,
}

impl Heartbeat {
    /// One that posts to this address.
    ///
    /// # Errors
    /// When no HTTPS client can be made.
    pub fn new(url: SecretSource) -> Result<Self, String> {
        Ok(Self { url, http: Http::new()? })
    }

    /// Gives one sign of life.
    ///
    /// # Cancel safety
    /// A dropped one may have arrived.
    pub async fn beat(&self) -> Delivery {
        let sent = async { self.http.post(secret(&self.url)?.reveal(), HeaderMap::new(), "{}".to_owned()).await };
        let beat = async { sent.await.map_or_else(|delivery| delivery, |answer| answer.delivery()) };
        super::within(beat).await
    }
}
