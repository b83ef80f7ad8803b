//! The collector's configuration: one YAML file, read whole and checked whole.

mod access;
mod alerting;
mod body;
mod budgets;
mod compare_with;
mod conditions;
mod false_pages;
mod feeds;
mod few;
mod indicators;
pub(crate) mod maintenance;
mod metadata;
mod models;
mod reactions;
mod recovery;
mod routes;
mod rules;
mod scoring;
mod segments;
mod slices;
mod storage;
mod targets;
mod tensors;
mod told_changes;
mod watermarks;
mod wording;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use driftline_document::Section;
use sha2::{Digest, Sha256};

pub use access::{Events, Ingest, ModelPattern, Protected, Rates, Reading, RequestsAlone, Tls, Token};
pub use alerting::{Alerting, Heartbeat};
pub use compare_with::CompareWith;
pub use driftline_document::{Problem, Problems};
pub use false_pages::FalsePages;
pub use feeds::Feed;
pub(crate) use indicators::{
    ARCHIVE_SLI, DECODED_SLI, DELIVERY_SLI, FEEDS_LISTED_SLI, FEEDS_SLI, FIRST_MESSAGE_SLI, HEARD_SLI, OUTCOMES_SLI,
    OWN_SLIS, RUNNING_SLI, SCHEMA_SLI, SIDECARS_SLI, SLICES_SLI, SLIS, WATERMARK_SLI, part_label,
};
pub use metadata::MetadataSource;
pub use models::{ColumnType, EventTime, Freshness, Model, Slis, TimeUnit, Windows};
pub use reactions::{ReactionConfig, StarterKind};
pub use scoring::Scoring;
pub use segments::{SegmentBy, Segments};
pub use slices::Slices;
pub(crate) use storage::DEFAULT_REQUEST_TIMEOUT;
pub use storage::{Archive, ArchivePlace, Partition};
pub use targets::{TargetConfig, TargetKind};
pub use told_changes::ToldChanges;
pub use watermarks::Watermark;
pub(crate) use watermarks::watched;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is served, and batches are taken.
    pub listen: SocketAddr,
    /// TLS on that address; plain text without it.
    pub tls: Option<Tls>,
    /// What is taken in, from whom, and how much of it.
    pub ingest: Ingest,
    /// Who may read.
    pub reading: Reading,
    /// How this collector is reached from outside: the beginning of every link in an alert. Without a slash at its end.
    pub public_url: String,
    /// Where the database lies.
    pub data_dir: PathBuf,
    /// Where rows are archived, and how.
    pub archive: Archive,
    /// The models that are described.
    pub models: Vec<Model>,
    /// How many models may be seen, described or not.
    pub max_models: u64,
    /// Rules and targets.
    pub alerting: Alerting,
    /// What tells its text from any other.
    pub fingerprint: String,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are taken from its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Problems::unreadable(&file, &error, "give its path with --config"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&file, &text, folder)
    }

    /// Checks a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, Problems> {
        let config = driftline_document::read(file, text, |top| build(top, folder)).result?;
        let digest = Sha256::digest(text.as_bytes());
        let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { fingerprint, ..config })
    }

    /// The description of a model; what is true of every model without one, for those that have none.
    pub fn model(&self, name: &str) -> Model {
        self.models.iter().find(|model| model.name == name).cloned().unwrap_or_else(|| Model::undescribed(name))
    }
}

fn build(mut top: Section<'_>, folder: &Path) -> Config {
    let listen = top
        .optional("listen")
        .and_then(|node| node.parsed("an address and a port, as in 0.0.0.0:4600", |text| text.parse().ok()))
        .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 4600)));
    let tls = top.optional("tls").and_then(|node| node.section()).and_then(|section| access::tls(section, folder));
    let ingest = top.optional("ingest").and_then(|node| node.section());
    let ingest = access::ingest(ingest, folder);
    let reading = top.optional("api").and_then(|node| node.section());
    let reading = access::reading(reading, folder);
    let public_url = top
        .optional("public_url")
        .and_then(|node| {
            node.parsed("a URL with http:// or https://, as in https://driftline.example.com", |text| {
                let is_url = text.starts_with("http://") || text.starts_with("https://");
                is_url.then(|| text.trim_end_matches('/').to_owned())
            })
        })
        .unwrap_or_else(|| format!("{}://localhost:{}", if tls.is_some() { "https" } else { "http" }, listen.port()));
    let data_dir = top
        .optional("data_dir")
        .and_then(|node| Some(folder.join(node.text()?)))
        .unwrap_or_else(|| folder.join("driftline-data"));
    let archive = top.optional("archive").and_then(|node| node.section());
    let archive = storage::archive(archive, &data_dir, folder);
    let models = top.optional("models").and_then(|node| node.list()).unwrap_or_default();
    let models = models::models(models, folder);
    let max_models = top.optional("max_models").and_then(|node| node.integer(1..=10_000)).unwrap_or(100);
    let alerting = top.optional("alerts").and_then(|node| node.section());
    let alerting = alerting::alerting(alerting, &models, folder);
    Config {
        listen,
        tls,
        ingest,
        reading,
        public_url,
        data_dir,
        archive,
        models,
        max_models,
        alerting,
        fingerprint: String::new(),
    }
}

/// What a configuration in `/etc` says, for tests; of one that is wrong, what is said of it.
#[cfg(test)]
fn parsed(text: &str) -> Result<Config, String> {
    Config::parse("d.yaml", text, Path::new("/etc")).map_err(|problems| problems.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Problems> {
        Config::parse("driftline.yaml", text, Path::new("/etc/driftline"))
    }

    #[test]
    fn an_empty_file_is_a_whole_configuration() {
        let config = parse("").unwrap();
        assert_eq!(config.public_url, "http://localhost:4600");
        assert_eq!(config.data_dir, Path::new("/etc/driftline/driftline-data"));
        assert!(config.alerting.rules.len() >= 5, "the shipped rules");
    }

    #[test]
    fn the_documented_example_is_accepted_and_shows_every_field() {
        let text = include_str!("../../../docs/driftline.example.yaml");
        let read = |text: &str| {
            driftline_document::read("docs/driftline.example.yaml", text, |top| build(top, Path::new("docs")))
        };
        let config = read(text).result.unwrap_or_else(|problems| panic!("{problems}"));
        for detector in driftline_detectors::Detector::ALL {
            let shown = config.models[0].scoring.thresholds.0.get(&detector);
            assert_eq!(shown, Some(&detector.default_threshold()), "{} is shown with its default", detector.name());
        }
        // Fields that exclude others are shown behind "#| ".
        let uncommented: String = text.lines().map(|line| line.replacen("#| ", "", 1) + "\n").collect();
        let all = read(&uncommented);
        let missing: Vec<&String> = all.asked.difference(&all.found).collect();
        assert!(missing.is_empty(), "fields that docs/driftline.example.yaml does not show: {missing:?}");
        assert!(all.found.len() > 60, "{}", all.found.len());
    }
}
