//! TLS towards clients.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;

use crate::files::{LOOK_INTERVAL, WatchedFiles};
use crate::pem::{certificates, key, roots};

/// The files that TLS towards clients is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Which certificates clients have.
    pub clients: ClientCertificates,
}

/// Which certificates clients have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is asked for.
    NotAsked,
    /// One that this authority (PEM) signed; a client without one is refused in the handshake.
    Needed(PathBuf),
    /// One that this authority (PEM) signed, or none: what needs one is for the server to say.
    Welcome(PathBuf),
}

impl ClientCertificates {
    fn authority(&self) -> Option<&PathBuf> {
        match self {
            Self::NotAsked => None,
            Self::Needed(path) | Self::Welcome(path) => Some(path),
        }
    }
}

/// What clients are answered with. A reload replaces it for connections to come.
#[derive(Clone)]
pub struct ServerTls {
    files: Arc<ServerFiles>,
    current: Arc<ArcSwap<ServerConfig>>,
    /// Application protocols (ALPN) that are offered unless a connection has its own, most wanted first.
    protocols: Arc<Vec<Vec<u8>>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never what is in the files.
        formatter.debug_tuple("ServerTls").field(&self.files).finish()
    }
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn load(files: ServerFiles, protocols: Vec<Vec<u8>>) -> Result<Self, String> {
        let config = server_config(&files)?;
        Ok(Self {
            files: Arc::new(files),
            current: Arc::new(ArcSwap::from_pointee(config)),
            protocols: Arc::new(protocols),
        })
    }

    /// Reads the files again. What is in force stays when they are wrong.
    fn reload(&self) -> Result<(), String> {
        self.current.store(Arc::new(server_config(&self.files)?));
        Ok(())
    }

    /// Looks at the files for as long as it is polled, and reads them again when they change. Says each time whether the
    /// new ones are in force.
    pub async fn keep_current(self, is_in_force: impl Fn(bool)) {
        let mut files = WatchedFiles::new(self.paths());
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if !files.changed() {
                continue;
            }
            let reloaded = self.reload();
            is_in_force(reloaded.is_ok());
            match reloaded {
                Ok(()) => tracing::info!("certificates have changed and are in force"),
                Err(error) => {
                    tracing::error!(%error, "changed certificates cannot be used; the old ones stay in force");
                }
            }
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = &self.files;
        [&files.certificate, &files.key].into_iter().chain(files.clients.authority()).map(PathBuf::as_path)
    }

    /// The protocols that are offered unless a connection has its own.
    pub fn protocols(&self) -> &[Vec<u8>] {
        &self.protocols
    }

    /// The configuration for one connection, with the protocols that it may choose from.
    pub fn config(&self, protocols: &[Vec<u8>]) -> Arc<ServerConfig> {
        let mut config = self.current.load_full();
        if !protocols.is_empty() {
            Arc::make_mut(&mut config).alpn_protocols = protocols.to_vec();
        }
        config
    }
}

fn server_config(files: &ServerFiles) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = key(&files.key)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match files.clients.authority() {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
            let verifier = match files.clients {
                ClientCertificates::Welcome(_) => verifier.allow_unauthenticated(),
                ClientCertificates::NotAsked | ClientCertificates::Needed(_) => verifier,
            };
            let verifier = verifier.build().map_err(|error| format!("{}: {error}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("{} and {}: {error}", files.certificate.display(), files.key.display()))
}
