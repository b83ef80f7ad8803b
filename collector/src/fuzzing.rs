//! What the fuzz targets in `fuzz/` call: any bytes go in, and whatever must hold is asserted.

#![allow(missing_docs, reason = "each is a fuzz target of the same name")]

mod acknowledgements;

use std::path::Path;
use std::sync::Once;

use driftline_alerts::{Expression, Template};

pub use self::acknowledgements::acknowledgements;
use crate::alerting::wording;
use crate::config::Config;
use crate::ingest::{Refused, rows};
use crate::interchange;
use crate::vocabulary::Named;

/// A rule's expression: what it names is known, it decides the same twice, and knowing nothing decides nothing but what
/// holds whatever comes.
pub fn expressions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Expression::parse(text, |variable| Named::of(variable).map(|named| named.meaning())) {
        Ok(expression) => {
            let known: Vec<Option<f64>> = (1..=expression.variables().len()).map(|value| Some(value as f64)).collect();
            let (unknown, found) = (expression.holds(&[]), expression.holds(&known));
            assert!(unknown.is_none() || unknown == found);
            assert!(expression.variables().len() <= Expression::MAX_VARIABLES);
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.character), "{error}"),
    }
}

/// A template, filled in with what it is itself, and cut.
pub fn templates(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Template::parse(text, &wording::names()) {
        Ok(template) => assert!(template.fill(100, |_| text.into()).len() <= 100),
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.character), "{error}"),
    }
}

/// A configuration's rules. What is accepted becomes rules of Prometheus.
pub fn rule_files(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = Config::parse("fuzzed.yaml", text, Path::new("")) {
        assert!(interchange::prometheus(&config).contains("DriftlineAbsent"));
        let exported =
            interchange::openslo(&config.alerting.rules, &|rule| config.alerting.tells_everyone(rule), &|model| {
                config.model(model).windows
            });
        let imported = interchange::import_openslo("fuzzed.yaml", &exported);
        assert!(imported.is_ok() || !exported.contains("kind: SLO"), "{exported}");
    }
    if let Ok(rules) = interchange::import_openslo("fuzzed.yaml", text) {
        // With the models that values are compared of before them, where there are any.
        assert!(rules.starts_with("alerts:") || rules.starts_with("models:"), "{rules}");
    }
}

/// A body of `POST /v1/rows` with the content type of Arrow streams.
pub fn arrow_rows(data: &[u8]) {
    static QUIET: Once = Once::new();
    // libFuzzer's own hook ends the process in every panic, and those of the reader of streams are caught. One that gets
    // out of here still ends it.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    match rows::read_arrow(data) {
        Ok(rows) => assert!((1..=rows::MAX_ROWS).contains(&rows)),
        Err(refused) => assert!(Refused::REASONS.contains(&refused.reason()), "{refused:?}"),
    }
}
