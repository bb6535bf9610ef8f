//! Drawing as an iterator over the steps, beside whatever else a program does.

use super::{Event, Fill, Image, Latents, Listener, Margins, Mask, Pipeline, Settings, Task};
use crate::{Error, LatentRgb};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// What to draw, with all that belongs to it: it can be kept, sent to another thread, and drawn again.
///
/// # Examples
/// ```
/// use latent_diffusion::{Pipeline, Request, loader::Checkpoint};
/// # let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.safetensors");
/// let pipeline = Pipeline::open(Checkpoint::open(demo.as_ref())?)?;
/// let request = Request::new("a red apple").negative_prompt("a green one").seeds([7]).with(|settings| settings.steps = 3);
/// let mut drawing = request.start(pipeline);
/// for step in &mut drawing {
///     let preview = step.preview(0)?;
///     println!("step {} of {}: {} pixels", step.step, step.total, preview.width * preview.height);
/// }
/// let (pipeline, images) = drawing.finish();
/// assert_eq!((images?[0].width, pipeline.model().family.label), (64, "Stable Diffusion 1.x"));
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    prompt: String,
    negative_prompt: String,
    work: Work,
    changes: Vec<Change>,
}

/// Changes the settings that a model was made for.
#[derive(Clone)]
struct Change(Arc<dyn Fn(&mut Settings) + Send + Sync>);

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change")
    }
}

/// A [`Task`] with its images.
#[derive(Clone, Debug)]
enum Work {
    Words,
    Redraw { image: Image, strength: f64 },
    Inpaint { image: Image, mask: Mask, strength: f64, fill: Fill, feather: f64 },
    Edit { image: Image, guidance: f64 },
}

impl Work {
    fn task(&self) -> Task<'_> {
        match self {
            Work::Words => Task::TextToImage,
            Work::Redraw { image, strength } => Task::ImageToImage { image, strength: *strength },
            Work::Inpaint { image, mask, strength, fill, feather } => {
                Task::Inpaint { image, mask, strength: *strength, fill: *fill, feather: *feather }
            }
            Work::Edit { image, guidance } => Task::Edit { image, guidance: *guidance },
        }
    }
}

