//! The reference file: the references of a model's columns, with where they came from.
//!
//! It is JSON, so that it can be read anywhere; `docs/reference-file.md` describes every field.

use serde::{Deserialize, Serialize};

use crate::budget::NullEffects;
use crate::derive::Derivation;
use crate::reference::{Normal, Reference};
use crate::segments::Segments;

/// The first thing in every reference file.
pub const FORMAT: &str = "driftline-reference";
/// The version that this code writes. It reads all before it: version 1 had no derived columns and no options, version 2
/// none that are derived of several, version 3 no histories of segments.
pub const VERSION: u32 = 4;

/// A model's references.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFile {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The model that it is for.
    pub model: String,
    /// Rows that it was built from.
    pub rows: u64,
    /// The files that it was built from, those of the archive by their names there.
    pub sources: Vec<Source>,
    /// The command's arguments, as they were given.
    #[serde(default)]
    pub options: Vec<String>,
    /// When it was built, as RFC 3339.
    pub built_at: String,
    /// The windows that its block noise is for; none when it was built without times.
    pub window: Option<WindowLength>,
    /// How some of the columns are derived from others that are not scored themselves.
    #[serde(default)]
    pub derived: Vec<Derivation>,
    /// The columns.
    pub columns: Vec<Reference>,
    /// Parts of the rows that are compared with themselves, if it was built with any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<Segments>,
}

/// A file that a reference was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// As it was named on the command line.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowLength {
    /// Seconds in a pane.
    pub pane_seconds: u64,
    /// Panes in a window.
    pub panes: u32,
}

/// Why a text is not a reference file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not the JSON of one.
    #[error("not a reference file: {0}; build one with 'driftline reference build'")]
    Json(#[from] serde_json::Error),
    /// Of another format or version.
    #[error(
        "this is '{format}' version {version}, and only '{FORMAT}' up to version {VERSION} can be read; build it again with this version's 'driftline reference build'"
    )]
    Version {
        /// What it says it is.
        format: String,
        /// The version that it says.
        version: u32,
    },
    /// The numbers do not fit each other.
    #[error("column '{column}' of the reference file is inconsistent: {what}; build it again")]
    Inconsistent {
        /// The column.
        column: String,
        /// What does not fit.
        what: String,
    },
}

impl ReferenceFile {
    /// Reads a file's text, and checks that its parts fit each other.
    ///
    /// # Errors
    /// See [`FileError`].
    ///
    /// ```
    /// use driftline_detectors::ReferenceFile;
    /// assert!(ReferenceFile::parse("{}").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, FileError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.format != FORMAT || !(1..=VERSION).contains(&head.version) {
            return Err(FileError::Version { format: head.format, version: head.version });
        }
        let file: Self = serde_json::from_str(text)?;
        for reference in &file.columns {
            check(reference).map_err(|what| FileError::Inconsistent { column: reference.column.clone(), what })?;
        }
        for derivation in &file.derived {
            check_derivation(derivation)
                .map_err(|what| FileError::Inconsistent { column: derivation.column().to_owned(), what })?;
        }
        if let Some(segments) = &file.segments {
            for reference in &segments.columns {
                check(reference).map_err(|what| FileError::Inconsistent { column: reference.column.clone(), what })?;
            }
            segments.check().map_err(|(column, what)| FileError::Inconsistent { column, what })?;
        }
        Ok(file)
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never for a reference that was built: every number in it is finite.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, FORMAT, ReferenceBuilder, ReferenceFile, VERSION};
    /// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// builder.number(None, 1.0);
    /// let file = ReferenceFile {
    ///     format: FORMAT.to_owned(),
    ///     version: VERSION,
    ///     model: "churn".to_owned(),
    ///     rows: 1,
    ///     sources: vec![],
    ///     options: vec![],
    ///     built_at: "2026-01-31T12:00:00Z".to_owned(),
    ///     window: None,
    ///     derived: vec![],
    ///     columns: vec![builder.build(None).unwrap()],
    ///     segments: None,
    /// };
    /// assert_eq!(ReferenceFile::parse(&file.to_text().unwrap()).unwrap(), file);
    /// ```
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn check_derivation(derivation: &Derivation) -> Result<(), String> {
    match derivation {
        Derivation::Text { vocabulary, .. } if !vocabulary.is_in_order() => {
            Err("the hashes of its words do not ascend".to_owned())
        }
        Derivation::Embedding { space, .. } if !space.is_consistent() => {
            Err("its centroid and axes are not finite and of one length".to_owned())
        }
        Derivation::Joint { joint } if !joint.is_consistent() => {
            Err("its means, deviations and axes are not finite and of one length".to_owned())
        }
        Derivation::Names { names } if !names.is_consistent() => {
            Err("its columns and their common names are not as many".to_owned())
        }
        _ => Ok(()),
    }
}

fn check(reference: &Reference) -> Result<(), String> {
    if !reference.nulls.values().all(NullEffects::is_consistent) {
        return Err("what its detectors say of drawn histories is not in order".to_owned());
    }
    match &reference.normal {
        Normal::Numeric { grid, profile, .. } => {
            let cuts = grid.cuts();
            if cuts.iter().any(|cut| !cut.is_finite()) || cuts.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err("its cut points do not ascend".to_owned());
            }
            if profile.cells.len() != grid.cells() || profile.open_sums.len() != cuts.len() + 1 {
                return Err(format!(
                    "{} cut points need {} cells, and there are {}",
                    cuts.len(),
                    grid.cells(),
                    profile.cells.len()
                ));
            }
            if profile.range.is_none() {
                return Err("it has no values".to_owned());
            }
        }
        Normal::Categorical { dictionary, profile } => {
            if profile.cells.len() != dictionary.cells() {
                return Err(format!("{} categories, and {} cells", dictionary.cells(), profile.cells.len()));
            }
            if profile.valid() == 0 {
                return Err("it has no values".to_owned());
            }
        }
        Normal::Associations { associations, profile } => {
            if !associations.is_consistent(profile) {
                return Err(format!("{} columns do not fit its {} pairs", associations.width(), profile.pairs.len()));
            }
        }
        Normal::Contingencies { contingencies, profile } => {
            if !contingencies.is_consistent(profile) {
                return Err(format!(
                    "{} columns do not fit its {} tables",
                    contingencies.width(),
                    profile.tables.len()
                ));
            }
        }
        Normal::Vectors { kernel, profile } => {
            if profile.sums.len() != kernel.features() {
                return Err(format!("{} features, and {} sums", kernel.features(), profile.sums.len()));
            }
            if profile.rows == 0 {
                return Err("it has no values".to_owned());
            }
        }
    }
    Ok(())
}
