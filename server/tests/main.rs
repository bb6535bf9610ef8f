//! The server's integration tests, as one test binary: a real server on a free port of this machine, in this process.
//!
//! A new file of tests needs a line here; `.ci/rules` reports one that is missing.

mod common;

mod a1111;
mod access;
#[cfg(target_os = "linux")]
mod full_disk;
mod gallery;
mod hostile;
mod hostile_bodies;
mod hostile_names;
mod inspect;
mod jobs;
#[cfg(unix)]
mod killed;
#[cfg(feature = "nats")]
mod nats;
mod openai;
mod openai_edits;
mod restart;
