//! Where bodies of no known form have their rows.

use driftline_document::{Node, Section};
use driftline_protocol::{Mapping, Pointer};

pub(super) fn mapping(mut section: Section<'_>) -> Mapping {
    let mut place = |name| section.optional(name).and_then(|node| pointer(&node));
    let (rows, results) = (place("rows").unwrap_or_default(), place("results").unwrap_or_default());
    let (id, model_version) = (place("id"), place("model_version"));
    let mut columns = |name| section.optional(name).and_then(|node| node.entries()).unwrap_or_default();
    let places = |nodes: Vec<(String, Node<'_>)>| {
        nodes.into_iter().filter_map(|(name, node)| Some((name, pointer(&node)?))).collect()
    };
    Mapping {
        rows,
        features: places(columns("features")),
        shared: places(columns("shared")),
        results,
        predictions: places(columns("predictions")),
        id,
        model_version,
    }
}

fn pointer(node: &Node<'_>) -> Option<Pointer> {
    node.parsed("a JSON Pointer, as in /data/items, with ~0 for '~' and ~1 for '/' in a name", |text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mapping, String> {
        driftline_document::read("d.yaml", text, mapping).result.map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_is_not_said_is_the_whole_body() {
        let mapping = read("features: {age: /customer/age}").unwrap();
        assert_eq!((mapping.rows, mapping.results), (Pointer::default(), Pointer::default()));
        assert_eq!(mapping.features, [("age".to_owned(), "/customer/age".parse().unwrap())]);
    }

    #[test]
    fn every_pointer_that_is_none_is_named_with_its_place() {
        let problems = read("rows: data\nfeatures:\n  age: /a~2\n  sex: /sex\npredictions: [a]\nids: /id").unwrap_err();
        let places: Vec<&str> = problems.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        assert_eq!(places, ["rows", "features.age", "predictions", "ids"], "{problems}");
        assert!(
            problems.starts_with("d.yaml:1:1: rows: 'data' is not allowed; allowed is a JSON Pointer"),
            "{problems}"
        );
    }
}
