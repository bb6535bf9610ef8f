//! Drawing in a thread of its own, with events for whoever waits.

use super::{Fill, OwnedTask, Pipeline, Settings, SettingsOverrides};
use crate::event::{CancelHandle, OwnedEvent};
use crate::image::{Image, Margins};
use crate::latents::Latents;
use crate::mask::Mask;
use crate::setting::Setting;
use crate::{Error, Event, LatentRgb, Listener};
use latent_kernels::parallel;
use latent_tensor::Tensor;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Events that a drawing may be ahead of whoever looks at them.
const EVENTS_AHEAD: usize = 32;

/// What to draw, with all that belongs to it: plain data that can be kept, compared, sent to another thread and drawn again.
///
/// # Examples
/// ```
/// use latent_diffusion::{Pipeline, Request, loader::Checkpoint};
/// # let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.safetensors");
/// let pipeline = Pipeline::open(Checkpoint::open(demo.as_ref())?)?;
/// let request = Request::new("a red apple").negative_prompt("a green one").seeds([7]).steps(3);
/// let mut drawing = request.start(pipeline);
/// for step in &mut drawing {
///     let preview = step.preview(0)?;
///     println!("step {} of {}: {} pixels", step.step, step.total, preview.width * preview.height);
/// }
/// let (pipeline, images) = drawing.finish();
/// assert_eq!((images?[0].width, pipeline.model().family.label), (64, "Stable Diffusion 1.x"));
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// The prompt.
    pub prompt: String,
    /// What to guide away from; empty for nothing.
    pub negative_prompt: String,
    /// What is made.
    pub task: OwnedTask,
    /// Settings that differ from those that the model was made for ([`Settings::of`]).
    pub overrides: SettingsOverrides,
}

impl Request {
    /// An image from text, with the settings that the model was made for.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Request {
        Request { prompt: prompt.into(), ..Request::default() }
    }

    /// This request with a negative prompt.
    #[must_use]
    pub fn negative_prompt(self, negative_prompt: impl Into<String>) -> Request {
        Request { negative_prompt: negative_prompt.into(), ..self }
    }

    /// An image for each seed.
    #[must_use]
    pub fn seeds(self, seeds: impl IntoIterator<Item = u64>) -> Request {
        self.with(|overrides| overrides.with_seeds(seeds.into_iter().collect()))
    }

    /// Images of that width and height in pixels; a task with an image has the image's.
    #[must_use]
    pub fn size(self, width: usize, height: usize) -> Request {
        self.with(|overrides| overrides.with_width(Some(width)).with_height(Some(height)))
    }

    /// With that number of steps.
    #[must_use]
    pub fn steps(self, steps: usize) -> Request {
        self.with(|overrides| overrides.with_steps(steps))
    }

    /// This request with its overrides changed at once.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(SettingsOverrides) -> SettingsOverrides) -> Request {
        self.overrides = change(self.overrides);
        self
    }

    /// An image redrawn; `strength`, above 0 and at most 1, is how much may change ([`Task::ImageToImage`](super::Task)).
    #[must_use]
    pub fn redraw(self, image: Image, strength: f64) -> Request {
        Request { task: OwnedTask::ImageToImage { image, strength }, ..self }
    }

    /// A part of an image redrawn, with a soft edge of 4 pixels ([`Task::Inpaint`](super::Task)).
    #[must_use]
    pub fn inpaint(self, image: Image, mask: Mask) -> Request {
        let task = OwnedTask::Inpaint { image, mask, strength: 1.0, fill: Fill::Original, feather: 4.0 };
        Request { task, ..self }
    }

    /// An image extended past its edges, from the colours there ([`Image::grown`]).
    #[must_use]
    pub fn grow(self, image: &Image, margins: Margins) -> Request {
        let (image, mask) = image.grown(margins);
        let task = OwnedTask::Inpaint { image, mask, strength: 1.0, fill: Fill::Nearest, feather: 4.0 };
        Request { task, ..self }
    }

    /// An image changed by the prompt as an instruction ([`Task::Edit`](super::Task)); `guidance` is how closely to keep to
    /// the image.
    #[must_use]
    pub fn edit(self, image: Image, guidance: f64) -> Request {
        Request { task: OwnedTask::Edit { image, guidance }, ..self }
    }

    /// The settings, for a model.
    fn settings(&self, pipeline: &Pipeline) -> Settings {
        self.overrides.apply(Settings::of(pipeline.model()))
    }

    /// Draws in this thread.
    ///
    /// # Errors
    /// As [`Pipeline::draw`].
    pub fn draw(&self, pipeline: &mut Pipeline, listener: &mut Listener<'_>) -> Result<Vec<Image>, Error> {
        let settings = self.settings(pipeline);
        pipeline.draw(&self.task.as_task(), &self.prompt, &self.negative_prompt, &settings, listener)
    }

    /// Begins to draw in a thread of its own, with the pipeline's number of threads ([`Pipeline::set_threads`]) or else the
    /// caller's. It may be some events ahead of whoever looks at them.
    #[must_use]
    pub fn start(self, pipeline: Pipeline) -> Drawing {
        let (send, events) = sync_channel(EVENTS_AHEAD);
        let cancel = CancelHandle::new();
        let rgb = pipeline.model().family.latent_format.rgb;
        let threads = pipeline.threads.unwrap_or_else(parallel::threads);
        let stop = cancel.clone();
        // Handed over once the thread runs, so that it is not lost where none can be started.
        let (hand_over, handed_over) = sync_channel::<Pipeline>(1);
        let worker = parallel::spawn(move || {
            let Ok(mut pipeline) = handed_over.recv() else { unreachable!("it is handed over") };
            let draw = || {
                let mut listener = |event: Event<'_>| {
                    // Whoever does not look at blocks is not waited for in the middle of a step.
                    if matches!(event, Event::Block { .. }) {
                        let _ = send.try_send(event.into_owned());
                        return stop.flow();
                    }
                    let is_heard = send.send(event.into_owned()).is_ok();
                    if is_heard { stop.flow() } else { ControlFlow::Break(()) }
                };
                self.draw(&mut pipeline, &mut listener)
            };
            let images = parallel::with_threads(threads, draw);
            let images = images.unwrap_or_else(|reason| Err(Error::setting(Setting::Threads, reason)));
            drop(send);
            (pipeline, images)
        });
        let worker = match worker {
            Ok(thread) => {
                let is_taken = hand_over.send(pipeline).is_ok();
                debug_assert!(is_taken, "the thread waits for it");
                Worker::Runs(thread)
            }
            Err(error) => Worker::Unstarted(Box::new(pipeline), error),
        };
        Drawing { events, worker, cancel, rgb }
    }
}

