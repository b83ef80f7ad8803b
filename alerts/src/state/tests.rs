use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::few::{Few, FewEvents, LastEvents};
use crate::rule::{Condition, Flapping, KofM, Recovery, Severity, Wording};
use crate::slo::Counts;

const MINUTE: Micros = 60_000_000;
const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;
const HOURLY: Patience = Patience { forget_after: DAY, every: HOUR };

pub(crate) fn rule(k: u32, m: u32) -> Rule {
    Rule {
        name: "FeatureDrift".into(),
        severity: Severity::Ticket,
        runbook: "feature-drift".into(),
        condition: Condition::Score {
            score: "psi".into(),
            matching: Labels::new(),
            above: Some(0.2),
            windows: KofM::new(k, m).unwrap(),
        },
        group_by: vec!["model".into()],
        targets: vec![],
        repeat: None,
        escalate: vec![],
        explained_by: vec![],
        recovery: Recovery::default(),
        wording: Wording::default(),
    }
}

pub(crate) fn observation(column: &str, value: Option<f64>) -> Observation {
    let reading =
        value.map_or(Reading::NotEnoughData, |value| Reading::Score { value, threshold: 0.2, noise: 0.05, n: 1000 });
    let labels = [("model", "flights"), ("column", column)].map(|(name, value)| (name.into(), value.into()));
    Observation { name: "psi".into(), labels: labels.into(), reading }
}

/// An alert of which these columns are over.
pub(crate) fn fired(rule: &Rule, columns: &[&str]) -> Alert {
    let mut alert = alert(rule);
    let observed: Vec<Observation> = columns.iter().map(|column| observation(column, Some(0.9))).collect();
    assert!(matches!(alert.observe(rule, &observed, 0, DAY), Some(Transition::Fired { .. })));
    alert
}

fn alert(rule: &Rule) -> Alert {
    Alert::new(rule, Alert::group(rule, &observation("temp", None).labels).unwrap())
}

/// The phases that a history of one column goes through.
fn phases(rule: &Rule, history: &[Option<f64>]) -> Vec<&'static str> {
    let mut alert = alert(rule);
    let step = |(now, value): (usize, &Option<f64>)| {
        alert.observe(rule, &[observation("temp", *value)], now as Micros, DAY);
        alert.phase.name()
    };
    history.iter().enumerate().map(step).collect()
}

#[test]
fn ids_of_a_rule_sort_by_time_and_differ_within_a_second() {
    let rule = rule(1, 1);
    let id = |now| match alert(&rule).observe(&rule, &[observation("temp", Some(0.9))], now, DAY) {
        Some(Transition::Fired { episode }) => episode,
        other => panic!("{other:?}"),
    };
    let times = [0, 1, 10, 100_000, 999_999, MINUTE, 3 * DAY, 1_373_500_000_000_000, 1_373_500_000_100_000];
    let ids: Vec<String> = times.map(id).into();
    assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == ids[0].len()), "{ids:?}");
    assert_eq!(ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len());
}

#[test]
fn fires_at_k_of_m_and_resolves_when_it_stays_quiet() {
    let (low, high) = (Some(0.1), Some(0.9));
    assert_eq!(
        phases(&rule(2, 3), &[low, high, low, high, low, low, low]),
        ["inactive", "pending", "inactive", "firing", "firing", "inactive", "inactive"],
        "one quiet window does not resolve what two of three made fire"
    );
}

#[test]
fn silence_neither_fires_nor_resolves() {
    let high = Some(0.9);
    assert_eq!(phases(&rule(1, 1), &[high, None, None, Some(0.0)]), ["firing", "firing", "firing", "inactive"]);
    assert_eq!(phases(&rule(2, 2), &[high, None, high, high]), ["pending", "inactive", "pending", "firing"]);
}

#[test]
fn of_windows_of_which_only_the_farthest_get_a_verdict_two_of_three_are_not_any_two() {
    let history: Vec<Option<f64>> = (0..30).map(|window| (window % 3 == 0).then_some(0.9)).collect();
    assert!(!phases(&rule(2, 3), &history).contains(&"firing"));
    assert!(phases(&rule(2, 4), &history).contains(&"firing"), "two of four it is");
}

/// A rule that waits so long for a verdict.
fn waiting(after: Duration) -> Rule {
    Rule { recovery: Recovery { without_verdict: Some(after), ..Recovery::default() }, ..rule(1, 1) }
}

