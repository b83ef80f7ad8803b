//! Texts within quotation marks, as YAML and PromQL both read them.

/// A text in double quotes. What is not plain ASCII is escaped in a way that both languages know.
pub(super) fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|char| match char {
        '"' | '\\' => format!("\\{char}"),
        ' '..='~' => char.to_string(),
        '\u{10000}'.. => format!("\\U{:08X}", u32::from(char)),
        _ => format!("\\u{:04X}", u32::from(char)),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A text that Prometheus' templates leave as it is.
pub(super) fn plain(text: &str) -> String {
    text.replace("{{", "{{`{{`}}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn yaml_reads_what_was_quoted(text in "(?s).{1,40}") {
            let read = driftline_document::read("a.yaml", &format!("a: {}", quoted(&text)), |mut top| {
                top.required("a").and_then(|node| Some(node.text()?.to_owned()))
            });
            prop_assert_eq!(read.result.unwrap(), Some(text));
        }
    }
}
