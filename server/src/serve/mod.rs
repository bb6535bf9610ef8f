//! The server itself: its address, its connections and its end.

mod linger;
mod stream;

use crate::api;
use crate::error::ApiError;
use crate::lifecycle::{ServerLog, ShutdownHandle};
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::queue::{JobPhase, ServerEvent};
use crate::state::ServerState;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use linger::LingeringBody;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use stream::TimedStream;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, broadcast, watch};
use tower::Service;

/// Threads that answer requests. What takes long runs elsewhere.
const THREADS: usize = 2;
/// Stack of each of both kinds, which no environment variable sets.
const STACK_BYTES: usize = 2 << 20;
/// Threads for what waits for the disk.
const BLOCKING_THREADS: usize = 32;
/// Time for a request's head, and between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections at once.
const MAX_CONNECTIONS: usize = 4096;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Time for the last answers after the last job has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Time for jobs that are interrupted to end.
const INTERRUPTED: Duration = Duration::from_secs(20);

/// A server that is ready to run.
pub struct Server {
    state: ServerState,
    listener: TcpListener,
    runtime: Runtime,
    stop: ShutdownHandle,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the queue and the address.
    ///
    /// # Errors
    /// An address that other machines reach without a key, one that is taken, folders that cannot be made, a queue that
    /// another server uses.
    pub fn bind(options: ServerOptions) -> Result<Server, ApiError> {
        let address = options.listen;
        if !address.ip().is_loopback() && options.api_key.is_none() && !options.no_auth {
            return Err(ApiError::bad_input(format!(
                "{address}: other machines reach this address; set a key, or allow everybody explicitly"
            )));
        }
        if options.api_key.as_deref().is_some_and(str::is_empty) {
            return Err(ApiError::bad_input("the key is empty"));
        }
        let failed = |error: std::io::Error| ApiError::failed(format!("{address}: {error}"));
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        raise_file_limit();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("latent-http")
            .thread_stack_size(STACK_BYTES)
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        #[cfg(feature = "nats")]
        let front =
            options.queue.clone().map(|queue| runtime.block_on(crate::nats::QueueFront::connect(queue)));
        let state = ServerState::open_with(
            options,
            #[cfg(feature = "nats")]
            front.transpose()?,
        )?;
        Ok(Server { state, listener, runtime, stop: ShutdownHandle::new() })
    }

    /// The address that it listens at.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.state.options.listen)
    }

    /// Asks it to stop.
    #[must_use]
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.stop.clone()
    }

    /// What its requests share.
    #[must_use]
    pub fn state(&self) -> &ServerState {
        &self.state
    }

    /// Answers requests and draws until it is asked to stop.
    ///
    /// # Errors
    /// Threads that cannot be started.
    pub fn run(self, log: ServerLog) -> Result<(), ApiError> {
        let Server { state, listener, runtime, stop } = self;
        state.watch();
        #[cfg(feature = "nats")]
        if let Some(front) = &state.front {
            front.set_log(log.clone());
        }
        let workers = state.start_workers()?;
        let drained = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)
                .map_err(|error| ApiError::failed(format!("the address: {error}")))?;
            tokio::spawn(write_log(state.clone(), log.clone()));
            let app = api::router(state.clone());
            let graceful = GracefulShutdown::new();
            let accepting = accept(listener, app, state.metrics.clone(), &graceful);
            tokio::select! {
                () = accepting => {}
                () = ended(&state, workers, stop.requests(), log) => {}
            }
            // Readers of events do not end by themselves.
            let _ = tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await;
            Ok(())
        });
        runtime.shutdown_timeout(LAST_ANSWERS);
        drained
    }
}

/// Ends when the server was asked to stop and the devices have ended.
async fn ended(
    state: &ServerState,
    workers: Vec<std::thread::JoinHandle<()>>,
    mut stop: watch::Receiver<u8>,
    log: ServerLog,
) {
    // The sender lives as long as the server.
    let _ = stop.wait_for(|times| *times > 0).await;
    log("stopping when the jobs that run have ended");
    state.queue.drain();
    let joined =
        tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join())));
    tokio::pin!(joined);
    tokio::select! {
        _ = &mut joined => return,
        _ = stop.wait_for(|times| *times > 1) => {}
    }
    log("stopping now; jobs that are interrupted run again after the next start");
    state.queue.stop();
    let _ = tokio::time::timeout(INTERRUPTED, joined).await;
}

/// Accepts connections for ever.
async fn accept(
    listener: tokio::net::TcpListener,
    app: Router,
    metrics: Arc<Metrics>,
    graceful: &GracefulShutdown,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // Too many open files, most likely: connections that end make room.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Events are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let app = app.clone();
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let is_awaited = request.headers().contains_key(header::EXPECT);
            let mut request: Request = request.map(|body| Body::new(LingeringBody::new(body, is_awaited)));
            request.extensions_mut().insert(api::ClientAddress(address.ip()));
            app.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(TimedStream::new(stream)), service);
        let connection = graceful.watch(connection);
        let metrics = metrics.clone();
        tokio::spawn(async move {
            metrics.connections.add(1);
            // A client that goes away is its own business.
            let _ = connection.await;
            metrics.connections.subtract(1);
            drop(permit);
        });
    }
}

/// Writes a line for each job that begins or ends. Prompts are in it only if that was asked for.
async fn write_log(state: ServerState, log: ServerLog) {
    let mut events = state.queue.subscribe();
    loop {
        let (id, phase) = match events.recv().await {
            Ok(ServerEvent::Job(id, phase)) => (id, phase),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Ok(status) = state.queue.status(id) else { continue };
        let record = status.record;
        let mut line = format!("job {id} {} {}", record.verb, phase.name());
        if phase == JobPhase::Queued && state.options.log_prompts {
            line += &format!(": {:?}", record.prompt);
        }
        if let (true, Some(started), Some(finished)) = (phase.is_final(), record.started, record.finished) {
            line += &format!(" after {:.2} s", finished.saturating_sub(started) as f64 / 1000.0);
        }
        if let Some(error) = &record.error {
            // The line of an error may quote the prompt.
            let about =
                if state.options.log_prompts { error.message.clone() } else { format!("{:?}", error.code) };
            line += &format!(": {about}");
        }
        log(&line);
    }
}

/// Lets as many files be open as the system allows: each connection is one.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // With fewer, connections wait.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
