//! Of columns together and of vectors: that chance is what it is said to be, and that what no column shows is found.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::causes::CauseKind;
use driftline_detectors::{
    ColumnKind, Derivation, Derived, Detector, Joint, Reference, ReferenceBuilder, RowSample, RowValue, Rows, Score,
    SourceValue, Thresholds, Verdict, classify,
};

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
}

/// Rows of several columns, or vectors.
struct Together {
    columns: usize,
    rows: Vec<Vec<f64>>,
    are_vectors: bool,
}

impl Rows for Together {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        for row in &self.rows {
            if self.are_vectors { take(None, RowValue::Vector(&vector(row))) } else { take(None, RowValue::Row(row)) }
        }
        Ok(())
    }

    fn columns(&self) -> Vec<String> {
        (0..self.columns).map(|column| format!("c{column}")).collect()
    }
}

fn vector(row: &[f64]) -> Vec<f32> {
    row.iter().map(|x| *x as f32).collect()
}

fn associations(rows: Vec<Vec<f64>>) -> Reference {
    let rows = Together { columns: rows[0].len(), rows, are_vectors: false };
    Reference::of_rows("joint.associations", ColumnKind::Associations, &rows, None).unwrap()
}

fn tables(rows: Vec<Vec<f64>>) -> Reference {
    let rows = Together { columns: rows[0].len(), rows, are_vectors: false };
    Reference::of_rows("names.associations", ColumnKind::Contingencies, &rows, None).unwrap()
}

fn vectors(rows: Vec<Vec<f64>>) -> Reference {
    let rows = Together { columns: 0, rows, are_vectors: true };
    Reference::of_rows("v.features", ColumnKind::Vectors, &rows, None).unwrap()
}

/// What is said of a window when every difference matters.
fn score(reference: &Reference, detector: Detector, rows: &[Vec<f64>]) -> Score {
    let mut window = reference.empty_profile();
    for row in rows {
        match reference.kind() {
            ColumnKind::Vectors => reference.count_vector(&mut window, &vector(row)),
            _ => reference.count_row(&mut window, row),
        }
    }
    let all_matters = Thresholds([(detector, 0.0)].into());
    reference.scores_of([detector], &window, &all_matters, true).remove(0)
}

/// The largest gap between the p-values' distribution function and a uniform one's, upwards and downwards.
fn gaps(mut p_values: Vec<f64>) -> (f64, f64) {
    p_values.sort_by(f64::total_cmp);
    let n = p_values.len() as f64;
    let at = |(index, p): (usize, &f64)| ((index + 1) as f64 / n - p, p - index as f64 / n);
    p_values.iter().enumerate().map(at).fold((0.0, 0.0), |most: (f64, f64), gap| (most.0.max(gap.0), most.1.max(gap.1)))
}

const WINDOWS: usize = 400;
/// A gap that the distribution function of so many uniform numbers has once in a thousand, to one side.
const LARGEST_GAP: f64 = 0.0929;

/// Columns of which the first two go together, and both are wide at a time; the third is skewed and lacks one row in eight.
fn real_row(uniform: &mut Uniform, columns: usize) -> Vec<f64> {
    let width = if uniform.next() < 0.2 { 3.0 } else { 1.0 };
    let (a, b, c) = (uniform.bell(), uniform.bell(), uniform.next());
    let skewed = if c < 0.125 { f64::NAN } else { -(1.0 - c).ln() };
    let mut row = vec![100.0 + width * a, width * (0.6 * a + 0.8 * b), skewed];
    row.truncate(columns);
    row
}

/// How many of 100 intervals hold the effect of the populations, which that of very large samples stands for.
fn held(detector: Detector, mut sample: impl FnMut(usize, usize) -> (Reference, Vec<Vec<f64>>)) -> usize {
    let mut score_of = |n: usize, m: usize| {
        let (reference, window) = sample(n, m);
        score(&reference, detector, &window)
    };
    let truth = score_of(20_000, 20_000).effect;
    let scores = std::iter::repeat_with(|| score_of(500, 200)).take(100);
    scores.filter(|score| score.interval.0 <= truth && truth <= score.interval.1).count()
}

#[test]
fn intervals_of_correlations_hold_how_far_those_of_the_populations_lie_apart() {
    let mut uniform = Uniform(31);
    for change in [0.2, 0.6] {
        let mut rows = |rows: usize, with: f64| -> Vec<Vec<f64>> {
            let mut row = || {
                let (a, b) = (uniform.bell(), uniform.bell());
                vec![a, with * a + (1.0 - with * with).sqrt() * b]
            };
            (0..rows).map(|_| row()).collect()
        };
        let held = held(Detector::Association, |n, m| (associations(rows(n, 0.1)), rows(m, 0.1 + change)));
        assert!(held >= 90, "{change}: {held} of 100");
    }
}

