//! The store that holds the archive: a folder, or anything that speaks S3.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use driftline_alerts::Withheld;
use futures_util::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    ClientConfigKey, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
    UpdateVersion,
};

use super::file::Identity;
use super::folder;
use crate::config::ArchivePlace;

/// How often the client tries again by itself. What fails after that is counted, said, and tried again by the archiver.
const CLIENT_RETRIES: usize = 2;

/// What is read of a file's end at first: the footers of most files are shorter.
const FOOTER_BYTES: u64 = 64 << 10;

/// An open place.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    store: Arc<dyn ObjectStore>,
    /// Where it is a folder.
    folder: Option<PathBuf>,
    /// What no error may repeat.
    withheld: Withheld,
}

/// How the creation of a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// It is there now.
    New,
    /// Something of that name was there, or is being put by somebody else.
    Exists,
}

/// How a put ended.
#[derive(Debug)]
pub(crate) enum Put {
    /// The file is there, and it is this one.
    Done,
    /// The file that is there is of the same cut, and another run's.
    OtherRun(String),
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
        ArchivePlace::S3 { bucket, .. } => {
            open_bucket(place).map_err(|why| format!("the archive's bucket '{bucket}' cannot be used: {why}"))?
        }
    };
    let folder = match place {
        ArchivePlace::Folder(folder) => Some(folder.clone()),
        ArchivePlace::S3 { .. } => None,
    };
    Ok(Place { store, folder, withheld: withheld(place) })
}

/// Opens what is there already, to read it. A folder must be there; whether a bucket is, its first answer says.
pub(crate) fn open_to_read(place: &ArchivePlace) -> Result<Arc<dyn ObjectStore>, String> {
    match place {
        ArchivePlace::Folder(folder) => {
            LocalFileSystem::new_with_prefix(folder).map(|store| Arc::new(store) as _).map_err(|e| e.to_string())
        }
        ArchivePlace::S3 { .. } => open_bucket(place),
    }
}

/// What is taken out of everything that a place's store says: some repeat what they were sent, and a key's id says whose it is.
pub(crate) fn withheld(place: &ArchivePlace) -> Withheld {
    let mut withheld = Withheld::default();
    let ArchivePlace::S3 { credentials, .. } = place else { return withheld };
    let named = credentials.iter().flat_map(|(key_id, secret)| [key_id, secret]);
    named.filter_map(|source| source.read().ok()).for_each(|secret| withheld.add(secret.reveal()));
    // What the client takes from there by itself.
    let own = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    own.into_iter().filter_map(|name| std::env::var(name).ok()).for_each(|value| withheld.add(&value));
    withheld
}

/// A bucket, or what is under a prefix in one.
fn open_bucket(place: &ArchivePlace) -> Result<Arc<dyn ObjectStore>, String> {
    let ArchivePlace::S3 { bucket, prefix, endpoint, region, credentials, request_timeout } = place else {
        return Err("it is no bucket".to_owned());
    };
    // An error means that it is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let timeout = format!("{} ms", request_timeout.as_millis());
    let retries = RetryConfig { max_retries: CLIENT_RETRIES, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env()
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), timeout)
        .with_retry(retries)
        .with_bucket_name(bucket)
        .with_region(region);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some((key_id, secret)) = credentials {
        builder = builder.with_access_key_id(key_id.read()?.reveal()).with_secret_access_key(secret.read()?.reveal());
    }
    let store = builder.build().map_err(|error| error.to_string())?;
    Ok(if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix.as_str())) })
}

impl Place {
    /// What a store said, for a person to read.
    fn said(&self, error: &object_store::Error) -> String {
        self.withheld.out_of(&error.to_string())
    }

    /// Puts a file under a name that must be free, or hold what this run put there: an answer may be lost on its way, and a
    /// store may answer "exists" to its own success.
    pub(crate) async fn put(&self, path: &str, file: Bytes, identity: &Identity) -> Put {
        if let Err(why) = parsed(path) {
            return Put::Fenced(why);
        }
        match self.create(path, file).await {
            Ok(Created::New) => Put::Done,
            Ok(Created::Exists) => self.compare(path, identity).await,
            Err(why) => Put::Retry(why),
        }
    }

