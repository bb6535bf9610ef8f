#![forbid(unsafe_code)]
//! The program behind the page: it opens a model that the browser holds, by ranges, and draws with it on WebGPU.
//!
//! It runs in a worker of the page. `page/host.js` has what it calls there, `page/worker.js` calls it: `ask` leaves a command, `run`
//! carries it out and posts what happens. `run` alone waits, for the GPU; its wait suspends the WebAssembly
//! program while the worker goes on (JavaScript Promise Integration), so the crates below stay as they are elsewhere.
//!
//! For any other target the crate is empty.

#[cfg(target_family = "wasm")]
mod program;

#[cfg(target_family = "wasm")]
pub use program::{ask, run};
