//! Asking a model's server for its metadata, until it answers and then now and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftline_protocol::Naming;
use prometheus::IntCounter;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::runtime::Runtime;
use tracing::{debug, info, warn};

use super::{MAX_BYTES, ModelMetadata, ToldTypes, types};
use crate::config::{ColumnType, Model};
use crate::metrics::Metrics;

/// An answer takes milliseconds; a server that loads its model may take longer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Model servers start beside the collector, and within a minute or so.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A new version of the model may have columns that its predecessor had not.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// A server that is asked for what its model says of itself.
#[derive(Debug, Clone)]
pub(super) struct Server {
    model: String,
    url: Url,
    naming: Naming,
    told: ToldTypes,
}

impl Server {
    pub(super) fn new(model: &Model, url: Url, told: ToldTypes) -> Self {
        Self { model: model.name.clone(), url, naming: model.naming.clone(), told }
    }

    /// Asks for as long as the runtime runs. What was told once stays while a server does not answer.
    async fn keep_asking(self, [ok, failed]: [IntCounter; 2]) {
        let client = match client() {
            Ok(client) => client,
            Err(error) => return warn!(model = %self.model, error, "no server can be asked for the model's metadata"),
        };
        let (mut pause, mut is_failing) = (FIRST_PAUSE, false);
        loop {
            match ask(&client, &self.url, &self.naming).await {
                Ok(types) => {
                    ok.inc();
                    if is_failing || self.told.load().is_empty() {
                        info!(model = %self.model, columns = types.len(), "the model says what types its columns have");
                    }
                    self.told.store(Arc::new(types));
                    (pause, is_failing) = (FIRST_PAUSE, false);
                    tokio::time::sleep(REFRESH_INTERVAL).await;
                }
                Err(error) => {
                    failed.inc();
                    let (model, server) = (&self.model, place(&self.url));
                    if std::mem::replace(&mut is_failing, true) {
                        debug!(%model, server, error, "there are no metadata of the model");
                    } else {
                        warn!(%model, server, error, "there are no metadata of the model, so types of new columns are taken from their first values; it is asked for again, and metrics count it from here on");
                    }
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(2 * pause);
                }
            }
        }
    }
}

impl ModelMetadata {
    /// Begins to ask all servers.
    pub(crate) fn keep_asking(&self, runtime: &Runtime, metrics: &Metrics) {
        for server in &self.servers {
            runtime.spawn(server.clone().keep_asking(metrics.metadata_requests(&server.model)));
        }
    }
}

pub(super) fn client() -> Result<Client, String> {
    // An error means that it is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none());
    client.build().map_err(|error| format!("no HTTP client: {error}"))
}

/// Asks once.
pub(super) async fn ask(client: &Client, url: &Url, naming: &Naming) -> Result<BTreeMap<String, ColumnType>, String> {
    // What is in a URL besides its place may be a secret.
    let unanswered = |error: reqwest::Error| {
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    let mut answer = client.get(url.clone()).send().await.map_err(unanswered)?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let mut document = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
        document.extend_from_slice(&chunk);
        if document.len() as u64 > MAX_BYTES {
            return Err(format!("its answer has more than {MAX_BYTES} bytes"));
        }
    }
    let document = String::from_utf8(document).map_err(|_| "its answer is no text")?;
    types(&document, naming)
}

/// Where a URL leads, without what may be secret in it.
pub(super) fn place(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.authority(), url.path())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    /// A server that gives each request the next of these answers, and then its address.
    fn server(answers: Vec<String>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let length = connection.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /v2/models/m "));
                // Who has read enough hangs up.
                connection.write_all(answer.as_bytes()).ok();
            }
        });
        address
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    const METADATA: &str = r#"{"name": "m", "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1]}]}"#;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_server_is_asked_again_until_it_answers() {
        let address = server(vec![http("503 Service Unavailable", ""), http("200 OK", METADATA)]);
        let mut model = Model::undescribed("m");
        model.naming.features = vec!["age".to_owned()];
        let (told, url) = (ToldTypes::default(), Url::parse(&format!("http://{address}/v2/models/m")).unwrap());
        let metrics = Metrics::new().unwrap();
        let asking = Server::new(&model, url, Arc::clone(&told)).keep_asking(metrics.metadata_requests("m"));
        run(async {
            let told = async {
                while told.load().is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                () = asking => unreachable!("it asks for good"),
                () = told => {}
            }
        });
        assert_eq!(told.load().get("age"), Some(&ColumnType::Integer));
        assert_eq!(metrics.metadata_requests("m").map(|counter| counter.get()), [1, 1]);
    }

    #[test]
    fn an_answer_without_end_is_not_read_to_it() {
        let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", " ".repeat(3 << 20));
        let address = server(vec![endless, http("200 OK", "nothing"), http("302 Found", "")]);
        let url = Url::parse(&format!("http://{address}/v2/models/m")).unwrap();
        for why in ["more than 1048576 bytes", "no JSON", "it answers 302 Found"] {
            let error = run(async { ask(&client().unwrap(), &url, &Naming::default()).await }).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_is_behind_a_path_is_not_told() {
        let url = Url::parse("https://host:8443/v2/models/m?token=hush").unwrap();
        assert_eq!(place(&url), "https://host:8443/v2/models/m");
    }
}
