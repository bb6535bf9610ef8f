//! The integration tests of the crate, as one test binary: it is linked once.
//!
//! A new file of tests needs a line here; `.ci/rules` reports one that is missing.

mod common;

mod access;
mod bad_files;
mod bad_headers;
mod differential;
mod f8;
mod folders;
mod gguf;
mod joined;
mod pickles;
mod q8_0;
mod shards;
mod weights;
