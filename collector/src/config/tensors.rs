//! What the configuration says of tensors.

use std::collections::{BTreeMap, BTreeSet};

use driftline_document::Node;
use driftline_protocol::{MAX_COLUMNS, TensorNaming};

pub(super) fn tensors(entries: Vec<(String, Node<'_>)>) -> BTreeMap<String, TensorNaming> {
    entries.into_iter().filter_map(|(name, node)| Some((name, tensor(&node)?))).collect()
}

fn tensor(node: &Node<'_>) -> Option<TensorNaming> {
    let mut section = node.section()?;
    let columns = section.optional("columns");
    let is_embedding = section.optional("embedding").and_then(|node| node.boolean()).unwrap_or(false);
    let is_ignored = section.optional("ignored").and_then(|node| node.boolean()).unwrap_or(false);
    match (columns, is_embedding, is_ignored) {
        (Some(columns), false, false) => names(&columns).map(TensorNaming::Columns),
        (None, true, false) => Some(TensorNaming::Embedding),
        (None, false, true) => Some(TensorNaming::Ignored),
        _ => {
            node.problem("becomes one thing; give one of 'columns: [...]', 'embedding: true' and 'ignored: true'");
            None
        }
    }
}

/// The names of columns: one for each value that the tensor has in a row.
fn names(node: &Node<'_>) -> Option<Vec<String>> {
    let names = node.list()?;
    if !(1..=MAX_COLUMNS).contains(&names.len()) {
        node.problem(format!("{} names are not allowed; allowed is 1 to {MAX_COLUMNS}", names.len()));
        return None;
    }
    let mut taken = BTreeSet::new();
    for name in &names {
        let text = name.text()?;
        if !taken.insert(text) {
            name.problem(format!("there is another column '{text}'; each has a name of its own"));
        }
    }
    names.iter().map(|name| Some(name.text()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(tensors: &str) -> Result<BTreeMap<String, TensorNaming>, String> {
        let text = format!("models: [{{name: m, tensors: {tensors}}}]");
        let config = Config::parse("driftline.yaml", &text, Path::new("")).map_err(|problems| problems.to_string())?;
        Ok(config.model("m").naming.tensors)
    }

    #[test]
    fn a_tensor_becomes_columns_a_vector_or_nothing() {
        let tensors = parse("{x: {columns: [a, b]}, v: {embedding: true}, image: {ignored: true}}").unwrap();
        let columns = TensorNaming::Columns(vec!["a".to_owned(), "b".to_owned()]);
        let expected = [("x", columns), ("v", TensorNaming::Embedding), ("image", TensorNaming::Ignored)];
        assert_eq!(tensors, BTreeMap::from(expected.map(|(name, naming)| (name.to_owned(), naming))));
    }

    #[test]
    fn what_makes_no_sense_says_where_and_what_is_allowed() {
        for (tensors, what) in [
            ("{x: {}}", "models[0].tensors.x: becomes one thing"),
            ("{x: {embedding: false}}", "models[0].tensors.x: becomes one thing"),
            ("{x: {columns: [a], embedding: true}}", "models[0].tensors.x: becomes one thing"),
            ("{x: {columns: []}}", "models[0].tensors.x.columns: 0 names are not allowed; allowed is 1 to 1000"),
            ("{x: {columns: [a, b, a]}}", "models[0].tensors.x.columns[2]: there is another column 'a'"),
            ("{x: {embedding: yes please}}", "models[0].tensors.x.embedding: 'yes please' is not allowed"),
            ("{x: embedding}", "models[0].tensors.x: 'embedding' is not allowed; allowed is a section"),
        ] {
            let problems = parse(tensors).unwrap_err();
            assert!(problems.contains(what), "{tensors}: {problems}");
        }
    }
}
