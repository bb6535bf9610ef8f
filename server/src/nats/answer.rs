//! What a worker answers: events while it draws, and the result with its images.

use super::site::WorkerSite;
use super::wire::{self, ObjectRef, PartKey, ResultImage, ResultMessage, SCHEMA, WorkerEvent};
use crate::error::{ApiError, ErrorCode};
use crate::queue::{JobNotice, JobRecord};

/// Characters of a preview in base64 at most.
const MAX_PREVIEW: usize = 512 << 10;

/// The result of a part that failed.
pub(super) fn failed(site: &WorkerSite, deliveries: u64, error: ApiError) -> ResultMessage {
    ResultMessage {
        schema: SCHEMA,
        worker: site.name.clone(),
        took_ms: 0,
        deliveries,
        images: Vec::new(),
        warnings: Vec::new(),
        error: Some(error),
    }
}

/// Sends a result until the broker has it. If another worker was first, its own images are removed.
pub(super) async fn send_result(site: &WorkerSite, key: &PartKey, result: &ResultMessage) {
    let bytes = wire::to_bytes(result);
    let is_first = loop {
        match site.broker.add_result(key, bytes.clone()).await {
            Ok(is_first) => {
                site.is_well();
                break is_first;
            }
            Err(error) if error.code == ErrorCode::Unavailable => site.wait(&error).await,
            Err(error) => {
                site.complain(&error);
                let small = wire::to_bytes(&failed(site, result.deliveries, error.clone()));
                if site.broker.add_result(key, small).await.is_ok() {
                    break false;
                }
                // The broker takes next to nothing, until somebody changes that.
                site.wait(&error).await;
            }
        }
    };
    // What it sent itself, and heard no answer to, stays.
    let is_others =
        !is_first && site.broker.result(key).await.is_ok_and(|own| own.is_some_and(|own| own != bytes));
    if is_others {
        site.broker.remove_objects(result.objects()).await;
    }
}

/// What the local queue tells, for a front.
pub(super) fn to_event(notice: JobNotice) -> Option<WorkerEvent> {
    Some(match notice {
        JobNotice::Loading { component, read, total } => {
            WorkerEvent::Loading { component: component.to_string(), read, total }
        }
        JobNotice::Step(step) => WorkerEvent::Step {
            stage: step.stage.to_owned(),
            step: step.step,
            steps: step.steps,
            block: step.block,
            blocks: step.blocks,
            progress: step.progress,
        },
        JobNotice::Preview { image, step } => {
            let jpeg = image.split_once(";base64,")?.1;
            // A large one is left out: the next will come.
            (jpeg.len() <= MAX_PREVIEW).then(|| WorkerEvent::Preview { jpeg: jpeg.to_owned(), step })?
        }
        JobNotice::Warning { message } => WorkerEvent::Warning { message: message.to_string() },
        JobNotice::Image { .. } => return None,
    })
}

/// The result of a job of the local queue, whose images are stored and removed here.
pub(super) async fn collect(
    site: &WorkerSite,
    key: &PartKey,
    record: JobRecord,
    deliveries: u64,
    took_ms: u64,
) -> ResultMessage {
    let mut result = ResultMessage { took_ms, ..failed(site, deliveries, ApiError::failed("")) };
    if let Some(error) = &record.error {
        // Its line may quote a prompt, which is its front's business.
        (site.log)(&format!("job {key} failed: {:?}", error.code));
    }
    result.error = record.error;
    result.warnings = record.warnings.iter().map(|line| wire::line(line)).collect();
    for (index, name) in record.images.iter().enumerate() {
        let stored = store(site, key, &record.stem, (index, name), deliveries).await;
        let _ = std::fs::remove_file(site.gallery.folder().join(name));
        match stored {
            Ok(image) => result.images.push(image),
            Err(error) => {
                (site.log)(&format!("job {key} failed: {error}"));
                result.error.get_or_insert(error);
            }
        }
    }
    result
}

/// Stores an image, under a name that no other worker's has.
async fn store(
    site: &WorkerSite,
    key: &PartKey,
    stem: &str,
    (index, name): (usize, &str),
    deliveries: u64,
) -> Result<ResultImage, ApiError> {
    let path = site.gallery.folder().join(name);
    let bytes = std::fs::read(&path).map_err(|error| ApiError::io(name, &error))?;
    let (width, height) = latent_app::image_file::size(&path)?;
    let suffix = name.strip_prefix(stem).unwrap_or(name).to_owned();
    let seed = suffix.split(['-', '.']).nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let object: ObjectRef = loop {
        let named = format!("out.{key}.{deliveries}.{}.{index}", site.name);
        match site.broker.put_object(named, &bytes).await {
            Err(error) if error.code == ErrorCode::Unavailable => site.wait(&error).await,
            stored => break stored?,
        }
    };
    Ok(ResultImage { suffix, seed, width, height, object })
}
