//! A job of a front, from its sending to its end.

use super::front::{Front, Mail};
use super::parcel::Parcel;
use super::parts::Parts;
use super::whole::WholeImage;
use super::wire::{self, JobMessage, MAX_INLINE_BYTES, MAX_OBJECT_BYTES, SCHEMA, WorkBytes, WorkerEvent};
use crate::error::{ApiError, ErrorCode};
use crate::queue::{JobNotice, JobOutcome, JobRecord, StepProgress};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::image_file;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Time between two tries while the broker is away.
const RETRY: Duration = Duration::from_millis(300);
/// Bytes of a preview.
const MAX_PREVIEW_BYTES: usize = 1 << 20;
/// Warnings of a job that are kept.
pub(super) const MAX_WARNINGS: usize = 100;
/// What a job that runs does, as events name it.
const STAGES: [&str; 4] = ["encoding", "sampling", "upscaling", "decoding"];

/// Sends a job, follows it and ends it.
pub(super) async fn run_job(front: Arc<Front>, record: JobRecord) {
    let id = record.id;
    let (sender, mut mail) = unbounded_channel();
    front.boxes().insert(id, sender);
    let mut job = SentJob::new(front.clone(), record);
    let outcome = match job.send().await {
        Ok(()) => job.follow(&mut mail).await,
        Err(error) => Some(JobOutcome::Failed(error)),
    };
    let is_done = matches!(outcome, Some(JobOutcome::Done));
    if let Some(outcome) = outcome {
        if let JobOutcome::Failed(error) = &outcome {
            // A line about what was asked for, and that of a worker, may quote a prompt.
            let may_quote = job.is_refused || error.code == ErrorCode::BadInput;
            let line = if may_quote { format!("{:?}", error.code) } else { error.message.clone() };
            front.log(&format!("job {id} failed: {line}"));
        }
        let queue = front.parts.queue.clone();
        // This waits for the disk.
        let _ = tokio::task::spawn_blocking(move || queue.finish(id, outcome)).await;
    }
    front.boxes().remove(&id);
    job.clean_up(is_done).await;
}

/// A part of a job.
#[derive(Debug, Default)]
pub(super) struct SentPart {
    message: Vec<u8>,
    /// Where in the queue it is.
    place: String,
    /// Who began to draw it last.
    worker: Option<String>,
    /// Names of its images, once it is done. Those of a whole image have none.
    pub(super) images: Option<Vec<String>>,
    /// The part of it that is done, 0 to 1.
    progress: f64,
}

/// A job that other machines draw.
pub(super) struct SentJob {
    pub(super) front: Arc<Front>,
    pub(super) record: JobRecord,
    pub(super) parts: Vec<SentPart>,
    /// The image that the parts become.
    pub(super) whole: Option<WholeImage>,
    /// Objects that go with the job.
    pub(super) objects: Vec<String>,
    began: Option<Instant>,
    /// Why it waits, as its record says at this moment.
    obstacle: Option<String>,
    /// Whether a worker said why it failed.
    pub(super) is_refused: bool,
}

impl SentJob {
    fn new(front: Arc<Front>, record: JobRecord) -> SentJob {
        let (parts, whole, objects) = (Vec::new(), None, Vec::new());
        let (began, obstacle, is_refused) = (None, None, false);
        SentJob { front, record, parts, whole, objects, began, obstacle, is_refused }
    }

    fn is_wanted(&self) -> bool {
        self.front.parts.queue.is_active(self.record.id)
    }

