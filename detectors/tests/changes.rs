//! Change detectors over time: equal to river's step by step, true to their published run lengths, and quiet where nothing
//! changes.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::change::{
    Adwin, AdwinSettings, Baseline, ChangeDetector, ChangeKind, Cusum, CusumSettings, Direction, Ewma, EwmaSettings,
    Kswin, KswinSettings, PageHinkley, PageHinkleySettings, Stream, onset,
};
use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

/// River's own numbers on real flights; `tests/golden/make_changes.py` makes them.
const GOLDEN: &str = include_str!("../../tests/golden/changes.json");

/// One stream with what river says of it.
#[derive(Deserialize)]
struct Golden {
    stream: Vec<f64>,
    page_hinkley: OfPageHinkley,
    adwin: OfAdwin,
}

#[derive(Deserialize)]
struct OfPageHinkley {
    settings: Value,
    alarms: Vec<usize>,
    heights: Vec<(usize, f64, f64)>,
}

#[derive(Deserialize)]
struct OfAdwin {
    settings: Value,
    alarms: Vec<usize>,
    widths: Vec<u64>,
    forgetful_alarms: Vec<usize>,
    sums: Vec<(usize, f64, f64)>,
}

fn golden() -> Vec<Golden> {
    let file: Value = serde_json::from_str(GOLDEN).unwrap();
    ["late_share", "temp", "dep_delay"].map(|name| Golden::deserialize(&file[name]).unwrap()).into()
}

fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1.0)
}

/// Normal numbers, the same on every machine.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[test]
fn page_hinkley_equals_rivers_step_by_step() {
    for Golden { stream, page_hinkley, .. } in golden() {
        let number = |name: &str| page_hinkley.settings[name].as_f64().unwrap();
        let mut detector = PageHinkley::new(PageHinkleySettings {
            min_values: number("min_instances") as u64,
            tolerance: number("delta"),
            limit: number("threshold"),
            memory: number("alpha"),
        });
        let mut heights = page_hinkley.heights.iter();
        let mut next = heights.next();
        let mut alarms = Vec::new();
        for (step, value) in stream.iter().enumerate() {
            alarms.extend(detector.update(*value).map(|_| step));
            if let Some((_, rise, fall)) = next.filter(|(at, ..)| *at == step) {
                assert!(is_close(detector.heights().0, *rise) && is_close(detector.heights().1, *fall), "step {step}");
                next = heights.next();
            }
        }
        assert_eq!(alarms, page_hinkley.alarms);
        assert!(next.is_none() && !alarms.is_empty());
    }
}

fn adwin_settings(golden: &OfAdwin) -> AdwinSettings {
    let whole = |name: &str| golden.settings[name].as_u64().unwrap();
    AdwinSettings {
        delta: golden.settings["delta"].as_f64().unwrap(),
        clock: whole("clock") as u32,
        max_buckets: whole("max_buckets") as usize,
        min_part: whole("min_window_length"),
        min_values: whole("grace_period"),
    }
}

#[test]
fn adwins_window_equals_rivers_step_by_step() {
    for Golden { stream, adwin, .. } in golden() {
        let mut window = Adwin::new(adwin_settings(&adwin));
        let mut sums = adwin.sums.iter();
        let mut next = sums.next();
        let (mut alarms, mut widths) = (Vec::new(), Vec::new());
        for (step, value) in stream.iter().enumerate() {
            if let Some(change) = window.update(*value) {
                alarms.push(step);
                widths.push(change.values);
            }
            if let Some((_, mean, squares)) = next.filter(|(at, ..)| *at == step) {
                assert!(is_close(window.mean().unwrap(), *mean) && is_close(window.squares(), *squares), "step {step}");
                next = sums.next();
            }
        }
        assert_eq!((alarms, widths), (adwin.alarms.clone(), adwin.widths.clone()));
        assert!(next.is_none());
    }
}

#[test]
fn an_adwin_that_is_reset_after_a_change_alarms_where_rivers_does() {
    for Golden { stream, adwin, .. } in golden() {
        let mut window = Adwin::new(adwin_settings(&adwin));
        let mut alarms = Vec::new();
        for (step, value) in stream.iter().enumerate() {
            if window.update(*value).is_some() {
                alarms.push(step);
                window.reset();
            }
        }
        assert_eq!(alarms, adwin.forgetful_alarms);
    }
}

