//! Server-sent events: one job's, or everything.
//!
//! A reader who is too slow misses events and never makes the drawing wait.

use super::jobs::number;
use super::view::JobView;
use crate::api::{PathPart, blocking};
use crate::error::{ApiError, ErrorCode};
use crate::queue::{JobId, ServerEvent};
use crate::state::ServerState;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Time between two comments that show that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Readers at once.
const MAX_READERS: usize = 1024;

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

fn keep_alive<S>(stream: S) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn check_room(events: &ServerState) -> Result<(), ApiError> {
    if events.queue.listeners() < MAX_READERS {
        return Ok(());
    }
    let mut error = ApiError::new(ErrorCode::QueueFull, "too many read events already");
    error.retry_after = Some(5);
    Err(error)
}

/// What a reader of a job's events has seen.
struct JobReader {
    state: ServerState,
    id: JobId,
    events: Receiver<ServerEvent>,
    /// What is still to be sent.
    ready: VecDeque<Event>,
    /// The position that was sent last.
    position: Option<usize>,
    has_ended: bool,
}

impl JobReader {
    /// Sends the job's state, and its end if it has ended.
    async fn look(&mut self, always: bool) {
        let (state, id) = (self.state.clone(), self.id);
        let view = blocking(move || Ok(JobView::of(&state, state.queue.status(id)?))).await;
        let Ok(view) = view else {
            self.has_ended = true;
            return;
        };
        if always || view.position != self.position {
            self.ready.push_back(event("state", &view));
        }
        self.position = view.position;
        if view.state.is_final() {
            self.ready.push_back(event(view.state.name(), &view));
            self.has_ended = true;
        }
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, JobReader)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.has_ended {
                return None;
            }
            match self.events.recv().await {
                Ok(ServerEvent::Progress(id, notice)) if id == self.id => {
                    self.ready.push_back(event(notice.name(), &notice));
                }
                Ok(ServerEvent::Job(id, _)) if id == self.id => self.look(true).await,
                // One before it may have ended.
                Ok(ServerEvent::Job(_, phase)) if phase.is_final() && self.position.is_some() => {
                    self.look(false).await;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.look(true).await,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Read the events of a job
///
/// `state` first and with each change, then `loading`, `progress`, `preview`, `image`, `warning`, and at last `done`,
/// `failed` or `cancelled`.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events", tag = "jobs", params(("id" = String, Path)), responses(
    (status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn of_job(
    State(state): State<ServerState>,
    PathPart(id): PathPart,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let id = number(&id)?;
    check_room(&state)?;
    // Before its state is read, so that nothing is missed between.
    let events = state.queue.subscribe();
    let own = state.clone();
    blocking(move || own.queue.status(id)).await?;
    let ready = VecDeque::new();
    let mut reader = JobReader { state, id, events, ready, position: None, has_ended: false };
    reader.look(true).await;
    Ok(keep_alive(unfold(reader, JobReader::next)))
}

/// An event of the server as a reader of everything sees it.
async fn shown(state: &ServerState, happened: ServerEvent) -> Vec<Event> {
    match happened {
        ServerEvent::Job(id, _) => {
            let own = state.clone();
            let view = blocking(move || Ok(JobView::of(&own, own.queue.status(id)?))).await;
            let (queued, running) = state.queue.counts();
            let queue = event("queue", &json!({ "queued": queued, "running": running }));
            view.iter().map(|view| event("job", view)).chain([queue]).collect()
        }
        ServerEvent::Models => vec![event("models", &json!({}))],
        ServerEvent::Gallery { added, removed } => {
            let own = state.clone();
            let infos = blocking(move || {
                Ok(added.iter().filter_map(|name| own.gallery.info(name).ok()).collect::<Vec<_>>())
            })
            .await;
            let data = json!({ "added": infos.unwrap_or_default(), "removed": &*removed });
            vec![event("gallery", &data)]
        }
        ServerEvent::Progress(..) => Vec::new(),
    }
}

/// Read the events of the server
///
/// `queue` first and with each change, `job` for each change of a job's state, `models` when a model file came or went,
/// `gallery` when images did.
#[utoipa::path(get, path = "/api/v1/events", tag = "jobs", responses(
    (status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
    (status = "4XX", description = "Refused", body = crate::error::ErrorBody),
))]
pub(super) async fn all(
    State(state): State<ServerState>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    check_room(&state)?;
    let events = state.queue.subscribe();
    let (queued, running) = state.queue.counts();
    let first = VecDeque::from([event("queue", &json!({ "queued": queued, "running": running }))]);
    Ok(keep_alive(unfold((state, events, first), |(state, mut events, mut ready)| async move {
        loop {
            if let Some(event) = ready.pop_front() {
                return Some((Ok(event), (state, events, ready)));
            }
            match events.recv().await {
                Ok(happened) => ready.extend(shown(&state, happened).await),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    })))
}
