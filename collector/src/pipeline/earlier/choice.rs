//! Which of the recent windows a column is held against: those that were quiet, until a change has stayed.

use serde::{Deserialize, Serialize};

/// What a column was beside the recent windows when it closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Course {
    Quiet,
    Changed,
    /// Like a change that had lasted for so long that it is what is normal.
    Accepted,
}

/// How many of so many windows it takes: two thirds.
pub(super) fn needed(windows: u32) -> u32 {
    (2 * windows).div_ceil(3)
}

/// Which of the windows, the newest first, a column is compared with, and whether they are a change that is accepted now.
/// Where there is no window there is no course.
pub(super) fn choose(courses: &[Option<Course>], windows: usize) -> (Vec<usize>, bool) {
    let known = || courses.iter().enumerate().filter_map(|(place, course)| Some((place, (*course)?)));
    let last: Vec<(usize, Course)> = known().filter(|(place, _)| *place < windows).collect();
    if last.len() >= needed(windows as u32) as usize && last.iter().all(|(_, course)| *course == Course::Changed) {
        return (last.into_iter().map(|(place, _)| place).collect(), true);
    }
    let (mut chosen, mut is_of_change) = (Vec::new(), false);
    for (place, course) in known() {
        match course {
            // From before the change that was accepted since.
            Course::Quiet if is_of_change => break,
            Course::Changed if !is_of_change => continue,
            Course::Quiet | Course::Changed => {}
            Course::Accepted => is_of_change = true,
        }
        chosen.push(place);
        if chosen.len() == windows {
            break;
        }
    }
    (chosen, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column's windows, the oldest first, by the first letters of their courses; a dot where there is none. Gives which of
    /// the last are chosen, counted back from the newest.
    fn chosen(courses: &str, windows: usize) -> (Vec<usize>, bool) {
        let course = |letter| match letter {
            'q' => Some(Course::Quiet),
            'c' => Some(Course::Changed),
            'a' => Some(Course::Accepted),
            _ => None,
        };
        choose(&courses.chars().rev().map(course).collect::<Vec<_>>(), windows)
    }

    #[test]
    fn the_last_quiet_windows_count_and_those_between_are_left_out() {
        assert_eq!(chosen("qqqqqq", 3), (vec![0, 1, 2], false));
        assert_eq!(chosen("qqqccq", 3), (vec![0, 3, 4], false));
        assert_eq!(chosen("qq.q.c", 3), (vec![2, 4, 5], false));
        assert_eq!(chosen("......", 3), (vec![], false));
    }

    #[test]
    fn a_change_that_stayed_for_all_of_them_counts_and_nothing_before_it() {
        assert_eq!(chosen("qqqqcc", 3), (vec![2, 3, 4], false));
        assert_eq!(chosen("qqqccc", 3), (vec![0, 1, 2], true));
        assert_eq!(chosen("qqccca", 3), (vec![0, 1, 2], false));
        assert_eq!(chosen("ccaqqq", 3), (vec![0, 1, 2], false));
        assert_eq!(chosen("qqqqca", 3), (vec![0, 1], false), "what was before it does not count any more");
        assert_eq!(chosen("qccacq", 4), (vec![0, 2, 3, 4], false), "a window that strays after it is left out");
    }

    #[test]
    fn a_week_without_rows_at_its_end_is_accepted_by_what_there_is() {
        assert_eq!(chosen("qqqqqqqccccc..", 7), (vec![2, 3, 4, 5, 6], true));
        assert!(!chosen("qqqqqqqcccc...", 7).1, "four of seven are too few");
    }
}
