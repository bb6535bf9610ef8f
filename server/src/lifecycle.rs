//! What a program gives and gets of a server that runs: where its log goes, and a handle to stop it.

use std::sync::Arc;
use tokio::sync::watch;

/// Where lines of the log go.
pub type ServerLog = Arc<dyn Fn(&str) + Send + Sync>;

/// Asks a server to stop, from any thread.
#[derive(Clone, Debug)]
pub struct ShutdownHandle(Arc<watch::Sender<u8>>);

impl ShutdownHandle {
    pub(crate) fn new() -> ShutdownHandle {
        ShutdownHandle(Arc::new(watch::channel(0).0))
    }

    /// How often it was asked for.
    pub(crate) fn requests(&self) -> watch::Receiver<u8> {
        self.0.subscribe()
    }

    /// The first time, the server accepts no job any more and ends when those that run have ended. The second time, those
    /// are interrupted, and run again after the next start.
    pub fn request(&self) {
        self.0.send_modify(|times| *times = times.saturating_add(1));
    }
}