impl Request {
    /// An image from words, with the settings that the model was made for.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Request {
        Request {
            prompt: prompt.into(),
            negative_prompt: String::new(),
            work: Work::Words,
            changes: Vec::new(),
        }
    }

    /// Away from this.
    #[must_use]
    pub fn negative_prompt(self, negative_prompt: impl Into<String>) -> Request {
        Request { negative_prompt: negative_prompt.into(), ..self }
    }

    /// An image for each seed.
    #[must_use]
    pub fn seeds(self, seeds: impl IntoIterator<Item = u64>) -> Request {
        let seeds: Vec<u64> = seeds.into_iter().collect();
        self.with(move |settings| settings.seeds.clone_from(&seeds))
    }

    /// Of that width and height in pixels; a task with an image has the image's.
    #[must_use]
    pub fn size(self, width: usize, height: usize) -> Request {
        self.with(move |settings| (settings.width, settings.height) = (Some(width), Some(height)))
    }

    /// With settings changed. Changes are made one after the other, to [`Settings::of`] the model.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut Settings) + Send + Sync + 'static) -> Request {
        self.changes.push(Change(Arc::new(change)));
        self
    }

    /// An image redrawn; `strength`, from 0 to 1, is how much may change ([`Task::ImageToImage`]).
    #[must_use]
    pub fn redraw(self, image: Image, strength: f64) -> Request {
        Request { work: Work::Redraw { image, strength }, ..self }
    }

    /// A part of an image drawn anew, with a soft edge of 4 pixels ([`Task::Inpaint`]).
    #[must_use]
    pub fn inpaint(self, image: Image, mask: Mask) -> Request {
        let work = Work::Inpaint { image, mask, strength: 1.0, fill: Fill::Original, feather: 4.0 };
        Request { work, ..self }
    }

    /// An image grown past its edges, its last colours first ([`Image::grown`]).
    #[must_use]
    pub fn grow(self, image: &Image, margins: Margins) -> Request {
        let (image, mask) = image.grown(margins);
        let work = Work::Inpaint { image, mask, strength: 1.0, fill: Fill::Nearest, feather: 4.0 };
        Request { work, ..self }
    }

    /// An image changed by the prompt as an instruction ([`Task::Edit`]); `guidance` is how closely to keep to it.
    #[must_use]
    pub fn edit(self, image: Image, guidance: f64) -> Request {
        Request { work: Work::Edit { image, guidance }, ..self }
    }

    /// The settings, for a model.
    fn settings(&self, pipeline: &Pipeline) -> Settings {
        let mut settings = Settings::of(pipeline.model());
        self.changes.iter().for_each(|change| change.0(&mut settings));
        self.work.task().sized(settings, pipeline.model())
    }

    /// Draws here and now.
    ///
    /// # Errors
    /// As [`Pipeline::draw`].
    pub fn draw(&self, pipeline: &mut Pipeline, listener: &mut Listener<'_>) -> Result<Vec<Image>, Error> {
        let settings = self.settings(pipeline);
        pipeline.draw(&self.work.task(), &self.prompt, &self.negative_prompt, &settings, listener)
    }

    /// Begins to draw in a thread of its own, which goes on one step while the last one is looked at.
    #[must_use]
    pub fn start(self, pipeline: Pipeline) -> Drawing {
        let (send, steps) = sync_channel(0);
        let cancelled = Arc::new(AtomicBool::new(false));
        let stop = cancelled.clone();
        let rgb = pipeline.model().family.latent_format.rgb;
        let worker = std::thread::spawn(move || {
            let mut pipeline = pipeline;
            // Settings that cannot be are found once more, and told, by what draws.
            let room = self.settings(&pipeline).check(pipeline.model()).ok();
            let mut listener = |event: Event<'_>| {
                let mut is_heard = true;
                if let (Event::Step { step: step @ 1.., total, latents, denoised, sigma }, Some(room)) =
                    (event, &room)
                {
                    let of = |values: &[f32]| Latents { values: values.to_vec(), ..*room };
                    let (latents, denoised) = (of(latents), of(denoised));
                    is_heard = send.send(DrawnStep { step, total, sigma, latents, denoised, rgb }).is_ok();
                }
                let go_on = is_heard && !stop.load(Ordering::Relaxed);
                if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let images = self.draw(&mut pipeline, &mut listener);
            (pipeline, images)
        });
        Drawing { steps, worker, cancelled }
    }
}

/// A run on its way: an iterator over its steps. It ends with the last one, or where the run fails; [`Drawing::finish`]
/// tells. Dropped, it stops at the next step.
#[derive(Debug)]
pub struct Drawing {
    steps: Receiver<DrawnStep>,
    worker: JoinHandle<(Pipeline, Result<Vec<Image>, Error>)>,
    cancelled: Arc<AtomicBool>,
}

impl Drawing {
    /// Stops the run at its next step, or while it reads weights; it then ends with [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Waits for the images, and gives the pipeline back, which a run that failed has left as it was.
    ///
    /// # Panics
    /// If the run did.
    pub fn finish(self) -> (Pipeline, Result<Vec<Image>, Error>) {
        // Nobody looks at the steps that are left.
        self.steps.into_iter().for_each(drop);
        self.worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Iterator for Drawing {
    type Item = DrawnStep;

    fn next(&mut self) -> Option<DrawnStep> {
        self.steps.recv().ok()
    }
}

/// A step that was walked.
#[derive(Clone, Debug)]
pub struct DrawnStep {
    /// Its number, from 1.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
    /// The noise level that is left.
    pub sigma: f64,
    /// The latents so far: clean ones plus `sigma` times noise.
    pub latents: Latents,
    /// What they are without the noise, as it was last predicted.
    pub denoised: Latents,
    rgb: LatentRgb,
}

impl DrawnStep {
    /// One of the images as it is coming on, in rough colours: a pixel for each element of the latent.
    ///
    /// # Errors
    /// An image that is not among them.
    pub fn preview(&self, image: usize) -> Result<Image, Error> {
        self.rgb.image(&self.denoised, image)
    }
}
