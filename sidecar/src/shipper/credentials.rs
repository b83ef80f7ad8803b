//! What the sidecar shows the collector of itself, and whom it believes to be the collector.
//!
//! Files are read again when they change: a token is replaced and a certificate renewed without a restart. What was read
//! last stays in force while a file is wrong or away.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use driftline_tls::{ClientFiles, LOOK_INTERVAL, WatchedFiles, client_config, server_name};
use hyper::header::HeaderValue;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// Longest token. It is a header's value, and proxies take 8 KiB of those in all.
const MAX_TOKEN_BYTES: usize = 4096;

/// The files of a sidecar's credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CredentialFiles {
    /// The token, and nothing else.
    pub(crate) token: Option<PathBuf>,
    /// For a collector with TLS.
    pub(crate) tls: ClientFiles,
}

/// Credentials in force.
pub(crate) struct Credentials {
    files: CredentialFiles,
    watched: WatchedFiles,
    looked_at: Instant,
    /// `Authorization`, marked as sensitive: hyper then never prints it.
    authorization: Option<HeaderValue>,
    /// For a collector with TLS: the configuration, and the name in its certificate.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Credentials").field(&self.files).finish()
    }
}

impl Credentials {
    /// Reads the files. `host` is the collector's, where it has TLS.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub(crate) fn load(files: CredentialFiles, host: Option<&str>) -> Result<Self, String> {
        let watched = WatchedFiles::new(files.token.as_deref().into_iter().chain(files.tls.paths()));
        let authorization = files.authorization()?;
        let tls = host.map(|host| Ok::<_, String>((client_config(&files.tls)?, server_name(host)?))).transpose()?;
        Ok(Self { files, watched, looked_at: Instant::now(), authorization, tls })
    }

    /// Reads the files again if they have changed. True when a connection that was made before shows what is out of date.
    pub(crate) fn look(&mut self) -> bool {
        if self.looked_at.elapsed() < LOOK_INTERVAL {
            return false;
        }
        self.looked_at = Instant::now();
        if !self.watched.changed() {
            return false;
        }
        let host = self.tls.as_ref().map(|(_, name)| name.clone());
        let read = self.files.authorization().and_then(|authorization| {
            let config = host.is_some().then(|| client_config(&self.files.tls)).transpose()?;
            Ok((authorization, config.zip(host)))
        });
        match read {
            Ok((authorization, tls)) => {
                (self.authorization, self.tls) = (authorization, tls);
                tracing::info!("the credentials for the collector have changed and are in force");
                self.tls.is_some()
            }
            Err(error) => {
                tracing::error!(%error, "changed credentials for the collector cannot be used; the old ones stay in force");
                false
            }
        }
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// How TLS is spoken to the collector, if it is.
    pub(crate) fn tls(&self) -> Option<(TlsConnector, ServerName<'static>)> {
        self.tls.as_ref().map(|(config, name)| (TlsConnector::from(Arc::clone(config)), name.clone()))
    }
}

impl CredentialFiles {
    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let Some(path) = &self.token else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let token = text.trim_end_matches(['\r', '\n']);
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            // What is in the file stays unsaid.
            return Err(format!(
                "{}: this is no token; a file with up to {MAX_TOKEN_BYTES} letters, digits and signs on one line is needed",
                path.display()
            ));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| format!("{}: a header cannot hold this token", path.display()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_again_when_it_changes_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let files = CredentialFiles { token: Some(path.clone()), ..CredentialFiles::default() };
        assert!(Credentials::load(files.clone(), None).unwrap_err().contains("token"));
        for wrong in ["", "\n", "two words", "zwölf", "one\ntwo"] {
            std::fs::write(&path, wrong).unwrap();
            let error = Credentials::load(files.clone(), None).unwrap_err();
            assert!(error.contains("this is no token") && (wrong.len() < 2 || !error.contains(wrong)), "{error}");
        }
        std::fs::write(&path, "first\n").unwrap();
        let mut credentials = Credentials::load(files, None).unwrap();
        assert_eq!(credentials.authorization().unwrap(), "Bearer first");
        assert!(!format!("{credentials:?} {:?}", credentials.authorization()).contains("first"));
        for (written, in_force) in [("not one", "Bearer first"), ("second-one", "Bearer second-one")] {
            std::fs::write(&path, written).unwrap();
            credentials.looked_at = credentials.looked_at.checked_sub(2 * LOOK_INTERVAL).unwrap();
            assert!(!credentials.look(), "no connection is made anew for a token");
            assert_eq!(credentials.authorization().unwrap(), in_force);
        }
    }
}
