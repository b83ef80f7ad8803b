//! One look at a feed's files: which of them is the newest.

use std::sync::Arc;

use driftline_alerts::Withheld;
use futures_util::StreamExt;
use object_store::{Error, ObjectStore};

use super::NewestFile;
use crate::archive::place::{open_to_read, withheld};
use crate::config::{ArchivePlace, Feed};

/// Files that one listing goes through: fifty requests to S3, which cost a quarter of a tenth of a cent.
const MAX_FILES: usize = 50_000;
/// A file from further ahead says nothing of how old the feed is: its writer's clock is wrong, and it would hide for good that no
/// others come. Clocks differ by less.
const CLOCK_TOLERANCE_MICROS: i64 = 60_000_000;

/// What a listing found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// The newest of those that count.
    pub(super) newest: Option<NewestFile>,
    /// Why not all of them were seen.
    pub(super) trouble: Option<String>,
}

/// Goes through a feed's files as they are at a time.
pub(super) async fn list(feed: Arc<Feed>, now: i64) -> Listed {
    let withheld = withheld(&feed.place);
    match open_to_read(&feed.place) {
        Ok(store) => newest_of(&*store, (&feed, &withheld), now).await,
        Err(why) => Listed { newest: None, trouble: Some(in_words(&feed.place, &withheld.out_of(&why))) },
    }
}

async fn newest_of(store: &dyn ObjectStore, (feed, withheld): (&Feed, &Withheld), now: i64) -> Listed {
    let mut listing = store.list(None).take(MAX_FILES + 1).enumerate();
    let mut newest: Option<NewestFile> = None;
    while let Some((index, found)) = listing.next().await {
        if index == MAX_FILES {
            let trouble =
                format!("it has more than {MAX_FILES} files; name a prefix with fewer, or let old ones expire");
            return Listed { newest, trouble: Some(trouble) };
        }
        let found = match found {
            Ok(found) => found,
            // It was taken away while the others were listed.
            Err(Error::NotFound { .. }) if matches!(feed.place, ArchivePlace::Folder(_)) => continue,
            Err(error) => {
                let why = withheld.out_of(&error.to_string());
                return Listed { newest, trouble: Some(in_words(&feed.place, &why)) };
            }
        };
        let written_at = found.last_modified.timestamp_micros();
        let counts =
            found.location.as_ref().ends_with(&feed.suffix) && written_at <= now.saturating_add(CLOCK_TOLERANCE_MICROS);
        if counts && newest.as_ref().is_none_or(|newest| newest.written_at < written_at) {
            newest = Some(NewestFile { name: found.location.to_string(), written_at });
        }
    }
    Listed { newest, trouble: None }
}

/// A store's words, with the remedy that its kind has.
fn in_words(place: &ArchivePlace, why: &str) -> String {
    let remedy = match place {
        ArchivePlace::Folder(_) => "the collector must be able to read the folder and all below it",
        ArchivePlace::S3 { .. } => "the collector needs the right to list the bucket (s3:ListBucket), and a way to it",
    };
    // What stores say is long, and may have several lines.
    let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_WORDS_CHARS).collect();
    format!("{why}; {remedy}")
}

/// Of a store's own words.
const MAX_WORDS_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const HOUR: u64 = 3600;

    fn feed(folder: &Path, suffix: &str) -> Arc<Feed> {
        Arc::new(Feed {
            name: "weather".into(),
            place: ArchivePlace::Folder(folder.to_owned()),
            suffix: suffix.into(),
            every: Duration::from_secs(60),
            max_age: Duration::from_secs(60),
            columns: Default::default(),
        })
    }

    fn write(folder: &Path, name: &str, hour: u64) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(hour * HOUR)).unwrap();
    }

    async fn newest(folder: &Path, suffix: &str, hour: i64) -> Option<(String, i64)> {
        let listed = list(feed(folder, suffix), hour * 3_600_000_000).await;
        assert_eq!(listed.trouble, None);
        listed.newest.map(|newest| (newest.name, newest.written_at / 3_600_000_000))
    }

    #[tokio::test]
    async fn the_newest_file_counts_that_is_of_its_kind_and_not_from_the_future() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path(), "", 9).await, None);
        for (name, hour) in [("date=1/a.parquet", 5), ("date=2/b.parquet", 7), ("c.parquet", 6), ("_SUCCESS", 8)] {
            write(folder.path(), name, hour);
        }
        write(folder.path(), "d.parquet", 400_000);
        assert_eq!(newest(folder.path(), ".parquet", 9).await, Some(("date=2/b.parquet".into(), 7)));
        assert_eq!(newest(folder.path(), "", 9).await, Some(("_SUCCESS".into(), 8)));
        assert_eq!(newest(folder.path(), ".csv", 9).await, None);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_trouble_and_not_empty() {
        let folder = tempfile::tempdir().unwrap();
        let Listed { newest, trouble } = list(feed(&folder.path().join("gone"), ""), 0).await;
        assert_eq!(newest, None);
        assert!(trouble.unwrap().contains("must be able to read the folder"));
    }

    #[tokio::test]
    async fn a_feed_of_too_many_files_is_listed_to_its_bound() {
        use object_store::memory::InMemory;
        use object_store::{ObjectStoreExt, PutPayload};

        let store = InMemory::new();
        for index in 0..=MAX_FILES {
            store.put(&format!("{index}").into(), PutPayload::new()).await.unwrap();
        }
        let listed = newest_of(&store, (&feed(Path::new(""), ""), &Withheld::default()), i64::MAX).await;
        assert!(listed.newest.is_some() && listed.trouble.unwrap().contains("more than 50000 files"));
    }
}
