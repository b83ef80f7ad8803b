//! What the configuration says of feeds: files of others that must keep coming.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use driftline_document::{Node, Section, in_units};

use super::storage::{ArchivePlace, s3};

/// Files under a prefix or in a folder, of which the newest must not be too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// By which alerts and metrics know it.
    pub name: String,
    /// Where its files lie.
    pub place: ArchivePlace,
    /// Only files whose names end so count; all of them unless given.
    pub suffix: String,
    /// How often it is listed.
    pub every: Duration,
    /// How old its newest file may be.
    pub max_age: Duration,
    /// The columns that are computed from it; empty where nobody says which.
    pub columns: BTreeSet<String>,
}

/// Feeds of one model. Each is a listing at its pace and a row in every look.
const MAX_FEEDS: usize = 20;
/// A feed that is late by hours need not be asked for by the second; who pays for each listing sets more.
const DEFAULT_EVERY: Duration = Duration::from_secs(60);
const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const MAX_AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
/// A page of a listing is short. What takes longer is tried again with the next listing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Columns of one feed: as many as one alert keeps apart.
const MAX_COLUMNS: usize = driftline_alerts::MAX_MEMBERS;
const MAX_COLUMN_BYTES: usize = 500;

pub(super) fn feeds(node: &Node<'_>, folder: &Path) -> Vec<Feed> {
    let nodes = node.list().unwrap_or_default();
    if nodes.len() > MAX_FEEDS {
        node.problem(format!("has {} feeds; a model may have {MAX_FEEDS}", nodes.len()));
    }
    let mut feeds: Vec<Feed> = Vec::new();
    for node in nodes {
        let Some(feed) = node.section().and_then(|section| feed(section, folder)) else { continue };
        if feeds.iter().any(|other| other.name == feed.name) {
            node.problem(format!("there is another feed '{}'", feed.name));
        }
        feeds.push(feed);
    }
    feeds
}

fn feed(mut section: Section<'_>, folder: &Path) -> Option<Feed> {
    let name = section.required("name").and_then(|node| {
        node.parsed("up to 100 letters, digits, '-', '_' and '.'", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (!text.is_empty() && text.len() <= 100 && text.bytes().all(plain)).then(|| text.to_owned())
        })
    });
    let in_folder = section.optional("folder").and_then(|node| Some(ArchivePlace::Folder(folder.join(node.text()?))));
    let in_bucket = section.optional("s3").and_then(|node| node.section());
    let in_bucket = in_bucket.and_then(|section| s3(section, folder, REQUEST_TIMEOUT));
    let place = match (in_folder, in_bucket) {
        (Some(place), None) | (None, Some(place)) => Some(place),
        (Some(_), Some(_)) => {
            section.problem("has both 'folder' and 's3'; a feed lies in one place");
            None
        }
        (None, None) if section.has("folder") || section.has("s3") => None,
        (None, None) => {
            section.problem("needs a 'folder' or an 's3' where its files lie");
            None
        }
    };
    let suffix = section.optional("suffix").and_then(|node| Some(node.text()?.to_owned()));
    let every = section.optional("every").and_then(|node| node.duration(EVERY));
    let max_age = section.required("max_age").and_then(|node| node.duration(MAX_AGES))?;
    let columns = section.optional("columns").map(|node| columns(&node)).unwrap_or_default();
    let every = every.unwrap_or(DEFAULT_EVERY.min(max_age));
    if every > max_age {
        section.problem(format!(
            "is listed every {}, and its files may be {} old: it would be stale before anybody looks",
            in_units(every),
            in_units(max_age)
        ));
    }
    Some(Feed { name: name?, place: place?, suffix: suffix.unwrap_or_default(), every, max_age, columns })
}

/// The columns that a feed names. Which a model has nobody knows before its rows come.
fn columns(node: &Node<'_>) -> BTreeSet<String> {
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() || nodes.len() > MAX_COLUMNS {
        node.problem(format!(
            "has {} columns; name 1 to {MAX_COLUMNS}, or leave 'columns' out where nobody knows them",
            nodes.len()
        ));
    }
    let mut columns = BTreeSet::new();
    for node in nodes {
        let column = node.parsed(&format!("a column's name, of 1 to {MAX_COLUMN_BYTES} bytes"), |text| {
            (1..=MAX_COLUMN_BYTES).contains(&text.len()).then(|| text.to_owned())
        });
        let Some(column) = column else { continue };
        if columns.contains(&column) {
            node.problem(format!("names the column '{column}' twice"));
        }
        columns.insert(column);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn parse(feeds: &str) -> Result<Vec<Feed>, String> {
        let yaml = format!("models: [{{name: m, slis: {{feeds: [{feeds}]}}}}]");
        let config = parsed(&yaml)?;
        Ok(config.models[0].slis.feeds.clone())
    }

    #[test]
    fn a_feed_lies_in_a_folder_or_a_bucket() {
        let feeds = parse("{name: a, folder: in, max_age: 2h}, {name: b, s3: {bucket: x, prefix: y/}, max_age: 30s}");
        let [a, b] = &feeds.unwrap()[..] else { panic!() };
        assert_eq!((a.place.to_string().as_str(), a.every), ("/etc/in", DEFAULT_EVERY));
        assert_eq!((b.place.to_string().as_str(), b.every), ("s3://x/y", Duration::from_secs(30)));
        let ArchivePlace::S3 { request_timeout, .. } = &b.place else { panic!() };
        assert_eq!(*request_timeout, REQUEST_TIMEOUT);
        let feeds =
            parse("{name: a, folder: in, max_age: 2h, columns: [fuel, fare]}, {name: b, folder: in, max_age: 2h}");
        let columns: Vec<Vec<String>> =
            feeds.unwrap().into_iter().map(|feed| feed.columns.into_iter().collect()).collect();
        assert_eq!(columns, [vec!["fare".to_owned(), "fuel".to_owned()], vec![]]);
    }

    #[test]
    fn what_cannot_be_watched_is_refused() {
        let feed = "{name: a, folder: in, max_age: 2h}";
        for (feeds, says) in [
            ("{name: a, max_age: 2h}".to_owned(), "needs a 'folder' or an 's3'"),
            ("{name: a, folder: in, s3: {bucket: x}, max_age: 2h}".to_owned(), "a feed lies in one place"),
            ("{name: a, folder: in}".to_owned(), "max_age"),
            ("{name: a, folder: in, max_age: 2m, every: 10m}".to_owned(), "stale before anybody looks"),
            ("{name: 'a b', folder: in, max_age: 2m}".to_owned(), "up to 100 letters"),
            (
                "{name: a, folder: in, max_age: 2h, columns: [fare, fuel, fare]}".to_owned(),
                "names the column 'fare' twice",
            ),
            ("{name: a, folder: in, max_age: 2h, columns: []}".to_owned(), "has 0 columns; name 1 to 1000"),
            ("{name: a, folder: in, max_age: 2h, columns: ['']}".to_owned(), "a column's name, of 1 to 500 bytes"),
            (format!("{{name: a, folder: in, max_age: 2h, columns: [{}]}}", "x".repeat(501)), "of 1 to 500 bytes"),
            (
                format!("{{name: a, folder: in, max_age: 2h, columns: [{}]}}", vec!["x"; 1001].join(", ")),
                "has 1001 columns",
            ),
            ("{name: a, folder: in, max_age: 2h, columns: fare}".to_owned(), "a list"),
            (format!("{feed}, {feed}"), "there is another feed 'a'"),
            (vec![feed; 21].join(", "), "a model may have 20"),
        ] {
            let error = parse(&feeds).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
