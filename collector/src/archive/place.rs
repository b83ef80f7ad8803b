//! The store that holds the archive: a folder, or anything that speaks S3.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::file::Identity;
use crate::config::ArchivePlace;

/// An open place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    store: Arc<dyn ObjectStore>,
}

/// How a put ended.
#[derive(Debug)]
pub(crate) enum Put {
    /// The file is there, and it is this one.
    Done,
    /// Somebody else's file has this name.
    Fenced(String),
    /// Not now.
    Retry(String),
}

/// How a removal ended.
#[derive(Debug)]
pub(crate) enum Removed {
    /// Nothing of this cut has the name any more.
    Gone,
    /// Not now.
    Retry(String),
}

/// Opens the place.
pub(crate) fn open(place: &ArchivePlace) -> Result<Place, String> {
    let store: Arc<dyn ObjectStore> = match place {
        ArchivePlace::Folder(folder) => {
            let error = |error: &dyn std::fmt::Display| {
                format!("the archive's folder {} cannot be used: {error}", folder.display())
            };
            std::fs::create_dir_all(folder).map_err(|e| error(&e))?;
            Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(|e| error(&e))?.with_fsync(true))
        }
        ArchivePlace::S3 { bucket, prefix, endpoint, region, credentials } => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_region(region);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
            }
            if let Some((key_id, secret)) = credentials {
                builder =
                    builder.with_access_key_id(key_id.read()?.reveal()).with_secret_access_key(secret.read()?.reveal());
            }
            let store =
                builder.build().map_err(|error| format!("the archive's bucket '{bucket}' cannot be used: {error}"))?;
            if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix.as_str())) }
        }
    };
    Ok(Place { store })
}

impl Place {
    /// Puts a file under a name that must be free, or hold the same cut already: an answer may be lost on its way, and a
    /// store may answer "exists" to its own success.
    pub(crate) async fn put(&self, path: &str, file: Bytes, identity: &Identity) -> Put {
        let path = match parsed(path) {
            Ok(path) => path,
            Err(why) => return Put::Fenced(why),
        };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, PutPayload::from(file), options).await {
            Ok(_) => Put::Done,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                self.compare(&path, identity).await
            }
            Err(error) => Put::Retry(error.to_string()),
        }
    }

    /// Takes away a file of a cut. What has its name and is of another cut, or of somebody else, is left alone.
    pub(crate) async fn remove(&self, path: &str, collector: &str, cut: (i64, i64)) -> Removed {
        // A name that cannot be was never put.
        let Ok(path) = parsed(path) else { return Removed::Gone };
        let found = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let is_ours = match found {
            Ok(file) => Identity::read(file).is_some_and(|found| found.collector == collector && found.cut == cut),
            Err(object_store::Error::NotFound { .. }) => false,
            Err(error) => return Removed::Retry(error.to_string()),
        };
        if is_ours && let Err(error) = self.store.delete(&path).await {
            return Removed::Retry(error.to_string());
        }
        Removed::Gone
    }

    /// The names of all files in a folder and below.
    ///
    /// # Errors
    /// What the store said.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let folder = parsed(folder)?;
        let mut listing = self.store.list(Some(&folder));
        let mut names = Vec::new();
        while let Some(found) = listing.next().await {
            names.push(found.map_err(|error| error.to_string())?.location.to_string());
        }
        Ok(names)
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// What the store said.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, String> {
        let found = self.store.get(&parsed(path)?).await.map_err(|error| error.to_string())?;
        found.bytes().await.map_err(|error| error.to_string())
    }

    async fn compare(&self, path: &Path, identity: &Identity) -> Put {
        let file = match self.store.get(path).await {
            Ok(found) => found.bytes().await,
            // It was somebody's conflict, and nobody's file.
            Err(error) => return Put::Retry(error.to_string()),
        };
        match file {
            Ok(file) => match Identity::read(file) {
                Some(found) if found == *identity => Put::Done,
                found => Put::Fenced(format!("{path} exists already, and is of {found:?}")),
            },
            Err(error) => Put::Retry(error.to_string()),
        }
    }
}

/// Names are escaped already; to escape them once more would give them another name than is listed.
fn parsed(path: &str) -> Result<Path, String> {
    Path::parse(path).map_err(|error| format!("{path} is no name of a file: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::file;

    fn identity(collector: &str) -> Identity {
        Identity { collector: collector.into(), cut: (1, 2), rows: 0 }
    }

    fn contents(collector: &str) -> Bytes {
        let time: arrow_array::ArrayRef =
            Arc::new(arrow_array::TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC"));
        let batch = arrow_array::RecordBatch::try_from_iter([("event_time", time)]).unwrap();
        file::build(&[batch], &identity(collector)).unwrap()
    }

    #[tokio::test]
    async fn a_file_is_put_once_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let place = open(&ArchivePlace::Folder(folder.path().join("archive"))).unwrap();
        let path = "model=m/version=1/date=2013-01-01/a.parquet";
        assert!(matches!(place.put(path, contents("one"), &identity("one")).await, Put::Done));
        assert!(matches!(place.put(path, contents("one"), &identity("one")).await, Put::Done), "again: it is ours");
        assert!(matches!(place.put(path, contents("two"), &identity("two")).await, Put::Fenced(_)));
        let stored = std::fs::read(folder.path().join("archive").join(path)).unwrap();
        assert_eq!(Identity::read(stored.into()), Some(identity("one")));
    }

    #[tokio::test]
    async fn a_file_has_the_name_that_is_listed_whatever_the_version_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let place = open(&ArchivePlace::Folder(folder.path().to_owned())).unwrap();
        let path = "model=m/version=a%20b%2Fc/date=2013-01-01/a.parquet";
        assert!(matches!(place.put(path, contents("one"), &identity("one")).await, Put::Done));
        assert!(folder.path().join(path).is_file());
        assert!(matches!(place.remove(path, "two", (1, 2)).await, Removed::Gone));
        assert!(folder.path().join(path).is_file(), "somebody else's file is left alone");
        assert!(matches!(place.remove(path, "one", (1, 2)).await, Removed::Gone));
        assert!(!folder.path().join(path).is_file());
        assert!(matches!(place.remove(path, "one", (1, 2)).await, Removed::Gone), "gone already");
    }
}
