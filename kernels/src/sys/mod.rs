//! The machine and its operating system: pages of memory, the priority of threads, peak arithmetic.
//!
//! They are part of this crate because they need `unsafe` calls of the C library or the vector trait, and every crate
//! above forbids unsafe code. Nothing here is needed to run a kernel; each hint does nothing where a system lacks it.

mod memory;
pub mod peak;
mod priority;

pub(crate) use memory::release_pages;
pub use memory::{prefer_huge_pages, release_freed_memory};
pub use priority::lower_thread_priority;
