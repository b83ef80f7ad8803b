//! The scores by name: what can be measured, which of it is shown, and from which effect on it matters.

use serde::{Deserialize, Serialize};

use crate::reference::ColumnKind;

/// What can be measured between a reference and a window.
///
/// ```
/// use driftline_detectors::Detector;
/// assert_eq!(Detector::named("psi"), Some(Detector::Psi));
/// assert!(Detector::ALL.contains(&Detector::AndersonDarling));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Kolmogorov-Smirnov's statistic.
    Ks,
    /// Population stability index.
    Psi,
    /// Cramér-von Mises' two-sample statistic.
    CramerVonMises,
    /// Jensen-Shannon distance to base 2.
    JensenShannon,
    /// Hellinger distance.
    Hellinger,
    /// Wasserstein-1 distance.
    Wasserstein,
    /// Pearson's chi-square of the contingency table.
    ChiSquare,
    /// Total variation distance.
    TotalVariation,
    /// Largest difference of one cell's share.
    LInfinity,
    /// By how much more rows lack a usable value.
    MissingShare,
    /// Share of rows whose category the reference never saw.
    NewCategoryShare,
    /// Anderson and Darling's two-sample statistic.
    AndersonDarling,
    /// Kuiper's statistic.
    Kuiper,
    /// Energy distance.
    Energy,
    /// Area under the ROC curve that tells window from reference by the value alone.
    Auc,
    /// Difference of the means.
    MeanShift,
    /// Difference of the medians.
    MedianShift,
    /// Ratio of the standard deviations.
    Spread,
    /// Kullback and Leibler's divergence of the window from the reference.
    KullbackLeibler,
    /// The likelihood ratio of the contingency table.
    GTest,
    /// By how much more rows are absent or null.
    NullShare,
    /// By how much more rows are NaN.
    NanShare,
    /// By how much more rows are infinite.
    InfiniteShare,
    /// By how much more rows hold something of another type.
    WrongTypeShare,
    /// Share of values outside of the reference's range.
    OutOfRangeShare,
    /// By how much more rows hold one and the same value.
    StuckShare,
    /// Largest change of a correlation between two columns.
    Association,
    /// Maximum mean discrepancy of vectors.
    Mmd,
    /// Difference of the values below which one in twenty lies.
    P05Shift,
    /// Difference of the lower quartiles.
    P25Shift,
    /// Difference of the upper quartiles.
    P75Shift,
    /// Difference of the values above which one in twenty lies.
    P95Shift,
}

