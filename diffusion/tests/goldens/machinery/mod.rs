//! Everything about the reference data that does not depend on the engine: where they are, what they list, what they
//! must contain, how their tensors are read and compared, and how the result is printed.

pub(crate) mod case;
pub(crate) mod checkpoints;
pub(crate) mod compare;
pub(crate) mod context;
pub(crate) mod folder;
pub(crate) mod index;
pub(crate) mod report;
pub(crate) mod required;
pub(crate) mod target;
pub(crate) mod tensors;