    /// Puts the parts into the queue, those that are not there and have no result.
    async fn send(&mut self) -> Result<(), ApiError> {
        let (front, id) = (self.front.clone(), self.record.id);
        // This reads models the first time.
        let packed = tokio::task::spawn_blocking(move || {
            let Parts { works, whole } = Parts::of(front.parts.queue.work(id)?)?;
            let pack = |work| Parcel::pack(work, &front.parts.models, &front.inventory);
            let parcels = works.into_iter().map(pack).collect::<Result<Vec<_>, ApiError>>()?;
            Ok::<_, ApiError>((parcels, whole))
        });
        let (parcels, whole) = packed.await.map_err(|error| ApiError::failed(error.to_string()))??;
        self.whole = whole;
        for (index, parcel) in parcels.into_iter().enumerate() {
            let message = loop {
                match self.message(index, &parcel).await {
                    Err(error) if error.code == ErrorCode::Unavailable && self.is_wanted() => {
                        self.wait(&error).await;
                    }
                    message => break message?,
                }
            };
            self.parts.push(SentPart { message, place: parcel.place, ..SentPart::default() });
        }
        for index in 0..self.parts.len() {
            while self.is_wanted() {
                match self.send_part(index).await {
                    Err(error) if error.code == ErrorCode::Unavailable => self.wait(&error).await,
                    sent => {
                        sent?;
                        break;
                    }
                }
            }
        }
        if let Some(line) = self.obstacle.take().filter(|_| self.is_wanted()) {
            self.front.is_well();
            self.front.parts.queue.retract(self.record.id, &line);
        }
        Ok(())
    }

    /// Waits before the next try, while the broker is away or has no room. The log says so once, and the job has it as a warning
    /// until it is sent.
    async fn wait(&mut self, error: &ApiError) {
        let line = wire::line(&format!("{error}; trying again"));
        self.front.log_new(&line);
        if self.obstacle.as_ref() != Some(&line) {
            if let Some(old) = self.obstacle.replace(line.clone()) {
                self.front.parts.queue.retract(self.record.id, &old);
            }
            self.warn(&line);
        }
        tokio::time::sleep(RETRY).await;
    }

    /// The message of a part, whose images are an object if they are large.
    async fn message(&mut self, index: usize, parcel: &Parcel) -> Result<Vec<u8>, ApiError> {
        let work = wire::to_bytes(&parcel.work);
        if work.len() > MAX_OBJECT_BYTES {
            let line = format!("the job has {} bytes, more than {MAX_OBJECT_BYTES}", work.len());
            return Err(ApiError::new(ErrorCode::TooLarge, line));
        }
        let max_inline = MAX_INLINE_BYTES.min(self.front.broker.client.max_payload() / 4);
        let work = if work.len() <= max_inline {
            WorkBytes::Inline(String::from_utf8(work).expect("JSON is UTF-8"))
        } else {
            let name = format!("in.{}", self.front.key(self.record.id, index));
            let object = self.front.broker.put_object(name, &work).await?;
            self.objects.push(object.name.clone());
            WorkBytes::Object(object)
        };
        let message = JobMessage {
            schema: SCHEMA,
            verb: self.record.verb.clone(),
            seed: self.record.seed,
            preview_interval: self.record.preview_interval,
            work,
            files: parcel.files.clone(),
            named_loras: parcel.named_loras.clone(),
            folders: parcel.folders.clone(),
        };
        Ok(wire::to_bytes(&message))
    }

    async fn send_part(&self, index: usize) -> Result<(), ApiError> {
        let (front, key) = (&self.front, self.front.key(self.record.id, index));
        if front.broker.result(&key).await?.is_some() {
            // It came before this front was started.
            if let Some(sender) = front.boxes().get(&self.record.id) {
                let _ = sender.send(Mail::Result(index));
            }
            return Ok(());
        }
        let SentPart { message, place, .. } = &self.parts[index];
        front.broker.add_job((front.class(), place), &key, message.clone()).await
    }

    /// Waits for the results. `None` if the job was cancelled.
    async fn follow(&mut self, mail: &mut UnboundedReceiver<Mail>) -> Option<JobOutcome> {
        loop {
            match mail.recv().await? {
                Mail::Ended => return None,
                Mail::Event(part, event) => self.note(part, event),
                Mail::Result(part) => match self.take(part).await {
                    Ok(()) if self.parts.iter().all(|part| part.images.is_some()) => {
                        let composed = self.compose().await;
                        return Some(composed.map_or_else(JobOutcome::Failed, |()| JobOutcome::Done));
                    }
                    Ok(()) => {}
                    // The broker is away: the next sweep finds it.
                    Err(error) if error.code == ErrorCode::Unavailable => {}
                    Err(error) => return Some(JobOutcome::Failed(error)),
                },
            }
            if !self.is_wanted() {
                return None;
            }
        }
    }

