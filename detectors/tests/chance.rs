//! How often scores cry drift when nothing has drifted, and whether they find what has.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;

use driftline_detectors::{ColumnKind, Detector, Profile, Reference, ReferenceBuilder, Score, Thresholds, Verdict};

/// A generator of uniform numbers from 0 to 1 (xorshift64*): the same on every machine.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of about a normal distribution with deviation 1.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }

    /// A category of so many, by about Zipf's law.
    fn zipf(&mut self, categories: f64) -> String {
        format!("category {}", categories.powf(self.next()) as u64)
    }
}

fn numeric(values: impl Iterator<Item = f64>) -> Reference {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    values.for_each(|value| builder.number(None, value));
    builder.build(None).unwrap()
}

fn categorical(names: impl Iterator<Item = String>) -> Reference {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Categorical);
    names.for_each(|name| builder.category(None, &name));
    builder.build(None).unwrap()
}

/// How often each detector says drift when every difference matters that is not chance.
fn cries(trials: u64, mut trial: impl FnMut() -> (Reference, Profile)) -> BTreeMap<Detector, u64> {
    let any_difference_matters = Thresholds(Detector::ALL.into_iter().map(|detector| (detector, 0.0)).collect());
    let mut cries = BTreeMap::new();
    for _ in 0..trials {
        let (reference, window) = trial();
        for score in reference.scores(&window, &any_difference_matters, true) {
            *cries.entry(score.detector).or_default() += u64::from(score.verdict == Verdict::Drift);
        }
    }
    cries
}

/// Of 400 windows, one that is drift in a thousand is rarely more than three.
fn assert_quiet(what: &str, cries: &BTreeMap<Detector, u64>) {
    for (detector, times) in cries {
        assert!(*times <= 3, "{what}: {detector:?} cries drift in {times} of 400 windows without any");
    }
}

#[test]
fn numbers_that_have_not_drifted_stay_quiet() {
    let mut uniform = Uniform(3);
    for (n, m) in [(1000, 40), (1000, 200), (300, 300), (100, 1000)] {
        let quiet = cries(400, || {
            let reference = numeric((0..n).map(|_| uniform.bell()));
            let mut window = reference.empty_profile();
            let rows: Vec<f64> = (0..m).map(|_| uniform.bell()).collect();
            reference.count_numbers(&mut window, &rows);
            (reference, window)
        });
        assert_quiet(&format!("{n} against {m} numbers"), &quiet);
    }
}

