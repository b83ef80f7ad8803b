//! Scores from counts against the textbook's formulas on the raw values, for any data.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::{ColumnKind, Detector, Profile, Reference, ReferenceBuilder, Score, Thresholds};
use proptest::prelude::*;

fn reference(values: &[f64]) -> Reference {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    for value in values {
        builder.number(None, *value);
    }
    builder.build(None).unwrap()
}

fn window(reference: &Reference, values: &[f64]) -> Profile {
    let mut profile = reference.empty_profile();
    reference.count_numbers(&mut profile, values);
    profile
}

fn score(reference: &Reference, values: &[f64], detector: Detector) -> Score {
    let scores = reference.scores(&window(reference, values), &Thresholds::default(), true);
    scores.into_iter().find(|score| score.detector == detector).unwrap()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn cdf(sorted: &[f64], x: f64) -> f64 {
    sorted.partition_point(|value| *value <= x) as f64 / sorted.len() as f64
}

fn ks_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (sorted(a), sorted(b));
    a.iter().chain(&b).map(|x| (cdf(&a, *x) - cdf(&b, *x)).abs()).fold(0.0, f64::max)
}

fn wasserstein_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (sorted(a), sorted(b));
    let all = sorted(&[a.clone(), b.clone()].concat());
    all.windows(2).map(|pair| (pair[1] - pair[0]) * (cdf(&a, pair[0]) - cdf(&b, pair[0])).abs()).sum()
}

/// The squared gap between the distribution functions, averaged over the pooled sample and the two sides of each of its values.
fn squared_gap_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (a, b) = (sorted(a), sorted(b));
    let gap = |below: fn(f64, f64) -> bool, x: f64| {
        let share = |values: &[f64]| values.partition_point(|v| below(*v, x)) as f64;
        (share(&a) / n - share(&b) / m).powi(2)
    };
    let sides = |x: &f64| (gap(|v, x| v < x, *x) + gap(|v, x| v <= x, *x)) / 2.0;
    a.iter().chain(&b).map(sides).sum::<f64>() / (n + m)
}

fn cramer_von_mises_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let all = sorted(&[a, b].concat());
    let mid_rank = |x: f64| {
        let (below, up_to) = (all.partition_point(|v| *v < x), all.partition_point(|v| *v <= x));
        (below + up_to + 1) as f64 / 2.0
    };
    let squares = |values: &[f64]| -> f64 {
        sorted(values).iter().enumerate().map(|(i, x)| (mid_rank(*x) - (i + 1) as f64).powi(2)).sum()
    };
    let u = n * squares(a) + m * squares(b);
    u / (n * m * (n + m)) - (4.0 * n * m - 1.0) / (6.0 * (n + m))
}

fn kuiper_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (sorted(a), sorted(b));
    let differences = || a.iter().chain(&b).map(|x| cdf(&a, *x) - cdf(&b, *x));
    differences().fold(0.0, f64::max) + differences().map(|x| -x).fold(0.0, f64::max)
}

fn energy_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let distance = |a: &[f64], b: &[f64]| -> f64 {
        let all: f64 = a.iter().flat_map(|x| b.iter().map(move |y| (x - y).abs())).sum();
        all / (a.len() * b.len()) as f64
    };
    (2.0 * distance(a, b) - distance(a, a) - distance(b, b)).max(0.0).sqrt()
}

fn energy_by_integral(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (sorted(a), sorted(b));
    let all = sorted(&[a.clone(), b.clone()].concat());
    let squares = all.windows(2).map(|pair| (pair[1] - pair[0]) * (cdf(&a, pair[0]) - cdf(&b, pair[0])).powi(2));
    (2.0 * squares.sum::<f64>()).sqrt()
}

fn auc_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let (a, all) = (sorted(a), (a.len() * b.len()) as f64);
    let below = |x: f64| (a.partition_point(|v| *v < x) + a.partition_point(|v| *v <= x)) as f64 / 2.0;
    b.iter().map(|x| below(*x)).sum::<f64>() / all
}

