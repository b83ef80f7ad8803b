//! What the configuration says of the archive.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_alerts::SecretSource;
use driftline_document::Section;

use super::alerting::secret;

/// Where rows are archived, and how.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Where.
    pub place: ArchivePlace,
    /// How finely rows are laid in folders by their event time.
    pub partition: Partition,
    /// A row is in a file after this long at the latest.
    pub max_age: Duration,
    /// An archive that is further behind does not keep up.
    pub max_lag: Duration,
    /// Rows that make a cut before its time.
    pub max_rows: u64,
    /// Bytes in memory that make a cut before its time.
    pub max_bytes: u64,
    /// Files whose age is past this are deleted; none is, unless given.
    pub retention: Option<Duration>,
    /// Whether each version of a model is a table of Delta Lake, too.
    pub delta: bool,
}

/// Where files lie: the archive's, or those of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchivePlace {
    /// In a folder.
    Folder(PathBuf),
    /// In an S3 bucket, or one of a store that speaks S3.
    S3 {
        /// The bucket.
        bucket: String,
        /// What comes before every name; may be empty.
        prefix: String,
        /// The store's address, if it is not AWS.
        endpoint: Option<String>,
        /// The region.
        region: String,
        /// Key id and secret key; without them the machine's own identity is used.
        credentials: Option<(SecretSource, SecretSource)>,
        /// How long one request may take. It is asked again then, and may have been done all the same.
        request_timeout: Duration,
    },
}

impl std::fmt::Display for ArchivePlace {
    /// As people call it: a folder's path, or `s3://bucket/prefix`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::S3 { bucket, prefix, .. } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// How finely rows are laid in folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// `date=…/hour=…`.
    Hour,
    /// `date=…`.
    Day,
}

impl Partition {
    const CHOICES: [(&'static str, Self); 2] = [("hour", Self::Hour), ("day", Self::Day)];

    /// The name by which configuration and database know it.
    pub(crate) fn name(self) -> &'static str {
        Self::CHOICES.iter().find(|(_, partition)| *partition == self).map_or("hour", |(name, _)| name)
    }

    /// The partition of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::CHOICES.iter().find(|(own, _)| *own == name).map(|(_, partition)| *partition)
    }
}

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);
/// Ages that an archive may be behind: one is the rule, a second is a slow file, a third is none of both.
const DEFAULT_MAX_LAG_AGES: u32 = 3;
/// A store may be away for so long without anybody hearing of it, however young files are.
const SHORTEST_DEFAULT_MAX_LAG: Duration = Duration::from_secs(60);
/// Short rows: those of a dozen features.
const DEFAULT_MAX_ROWS: u64 = 250_000;
/// About 85,000 rows of 30 features. As much again is held by the file that is being made meanwhile, and four times as much when
/// files are made slower than rows come, as on cores that are all in use.
const DEFAULT_MAX_BYTES: u64 = 32 << 20;
/// A file of a hundred megabytes takes minutes on a slow line, and one that is broken off is sent again from its beginning.
pub(crate) const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
const RETENTIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(36_500 * 86_400);

pub(super) fn archive(section: Option<Section<'_>>, data_dir: &Path, folder: &Path) -> Archive {
    let mut archive = Archive {
        place: ArchivePlace::Folder(data_dir.join("archive")),
        partition: Partition::Hour,
        max_age: DEFAULT_MAX_AGE,
        max_lag: DEFAULT_MAX_AGE * DEFAULT_MAX_LAG_AGES,
        max_rows: DEFAULT_MAX_ROWS,
        max_bytes: DEFAULT_MAX_BYTES,
        retention: None,
        delta: false,
    };
    let Some(mut section) = section else { return archive };
    if section.has("folder") && section.has("s3") {
        section.problem("has both 'folder' and 's3'; rows are archived in one place");
    }
    if let Some(place) = section.optional("folder").and_then(|node| Some(folder.join(node.text()?))) {
        archive.place = ArchivePlace::Folder(place);
    }
    let bucket = section.optional("s3").and_then(|node| node.section());
    if let Some(place) = bucket.and_then(|section| s3(section, folder, DEFAULT_REQUEST_TIMEOUT)) {
        archive.place = place;
    }
    let partition = section.optional("partition");
    let partition = partition.and_then(|node| node.one_of(&Partition::CHOICES));
    archive.partition = partition.unwrap_or(archive.partition);
    let ages = Duration::from_millis(100)..=Duration::from_secs(86_400);
    let max_age = section.optional("max_age").and_then(|node| node.duration(ages));
    archive.max_age = max_age.unwrap_or(archive.max_age);
    let lags = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);
    let max_lag = section.optional("max_lag").and_then(|node| node.duration(lags));
    let usual = (archive.max_age * DEFAULT_MAX_LAG_AGES).max(SHORTEST_DEFAULT_MAX_LAG);
    archive.max_lag = max_lag.unwrap_or(usual);
    if archive.max_lag < archive.max_age {
        section.problem("'max_lag' is shorter than 'max_age': an archive that does as it is told would be behind");
    }
    let max_rows = section.optional("max_rows").and_then(|node| node.integer(1..=10_000_000));
    archive.max_rows = max_rows.unwrap_or(archive.max_rows);
    let max_bytes = section.optional("max_bytes").and_then(|node| node.integer(1 << 20..=1 << 32));
    archive.max_bytes = max_bytes.unwrap_or(archive.max_bytes);
    archive.retention = section.optional("retention").and_then(|node| node.duration(RETENTIONS));
    archive.delta = section.optional("delta").and_then(|node| node.boolean()).unwrap_or(archive.delta);
    archive
}

/// A bucket; of its requests, how long one may take that the section does not limit.
pub(super) fn s3(mut section: Section<'_>, folder: &Path, usual_timeout: Duration) -> Option<ArchivePlace> {
    let bucket = section.required("bucket").and_then(|node| Some(node.text()?.to_owned()));
    let prefix = section.optional("prefix").and_then(|node| Some(node.text()?.trim_matches('/').to_owned()));
    let endpoint = section.optional("endpoint").and_then(|node| {
        node.parsed("a URL with http:// or https://", |text| {
            (text.starts_with("http://") || text.starts_with("https://")).then(|| text.to_owned())
        })
    });
    let region = section.optional("region").and_then(|node| Some(node.text()?.to_owned()));
    let key_id = section.optional("access_key_id").and_then(|node| secret(&node, folder));
    let secret_key = section.optional("secret_access_key").and_then(|node| secret(&node, folder));
    if key_id.is_some() != secret_key.is_some() {
        section.problem("'access_key_id' and 'secret_access_key' go together");
    }
    let timeouts = Duration::from_secs(1)..=Duration::from_secs(3600);
    let request_timeout = section.optional("request_timeout").and_then(|node| node.duration(timeouts));
    Some(ArchivePlace::S3 {
        bucket: bucket?,
        prefix: prefix.unwrap_or_default(),
        endpoint,
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        credentials: key_id.zip(secret_key),
        request_timeout: request_timeout.unwrap_or(usual_timeout),
    })
}