#[test]
fn intervals_of_mmd_hold_the_distance_of_the_populations() {
    let mut uniform = Uniform(37);
    for shift in [0.4, 1.0] {
        let mut rows = |rows: usize, shift: f64| -> Vec<Vec<f64>> {
            (0..rows).map(|_| (0..4).map(|_| shift + uniform.bell()).collect()).collect()
        };
        let held = held(Detector::Mmd, |n, m| (vectors(rows(n, 0.0)), rows(m, shift)));
        assert!(held >= 90, "{shift}: {held} of 100");
    }
}

#[test]
fn correlations_of_columns_that_are_not_normal_keep_to_their_noise() {
    for columns in [2, 3] {
        let mut uniform = Uniform(11);
        let reference = associations((0..20_000).map(|_| real_row(&mut uniform, columns)).collect());
        let window =
            |uniform: &mut Uniform| -> Vec<Vec<f64>> { (0..400).map(|_| real_row(uniform, columns)).collect() };
        let scores: Vec<Score> =
            (0..WINDOWS).map(|_| score(&reference, Detector::Association, &window(&mut uniform))).collect();
        let cries = scores.iter().filter(|score| score.verdict == Verdict::Drift).count();
        assert!(cries <= 3, "{columns} columns cry drift in {cries} of {WINDOWS} windows");
        let (above, below) = gaps(scores.iter().map(|score| score.p_value).collect());
        assert!(above < LARGEST_GAP, "{columns}: small p-values are too frequent by {above}");
        assert!(columns > 2 || below < LARGEST_GAP, "{columns}: small p-values are too rare by {below}");
        let mean = scores.iter().map(|score| score.effect).sum::<f64>() / WINDOWS as f64;
        let said = scores.iter().map(|score| score.null_mean).sum::<f64>() / WINDOWS as f64;
        assert!((mean / said - 1.0).abs() < 0.15, "{columns}: a mean of {mean}, and {said} is said");
    }
}

#[test]
fn a_pair_that_is_wide_at_a_time_is_not_taken_for_normal() {
    let mut uniform = Uniform(13);
    let reference = associations((0..20_000).map(|_| real_row(&mut uniform, 2)).collect());
    let window: Vec<Vec<f64>> = (0..400).map(|_| real_row(&mut uniform, 2)).collect();
    let score = score(&reference, Detector::Association, &window);
    // The variance of z is that of a normal pair, 1/n, times the kurtosis over three, which is 1 + 3·(0.8·0.2·8²)/(…)² > 2.
    assert!(score.value.abs() > score.effect * 1.4, "{score:?}");
}

/// Codes of names, of which those of the first two columns go together in so many rows, some are rare, and the third lacks one row
/// in eight.
fn named_row(uniform: &mut Uniform, columns: usize, together: f64) -> Vec<f64> {
    let mut draw = |shares: &[f64]| {
        let mut left = uniform.next();
        let place = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        place.unwrap_or(0) as f64
    };
    let first = draw(&[0.02, 0.5, 0.3, 0.1, 0.08]);
    let second = if draw(&[1.0 - together, together]) == 1.0 { first.min(3.0) } else { draw(&[0.1, 0.3, 0.3, 0.3]) };
    let third = if draw(&[0.875, 0.125]) == 1.0 { f64::NAN } else { draw(&[0.03, 0.67, 0.3]) };
    let mut row = vec![first, second, third];
    row.truncate(columns);
    row
}

#[test]
fn tables_of_names_keep_to_their_noise_whether_they_go_together_or_not() {
    for (columns, together, rows) in [(2, 0.0, 400), (2, 0.3, 400), (2, 0.8, 400), (3, 0.3, 400), (3, 0.0, 2000)] {
        let mut uniform = Uniform(41);
        let reference = tables((0..40_000).map(|_| named_row(&mut uniform, columns, together)).collect());
        let scores: Vec<Score> = (0..WINDOWS)
            .map(|_| {
                let window: Vec<Vec<f64>> = (0..rows).map(|_| named_row(&mut uniform, columns, together)).collect();
                score(&reference, Detector::Association, &window)
            })
            .collect();
        let what = format!("{columns} columns, {together} together, {rows} rows");
        let cries = scores.iter().filter(|score| score.verdict == Verdict::Drift).count();
        assert!(cries <= 3, "{what}: drift in {cries} of {WINDOWS} windows");
        let (above, _) = gaps(scores.iter().map(|score| score.p_value).collect());
        assert!(above < LARGEST_GAP, "{what}: small p-values are too frequent by {above}");
        let mean = scores.iter().map(|score| score.effect).sum::<f64>() / WINDOWS as f64;
        let said = scores.iter().map(|score| score.null_mean).sum::<f64>() / WINDOWS as f64;
        assert!((mean / said - 1.0).abs() < 0.25, "{what}: a mean of {mean}, and {said} is said");
    }
}