/// Scholz and Stephens' (1987) equation 7.
fn anderson_darling_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let mut distinct = sorted(&[a, b].concat());
    let (all, total) = (distinct.clone(), (a.len() + b.len()) as f64);
    distinct.dedup();
    let up_to_middle = |sample: &[f64], x: f64| {
        (sample.partition_point(|v| *v < x) + sample.partition_point(|v| *v <= x)) as f64 / 2.0
    };
    let of_sample = |sample: &[f64]| -> f64 {
        let (sample, size) = (sorted(sample), sample.len() as f64);
        let terms = distinct.iter().map(|x| {
            let l = (all.partition_point(|v| v <= x) - all.partition_point(|v| v < x)) as f64;
            let (m, b) = (up_to_middle(&sample, *x), up_to_middle(&all, *x));
            let below = b * (total - b) - total * l / 4.0;
            if below == 0.0 { 0.0 } else { l / total * (total * m - size * b).powi(2) / below }
        });
        terms.sum::<f64>() / size
    };
    (total - 1.0) / total * (of_sample(a) + of_sample(b))
}

/// As `numpy.quantile`: between the two values next to it.
fn quantile_by_definition(values: &[f64], share: f64) -> f64 {
    let sorted = sorted(values);
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

const QUANTILES: [(Detector, f64); 5] = [
    (Detector::P05Shift, 0.05),
    (Detector::P25Shift, 0.25),
    (Detector::MedianShift, 0.5),
    (Detector::P75Shift, 0.75),
    (Detector::P95Shift, 0.95),
];

/// Values with and without ties, near and far.
fn sample(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    let value =
        prop_oneof![(-8i32..8).prop_map(f64::from), -10.0..10.0f64, (-3i32..3).prop_map(|i| f64::from(i) * 1e6)];
    proptest::collection::vec(value, size)
}

/// The same, with numbers that no measurement gives.
fn wild_sample(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    let wild = proptest::sample::select(vec![1e308, -1e308, f64::MAX, 1e155, -1e155, 1e100, -1e100, 1e-300, 5e-324]);
    (sample(size), proptest::collection::vec(wild, 0..8)).prop_map(|(mut tame, wild)| {
        tame.extend(wild);
        tame
    })
}

/// More distinct values than an exact grid holds, so that the reference falls back to quantiles.
fn continuous(seed: u64, size: usize, shift: f64) -> Vec<f64> {
    let mut state = seed | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..size).map(|_| shift + (0..6).map(|_| uniform()).sum::<f64>()).collect()
}

/// What columns look like: without a tail, with heavy tails, skewed, mostly zero, and rounded to spikes.
const SHAPES: [fn(f64) -> f64; 5] = [
    |sum| sum,
    // Between -3 and 3, so its tangent's tails are Cauchy's, up to a few thousand wide.
    |sum| ((sum - 3.0) * 0.523).tan(),
    |sum| (3.0 * (sum - 3.0)).exp(),
    |sum| if sum < 3.0 { 0.0 } else { sum },
    |sum| if (sum * 1e4) as i64 % 3 == 0 { sum.round() } else { sum },
];