    pub(super) fn warn(&self, line: &str) {
        let line = wire::line(line);
        let message: Arc<str> = line.as_str().into();
        self.front.parts.queue.progress(self.record.id, |record, _| {
            if record.warnings.len() < MAX_WARNINGS && !record.warnings.contains(&line) {
                record.warnings.push(line);
            }
            JobNotice::Warning { message }
        });
    }

    pub(super) fn begin(&mut self) {
        if self.began.is_none() {
            self.began = Some(Instant::now());
            let waited = crate::queue::now().saturating_sub(self.record.created);
            self.front.parts.metrics.shared_queue.waited_ms.add(waited);
            self.front.parts.queue.begin(self.record.id);
        }
    }

    /// Notes what a worker reports.
    fn note(&mut self, index: usize, event: WorkerEvent) {
        if self.parts.get(index).is_none_or(|part| part.images.is_some()) {
            return;
        }
        if !matches!(event, WorkerEvent::Warning { .. }) {
            self.begin();
        }
        let queue = self.front.parts.queue.clone();
        let id = self.record.id;
        match event {
            WorkerEvent::Started { worker } => self.note_worker(index, &worker),
            WorkerEvent::Loading { component, read, total } => {
                let component: Arc<str> = wire::line(&component).into();
                queue.progress(id, |_, live| {
                    live.step = Some(StepProgress { stage: "loading", ..live.step.unwrap_or_default() });
                    JobNotice::Loading { component, read, total }
                });
            }
            WorkerEvent::Step { stage, step, steps, block, blocks, progress } => {
                let stage = STAGES.into_iter().find(|known| *known == stage).unwrap_or("sampling");
                let (progress, eta_seconds) = self.progress(index, progress);
                let step = StepProgress { stage, step, steps, block, blocks, progress, eta_seconds };
                queue.progress(id, |_, live| {
                    live.step = Some(step);
                    JobNotice::Step(step)
                });
            }
            WorkerEvent::Preview { jpeg, step } => {
                // What it shows is decoded, as clients of the webui ask for it in another form.
                let bytes = STANDARD.decode(&jpeg).ok().filter(|bytes| bytes.len() <= MAX_PREVIEW_BYTES);
                let image = bytes.and_then(|bytes| image_file::decode_bytes("preview.jpg", &bytes).ok());
                let Some(image) = image else { return };
                let kept = Arc::new(image.over(image_file::BACKGROUND));
                let image: Arc<str> = format!("data:image/jpeg;base64,{jpeg}").into();
                queue.progress(id, |_, live| {
                    live.preview = Some(kept);
                    JobNotice::Preview { image, step }
                });
            }
            WorkerEvent::Warning { message } => self.warn(&message),
        }
    }

    /// Notes who draws a part, and says so if another did before.
    fn note_worker(&mut self, index: usize, worker: &str) {
        let worker = wire::line(worker);
        if let Some(old) = self.parts[index].worker.replace(worker.clone()) {
            let key = self.front.key(self.record.id, index);
            self.front.log(&format!("job {key}: worker {old} gave no result; worker {worker} draws it now"));
        }
    }

    /// The part of the whole job that is done, and the seconds that are left.
    fn progress(&mut self, index: usize, progress: f64) -> (f64, Option<f64>) {
        self.parts[index].progress = if progress.is_finite() { progress.clamp(0.0, 1.0) } else { 0.0 };
        let of = |part: &SentPart| if part.images.is_some() { 1.0 } else { part.progress };
        let done = self.parts.iter().map(of).sum::<f64>() / self.parts.len() as f64;
        let elapsed = self.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        (done, (done > 0.0).then(|| elapsed / done * (1.0 - done)))
    }

    /// Removes what the job left at the broker, and tells its workers if nobody wants it any more.
    async fn clean_up(&self, is_done: bool) {
        let (front, id) = (&self.front, self.record.id);
        if !is_done {
            for index in 0..self.parts.len() {
                let cancel = front.key(id, index).subject("cancel");
                front.broker.send_unkept(cancel, Vec::new()).await;
            }
        }
        // What cannot be removed now is removed by a later sweep, or ends with its age.
        let _ = if is_done || self.parts.is_empty() {
            front.broker.remove_results(&front.name, id).await
        } else {
            front.broker.remove_job(front.class(), &front.name, id).await
        };
        front.broker.remove_objects(self.objects.iter().cloned()).await;
    }
}
