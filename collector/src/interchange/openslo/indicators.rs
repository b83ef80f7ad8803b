//! What OpenSLO's indicators say: ratios of counts, and values that an objective compares; both of indicators of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use driftline_alerts::Labels;
use driftline_document::{Node, Section};

use super::SOURCE;
use super::reading::Placed;
use crate::config::{ARCHIVE_SLI, FIRST_MESSAGE_SLI, SLIS};

/// The types of the sources that documents name, by their names.
pub(super) type DataSources = BTreeMap<String, String>;

/// Which of our indicators is meant, of which labels.
#[derive(Clone)]
pub(super) struct Indicator {
    pub(super) sli: String,
    pub(super) matching: Labels,
    /// Where it is no ratio but a value that an objective compares: the unit of that.
    pub(super) unit: Option<Duration>,
    pub(super) place: Placed<()>,
}

pub(super) fn indicator(mut spec: Section<'_>, sources: &DataSources) -> Option<Indicator> {
    match (spec.optional("ratioMetric"), spec.optional("thresholdMetric")) {
        (Some(node), None) => ratio(node.section()?, sources),
        (None, Some(node)) => threshold(&node, sources),
        _ => {
            spec.problem("needs either 'ratioMetric' or 'thresholdMetric'");
            None
        }
    }
}

/// Counts of which one is the whole of the other, or the ratio that somebody made of them: ours is always made of counts.
fn ratio(mut ratio: Section<'_>, sources: &DataSources) -> Option<Indicator> {
    ratio.optional("counter");
    let [good, bad, total, raw] = ["good", "bad", "total", "raw"].map(|name| ratio.optional(name));
    let kind = ratio.optional("rawType");
    if let Some(node) = kind.as_ref().filter(|_| raw.is_none()) {
        node.problem("is for 'raw'");
    }
    match (good, bad, total, raw) {
        (Some(part), None, Some(total), None) => part_of(&part, "good", &total, sources),
        (None, Some(part), Some(total), None) => part_of(&part, "bad", &total, sources),
        (None, None, None, Some(raw)) => {
            let Some(kind) = kind else {
                raw.problem("needs a 'rawType': success or failure");
                return None;
            };
            let events = kind.one_of(&[("success", "good"), ("failure", "bad")])?;
            counted(&raw, events, sources)
        }
        _ => {
            ratio.problem("needs 'total' and one of 'good' and 'bad', or 'raw' alone");
            None
        }
    }
}

fn part_of(part: &Node<'_>, events: &'static str, total: &Node<'_>, sources: &DataSources) -> Option<Indicator> {
    let (of_part, of_total) = (counted(part, events, sources), counted(total, "valid", sources));
    let (of_part, of_total) = (of_part?, of_total?);
    if of_part.sli != of_total.sli || of_part.matching != of_total.matching {
        part.problem("is of another indicator, or of other labels, than 'total'");
    }
    Some(of_part)
}

/// Events of an indicator of ours.
fn counted(node: &Node<'_>, events: &'static str, sources: &DataSources) -> Option<Indicator> {
    let mut spec = source(node, sources)?;
    let names: Vec<(&str, &str)> = SLIS.into_iter().chain([ARCHIVE_SLI]).map(|name| (name, name)).collect();
    let sli = spec.required("indicator").and_then(|node| node.one_of(&names));
    let kind = spec.required("events").and_then(|node| node.one_of(&[(events, ())]));
    let matching = matching(&mut spec);
    kind?;
    Some(Indicator { sli: sli?.to_owned(), matching, unit: None, place: Placed::of(node, ()) })
}

/// A value of which each is good or not: the latency of a request, or of a stream's first message. What it is compared with
/// stands under the model.
fn threshold(node: &Node<'_>, sources: &DataSources) -> Option<Indicator> {
    let mut spec = source(node, sources)?;
    let sli = spec.required("indicator").and_then(|node| {
        let allowed = "latency or first_message: of the others good events are counted, so write a ratioMetric";
        node.parsed(allowed, |name| ["latency", FIRST_MESSAGE_SLI].contains(&name).then(|| name.to_owned()))
    });
    let units = [("seconds", Duration::from_secs(1)), ("milliseconds", Duration::from_millis(1))];
    let unit = spec.optional("unit").map_or(Some(units[0].1), |node| node.one_of(&units));
    let matching = matching(&mut spec);
    Some(Indicator { sli: sli?, matching, unit: Some(unit?), place: Placed::of(node, ()) })
}

fn matching(spec: &mut Section<'_>) -> Labels {
    let matching = spec.optional("matching").and_then(|node| node.entries()).unwrap_or_default();
    matching.into_iter().filter_map(|(name, node)| Some((name, node.text()?.to_owned()))).collect()
}

/// What a metric source of ours says: one of our type, or of a DataSource of that.
fn source<'a>(node: &Node<'a>, sources: &DataSources) -> Option<Section<'a>> {
    let mut source = node.section()?.required("metricSource")?.section()?;
    let allowed = format!("{SOURCE}, with an indicator of ours; queries of other systems cannot be imported");
    let is_ours = |kind: &str| (kind == SOURCE).then_some(());
    let kind = source.optional("type").map(|node| node.parsed(&allowed, is_ours));
    let named = source.optional("metricSourceRef").map(|node| {
        let allowed = format!("the name of a DataSource of the type {allowed}");
        node.parsed(&allowed, |name| is_ours(sources.get(name)?))
    });
    if kind.is_none() && named.is_none() {
        source.problem("needs 'type', or a 'metricSourceRef'");
    }
    let spec = source.required("spec");
    // What another system's holds is not ours to read.
    let is_read = kind.is_none_or(|kind| kind.is_some()) && named.is_none_or(|named| named.is_some());
    spec.filter(|_| is_read)?.section()
}
