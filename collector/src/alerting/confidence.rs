//! How sure an alert is of what it says, and what is left of the budgets that it spends.

use std::collections::BTreeSet;

use driftline_alerts::{Condition, Counts, Expression, Member, Reading, Rule, Variable};
use driftline_detectors::Score;
use rusqlite::Connection;

use super::book::Change;
use super::evidence;
use crate::config::{SLICES_SLI, Slices, part_label};
use crate::numbers::{percent, significant, thousands};
use crate::pipeline::objectives::{self, OF_REQUESTS, Objectively};
use crate::pipeline::series::ClosedWindow;
use crate::pipeline::slis::COLLECTOR;
use crate::segments::watched_score;
use crate::vocabulary::{Named, OfScore};

/// Objectives whose budgets are named.
const MAX_BUDGETS: usize = 3;

/// How sure it is of its worst member, as far as its other facts do not say so: between what the score lies, and how likely it is
/// without a cause.
pub(crate) fn confidence(change: &Change, window: Option<&ClosedWindow>) -> Option<String> {
    let worst = evidence::worst(change)?;
    match (&change.rule.condition, worst.last) {
        (Condition::Score { score, .. }, Reading::Score { .. }) => {
            let label = |name: &str| worst.labels.get(name).map(String::as_str);
            let column = window?.column(label("segment"), label("column")?)?;
            column.score(watched_score(score).0).map(of_score)
        }
        // Looks by the clock hang together: one that is bad says what the next one will be.
        (Condition::Sli { sli, below, .. }, Reading::Ratio { good, valid, unknown })
            if OF_REQUESTS.contains(&sli.as_str()) =>
        {
            let counts = Counts { good, valid, unknown };
            Some(format!(
                "{} bad ones or more of {} come by chance with a probability of {} where {} are good, if each is bad on its own",
                thousands(counts.bad()),
                thousands(valid),
                significant(counts.chance(*below)),
                percent(*below)
            ))
        }
        (Condition::Expression { expression, .. }, Reading::Expression { .. }) => Some(of_expression(expression)),
        _ => None,
    }
}

/// What an expression allows for: it decides nothing that it does not know, and chance only by the limits that it names.
fn of_expression(expression: &Expression) -> String {
    let is_limit = |variable: &Variable| matches!(Named::of(variable), Ok(Named::Score(_, OfScore::Limit)));
    let of_chance = if expression.variables().iter().any(is_limit) {
        "chance is allowed for by the limits that it names"
    } else {
        "values are held as they were measured, with no allowance for chance"
    };
    format!("it holds whatever is not known of its values; {of_chance}")
}

fn of_score(score: &Score) -> String {
    let (low, high) = score.interval;
    format!(
        "{} lies between {} and {} with a certainty of 95%, and is so large by chance with a probability of {}, if rows are independent",
        score.detector.name(),
        significant(low),
        significant(high),
        at_most(score.p_value)
    )
}

/// A p-value, which may be a bound; what no number is small enough for has become zero.
fn at_most(p_value: f64) -> String {
    match p_value {
        p if p > 0.0 => format!("{} at most", significant(p)),
        _ => "less than 1e-300".to_owned(),
    }
}

/// What is left of the budgets of all objectives on what an alert is about; none where there is no objective, or the alert is on
/// the budget and says so itself. `slices` are its model's.
pub(crate) fn budgets_left(
    db: &Connection,
    (rules, slices): (&[Rule], &[Slices]),
    change: &Change,
    now: i64,
) -> rusqlite::Result<Option<String>> {
    let Some(worst) = evidence::worst(change) else { return Ok(None) };
    let spent = Spent::of(&change.rule.condition, worst, slices);
    if spent.is_empty() {
        return Ok(None);
    }
    let model = worst.labels.get("model").map_or(COLLECTOR, String::as_str);
    let all = objectives::of_model(db, rules, model, now)?;
    let own: Vec<&Objectively<'_>> = all.iter().filter(|one| spent.iter().any(|spent| spent.is_of(one))).collect();
    let mut said: Vec<String> = own.iter().take(MAX_BUDGETS).map(|one| left(one)).collect();
    if own.len() > MAX_BUDGETS {
        said.push(format!("and {} more objectives", own.len() - MAX_BUDGETS));
    }
    Ok(Some(said.join("; ")).filter(|said| !said.is_empty()))
}

