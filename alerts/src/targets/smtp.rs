//! A mail on its way to a mail server, in two parts: until the server is ready for it, when nothing can have arrived; and the
//! handing over, when what was not answered may have.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::{Address, Message};
use tokio::time::timeout;

use super::Delivery;
use super::http::retry;
use super::recipients::NotTaken;
use crate::secret::{SecretSource, Withheld};

/// Connecting, encrypting and the password. The delivery as a whole has its own limit.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// Tried in this order; both need an encrypted connection, or the password would be anybody's.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
/// What a server answers to whom it does not know, or not like this: somebody can put it right. (RFC 4954, section 6.)
const UNKNOWN_USER: [u16; 4] = [530, 534, 535, 538];
/// What a server answers to anything at all when it is about to close the connection.
const CLOSING: u16 = 421;

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
    /// Hands a mail over for as many of these as the server takes it for, and gives the others.
    ///
    /// # Errors
    /// What became of it where it was taken for nobody by a fault that is not theirs.
    ///
    /// # Cancel safety
    /// A mail that is dropped on its way may have arrived.
    pub(super) async fn deliver(
        &self,
        from: &Address,
        to: &[Address],
        message: &Message,
    ) -> Result<Vec<NotTaken>, Delivery> {
        let ready = timeout(READY_TIMEOUT, self.ready()).await;
        let ready = ready.unwrap_or_else(|_| Err(format!("it was not ready within {READY_TIMEOUT:?}")));
        let mut connection = ready.map_err(|why| retry(self.said(&why)))?;
        let handed_over = self.hand_over(&mut connection, from, to, &message.formatted()).await;
        // What it says to this changes nothing.
        connection.abort().await;
        handed_over
    }

    /// Hands a mail over, recipient by recipient; gives those for whom it was not taken. If it is for nobody, nothing is sent.
    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        from: &Address,
        to: &[Address],
        content: &[u8],
    ) -> Result<Vec<NotTaken>, Delivery> {
        // Until the content is on its way nothing can have arrived.
        let before = |error: smtp::Error| self.answer(&error, false);
        let takes = |extension| connection.server_info().supports_feature(extension);
        let (takes_letters, takes_bytes) = (takes(Extension::SmtpUtfEight), takes(Extension::EightBitMime));
        let mut parameters = Vec::new();
        if to.iter().chain([from]).any(|address| !is_ascii(address)) && (takes_letters || !is_ascii(from)) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if takes_bytes && !content.is_ascii() {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        connection.command(Mail::new(Some(from.clone()), parameters)).await.map_err(before)?;
        let mut not_taken = Vec::new();
        for address in to {
            let not = |answer: String, is_final| NotTaken { address: address.clone(), answer, is_final };
            if !takes_letters && !is_ascii(address) {
                not_taken.push(not(self.said("it takes no address with letters beyond ASCII (SMTPUTF8)"), true));
                continue;
            }
            match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
                Ok(_) => {}
                Err(error) if is_of_recipient(&error) => {
                    not_taken.push(not(self.said(&error.to_string()), is_final(&error)));
                }
                Err(error) => return Err(before(error)),
            }
        }
        if not_taken.len() < to.len() {
            connection.command(Data).await.map_err(before)?;
            connection.message(content).await.map_err(|error| self.answer(&error, true))?;
        }
        Ok(not_taken)
    }

    /// What becomes of a mail that was not taken.
    fn answer(&self, error: &smtp::Error, is_on_its_way: bool) -> Delivery {
        let why = self.said(&error.to_string());
        match error.status() {
            Some(_) if is_final(error) => Delivery::Refused { why },
            // It said that it did not take it, or was not sent it.
            Some(_) => retry(why),
            None => Delivery::Retry { after: None, why, in_doubt: is_on_its_way },
        }
    }

    /// What a server said, with its name.
    fn said(&self, why: &str) -> String {
        self.without_password(&format!("{}:{}: {why}", self.host, self.port))
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
fn in_words(error: &smtp::Error) -> String {
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

fn is_ascii(address: &Address) -> bool {
    AsRef::<str>::as_ref(address).is_ascii()
}

/// Whether an answer is about the recipient, and not about us or the connection.
fn is_of_recipient(error: &smtp::Error) -> bool {
    let status = error.status().map(u16::from);
    status.is_some_and(|status| status != CLOSING && !UNKNOWN_USER.contains(&status))
}

/// Whether a server will never take it.
fn is_final(error: &smtp::Error) -> bool {
    error.is_permanent() && error.status().is_some_and(|status| !UNKNOWN_USER.contains(&status.into()))
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