    /// Puts a file where nothing is.
    pub(super) async fn create(&self, path: &str, contents: Bytes) -> Result<Created, String> {
        if let Some(folder) = self.folder.clone() {
            return create_in_folder(folder, path.to_owned(), contents).await;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&parsed(path)?, PutPayload::from(contents), options).await {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(error) => Err(self.said(&error)),
        }
    }

    /// Puts a file, whatever is there.
    async fn replace(&self, path: &str, contents: Bytes) -> Result<(), String> {
        let put = self.store.put(&parsed(path)?, PutPayload::from(contents)).await;
        put.map(|_| ()).map_err(|error| self.said(&error))
    }

    /// Puts a file over what is there, unless somebody else does meanwhile: a put of a run that has died may still be on its
    /// way, and must not go over what a later run wrote.
    pub(super) async fn renew(&self, path: &str, contents: Bytes) -> Result<(), String> {
        if let Some(folder) = self.folder.clone() {
            let (path, replaced) = (path.to_owned(), move |path: String| folder::replace(&folder, &path, &contents));
            let replaced =
                tokio::task::spawn_blocking(move || replaced(path)).await.map_err(|error| error.to_string())?;
            return replaced.map_err(|error| error.to_string());
        }
        let parsed = parsed(path)?;
        let mode = match self.store.get(&parsed).await {
            Ok(found) => {
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                if found.bytes().await.map_err(|error| self.said(&error))? == contents {
                    return Ok(());
                }
                PutMode::Update(version)
            }
            Err(object_store::Error::NotFound { .. }) => PutMode::Create,
            Err(error) => return Err(self.said(&error)),
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&parsed, PutPayload::from(contents.clone()), options).await {
            Ok(_) => Ok(()),
            // A store that knows no 'If-Match' is left to its luck: what is put here is put again when it changes.
            Err(object_store::Error::NotImplemented { .. }) => self.replace(path, contents).await,
            Err(error) => Err(self.said(&error)),
        }
    }

