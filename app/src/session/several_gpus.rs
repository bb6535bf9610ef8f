//! A job on several GPUs, each of which draws whole batches with a copy of the model.
//!
//! The GPUs take the batches in their order, and each the next one when it is done with the last, so that a faster one draws more.
//! An image's bytes depend on its batch alone, and are those that one such GPU draws. A batch whose GPU fails is drawn by another.

use super::batch::{BatchDrawing, DrawnBatch};
use super::delivery::Delivery;
use super::event::{CancelToken, JobEvent};
use super::monitor::Monitor;
use super::open::{ModelHash, OpenedModel, gpu_name};
use super::plan::JobPlan;
use super::preview::PreviewDecoder;
use crate::AppError;
use crate::job::Job;
use latent_diffusion::Pipeline;
use latent_kernels::parallel;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Draws all batches of a job. Whether the network leaves a GPU's memory before the last images are decoded. Gives whether all
/// GPUs are still there.
///
/// # Errors
/// That of a batch, if it is not a GPU's, or that of the last GPU.
pub(super) fn draw(
    plan: &JobPlan,
    job: &Job,
    opened: &mut OpenedModel,
    unload: bool,
    monitor: &mut Monitor<'_>,
) -> Result<bool, AppError> {
    let names = opened.devices().iter().map(|device| gpu_name(device).unwrap_or_default()).collect();
    let OpenedModel { name, hash, pipeline, others, taesd, .. } = opened;
    let mut delivery = Delivery::new(plan, (name, hash), pipeline)?;
    let mut copies: Vec<Pipeline> = others.iter().map(|device| pipeline.beside(device.clone())).collect();
    let (send, reports) = channel();
    let mut workers = Vec::new();
    for (gpu, pipeline) in std::iter::once(pipeline).chain(&mut copies).enumerate() {
        let previews = plan.previews(job, taesd.as_deref(), pipeline)?;
        workers.push(GpuWorker { gpu, pipeline, previews, reports: send.clone() });
    }
    // The reports end with the workers.
    drop(send);
    let queue = BatchQueue::new(plan.batches());
    let (hash, cancel) = (&*hash, monitor.cancel());
    let work = |worker: GpuWorker<'_>| worker.run(plan, hash, &queue, cancel, unload);
    let mut collector = Collector::new(names, &mut delivery, monitor);
    parallel::side_by_side(workers, work, || collector.collect(reports, &queue)).map_err(AppError::RunTime)?
}

/// The batches that are still to be drawn.
struct BatchQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

struct QueueState {
    waiting: BTreeSet<usize>,
    /// Batches that are being drawn.
    taken: usize,
    is_stopped: bool,
}

/// A batch that is being drawn. Dropped before it is, it waits again.
struct TakenBatch<'q> {
    queue: &'q BatchQueue,
    number: usize,
    /// Whether none was left after it.
    is_last: bool,
    is_drawn: bool,
}

impl BatchQueue {
    fn new(batches: usize) -> BatchQueue {
        let state = QueueState { waiting: (0..batches).collect(), taken: 0, is_stopped: false };
        BatchQueue { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first batch that waits. While others are drawn, one of them may come back; so that is waited for.
    fn take(&self) -> Option<TakenBatch<'_>> {
        let mut state = self.state();
        while !state.is_stopped {
            if let Some(number) = state.waiting.pop_first() {
                state.taken += 1;
                let is_last = state.waiting.is_empty();
                return Some(TakenBatch { queue: self, number, is_last, is_drawn: false });
            }
            if state.taken == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// No batch is taken any more.
    fn stop(&self) {
        self.state().is_stopped = true;
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }
}

impl Drop for TakenBatch<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.taken -= 1;
        if !self.is_drawn {
            state.waiting.insert(self.number);
        }
        self.queue.changed.notify_all();
    }
}

/// What a GPU's thread tells.
enum GpuReport {
    Began { gpu: usize, batch: usize },
    Event { gpu: usize, event: JobEvent },
    Drawn { gpu: usize, drawn: Box<DrawnBatch> },
    Failed { gpu: usize, error: AppError, is_gpu_fault: bool },
}

/// A GPU's thread.
struct GpuWorker<'a> {
    gpu: usize,
    pipeline: &'a mut Pipeline,
    previews: [Option<PreviewDecoder>; 2],
    reports: Sender<GpuReport>,
}