/// An indicator whose budget an alert spends.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spent<'a> {
    sli: &'a str,
    /// What of it: a column, a feed, slices; all of it without one.
    part: Option<&'a str>,
}

impl<'a> Spent<'a> {
    fn of(condition: &'a Condition, worst: &'a Member, slices: &'a [Slices]) -> BTreeSet<Self> {
        match condition {
            Condition::Sli { sli, .. } => {
                let part = worst.labels.get(part_label(sli)).map_or("", String::as_str);
                [Self { sli, part: Some(part) }].into()
            }
            Condition::Score { score, .. } => {
                let column = worst.labels.get("column").map_or("", String::as_str);
                let is_it = |slices: &&Slices| {
                    let is_looked_at = slices.columns.is_empty() || slices.columns.iter().any(|own| own == column);
                    slices.score.name() == score && is_looked_at
                };
                slices.iter().filter(is_it).map(|own| Self { sli: SLICES_SLI, part: Some(&own.name) }).collect()
            }
            Condition::Expression { expression, .. } => Self::named_in(expression),
            Condition::Budget { .. } => BTreeSet::new(),
        }
    }

    fn named_in(expression: &Expression) -> BTreeSet<Self> {
        let named = expression.variables().iter().filter_map(|variable| match Named::of(variable).ok()? {
            Named::Indicator(sli, _) => Some(Self { sli, part: None }),
            Named::Latency(_) => Some(Self { sli: "latency", part: None }),
            Named::Score(..) | Named::Rows | Named::Metric(_) => None,
        });
        named.collect()
    }

    fn is_of(&self, one: &Objectively<'_>) -> bool {
        one.sli == self.sli && self.part.is_none_or(|part| part == one.label)
    }
}