    /// A file's contents; none when there is no such file.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<Bytes>, String> {
        let contents = match self.store.get(&parsed(path)?).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match contents {
            Ok(contents) => Ok(Some(contents)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.said(&error)),
        }
    }

    /// Takes away a file of a cut. What has its name and is of another cut, or of somebody else, is left alone.
    pub(crate) async fn remove(&self, path: &str, collector: &str, cut: (i64, i64)) -> Removed {
        // A name that cannot be was never put.
        let Ok(parsed) = parsed(path) else { return Removed::Gone };
        if let Some(folder) = &self.folder
            && let Err(error) = folder::remove_staged(folder, path)
        {
            return Removed::Retry(error.to_string());
        }
        let is_ours = match self.identity(&parsed).await {
            Ok(found) => found.is_some_and(|found| found.owner.collector == collector && found.cut == cut),
            Err(why) => return Removed::Retry(why),
        };
        if is_ours && let Err(error) = self.store.delete(&parsed).await {
            return Removed::Retry(self.said(&error));
        }
        if let Some(folder) = &self.folder {
            folder::remove_empty(folder, path);
        }
        Removed::Gone
    }

    /// Whose a file is, by its end; none when it is not there, or no file of an archive.
    async fn identity(&self, path: &Path) -> Result<Option<Identity>, String> {
        let mut wanted = FOOTER_BYTES;
        loop {
            let range = Some(GetRange::Suffix(wanted));
            let found = match self.store.get_opts(path, GetOptions { range, ..GetOptions::default() }).await {
                Ok(found) => found,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(self.said(&error)),
            };
            let size = found.meta.size;
            let end = found.bytes().await.map_err(|error| self.said(&error))?;
            match Identity::read_end(&end, size) {
                Ok(identity) => return Ok(identity),
                Err(needed) if needed > end.len() as u64 && needed <= size => wanted = needed,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Takes a file away.
    pub(super) async fn delete(&self, path: &str) -> Result<(), String> {
        match self.store.delete(&parsed(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.said(&error)),
        }
    }

    /// When a file was written, by the store's clock, in microseconds since the Unix epoch.
    pub(super) async fn written_at(&self, path: &str) -> Result<i64, String> {
        let found = self.store.head(&parsed(path)?).await.map_err(|error| self.said(&error))?;
        Ok(found.last_modified.timestamp_micros())
    }

    /// The names of all files in a folder and below.
    ///
    /// # Errors
    /// What the store said.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        Ok(self.sizes(folder).await?.into_iter().map(|(name, _)| name).collect())
    }

    /// The names of all files in a folder and below, and how many bytes each has.
    pub(super) async fn sizes(&self, folder: &str) -> Result<Vec<(String, u64)>, String> {
        let folder = parsed(folder)?;
        let mut listing = self.store.list(Some(&folder));
        let mut files = Vec::new();
        while let Some(found) = listing.next().await {
            let found = found.map_err(|error| self.said(&error))?;
            files.push((found.location.to_string(), found.size));
        }
        Ok(files)
    }

    async fn compare(&self, path: &str, identity: &Identity) -> Put {
        match self.read(path).await {
            Ok(Some(file)) => match Identity::read(file) {
                Some(found) if found == *identity => Put::Done,
                Some(found) if found.owner.collector == identity.owner.collector && found.cut == identity.cut => {
                    Put::OtherRun(exists(path, Some(found)))
                }
                found => Put::Fenced(exists(path, found)),
            },
            // It was somebody's conflict, and nobody's file.
            Ok(None) => Put::Retry(format!("the store says that {path} exists, and has no such file")),
            Err(why) => Put::Retry(why),
        }
    }
}

async fn create_in_folder(root: PathBuf, path: String, contents: Bytes) -> Result<Created, String> {
    let created = tokio::task::spawn_blocking(move || folder::create(&root, &path, &contents)).await;
    match created.map_err(|error| error.to_string())? {
        Ok(()) => Ok(Created::New),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Created::Exists),
        Err(error) => Err(error.to_string()),
    }
}

fn exists(path: &str, found: Option<Identity>) -> String {
    format!("{path} exists already, and is of {found:?}")
}

/// Names are escaped already; to escape them once more would give them another name than is listed.
fn parsed(path: &str) -> Result<Path, String> {
    Path::parse(path).map_err(|error| format!("{path} is no name of a file: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::file;
    use crate::archive::owner::Owner;

    fn identity(collector: &str) -> Identity {
        Identity { owner: Owner { collector: collector.into(), run: "1".into() }, cut: (1, 2), rows: 0 }
    }

    fn contents(collector: &str) -> Bytes {
        let time: arrow_array::ArrayRef =
            Arc::new(arrow_array::TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC"));
        let batch = arrow_array::RecordBatch::try_from_iter([("event_time", time)]).unwrap();
        file::build(vec![batch], &identity(collector)).unwrap()
    }

    #[tokio::test]
    async fn a_file_is_put_once_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let place = open(&ArchivePlace::Folder(folder.path().join("archive"))).unwrap();
        let path = "model=m/version=1/date=2013-01-01/a.parquet";
        assert!(matches!(place.put(path, contents("one"), &identity("one")).await, Put::Done));
        assert!(matches!(place.put(path, contents("one"), &identity("one")).await, Put::Done), "again: it is ours");
        assert!(matches!(place.put(path, contents("two"), &identity("two")).await, Put::Fenced(_)));
        // A collector on a copy of the database: its cut may have other rows, and as many.
        let mut copy = identity("one");
        copy.owner.run = "2".into();
        assert!(matches!(place.put(path, contents("one"), &copy).await, Put::OtherRun(_)));
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