#[test]
fn names_that_no_longer_go_together_are_found_though_each_column_is_as_ever() {
    let mut uniform = Uniform(43);
    let rows: Vec<Vec<f64>> = (0..5000).map(|_| named_row(&mut uniform, 3, 0.6)).collect();
    // The second column's names are dealt out anew.
    let window: Vec<Vec<f64>> = (0..1000).map(|row| vec![rows[row][0], rows[row + 1000][1], rows[row][2]]).collect();
    let reference = tables(rows);
    let mut profile = reference.empty_profile();
    window.iter().for_each(|row| reference.count_row(&mut profile, row));
    let scores = reference.scores(&profile, &Thresholds::default(), true);
    let association = scores.iter().find(|score| score.detector == Detector::Association).unwrap();
    assert_eq!(association.verdict, Verdict::Drift);
    assert!(association.value < -0.4 && association.p_value < 1e-12, "{association:?}");
    let causes = reference.causes(&profile, &scores);
    let CauseKind::Associations { pairs, count: 1 } = &causes[0].kind else { panic!("{causes:?}") };
    assert_eq!((pairs[0].first.as_str(), pairs[0].second.as_str()), ("c0", "c1"));
    assert!(pairs[0].before > 0.5 && pairs[0].now < 0.1, "{pairs:?}");
}

/// Vectors whose dimensions go together by threes.
fn real_vector(uniform: &mut Uniform) -> Vec<f64> {
    let common: Vec<f64> = (0..4).map(|_| uniform.bell()).collect();
    (0..12).map(|place| common[place % 4] + 0.5 * uniform.bell()).collect()
}

#[test]
fn the_kernel_distance_keeps_to_its_noise() {
    let mut uniform = Uniform(17);
    let reference = vectors((0..20_000).map(|_| real_vector(&mut uniform)).collect());
    for rows in [50, 300] {
        let window = |uniform: &mut Uniform| -> Vec<Vec<f64>> { (0..rows).map(|_| real_vector(uniform)).collect() };
        let scores: Vec<Score> =
            (0..WINDOWS).map(|_| score(&reference, Detector::Mmd, &window(&mut uniform))).collect();
        let cries = scores.iter().filter(|score| score.verdict == Verdict::Drift).count();
        assert!(cries <= 3, "{rows} vectors cry drift in {cries} of {WINDOWS} windows");
        let (above, below) = gaps(scores.iter().map(|score| score.p_value).collect());
        assert!(above < LARGEST_GAP && below < LARGEST_GAP, "{rows}: p-values lie off by {above}, {below}");
        let mean = scores.iter().map(|score| score.effect).sum::<f64>() / WINDOWS as f64;
        assert!((mean / scores[0].null_mean - 1.0).abs() < 0.15, "{rows}: {mean}, and {} is said", scores[0].null_mean);
        // One in twenty, and three standard deviations.
        let without_zero = scores.iter().filter(|score| score.interval.0 > 0.0).count();
        assert!(without_zero <= 34, "{rows}: {without_zero} of {WINDOWS} intervals are without zero");
    }
}

#[test]
fn vectors_that_lie_elsewhere_are_found_though_each_dimension_stays_as_it_was() {
    let mut uniform = Uniform(19);
    let reference = vectors((0..5_000).map(|_| real_vector(&mut uniform)).collect());
    let whole: Vec<Vec<f64>> = (0..400).map(|_| real_vector(&mut uniform)).collect();
    // Each dimension from another vector.
    let mixed: Vec<Vec<f64>> =
        (0..400).map(|row| (0..12).map(|place| whole[(row + 31 * place) % 400][place]).collect()).collect();
    let same = score(&reference, Detector::Mmd, &whole);
    let apart = score(&reference, Detector::Mmd, &mixed);
    assert!(same.verdict != Verdict::Drift && apart.verdict == Verdict::Drift, "{same:?} {apart:?}");
    assert!(apart.effect > Detector::Mmd.default_threshold() && apart.p_value < 1e-6, "{apart:?}");
}

/// A column of numbers and a window of it.
fn of_numbers(rows: &[f64], window: &[f64]) -> Vec<Score> {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    rows.iter().for_each(|x| builder.number(None, *x));
    let reference = builder.build(None).unwrap();
    let mut profile = reference.empty_profile();
    reference.count_numbers(&mut profile, window);
    reference.scores(&profile, &Thresholds::default(), true)
}

