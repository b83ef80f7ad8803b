//! What the configuration says of slices: windows that are good or bad by a score of theirs.

use driftline_detectors::Detector;
use driftline_document::{Node, Section};

/// Windows as events of an indicator: good while a score of their columns is below a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Slices {
    /// By which rules and metrics know them.
    pub name: String,
    /// The score that decides.
    pub score: Detector,
    /// From which effect on a column makes its window bad; where its verdict is drift, without it.
    pub below: Option<f64>,
    /// The columns that are looked at; all of them when there are none here.
    pub columns: Vec<String>,
}

/// Slices of one model. Each is a row in every window.
const MAX_SLICES: usize = 20;

pub(super) fn slices(node: &Node<'_>) -> Vec<Slices> {
    let nodes = node.list().unwrap_or_default();
    if nodes.len() > MAX_SLICES {
        node.problem(format!("has {} entries; a model may have {MAX_SLICES}", nodes.len()));
    }
    let mut all: Vec<Slices> = Vec::new();
    for node in nodes {
        let Some(slices) = node.section().and_then(one) else { continue };
        if all.iter().any(|other| other.name == slices.name) {
            node.problem(format!("there are other slices '{}'", slices.name));
        }
        all.push(slices);
    }
    all
}

fn one(mut section: Section<'_>) -> Option<Slices> {
    let name = section.required("name").and_then(|node| {
        node.parsed("up to 100 letters, digits, '-', '_' and '.'", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (!text.is_empty() && text.len() <= 100 && text.bytes().all(plain)).then(|| text.to_owned())
        })
    });
    let scores = Detector::ALL.map(|detector| (detector.name(), detector));
    let score = section.required("score").and_then(|node| node.one_of(&scores));
    let below = section.optional("below").map(|node| node.number(0.0..=1e9));
    let columns = section.optional("columns").and_then(|node| node.list()).unwrap_or_default();
    let columns = columns.iter().filter_map(|node| Some(node.text()?.to_owned())).collect();
    Some(Slices { name: name?, score: score?, below: below.map_or(Some(None), |below| below.map(Some))?, columns })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(slices: &str) -> Result<Vec<Slices>, String> {
        let text = format!("models: [{{name: m, slis: {{slices: [{slices}]}}}}]");
        let config = Config::parse("d.yaml", &text, Path::new("/")).map_err(|problems| problems.to_string())?;
        Ok(config.model("m").slis.slices)
    }

    #[test]
    fn slices_are_of_a_score_and_its_limit_or_its_verdict() {
        let slices =
            read("{name: drift, score: psi}, {name: gaps, score: missing_share, below: 0.05, columns: [temp]}");
        let drift = Slices { name: "drift".into(), score: Detector::Psi, below: None, columns: vec![] };
        let columns = vec!["temp".to_owned()];
        let gaps = Slices { name: "gaps".into(), score: Detector::MissingShare, below: Some(0.05), columns };
        assert_eq!(slices.unwrap(), [drift, gaps]);
    }

    #[test]
    fn what_is_no_slices_is_said() {
        for (slices, problem) in [
            ("{name: a, score: psy}", "psy"),
            ("{name: 'a b', score: psi}", "letters, digits"),
            ("{score: psi}", "name"),
            ("{name: a, score: psi, below: -1}", "below"),
            ("{name: a, score: psi}, {name: a, score: ks}", "there are other slices 'a'"),
        ] {
            let said = read(slices).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
}
