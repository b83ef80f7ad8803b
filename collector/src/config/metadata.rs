//! Where a model's own metadata are.

use std::path::{Path, PathBuf};

use driftline_document::Node;
use reqwest::Url;

/// Whence it is known how a model describes its inputs and outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataSource {
    /// A file.
    File(PathBuf),
    /// The model's server, or another that answers with them.
    Url(Url),
}

pub(super) fn metadata(node: &Node<'_>, folder: &Path) -> Option<MetadataSource> {
    let text = node.unquoted_text("a file, or an http or https URL")?;
    if !text.contains("://") {
        return Some(MetadataSource::File(folder.join(text)));
    }
    let Some(url) = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
        node.problem("is no http or https URL, as in http://127.0.0.1:8080/v2/models/NAME");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        node.problem("has a user or a password in it, which logs would tell; give a URL without them, or a file");
    }
    Some(MetadataSource::Url(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn parse(metadata: &str) -> Result<MetadataSource, String> {
        let text = format!("models: [{{name: m, metadata: {metadata}}}]");
        let config = parsed(&text)?;
        Ok(config.model("m").metadata.unwrap())
    }

    #[test]
    fn metadata_are_in_a_file_or_at_a_url() {
        assert_eq!(parse("m/MLmodel").unwrap(), MetadataSource::File("/etc/m/MLmodel".into()));
        let url = "http://127.0.0.1:8080/v2/models/m";
        assert_eq!(parse(url).unwrap(), MetadataSource::Url(Url::parse(url).unwrap()));
    }

    #[test]
    fn what_is_neither_says_so_and_no_secret_is_quoted() {
        for (metadata, what) in [
            ("ftp://host/m", "is no http or https URL"),
            ("'http://:80/m'", "is no http or https URL"),
            ("{}", "allowed is a file, or an http or https URL"),
            ("http://me:hush@host/m", "has a user or a password in it"),
        ] {
            let problems = parse(metadata).unwrap_err();
            assert!(problems.contains("models[0].metadata: ") && problems.contains(what), "{problems}");
            assert!(!problems.contains("hush"), "{problems}");
        }
    }
}
