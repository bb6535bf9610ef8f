//! Sessions.

use super::batch::BatchDrawing;
use super::cost::DrawingCost;
use super::delivery::Delivery;
use super::event::{CancelToken, JobEvent, JobImage, JobObserver};
use super::monitor::Monitor;
use super::open::OpenedModel;
use super::plan::JobPlan;
use super::several_gpus;
use crate::AppError;
use crate::device::save_pipelines;
use crate::job::Job;
use crate::prompts::ResolvedPrompts;
use crate::threads::in_threads;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Runs jobs. A model stays open from one job to the next, as long as they ask for the same.
#[derive(Default)]
pub struct Session {
    threads: Option<usize>,
    keep_unet: bool,
    opened: Option<OpenedModel>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let model = self.opened.as_ref().map(|opened| opened.name.as_str());
        f.debug_struct("Session")
            .field("threads", &self.threads)
            .field("model", &model)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session with nothing open yet, which uses all cores.
    #[must_use]
    pub fn new() -> Session {
        Session::default()
    }

    /// The same with so many threads, 1 to 1024, of which at most one for each core is used
    /// ([`excess`](crate::threads::excess)); one for each core when `None`. Another number is an error of each job.
    #[must_use]
    pub fn with_threads(self, threads: Option<usize>) -> Session {
        Session { threads, ..self }
    }

    /// Whether the UNet stays in memory after a job, which makes the next one begin sooner. Without that, it leaves memory
    /// before the last images are decoded.
    pub fn keep_unet(&mut self, keep: bool) {
        self.keep_unet = keep;
    }

    /// Closes the model that is open.
    pub fn close(&mut self) {
        self.opened = None;
    }

    /// Runs a job. Its images are events, in their order.
    ///
    /// # Errors
    /// [`AppError::Interrupted`], if the token or the observer cancels the job; otherwise what the job asks for and cannot
    /// be, before anything is drawn, or what failed while it was drawn.
    pub fn run(
        &mut self,
        job: &Job,
        cancel: &CancelToken,
        observer: &mut JobObserver<'_>,
    ) -> Result<(), AppError> {
        in_threads(self.threads, || {
            // The observer lives as long as the monitor that holds it.
            let mut observer = |event| observer(event);
            self.run_here(job, &mut Monitor::new(&mut observer, cancel))
        })
    }

    /// Runs a job and collects its images.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn draw(&mut self, job: &Job) -> Result<Vec<JobImage>, AppError> {
        let mut images = Vec::new();
        self.run(job, &CancelToken::new(), &mut |event| {
            if let JobEvent::Image(image) = event {
                images.push(Arc::unwrap_or_clone(image));
            }
            ControlFlow::Continue(())
        })?;
        Ok(images)
    }

    /// What drawing a job takes. Everything about the job is checked as [`Session::run`] does, and nothing is drawn.
    ///
    /// # Errors
    /// What the job asks for and cannot be.
    pub fn estimate(&mut self, job: &Job) -> Result<DrawingCost, AppError> {
        in_threads(self.threads, || {
            let (mut observer, cancel) = (|_| ControlFlow::Continue(()), CancelToken::new());
            let (plan, opened) = self.plan(job, &mut Monitor::new(&mut observer, &cancel))?;
            plan.cost(opened)
        })
    }

    fn run_here(&mut self, job: &Job, monitor: &mut Monitor<'_>) -> Result<(), AppError> {
        let unload = !self.keep_unet;
        let (plan, opened) = self.plan(job, monitor)?;
        plan.report(job, opened, monitor)?;
        let is_whole = if opened.others.is_empty() {
            draw(&plan, job, opened, unload, monitor).map(|()| true)?
        } else {
            several_gpus::draw(&plan, job, opened, unload, monitor)?
        };
        // Of GPUs of one kind the first, which drew the most, has the last word.
        for device in opened.devices().iter().rev() {
            if let Err(line) = save_pipelines(device) {
                monitor.notify(JobEvent::PipelinesNotKept(line));
            }
        }
        if !is_whole {
            // The next job opens its GPUs anew.
            self.close();
        }
        Ok(())
    }

    /// Checks a job, and opens what it asks for where that is not open.
    fn plan(
        &mut self,
        job: &Job,
        monitor: &mut Monitor<'_>,
    ) -> Result<(JobPlan, &mut OpenedModel), AppError> {
        job.check()?;
        let seeds = job.seeds();
        let at_once = job.batch.size().min(seeds.len());
        // Every error of the input is found here, before anything is drawn.
        let prompts = ResolvedPrompts::of(job, &seeds)?;
        let opened = match self.opened.take() {
            Some(opened) if opened.fits(job, &prompts) => opened,
            _ => OpenedModel::open(job, &prompts, at_once, monitor)?,
        };
        let opened = self.opened.insert(opened);
        let plan = JobPlan::new(job, [seeds, job.variation_seeds()], prompts, opened)?;
        Ok((plan, opened))
    }
}

/// Draws all batches of a job on one device. Whether the network leaves memory before the last images are decoded.
fn draw(
    plan: &JobPlan,
    job: &Job,
    opened: &mut OpenedModel,
    unload: bool,
    monitor: &mut Monitor<'_>,
) -> Result<(), AppError> {
    let OpenedModel { name, hash, pipeline, taesd, .. } = opened;
    monitor.set_previews(plan.previews(job, taesd.as_deref(), pipeline)?);
    let mut delivery = Delivery::new(plan, (name, hash), pipeline)?;
    let mut drawing = BatchDrawing::new(plan, (pipeline, hash), monitor, job.device.is_auto());
    for batch in 0..plan.batches() {
        let drawn = drawing.draw(batch, unload && batch + 1 == plan.batches())?;
        delivery.deliver(drawn, drawing.monitor())?;
    }
    Ok(())
}
