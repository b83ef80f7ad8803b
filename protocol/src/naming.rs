//! What the configuration says of columns that the bodies do not name, and of tensors.

use std::collections::BTreeMap;

use crate::mapping::Mapping;

/// Names that the bodies do not say themselves, and what becomes of tensors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// Names of the features of rows that come as arrays, in their order.
    pub features: Vec<String>,
    /// What becomes of tensors, by their name.
    pub tensors: BTreeMap<String, TensorNaming>,
    /// Where bodies of no known form have their rows.
    pub body: Option<Mapping>,
}

/// What becomes of the values that a tensor has in each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorNaming {
    /// A column each, of these names.
    Columns(Vec<String>),
    /// One column of vectors, named like the tensor.
    Embedding,
    /// Nothing: it is not read.
    Ignored,
}
