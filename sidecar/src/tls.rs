//! TLS on both sides: certificates from files, read again when the files change.
//!
//! Ending TLS in the sidecar is for callers that encrypt up to the pod. The application protocol (ALPN) is the one that
//! the model's server speaks: over TLS it is asked first, with the caller's own list; in plain text it is a setting.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::files::{LOOK_INTERVAL, WatchedFiles};
use crate::metrics::Metrics;
use crate::settings::HostPort;

/// The files that TLS towards the callers is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerFiles {
    /// The certificate and its chain, PEM.
    pub(crate) certificate: PathBuf,
    /// The private key, PEM.
    pub(crate) key: PathBuf,
    /// Who signs the callers' certificates, PEM; with it, a caller without one is refused.
    pub(crate) client_ca: Option<PathBuf>,
}

/// What callers are answered with. A reload replaces it for connections to come.
#[derive(Clone)]
pub(crate) struct ServerTls {
    files: Arc<ServerFiles>,
    current: Arc<ArcSwap<ServerConfig>>,
    /// What a model's server in plain text speaks.
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
    pub(crate) fn load(files: ServerFiles, protocols: Vec<Vec<u8>>) -> Result<Self, String> {
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

    /// Looks at the files for as long as the sidecar runs, and reads them again when they change.
    pub(crate) async fn keep_current(self, metrics: Arc<Metrics>) {
        let mut files = WatchedFiles::default();
        self.paths().for_each(|path| files.watch(path));
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if !files.changed() {
                continue;
            }
            let [ok, failed] = &metrics.certificate_reloads;
            match self.reload() {
                Ok(()) => {
                    ok.inc();
                    tracing::info!("certificates have changed and are in force");
                }
                Err(error) => {
                    failed.inc();
                    tracing::error!(%error, "changed certificates cannot be used; the old ones stay in force");
                }
            }
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = &self.files;
        [&files.certificate, &files.key].into_iter().chain(&files.client_ca).map(PathBuf::as_path)
    }

    /// What a plain model's server speaks.
    pub(crate) fn protocols(&self) -> &[Vec<u8>] {
        &self.protocols
    }

    /// The configuration for one connection, with the protocols that it may choose from.
    pub(crate) fn config(&self, protocols: &[Vec<u8>]) -> Arc<ServerConfig> {
        let mut config = self.current.load_full();
        if !protocols.is_empty() {
            Arc::make_mut(&mut config).alpn_protocols = protocols.to_vec();
        }
        config
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong =
        |error: &dyn fmt::Display| format!("{}: {error}; a PEM file with certificates is needed", path.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?.collect();
    let read = read.map_err(|error| wrong(&error))?;
    if read.is_empty() { Err(wrong(&"there is none in it")) } else { Ok(read) }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn server_config(files: &ServerFiles) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    // The error says what is wrong with the file, and nothing that is in it.
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("{}: {error}; a PEM file with a private key is needed", files.key.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider)
                .build()
                .map_err(|error| format!("{}: {error}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("{} and {}: {error}", files.certificate.display(), files.key.display()))
}

/// TLS towards the model's server: checked against this authority, or against the public ones.
///
/// # Errors
/// What is wrong, with the file's name.
pub(crate) fn client(
    address: &HostPort,
    authority: Option<&Path>,
    name: Option<&str>,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let roots = match authority {
        Some(path) => roots(path)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = name.unwrap_or(&address.host);
    let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
        format!("'{name}' is not a name that a certificate can have; name one with --upstream-server-name")
    })?;
    Ok((Arc::new(config), server_name))
}
