//! A real S3 server: SeaweedFS, in a process of its own that can be killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use driftline_tests::free_port;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStoreExt as _, PutPayload};

pub(crate) const BUCKET: &str = "models";
/// It makes its buckets, its volumes and its own state.
const STARTS_WITHIN: Duration = Duration::from_secs(180);
/// Where it listens, by the names of its options. Those that are not said lie ten thousand above others, where callers have
/// theirs, or are always the same.
const PORTS: [&str; 10] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
];

/// A running server.
pub(crate) struct S3 {
    child: Child,
    weed: PathBuf,
    folder: PathBuf,
    ports: [u16; PORTS.len()],
}

impl S3 {
    /// Starts one in a folder, and makes the bucket.
    pub(crate) async fn start(weed: &Path, folder: &Path) -> Self {
        // The store's client asks for what TLS is made with, though nothing is encrypted here; the tests' client installs it.
        drop(driftline_tests::client());
        let identity = r#"{"identities": [{"name": "test", "credentials": [{"accessKey": "AK", "secretKey": "SK"}], "actions": ["Admin", "Read", "Write", "List"]}]}"#;
        std::fs::create_dir_all(folder.join("weed")).expect("a folder");
        std::fs::write(folder.join("s3.json"), identity).expect("a file");
        std::fs::write(folder.join("key"), "AK").expect("a file");
        std::fs::write(folder.join("secret"), "SK").expect("a file");
        let ports = PORTS.map(|_| free_port());
        let child = launch(weed, folder, ports);
        let server = Self { child, weed: weed.to_owned(), folder: folder.to_owned(), ports };
        server.wait_until_up().await;
        server
    }

    /// Where it is: host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// What is below a prefix of the bucket, past everything that stands between it and the collector.
    pub(crate) fn store(&self) -> Arc<AmazonS3> {
        let store = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_endpoint(format!("http://{}", self.address()))
            .with_allow_http(true)
            .with_access_key_id("AK")
            .with_secret_access_key("SK")
            .build();
        Arc::new(store.expect("a store"))
    }

    /// Kills it, at once and without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Starts it again.
    pub(crate) async fn restart(&mut self) {
        self.child = launch(&self.weed, &self.folder, self.ports);
        self.wait_until_up().await;
    }

    async fn wait_until_up(&self) {
        let begun = std::time::Instant::now();
        loop {
            let probe = self.store().put(&"probe/_driftline/probe".into(), PutPayload::from_static(b"up")).await;
            match probe {
                Ok(_) => return,
                Err(error) => assert!(begun.elapsed() < STARTS_WITHIN, "the S3 server does not come up: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn launch(weed: &Path, folder: &Path, ports: [u16; PORTS.len()]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("weed.log")).expect("a log file");
    Command::new(weed)
        .arg("mini")
        .arg(format!("-dir={}", folder.join("weed").display()))
        .args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ])
        .arg(format!("-bucket={BUCKET}"))
        .arg(format!("-s3.config={}", folder.join("s3.json").display()))
        .args(PORTS.iter().zip(ports).map(|(name, port)| format!("-{name}={port}")))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .expect("the S3 server starts")
}
