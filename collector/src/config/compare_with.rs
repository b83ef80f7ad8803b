//! What a model's windows are compared with besides their reference: earlier windows.

use std::time::Duration;

use driftline_document::{Node, Section, in_units};

use super::Windows;

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Windows side by side that are added up for one comparison: a week of hours.
const MAX_SIDE_BY_SIDE: u128 = 168;
/// As many quarters of a year as a model remembers its hours.
const MAX_WEEKS: u64 = 13;
/// Windows that are kept for one version: each is a profile of every column.
const MAX_KEPT: u128 = 2200;

/// Earlier windows of the same version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompareWith {
    /// So many windows side by side, the last before a window that were quiet.
    pub recent: Option<u32>,
    /// The windows that ended so many whole weeks before a window, from one week on.
    pub same_hour: Option<u32>,
}

pub(super) fn compare_with(mut section: Section<'_>, windows: &Windows) -> CompareWith {
    let recent = section.optional("recent").and_then(|node| recent(&node, windows));
    let same_hour = section.optional("same_hour").and_then(|node| same_hour(&node, windows));
    CompareWith { recent, same_hour }
}

fn recent(node: &Node<'_>, windows: &Windows) -> Option<u32> {
    let mut section = node.section()?;
    let over =
        section.optional("over").map_or(Some(WEEK), |node| node.duration(Duration::from_secs(60)..=366 * DAY))?;
    let window = windows.pane.saturating_mul(windows.panes);
    let said = || (in_units(over), in_units(window));
    if !windows.panes.is_multiple_of(windows.every) {
        node.problem("needs windows of which one ends where another begins; let 'window' be a multiple of 'every'");
    } else if !over.as_micros().is_multiple_of(window.as_micros()) {
        let (over, window) = said();
        node.problem(format!("{over} is not a multiple of the window, {window}"));
    } else if over.as_micros() / window.as_micros() > MAX_SIDE_BY_SIDE {
        let (over, window) = said();
        node.problem(format!(
            "{over} are more than {MAX_SIDE_BY_SIDE} windows of {window}, which is as many as are added up"
        ));
    } else {
        return Some((over.as_micros() / window.as_micros()) as u32);
    }
    None
}

fn same_hour(node: &Node<'_>, windows: &Windows) -> Option<u32> {
    let mut section = node.section()?;
    let weeks = section.optional("weeks").map_or(Some(4), |node| node.integer(1..=MAX_WEEKS))?;
    let every = windows.pane.saturating_mul(windows.every);
    if windows.pane.saturating_mul(windows.panes) > WEEK {
        node.problem("is for windows of at most a week");
    } else if !WEEK.as_micros().is_multiple_of(every.as_micros()) {
        let every = in_units(every);
        node.problem(format!(
            "needs windows that end at the same hours in every week; a week is not a multiple of 'every', {every}"
        ));
    } else if u128::from(weeks) * WEEK.as_micros() / every.as_micros() > MAX_KEPT {
        let every = in_units(every);
        node.problem(format!(
            "{weeks} weeks are more than {MAX_KEPT} windows, one every {every}, which is as many as are kept"
        ));
    } else {
        return Some(weeks as u32);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, (pane, panes, every): (u64, u32, u32)) -> Result<CompareWith, String> {
        let windows = Windows { pane: Duration::from_secs(pane), panes, every, ..Windows::default() };
        let read = driftline_document::read("driftline.yaml", text, |top| compare_with(top, &windows));
        read.result.map_err(|problems| problems.to_string())
    }

    #[test]
    fn days_are_counted_in_windows() {
        let (recent, same_hour) = (Some(7), Some(4));
        assert_eq!(read("{recent: {}, same_hour: {}}", (3600, 24, 1)), Ok(CompareWith { recent, same_hour }));
        let (recent, same_hour) = (Some(2), None);
        assert_eq!(read("{recent: {over: 20d}}", (86_400, 10, 10)), Ok(CompareWith { recent, same_hour }));
        assert_eq!(read("{}", (3600, 24, 1)), Ok(CompareWith::default()));
    }

    #[test]
    fn what_cannot_be_compared_is_said_with_its_reason() {
        for (text, windows, why) in [
            ("{recent: {over: 7d}}", (3600, 24, 5), "multiple of 'every'"),
            ("{recent: {over: 7d}}", (86_400, 10, 1), "is not a multiple of the window, 10d"),
            ("{recent: {over: 30d}}", (3600, 1, 1), "more than 168 windows"),
            ("{same_hour: {weeks: 4}}", (86_400, 10, 1), "at most a week"),
            ("{same_hour: {weeks: 4}}", (86_400, 3, 3), "not a multiple of 'every', 3d"),
            ("{same_hour: {weeks: 4}}", (60, 60, 1), "more than 2200 windows"),
        ] {
            let problems = read(text, windows).unwrap_err();
            assert!(problems.contains(why), "{text}: {problems}");
        }
    }
}
