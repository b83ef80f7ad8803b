//! What is compared: a file, or archived rows of a version or of a stretch of time.

use std::fmt;
use std::path::PathBuf;

use arrow_select::filter::filter_record_batch;

use super::{EXIT_IO, EXIT_NOT_ENOUGH_DATA, EXIT_USAGE, OfArchive};
use crate::archive::read::{self, Stretch, StretchFile};
use crate::commands::reference::not_features;
use crate::commands::samples::Archive;
use crate::config::Config;
use crate::filter::Filter;
use crate::reference_build::{RowSource, Take, read_rows, take_counted};
use crate::times;

/// What a side begins with that means rows of the archive.
const ARCHIVE: &str = "archive:";

/// As the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    File(PathBuf),
    Archive { said: String, chosen: Chosen },
}

/// Which rows of the archive; whatever is not said here is said for both sides, or does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    model: Option<String>,
    version: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Archive { said, .. } => f.write_str(said),
        }
    }
}

impl Side {
    /// Reads what names a side: `archive:` with what is wanted of it, or else a path.
    ///
    /// # Errors
    /// What is wrong with a choice.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(choices) = text.strip_prefix(ARCHIVE) else { return Ok(Self::File(text.into())) };
        let mut chosen = Chosen::default();
        for choice in choices.split(',').filter(|choice| !choice.is_empty()) {
            let (name, value) = choice.split_once('=').unwrap_or((choice, ""));
            let is_new = match name {
                "model" => chosen.model.replace(value.to_owned()).is_none(),
                "version" => chosen.version.replace(value.to_owned()).is_none(),
                "from" => chosen.from.replace(times::parse(value)?).is_none(),
                "to" => chosen.to.replace(times::parse(value)?).is_none(),
                _ => return Err(format!("'{choice}' is none of model=, version=, from= and to=")),
            };
            if !is_new || value.is_empty() {
                return Err(format!("{name}= wants one value"));
            }
        }
        Ok(Self::Archive { said: text.to_owned(), chosen })
    }

    /// Whether it is a file of counts, and no rows.
    pub(super) fn is_reference_file(&self) -> bool {
        matches!(self, Self::File(path) if path.extension().is_some_and(|ending| ending == "json"))
    }

    /// Finds its rows, which are read when they are needed.
    ///
    /// # Errors
    /// An exit code, and why there are none.
    pub(super) fn open(&self, archive: &OfArchive) -> Result<Rows, (u8, String)> {
        match self {
            Self::File(path) => {
                Ok(Rows { name: self.to_string(), not_features: Vec::new(), place: Place::File(path.clone()) })
            }
            Self::Archive { said, chosen } => chosen.open(said, archive),
        }
    }
}

impl Chosen {
    fn open(&self, said: &str, of: &OfArchive) -> Result<Rows, (u8, String)> {
        let usage = |why: &str| (EXIT_USAGE, format!("{said}: {why}"));
        let model = self.model.as_ref().or(of.model.as_ref());
        let model = model.ok_or_else(|| usage("which model's? Name it by --model, or by model= here"))?;
        let (from, to) = (self.from.or(of.from), self.to.or(of.to));
        let (from, to) = (from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX));
        if from >= to {
            return Err(usage("it ends before it begins"));
        }
        let config = Config::load(&of.config).map_err(|problems| (EXIT_USAGE, problems.to_string()))?;
        let failed = |why| (EXIT_IO, format!("{said}: {why}"));
        let archive = Archive::open(&config).map_err(failed)?;
        let stretch = Stretch { model: model.clone(), version: self.version.clone(), from, to };
        let files = archive.runtime.block_on(read::files(&archive.place, &stretch)).map_err(failed)?;
        if files.is_empty() {
            return Err((EXIT_NOT_ENOUGH_DATA, format!("{said}: the archive has no such rows of model '{model}'")));
        }
        let not_features = not_features(&config.model(model));
        let place = Place::Archive(Box::new(Archived { archive, stretch, files, filter: of.filter.clone() }));
        Ok(Rows { name: said.to_owned(), not_features, place })
    }
}

/// The rows of a side.
pub(super) struct Rows {
    name: String,
    /// Columns that say when or which a row was, by the model's description.
    pub(super) not_features: Vec<String>,
    place: Place,
}

enum Place {
    File(PathBuf),
    Archive(Box<Archived>),
}

struct Archived {
    archive: Archive,
    stretch: Stretch,
    files: Vec<StretchFile>,
    filter: Option<Filter>,
}

impl RowSource for Rows {
    fn read(&self, take: &mut Take<'_>) -> Result<(), String> {
        match &self.place {
            Place::File(path) => read_rows(path, &[], take).map_err(|why| format!("{}: {why}", self.name)),
            Place::Archive(archived) => archived.read(take),
        }
    }
}

impl Archived {
    /// Of calls that windows count, too: a version is compared by what it would be judged by.
    fn read(&self, take: &mut Take<'_>) -> Result<(), String> {
        for file in &self.files {
            let mut counted = |batch| {
                let batch = match &self.filter {
                    Some(filter) => filter_record_batch(&batch, &filter.matches(&batch)).map_err(|e| e.to_string())?,
                    None => batch,
                };
                take_counted(&batch, None, take)
            };
            read::rows(self.archive.get(&file.path)?, &self.stretch, &mut counted)
                .map_err(|why| format!("{}: {why}", file.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_path_or_what_is_chosen_of_the_archive() {
        assert_eq!(Side::parse("archive.csv"), Ok(Side::File("archive.csv".into())));
        let said = "archive:version=v=3,from=2013-07-01,to=2013-07-08T12:00:00Z";
        let chosen = Chosen {
            version: Some("v=3".into()),
            from: times::parse("2013-07-01").ok(),
            to: times::parse("2013-07-08T12:00:00Z").ok(),
            model: None,
        };
        assert_eq!(Side::parse(said), Ok(Side::Archive { said: said.into(), chosen }));
        let all = Side::Archive { said: "archive:".into(), chosen: Chosen::default() };
        assert_eq!(Side::parse("archive:"), Ok(all));
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (text, part) in [
            ("archive:3", "'3' is none of"),
            ("archive:version", "version= wants one value"),
            ("archive:version=1,version=2", "version= wants one value"),
            ("archive:from=yesterday", "not a time"),
        ] {
            let why = Side::parse(text).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