/// Values until the first alarm, on average, of a stream that lies so many standard deviations off its level.
fn run_length(detector: &ChangeDetector, shift: f64, runs: u32) -> f64 {
    let mut normal = Normal(42);
    let mut values = 0u64;
    for _ in 0..runs {
        let mut detector = detector.clone();
        while {
            values += 1;
            detector.update(10.0 + 2.0 * (shift + normal.next())).is_none()
        } {}
    }
    values as f64 / f64::from(runs)
}

/// Montgomery, Introduction to Statistical Quality Control, tables 9.3 (slack 0.5, limits 4 and 5) and 9.11.
#[test]
fn run_lengths_are_the_published_ones() {
    let known = Baseline::Known { mean: 10.0, standard_deviation: 2.0 };
    let cusum = |limit| ChangeDetector::Cusum(Cusum::new(CusumSettings { slack: 0.5, limit }, known));
    let ewma = |weight, limit| ChangeDetector::Ewma(Ewma::new(EwmaSettings { weight, limit }, known));
    for (what, detector, lengths) in [
        ("CUSUM to 4", cusum(4.0), [(0.0, 168.0), (0.5, 26.6), (1.0, 8.38), (2.0, 3.34)]),
        ("CUSUM to 5", cusum(5.0), [(0.0, 465.0), (0.5, 38.0), (1.0, 10.4), (2.0, 4.01)]),
        ("EWMA of 0.2", ewma(0.2, 2.962), [(0.0, 500.0), (0.5, 41.8), (1.0, 10.5), (2.0, 3.7)]),
        ("EWMA of 0.4", ewma(0.4, 3.054), [(0.0, 500.0), (0.5, 71.2), (1.0, 14.3), (2.0, 3.5)]),
    ] {
        for (shift, published) in lengths {
            let found = run_length(&detector, shift, 4000);
            // The published EWMA's limits are those of an old chart; ours are narrower at first, and alarm a little sooner.
            let sooner = if what.starts_with("EWMA") { 0.75 } else { 0.0 };
            assert!(
                found < published * 1.05 && found > published * 0.95 - sooner,
                "{what} off by {shift}: {found}, published is {published}"
            );
        }
    }
}

/// A level that is learned costs some power, and no false alarms: Hawkins' values are standard normal from the first on.
#[test]
fn a_level_that_is_learned_on_the_way_cries_no_earlier() {
    let detector = ChangeDetector::Cusum(Cusum::default());
    let found = run_length(&detector, 3.0, 1000);
    assert!((440.0..520.0).contains(&found), "{found} values to a false alarm, published is 465");
}

#[test]
fn both_directions_are_found_and_their_beginning_is_near() {
    let detectors = || {
        [
            ChangeDetector::Cusum(Cusum::default()),
            ChangeDetector::Ewma(Ewma::default()),
            ChangeDetector::Adwin(Adwin::new(AdwinSettings { clock: 1, ..AdwinSettings::default() })),
            ChangeDetector::PageHinkley(PageHinkley::new(PageHinkleySettings {
                limit: 15.0,
                tolerance: 0.3,
                ..PageHinkleySettings::default()
            })),
        ]
    };
    for (shift, direction) in [(3.0, Direction::Up), (-3.0, Direction::Down)] {
        for mut detector in detectors() {
            let mut normal = Normal(7);
            assert!((0..60).all(|_| detector.update(normal.next()).is_none()), "{detector:?}");
            let found = (1..=60).find_map(|after| Some((after, detector.update(shift + normal.next())?)));
            let (after, change) = found.unwrap();
            assert_eq!(change.direction, direction, "{detector:?}");
            assert!(change.statistic > change.limit && after <= 20, "{after}: {change:?}");
            // ADWIN's window gives way bucket by bucket; the others know where their sums turned.
            if !matches!(detector, ChangeDetector::Adwin(_)) {
                assert!(change.values.abs_diff(after) <= 3, "{after} values ago, not {}: {detector:?}", change.values);
            }
        }
    }
}

/// Independent normal values about two levels: the interval holds the beginning as often as it says.
#[test]
fn an_onsets_interval_holds_the_beginning() {
    let mut normal = Normal(11);
    for (n, shift) in [(20, 2.0), (20, 4.0), (60, 1.5)] {
        let (mut held, mut width) = (0, 0);
        const TRIALS: usize = 1000;
        for trial in 0..TRIALS {
            let change = 3 + trial % (n - 5);
            let history: Vec<f64> = (0..n).map(|i| normal.next() + if i >= change { shift } else { 0.0 }).collect();
            let found = onset(&history).unwrap();
            assert!(found.earliest <= found.first && found.first <= found.latest);
            held += usize::from((found.earliest..=found.latest).contains(&change));
            width += found.latest - found.earliest + 1;
        }
        let (held, width) = (held as f64 / TRIALS as f64, width as f64 / TRIALS as f64);
        assert!(held >= 0.93, "{n} values, shift {shift}: {held} of the intervals hold it");
        assert!(width < n as f64 * 0.6, "{n} values, shift {shift}: {width} wide on average");
    }
}

