//! What the end of an alert says of which nobody knows whether it is over, because no verdict came any more.

use driftline_alerts::{MAX_ROWS, Member};

use super::evidence::what;
use crate::numbers::{and_more, thousands};
use crate::times;

/// The fact that says so.
pub(super) const FACT: &str = "Verdict";
/// Members that the one line names.
const NAMED: usize = 3;

/// The one line. `members` is how many were over in all.
pub(super) fn headline(given_up: &[&Member], members: usize) -> String {
    let names = given_up.iter().take(NAMED).map(|member| what(member)).collect::<Vec<_>>().join(", ");
    let more = given_up.len().saturating_sub(NAMED);
    let more = and_more(more);
    let others = if members > given_up.len() { "; what else was over its limit is not any more" } else { "" };
    format!("too few rows for a verdict on {names}{more}, so this ends without one{others}")
}

/// Since when there was none, and in how many windows; nothing where each member has one.
pub(super) fn fact(given_up: &[&Member]) -> Option<(String, String)> {
    let since = |member: &&Member| {
        let windows = thousands(u64::from(member.unjudged.windows));
        format!("none on {} since {} UTC, in {windows} windows", what(member), times::second(member.said_at))
    };
    let said = given_up.iter().take(MAX_ROWS).map(since).collect::<Vec<_>>().join("; ");
    (!given_up.is_empty()).then(|| (FACT.to_owned(), format!("{said}. Whether it is over is not known")))
}

#[cfg(test)]
mod tests {
    use driftline_alerts::{Labels, Reading, Unjudged};

    use super::*;

    #[test]
    fn the_end_names_what_had_no_verdict_and_since_when() {
        let member = |column: &str| Member {
            labels: Labels::from([("column".to_owned(), column.to_owned())]),
            recent: Vec::new(),
            last: Reading::NotEnoughData,
            said_at: 86_400_000_000,
            over: false,
            was_over: true,
            unobserved: 0,
            unjudged: Unjudged { windows: 168, ..Unjudged::default() },
        };
        let members = ["route", "carrier", "tail", "origin"].map(member);
        let given_up: Vec<&Member> = members.iter().collect();
        assert_eq!(
            headline(&given_up, 4),
            "too few rows for a verdict on route, carrier, tail and 1 more, so this ends without one"
        );
        assert!(
            headline(&given_up[..1], 2).ends_with("ends without one; what else was over its limit is not any more")
        );
        let says = "none on route since 1970-01-02 00:00:00 UTC, in 168 windows. Whether it is over is not known";
        assert_eq!(fact(&given_up[..1]), Some((FACT.to_owned(), says.to_owned())));
        assert_eq!(fact(&[]), None);
    }
}
