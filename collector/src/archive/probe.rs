//! Whether a place does what the archive rests on, tried with a small file that is taken away again.

use std::time::{Duration, Instant};

use super::owner;
use super::place::{Created, Place};

/// What was found at a place.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// Whether a conditional put leaves alone what is there.
    pub(crate) keeps_what_is_there: bool,
    /// Identity of the collector whose archive it is.
    pub(crate) owner: Option<String>,
    /// How long writing, reading and taking away took.
    pub(crate) took: Duration,
    /// When the file was written, by the store's own clock, in microseconds since the Unix epoch.
    pub(crate) written_at: i64,
}

/// Tries a place.
///
/// # Errors
/// What the store said.
pub(crate) async fn probe(place: &Place) -> Result<Probe, String> {
    let begun = Instant::now();
    let path = format!("{}/probe-{}", owner::OWN_FOLDER, uuid::Uuid::now_v7().simple());
    let tried = try_out(place, &path).await;
    // Whatever became of it, it does not stay.
    let removed = place.delete(&path).await;
    let (keeps_what_is_there, written_at) = tried?;
    removed?;
    let took = begun.elapsed();
    let owner = owner::collector_of(place).await?;
    Ok(Probe { keeps_what_is_there, owner, took, written_at })
}

async fn try_out(place: &Place, path: &str) -> Result<(bool, i64), String> {
    if place.create(path, "first".into()).await? == Created::Exists {
        return Err(format!("{path} is new, and the store says that it exists"));
    }
    let is_kept = place.create(path, "second".into()).await? == Created::Exists;
    match place.read(path).await? {
        Some(contents) if contents == "first" || contents == "second" => {}
        Some(_) => return Err(format!("{path} reads otherwise than it was written")),
        None => return Err(format!("{path} was written, and is not there")),
    }
    Ok((is_kept, place.written_at(path).await?))
}

#[cfg(test)]
mod tests {
    use super::super::place;
    use super::*;
    use crate::config::ArchivePlace;
    use crate::times::now_micros;

    #[tokio::test]
    async fn a_folder_keeps_what_is_there_and_nothing_of_the_probe() {
        let folder = tempfile::tempdir().unwrap();
        let place = place::open(&ArchivePlace::Folder(folder.path().to_owned())).unwrap();
        let probed = probe(&place).await.unwrap();
        assert!(probed.keeps_what_is_there && probed.owner.is_none());
        assert!((now_micros() - probed.written_at).abs() < 60_000_000);
        assert_eq!(place.list(owner::OWN_FOLDER).await.unwrap(), [] as [&str; 0]);
    }
}
