//! What a job that runs reports to the queue, and the images that it writes.

use super::WorkerOptions;
use super::pool::SessionPool;
use crate::error::ApiError;
use crate::queue::{JobNotice, JobRecord, ServerEvent, StepProgress, TakenJob};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::job::PreviewOptions;
use latent_app::output::{self, Output};
use latent_app::{AppError, CancelToken, Job, JobEvent, JobImage};
use latent_diffusion::Image;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two reports of how far the loading is.
const LOADING_INTERVAL: Duration = Duration::from_millis(100);
/// Time after which a step is long enough to report the blocks done within it.
const BLOCK_INTERVAL: Duration = Duration::from_millis(500);
/// Quality of the JPEGs of previews.
const PREVIEW_QUALITY: u8 = 80;
/// The part of an image's work that is its sampling; the rest is decoding.
const SAMPLING_PART: f64 = 0.95;
/// Warnings of a job that are kept.
const MAX_WARNINGS: usize = 100;

/// Reports for one job.
pub(super) struct JobReport<'a> {
    pub(super) options: &'a WorkerOptions,
    pub(super) record: JobRecord,
    pub(super) cancel: CancelToken,
    output: Output,
    /// Images, or cells of a grid, that the job makes, and those that are done.
    pub(super) units: usize,
    done: usize,
    /// Images that are drawn at once.
    at_once: usize,
    /// When the first step was done, and which part of the job was done then.
    began: Option<(Instant, f64)>,
    loading: Option<Instant>,
    step: usize,
    /// What was reported last, and when: blocks of quick networks are not.
    last: Option<(Instant, StepProgress)>,
    /// Why the job must end.
    failed: Option<ApiError>,
}

