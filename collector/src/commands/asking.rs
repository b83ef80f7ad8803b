//! Asking a running collector by its API: where it is, and with which token.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::{Certificate, Client, Method, Url};
use serde_json::Value;

/// The variable that holds the token: a command line is seen by everybody on the machine, and kept in its history.
const TOKEN_VARIABLE: &str = "DRIFTLINE_TOKEN";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the collector is. A token for it is taken from DRIFTLINE_TOKEN.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// The collector's address.
    #[arg(long, env = "DRIFTLINE_COLLECTOR", value_name = "URL", default_value = "http://localhost:4600")]
    collector: Url,
    /// Certificates to trust besides the usual ones, PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Asking {
    /// Looks at what is at a path below `/api/v1/`, chosen by parameters.
    ///
    /// # Errors
    /// As for [`Self::change`].
    pub(super) fn look(&self, path: &[&str], parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut url = self.address(path)?;
        url.query_pairs_mut().extend_pairs(parameters);
        self.ask(Method::GET, url, None)
    }

    /// Changes what is at a path below `/api/v1/`, each of its segments as it is, and gives the answer's JSON.
    ///
    /// # Errors
    /// Why there was no answer, or what the collector said instead.
    pub(super) fn change(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<Value, String> {
        self.ask(method, self.address(path)?, body)
    }

    fn ask(&self, method: Method, url: Url, body: Option<Value>) -> Result<Value, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        runtime.block_on(self.send(method, url, body))
    }

    fn address(&self, path: &[&str]) -> Result<Url, String> {
        let mut url = self.collector.clone();
        let mut segments = url.path_segments_mut().map_err(|()| format!("{} is no address", self.collector))?;
        segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        drop(segments);
        Ok(url)
    }

    async fn send(&self, method: Method, url: Url, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.client()?.request(method, url);
        if let Ok(token) = std::env::var(TOKEN_VARIABLE) {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let unreachable = |error: reqwest::Error| {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("{} does not answer: {why}; name the collector with --collector", self.collector)
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        match said["error"].as_str() {
            _ if status.is_success() => Ok(said),
            Some(error) => Err(error.to_owned()),
            None if status == reqwest::StatusCode::UNAUTHORIZED => {
                Err(format!("{}; put it into {TOKEN_VARIABLE}", text.trim()))
            }
            None => Err(format!("{} answers {status}: {}", self.collector, text.trim())),
        }
    }

    fn client(&self) -> Result<Client, String> {
        // An error means that it is installed already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = Client::builder().timeout(TIMEOUT);
        if let Some(path) = &self.ca_file {
            let wrong = |error: &dyn std::fmt::Display| format!("the certificates in {}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(|error| format!("no HTTP client: {error}"))
    }
}

/// Says what was answered, or why not.
pub(super) fn conclude(answered: Result<(), String>) -> ExitCode {
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("driftline: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Who asks, unless they say so: whoever is logged in.
pub(super) fn user() -> Option<String> {
    std::env::var("USER").ok().filter(|user| !user.is_empty())
}