impl Detector {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 32] = [
        Self::Psi,
        Self::Ks,
        Self::JensenShannon,
        Self::Wasserstein,
        Self::CramerVonMises,
        Self::ChiSquare,
        Self::TotalVariation,
        Self::Hellinger,
        Self::LInfinity,
        Self::AndersonDarling,
        Self::Kuiper,
        Self::Energy,
        Self::Auc,
        Self::MeanShift,
        Self::MedianShift,
        Self::P05Shift,
        Self::P25Shift,
        Self::P75Shift,
        Self::P95Shift,
        Self::Spread,
        Self::KullbackLeibler,
        Self::GTest,
        Self::MissingShare,
        Self::NullShare,
        Self::NanShare,
        Self::InfiniteShare,
        Self::WrongTypeShare,
        Self::OutOfRangeShare,
        Self::StuckShare,
        Self::NewCategoryShare,
        Self::Association,
        Self::Mmd,
    ];

    /// The name by which configuration, metrics and the API know it.
    ///
    /// ```
    /// assert_eq!(driftline_detectors::Detector::CramerVonMises.name(), "cramer_von_mises");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Ks => "ks",
            Self::Psi => "psi",
            Self::CramerVonMises => "cramer_von_mises",
            Self::JensenShannon => "jensen_shannon",
            Self::Hellinger => "hellinger",
            Self::Wasserstein => "wasserstein",
            Self::ChiSquare => "chi_square",
            Self::TotalVariation => "total_variation",
            Self::LInfinity => "l_infinity",
            Self::MissingShare => "missing_share",
            Self::NewCategoryShare => "new_category_share",
            Self::AndersonDarling => "anderson_darling",
            Self::Kuiper => "kuiper",
            Self::Energy => "energy",
            Self::Auc => "auc",
            Self::MeanShift => "mean_shift",
            Self::MedianShift => "median_shift",
            Self::Spread => "spread",
            Self::KullbackLeibler => "kullback_leibler",
            Self::GTest => "g_test",
            Self::NullShare => "null_share",
            Self::NanShare => "nan_share",
            Self::InfiniteShare => "infinite_share",
            Self::WrongTypeShare => "wrong_type_share",
            Self::OutOfRangeShare => "out_of_range_share",
            Self::StuckShare => "stuck_share",
            Self::Association => "association",
            Self::Mmd => "mmd",
            Self::P05Shift => "p05_shift",
            Self::P25Shift => "p25_shift",
            Self::P75Shift => "p75_shift",
            Self::P95Shift => "p95_shift",
        }
    }

    /// The detector of that name.
    ///
    /// ```
    /// use driftline_detectors::Detector;
    /// assert_eq!(Detector::named("g_test"), Some(Detector::GTest));
    /// assert_eq!(Detector::named("gut feeling"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detector| detector.name() == name)
    }

    /// Whether it is taken of columns of that kind when nobody chose. Each of these says what the others do not, or is what
    /// a field has grown used to; the rest are there for whom asks, and would only repeat them in every table.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Detector};
    /// assert!(Detector::Hellinger.is_standard(ColumnKind::Categorical));
    /// assert!(!Detector::Hellinger.is_standard(ColumnKind::Numeric));
    /// ```
    pub fn is_standard(self, kind: ColumnKind) -> bool {
        match self {
            Self::ChiSquare | Self::TotalVariation | Self::Hellinger | Self::LInfinity => {
                kind == ColumnKind::Categorical
            }
            Self::AndersonDarling
            | Self::Kuiper
            | Self::Energy
            | Self::Auc
            | Self::MeanShift
            | Self::MedianShift
            | Self::P05Shift
            | Self::P25Shift
            | Self::P75Shift
            | Self::P95Shift
            | Self::Spread
            | Self::KullbackLeibler
            | Self::GTest => false,
            Self::Association => matches!(kind, ColumnKind::Associations | ColumnKind::Contingencies),
            Self::Mmd => kind == ColumnKind::Vectors,
            _ => true,
        }
    }

    /// Whether twice the difference of two distributions is four times the effect.
    pub(crate) fn grows_with_the_square(self) -> bool {
        matches!(self, Self::Psi | Self::KullbackLeibler | Self::CramerVonMises | Self::AndersonDarling)
    }

    /// The effect from which a difference matters, unless the user says otherwise.
    ///
    /// All distances are set to about the same shift: the one that gives a PSI of 0.2, the field's "significant change",
    /// which on a normal column is a mean moved by 0.4 standard deviations.
    ///
    /// ```
    /// assert_eq!(driftline_detectors::Detector::MeanShift.default_threshold(), 0.4);
    /// ```
    pub fn default_threshold(self) -> f64 {
        match self {
            Self::Psi | Self::JensenShannon | Self::ChiSquare | Self::GTest | Self::Association => 0.2,
            Self::Ks | Self::Kuiper | Self::Hellinger | Self::TotalVariation | Self::StuckShare => 0.15,
            Self::Wasserstein | Self::MeanShift => 0.4,
            Self::MedianShift | Self::P05Shift | Self::P25Shift | Self::P75Shift | Self::P95Shift => 0.4,
            Self::Energy | Self::Spread => 0.3,
            Self::CramerVonMises => 0.015,
            Self::AndersonDarling => 0.08,
            Self::LInfinity | Self::Auc | Self::KullbackLeibler | Self::Mmd => 0.1,
            Self::MissingShare | Self::NullShare | Self::NanShare | Self::InfiniteShare | Self::WrongTypeShare => 0.05,
            Self::NewCategoryShare | Self::OutOfRangeShare => 0.01,
        }
    }

    /// What the effect is, when it is not the value itself.
    ///
    /// ```
    /// use driftline_detectors::Detector;
    /// assert_eq!(Detector::ChiSquare.effect_unit(), Some("Cramér's V"));
    /// assert_eq!(Detector::Ks.effect_unit(), None);
    /// ```
    pub fn effect_unit(self) -> Option<&'static str> {
        match self {
            Self::Wasserstein
            | Self::MeanShift
            | Self::MedianShift
            | Self::P05Shift
            | Self::P25Shift
            | Self::P75Shift
            | Self::P95Shift => Some("standard deviations of the reference"),
            Self::CramerVonMises => Some("integrated squared difference of the distribution functions"),
            Self::AndersonDarling => {
                Some("integrated squared difference of the distribution functions, by its variance")
            }
            Self::Energy => Some("energy distance in standard deviations of the reference"),
            Self::ChiSquare => Some("Cramér's V"),
            Self::GTest => Some("Jensen-Shannon distance of the pooled cells"),
            Self::Auc => Some("difference from one half"),
            Self::Spread => Some("logarithm of the ratio, without its sign"),
            Self::Association => Some("its magnitude; of numbers over the root of the pair's spread"),
            Self::Mmd => Some("its root"),
            _ => None,
        }
    }
}