/// Observes one column at these hours without a verdict, and says at which of them the alert ended, and with whom.
fn ends_without_verdict(
    alert: &mut Alert,
    rule: &Rule,
    hours: impl IntoIterator<Item = i64>,
) -> Option<(i64, Vec<Member>)> {
    hours.into_iter().find_map(|hour| match alert.observe(rule, &[observation("temp", None)], hour * HOUR, HOURLY)? {
        Transition::Resolved { members, .. } => Some((hour, members)),
        fired @ Transition::Fired { .. } => panic!("{fired:?}"),
    })
}

#[test]
fn an_alert_without_a_verdict_for_long_ends_and_its_end_says_so() {
    let rule = waiting(Duration::from_secs(7 * 86_400));
    let mut alert = fired(&rule, &["temp"]);
    let (hour, members) = ends_without_verdict(&mut alert, &rule, 1..).unwrap();
    assert_eq!(hour, 7 * 24, "not in a night, and not on a weekend");
    assert!(members[0].is_given_up(&rule.recovery) && members[0].unjudged.windows == 168);
    assert!(matches!(
        alert.observe(&rule, &[observation("temp", Some(0.9))], 169 * HOUR, DAY),
        Some(Transition::Fired { .. })
    ));
}

#[test]
fn a_verdict_in_between_begins_the_wait_anew_and_time_without_windows_is_none() {
    let rule = waiting(Duration::from_secs(7 * 86_400));
    let mut alert = fired(&rule, &["temp"]);
    assert_eq!(ends_without_verdict(&mut alert, &rule, 1..160), None);
    assert_eq!(alert.observe(&rule, &[observation("temp", Some(0.9))], 160 * HOUR, DAY), None);
    assert_eq!(ends_without_verdict(&mut alert, &rule, 161..320), None);
    // The observer was away for a month.
    assert_eq!(ends_without_verdict(&mut alert, &rule, [1040]), None);
    assert_eq!(ends_without_verdict(&mut alert, &rule, 1041..).unwrap().0, 1048);
}

#[test]
fn however_long_windows_are_it_takes_more_than_one_without_a_verdict() {
    let rule = waiting(Duration::from_secs(3600));
    let mut alert = fired(&rule, &["temp"]);
    assert_eq!(ends_without_verdict(&mut alert, &rule, (1..).map(|day| day * 24)).unwrap().0, 4 * 24);
}

#[test]
fn it_ends_when_the_last_that_was_over_is_given_up_whatever_is_waited_for_otherwise() {
    let keep_firing_for = Duration::from_secs(30 * 86_400);
    let rule = waiting(Duration::from_secs(86_400));
    let rule = Rule { recovery: Recovery { keep_firing_for, ..rule.recovery }, ..rule };
    let mut alert = fired(&rule, &["temp", "dewp"]);
    let back = |now| [observation("temp", None), observation("dewp", (now < 10).then_some(0.1))];
    let ended = (1..).find(|hour| alert.observe(&rule, &back(*hour), hour * HOUR, HOURLY).is_some());
    assert_eq!(ended, Some(9 + 24), "one had a good word last, but says nothing any more either");
}

#[test]
fn an_indicator_without_data_never_ends() {
    let sli = String::from("latency");
    let over = Duration::from_secs(300);
    let condition = Condition::Sli { sli, matching: Labels::new(), below: 0.99, over, min_events: 1, few: None };
    let rule = Rule { condition, ..rule(1, 1) };
    let mut alert = alert(&rule);
    let bad = Observation { reading: Reading::Ratio { good: 0, valid: 9, unknown: 0 }, ..observation("temp", None) };
    assert!(matches!(alert.observe(&rule, &[bad], 0, DAY), Some(Transition::Fired { .. })));
    assert_eq!(ends_without_verdict(&mut alert, &rule, 1..10_000), None);
}

#[test]
fn what_chance_reaches_never_breaches() {
    let rule = rule(1, 1);
    let mut noisy = observation("temp", Some(0.9));
    noisy.reading = Reading::Score { value: 0.9, threshold: 0.2, noise: 1.5, n: 30 };
    let mut alert = alert(&rule);
    assert_eq!(alert.observe(&rule, &[noisy], 0, DAY), None);
}

#[test]
fn several_columns_are_one_alert_with_members() {
    let rule = rule(1, 1);
    let mut alert = alert(&rule);
    let fired = alert.observe(
        &rule,
        &[observation("temp", Some(0.9)), observation("dewp", Some(0.8)), observation("hour", Some(0.0))],
        7,
        DAY,
    );
    assert!(
        matches!(&fired, Some(Transition::Fired { episode }) if episode.starts_with("featuredrift-19700101000000")),
        "{fired:?}"
    );
    assert_eq!(alert.over().count(), 2);
    assert_eq!(alert.observe(&rule, &[observation("temp", Some(0.0))], 8, DAY), None);
    let resolved = alert.observe(&rule, &[observation("dewp", Some(0.0))], 9, DAY);
    let Some(Transition::Resolved { members, since: 7, .. }) = resolved else { panic!("{resolved:?}") };
    assert_eq!(members.len(), 2, "both were over at some time");
}

