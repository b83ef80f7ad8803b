//! The connection to the collector: one request at a time, over one connection that is made again when it ends.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use driftline_protocol::{Acknowledgement, MEDIA_TYPE};
use driftline_retry_after::retry_after;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::credentials::Credentials;
use crate::settings::CollectorUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A collector under load may take a while to fsync; one that takes longer than this is as good as gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer is an acknowledgement or a sentence.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How much of the collector's sentence is logged.
const MAX_LOGGED_CHARS: usize = 300;

/// What the collector said of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is durable.
    Durable,
    /// It will never be taken.
    Rejected(String),
    /// Not now.
    Retry { after: Option<Duration>, why: String },
    /// Not from this sender: its token or its certificate is missing, unknown, or not for this model. Somebody will put
    /// that right, and until then nothing is lost that fits.
    Unauthorized { after: Option<Duration>, why: String },
}

/// TCP, or TLS over it. One type for both: the HTTP client is built once.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

#[derive(Debug)]
pub(crate) struct Client {
    url: CollectorUrl,
    credentials: Credentials,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(url: CollectorUrl, credentials: Credentials) -> Self {
        Self { url, credentials, connection: None }
    }

    /// Sends one batch and waits for the answer.
    ///
    /// # Cancel safety
    /// A dropped send may have been received; sent again, it is recognised as a duplicate.
    pub(crate) async fn send(&mut self, frame: Bytes, last_sequence: u64) -> Answer {
        let retry = |why: String| Answer::Retry { after: None, why };
        if self.credentials.look() {
            self.connection = None;
        }
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(why)) => return retry(why),
                Err(_) => return retry(format!("no connection within {CONNECT_TIMEOUT:?}")),
            },
        };
        let exchange = async {
            connection.ready().await.map_err(|error| error.to_string())?;
            let mut request = Request::post("/v1/exchanges")
                .header(HOST, self.url.host_port.to_string())
                .header(CONTENT_TYPE, MEDIA_TYPE)
                .body(Full::new(frame))
                .map_err(|error| error.to_string())?;
            if let Some(authorization) = self.credentials.authorization() {
                request.headers_mut().insert(AUTHORIZATION, authorization.clone());
            }
            let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((Response::from_parts(head, ()), body.to_bytes()))
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
            Ok(Ok((head, body))) => {
                self.connection = Some(connection);
                interpret(&head, &body, last_sequence)
            }
            Ok(Err(why)) => retry(why),
            Err(_) => retry(format!("no answer within {ANSWER_TIMEOUT:?}")),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let address = &self.url.host_port;
        let stream =
            TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream: Box<dyn Transport> = match self.credentials.tls() {
            None => Box::new(stream),
            Some((connector, name)) => {
                Box::new(connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?)
            }
        };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the collector ended");
            }
        });
        Ok(sender)
    }
}

fn interpret(head: &Response<()>, body: &Bytes, last_sequence: u64) -> Answer {
    let sentence = || {
        let text = String::from_utf8_lossy(body);
        format!("{}: {}", head.status(), text.trim_end().chars().take(MAX_LOGGED_CHARS).collect::<String>())
    };
    let asked = || retry_after(head.headers(), SystemTime::now());
    match head.status() {
        StatusCode::OK => match Acknowledgement::decode(body.clone()) {
            Ok(acknowledgement) if acknowledgement.durable_through >= last_sequence => Answer::Durable,
            Ok(acknowledgement) => Answer::Retry {
                after: None,
                why: format!("durable only through {} of {last_sequence}", acknowledgement.durable_through),
            },
            Err(error) => Answer::Retry { after: None, why: format!("the acknowledgement cannot be read: {error}") },
        },
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Answer::Rejected(sentence())
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Unauthorized { after: asked(), why: sentence() },
        _ => Answer::Retry { after: asked(), why: sentence() },
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::RETRY_AFTER;

    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        let head = Response::builder().status(status).header(RETRY_AFTER, "7").body(()).unwrap();
        interpret(&head, &Bytes::copy_from_slice(body), 10)
    }

    #[test]
    fn only_an_acknowledgement_of_all_of_it_is_durable() {
        let acknowledged = |durable_through| Acknowledgement { durable_through }.encode_to_vec();
        assert_eq!(answer(200, &acknowledged(10)), Answer::Durable);
        assert!(matches!(answer(200, &acknowledged(9)), Answer::Retry { .. }));
        assert!(matches!(answer(200, b"<html>"), Answer::Retry { .. }));
        assert!(matches!(answer(200, b""), Answer::Retry { .. }));
    }

    #[test]
    fn refusals_are_final_and_everything_else_is_tried_again() {
        assert!(
            matches!(answer(400, b"the checksum does not match"), Answer::Rejected(why) if why.contains("checksum"))
        );
        for status in [404, 429, 500, 503] {
            assert!(matches!(answer(status, b""), Answer::Retry { after: Some(after), .. } if after.as_secs() == 7));
        }
        for status in [401, 403] {
            assert!(matches!(answer(status, b"no"), Answer::Unauthorized { why, .. } if why.ends_with("no")));
        }
    }
}
