//! Pickles of PyTorch: those that it writes, those that are built here, and those that nobody should open.

mod hostile;
mod read;
pub(crate) mod writer;
