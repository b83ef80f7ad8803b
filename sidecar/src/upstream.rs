//! The model's server: where it listens, and how it is connected to.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use driftline_tls::{ClientFiles, LOOK_INTERVAL, WatchedFiles, client_config};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::{error, info, warn};

use crate::settings::HostPort;
use crate::stream::{Socket, Stream};

/// Where the model's server listens: `host:port`, `unix:/path`, or `https://host:port` for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// TCP. A name is looked up for each connection.
    Tcp(HostPort),
    /// A socket in the file system.
    Unix(PathBuf),
    /// TLS over TCP.
    Tls(HostPort),
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = |rest: &str| rest.strip_suffix('/').unwrap_or(rest).parse::<HostPort>();
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!("'{text}' names no absolute path, as in unix:/run/model.sock"))
            };
        }
        if let Some(rest) = text.strip_prefix("https://") {
            return bare(rest).map(Self::Tls);
        }
        bare(text.strip_prefix("http://").unwrap_or(text)).map(Self::Tcp).map_err(|wrong| {
            format!("{wrong}; a socket is unix:/run/model.sock, and a server with TLS https://127.0.0.1:8443")
        })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tls(address) => write!(formatter, "https://{address}"),
        }
    }
}

/// What it takes to connect to the model's server.
#[derive(Clone)]
pub(crate) struct Connector {
    upstream: Arc<Upstream>,
    /// The last connect failed. The log says when that changes, and not at every caller.
    is_away: Arc<AtomicBool>,
    /// For TLS only.
    tls: Option<Arc<UpstreamTls>>,
}

/// TLS to the model's server: whom to believe to be it, and what to show it.
pub(crate) struct UpstreamTls {
    files: ClientFiles,
    /// In the server's certificate.
    name: ServerName<'static>,
    current: ArcSwap<ClientConfig>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connector").field(&self.upstream).finish()
    }
}

impl Connector {
    pub(crate) fn new(upstream: Upstream, tls: Option<UpstreamTls>) -> Self {
        Self { upstream: Arc::new(upstream), is_away: Arc::default(), tls: tls.map(Arc::new) }
    }

    /// TLS to the server, where it is spoken.
    pub(crate) fn tls(&self) -> Option<Arc<UpstreamTls>> {
        self.tls.clone()
    }

    /// Whether the model's server speaks TLS, and so says itself which protocol it chose.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects; over TLS with this list of application protocols, most wanted first.
    ///
    /// # Errors
    /// The system's own, or what TLS found wrong.
    ///
    /// # Cancel safety
    /// A dropped connect is given up.
    pub(crate) async fn connect(&self, protocols: &[Vec<u8>]) -> io::Result<Stream> {
        let upstream = &self.upstream;
        let connected = self.try_connect(protocols).await;
        match &connected {
            Ok(_) if self.is_away.swap(false, Ordering::Relaxed) => {
                info!(%upstream, "the model's server is there again")
            }
            Err(error) if !self.is_away.swap(true, Ordering::Relaxed) => {
                warn!(%upstream, %error, "cannot connect to the model's server; callers are reset while it is away");
            }
            _ => {}
        }
        connected
    }

    async fn try_connect(&self, protocols: &[Vec<u8>]) -> io::Result<Stream> {
        let socket = match &*self.upstream {
            Upstream::Tcp(address) | Upstream::Tls(address) => {
                Socket::Tcp(TcpStream::connect((address.host.as_str(), address.port)).await?)
            }
            Upstream::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        };
        socket.send_at_once();
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let mut config = tls.current.load_full();
        if !protocols.is_empty() {
            Arc::make_mut(&mut config).alpn_protocols = protocols.to_vec();
        }
        let stream = TlsConnector::from(config).connect(tls.name.clone(), socket).await?;
        Ok(Stream::tls(stream.into()))
    }
}

impl UpstreamTls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub(crate) fn load(files: ClientFiles, name: ServerName<'static>) -> Result<Self, String> {
        let current = ArcSwap::new(client_config(&files)?);
        Ok(Self { files, name, current })
    }

    /// Looks at the files for as long as it is polled, and reads them again when they change: for connections from then on.
    /// What is in force stays when they are wrong. Says each time whether the new ones are in force.
    pub(crate) async fn keep_current(self: Arc<Self>, is_in_force: impl Fn(bool)) {
        let mut files = WatchedFiles::new(self.files.paths());
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if !files.changed() {
                continue;
            }
            let read = client_config(&self.files);
            is_in_force(read.is_ok());
            match read {
                Ok(config) => {
                    self.current.store(config);
                    info!("the certificates for the model's server have changed and are in force");
                }
                Err(error) => {
                    error!(%error, "changed certificates for the model's server cannot be used; the old ones stay in force");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_address_and_says_what_is_wrong() {
        for text in ["127.0.0.1:8080", "[::1]:8080", "unix:/run/model.sock", "https://model:8443"] {
            assert_eq!(text.parse::<Upstream>().unwrap().to_string(), text);
        }
        assert_eq!("http://model:8080/".parse::<Upstream>().unwrap().to_string(), "model:8080");
        for (text, says) in
            [("unix:model.sock", "absolute path"), ("model", "host:port"), ("https://model", "host:port")]
        {
            assert!(text.parse::<Upstream>().unwrap_err().contains(says), "{text}");
        }
    }
}
