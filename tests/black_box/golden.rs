//! What SciPy, scikit-learn and statsmodels say of real flights (and of what they do not have, NumPy), to 1e-9, and p-values to 1e-6,
//! through the whole path: Parquet in, HTTP, decode, count, score.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;

use driftline_tests::{Collector, ModelServer, Sidecar, client, eventually, january_file, month, run};
use serde_json::Value;

const COLUMNS: [&str; 12] = [
    "distance",
    "temp",
    "humid",
    "wind_speed",
    "visib",
    "air_time",
    "dep_delay",
    "arr_delay",
    "hour",
    "carrier",
    "origin",
    "dest",
];

/// Their own numbers, by column; `tests/golden/make.py` makes them.
const GOLDEN: &str = include_str!("../golden/flights.json");

/// The largest relative difference of a golden number, by the field that it is of.
///
/// P-values come from expansions that agree to fewer digits than the statistics do.
const TOLERANCES: [(&str, f64); 7] = [
    ("value", 1e-9),
    ("effect", 1e-9),
    ("interval_low", 1e-9),
    ("interval_high", 1e-9),
    ("p_value", 1e-6),
    ("n_reference", 0.0),
    ("n_window", 0.0),
];
/// Two p-values smaller than this are nothing but small: SciPy's own have lost their digits there.
const SMALLEST_P_VALUE: f64 = 1e-250;