fn left(one: &Objectively<'_>) -> String {
    let Objectively { rule, objective, period, .. } = one;
    let budget = objective.budget(*period);
    // Of few events not one bad one may be allowed.
    let allowed = match budget.allowed {
        few if few < 10.0 => significant(few),
        many => thousands(many.round() as u64),
    };
    format!(
        "{} left over {}: {} of {allowed} bad events that it allows are spent ({})",
        percent(budget.left),
        objective.period().in_words(),
        thousands(budget.spent),
        rule.name
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use driftline_alerts::{Alert, Labels, Observation, Transition};

    use super::*;
    use crate::config::Config;
    use crate::pipeline::slis::SliCounts;

    const HOUR: i64 = 3_600_000_000;
    const NOW: i64 = 1_000 * HOUR;

    /// What becomes of the rule `Own` when it is told this of the model m.
    fn change(rules: &[Rule], labels: &[(&str, &str)], name: &str, reading: Reading) -> Change {
        let rule = rules.iter().find(|rule| rule.name == "Own").unwrap();
        let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut alert = Alert::new(rule, Alert::group(rule, &labels).unwrap());
        let observation = Observation { name: name.to_owned(), labels, reading };
        let transition = alert.observe(rule, &[observation], NOW, HOUR).unwrap();
        assert!(matches!(transition, Transition::Fired { .. }));
        Change { rule: rule.clone(), alert, transition }
    }

    fn config(when: &str) -> Config {
        let own = format!("{{name: Own, severity: page, runbook: latency-slo, when: {when}}}");
        let month = "{name: Month, severity: ticket, runbook: latency-budget, when: {sli: latency, objective: 0.9, burns: slow}}";
        let drift =
            "{name: Drift, severity: ticket, runbook: feature-drift, when: {sli: slices, objective: 0.9, burns: slow}}";
        let slices = "slices: [{name: of_x, score: psi, columns: [x]}, {name: all, score: psi}, {name: gaps, score: missing_share}]";
        let yaml = format!("models: [{{name: m, slis: {{{slices}}}}}]\nalerts: {{rules: [{own}, {month}, {drift}]}}");
        Config::parse("d.yaml", &yaml, Path::new("/")).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// 1,000 requests of the model, of which 15 were late, and windows of its slices.
    fn counted() -> Connection {
        let db = crate::store::in_memory().unwrap();
        let mut counts = SliCounts::default();
        counts.count("m", "latency", "", NOW - HOUR, Counts { good: 985, valid: 1000, unknown: 0 });
        for (slices, good) in [("of_x", 0), ("all", 19), ("gaps", 20)] {
            counts.count("m", SLICES_SLI, slices, NOW - HOUR, Counts { good, valid: 20, unknown: 0 });
        }
        counts.store(&db).unwrap();
        db
    }

    fn budgets(when: &str, labels: &[(&str, &str)], name: &str, reading: Reading) -> Option<String> {
        let config = config(when);
        let rules = &config.alerting.rules;
        let change = change(rules, labels, name, reading);
        budgets_left(&counted(), (rules, &config.models[0].slis.slices), &change, NOW).unwrap()
    }

    const LATE: Reading = Reading::Ratio { good: 85, valid: 100, unknown: 0 };

    #[test]
    fn an_expression_says_whether_it_allows_for_chance() {
        let holds = Reading::Expression { holds: true, values: Default::default() };
        let said = |text: &str| {
            let config = config(&format!("'{text}'"));
            confidence(&change(&config.alerting.rules, &[("model", "m")], text, holds), None).unwrap()
        };
        assert!(said("p90[5m] > 1s").ends_with("with no allowance for chance"));
        assert!(said("psi > psi.limit").ends_with("by the limits that it names"));
    }

    #[test]
    fn what_has_become_zero_is_no_certainty() {
        assert_eq!(at_most(0.25), "0.25 at most");
        assert_eq!(at_most(0.0), "less than 1e-300");
    }

    #[test]
    fn an_alert_on_an_indicator_says_what_is_left_of_its_budgets_and_of_no_other() {
        let when = "{sli: latency, below: 0.9, over: 5m, min_events: 10}";
        assert_eq!(
            budgets(when, &[("model", "m")], "latency", LATE).as_deref(),
            Some(
                "-50% left over 30 days: 15 of 10 bad events that it allows are spent (LatencyBudget); \
                 85% left over 30 days: 15 of 100 bad events that it allows are spent (Month)"
            )
        );
        let holds = Reading::Expression { holds: true, values: Default::default() };
        let said = budgets("'p90[5m] > 1s'", &[("model", "m")], "p90[5m] > 1s", holds).unwrap();
        assert!(said.contains("(LatencyBudget)") && said.contains("(Month)"), "{said}");
        let other = "{sli: schema, below: 0.9, over: 5m, min_events: 10}";
        assert_eq!(budgets(other, &[("model", "m")], "schema", LATE), None, "there is no objective on it");
        let month = "{sli: latency, objective: 0.99, burns: fast}";
        let counts = Counts { good: 0, valid: 1000, unknown: 0 };
        let burn = Reading::Burn { period: counts, long: [counts; 2], short: [counts; 2] };
        assert_eq!(budgets(month, &[("model", "m")], "latency", burn), None, "it says so itself");
    }

    #[test]
    fn a_drift_says_what_is_left_of_the_slices_that_it_makes_bad() {
        let drift = Reading::Score { value: 0.9, threshold: 0.2, noise: 0.1, n: 1000 };
        let of = |column: &str, score: &str| {
            let when = format!("{{score: {score}, windows: 1 of 1}}");
            budgets(&when, &[("model", "m"), ("version", "1"), ("column", column)], score, drift)
        };
        let all = "50% left over 30 days: 1 of 2 bad events that it allows are spent (Drift)";
        assert_eq!(of("y", "psi").as_deref(), Some(all));
        let of_x = of("x", "psi").unwrap();
        assert!(of_x.contains(all) && of_x.contains("-900% left over 30 days: 20 of 2"), "{of_x}");
        assert_eq!(of("x", "ks"), None, "no slices are good or bad by it");
    }

    #[test]
    fn an_indicator_of_requests_says_how_likely_it_is_by_chance_and_one_of_looks_does_not() {
        let of = |sli: &str, counts: (u64, u64)| {
            let config = config(&format!("{{sli: {sli}, below: 0.99, over: 5m, min_events: 1}}"));
            let reading = Reading::Ratio { good: counts.1 - counts.0, valid: counts.1, unknown: 0 };
            confidence(&change(&config.alerting.rules, &[("model", "m")], sli, reading), None)
        };
        // From SciPy: binom.sf(2, 10, 0.01) is 1.1385e-4.
        assert_eq!(
            of("availability", (3, 10)).as_deref(),
            Some(
                "3 bad ones or more of 10 come by chance with a probability of 0.000114 where 99% are good, if each is bad on its own"
            )
        );
        assert_eq!(of("heard", (3, 10)), None);
    }
}