/// As most tools have it: on the reference's deciles, with a ten-thousandth in the place of an empty share.
fn usual_psi(reference: &[f64], window: &[f64]) -> f64 {
    let mut sorted = reference.to_vec();
    sorted.sort_by(f64::total_cmp);
    let edges: Vec<f64> = (1..10).map(|decile| sorted[sorted.len() * decile / 10]).collect();
    let shares = |rows: &[f64]| {
        let mut counts = [0.0; 10];
        rows.iter().for_each(|x| counts[edges.partition_point(|edge| edge <= x)] += 1.0);
        counts.map(|count: f64| (count / rows.len() as f64).max(1e-4))
    };
    shares(reference).into_iter().zip(shares(window)).map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

#[test]
fn two_samples_of_the_same_two_hundred_rows_are_no_drift_though_the_usual_rule_cries_one_time_in_three() {
    const DRAWS: usize = 3000;
    let mut uniform = Uniform(37);
    let (mut usual, mut beyond_noise, mut drift, mut p_values) = (0, 0, 0, Vec::new());
    for _ in 0..DRAWS {
        let mut rows = || -> Vec<f64> { (0..200).map(|_| uniform.bell()).collect() };
        let (before, now) = (rows(), rows());
        usual += usize::from(usual_psi(&before, &now) > 0.1);
        let reference = numeric(before.into_iter());
        let mut window = reference.empty_profile();
        reference.count_numbers(&mut window, &now);
        let psi = reference.scores_of([Detector::Psi], &window, &Thresholds::default(), true).remove(0);
        beyond_noise += usize::from(psi.effect > psi.noise.independent);
        drift += usize::from(psi.verdict == Verdict::Drift);
        assert!((0.2..0.4).contains(&psi.noise.independent), "{psi:?}");
        p_values.push(psi.p_value);
    }
    let usual = usual as f64 / DRAWS as f64;
    assert!((0.28..0.42).contains(&usual), "the usual rule cries in {usual} of the draws");
    // One in a thousand, and so many as chance brings once in ten thousand times.
    assert!(beyond_noise <= 11, "{beyond_noise} of {DRAWS} are beyond the noise");
    assert!(drift <= beyond_noise, "{drift} of {DRAWS} are drift");
    for (level, least, most) in [(0.1, 0.08, 0.12), (0.01, 0.004, 0.016)] {
        let share = p_values.iter().filter(|p| **p <= level).count() as f64 / DRAWS as f64;
        assert!((least..most).contains(&share), "{share} of the p-values are up to {level}");
    }
}

#[test]
fn with_rows_enough_the_same_is_ok() {
    let mut uniform = Uniform(41);
    for _ in 0..300 {
        let reference = numeric((0..2000).map(|_| uniform.bell()));
        let mut window = reference.empty_profile();
        reference.count_numbers(&mut window, &(0..1000).map(|_| uniform.bell()).collect::<Vec<_>>());
        for score in reference.scores_of([Detector::Psi, Detector::Ks], &window, &Thresholds::default(), true) {
            assert_eq!(score.verdict, Verdict::Ok, "{score:?}");
        }
    }
}

#[test]
fn categories_that_have_not_drifted_stay_quiet_though_new_ones_come() {
    let mut uniform = Uniform(5);
    // The last reference has more categories than it keeps by name.
    for (categories, n, m) in [(20.0, 600, 60), (2000.0, 600, 60), (2000.0, 600, 500), (30_000.0, 3000, 300)] {
        let quiet = cries(400, || {
            let reference = categorical((0..n).map(|_| uniform.zipf(categories)));
            let mut window = reference.empty_profile();
            (0..m).for_each(|_| reference.count_category(&mut window, &uniform.zipf(categories)));
            (reference, window)
        });
        assert!(quiet.contains_key(&Detector::NewCategoryShare));
        assert_quiet(&format!("{n} against {m} of {categories} categories"), &quiet);
    }
}

/// How a column comes about.
type Draw = fn(&mut Uniform) -> f64;

/// Columns of which much is tied, from a constant with exceptions to a few whole numbers, and one without ties.
const TIED: [(&str, Draw); 6] = [
    ("without ties", Uniform::bell),
    ("half are zero", |uniform| if uniform.next() < 0.5 { 0.0 } else { uniform.bell().exp() }),
    ("nine of ten are zero", |uniform| if uniform.next() < 0.9 { 0.0 } else { uniform.bell().exp() }),
    ("half are in the middle", |uniform| if uniform.next() < 0.5 { 0.0 } else { uniform.bell() }),
    ("yes or no", |uniform| f64::from(uniform.next() < 0.3)),
    ("ten whole numbers", |uniform| (10.0 * uniform.next()).floor()),
];

#[test]
fn anderson_darlings_p_values_are_uniform_whatever_is_tied() {
    const TRIALS: u32 = 2000;
    let mut uniform = Uniform(29);
    for (n, m) in [(400, 100), (150, 300)] {
        for (what, draw) in TIED {
            let mut p_values: Vec<f64> = (0..TRIALS)
                .map(|_| {
                    let reference = numeric((0..n).map(|_| draw(&mut uniform)));
                    let mut window = reference.empty_profile();
                    let rows: Vec<f64> = (0..m).map(|_| draw(&mut uniform)).collect();
                    reference.count_numbers(&mut window, &rows);
                    let asked = [Detector::AndersonDarling];
                    reference.scores_of(asked, &window, &Thresholds::default(), true)[0].p_value
                })
                .collect();
            p_values.sort_by(f64::total_cmp);
            let share = |p: f64| p_values.partition_point(|one| *one <= p) as f64 / f64::from(TRIALS);
            // Three standard errors and a tenth more. Before ties were known, one in ten was below 0.05 where half are zero.
            for p in [0.01, 0.05, 0.1, 0.25, 0.5] {
                let error = 3.0 * (p * (1.0 - p) / f64::from(TRIALS)).sqrt() + 0.1 * p;
                assert!((share(p) - p).abs() < error, "{what}, {n} against {m}: {} are below {p}", share(p));
            }
        }
    }
}

#[test]
fn rows_that_are_missing_by_chance_stay_quiet() {
    let mut uniform = Uniform(7);
    for share in [0.003, 0.03, 0.3] {
        let quiet = cries(400, || {
            let mut is_missing = || uniform.next() < share;
            let mut builder = ReferenceBuilder::new("x", ColumnKind::Categorical);
            for _ in 0..500 {
                if is_missing() { builder.missing(None) } else { builder.category(None, "a") }
            }
            let reference = builder.build(None).unwrap();
            let mut window = reference.empty_profile();
            reference.count_category(&mut window, "a");
            for _ in 0..30 {
                if is_missing() {
                    reference.count_missing(&mut window, 1);
                } else {
                    reference.count_category(&mut window, "a");
                }
            }
            (reference, window)
        });
        assert_quiet(&format!("{share} missing"), &quiet);
    }
}

/// A shift that every detector must find, but for those that look for something else.
fn assert_found(found: &BTreeMap<Detector, u64>) {
    const OF_OTHER_THINGS: [Detector; 8] = [
        Detector::MissingShare,
        Detector::NullShare,
        Detector::NanShare,
        Detector::InfiniteShare,
        Detector::WrongTypeShare,
        Detector::OutOfRangeShare,
        Detector::StuckShare,
        Detector::Spread,
    ];
    for (detector, times) in found.iter().filter(|(detector, _)| !OF_OTHER_THINGS.contains(detector)) {
        // Few rows lie beyond these quantiles, so chance moves them farther.
        let least = if matches!(detector, Detector::P05Shift | Detector::P95Shift) { 32 } else { 39 };
        assert!(*times >= least, "{detector:?}: {times} of 40");
    }
}

#[test]
fn what_has_drifted_is_found() {
    let mut uniform = Uniform(11);
    let found = cries(40, || {
        let reference = numeric((0..2000).map(|_| uniform.bell()));
        let mut window = reference.empty_profile();
        let rows: Vec<f64> = (0..400).map(|_| 0.5 + uniform.bell()).collect();
        reference.count_numbers(&mut window, &rows);
        (reference, window)
    });
    assert_found(&found);
    let found = cries(40, || {
        let reference = categorical((0..3000).map(|_| uniform.zipf(500.0)));
        let mut window = reference.empty_profile();
        for _ in 0..300 {
            let category = if uniform.next() < 0.3 { "unheard of".to_owned() } else { uniform.zipf(500.0) };
            reference.count_category(&mut window, &category);
        }
        (reference, window)
    });
    assert_found(&found);
}

#[test]
fn what_only_some_scores_look_for_is_found() {
    let mut uniform = Uniform(13);
    let found = cries(40, || {
        let reference = numeric((0..2000).map(|_| uniform.bell()));
        let mut window = reference.empty_profile();
        let rows: Vec<f64> = (0..400).map(|_| 1.5 * uniform.bell()).collect();
        reference.count_numbers(&mut window, &rows);
        reference.count_numbers(&mut window, &[9.0; 40]);
        reference.count_numbers(&mut window, &[f64::NAN; 40]);
        reference.count_numbers(&mut window, &[f64::INFINITY; 40]);
        reference.count_missing(&mut window, 40);
        reference.count_category(&mut window, "nine");
        reference.count_wrong_type(&mut window, 39);
        (reference, window)
    });
    for detector in [
        Detector::Spread,
        Detector::OutOfRangeShare,
        Detector::StuckShare,
        Detector::NullShare,
        Detector::NanShare,
        Detector::InfiniteShare,
        Detector::WrongTypeShare,
        Detector::MissingShare,
    ] {
        assert!(found[&detector] >= 39, "{detector:?}: {} of 40", found[&detector]);
    }
}

/// Mean effect and null mean of each detector over windows without drift.
#[test]
fn null_means_are_the_means_of_what_chance_makes() {
    let mut uniform = Uniform(17);
    for (n, m) in [(1000, 100), (300, 300), (200, 1500)] {
        let mut sums: BTreeMap<Detector, (f64, f64)> = BTreeMap::new();
        for _ in 0..400 {
            let reference = numeric((0..n).map(|_| uniform.bell()));
            let mut window = reference.empty_profile();
            let rows: Vec<f64> = (0..m).map(|_| uniform.bell()).collect();
            reference.count_numbers(&mut window, &rows);
            for score in reference.scores(&window, &Thresholds::default(), true) {
                let sum = sums.entry(score.detector).or_default();
                *sum = (sum.0 + score.effect, sum.1 + score.null_mean);
            }
        }
        for (detector, (effects, null_means)) in sums {
            // The most frequent of values that are all there once is no score of chance.
            if effects > 0.0 && detector != Detector::StuckShare {
                let ratio = null_means / effects;
                assert!((0.8..1.3).contains(&ratio), "{detector:?}, {n} against {m}: {ratio} times the mean");
            }
        }
    }
}

/// How often each interval holds the effect of the populations, which that of very large samples stands for.
fn coverage(truth: &[Score], trials: u64, mut trial: impl FnMut() -> Vec<Score>) -> BTreeMap<Detector, f64> {
    let mut held: BTreeMap<Detector, u64> = BTreeMap::new();
    for _ in 0..trials {
        for score in trial() {
            let truth = truth.iter().find(|truth| truth.detector == score.detector).unwrap();
            let holds = score.interval.0 - 1e-4 <= truth.effect && truth.effect <= score.interval.1 + 1e-4;
            *held.entry(score.detector).or_default() += u64::from(holds);
        }
    }
    held.into_iter().map(|(detector, held)| (detector, held as f64 / trials as f64)).collect()
}

#[test]
fn intervals_hold_the_effect_of_the_populations() {
    const MANY: u64 = 60_000;
    let mut uniform = Uniform(19);
    // On deciles and ranges, effects are of those that the reference happened to have, and no two references' are the same.
    let of_values = [
        Detector::Ks,
        Detector::Kuiper,
        Detector::CramerVonMises,
        Detector::AndersonDarling,
        Detector::Wasserstein,
        Detector::Energy,
        Detector::Auc,
        Detector::MeanShift,
        Detector::MedianShift,
        Detector::P05Shift,
        Detector::P25Shift,
        Detector::P75Shift,
        Detector::P95Shift,
        Detector::Spread,
    ];
    for (shift, width) in [(0.0, 1.0), (0.3, 1.0), (1.0, 1.5)] {
        let mut sample = |n: u64, m: u64| {
            // As measured: to the hundredth, so that large samples have no more distinct values than small grids hold.
            let mut draw = || (uniform.bell() * 100.0).round() / 100.0;
            let reference = numeric((0..n).map(|_| draw()));
            let mut window = reference.empty_profile();
            let rows: Vec<f64> = (0..m).map(|_| shift + width * draw()).collect();
            reference.count_numbers(&mut window, &rows);
            reference.scores_of(of_values, &window, &Thresholds::default(), true)
        };
        let truth = sample(MANY, MANY);
        assert_covered(&format!("shift {shift}, width {width}"), coverage(&truth, 200, || sample(600, 200)));
    }
    for tilt in [1.0, 1.3, 3.0] {
        let mut sample = |n: u64, m: u64| {
            let name = |share: f64| format!("category {}", (share * 12.0) as u64);
            let reference = categorical((0..n).map(|_| name(uniform.next())));
            let mut window = reference.empty_profile();
            (0..m).for_each(|_| reference.count_category(&mut window, &name(uniform.next().powf(tilt))));
            reference.scores(&window, &Thresholds::default(), true)
        };
        let truth = sample(MANY, MANY);
        assert_covered(&format!("tilt {tilt}"), coverage(&truth, 200, || sample(1500, 600)));
    }
}

#[test]
fn intervals_of_shares_hold_the_shares_of_the_populations() {
    const MANY: u64 = 200_000;
    /// What a row is, by how far a uniform number lies along these shares; the rest is a value.
    const UNUSABLE: usize = 4;
    let mut uniform = Uniform(23);
    for (before, now) in [([0.02; UNUSABLE], [0.02; UNUSABLE]), ([0.0, 0.01, 0.02, 0.05], [0.05, 0.05, 0.1, 0.02])] {
        let mut sample = |n: u64, m: u64| {
            let mut rows = |rows: u64, shares: [f64; UNUSABLE], stuck: f64| -> Vec<Option<f64>> {
                let mut row = || {
                    let mut left = uniform.next();
                    let place = shares.iter().position(|share| {
                        left -= share;
                        left < 0.0
                    });
                    match place {
                        Some(0) => None,
                        Some(1) => Some(f64::NAN),
                        Some(2) => Some(f64::INFINITY),
                        Some(_) => Some(f64::MAX),
                        None if uniform.next() < stuck => Some(4.0),
                        None => Some((uniform.next() * 20.0).floor()),
                    }
                };
                (0..rows).map(|_| row()).collect()
            };
            let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
            rows(n, before, 0.1).iter().for_each(|row| match row {
                // A value of another type is the fourth of them.
                Some(value) if *value == f64::MAX => builder.category(None, "none"),
                Some(value) => builder.number(None, *value),
                None => builder.missing(None),
            });
            let reference = builder.build(None).unwrap();
            let mut window = reference.empty_profile();
            rows(m, now, 0.3).iter().for_each(|row| match row {
                Some(value) if *value == f64::MAX => reference.count_wrong_type(&mut window, 1),
                Some(value) => reference.count_numbers(&mut window, &[*value]),
                None => reference.count_missing(&mut window, 1),
            });
            // Twenty values are all there are, so deciles are the same in each sample of them, and so is the range.
            reference.scores(&window, &Thresholds::default(), true)
        };
        let truth = sample(MANY, MANY);
        let covered = coverage(&truth, 200, || sample(1500, 600));
        assert_eq!(covered.len(), 29, "{covered:?}");
        assert_covered(&format!("{now:?} of the rows"), covered);
    }
}

#[test]
fn intervals_hold_the_share_of_what_the_reference_never_saw() {
    let mut uniform = Uniform(29);
    for (new, width) in [(0.0, 1.0), (0.02, 1.1), (0.2, 2.0)] {
        let (mut of_names, mut of_numbers) = (0, 0);
        for _ in 0..200 {
            let known = categorical((0..1500).map(|_| format!("category {}", (uniform.next() * 12.0) as u64)));
            let mut window = known.empty_profile();
            for _ in 0..600 {
                let name = if uniform.next() < new { "stranger".to_owned() } else { "category 3".to_owned() };
                known.count_category(&mut window, &name);
            }
            of_names += u64::from(holds(&known, &window, Detector::NewCategoryShare, new));
            // The range that the reference happened to have, and what lies outside it of a uniform number from 0 to the width.
            let values: Vec<f64> = (0..1500).map(|_| uniform.next()).collect();
            let (low, high) = values.iter().fold((1.0f64, 0.0f64), |(low, high), x| (low.min(*x), high.max(*x)));
            let known = numeric(values.into_iter());
            let mut window = known.empty_profile();
            known.count_numbers(&mut window, &(0..600).map(|_| width * uniform.next()).collect::<Vec<_>>());
            of_numbers += u64::from(holds(&known, &window, Detector::OutOfRangeShare, (low + width - high) / width));
        }
        assert!(of_names >= 180 && of_numbers >= 180, "{new}: {of_names} and {of_numbers} of 200");
    }
}

/// Whether a score's interval holds this share.
fn holds(reference: &Reference, window: &Profile, detector: Detector, share: f64) -> bool {
    let score = reference.scores_of([detector], window, &Thresholds::default(), true).remove(0);
    (score.interval.0 - 1e-9..=score.interval.1 + 1e-9).contains(&share)
}

/// Of 200 intervals that hold the truth in 95 % of samples, fewer than 90 % do in one of a thousand such tests.
fn assert_covered(what: &str, coverage: BTreeMap<Detector, f64>) {
    let few: Vec<_> = coverage.into_iter().filter(|(_, covered)| *covered < 0.9).collect();
    assert!(few.is_empty(), "{what}: intervals hold the effect in too few samples: {few:?}");
}

#[test]
fn a_category_that_a_long_tail_does_not_hold_is_new() {
    let reference = categorical((0..5000).map(|i| format!("customer {}", i % 2500)));
    let mut window = reference.empty_profile();
    for i in 0..400 {
        let name = if i % 4 == 0 { format!("stranger {i}") } else { format!("customer {i}") };
        reference.count_category(&mut window, &name);
    }
    let scores = reference.scores(&window, &Thresholds::default(), true);
    let new = scores.iter().find(|score| score.detector == Detector::NewCategoryShare).unwrap();
    assert_eq!((new.value, new.verdict), (0.25, Verdict::Drift));
}

#[test]
fn a_column_with_more_categories_than_can_be_remembered_is_not_scored_for_new_ones() {
    let reference = categorical((0..70_000).map(|i| format!("request {i}")));
    let mut window = reference.empty_profile();
    (0..100).for_each(|i| reference.count_category(&mut window, &format!("request {}", 70_000 + i)));
    let scores = reference.scores(&window, &Thresholds::default(), true);
    assert!(scores.iter().all(|score| score.detector != Detector::NewCategoryShare));
}
