//! The model's server: where it listens, and how it is connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use driftline_tls::{ClientFiles, LOOK_INTERVAL, WatchedFiles, client_config};
use mio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::{error, info, warn};

use crate::event_loop::EventLoop;
use crate::settings::HostPort;
use crate::stream::{Connecting, Socket, Stream};

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
    lookups: Handle,
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
    /// Names are looked up by the blocking threads of a runtime that is elsewhere.
    pub(crate) fn new(upstream: Upstream, tls: Option<Arc<UpstreamTls>>, lookups: Handle) -> Self {
        Self { upstream: Arc::new(upstream), is_away: Arc::default(), tls, lookups }
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
    pub(crate) async fn connect(&self, event_loop: &Rc<EventLoop>, protocols: &[Vec<u8>]) -> io::Result<Stream> {
        let upstream = &self.upstream;
        let connected = self.try_connect(event_loop, protocols).await;
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

    async fn try_connect(&self, event_loop: &Rc<EventLoop>, protocols: &[Vec<u8>]) -> io::Result<Stream> {
        let socket = match &*self.upstream {
            Upstream::Tcp(address) | Upstream::Tls(address) => self.connect_tcp(event_loop, address).await?,
            Upstream::Unix(path) => Socket::connected(event_loop, Connecting::Unix(UnixStream::connect(path)?)).await?,
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

    /// Connects to the first of a name's addresses that answers.
    async fn connect_tcp(&self, event_loop: &Rc<EventLoop>, address: &HostPort) -> io::Result<Socket> {
        let mut failed = None;
        for address in self.addresses(address).await? {
            let connected = match TcpStream::connect(address) {
                Ok(stream) => Socket::connected(event_loop, Connecting::Tcp(stream)).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
    }

    /// A name is looked up on another thread: the system's look-up blocks.
    async fn addresses(&self, HostPort { host, port }: &HostPort) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, *port)]);
        }
        let name = (host.clone(), *port);
        let looked_up = self.lookups.spawn_blocking(move || name.to_socket_addrs().map(Iterator::collect)).await;
        looked_up.map_err(io::Error::other)?
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