#[test]
fn panes_that_have_not_changed_are_rarely_a_change_and_those_that_have_are_found_and_left_behind() {
    let mut normal = Normal(5);
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    (0..6000).for_each(|_| builder.number(None, normal.next()));
    let reference = builder.build(None).unwrap();
    let mut pane = |shift: f64| {
        let mut pane = reference.empty_profile();
        reference.count_numbers(&mut pane, &(0..40).map(|_| shift + normal.next()).collect::<Vec<_>>());
        pane
    };
    let mut panes = Kswin::new(KswinSettings::default());
    let quiet = (0..500).filter_map(|_| panes.push(&reference, pane(0.0)));
    let changes = quiet.filter(|comparison| comparison.is_change).count();
    assert!(changes <= 5, "{changes} changes in 500 panes without any");
    let found = (1..=5).find(|_| panes.push(&reference, pane(0.8)).is_some_and(|comparison| comparison.is_change));
    assert!(found.unwrap() <= 3);
    assert_eq!(panes.panes(), 3);
    assert_eq!(panes.push(&reference, reference.empty_profile()), None, "an empty pane says nothing");
}

#[test]
fn panes_compare_as_their_raw_values_do() {
    // Two decimals, so that the grid is exact; the panes drift while they go.
    let mut normal = Normal(11);
    let mut draw = |shift: f64, size: usize| -> Vec<f64> {
        (0..size).map(|_| ((shift + normal.next()) * 100.0).round() / 100.0).collect()
    };
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    draw(0.0, 3000).into_iter().for_each(|value| builder.number(None, value));
    let reference = builder.build(None).unwrap();
    let settings = KswinSettings { recent: 2, before: 3, min_statistic: 1.0, ..KswinSettings::default() };
    let mut panes = Kswin::new(settings);
    let mut raw: Vec<Vec<f64>> = Vec::new();
    let mut compared = 0;
    for i in 0..40 {
        raw.push(draw(f64::from(i) * 0.05, 30 + i as usize));
        let mut pane = reference.empty_profile();
        reference.count_numbers(&mut pane, &raw[raw.len() - 1]);
        let Some(comparison) = panes.push(&reference, pane) else { continue };
        let last = raw[raw.len() - 2..].concat();
        let before = raw[raw.len() - 5..raw.len() - 2].concat();
        let share =
            |values: &[f64], x: f64| values.iter().filter(|value| **value <= x).count() as f64 / values.len() as f64;
        let gaps = before.iter().chain(&last).map(|x| (share(&before, *x) - share(&last, *x)).abs());
        let truth = gaps.fold(0.0, f64::max);
        assert!((comparison.statistic - truth).abs() < 1e-12, "{truth} {comparison:?}");
        assert_eq!(comparison.values, (before.len() as u64, last.len() as u64));
        compared += 1;
    }
    assert_eq!(compared, 36);
}

fn all_detectors() -> Vec<ChangeDetector> {
    let known = Baseline::Known { mean: 0.0, standard_deviation: 1.0 };
    vec![
        ChangeDetector::PageHinkley(PageHinkley::default()),
        ChangeDetector::Cusum(Cusum::default()),
        ChangeDetector::Cusum(Cusum::new(CusumSettings::default(), known)),
        ChangeDetector::Ewma(Ewma::default()),
        ChangeDetector::Ewma(Ewma::new(EwmaSettings::default(), known)),
        ChangeDetector::Adwin(Adwin::default()),
        ChangeDetector::Adwin(Adwin::new(AdwinSettings { clock: 1, min_part: 0, ..AdwinSettings::default() })),
    ]
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -3.0..3.0f64,
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(1e99), Just(-1e99), Just(f64::MIN_POSITIVE)],
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::MAX)],
    ]
}

