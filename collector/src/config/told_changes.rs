//! What the configuration says of changes that a target is told of.

use driftline_document::Section;

use super::access::ModelPattern;
use crate::alerting::changes::{Change, ChangeKind};

/// Which changes a target is told of.
#[derive(Debug, Clone)]
pub struct ToldChanges {
    kinds: Vec<ChangeKind>,
    /// None for every model.
    models: Option<Vec<ModelPattern>>,
}

impl ToldChanges {
    /// Whether this one is. What is changed for every model concerns each of them.
    pub(crate) fn include(&self, change: &Change) -> bool {
        let of_model =
            |models: &Vec<ModelPattern>| change.model.is_empty() || models.iter().any(|of| of.matches(&change.model));
        self.kinds.contains(&change.kind) && self.models.as_ref().is_none_or(of_model)
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let choices = ChangeKind::ALL.map(|kind| (kind.name(), kind));
        let kinds = section.required("kinds").and_then(|node| node.list())?;
        let kinds: Vec<ChangeKind> = kinds.iter().filter_map(|node| node.one_of(&choices)).collect();
        let allowed = "a model's name, or the beginning of names with a * after it";
        let models = section.optional("models").and_then(|node| node.list());
        let models = models.map(|models| {
            models.iter().filter_map(|node| node.parsed(allowed, ModelPattern::read)).collect::<Vec<ModelPattern>>()
        });
        if kinds.is_empty() || models.as_ref().is_some_and(Vec::is_empty) {
            section.problem("names no changes; leave it out if none are to be told");
            return None;
        }
        Some(Self { kinds, models })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ToldChanges, String> {
        driftline_document::read("c.yaml", text, ToldChanges::read)
            .result
            .map_err(|problems| problems.to_string())
            .map(Option::unwrap)
    }

    #[test]
    fn changes_are_chosen_by_kind_and_model_and_those_of_every_model_are_everybodys() {
        let told = read("{kinds: [version, configuration], models: [flights, eu-*]}").unwrap();
        let includes = |model: &str, kind| {
            told.include(&Change { at: 0, model: model.into(), kind, text: "it is another".into() })
        };
        assert!(includes("flights", ChangeKind::Version) && includes("eu-fraud", ChangeKind::Version));
        assert!(includes("", ChangeKind::Configuration));
        assert!(!includes("fraud", ChangeKind::Version) && !includes("flights", ChangeKind::Sidecar));
    }

    #[test]
    fn what_chooses_nothing_is_a_mistake() {
        for wrong in ["{kinds: []}", "{kinds: [version], models: []}", "{kinds: [weather]}", "{models: [m]}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
