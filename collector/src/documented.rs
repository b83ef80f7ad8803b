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
    use driftline_detectors::{ColumnKind, Detector, Reference, RowValue, Rows, Thresholds};

    /// Two hundred rows of a kind of column.
    struct OfKind(ColumnKind);

    impl Rows for OfKind {
        fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
            for i in 0..200u8 {
                let (a, b) = (f32::from(i), f32::from(i % 7));
                match self.0 {
                    ColumnKind::Numeric => take(None, RowValue::Number(a.into())),
                    ColumnKind::Categorical => take(None, RowValue::Category(if i % 2 == 0 { "even" } else { "odd" })),
                    ColumnKind::Associations => take(None, RowValue::Row(&[a.into(), b.into()])),
                    ColumnKind::Contingencies => take(None, RowValue::Row(&[f64::from(i % 3), f64::from(i % 2)])),
                    ColumnKind::Vectors => take(None, RowValue::Vector(&[a, b])),
                }
            }
            Ok(())
        }

        fn columns(&self) -> Vec<String> {
            vec!["a".to_owned(), "b".to_owned()]
        }
    }

    const KINDS: [(ColumnKind, &str); 5] = [
        (ColumnKind::Numeric, "numeric"),
        (ColumnKind::Categorical, "categorical"),
        (ColumnKind::Associations, "pairs"),
        (ColumnKind::Contingencies, "pairs of names"),
        (ColumnKind::Vectors, "vectors"),
    ];

    /// Kinds of columns in words.
    fn in_words(of: impl Fn(ColumnKind) -> bool) -> String {
        let named: Vec<&str> = KINDS.iter().filter(|(kind, _)| of(*kind)).map(|(_, name)| *name).collect();
        match named.as_slice() {
            [] => "none".to_owned(),
            all if all.len() == KINDS.len() => "all".to_owned(),
            some => some.join(", "),
        }
    }

    /// The names of the scores that a kind of column has.
    fn scores_of(kind: ColumnKind) -> Vec<Detector> {
        let reference = Reference::of_rows("c", kind, &OfKind(kind), None).unwrap();
        let scores = reference.scores(&reference.profile(), &Thresholds::default(), true);
        scores.into_iter().map(|score| score.detector).collect()
    }

    #[test]
    fn every_score_is_on_its_page_with_its_threshold() {
        let scores = KINDS.map(|(kind, _)| (kind, scores_of(kind)));
        let mut table =
            "| score | columns | by default | default threshold | its effect is |\n|---|---|---|---|---|\n".to_owned();
        for detector in Detector::ALL {
            let has = |kind| scores.iter().any(|(of, scores)| *of == kind && scores.contains(&detector));
            let columns = in_words(has);
            let standard = in_words(|kind| has(kind) && detector.is_standard(kind));
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