/// Observes one column each hour for some hours, and gives the first change.
fn hourly(alert: &mut Alert, column: &str, value: Option<f64>, hours: std::ops::Range<i64>) -> Option<Transition> {
    let step = |hour| alert.observe(&rule(1, 1), &[observation(column, value)], hour * HOUR, DAY);
    hours.into_iter().find_map(step)
}

#[test]
fn a_member_that_is_gone_resolves_and_the_next_drift_is_told_again() {
    let mut alert = alert(&rule(1, 1));
    assert!(matches!(hourly(&mut alert, "old", Some(0.9), 0..1), Some(Transition::Fired { .. })));
    // A new version is deployed: nothing is observed of the old one any more.
    assert_eq!(hourly(&mut alert, "new", Some(0.0), 1..24), None, "it may come back");
    let resolved = hourly(&mut alert, "new", Some(0.0), 24..30);
    let Some(Transition::Resolved { members, .. }) = resolved else { panic!("{resolved:?}") };
    assert_eq!(members[0].labels["column"], "old");
    assert!(matches!(hourly(&mut alert, "new", Some(0.9), 30..31), Some(Transition::Fired { .. })));
    hourly(&mut alert, "new", Some(0.9), 31..32);
    assert_eq!(alert.members.len(), 1, "the old one is forgotten");
}

#[test]
fn a_member_is_not_forgotten_while_nobody_looks_or_while_it_has_too_little_data() {
    let mut alert = alert(&rule(1, 1));
    hourly(&mut alert, "a", Some(0.9), 0..1);
    hourly(&mut alert, "b", Some(0.0), 0..1);
    // The observer was away for ten days.
    assert_eq!(hourly(&mut alert, "b", Some(0.0), 240..250), None);
    assert_eq!(hourly(&mut alert, "a", None, 250..251), None);
    assert_eq!(hourly(&mut alert, "b", Some(0.0), 251..273), None);
    assert!(matches!(alert.phase, Phase::Firing(_)));
}

#[test]
fn members_beyond_the_bound_are_counted() {
    let mut alert = alert(&rule(1, 1));
    let many: Vec<Observation> =
        (0..MAX_MEMBERS + 3).map(|column| observation(&column.to_string(), Some(0.0))).collect();
    alert.observe(&rule(1, 1), &many, 0, DAY);
    assert_eq!((alert.members.len(), alert.ignored), (MAX_MEMBERS, 3));
}

#[test]
fn an_sli_needs_enough_events() {
    let rule = Rule {
        condition: Condition::Sli {
            sli: "latency".into(),
            matching: Labels::new(),
            below: 0.99,
            over: std::time::Duration::from_secs(300),
            min_events: 100,
            few: None,
        },
        ..rule(1, 1)
    };
    let ratio =
        |good, valid| Observation { reading: Reading::Ratio { good, valid, unknown: 0 }, ..observation("temp", None) };
    let mut alert = alert(&rule);
    assert_eq!(alert.observe(&rule, &[ratio(0, 99)], 1, DAY), None);
    assert_eq!(alert.observe(&rule, &[ratio(99, 100)], 2, DAY), None);
    assert!(matches!(alert.observe(&rule, &[ratio(98, 100)], 3, DAY), Some(Transition::Fired { .. })));
    assert_eq!(alert.observe(&rule, &[ratio(0, 10)], 4, DAY), None, "too few events do not resolve it either");
    assert!(matches!(alert.observe(&rule, &[ratio(100, 100)], 5, DAY), Some(Transition::Resolved { .. })));
}

