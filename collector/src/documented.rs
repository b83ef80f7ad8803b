//! Pages that are held to the code: a part between two marks must be what the code says.

use std::path::Path;

/// Checks the part of a page between `<!-- begin: mark -->` and `<!-- end: mark -->`. With DRIFTLINE_UPDATE_DOCS set it is
/// written instead.
pub(crate) fn check(page: &str, mark: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let (begin, end) = (format!("<!-- begin: {mark} -->\n"), format!("<!-- end: {mark} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no mark '{mark}'"));
    let (part, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{page} has no end of '{mark}'"));
    if std::env::var_os("DRIFTLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(part, expected, "{page} is not what the code says; run the test with DRIFTLINE_UPDATE_DOCS=1");
    }
}

#[cfg(test)]
mod tests {
    use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, Thresholds};

    /// The names of the scores that a kind of column has.
    fn scores_of(kind: ColumnKind) -> Vec<Detector> {
        let mut builder = ReferenceBuilder::new("c", kind);
        for i in 0..200 {
            match kind {
                ColumnKind::Numeric => builder.number(None, f64::from(i)),
                ColumnKind::Categorical => builder.category(None, if i % 2 == 0 { "even" } else { "odd" }),
            }
        }
        let reference = builder.build(None).unwrap();
        let scores = reference.scores(&reference.profile(), &Thresholds::default(), true);
        scores.into_iter().map(|score| score.detector).collect()
    }

    #[test]
    fn every_score_is_on_its_page_with_its_threshold() {
        let (numeric, categorical) = (scores_of(ColumnKind::Numeric), scores_of(ColumnKind::Categorical));
        let mut table =
            "| score | columns | by default | default threshold | its effect is |\n|---|---|---|---|---|\n".to_owned();
        for detector in Detector::ALL {
            let kinds = |numeric: bool, categorical: bool| match (numeric, categorical) {
                (true, true) => "all",
                (true, false) => "numeric",
                (false, true) => "categorical",
                (false, false) => "none",
            };
            let of = (numeric.contains(&detector), categorical.contains(&detector));
            let is_standard = |kind| detector.is_standard(kind);
            let columns = kinds(of.0, of.1);
            let standard =
                kinds(of.0 && is_standard(ColumnKind::Numeric), of.1 && is_standard(ColumnKind::Categorical));
            let effect = detector.effect_unit().unwrap_or("its value");
            table.push_str(&format!(
                "| `{}` | {columns} | {standard} | {} | {effect} |\n",
                detector.name(),
                detector.default_threshold()
            ));
        }
        super::check("docs/scores.md", "scores", &table);
        let page = include_str!("../../docs/scores.md");
        for detector in Detector::ALL {
            assert!(page.contains(&format!("\n**{}**", detector.name())), "{} is not explained", detector.name());
        }
    }
}
