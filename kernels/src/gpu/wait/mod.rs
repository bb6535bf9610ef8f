//! Waiting for a driver.
//!
//! Everywhere but in a browser the calling thread sleeps. In a browser a driver's answer is a task of the event loop of the very
//! thread that waits, which therefore has to leave the loop a turn: `set_pause` says how.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub use browser::set_pause;
#[cfg(target_family = "wasm")]
pub(super) use browser::{block_on, for_answer, for_commands, for_read, for_submission};
#[cfg(not(target_family = "wasm"))]
pub(super) use native::{block_on, for_answer, for_commands, for_read, for_submission};