#[test]
fn good_events_end_nothing_while_too_many_others_are_lost() {
    let (matching, over) = (Labels::new(), Duration::from_secs(300));
    let share = Condition::Sli { sli: "latency".into(), matching, below: 0.99, over, min_events: 100, few: None };
    let share = Rule { condition: share, ..rule(1, 1) };
    let month = crate::Period::Rolling(Duration::from_secs(30 * 86_400));
    let objective = crate::Objective::new(0.99, month).unwrap();
    let (matching, pace) = (Labels::new(), crate::Pace::Fast);
    let budget = Condition::Budget { sli: "latency".into(), matching, objective, pace, min_events: 0 };
    let budget = Rule { condition: budget, ..rule(1, 1) };
    let ratio = |Counts { good, valid, unknown }| Reading::Ratio { good, valid, unknown };
    let burn = |counts| Reading::Burn { period: counts, long: [counts; 2], short: [counts; 2] };
    for (rule, reading) in [(&share, &ratio as &dyn Fn(Counts) -> Reading), (&budget, &burn)] {
        let read = |good, unknown| {
            [Observation { reading: reading(Counts { good, valid: 1000, unknown }), ..observation("temp", None) }]
        };
        let mut alert = alert(rule);
        assert_eq!(alert.observe(rule, &read(1000, 5000), 1, DAY), None, "what is lost begins nothing");
        assert!(matches!(alert.observe(rule, &read(0, 5000), 2, DAY), Some(Transition::Fired { .. })));
        assert_eq!(alert.observe(rule, &read(1000, 112), 3, DAY), None, "of 1,112 a tenth and more was lost");
        assert!(matches!(alert.observe(rule, &read(1000, 111), 4, DAY), Some(Transition::Resolved { .. })));
    }
}

#[test]
fn a_burn_does_not_end_because_fewer_ask() {
    let month = crate::Period::Rolling(Duration::from_secs(30 * 86_400));
    let objective = crate::Objective::new(0.99, month).unwrap();
    let (matching, pace) = (Labels::new(), crate::Pace::Fast);
    let condition = Condition::Budget { sli: "latency".into(), matching, objective, pace, min_events: 100 };
    let rule = Rule { condition, ..rule(1, 1) };
    let read = |bad, valid| {
        let counts = Counts { good: valid - bad, valid, unknown: 0 };
        let reading = Reading::Burn { period: counts, long: [counts; 2], short: [counts; 2] };
        [Observation { reading, ..observation("temp", None) }]
    };
    let mut alert = alert(&rule);
    assert_eq!(alert.observe(&rule, &read(99, 99), 1, DAY), None, "too few to begin");
    assert!(matches!(alert.observe(&rule, &read(100, 100), 2, DAY), Some(Transition::Fired { .. })));
    assert_eq!(alert.observe(&rule, &read(20, 20), 3, DAY), None, "all of them fail still");
    assert!(matches!(alert.observe(&rule, &read(0, 20), 4, DAY), Some(Transition::Resolved { .. })));
}

#[test]
fn where_few_events_come_the_last_of_them_are_judged() {
    let few = Few { events: FewEvents::new(0.99, 20, 1.0).unwrap(), within: Duration::from_secs(86_400) };
    let condition = Condition::Sli {
        sli: "latency".into(),
        matching: Labels::new(),
        below: 0.99,
        over: Duration::from_secs(300),
        min_events: 100,
        few: Some(few),
    };
    let rule = Rule { condition, ..rule(1, 1) };
    let read = |reading| Observation { reading, ..observation("temp", None) };
    let last = |bad: u64, newest_bad: u64| {
        let counts = |bad: u64, valid: u64| Counts { good: valid - bad, valid, unknown: 0 };
        read(Reading::Few(LastEvents { last: counts(bad, 20), newest: counts(newest_bad, 5), per_year: 8_766.0 }))
    };
    let mut alert = alert(&rule);
    assert_eq!(alert.observe(&rule, &[last(3, 3)], 1, DAY), None);
    assert!(matches!(alert.observe(&rule, &[last(4, 4)], 2, DAY), Some(Transition::Fired { .. })));
    // More come, and their share is what counts again.
    assert_eq!(alert.observe(&rule, &[read(Reading::Ratio { good: 98, valid: 100, unknown: 0 })], 3, DAY), None);
    assert!(matches!(alert.observe(&rule, &[last(4, 0)], 4, DAY), Some(Transition::Resolved { .. })));
    assert_eq!(
        alert.observe(&rule, &[read(Reading::Few(LastEvents::default()))], 5, DAY),
        None,
        "nothing says nothing"
    );
}

/// How an alert on one column stands after each minute's value.
fn standings(recovery: Recovery, history: &[Option<f64>]) -> Vec<&'static str> {
    let rule = Rule { recovery, ..rule(1, 1) };
    let mut alert = alert(&rule);
    let step = |(minute, value): (Micros, &Option<f64>)| {
        alert.observe(&rule, &[observation("temp", *value)], minute * MINUTE, DAY);
        alert.standing(3 * MINUTE, minute * MINUTE).map_or("-", Standing::name)
    };
    (1..).zip(history).map(step).collect()
}