/// A month is one window: its days from its first midnight in New York on.
const MONTHS: [(u32, &str, u32, &str); 3] = [
    (2, "2013-02-01T05:00:00Z", 28, "v2"),
    (7, "2013-07-01T04:00:00Z", 31, "v1"),
    (12, "2013-12-01T05:00:00Z", 31, "v2"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scores_of_real_months_equal_scipys() {
    let folder = tempfile::tempdir().unwrap();
    let january = january_file(folder.path());
    let columns = COLUMNS.join(",");
    let reference = folder.path().join("january.json");
    let built = run(
        "driftline",
        &[
            "reference",
            "build",
            "--model",
            "january",
            "--column",
            &columns,
            "--joint-column",
            &texts(&together()["columns"]).join(","),
            "--output",
            reference.to_str().unwrap(),
            january.to_str().unwrap(),
        ],
        folder.path(),
    );
    assert_eq!(built.code, Some(0), "{}", built.stderr);

    let mut configuration = "archive: {partition: day, max_age: 1s}\nmodels:\n".to_owned();
    for (number, origin, days, _) in MONTHS {
        configuration.push_str(&format!(
            "  - name: month-{number:02}\n    reference: january.json\n    scores: [all]\n    event_time: {{column: scheduled_at}}\n    windows: {{pane: 1d, window: {days}d, every: {days}d, origin: {origin}, lateness: 1d, close_when_idle: 10s}}\n"
        ));
    }
    let collector = Collector::start(folder.path(), &configuration).await;
    let model_server = ModelServer::start().await;
    let mut sent = 0;
    for (number, _, _, protocol) in MONTHS {
        sent += send_month(&collector, &model_server, folder.path(), number, protocol).await;
    }

    let golden: BTreeMap<String, Value> = serde_json::from_str(GOLDEN).unwrap();
    let mut compared = 0;
    for (number, ..) in MONTHS {
        let expected = &golden[&format!("month_{number:02}")];
        for column in COLUMNS {
            let found = detail(&collector, number, column).await;
            compared += compare(&expected[column], &found, &format!("month {number}, {column}"));
        }
    }
    assert!(compared > 1_500, "only {compared} numbers were compared");
    let mut named = 0;
    for (number, ..) in MONTHS {
        compare_together(&detail(&collector, number, "joint.pca_error").await, number);
        named += compare_pairs(&detail(&collector, number, "joint.associations").await, number);
    }
    assert!(named > 0, "the weather of no season goes together otherwise");
    assert_eq!(collector.settled().await, sent, "every row is archived");
}

/// What NannyML and pandas say of several columns together; `tests/golden/multivariate.py` makes it.
fn together() -> Value {
    serde_json::from_str(include_str!("../golden/multivariate.json")).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// NannyML's reconstruction error of a chunk is the mean of its rows'.
fn compare_together(found: &Value, number: u32) {
    let golden = together();
    let scores = found["scores"].as_array().unwrap();
    let shift = scores.iter().find(|score| score["detector"] == "mean_shift").unwrap();
    let january = golden["january"]["pca_error_mean"].as_f64().unwrap();
    let month = golden["months"][number.to_string()]["nannyml_reconstruction_error"].as_f64().unwrap();
    let value = shift["value"].as_f64().unwrap();
    assert!((value - (month - january)).abs() < 1e-9, "month {number}: {value}, NannyML has {month} after {january}");
}

/// The pair that changed most did by what pandas' correlations say, and those that are named have these. How many there are.
fn compare_pairs(found: &Value, number: u32) -> usize {
    let golden = together();
    let columns = texts(&golden["columns"]);
    let correlations = |of: &Value| -> Vec<f64> {
        of["correlations"].as_array().unwrap().iter().map(|correlation| correlation.as_f64().unwrap()).collect()
    };
    let (before, now) = (correlations(&golden["january"]), correlations(&golden["months"][number.to_string()]));
    let score = found["scores"].as_array().unwrap().iter().find(|score| score["detector"] == "association").unwrap();
    let value = score["value"].as_f64().unwrap();
    let is_it = |(before, now): (&f64, &f64)| (now.atanh() - before.atanh() - value).abs() < 1e-4;
    assert!(before.iter().zip(&now).any(is_it), "month {number}: no pair of pandas' changed by {value}");

    let pairs: Vec<(&str, &str)> =
        columns.iter().enumerate().flat_map(|(i, a)| columns[i + 1..].iter().map(|b| (*a, *b))).collect();
    let named = found["causes"].as_array().unwrap().iter().find(|cause| cause["change"]["kind"] == "associations");
    let named = named.map_or(&[][..], |cause| cause["change"]["pairs"].as_array().unwrap());
    for pair in named {
        let place = pairs.iter().position(|(a, b)| pair["first"] == *a && pair["second"] == *b).unwrap();
        // Delays lie further off than eight standard deviations, and count as eight.
        let tolerance = if pair["first"] == "dep_delay" || pair["second"] == "dep_delay" { 0.05 } else { 1e-5 };
        for (ours, theirs) in [(&pair["before"], before[place]), (&pair["now"], now[place])] {
            let is_close = (ours.as_f64().unwrap() - theirs).abs() < tolerance;
            assert!(is_close, "month {number}, {pair}: pandas has {theirs}");
        }
    }
    named.len()
}

/// Sends a month through a sidecar and stops it; everything is durable then.
async fn send_month(
    collector: &Collector,
    model_server: &ModelServer,
    folder: &std::path::Path,
    number: u32,
    protocol: &str,
) -> u64 {
    let model = format!("month-{number:02}");
    let mut sidecar = Sidecar::start(folder, &model_server.address(), &collector.url(), &model, &[]).await;
    let flights = month(number);
    let (path, bodies) = match protocol {
        "v1" => ("v1/models/m:predict", flights.v1_requests(&COLUMNS, 200)),
        _ => ("v2/models/m/infer", flights.v2_requests(&COLUMNS, 200)),
    };
    let client = client();
    for body in bodies {
        let response = client.post(format!("http://{}/{path}", sidecar.address())).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }
    assert_eq!(sidecar.stop().await, Some(0));
    flights.rows() as u64
}

/// One column of the month's window, once that has closed.
async fn detail(collector: &Collector, number: u32, column: &str) -> Value {
    eventually("the month's window has closed", async || {
        collector.api(&format!("models/month-{number:02}/columns/{column}")).await
    })
    .await
}

/// How many numbers of a column are theirs, each named by its score and field, as `ks.p_value`.
fn compare(expected: &Value, found: &Value, what: &str) -> usize {
    let score = |name: &str| found["scores"].as_array().unwrap().iter().find(|score| score["detector"] == name);
    let mut compared = 0;
    for (golden, expected) in expected.as_object().unwrap() {
        let (detector, field) = golden.split_once('.').unwrap();
        let expected = expected.as_f64().unwrap();
        let score = score(detector).unwrap_or_else(|| panic!("{what}: {detector} is missing"));
        let value = score[field].as_f64().unwrap();
        let (_, tolerance) = TOLERANCES.into_iter().find(|(of, _)| *of == field).unwrap();
        let close = if field == "p_value" {
            (value - expected).abs() <= tolerance * expected || value.max(expected) < SMALLEST_P_VALUE
        } else {
            (value - expected).abs() <= tolerance * expected.abs().max(1e-6)
        };
        assert!(close, "{what}: {golden} is {value}, SciPy has {expected}");
        if matches!(golden.as_str(), "wasserstein.value" | "energy.value") {
            let upper = score["upper"].as_f64().unwrap();
            assert!(
                value <= expected * (1.0 + 1e-9) && expected <= upper * (1.0 + 1e-9),
                "{what}: outside its interval"
            );
            assert!(upper - value <= 1e-3 * expected, "{what}: {golden} lies between {value} and {upper}, no closer");
        }
        compared += 1;
    }
    compared
}
