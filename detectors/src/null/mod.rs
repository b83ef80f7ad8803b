//! Distributions of the scores when nothing has drifted.

pub(crate) mod binomial;
pub(crate) mod cramer_von_mises;
pub(crate) mod kolmogorov;
pub(crate) mod random_split;
pub(crate) mod tails;