fn shaped(seed: u64, size: usize, shift: f64, shape: fn(f64) -> f64) -> Vec<f64> {
    continuous(seed, size, 0.0).into_iter().map(|sum| shape(sum) + shift).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

proptest! {
    #[test]
    fn on_an_exact_grid_rank_and_distance_scores_are_exact(a in sample(1..60), b in sample(1..60)) {
        let reference = reference(&a);
        let ks = score(&reference, &b, Detector::Ks);
        prop_assert!(close(ks.value, ks_by_definition(&a, &b)));
        prop_assert_eq!(ks.value, ks.upper);
        let cvm = score(&reference, &b, Detector::CramerVonMises);
        prop_assert!(close(cvm.value, cramer_von_mises_by_definition(&a, &b)), "{} {}", cvm.value, cramer_von_mises_by_definition(&a, &b));
        prop_assert!(close(cvm.effect, squared_gap_by_definition(&a, &b)), "{} {}", cvm.effect, squared_gap_by_definition(&a, &b));
        let (n, m) = (a.len() as f64, b.len() as f64);
        let all = sorted(&[a.as_slice(), b.as_slice()].concat());
        if all.windows(2).all(|pair| pair[0] < pair[1]) {
            prop_assert!(close(cvm.effect, cvm.value * (n + m) / (n * m)));
        }
        prop_assert!(close(score(&reference, &b, Detector::Kuiper).value, kuiper_by_definition(&a, &b)));
        prop_assert!(close(score(&reference, &b, Detector::Auc).value, auc_by_definition(&a, &b)));
        if a.len() + b.len() >= 4 {
            let anderson_darling = score(&reference, &b, Detector::AndersonDarling);
            prop_assert!(close(anderson_darling.value, anderson_darling_by_definition(&a, &b)), "{anderson_darling:?}");
        }
        if sorted(&a)[0] < sorted(&a)[a.len() - 1] {
            let energy = score(&reference, &b, Detector::Energy);
            prop_assert!((energy.value.powi(2) - energy_by_definition(&a, &b).powi(2)).abs() < 1e-6 * (1.0 + energy.value.powi(2)));
            for (detector, share) in QUANTILES {
                let found = reference.scores_of([detector], &window(&reference, &b), &Thresholds::default(), true);
                let reaches = |size: usize| share.min(1.0 - share) * size as f64 >= 5.0;
                prop_assert_eq!(found.len(), usize::from(reaches(a.len()) && reaches(b.len())));
                for quantile in found {
                    let shift = quantile_by_definition(&b, share) - quantile_by_definition(&a, share);
                    prop_assert!(close(quantile.value, shift), "{detector:?} {shift} {quantile:?}");
                    prop_assert_eq!(quantile.value, quantile.upper);
                }
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            prop_assert!(close(score(&reference, &b, Detector::MeanShift).value, mean(&b) - mean(&a)));
            let wasserstein = score(&reference, &b, Detector::Wasserstein);
            prop_assert!(close(wasserstein.value, wasserstein_by_definition(&a, &b)));
        }
    }

    #[test]
    fn scores_do_not_depend_on_how_the_window_was_split(a in sample(2..40), b in sample(1..40), c in sample(1..40)) {
        let reference = reference(&a);
        let mut parts = window(&reference, &b);
        parts.merge(&window(&reference, &c));
        let whole = window(&reference, &[b, c].concat());
        let scores = |profile: &Profile| -> Vec<f64> {
            reference.scores(profile, &Thresholds::default(), true).iter().map(|score| score.value).collect()
        };
        for (part, whole) in scores(&parts).into_iter().zip(scores(&whole)) {
            prop_assert!(close(part, whole));
        }
    }

    #[test]
    fn rank_scores_and_shares_do_not_change_under_a_monotone_map(
        a in sample(2..40),
        b in sample(2..40),
        map in proptest::sample::select(vec![|x: f64| x * 3.0 + 1000.0, |x: f64| x * x * x + x, f64::cbrt]),
    ) {
        let mapped = |values: &[f64]| -> Vec<f64> { values.iter().map(|x| map(*x)).collect() };
        let (plain, bent) = (reference(&a), reference(&mapped(&a)));
        for detector in [
            Detector::Ks,
            Detector::CramerVonMises,
            Detector::AndersonDarling,
            Detector::Psi,
            Detector::JensenShannon,
            Detector::Kuiper,
            Detector::Auc,
            Detector::Hellinger,
            Detector::TotalVariation,
            Detector::LInfinity,
            Detector::KullbackLeibler,
            Detector::ChiSquare,
            Detector::GTest,
            Detector::OutOfRangeShare,
            Detector::StuckShare,
        ] {
            let scores = |reference: &Reference, values: &[f64]| {
                let scores = reference.scores(&window(reference, values), &Thresholds::default(), true);
                scores.into_iter().find(|score| score.detector == detector)
            };
            let (before, after) = (scores(&plain, &b), scores(&bent, &mapped(&b)));
            prop_assert_eq!(before.is_some(), after.is_some());
            if let (Some(before), Some(after)) = (before, after) {
                prop_assert!(close(before.value, after.value), "{before:?} {after:?}");
                prop_assert!(close(before.p_value, after.p_value), "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn every_number_of_every_score_is_finite_whatever_the_rows_hold(a in wild_sample(1..40), b in wild_sample(1..40)) {
        let reference = reference(&a);
        for score in reference.scores(&window(&reference, &b), &Thresholds::default(), true) {
            let numbers = [score.value, score.upper, score.effect, score.noise.independent, score.p_value];
            prop_assert!(numbers.iter().all(|number| number.is_finite()), "{score:?}");
        }
        let text = serde_json::to_string(&reference).unwrap();
        let read: Reference = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, reference);
    }

    #[test]
    fn p_values_are_probabilities_and_a_sample_against_itself_is_never_drift(a in sample(2..60), b in sample(1..60)) {
        let reference = reference(&a);
        for score in reference.scores(&window(&reference, &b), &Thresholds::default(), true) {
            prop_assert!((0.0..=1.0).contains(&score.p_value), "{score:?}");
            prop_assert!(0.0 <= score.interval.0 && score.interval.0 <= score.interval.1 && score.null_mean >= 0.0, "{score:?}");
            prop_assert!(score.value.is_finite() && score.noise.independent.is_finite(), "{score:?}");
        }
        for score in reference.scores(&window(&reference, &a), &Thresholds::default(), true) {
            prop_assert!(score.effect.abs() < 1e-6 || score.detector == Detector::CramerVonMises, "{score:?}");
            prop_assert_ne!(score.verdict, driftline_detectors::Verdict::Drift);
        }
    }
}

proptest! {
    // Each case is some twenty thousand values.
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn on_quantiles_the_true_value_lies_in_the_reported_interval(
        seed in any::<u64>(),
        shift in -2.0..2.0f64,
        shape in 0..SHAPES.len(),
    ) {
        intervals_hold(seed, shift, SHAPES[shape])?;
    }
}

#[test]
fn a_spread_is_that_of_the_values_however_far_they_have_moved() {
    let values = |from: f64, width: f64| -> Vec<f64> { (0..500).map(|i| from + width * f64::from(i % 25)).collect() };
    let reference = reference(&values(0.0, 1.0));
    for (from, width) in [(1e6, 2.0), (1e9, 0.5), (-3e11, 4.0)] {
        let spread = score(&reference, &values(from, width), Detector::Spread);
        assert!((spread.value / width - 1.0).abs() < 1e-3, "{from}: {spread:?}");
    }
    // One value has no spread to be compared, and is no hundred-millionth of one.
    let constant = window(&reference, &[0.1; 500]);
    let scores = reference.scores_of([Detector::Spread], &constant, &Thresholds::default(), true);
    assert!(scores.is_empty(), "{scores:?}");
}

#[test]
fn a_quantile_that_many_rows_share_is_theirs() {
    // Nearly all rows hold 0.1, and 0.1 times what is left of one and 0.1 times the rest add up to a little more than 0.1.
    let rows = |size: usize| -> Vec<f64> { (0..size).map(|i| if i % 40 == 0 { 0.2 } else { 0.1 }).collect() };
    for size in 200..260 {
        let reference = reference(&rows(400));
        let quantiles = QUANTILES.map(|(detector, _)| detector);
        for score in reference.scores_of(quantiles, &window(&reference, &rows(size)), &Thresholds::default(), true) {
            assert_eq!((score.value, score.p_value), (0.0, 1.0), "{size}: {score:?}");
        }
    }
}

#[test]
fn ties_between_cuts_lie_in_the_reported_interval() {
    // Spikes of the window that fall between the reference's.
    for seed in [14_210_260_053_811_729_300, 3, 4, 5] {
        intervals_hold(seed, 0.380_741_415_246_308, SHAPES[4]).unwrap();
    }
}

fn intervals_hold(seed: u64, shift: f64, shape: fn(f64) -> f64) -> Result<(), TestCaseError> {
    let (a, b) = (shaped(seed, 12_000, 0.0, shape), shaped(seed.rotate_left(17), 3000, shift, shape));
    let mut distinct = sorted(&a);
    distinct.dedup();
    prop_assert!(distinct.len() > 4096, "an exact grid would hold all {} of them", distinct.len());
    let reference = reference(&a);
    for (detector, truth) in [
        (Detector::Ks, ks_by_definition(&a, &b)),
        (Detector::Wasserstein, wasserstein_by_definition(&a, &b)),
        (Detector::CramerVonMises, cramer_von_mises_by_definition(&a, &b)),
        (Detector::AndersonDarling, anderson_darling_by_definition(&a, &b)),
        (Detector::Kuiper, kuiper_by_definition(&a, &b)),
        (Detector::Energy, energy_by_integral(&a, &b)),
        (Detector::Auc, auc_by_definition(&a, &b)),
    ]
    .into_iter()
    .chain(
        QUANTILES
            .map(|(detector, share)| (detector, quantile_by_definition(&b, share) - quantile_by_definition(&a, share))),
    ) {
        let score = score(&reference, &b, detector);
        let rounding = 1e-9 * (1.0 + truth.abs());
        prop_assert!(score.value <= truth + rounding && truth <= score.upper + rounding, "{truth} {score:?}");
    }
    prop_assert!(score(&reference, &b, Detector::Ks).upper - score(&reference, &b, Detector::Ks).value < 3.0 / 1024.0);
    Ok(())
}

/// P-values of the same draws again and again without drift, by detector.
fn p_values_without_drift<const N: usize>(
    detectors: [Detector; N],
    sizes: (usize, usize),
    shape: fn(f64) -> f64,
) -> Vec<(Detector, Vec<f64>)> {
    let mut p_values: Vec<(Detector, Vec<f64>)> = detectors.iter().map(|detector| (*detector, Vec::new())).collect();
    for seed in 1..=DRAWS {
        let all = shaped(seed as u64 * 7919, sizes.0 + sizes.1, 0.0, shape);
        let reference = reference(&all[..sizes.0]);
        let window = window(&reference, &all[sizes.0..]);
        let scores = reference.scores_of(detectors, &window, &Thresholds::default(), true);
        for (detector, p_values) in &mut p_values {
            p_values.extend(scores.iter().filter(|score| score.detector == *detector).map(|score| score.p_value));
        }
    }
    p_values
}

const DRAWS: usize = 400;
/// How far from uniform p-values may lie by chance, in one draw of a thousand, times the root of how many they are.
const BY_CHANCE: f64 = 1.95;

#[test]
fn under_no_drift_p_values_are_uniform() {
    let detectors = [
        Detector::Ks,
        Detector::CramerVonMises,
        Detector::AndersonDarling,
        Detector::Auc,
        Detector::MeanShift,
        Detector::MedianShift,
        Detector::P25Shift,
        Detector::P75Shift,
        Detector::Spread,
        Detector::Psi,
        Detector::ChiSquare,
        Detector::GTest,
    ];
    for (sizes, shape) in [((2000, 1000), SHAPES[0]), ((3500, 300), SHAPES[0]), ((3000, 1000), SHAPES[2])] {
        for (detector, p_values) in p_values_without_drift(detectors, sizes, shape) {
            let p_values = sorted(&p_values);
            let drawn = p_values.len() as f64;
            let distances = p_values.iter().enumerate().map(|(i, p)| ((i + 1) as f64 / drawn - p).abs());
            let distance = distances.fold(0.0, f64::max);
            assert_eq!(p_values.len(), DRAWS, "{detector:?} has one each time");
            assert!(
                distance < BY_CHANCE / drawn.sqrt(),
                "{sizes:?}: KS distance of {detector:?}'s p-values from uniform is {distance}"
            );
        }
    }
}

#[test]
fn no_p_value_is_small_more_often_than_it_says() {
    // Of values with ties, and of scores whose p-value is an upper bound: too large is careful, too small a false page.
    // Anderson and Darling's is left out: its expansion knows of no ties (docs/scores.md says by how much it errs).
    let detectors = [
        Detector::Ks,
        Detector::Kuiper,
        Detector::Energy,
        Detector::Wasserstein,
        Detector::CramerVonMises,
        Detector::Psi,
        Detector::JensenShannon,
        Detector::Hellinger,
        Detector::TotalVariation,
        Detector::LInfinity,
        Detector::KullbackLeibler,
        Detector::ChiSquare,
        Detector::GTest,
        Detector::P05Shift,
        Detector::P95Shift,
        Detector::OutOfRangeShare,
        Detector::StuckShare,
    ];
    for (sizes, shape) in [((2000, 500), SHAPES[3]), ((2000, 200), SHAPES[4]), ((3000, 1000), SHAPES[1])] {
        for (detector, p_values) in p_values_without_drift(detectors, sizes, shape) {
            let p_values = sorted(&p_values);
            let drawn = p_values.len() as f64;
            for level in [0.2, 0.1, 0.05, 0.01] {
                let below = p_values.partition_point(|p| *p <= level) as f64 / drawn;
                let by_chance = 3.3 * (level * (1.0 - level) / drawn).sqrt();
                assert!(below <= level + by_chance, "{sizes:?}: {below} of {detector:?}'s p-values are up to {level}");
            }
        }
    }
}
