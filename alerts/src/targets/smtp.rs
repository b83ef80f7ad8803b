//! A mail on its way to a mail server, in two parts: until the server is ready for it, when nothing can have arrived; and the
//! handing over, when what was not answered may have.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::timeout;

use super::Delivery;
use super::http::retry;
use crate::secret::{SecretSource, Withheld};

/// Connecting, encrypting and the password. The delivery as a whole has its own limit.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// Tried in this order; both need an encrypted connection, or the password would be anybody's.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
/// What a server answers to whom it does not know, or not like this: somebody can put it right. (RFC 4954, section 6.)
const UNKNOWN_USER: [u16; 4] = [530, 534, 535, 538];

/// A mail server.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Its name, which its certificate must carry.
    pub host: String,
    /// Its port: by custom 587 for STARTTLS, 465 for implicit TLS.
    pub port: u16,
    /// Whether and when the connection is encrypted.
    pub tls: SmtpTls,
    /// A PEM file of further certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// User name and password.
    pub credentials: Option<(String, SecretSource)>,
}

/// Whether and when a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// By STARTTLS, and not at all without it.
    StartTls,
    /// From the first byte.
    Implicit,
    /// Never: for a relay on the same machine.
    None,
}

impl Smtp {
    /// Hands a mail over.
    ///
    /// # Cancel safety
    /// A mail that is dropped on its way may have arrived.
    pub(super) async fn deliver(&self, message: &Message) -> Delivery {
        let place = format!("{}:{}", self.host, self.port);
        let ready = timeout(READY_TIMEOUT, self.ready()).await;
        let ready = ready.unwrap_or_else(|_| Err(format!("it was not ready within {READY_TIMEOUT:?}")));
        let mut connection = match ready {
            Ok(connection) => connection,
            Err(why) => return retry(self.without_password(&format!("{place}: {why}"))),
        };
        let handed_over = connection.send(message.envelope(), &message.formatted()).await;
        // What it says to this changes nothing.
        connection.abort().await;
        match handed_over {
            Ok(_) => Delivery::Accepted { receipt: None },
            Err(error) => answer(self.without_password(&format!("{place}: {error}")), &error),
        }
    }

    /// What a server said, less the password: some repeat what they were sent, as they were sent it.
    fn without_password(&self, why: &str) -> String {
        let mut withheld = Withheld::default();
        if let Some((user, password)) = &self.credentials
            && let Ok(password) = password.read()
        {
            let password = password.reveal();
            withheld.add(password);
            withheld.add(&STANDARD.encode(password));
            withheld.add(&STANDARD.encode(format!("\0{user}\0{password}")));
        }
        withheld.out_of(why)
    }

    /// A connection that takes mail; or why there is none, which is never the mail's fault.
    async fn ready(&self) -> Result<AsyncSmtpConnection, String> {
        let tls = tls_parameters(&self.host, self.ca_file.as_deref())?;
        let credentials = match &self.credentials {
            Some((user, password)) => Some((user, password.read()?)),
            None => None,
        };
        let own_name = ClientId::default();
        let wrapped = (self.tls == SmtpTls::Implicit).then(|| tls.clone());
        let server = (self.host.as_str(), self.port);
        let connection = AsyncSmtpConnection::connect_tokio1(server, Some(READY_TIMEOUT), &own_name, wrapped, None);
        let mut connection = connection.await.map_err(|error| in_words(&error))?;
        if self.tls == SmtpTls::StartTls {
            connection.starttls(tls, &own_name).await.map_err(|error| in_words(&error))?;
        }
        if let Some((user, password)) = credentials {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            let known = connection.auth(&MECHANISMS, &credentials).await;
            known.map_err(|error| format!("it does not let in the user '{user}' with this password: {error}"))?;
        }
        Ok(connection)
    }
}

/// What is told of a connection that did not come about, with its remedy where one is known.
fn in_words(error: &lettre::transport::smtp::Error) -> String {
    let why = error.to_string();
    if why.contains("invalid peer certificate") {
        return format!(
            "its certificate is not trusted, or is not its own; `ca_file` names an authority of yours: {why}"
        );
    }
    if why.contains("STARTTLS is not supported") {
        return format!("{why}; `tls: implicit` or `tls: none` may be what it speaks");
    }
    why
}

/// What becomes of a mail that was not taken.
fn answer(why: String, error: &lettre::transport::smtp::Error) -> Delivery {
    match error.status().map(u16::from) {
        Some(status) if error.is_permanent() && !UNKNOWN_USER.contains(&status) => Delivery::Refused { why },
        // It said that it did not take it.
        Some(_) => retry(why),
        // What it cannot take is known before anything is sent.
        None if error.is_client() => retry(why),
        None => Delivery::Retry { after: None, why, in_doubt: true },
    }
}

fn tls_parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let unreadable =
            |error: &dyn std::fmt::Display| format!("the certificates in {} cannot be read: {error}", path.display());
        let pem = std::fs::read(path).map_err(|error| unreadable(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| unreadable(&error))?);
    }
    builder.build_rustls().map_err(|error| error.to_string())
}
