//! Passes the events of a job on, and cancels it.

use super::event::{CancelToken, JobEvent, JobObserver};
use super::preview::PreviewDecoder;
use crate::AppError;
use latent_diffusion::Event;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Passes on what a job reports.
pub(super) struct Monitor<'a> {
    observer: &'a mut JobObserver<'a>,
    cancel: &'a CancelToken,
    /// Whether the observer asked to stop.
    is_stopped: bool,
    /// Of the first and the second pass.
    previews: [Option<PreviewDecoder>; 2],
    /// The pass that is drawn: 0 or 1.
    pub(super) pass: usize,
}

impl<'a> Monitor<'a> {
    pub(super) fn new(observer: &'a mut JobObserver<'a>, cancel: &'a CancelToken) -> Monitor<'a> {
        Monitor { observer, cancel, is_stopped: false, previews: [None, None], pass: 0 }
    }

    /// The token that cancels the job.
    pub(super) fn cancel(&self) -> &'a CancelToken {
        self.cancel
    }

    pub(super) fn set_previews(&mut self, previews: [Option<PreviewDecoder>; 2]) {
        self.previews = previews;
    }

    /// Passes an event on. The job ends at the next [`Monitor::check`] or stage if the observer asks for that.
    pub(super) fn notify(&mut self, event: JobEvent) {
        self.is_stopped |= (self.observer)(event).is_break();
    }

    /// An error, if the job was cancelled.
    pub(super) fn check(&self) -> Result<(), AppError> {
        if self.is_stopped || self.cancel.is_cancelled() { Err(AppError::Interrupted) } else { Ok(()) }
    }

    /// Passes an event of the pipeline on, with a preview where it is time for one.
    pub(super) fn listen(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        if let Some(owned) = owned(event) {
            self.notify(owned);
        }
        match self.previews[self.pass].as_ref().and_then(|preview| preview.image(event)) {
            Some(Ok(image)) => self.notify(JobEvent::Preview(Arc::new(image))),
            Some(Err(error)) => {
                self.previews = [None, None];
                self.notify(JobEvent::PreviewFailed(error.to_string()));
            }
            None => {}
        }
        if self.check().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// An event of the pipeline with all that it holds.
fn owned(event: &Event<'_>) -> Option<JobEvent> {
    Some(match *event {
        Event::Loading { component, read, total } => JobEvent::Loading { component, read, total },
        Event::InF32 { reason } => JobEvent::RetriedInF32(reason.to_string()),
        Event::Encoded { image, total } => JobEvent::Encoded { image, total },
        Event::Step { step, total, sigma, .. } => JobEvent::Step { step, total, sigma },
        Event::Block { stage, block, total } => JobEvent::Block { stage, block, total },
        Event::Upscaled { tile, total } => JobEvent::Upscaled { tile, total },
        Event::Decoded { image, total } => JobEvent::Decoded { image, total },
        _ => return None,
    })
}
