//! Drift statistics that can be believed: sums of counts, and scores that know their own noise.
//!
//! Everything here is a pure function of counts. There is no clock, no I/O and no model protocol.
//!
//! # The one idea: everything kept is a sum
//!
//! From the reference (training data, or a quiet period) take cut points `c1 < … < cm`: all distinct values where there
//! are few, else quantiles. A value falls in one of `2m + 1` cells: below `c1`, equal to `c1`, between `c1` and `c2`, …
//! A [`Profile`] is the vector of cell counts and a few sums, and profiles of one reference add up: panes to windows,
//! pods to fleets. From two such vectors come all the scores:
//!
//! ```text
//!   reference rows ──▶ ReferenceBuilder ──▶ Reference ─┬─ grid / dictionary: the cells
//!                                                      ├─ counts of the reference itself
//!                                                      ├─ block noise: what its own stretches of time reach
//!                                                      └─ null effects: what worlds like it reach, for the budget
//!   window rows ──▶ Profile + Profile + … ──▶ Reference::scores ──▶ Score { value, noise, n, p, verdict }
//!                                         └─▶ Reference::histogram ──▶ bars to look at
//! ```
//!
//! * **Rank statistics** (Kolmogorov-Smirnov, Cramér-von Mises, Anderson-Darling, Kuiper, AUC) are exact when the grid is, because F is flat between
//!   its cut points. New values between them are kept one by one while they are few, so that their ties count too.
//! * **Shares** (PSI, Jensen-Shannon, Kullback-Leibler, Hellinger, total variation, chi-square, G, L∞) are taken on the categories, or on
//!   deciles of the reference with one cell for what lies outside it.
//! * **Wasserstein** needs the sums as well, and is exact wherever the two distribution functions do not cross inside a
//!   cell; otherwise both ends of its interval are reported. So are those of the energy distance.
//! * **Associations** (pairs of columns of numbers) and **vectors** (embeddings) are sums of products and of random features:
//!   integers, so that they add up to the bit.
//! * **Moments** (mean, median and other quantiles, spread) say in which way a column went, in words that need no explanation.
//! * **What is no value** (null, NaN, infinite, of another type, out of range, stuck, new) is scored apart.
//!
//! # A score is a judgement
//!
//! Two identical samples of 200 rows exceed a PSI of 0.1 about one time in three. So every [`Score`] carries what chance
//! reaches for these sizes ([`Noise`]), and its [`Verdict`] is drift only above both that and what matters; a sample
//! that could not have shown what matters says so.
//!
//! ```
//! use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, Thresholds, Verdict};
//!
//! let mut builder = ReferenceBuilder::new("origin", ColumnKind::Categorical);
//! for name in ["EWR", "JFK", "LGA"].iter().cycle().take(3000) {
//!     builder.category(None, name);
//! }
//! let reference = builder.build(None).unwrap();
//! let verdict_of_psi = |rows: &[(&str, usize)]| {
//!     let mut window = reference.empty_profile();
//!     for (name, count) in rows {
//!         for _ in 0..*count {
//!             reference.count_category(&mut window, name);
//!         }
//!     }
//!     reference.scores(&window, &Thresholds::default(), true)[0].verdict
//! };
//! assert_eq!(verdict_of_psi(&[("EWR", 330), ("JFK", 345), ("LGA", 325)]), Verdict::Ok);
//! assert_eq!(verdict_of_psi(&[("EWR", 5), ("JFK", 2), ("LGA", 3)]), Verdict::NotEnoughData);
//! assert_eq!(verdict_of_psi(&[("EWR", 700), ("JFK", 200), ("LGA", 100)]), Verdict::Drift);
//! ```

mod associations;
mod bisection;
mod blocks;
mod budget;
mod build;
mod categorical;
pub mod causes;
pub mod change;
mod classifier;
mod coarse;
mod comparison;
pub mod compat;
mod contingencies;
mod derive;
mod detector;
mod distances;
mod earlier;
mod file;
mod grid;
mod histogram;
#[cfg(test)]
mod laws;
mod lookup;
mod null;
mod numeric;
mod off_grid;
mod reference;
mod sample;
mod score;
mod segments;
mod steps;
mod survey;
mod tally;
mod vectors;

pub use associations::{AssociationProfile, Associations};
pub use blocks::{BlockNoise, MIN_STRETCHES};
pub use budget::{
    FewBlocks, Known, NullEffects, PART_OF_SEGMENTS, Persistence, Several, Timeline, Vouched, Watch, begins_by_itself,
    level, vouched,
};
pub use build::{BuildError, MAX_EXACT_VALUES, QUANTILES, ReferenceBuilder, RowValue, Rows, WindowShape};
pub use categorical::{
    CategoricalProfile, Dictionary, MAX_CATEGORIES, MAX_CATEGORY_BYTES, MAX_NEW_CATEGORIES, MAX_TAIL_CATEGORIES, Tail,
    category_hash,
};
pub use classifier::{Classified, MAX_CLASSIFIED_ROWS, MIN_CLASSIFIED_ROWS, RowSample, classify};
pub use coarse::COARSE_CELLS;
pub use contingencies::{Contingencies, ContingencyProfile};
pub use derive::{
    AXES, Derivation, Derived, Joint, JointRows, Learning, MAX_AXES_DIMENSIONS, MAX_JOINT_COLUMNS, MAX_NAMES_COLUMNS,
    MAX_WORDS, Names, SourceValue, Space, Vocabulary,
};
pub use detector::Detector;
pub use earlier::Earlier;
pub use file::{FORMAT, FileError, ReferenceFile, Source, VERSION, WindowLength};
pub use grid::{Grid, GridError};
pub use histogram::Bar;
pub use numeric::{MAX_MAGNITUDE, NumericProfile};
pub use off_grid::{MAX_OFF_GRID_VALUES, OffGrid};
pub use reference::{ColumnKind, Normal, Profile, Reference, Thresholds};
pub use score::{Noise, Score, Verdict};
pub use segments::{
    MIN_SEGMENT_ROWS, Parting, SEGMENT_CATEGORIES, SEGMENT_CUTS, SEGMENT_DETECTORS, Segment, SegmentColumn,
    Segmentation, Segments,
};
pub use vectors::{FREQUENCIES, Kernel, VectorProfile};