#[test]
fn it_recovers_only_when_it_stays_quiet_and_says_so() {
    let (low, high) = (Some(0.1), Some(0.9));
    let recovery = Recovery { keep_firing_for: Duration::from_secs(120), ..Recovery::default() };
    let history = [high, low, low, high, low, None, None, low, high];
    let expected =
        ["firing", "recovering", "recovering", "firing", "recovering", "recovering", "recovering", "-", "firing"];
    assert_eq!(standings(recovery, &history), expected, "what says nothing is not quiet");
}

#[test]
fn what_is_over_must_come_back_to_where_the_rule_says() {
    let recovery = Recovery { clear_at: Some(0.15), ..Recovery::default() };
    let history = [0.19, 0.21, 0.19, 0.16, 0.15, 0.19].map(Some);
    assert_eq!(standings(recovery, &history), ["-", "firing", "firing", "firing", "-", "-"]);
}

#[test]
fn without_data_it_neither_resolves_nor_hides_that() {
    let history = [Some(0.9), None, None, None, None, Some(0.9), Some(0.1)];
    let expected = ["firing", "firing", "firing", "no_data", "no_data", "firing", "-"];
    assert_eq!(standings(Recovery::default(), &history), expected);
}

#[test]
fn one_that_begins_again_and_again_stays_until_it_was_quiet_for_longer() {
    let (low, high) = (Some(0.1), Some(0.9));
    let flapping = Some(Flapping { times: 3, within: Duration::from_secs(600) });
    let mut history = vec![high, low, high, low, high];
    history.extend([low; 11]);
    history.extend([high, low]);
    let said = standings(Recovery { flapping, ..Recovery::default() }, &history);
    assert_eq!(said[..5], ["firing", "-", "firing", "-", "firing"]);
    assert_eq!(said[5..16], [["recovering"; 10].as_slice(), &["-"]].concat(), "quiet for ten minutes");
    assert_eq!(said[16..], ["firing", "-"], "that is long ago by then");
}

#[test]
fn fingerprints_tell_alerts_apart() {
    let rule = rule(1, 1);
    let with = |labels: &[(&str, &str)]| {
        Alert::new(&rule, labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()).fingerprint()
    };
    assert_eq!(with(&[("a", "b")]), with(&[("a", "b")]));
    assert_ne!(with(&[("a", "bc")]), with(&[("ab", "c")]));
    assert_eq!(with(&[]).len(), 16);
}

/// What the machine should do, for one column of which so many windows in a row without a verdict are too many.
fn by_definition(history: &[Option<bool>], k: usize, m: usize, too_many: Option<usize>) -> Vec<bool> {
    let mut said = Vec::new();
    let mut firing = Vec::new();
    let mut unjudged = 0;
    for breach in history {
        unjudged = if breach.is_some() { 0 } else { unjudged + 1 };
        match breach {
            Some(breach) => said.push(*breach),
            None if firing.last() != Some(&true) => said.push(false),
            None if too_many.is_some_and(|too_many| unjudged >= too_many) => said.clear(),
            None => {}
        }
        let breaches_in = |last: usize| said.iter().rev().take(last).filter(|breach| **breach).count();
        let was_firing = firing.last() == Some(&true);
        firing.push(if was_firing { breaches_in(m - k + 1) > 0 } else { breaches_in(m) >= k });
    }
    firing
}

proptest! {
    #[test]
    fn random_histories_fire_as_defined_with_one_resolve_for_each_trigger(
        history in proptest::collection::vec(proptest::option::weighted(0.3, any::<bool>()), 0..60),
        k in 1u32..4, extra in 0u32..3, hours in proptest::option::of(1u32..9),
    ) {
        let without_verdict = hours.map(|hours| Duration::from_secs(3600) * hours);
        let rule = Rule { recovery: Recovery { without_verdict, ..Recovery::default() }, ..rule(k, k + extra) };
        let mut alert = alert(&rule);
        let mut open: Option<String> = None;
        let too_many = hours.map(|hours| hours.max(Recovery::LEAST_WITHOUT_VERDICT) as usize);
        let expected = by_definition(&history, k as usize, (k + extra) as usize, too_many);
        for (now, (breach, firing)) in history.iter().zip(expected).enumerate() {
            let value = breach.map(|breach| if breach { 0.9 } else { 0.1 });
            match alert.observe(&rule, &[observation("temp", value)], now as Micros * HOUR, HOURLY) {
                Some(Transition::Fired { episode }) => prop_assert_eq!(open.replace(episode), None),
                Some(Transition::Resolved { episode, .. }) => prop_assert_eq!(open.take(), Some(episode)),
                None => {}
            }
            prop_assert_eq!(matches!(alert.phase, Phase::Firing(_)), firing);
            prop_assert_eq!(open.is_some(), firing);
        }
    }
}
