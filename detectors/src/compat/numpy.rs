//! Histograms as NumPy makes them.

/// Bins of one width over the range of a sorted sample: `log2(n) + 1` of them (`bins="sturges"`).
pub(super) fn sturges_edges(sorted: &[f64]) -> Vec<f64> {
    edges(sorted, (sorted.len() as f64).log2() + 1.0)
}

/// The same with more bins the more skewed the sample is (`bins="doane"`).
pub(super) fn doane_edges(sorted: &[f64]) -> Vec<f64> {
    let (n, deviation) = (sorted.len() as f64, standard_deviation(sorted));
    if n <= 2.0 || deviation <= 0.0 {
        return equal_edges(sorted, 1);
    }
    let mean = mean(sorted);
    let skewness = sorted.iter().map(|value| ((value - mean) / deviation).powi(3)).sum::<f64>() / n;
    let of_skewness = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
    edges(sorted, 1.0 + n.log2() + (1.0 + skewness.abs() / of_skewness).log2())
}

/// Bins as wide as this part of the range. NumPy goes by way of the width, which is a bin more or less at whole numbers.
fn edges(sorted: &[f64], parts: f64) -> Vec<f64> {
    let range = sorted[sorted.len() - 1] - sorted[0];
    let width = range / parts;
    equal_edges(sorted, if width > 0.0 { (range / width).ceil() as usize } else { 1 })
}

/// So many bins of one width over the range of a sorted sample; over one around it when it is a single value.
pub(super) fn equal_edges(sorted: &[f64], bins: usize) -> Vec<f64> {
    let (mut first, mut last) = (sorted[0], sorted[sorted.len() - 1]);
    if first == last {
        (first, last) = (first - 0.5, last + 0.5);
    }
    let step = (last - first) / bins as f64;
    (0..bins).map(|i| i as f64 * step + first).chain([last]).collect()
}

/// Counts between these edges, each bin with its lower edge and the last with both; what lies outside is not counted.
pub(super) fn histogram(sorted: &[f64], edges: &[f64]) -> Vec<u64> {
    let last = edges.len() - 1;
    let below = |index: usize| match index {
        index if index == last => sorted.partition_point(|value| *value <= edges[index]),
        index => sorted.partition_point(|value| *value < edges[index]),
    };
    (0..last).map(|bin| (below(bin + 1) - below(bin)) as u64).collect()
}

/// The mean.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation, dividing by n.
pub(super) fn standard_deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}
