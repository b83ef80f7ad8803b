//! The reference files of the configured models.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use driftline_alerts::Rule;
use driftline_detectors::{ReferenceFile, WindowLength};
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::config::{Config, Model};
use crate::page_budget::{allow_false_pages, check_pages};
use crate::pipeline::schema;
use crate::pipeline::series::References;
use crate::segments::ModelSegments;

/// Largest reference file that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// All reference files, read once.
#[derive(Debug, Default)]
pub(crate) struct LoadedReferences {
    models: BTreeMap<String, (Arc<References>, ReferenceFile)>,
    none: Arc<References>,
}

impl LoadedReferences {
    /// Reads the reference of every model that names one.
    ///
    /// # Errors
    /// One sentence for each that cannot be used: what, where, and what to do.
    pub(crate) fn load(config: &Config) -> Result<Self, Vec<String>> {
        let (mut models, mut problems) = (BTreeMap::new(), Vec::new());
        for model in &config.models {
            match of_model(model, &config.alerting.rules) {
                Ok(Some(loaded)) => drop(models.insert(model.name.clone(), loaded)),
                Ok(None) => {}
                Err(why) => problems.push(why),
            }
        }
        if problems.is_empty() { Ok(Self { models, none: Arc::default() }) } else { Err(problems) }
    }

    /// A model's references; none of them without a file.
    pub(crate) fn of(&self, model: &str) -> Arc<References> {
        Arc::clone(self.models.get(model).map_or(&self.none, |(references, _)| references))
    }

    /// A model's reference file.
    pub(crate) fn file(&self, model: &str) -> Option<&ReferenceFile> {
        self.models.get(model).map(|(_, file)| file)
    }
}

/// Reads the reference of a model, if it names one.
///
/// # Errors
/// Why it cannot be used: what, where, and what to do.
pub(crate) fn of_model(model: &Model, rules: &[Rule]) -> Result<Option<(Arc<References>, ReferenceFile)>, String> {
    let Some(path) = &model.reference else { return Ok(None) };
    let (mut file, identity) =
        read(path).map_err(|why| format!("the reference of model '{}', {}: {why}", model.name, path.display()))?;
    check_window(&mut file, model);
    if file.model != model.name {
        warn!(model = %model.name, reference = %file.model, "the reference was built for another model");
    }
    let mut segments = ModelSegments::of(model, &file.derived, file.segments.as_ref());
    allow_false_pages(&mut file, segments.as_mut(), model, rules);
    check_pages(segments.as_ref(), model, rules)
        .map_err(|why| format!("the reference of model '{}', {}: {why}", model.name, path.display()))?;
    let references = References {
        required: schema::required(&file.columns, &file.derived),
        columns: file.columns.clone(),
        derived: file.derived.clone(),
        identity,
        segments,
    };
    Ok(Some((Arc::new(references), file)))
}

/// Reads one file, with its identity: the beginning of its hash.
pub(crate) fn read(path: &Path) -> Result<(ReferenceFile, String), String> {
    let build = "build it with 'driftline reference build', or take the line out";
    let metadata = std::fs::metadata(path).map_err(|error| format!("{error}; {build}"))?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!("{} bytes are too many; at most {MAX_FILE_BYTES} are read", metadata.len()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{error}; {build}"))?;
    let file = ReferenceFile::parse(&text).map_err(|error| error.to_string())?;
    let identity = Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok((file, identity))
}

/// Block noise holds for windows of the length that it was worked out for. For others it is no measure, and left out.
fn check_window(file: &mut ReferenceFile, model: &Model) {
    let configured = WindowLength { pane_seconds: model.windows.pane.as_secs(), panes: model.windows.panes };
    if let Some(built) = file.window
        && built != configured
    {
        warn!(
            model = %model.name,
            built = ?built,
            ?configured,
            "the reference's block noise is for other windows and is left out; build the reference again with these"
        );
        file.columns.iter_mut().for_each(|column| {
            column.blocks.clear();
            column.nulls.clear();
        });
        let by = file.segments.iter_mut().flat_map(|segments| &mut segments.by);
        let columns = by.flat_map(|by| &mut by.segments).flat_map(|segment| &mut segment.columns);
        columns.for_each(|column| {
            column.blocks.clear();
            column.nulls.clear();
        });
    }
}
