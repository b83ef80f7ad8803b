//! Whose archive a place is.
//!
//! Two collectors at one place would mix their rows, and nobody could tell them apart. So the first one leaves a marker,
//! and another is refused. A marker names the run as well: of two collectors on copies of one database, the one that was
//! started last archives, and the other finds out at its next cut.
//!
//! The marker also shows whether the store keeps to what the archive rests on: that a conditional put never goes over what
//! is there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::place::{Created, Place};

/// What a collector keeps for itself at a place. Engines leave out what begins with an underscore.
pub(super) const OWN_FOLDER: &str = "_driftline";
const MARKER: &str = "_driftline/owner.json";

/// A run of a collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Identity of its database.
    pub(crate) collector: String,
    /// Another at every start.
    pub(crate) run: String,
}

impl Owner {
    /// This run of the collector with that database.
    pub(super) fn of_this_run(collector: &str) -> Self {
        Self { collector: collector.to_owned(), run: uuid::Uuid::now_v7().simple().to_string() }
    }

    fn text(&self) -> Bytes {
        // Two texts always are JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// Why nothing may be put at a place.
#[derive(Debug)]
pub(super) enum NotOurs {
    /// A person must act.
    Refused(String),
    /// It cannot be told now.
    Retry(String),
}

impl From<String> for NotOurs {
    fn from(why: String) -> Self {
        Self::Retry(why)
    }
}

/// Makes a place this run's, unless it is another collector's.
pub(super) async fn claim(place: &Place, owner: &Owner) -> Result<(), NotOurs> {
    match found(place).await? {
        Some(found) if found == *owner => {}
        // Not over what is there by then: the claim of a run that has died may still be on its way.
        Some(found) if found.collector == owner.collector => place.renew(MARKER, owner.text()).await?,
        Some(found) => return Err(refused(&found, owner)),
        None => match place.create(MARKER, owner.text()).await? {
            Created::New => {}
            Created::Exists => return Err(NotOurs::Retry(format!("somebody else is putting {MARKER}"))),
        },
    }
    match place.create(MARKER, owner.text()).await? {
        Created::Exists => match found(place).await? {
            Some(found) if found == *owner => Ok(()),
            Some(found) => Err(refused(&found, owner)),
            None => Err(NotOurs::Retry(format!("{MARKER} was taken away"))),
        },
        Created::New => Err(NotOurs::Refused(format!(
            "the archive's store put {MARKER} over the one that was there: it does not honour 'If-None-Match: *', and rows could be lost or doubled; use a store that does, as S3 itself"
        ))),
    }
}

/// Whether a place that was claimed still is this run's. A marker that was taken away is put back: whoever hands a place
/// on stops its collector first.
pub(super) async fn keep(place: &Place, owner: &Owner) -> Result<(), NotOurs> {
    match found(place).await? {
        Some(found) if found == *owner => Ok(()),
        Some(found) => Err(refused(&found, owner)),
        None => claim(place, owner).await,
    }
}

/// Identity of the collector that a place belongs to, if it belongs to one.
pub(super) async fn collector_of(place: &Place) -> Result<Option<String>, String> {
    match found(place).await {
        Ok(owner) => Ok(owner.map(|owner| owner.collector)),
        Err(NotOurs::Refused(why) | NotOurs::Retry(why)) => Err(why),
    }
}

async fn found(place: &Place) -> Result<Option<Owner>, NotOurs> {
    let Some(text) = place.read(MARKER).await? else { return Ok(None) };
    let owner = serde_json::from_slice(&text);
    owner.map(Some).map_err(|error| {
        NotOurs::Refused(format!("{MARKER} in the archive is not a collector's: {error}; archive in another place"))
    })
}

fn refused(found: &Owner, owner: &Owner) -> NotOurs {
    NotOurs::Refused(if found.collector == owner.collector {
        format!(
            "a collector on a copy of this data_dir archives at the same place since (collector {}); stop one of them",
            found.collector
        )
    } else {
        format!(
            "the archive is collector {}'s, and this is {}: their rows would be mixed. Give each its own folder or prefix; if the other is gone for good, delete {MARKER} there, and start this one again",
            found.collector, owner.collector
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::place;
    use super::*;
    use crate::config::ArchivePlace;

    fn owner(collector: &str, run: &str) -> Owner {
        Owner { collector: collector.into(), run: run.into() }
    }

    #[tokio::test]
    async fn a_place_is_one_collectors_and_its_last_runs() {
        let folder = tempfile::tempdir().unwrap();
        let place = place::open(&ArchivePlace::Folder(folder.path().to_owned())).unwrap();
        let (first, second) = (owner("a", "1"), owner("a", "2"));
        claim(&place, &first).await.unwrap();
        claim(&place, &first).await.unwrap();
        let Err(NotOurs::Refused(why)) = claim(&place, &owner("b", "1")).await else { panic!("it is a's") };
        assert!(why.contains("collector a's, and this is b"), "{why}");
        keep(&place, &first).await.unwrap();
        claim(&place, &second).await.unwrap();
        let Err(NotOurs::Refused(why)) = keep(&place, &first).await else { panic!("another run has it") };
        assert!(why.contains("copy of this data_dir"), "{why}");
        // Somebody hands the place on.
        std::fs::remove_file(folder.path().join(MARKER)).unwrap();
        claim(&place, &owner("b", "1")).await.unwrap();
        std::fs::write(folder.path().join(MARKER), "no JSON").unwrap();
        assert!(matches!(claim(&place, &second).await, Err(NotOurs::Refused(_))));
    }
}
