//! Distributions of the scores when nothing has drifted.

pub(crate) mod cramer_von_mises;
pub(crate) mod kolmogorov;
pub(crate) mod tails;