/// The thread of a run.
#[derive(Debug)]
enum Worker {
    Runs(JoinHandle<(Pipeline, Result<Vec<Image>, Error>)>),
    /// The system had no thread left.
    Unstarted(Box<Pipeline>, std::io::Error),
}

/// A run in a thread of its own: an iterator over its steps. It ends with the last one, or where the run fails;
/// [`Drawing::finish`] returns the images or the error. [`Drawing::next_event`] gives all events. Dropped, the run stops at its
/// next event.
#[derive(Debug)]
pub struct Drawing {
    events: Receiver<OwnedEvent>,
    worker: Worker,
    cancel: CancelHandle,
    rgb: LatentRgb,
}

impl Drawing {
    /// Stops the run at its next event; it then ends with [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// What cancels this run from elsewhere, such as another thread.
    #[must_use]
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The next event of any stage; none when the run has ended. The iterator skips all events but steps.
    pub fn next_event(&mut self) -> Option<OwnedEvent> {
        self.events.recv().ok()
    }

    /// Waits for the images, and returns the pipeline, which can draw again whether or not the run failed.
    ///
    /// # Panics
    /// If the run did.
    pub fn finish(self) -> (Pipeline, Result<Vec<Image>, Error>) {
        // Events that are left are not needed.
        self.events.into_iter().for_each(drop);
        match self.worker {
            Worker::Runs(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Worker::Unstarted(pipeline, error) => {
                let reason = format!("cannot start a thread: {error}");
                (*pipeline, Err(Error::setting(Setting::Threads, reason)))
            }
        }
    }
}

impl Iterator for Drawing {
    type Item = DrawnStep;

    fn next(&mut self) -> Option<DrawnStep> {
        loop {
            let event = self.next_event()?;
            if let OwnedEvent::Step { step, total, latents, denoised: Some(denoised), sigma } = event {
                return Some(DrawnStep { step, total, sigma, latents, denoised, rgb: self.rgb });
            }
        }
    }
}

/// A step that was sampled.
#[derive(Clone, Debug)]
pub struct DrawnStep {
    /// Its number, from 1.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
    /// The noise level that is left.
    pub sigma: f64,
    /// The noisy latents so far, `[images, height, width, channels]` on the device that draws.
    pub latents: Tensor,
    /// What they are without the noise, as it was last predicted, in the same shape and place.
    pub denoised: Tensor,
    rgb: LatentRgb,
}

impl DrawnStep {
    /// One of the images as it develops, in rough colours: a pixel for each element of the latent. A GPU is waited for.
    ///
    /// # Errors
    /// [`Error::Setting`]: an image that does not exist; a lost GPU.
    pub fn preview(&self, image: usize) -> Result<Image, Error> {
        self.rgb.image(&Latents::from_channels_last(&self.denoised)?, image)
    }
}
