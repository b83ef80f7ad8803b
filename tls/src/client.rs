//! TLS towards a server: whom to believe, and who one is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use crate::pem::{certificates, key, roots};

/// The files that TLS towards a server is made of; all of them may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Who signs the server's certificate, PEM; the public authorities unless given.
    pub authority: Option<PathBuf>,
    /// The certificate and key to show the server, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientFiles {
    /// All files that are named.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.authority.iter().chain(identity).map(PathBuf::as_path)
    }
}

/// Reads the files.
///
/// # Errors
/// What is wrong, with the file's name.
pub fn client_config(files: &ClientFiles) -> Result<Arc<ClientConfig>, String> {
    let roots = match &files.authority {
        Some(path) => roots(path)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, private)) => builder
            .with_client_auth_cert(certificates(certificate)?, key(private)?)
            .map_err(|error| format!("{} and {}: {error}", certificate.display(), private.display()))?,
    };
    Ok(Arc::new(config))
}

/// The name that a server's certificate must have.
///
/// # Errors
/// When no certificate can have it.
pub fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("'{name}' is not a name that a certificate can have"))
}