impl GpuWorker<'_> {
    /// Draws batches until there are none, or until one fails.
    fn run(self, plan: &JobPlan, hash: &ModelHash, queue: &BatchQueue, cancel: &CancelToken, unload: bool) {
        let GpuWorker { gpu, pipeline, previews, reports } = self;
        // Nobody listens any more only after a panic.
        let send = |report| drop(reports.send(report));
        let mut observer = |event| {
            send(GpuReport::Event { gpu, event });
            if queue.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut monitor = Monitor::new(&mut observer, cancel);
        monitor.set_previews(previews);
        let mut drawing = BatchDrawing::new(plan, (pipeline, hash), &mut monitor, false);
        while let Some(mut batch) = queue.take() {
            send(GpuReport::Began { gpu, batch: batch.number });
            match drawing.draw(batch.number, unload && batch.is_last) {
                Ok(drawn) => {
                    batch.is_drawn = true;
                    send(GpuReport::Drawn { gpu, drawn: Box::new(drawn) });
                }
                Err(error) => {
                    let is_gpu_fault = drawing.has_gpu_fault();
                    send(GpuReport::Failed { gpu, error, is_gpu_fault });
                    return;
                }
            }
        }
    }
}

/// Puts what several GPUs report in order.
struct Collector<'a, 'd, 'm> {
    names: Vec<String>,
    /// The batch that each draws.
    batches: Vec<Option<usize>>,
    /// GPUs that are left.
    left: usize,
    /// Batches that wait for an earlier one, by their first images.
    finished: BTreeMap<usize, DrawnBatch>,
    /// The image that is delivered next.
    next: usize,
    delivery: &'a mut Delivery<'d>,
    monitor: &'a mut Monitor<'m>,
    failure: Option<AppError>,
}

impl<'a, 'd, 'm> Collector<'a, 'd, 'm> {
    fn new(
        names: Vec<String>,
        delivery: &'a mut Delivery<'d>,
        monitor: &'a mut Monitor<'m>,
    ) -> Collector<'a, 'd, 'm> {
        let (batches, left) = (vec![None; names.len()], names.len());
        let finished = BTreeMap::new();
        Collector { names, batches, left, finished, next: 0, delivery, monitor, failure: None }
    }

    /// Passes reports on until all GPUs are done. Gives whether all are left.
    fn collect(&mut self, reports: Receiver<GpuReport>, queue: &BatchQueue) -> Result<bool, AppError> {
        for report in reports {
            self.take(report);
            if self.failure.is_some() || self.monitor.check().is_err() {
                queue.stop();
            }
        }
        match self.failure.take() {
            Some(error) => Err(error),
            None => self.monitor.check().map(|()| self.left == self.names.len()),
        }
    }

    fn take(&mut self, report: GpuReport) {
        match report {
            GpuReport::Began { gpu, batch } => self.batches[gpu] = Some(batch),
            GpuReport::Event { gpu, event } => {
                if !is_progress(&event) || gpu == self.shown() {
                    self.monitor.notify(event);
                }
            }
            GpuReport::Drawn { gpu, drawn } => {
                self.batches[gpu] = None;
                self.finished.insert(drawn.first, *drawn);
                self.deliver();
            }
            GpuReport::Failed { gpu, error, is_gpu_fault } => {
                self.batches[gpu] = None;
                self.left -= 1;
                if is_gpu_fault && self.left > 0 {
                    self.monitor.notify(JobEvent::GpuLeftOut(format!("{}: {error}", self.names[gpu])));
                } else {
                    self.failure.get_or_insert(error);
                }
            }
        }
    }

    /// Delivers the batches whose turn it is.
    fn deliver(&mut self) {
        while self.failure.is_none()
            && let Some(drawn) = self.finished.remove(&self.next)
        {
            self.next += drawn.images.len();
            self.failure = self.delivery.deliver(drawn, self.monitor).err();
        }
    }

    /// The GPU whose progress is shown: that which draws the earliest batch.
    fn shown(&self) -> usize {
        let drawing = |gpu: &usize| self.batches[*gpu].unwrap_or(usize::MAX);
        (0..self.batches.len()).min_by_key(drawing).unwrap_or(0)
    }
}

