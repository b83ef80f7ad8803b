//! What a column's two verdicts say together: whether something is new, or the reference is what is old.

use driftline_detectors::{Detector, Verdict};

use super::{Against, Beside, COMPARED};
use crate::numbers::thousands;
use crate::pipeline::series::ClosedColumn;
use crate::times;

/// Where a window stands between its reference and the windows before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Unlike both.
    NewChange,
    /// Unlike the reference, as the recent windows were: the reference is old, or was not made of what is served.
    Skew,
    /// Unlike the recent windows, and like the reference.
    BackToReference,
    Unchanged,
}

impl Standing {
    /// None when one of the two could not be told.
    pub(crate) fn of(reference: Verdict, recent: Verdict) -> Option<Self> {
        match (reference, recent) {
            (Verdict::NotEnoughData, _) | (_, Verdict::NotEnoughData) => None,
            (Verdict::Drift, Verdict::Drift) => Some(Self::NewChange),
            (Verdict::Drift, Verdict::Ok) => Some(Self::Skew),
            (Verdict::Ok, Verdict::Drift) => Some(Self::BackToReference),
            (Verdict::Ok, Verdict::Ok) => Some(Self::Unchanged),
        }
    }

    /// That of one score of a column, with the windows that it is about. A score has one if it is taken of both.
    pub(crate) fn of_score<'c>(column: &'c ClosedColumn, detector: &str) -> Option<(Self, &'c Beside)> {
        let beside = column.beside.iter().find(|beside| beside.against == Against::Recent)?;
        let reference = column.scores.iter().find(|score| score.detector.name() == detector)?;
        let recent = beside.scores.iter().find(|score| score.detector.name() == detector)?;
        Some((Self::of(reference.verdict, recent.verdict)?, beside))
    }

    /// That of a column: of the first score for which anything differs.
    pub(crate) fn of_column(verdicts: impl Fn(Detector) -> Option<(Verdict, Verdict)>) -> Option<Self> {
        let all = || COMPARED.into_iter().filter_map(&verdicts);
        let all = || all().filter_map(|(reference, recent)| Self::of(reference, recent));
        all().find(|standing| *standing != Self::Unchanged).or_else(|| all().next())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NewChange => "new_change",
            Self::Skew => "skew",
            Self::BackToReference => "back_to_reference",
            Self::Unchanged => "unchanged",
        }
    }

    /// A sentence on it.
    pub(crate) fn in_words(self, recent: &Beside) -> String {
        let time = recent.span.map_or_else(String::new, |(from, to)| format!(" of {}", times::span(from, to)));
        let windows = match recent.windows {
            1 => format!("the window{time}"),
            windows => format!("the {} windows{time}", thousands(u64::from(windows))),
        };
        let after = if recent.is_accepted { ", a change that has stayed" } else { "" };
        match self {
            Self::NewChange => format!("new: unlike the reference, and unlike {windows}"),
            Self::Skew => {
                format!("nothing new: like {windows}{after}; the reference is old, or not made of what is served")
            }
            Self::BackToReference => format!("back: like the reference again, and unlike {windows}"),
            Self::Unchanged => format!("unchanged: like the reference, and like {windows}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_apart_from_what_the_reference_never_knew() {
        use Verdict::{Drift, NotEnoughData, Ok};
        assert_eq!(Standing::of(Drift, Drift), Some(Standing::NewChange));
        assert_eq!(Standing::of(Drift, Ok), Some(Standing::Skew));
        assert_eq!(Standing::of(Ok, Drift), Some(Standing::BackToReference));
        assert_eq!((Standing::of(Drift, NotEnoughData), Standing::of(NotEnoughData, Ok)), (None, None));
        let verdicts = |detector| match detector {
            Detector::Psi => Some((NotEnoughData, Ok)),
            Detector::Ks => Some((Ok, Ok)),
            Detector::MissingShare => Some((Drift, Drift)),
            _ => None,
        };
        assert_eq!(Standing::of_column(verdicts), Some(Standing::NewChange), "missing values are no less new");
        assert_eq!(
            Standing::of_column(|detector| (detector == Detector::Ks).then_some((Ok, Ok))),
            Some(Standing::Unchanged)
        );
        assert_eq!(Standing::of_column(|_| None), None);
    }
}