impl<'a> JobReport<'a> {
    pub(super) fn new(options: &'a WorkerOptions, taken: &TakenJob) -> Result<JobReport<'a>, ApiError> {
        let folder = options.gallery.folder();
        // Somebody may have tidied up.
        std::fs::create_dir_all(folder)
            .map_err(|error| ApiError::io(&folder.display().to_string(), &error))?;
        let any = folder.join("image.png");
        Ok(JobReport {
            options,
            record: taken.record.clone(),
            cancel: taken.cancel.clone(),
            output: Output::file(&any)?,
            units: taken.record.count.max(1),
            done: 0,
            at_once: 1,
            began: None,
            loading: None,
            step: 0,
            last: None,
            failed: None,
        })
    }

    /// A job with the device and the previews of this one.
    pub(super) fn prepare(&mut self, job: &mut Job) {
        job.device = self.options.device.clone();
        self.at_once = job.batch.size().min(job.batch.count()).max(1);
        let interval = self.record.preview_interval;
        job.preview = (interval > 0).then(|| PreviewOptions::every(interval));
    }

    /// Where an image of these seeds, its own and that of its variation, is written.
    pub(super) fn path(&self, seeds: &[u64]) -> PathBuf {
        let seeds: String = seeds.iter().map(|seed| format!("-{seed}")).collect();
        self.options.gallery.folder().join(format!("{}{seeds}.png", self.record.stem))
    }

    /// The end of a job: an error of its reports goes before one of its run, which follows from it.
    pub(super) fn ended(&mut self, run: Result<(), AppError>) -> Result<(), ApiError> {
        self.failed.take().map_or_else(|| run.map_err(ApiError::from), Err)
    }

    /// Takes an event. `pool` has the models that can be closed, `own` are the bytes of those that the job has open.
    pub(super) fn take(&mut self, event: JobEvent, pool: &mut SessionPool, own: u64) -> ControlFlow<()> {
        let taken = match event {
            JobEvent::MemoryEstimated { bytes, .. } => pool.make_room(self.still_needed(bytes, own)),
            JobEvent::Image(drawn) => self.write(&drawn),
            event => {
                self.note(event);
                Ok(())
            }
        };
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed.get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Bytes of an estimate that are not in memory yet. With a fixed limit all of it counts.
    fn still_needed(&self, bytes: u64, own: u64) -> u64 {
        let is_loaded = self.options.max_memory.is_none();
        if is_loaded { bytes.saturating_sub(own) } else { bytes }
    }

    fn write(&mut self, drawn: &JobImage) -> Result<(), ApiError> {
        let pixels = (&drawn.image, drawn.rgba.as_deref());
        let seeds: Vec<u64> = [drawn.seed].into_iter().chain(drawn.variation).collect();
        self.write_image(pixels, &drawn.texts, &seeds)?;
        self.done += 1;
        Ok(())
    }

    /// Writes an image under the fixed name of its seeds, with its opacity where it has any.
    pub(super) fn write_image(
        &mut self,
        (image, rgba): (&Image, Option<&[u8]>),
        texts: &[(&str, String)],
        seeds: &[u64],
    ) -> Result<(), ApiError> {
        let path = self.path(seeds);
        let written = self.output.write_with_opacity(&path, image, rgba, texts)?;
        if let Some(line) = written.warning() {
            self.warn(line);
        }
        self.written(&path, seeds.first().copied(), image);
        Ok(())
    }

    /// Tells that an image is written.
    pub(super) fn written(&self, path: &std::path::Path, seed: Option<u64>, image: &Image) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.options.gallery.added(&name);
        let notice = JobNotice::Image {
            name: name.as_str().into(),
            url: format!("/api/v1/images/{name}").into(),
            seed: seed.or(self.record.seed).unwrap_or(0),
            width: image.width,
            height: image.height,
        };
        let kept = name.clone();
        self.options.queue.progress(self.record.id, |record, _| {
            if !record.images.contains(&kept) {
                record.images.push(kept);
            }
            notice
        });
        self.options.queue.publish(ServerEvent::Gallery { added: [name].into(), removed: [].into() });
    }

    /// Notes a line that a person should see.
    pub(super) fn warn(&self, line: &str) {
        let message: Arc<str> = line.into();
        self.options.queue.progress(self.record.id, |record, _| {
            if record.warnings.len() < MAX_WARNINGS {
                record.warnings.push(line.to_owned());
            }
            JobNotice::Warning { message }
        });
    }

    fn note(&mut self, event: JobEvent) {
        match event {
            JobEvent::Loading { component, read, total } => self.loading(component.name(), read, total),
            JobEvent::Encoded { image, total } => self.progress("encoding", image, total, 0.0),
            JobEvent::Step { step, total, .. } => {
                self.step = step;
                let part = SAMPLING_PART * step as f64 / total.max(1) as f64;
                self.progress("sampling", step, total, part);
            }
            JobEvent::Upscaled { tile, total } => {
                self.progress("upscaling", tile, total, SAMPLING_PART * tile as f64 / total.max(1) as f64);
            }
            JobEvent::Decoded { image, total } => self.progress("decoding", image, total, SAMPLING_PART),
            JobEvent::Block { block, total, .. } => self.block(block, total),
            JobEvent::Preview(image) => self.preview(&image),
            JobEvent::GridCell { index, .. } => self.done = index,
            JobEvent::GridCellFailed { label, error } => self.warn(&format!("{label}: {error}")),
            JobEvent::GpuUnavailable(line) => self.warn(&format!("{line}; drawing on the CPU")),
            JobEvent::GpuFailed(line) => self.warn(&format!("{line}; continuing on the CPU")),
            JobEvent::PreviewFailed(line) => self.warn(&format!("preview: {line}; going on without")),
            JobEvent::RetriedInF32(line) => self.warn(&format!("{line}; once more in f32")),
            JobEvent::PartDoubtful(line) => self.warn(&line),
            _ => {}
        }
    }

    fn loading(&mut self, component: &str, read: u64, total: u64) {
        let is_soon = self.loading.is_some_and(|last| last.elapsed() < LOADING_INTERVAL);
        if is_soon && read < total {
            return;
        }
        self.loading = Some(Instant::now());
        let progress = self.done as f64 / self.units as f64;
        let component: Arc<str> = component.into();
        self.options.queue.progress(self.record.id, |_, live| {
            let step = StepProgress { stage: "loading", progress, ..StepProgress::default() };
            live.step = Some(step);
            JobNotice::Loading { component, read, total }
        });
    }

    /// Notes that so many steps of a stage are done; `part` of the image's whole work is done then.
    pub(super) fn progress(&mut self, stage: &'static str, step: usize, steps: usize, part: f64) {
        let done = self.done as f64 + part * self.at_once as f64;
        let progress = (done / self.units as f64).clamp(0.0, 1.0);
        if stage == "sampling" && self.began.is_none() {
            self.began = Some((Instant::now(), progress));
        }
        let eta_seconds = self.began.and_then(|(began, before)| {
            let (elapsed, made) = (began.elapsed().as_secs_f64(), progress - before);
            (made > 0.0).then(|| elapsed / made * (1.0 - progress))
        });
        let step = StepProgress { stage, step, steps, progress, eta_seconds, ..StepProgress::default() };
        self.report_step(step);
    }

    /// Notes that so many blocks of a network are done, on long steps.
    fn block(&mut self, block: usize, blocks: usize) {
        let Some((when, last)) = self.last else { return };
        if when.elapsed() >= BLOCK_INTERVAL {
            self.report_step(StepProgress { block: Some(block), blocks: Some(blocks), ..last });
        }
    }

    fn report_step(&mut self, step: StepProgress) {
        self.last = Some((Instant::now(), step));
        self.options.queue.progress(self.record.id, |_, live| {
            live.step = Some(step);
            JobNotice::Step(step)
        });
    }

    fn preview(&self, image: &Image) {
        // The log listens, and nobody else may be looking.
        if self.options.queue.listeners() <= 1 {
            return;
        }
        let Ok(bytes) = output::jpeg(image, PREVIEW_QUALITY) else { return };
        let kept = Arc::new(image.clone());
        let image: Arc<str> = format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)).into();
        let step = self.step;
        self.options.queue.progress(self.record.id, |_, live| {
            live.preview = Some(kept);
            JobNotice::Preview { image, step }
        });
    }
}
