//! Whether manifests name the files that are there.
//!
//! An archive may be years long: of each model the newest days are looked at, and in them the folders of the versions that a
//! manifest names. Manifests are read before files are listed, so a file that no manifest names is newer than what was read;
//! one that is named and not there is gone, unless it grew too old meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::super::layout;
use super::super::place::Place;
use super::manifest;

/// Days of a model that are looked at, back from its newest.
pub(crate) const DAYS: usize = 7;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    /// Models that have manifests.
    pub(crate) models: usize,
    /// Files that manifests name.
    pub(crate) named: u64,
    /// Those of them that are not there.
    pub(crate) gone: Vec<String>,
    /// Those of them that have another size.
    pub(crate) changed: Vec<String>,
    /// Files beside them that no manifest names.
    pub(crate) unnamed: u64,
}

#[derive(Debug, Deserialize)]
struct Index {
    models: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    model: String,
    #[serde(deserialize_with = "date")]
    first_date: Date,
    #[serde(deserialize_with = "date")]
    last_date: Date,
}

/// What is read of a file's line.
#[derive(Debug, Deserialize)]
struct Line {
    path: String,
    version: String,
    bytes: u64,
}

/// Holds a place's manifests against its files. None where there are no manifests.
///
/// # Errors
/// What the store said; or which manifest is none.
pub(crate) async fn of(place: &Place) -> Result<Option<Agreement>, String> {
    let Some(index) = place.read(manifest::INDEX).await? else { return Ok(None) };
    let index: Index = parsed(manifest::INDEX, &index)?;
    let mut found = Agreement { models: index.models.len(), ..Agreement::default() };
    for Model { model, first_date, last_date } in index.models {
        let days = std::iter::successors(Some(last_date), |date| date.yesterday().ok());
        for date in days.take_while(|date| *date >= first_date).take(DAYS) {
            found.add_day(place, &model, date).await?;
        }
    }
    Ok(Some(found))
}

impl Agreement {
    async fn add_day(&mut self, place: &Place, model: &str, date: Date) -> Result<(), String> {
        let mut named = lines(place, model, date).await?;
        let versions: BTreeSet<&str> = named.iter().map(|line| &*line.version).collect();
        let mut there = BTreeMap::new();
        for version in versions {
            there.extend(place.sizes(&layout::day_of(model, version, date)).await?);
        }
        if named.iter().any(|line| there.get(&line.path) != Some(&line.bytes)) {
            // What grew too old meanwhile is named no more.
            let still: BTreeSet<String> = lines(place, model, date).await?.into_iter().map(|line| line.path).collect();
            named.retain(|line| still.contains(&line.path));
        }
        self.named += named.len() as u64;
        for Line { path, bytes, .. } in named {
            match there.remove(&path) {
                Some(found) if found == bytes => {}
                Some(_) => self.changed.push(path),
                None => self.gone.push(path),
            }
        }
        self.unnamed += there.keys().filter(|path| layout::parse(path).is_some()).count() as u64;
        Ok(())
    }
}

/// The lines of a day's manifest. A day without one has no files.
async fn lines(place: &Place, model: &str, date: Date) -> Result<Vec<Line>, String> {
    let path = manifest::path(model, date);
    let Some(contents) = place.read(&path).await? else { return Ok(Vec::new()) };
    contents.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| parsed(&path, line)).collect()
}

fn date<'de, D: Deserializer<'de>>(text: D) -> Result<Date, D::Error> {
    String::deserialize(text)?.parse().map_err(D::Error::custom)
}

fn parsed<T: DeserializeOwned>(path: &str, text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("{path} is no manifest as the collector writes it: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::super::CutLayout;
    use super::super::super::tests::{HOUR, archiver, cut};
    use super::*;

    const DAY: i64 = 24 * HOUR;

    #[tokio::test]
    async fn files_that_are_gone_or_changed_or_new_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let mut archiver = archiver(folder.path(), "archive: {folder: a}");
        let layout = CutLayout::of(&archiver.config.archive);
        assert!(of(&archiver.place).await.unwrap().is_none(), "there are no manifests yet");
        let times = [0, HOUR, DAY, 20 * DAY, 20 * DAY + HOUR, 20 * DAY + 2 * HOUR];
        let partitions = times.map(|time| (time, [time]));
        let partitions = partitions.each_ref().map(|(start, times)| (*start, &times[..]));
        archiver.archive(cut(layout.clone(), (1, 1), &partitions)).await.unwrap();
        archiver.keep_catalogue(&layout).await.unwrap();
        let found = of(&archiver.place).await.unwrap().unwrap();
        assert_eq!((found.models, found.named, found.unnamed), (1, 3, 0), "{found:?}");
        assert!(found.gone.is_empty() && found.changed.is_empty(), "{found:?}");

        // A cut whose manifests are not written yet; and what somebody did, on a day that is looked at and on one that is not.
        archiver.archive(cut(layout, (2, 2), &[(20 * DAY, &[20 * DAY + 5])])).await.unwrap();
        let named = lines(&archiver.place, "m", "1970-01-21".parse().unwrap()).await.unwrap();
        let root = folder.path().join("a");
        std::fs::remove_file(root.join(&named[0].path)).unwrap();
        std::fs::write(root.join(&named[1].path), "short").unwrap();
        std::fs::remove_dir_all(root.join("model=m/version=1/date=1970-01-01")).unwrap();
        let found = of(&archiver.place).await.unwrap().unwrap();
        assert_eq!((found.gone, found.changed), (vec![named[0].path.clone()], vec![named[1].path.clone()]));
        assert_eq!((found.named, found.unnamed), (3, 1));
        std::fs::write(root.join(manifest::INDEX), "{").unwrap();
        assert!(of(&archiver.place).await.unwrap_err().contains("_driftline/manifest.json is no manifest"));
    }
}
