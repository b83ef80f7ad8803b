//! What the configuration says of scores: which are taken, and from which effect on a difference matters.

use std::collections::BTreeSet;

use driftline_detectors::{ColumnKind, Detector, Thresholds};
use driftline_document::{Node, Section};

/// Which scores a model's columns have, and from which effect on each matters.
#[derive(Debug, Clone, Default)]
pub struct Scoring {
    /// Those that were chosen; none when nobody chose.
    chosen: Option<BTreeSet<Chosen>>,
    /// From which effect on a difference matters.
    pub thresholds: Thresholds,
}

/// One entry of the list of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Chosen {
    All,
    Standard,
    One(Detector),
}

/// Pages and shipped rules look at these, so they are taken whatever was chosen.
const ALWAYS: [Detector; 3] = [Detector::Psi, Detector::MissingShare, Detector::NewCategoryShare];

impl Scoring {
    /// The scores of columns of that kind.
    pub(crate) fn detectors(&self, kind: ColumnKind) -> Vec<Detector> {
        let is_chosen = |detector: &Detector| {
            let standard = detector.is_standard(kind);
            self.chosen.as_ref().map_or(standard, |chosen| {
                ALWAYS.contains(detector)
                    || chosen.contains(&Chosen::All)
                    || chosen.contains(&Chosen::One(*detector))
                    || (standard && chosen.contains(&Chosen::Standard))
            })
        };
        Detector::ALL.into_iter().filter(is_chosen).collect()
    }
}

pub(super) fn scoring(model: &mut Section<'_>) -> Scoring {
    let scores = model.optional("scores").and_then(|node| node.list());
    let chosen = scores.map(|names| names.iter().filter_map(chosen).collect());
    let thresholds = model.optional("thresholds").and_then(|node| node.entries()).unwrap_or_default();
    let thresholds = Thresholds(thresholds.into_iter().filter_map(|(name, node)| threshold(&name, &node)).collect());
    Scoring { chosen, thresholds }
}

fn chosen(node: &Node<'_>) -> Option<Chosen> {
    let mut choices = vec![("standard", Chosen::Standard), ("all", Chosen::All)];
    choices.extend(Detector::ALL.map(|detector| (detector.name(), Chosen::One(detector))));
    node.one_of(&choices)
}

fn threshold(name: &str, node: &Node<'_>) -> Option<(Detector, f64)> {
    let Some(detector) = Detector::named(name) else {
        let names: Vec<&str> = Detector::ALL.into_iter().map(Detector::name).collect();
        node.problem(format!("is no score; the scores are {}", names.join(", ")));
        return None;
    };
    Some((detector, node.number(0.0..=1e9)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Scoring, driftline_document::Problems> {
        driftline_document::read("driftline.yaml", text, |mut top| scoring(&mut top)).result
    }

    #[test]
    fn without_a_choice_the_standard_scores_are_taken() {
        let scoring = read("").unwrap();
        let numeric = scoring.detectors(ColumnKind::Numeric);
        assert!(numeric.contains(&Detector::Ks) && !numeric.contains(&Detector::Energy), "{numeric:?}");
        assert!(scoring.detectors(ColumnKind::Categorical).contains(&Detector::Hellinger));
    }

    #[test]
    fn a_choice_adds_to_what_pages_and_rules_look_at() {
        let chosen = read("scores: [energy]").unwrap().detectors(ColumnKind::Numeric);
        assert_eq!(chosen, [Detector::Psi, Detector::Energy, Detector::MissingShare, Detector::NewCategoryShare]);
        let more = read("scores: [standard, energy]").unwrap().detectors(ColumnKind::Numeric);
        assert!(more.contains(&Detector::Ks) && more.contains(&Detector::Energy), "{more:?}");
        assert_eq!(read("scores: [all]").unwrap().detectors(ColumnKind::Numeric), Detector::ALL);
    }

    #[test]
    fn a_score_that_is_none_is_named_with_those_that_are() {
        let problems = read("scores: [gut_feeling]").unwrap_err().to_string();
        assert!(problems.contains("gut_feeling") && problems.contains("anderson_darling"), "{problems}");
    }
}
