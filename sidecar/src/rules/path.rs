//! Path patterns, by which the owner names routes.
//!
//! | pattern | matches |
//! |---|---|
//! | `/score` | that path, and no other |
//! | `/score/*` | one segment after it: `/score/a`, not `/score/a/b` |
//! | `/v1/models/*:predict` | `*` stands for any part of a segment, also an empty one |
//! | `/api/**` | everything below `/api/`, however deep; `**` stands at the end only |
//!
//! Paths are compared as they were sent, without their query: neither case nor percent-encoding is changed.

/// A path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern {
    segments: Vec<Segment>,
    /// Whether more segments may follow.
    any_rest: bool,
}

/// What one segment must be: these texts in this order, with anything between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment(Vec<String>);

impl PathPattern {
    /// What is allowed, for messages.
    pub(super) const ALLOWED: &str =
        "a path like /score, /score/*, /v1/models/*:predict or /api/**, of up to 512 bytes; ** stands at the end only";
    const MAX_BYTES: usize = 512;

    /// Reads a pattern. None when it is not one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let path =
            text.strip_prefix('/').filter(|_| text.len() <= Self::MAX_BYTES && !text.contains(['?', '#', ' ']))?;
        let (path, any_rest) = match path.strip_suffix("**") {
            Some("") => return Some(Self { segments: Vec::new(), any_rest: true }),
            Some(before) => (before.strip_suffix('/')?, true),
            None => (path, false),
        };
        if path.contains("**") {
            return None;
        }
        let segment = |segment: &str| Segment(segment.split('*').map(str::to_owned).collect());
        Some(Self { segments: path.split('/').map(segment).collect(), any_rest })
    }

    /// Whether a path is one of those that are meant.
    pub(super) fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut found = path.split('/');
        for segment in &self.segments {
            if !found.next().is_some_and(|text| segment.matches(text)) {
                return false;
            }
        }
        // What "**" stands for is at least one segment, be it empty: /api/** is not /api.
        found.next().is_some() == self.any_rest
    }
}

impl Segment {
    fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return text.is_empty() };
        let Some((last, middle)) = rest.split_last() else { return first == text };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        // The leftmost place of each is never worse than a later one.
        for part in middle {
            match text.find(part.as_str()) {
                Some(at) => text = text.split_at(at + part.len()).1,
                None => return false,
            }
        }
        text.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_a_part_of_one_segment_and_two_are_the_rest() {
        for (pattern, matching, other) in [
            ("/score", &["/score"][..], &["/score/", "/scores", "/a/score", "", "/"][..]),
            ("/score/*", &["/score/a", "/score/"], &["/score", "/score/a/b"]),
            ("/v1/models/*:predict", &["/v1/models/m:predict", "/v1/models/:predict"], &["/v1/models/m:explain"]),
            ("/a*b*c/d", &["/abc/d", "/axbxbxc/d"], &["/abd/d", "/acb/d", "/abc/e"]),
            ("/api/**", &["/api/a", "/api/a/b", "/api/"], &["/api", "/apix/a"]),
            ("/**", &["/", "/a", "/a/b"], &["*", ""]),
            ("/", &["/"], &["/a"]),
        ] {
            let parsed = PathPattern::parse(pattern).unwrap();
            for path in matching {
                assert!(parsed.matches(path), "{pattern} and {path}");
            }
            for path in other {
                assert!(!parsed.matches(path), "{pattern} and {path}");
            }
        }
        for wrong in ["", "score", "/a/**/b", "/a**", "/a?b", "/a b"] {
            assert_eq!(PathPattern::parse(wrong), None, "{wrong}");
        }
        assert_eq!(PathPattern::parse(&format!("/{}", "a".repeat(600))), None);
    }

    proptest! {
        #[test]
        fn a_segment_matches_what_its_parts_are_filled_into(
            parts in proptest::collection::vec("[ab]{0,3}", 1..5),
            fillings in proptest::collection::vec("[abc]{0,3}", 5),
        ) {
            let pattern = PathPattern::parse(&format!("/{}", parts.join("*"))).filter(|_| !parts.join("*").contains("**"));
            let filled: String = parts.iter().enumerate()
                .map(|(i, part)| if i == 0 { part.clone() } else { format!("{}{part}", fillings[i]) }).collect();
            if let Some(pattern) = pattern {
                let path = format!("/{filled}");
                prop_assert!(pattern.matches(&path));
            }
        }
    }
}