/// Whether an event tells how far a batch is.
fn is_progress(event: &JobEvent) -> bool {
    matches!(
        event,
        JobEvent::Loading { .. }
            | JobEvent::Encoded { .. }
            | JobEvent::Step { .. }
            | JobEvent::Block { .. }
            | JobEvent::Preview(_)
            | JobEvent::Upscaled { .. }
            | JobEvent::Decoded { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_not_drawn_waits_again() {
        let queue = BatchQueue::new(2);
        let (mut first, second) = (queue.take().unwrap(), queue.take().unwrap());
        assert_eq!([first.number, second.number], [0, 1]);
        assert_eq!([first.is_last, second.is_last], [false, true]);
        first.is_drawn = true;
        drop(first);
        // What is drawn may come back: whoever asks waits for it.
        let again = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.take().map(|batch| batch.number));
            drop(second);
            waiting.join().unwrap()
        });
        assert_eq!(again, Some(1));
        let mut last = queue.take().unwrap();
        last.is_drawn = true;
        drop(last);
        assert!(queue.take().is_none());
        let stopped = BatchQueue::new(1);
        stopped.stop();
        assert!(stopped.take().is_none() && stopped.is_stopped());
    }

    #[cfg(feature = "gpu")]
    mod on_gpus {
        use super::*;
        use crate::prompts::ResolvedPrompts;
        use latent_diffusion::tensor::{Device, gpu};

        /// What became of a job.
        struct SharedJob {
            result: Result<bool, AppError>,
            /// The images in the order of their events: their numbers and pixels.
            images: Vec<(usize, Vec<u8>)>,
            /// The lines about GPUs that are left out.
            lines: Vec<String>,
        }

        /// Draws three images on the first GPU, opened twice; of those whose numbers are given, each is lost in its first step.
        fn drawn(lost: &[usize]) -> SharedJob {
            let mut job = Job::txt2img("a red apple");
            for (name, value) in [
                ("width", "32"),
                ("height", "32"),
                ("steps", "2"),
                ("batch-count", "3"),
                ("device", "gpu:0,0"),
            ] {
                job.set(name, &[value]).unwrap();
            }
            let (seeds, cancel) = (vec![7, 8, 9], CancelToken::new());
            let prompts = ResolvedPrompts::of(&job, &seeds).unwrap();
            let mut none = |_| ControlFlow::Continue(());
            let mut opened =
                OpenedModel::open(&job, &prompts, 1, &mut Monitor::new(&mut none, &cancel)).unwrap();
            let mut to_lose: Vec<gpu::Gpu> = Vec::new();
            for (number, device) in opened.devices().into_iter().enumerate() {
                let Device::Gpu { gpu, .. } = device else { panic!("{device:?}") };
                if lost.contains(&number) {
                    to_lose.push(gpu);
                }
            }
            let plan = JobPlan::new(&job, [seeds, Vec::new()], prompts, &mut opened).unwrap();
            let (mut images, mut lines) = (Vec::new(), Vec::new());
            let mut observer = |event| {
                match event {
                    JobEvent::Step { .. } => to_lose.drain(..).for_each(|gpu| gpu.lose()),
                    JobEvent::Image(drawn) => images.push((drawn.index, drawn.image.rgb.clone())),
                    JobEvent::GpuLeftOut(line) => lines.push(line),
                    _ => {}
                }
                ControlFlow::Continue(())
            };
            let mut monitor = Monitor::new(&mut observer, &cancel);
            let result = draw(&plan, &job, &mut opened, true, &mut monitor);
            SharedJob { result, images, lines }
        }

        #[test]
        fn what_a_lost_gpu_does_not_draw_another_one_draws() {
            if gpu::adapters().is_empty() {
                assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU");
                eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
                return;
            }
            let SharedJob { result, images: want, lines } = drawn(&[]);
            assert_eq!((result, lines), (Ok(true), Vec::new()));
            assert_eq!(want.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2]);
            for lost in [0, 1] {
                let SharedJob { result, images, lines } = drawn(&[lost]);
                assert!(result == Ok(false) && images == want, "{lost}: {result:?} {}", images.len());
                assert!(lines.len() == 1 && lines[0].contains(": the GPU "), "{lines:?}");
            }
            let SharedJob { result, images, .. } = drawn(&[0, 1]);
            assert!(images.is_empty(), "{}", images.len());
            let Err(AppError::RunTime(line)) = result else { panic!("{result:?}") };
            // It was lost, or refuses what was recorded before that is known.
            assert!(line.starts_with("the GPU "), "{line}");
        }
    }
}
