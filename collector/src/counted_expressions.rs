//! Rules' expressions, as a budget of false pages counts them.
//!
//! The reference's histories know the scores of windows in which nothing drifts, so whether an expression would have held there
//! is a matter of reading it: with bounds for what is not kept, and any number for what histories do not know, as rows,
//! indicators and scores beside earlier windows. What may hold is counted as if it did.

use std::ops::RangeInclusive;

use driftline_alerts::{Condition, Expression, KofM, Rule};
use driftline_detectors::{Detector, Known, Persistence, Several};

use crate::vocabulary::{Named, OfScore};

/// An expression of a rule.
pub(crate) struct CountedExpression<'r> {
    pub(crate) rule: &'r str,
    detectors: Vec<Detector>,
    may_hold: Box<MayHold<'r>>,
    persistence: Persistence,
}

/// Whether it may hold in a window of which this is known.
type MayHold<'r> = dyn Fn(&[Option<Known>]) -> bool + 'r;

/// What a name of an expression is, in the histories.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The effect of one of the scores.
    Effect(usize),
    /// Its limit.
    Limit(usize),
    /// Nothing that they know.
    Elsewhere,
}

/// The expressions of rules that look at scores of windows.
pub(crate) fn of_rules(rules: &[Rule]) -> Vec<CountedExpression<'_>> {
    let counted = rules.iter().filter_map(|rule| match &rule.condition {
        Condition::Expression { expression, windows, .. } if rule.condition.is_of_windows() => {
            CountedExpression::of(&rule.name, expression, *windows)
        }
        _ => None,
    });
    counted.collect()
}

impl<'r> CountedExpression<'r> {
    /// None where it names no score that histories could know.
    fn of(rule: &'r str, expression: &'r Expression, windows: KofM) -> Option<Self> {
        let mut detectors: Vec<Detector> = Vec::new();
        let mut index = |name: &str| {
            let detector = Detector::named(name)?;
            let known = detectors.iter().position(|known| *known == detector);
            Some(known.unwrap_or_else(|| {
                detectors.push(detector);
                detectors.len() - 1
            }))
        };
        let mut place = |variable| match Named::of(variable) {
            Ok(Named::Score(name, OfScore::Effect)) => index(&name).map_or(Place::Elsewhere, Place::Effect),
            Ok(Named::Score(name, OfScore::Limit)) => index(&name).map_or(Place::Elsewhere, Place::Limit),
            _ => Place::Elsewhere,
        };
        let places: Vec<Place> = expression.variables().iter().map(&mut place).collect();
        let may_hold = move |known: &[Option<Known>]| {
            let bounds: Vec<_> = places.iter().map(|place| bounds(*place, known)).collect();
            expression.may_hold(&bounds)
        };
        let persistence = Persistence { k: windows.k, m: windows.m };
        (!detectors.is_empty()).then(|| Self { rule, detectors, may_hold: Box::new(may_hold), persistence })
    }

    /// As the budget takes it.
    pub(crate) fn counted(&self) -> Several<'_> {
        Several { detectors: self.detectors.clone(), may_hold: &*self.may_hold, persistence: self.persistence }
    }
}

/// Within which bounds a name lies; none where there is no such score.
fn bounds(place: Place, known: &[Option<Known>]) -> Option<RangeInclusive<f64>> {
    match place {
        Place::Effect(index) => Some(known.get(index)?.as_ref()?.effect.clone()),
        Place::Limit(index) => Some(known.get(index)?.as_ref()?.limit.clone()),
        Place::Elsewhere => Some(f64::NEG_INFINITY..=f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn may_hold(expression: &str, known: &[Option<Known>]) -> bool {
        let yaml = format!(
            "alerts: {{rules: [{{name: Own, severity: info, runbook: feature-drift, when: {{expression: '{expression}', windows: 2 of 3}}}}]}}"
        );
        let rules = Config::parse("d.yaml", &yaml, std::path::Path::new("")).unwrap().alerting.rules;
        let counted = of_rules(&rules);
        let [own] = &counted[..] else { panic!("{expression}: {}", counted.len()) };
        assert_eq!((own.rule, own.counted().persistence), ("Own", Persistence { k: 2, m: 3 }));
        assert_eq!(own.counted().detectors.len(), known.len(), "{expression}");
        (own.counted().may_hold)(known)
    }

    fn known(effect: f64, limit: f64) -> Option<Known> {
        Some(Known { effect: effect..=effect, limit: limit..=f64::INFINITY })
    }

    #[test]
    fn an_expression_is_read_with_what_histories_know() {
        let quiet = [known(0.1, 0.2), known(0.01, 0.02)];
        let over = [known(0.3, 0.2), known(0.01, 0.02)];
        let both = "psi > psi.limit and missing_share < missing_share.limit";
        assert_eq!([may_hold(both, &quiet), may_hold(both, &over)], [false, true]);
        // What they do not know may be anything, and decides nothing.
        let more = "psi > psi.limit and rows > 1000 and latency[5m] < 0.9 and recent_psi > 0.1";
        assert_eq!([may_hold(more, &quiet[..1]), may_hold(more, &over[..1])], [false, true]);
        assert!(may_hold("psi > 0.25 or psi.n < 100", &quiet[..1]));
        assert!(!may_hold("psi > 0.25", &quiet[..1]));
        assert!(
            !may_hold("psi > psi.limit or ks > ks.limit", &[quiet[0].clone(), None]),
            "the column has no such score"
        );
    }

    #[test]
    fn what_names_no_score_of_the_reference_is_not_for_the_budget() {
        let yaml = "alerts: {rules: [{name: A, severity: info, runbook: latency-slo, when: 'latency[5m] < 0.9'}, {name: B, severity: info, runbook: new-change, when: 'recent_psi > 0.2'}]}";
        let rules = Config::parse("d.yaml", yaml, std::path::Path::new("")).unwrap().alerting.rules;
        assert!(of_rules(&rules).is_empty());
    }
}
