//! Distributions of the scores when nothing has drifted.

mod absolute_deviation;
pub(crate) mod anderson_darling;
pub(crate) mod binomial;
pub(crate) mod chance_sum;
pub(crate) mod cramer_von_mises;
pub(crate) mod extremes;
pub(crate) mod fisher;
mod hypergeometric;
pub(crate) mod kolmogorov;
pub(crate) mod kuiper;
pub(crate) mod largest_difference;
pub(crate) mod lattice_paths;
pub(crate) mod random_split;
pub(crate) mod tails;
pub(crate) mod tied_ranks;
