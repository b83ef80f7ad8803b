//! The reference files of the configured models.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use driftline_alerts::{Condition, Rule};
use driftline_detectors::{
    Detector, NullEffects, Persistence, ReferenceFile, Watch, WindowLength, begins_by_itself, level, vouched,
};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use crate::config::{Config, Model};
use crate::counted_expressions;
use crate::numbers::significant;
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
    allow_false_pages(&mut file, model, rules);
    if file.model != model.name {
        warn!(model = %model.name, reference = %file.model, "the reference was built for another model");
    }
    let segments = ModelSegments::of(model, &file.derived, file.segments.as_ref());
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
        columns.for_each(|column| column.blocks.clear());
    }
}

/// Shares the model's budget of false pages over its columns and the scores that rules watch, be it by a score of their own or
/// in an expression.
///
/// How often a rule's alert begins is counted for all columns together, whichever of them it is about: rules of one score
/// that part the columns among them have one budget.
fn allow_false_pages(file: &mut ReferenceFile, model: &Model, rules: &[Rule]) {
    let Some(budget) = model.false_pages else { return };
    let is_other = |null: &NullEffects| null.every != model.windows.every;
    if file.columns.iter().flat_map(|column| column.nulls.values()).any(is_other) {
        warn!(
            model = %model.name,
            "the reference was built for windows that end at other times, so the budget of false pages is not kept; build it again with this configuration"
        );
        return;
    }
    let mut watches: Vec<Watch> = Vec::new();
    for rule in rules {
        let Condition::Score { score, windows, .. } = &rule.condition else { continue };
        let persistence = Persistence { k: windows.k, m: windows.m };
        let watch = Detector::named(score).map(|detector| Watch { detector, persistence });
        watches.extend(watch.filter(|watch| !watches.contains(watch)));
    }
    let every = model.windows.pane * model.windows.every;
    let per_window = budget.per_window(every);
    let expressions = counted_expressions::of_rules(rules);
    let mut several = Vec::new();
    for expression in &expressions {
        let counted = expression.counted();
        match begins_by_itself(&file.columns, &counted) {
            Some(often) if often < per_window => several.push(counted),
            None if file.columns.iter().all(|column| column.nulls.is_empty()) => {}
            often => warn!(
                model = %model.name,
                rule = expression.rule,
                false_pages = %budget,
                "the budget of false pages does not count this rule: {}; compare scores with their own limits, as in 'psi > psi.limit', or with larger numbers",
                by_itself(often, per_window)
            ),
        }
    }
    match level(&file.columns, &watches, &several, per_window) {
        Some(level) => {
            let vouched = vouched(&file.columns, &watches, &several);
            file.columns.iter_mut().for_each(|column| column.allow(Some(level)));
            info!(
                model = %model.name,
                false_pages = %budget,
                one_window_in = (1.0 / level).round(),
                "each score of each column may exceed its limit by chance in one window of so many"
            );
            if let Some(vouched) = vouched.filter(|vouched| level < vouched.share) {
                warn!(
                    model = %model.name,
                    false_pages = %budget,
                    blocks = vouched.blocks,
                    one_window_in = (1.0 / vouched.share).round(),
                    "the budget of false pages asks for limits that none of the reference's stretches of time has reached: its own vouch for {} times as many alerts, when one window of so many is over. The limits are carried on from the most extreme ones, with a margin; for such as it has met, build it from a longer time, take longer windows or allow more",
                    significant(vouched.episodes_per_window / per_window)
                );
            }
        }
        None => warn!(
            model = %model.name,
            false_pages = %budget,
            "the budget of false pages is not kept: the reference says nothing of how its own stretches of time differ; build it with --time-column and --config, from rows of at least three windows"
        ),
    }
}

/// Why a rule is not counted in a budget of so many alerts for each window.
fn by_itself(often: Option<f64>, per_window: f64) -> String {
    match often {
        Some(often) => {
            let times = significant(often / per_window);
            format!("its expression alone would begin {times} times as often as the budget allows")
        }
        None => {
            "its expression may hold in any window, for all that the reference's own stretches of time say".to_owned()
        }
    }
}
