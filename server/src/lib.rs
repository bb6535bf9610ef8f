#![forbid(unsafe_code)]
//! Latent over HTTP: a durable queue of jobs, an API with events, and the page in a browser.
//!
//! [`Server::bind`] opens the queue and the address, [`Server::run`] answers until it is asked to stop. A client's request
//! becomes a [`queue::NewJob`]; an accepted job is on disk. A thread for each device draws jobs in their order. Further APIs
//! are routes beside [`api::latent`] which make jobs of their own requests ([`request::RequestReader`]) and wait for their
//! end ([`queue::JobWait`]).
//!
//! Nothing here prints: what is to be logged goes to the program's [`ServerLog`].

pub mod api;
pub mod auth;
pub mod error;
pub mod gallery;
mod lifecycle;
pub mod metrics;
pub mod models;
#[cfg(feature = "nats")]
pub mod nats;
mod options;
mod page;
pub mod queue;
pub mod request;
mod serve;
pub mod state;
pub mod webui;
pub mod work;
pub mod worker;

pub use lifecycle::{ServerLog, ShutdownHandle};
pub use options::{DEFAULT_PORT, ServerOptions};
pub use serve::Server;
