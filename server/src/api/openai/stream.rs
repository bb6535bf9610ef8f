//! Images as events: unfinished ones while a job runs, then the finished ones.

use super::answer::{TokenUsage, check_ended, image_bytes, preview_base64, seconds};
use super::error::OpenAiError;
use super::parameters::AnswerStyle;
use crate::api::blocking;
use crate::error::ApiError;
use crate::queue::{JobNotice, JobWait, NewJob, ServerEvent};
use crate::state::ServerState;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Time between two comments that show that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a reader of a job's images has seen. Dropping it cancels the job.
pub(super) struct ImageStream {
    state: ServerState,
    job: JobWait,
    style: Arc<AnswerStyle>,
    events: Receiver<ServerEvent>,
    /// What is still to be sent.
    ready: VecDeque<Event>,
    partials: PartialSchedule,
    /// Names of the images that were sent.
    sent: Vec<String>,
    has_ended: bool,
}

impl ImageStream {
    /// Accepts a job and answers with its events.
    pub(super) async fn start(
        state: ServerState,
        new: NewJob,
        style: AnswerStyle,
    ) -> Result<impl IntoResponse, ApiError> {
        // Before it is accepted, so that nothing is missed between.
        let events = state.queue.subscribe();
        let job = JobWait::submit(state.queue.clone(), new).await?;
        let partials = PartialSchedule { wanted: style.partial_images, ..PartialSchedule::default() };
        let (ready, sent, has_ended) = (VecDeque::new(), Vec::new(), false);
        let style = Arc::new(style);
        let stream = ImageStream { state, job, style, events, ready, partials, sent, has_ended };
        Ok(Sse::new(unfold(stream, ImageStream::next)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, ImageStream)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.has_ended {
                return None;
            }
            let own = self.job.id();
            let taken = match self.events.recv().await {
                Ok(ServerEvent::Progress(id, notice)) if id == own => self.take(notice).await,
                Ok(ServerEvent::Job(id, phase)) if id == own && phase.is_final() => self.end().await,
                Ok(_) => Ok(()),
                Err(RecvError::Lagged(_)) => self.end().await,
                Err(RecvError::Closed) => Err(ApiError::failed("the server stops")),
            };
            if let Err(error) = taken {
                self.send("error".to_owned(), &OpenAiError(error).body());
                self.has_ended = true;
            }
        }
    }

    fn send(&mut self, name: String, data: &impl Serialize) {
        let data = serde_json::to_string(data).unwrap_or_default();
        self.ready.push_back(Event::default().event(name).data(data));
    }

    async fn take(&mut self, notice: JobNotice) -> Result<(), ApiError> {
        match notice {
            JobNotice::Step(step) if step.stage == "sampling" => {
                self.partials.steps = step.steps;
                Ok(())
            }
            JobNotice::Preview { image, step } => self.unfinished(image, step).await,
            JobNotice::Image { name, .. } => self.finished(name.to_string()).await,
            _ => Ok(()),
        }
    }

    /// What all events have.
    fn event(&self, name: &str, base64: &str, size: &str) -> Value {
        json!({
            "type": name,
            "b64_json": base64,
            "created_at": seconds(),
            "size": size,
            "quality": self.style.quality.unwrap_or("auto"),
            "background": "opaque",
            "output_format": self.style.format_name(),
        })
    }

    /// Sends a preview, as often as it is due.
    async fn unfinished(&mut self, image: Arc<str>, step: usize) -> Result<(), ApiError> {
        let due = self.partials.due(step);
        if due.is_empty() {
            return Ok(());
        }
        let format = self.style.format;
        let base64 = blocking(move || preview_base64(&image, format)).await?;
        let name = format!("{}.partial_image", self.style.event);
        let asked = self.style.size.map(|(width, height)| format!("{width}x{height}"));
        for index in due {
            let mut data = self.event(&name, &base64, asked.as_deref().unwrap_or("auto"));
            data["partial_image_index"] = index.into();
            self.send(name.clone(), &data);
        }
        Ok(())
    }

    /// Sends an image that is written.
    async fn finished(&mut self, image: String) -> Result<(), ApiError> {
        if self.sent.contains(&image) {
            return Ok(());
        }
        let (state, style, own) = (self.state.clone(), self.style.clone(), image.clone());
        let (base64, size) = blocking(move || {
            let info = state.gallery.info(&own)?;
            let bytes = image_bytes(&state, &own, style.format)?;
            Ok((STANDARD.encode(bytes), format!("{}x{}", info.width, info.height)))
        })
        .await?;
        let name = format!("{}.completed", self.style.event);
        let mut data = self.event(&name, &base64, &size);
        data["usage"] = json!(TokenUsage::default());
        self.send(name, &data);
        self.sent.push(image);
        self.partials.sent = 0;
        Ok(())
    }

    /// Sends what was missed, and the end if the job has ended.
    async fn end(&mut self) -> Result<(), ApiError> {
        let (state, id) = (self.state.clone(), self.job.id());
        let record = blocking(move || Ok(state.queue.status(id)?.record)).await?;
        for name in record.images.clone() {
            self.finished(name).await?;
        }
        if record.phase.is_final() {
            check_ended(&record)?;
            self.has_ended = true;
        }
        Ok(())
    }
}

/// When unfinished images are sent: spread over the steps.
#[derive(Clone, Copy, Debug, Default)]
struct PartialSchedule {
    wanted: usize,
    sent: usize,
    /// Steps of the image.
    steps: usize,
}

impl PartialSchedule {
    /// The numbers of those that are due when so many steps are done.
    fn due(&mut self, step: usize) -> std::ops::Range<usize> {
        let begin = self.sent;
        let is_due = |index: usize| step >= (self.steps * (index + 1)).div_ceil(self.wanted + 1);
        self.sent = (begin..self.wanted).find(|index| !is_due(*index)).unwrap_or(self.wanted);
        begin..self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_images_are_spread_over_the_steps() {
        let sent = |wanted: usize, steps: usize| {
            let mut schedule = PartialSchedule { wanted, sent: 0, steps };
            (1..=steps).map(|step| schedule.due(step).len()).collect::<Vec<_>>()
        };
        assert_eq!(sent(3, 8), [0, 1, 0, 1, 0, 1, 0, 0]);
        assert_eq!(sent(2, 4), [0, 1, 1, 0]);
        assert_eq!((sent(3, 2), sent(3, 1), sent(0, 4)), (vec![2, 1], vec![3], vec![0; 4]));
    }
}
