//! What PEM files hold.

use std::fmt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong =
        |error: &dyn fmt::Display| format!("{}: {error}; a PEM file with certificates is needed", path.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?.collect();
    let read = read.map_err(|error| wrong(&error))?;
    if read.is_empty() { Err(wrong(&"there is none in it")) } else { Ok(read) }
}

pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    // The error says what is wrong with the file, and nothing that is in it.
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("{}: {error}; a PEM file with a private key is needed", path.display()))
}

pub(crate) fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}
