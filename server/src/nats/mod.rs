//! One queue for many machines, on NATS JetStream.
//!
//! A front is a server that keeps its jobs and images as every server does, but sends the jobs to the broker in place of its
//! own devices (`front`). A worker takes those whose model it has, draws them with a queue in memory and the threads of
//! devices that a server has, and sends the images back ([`QueueWorker`]). As a job has the same bytes wherever it is
//! drawn, a worker that dies is followed by another; the front takes the first result and no other.

mod answer;
mod broker;
mod cells;
mod dead;
mod dispatch;
mod file_hashes;
mod folder_contents;
mod front;
mod inventory;
mod lane;
mod logged_lines;
mod objects;
mod options;
mod parcel;
mod parts;
mod result;
mod signs;
mod site;
mod taken;
mod tiles;
mod whole;
mod wire;
mod worker;

pub use dead::ParkedJob;
pub(crate) use dispatch::QueueFront;
pub(crate) use front::FrontParts;
pub use options::{BrokerLogin, QueueOptions};
pub use wire::WorkerInfo;
pub use worker::{QueueWorker, QueueWorkerOptions, list_workers};