proptest! {
    #[test]
    fn any_stream_is_taken_and_what_is_said_of_it_is_finite(stream in proptest::collection::vec(any_value(), 0..300)) {
        for mut detector in all_detectors() {
            for value in &stream {
                if let Some(change) = detector.update(*value) {
                    prop_assert!(change.statistic.is_finite() && change.statistic > change.limit, "{:?}", change);
                    prop_assert!(change.values >= 1 && change.values <= stream.len() as u64);
                }
            }
        }
        if let Some(onset) = onset(&stream) {
            prop_assert!(onset.earliest <= onset.first && onset.first <= onset.latest && onset.latest < stream.len());
            prop_assert!(onset.before.is_finite() && onset.after.is_finite());
        }
    }

    #[test]
    fn a_constant_stream_never_alarms(value in -1e6..1e6f64, n in 1usize..400) {
        for mut detector in all_detectors() {
            if matches!(&detector, ChangeDetector::Cusum(known) if *known != Cusum::default())
                || matches!(&detector, ChangeDetector::Ewma(known) if *known != Ewma::default())
            {
                continue; // A level that is known is another one.
            }
            for _ in 0..n {
                prop_assert_eq!(detector.update(value), None, "{:?}", detector);
            }
        }
        prop_assert_eq!(onset(&vec![value; n]), None);
    }

    #[test]
    fn values_that_are_none_change_nothing(
        stream in proptest::collection::vec(-3.0..3.0f64, 1..100),
        at in 0usize..100,
    ) {
        let mut with = stream.clone();
        with.insert(at.min(stream.len()), f64::NAN);
        for detector in all_detectors() {
            let run = |stream: &[f64]| {
                let mut detector = detector.clone();
                for value in stream {
                    detector.update(*value);
                }
                detector
            };
            prop_assert_eq!(run(&stream), run(&with));
        }
    }

    #[test]
    fn a_detector_goes_on_from_its_stored_state(
        stream in proptest::collection::vec(-3.0..3.0f64, 1..200),
        at in 0usize..200,
    ) {
        let at = at.min(stream.len());
        for mut whole in all_detectors() {
            let mut first = whole.clone();
            let before: Vec<_> = stream[..at].iter().map(|value| first.update(*value)).collect();
            let stored = serde_json::to_string(&first).unwrap();
            prop_assert!(stored.len() < 20_000);
            let mut second: ChangeDetector = serde_json::from_str(&stored).unwrap();
            let after = stream[at..].iter().map(|value| second.update(*value));
            let parts: Vec<_> = before.into_iter().chain(after).collect();
            let at_once: Vec<_> = stream.iter().map(|value| whole.update(*value)).collect();
            prop_assert_eq!(parts, at_once);
        }
    }

    #[test]
    fn a_stream_turned_upside_down_alarms_at_the_same_values_the_other_way(
        stream in proptest::collection::vec(-3.0..3.0f64, 1..200),
        step in 0.0..6.0f64,
    ) {
        for mut detector in all_detectors() {
            let mut other = detector.clone();
            for (index, value) in stream.iter().enumerate() {
                let value = value + if index > 60 { step } else { 0.0 };
                let (up, down) = (detector.update(value), other.update(-value));
                prop_assert_eq!(up.map(|change| change.values), down.map(|change| change.values));
                prop_assert!(up.is_none_or(|up| down.is_some_and(|down| up.direction != down.direction)));
            }
        }
    }
}

/// The share of streams of sixty values that begin a rise with their last one, where nothing changes.
fn false_rises(kind: ChangeKind, mut value: impl FnMut() -> f64) -> f64 {
    const STREAMS: usize = 40_000;
    const LENGTH: usize = 60;
    let mut values: Vec<f64> = (0..LENGTH).map(|_| value()).collect();
    let mut begun = 0;
    let mut was_risen = true;
    for _ in 0..STREAMS {
        values.remove(0);
        values.push(value());
        let standing = Stream::of_score(Detector::Psi, &values, 0.0).standing(kind).unwrap();
        begun += usize::from(standing.height > 1.0 && !was_risen);
        was_risen = standing.height > 1.0;
    }
    begun as f64 / STREAMS as f64
}

#[test]
fn streams_without_a_change_hardly_ever_rise() {
    for (kind, once_in) in [(ChangeKind::Cusum, 500.0), (ChangeKind::Ewma, 350.0)] {
        let mut normal = Normal(41);
        // As PSI of ten cells is when nothing drifts: a chi-square of nine degrees of freedom.
        let rate = false_rises(kind, || 0.002 * (0..9).map(|_| normal.next().powi(2)).sum::<f64>());
        assert!(rate < 1.0 / once_in, "{kind:?}: one in {:.0}", 1.0 / rate);
    }
}