#[test]
fn columns_that_no_longer_go_together_are_found_by_what_they_say_together_and_by_no_column() {
    let mut uniform = Uniform(23);
    let mut row = || {
        let (a, b) = (uniform.bell(), uniform.bell());
        vec![a, 0.9 * a + 0.436 * b, uniform.bell()]
    };
    let rows: Vec<Vec<f64>> = (0..10_000).map(|_| row()).collect();
    // The second column from the row before: each is what it was.
    let window: Vec<Vec<f64>> = (1..2_000).map(|i| vec![rows[i][0], rows[i - 1][1], rows[i][2]]).collect();
    let column = |rows: &[Vec<f64>], place: usize| -> Vec<f64> { rows.iter().map(|row| row[place]).collect() };
    for place in 0..3 {
        let scores = of_numbers(&column(&rows, place), &column(&window, place));
        assert!(scores.iter().all(|score| score.verdict == Verdict::Ok), "column {place}: {scores:?}");
    }

    let each = |take: &mut dyn FnMut(&[f64])| {
        rows.iter().for_each(|row| take(row));
        Ok(())
    };
    let names = ["temp", "dewp", "wind"].map(str::to_owned).to_vec();
    let derivation = Derivation::Joint { joint: Joint::of_rows(names, &each).unwrap() };
    let error = |row: &Vec<f64>| match derivation.derive(SourceValue::Row(row), None)[0] {
        Derived::Number(error) => error,
        other => panic!("{other:?}"),
    };
    let errors = |rows: &[Vec<f64>]| rows.iter().map(error).collect::<Vec<f64>>();
    let scores = of_numbers(&errors(&rows), &errors(&window));
    let drifts = |detector| scores.iter().any(|score| score.detector == detector && score.verdict == Verdict::Drift);
    assert!(drifts(Detector::Psi) && drifts(Detector::Ks) && drifts(Detector::Wasserstein), "{scores:?}");

    let reference = associations(rows);
    let mut profile = reference.empty_profile();
    window.iter().for_each(|row| reference.count_row(&mut profile, row));
    let scores = reference.scores(&profile, &Thresholds::default(), true);
    let association = scores.iter().find(|score| score.detector == Detector::Association).unwrap();
    assert_eq!(association.verdict, Verdict::Drift);
    assert!(association.value < -1.2 && association.p_value < 1e-12, "{association:?}");
    let causes = reference.causes(&profile, &scores);
    let CauseKind::Associations { pairs, count: 1 } = &causes[0].kind else { panic!("{causes:?}") };
    assert_eq!((pairs[0].first.as_str(), pairs[0].second.as_str()), ("c0", "c1"));
    assert!(pairs[0].before > 0.85 && pairs[0].now.abs() < 0.1, "{pairs:?}");
}

fn sampled(rows: impl Iterator<Item = Vec<f64>>) -> RowSample {
    let mut sample = RowSample::default();
    rows.for_each(|row| sample.add(&row));
    sample
}

#[test]
fn a_classifier_tells_no_samples_apart_that_are_of_one_world() {
    let mut uniform = Uniform(29);
    let trials = 200;
    let p_values: Vec<f64> = (0..trials)
        .map(|_| {
            let reference = sampled((0..300).map(|_| real_row(&mut uniform, 3)));
            let window = sampled((0..150).map(|_| real_row(&mut uniform, 3)));
            classify(reference, window, &Thresholds::default()).unwrap().score.p_value
        })
        .collect();
    let cries = p_values.iter().filter(|p| **p < 0.001).count();
    assert!(cries <= 2, "{cries} of {trials} are told apart");
    let (above, below) = gaps(p_values);
    // A gap that so many uniform numbers have once in a thousand.
    assert!(above < 0.131 && below < 0.131, "p-values lie off by {above}, {below}");
}

#[test]
fn a_classifier_finds_what_no_column_and_no_correlation_shows() {
    let mut uniform = Uniform(31);
    // The sign of the third is that of the product of the first two, and no pair goes together.
    let mut row = |is_bound: bool| {
        let (a, b, c) = (uniform.bell(), uniform.bell(), uniform.bell());
        vec![a, b, if is_bound { c.abs() * (a * b).signum() } else { c }, uniform.next()]
    };
    let reference = sampled((0..2000).map(|_| row(false)));
    let window = sampled((0..1000).map(|_| row(true)));
    let told_apart = classify(reference, window, &Thresholds::default()).unwrap();
    assert!(told_apart.score.value > 0.57 && told_apart.score.p_value < 1e-9, "{told_apart:?}");
    assert!(told_apart.columns.iter().take(3).all(|(column, _)| *column < 3), "{told_apart:?}");
    let alike = |rows: usize| sampled((0..rows).map(|_| vec![1.0]));
    assert!(classify(alike(49), alike(99), &Thresholds::default()).is_none());
    let constant = classify(alike(60), alike(60), &Thresholds::default()).unwrap();
    assert!(constant.score.value == 0.5 && constant.columns.is_empty(), "{constant:?}");
}
