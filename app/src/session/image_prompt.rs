//! Image prompts of a job: files, images, and how they act.

use super::record::RecordedSetting;
use crate::image_file;
use crate::job::{ImagePromptOptions, Job};
use crate::{AppError, model_file, models};
use latent_diffusion::image_encoder::ImageEncoderFile;
use latent_diffusion::ip_adapter::IpAdapterFile;
use latent_diffusion::{ImagePrompt, Pipeline};
use latent_loader::{Access, Checkpoint};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// What our own text calls each.
const NAMES: [(&str, &str); 8] = [
    ("IP-Adapter 0", "ip_adapter_0"),
    ("IP-Adapter 1", "ip_adapter_1"),
    ("IP-Adapter 2", "ip_adapter_2"),
    ("IP-Adapter 3", "ip_adapter_3"),
    ("IP-Adapter 4", "ip_adapter_4"),
    ("IP-Adapter 5", "ip_adapter_5"),
    ("IP-Adapter 6", "ip_adapter_6"),
    ("IP-Adapter 7", "ip_adapter_7"),
];

/// Files by the names that they were given by, each opened once.
struct OpenedOnce<'a, T>(Vec<(&'a Path, Arc<T>)>);

impl<'a, T> OpenedOnce<'a, T> {
    fn get(
        &mut self,
        name: &'a Path,
        open: impl FnOnce(&Path) -> Result<T, AppError>,
    ) -> Result<Arc<T>, AppError> {
        if let Some((_, file)) = self.0.iter().find(|(other, _)| *other == name) {
            return Ok(file.clone());
        }
        let file = Arc::new(open(name)?);
        self.0.push((name, file.clone()));
        Ok(file)
    }
}

/// Opens the image prompts of a job for a pipeline; what metadata record of them.
pub(super) fn apply(
    job: &Job,
    access: Access,
    pipeline: &mut Pipeline,
) -> Result<Vec<RecordedSetting>, AppError> {
    let open = |name: &Path| -> Result<Checkpoint, AppError> {
        let path = model_file::locate(name, job.model.models_dir.as_deref())?;
        Ok(Checkpoint::open_with(&path, access)?)
    };
    let (mut adapters, mut encoders) = (OpenedOnce(Vec::new()), OpenedOnce(Vec::new()));
    let (mut prompts, mut recorded) = (Vec::new(), Vec::new());
    for (options, (label, key)) in job.image_prompts.iter().zip(NAMES) {
        let ImagePromptOptions { adapter, image, encoder, strength, start, end } = options;
        // The job was checked: it is given.
        let Some(encoder) = encoder else { continue };
        let adapter_file = adapters.get(adapter, |name| Ok(IpAdapterFile::open(open(name)?)?))?;
        let encoder_file = encoders.get(encoder, |name| Ok(ImageEncoderFile::open(open(name)?)?))?;
        let seen = image.read()?.over(image_file::BACKGROUND);
        let prompt = ImagePrompt {
            strength: strength.unwrap_or(1.0),
            start: start.unwrap_or(0.0),
            end: end.unwrap_or(1.0),
            ..ImagePrompt::new(adapter_file, encoder_file, seen)
        };
        let path = image.path();
        let value = json!({
            "adapter": models::stem(adapter),
            "image": path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(),
            "encoder": models::stem(encoder),
            "strength": prompt.strength,
            "start": prompt.start,
            "end": prompt.end,
        });
        recorded.push(RecordedSetting::new(label, key, value));
        prompts.push(prompt);
    }
    pipeline.set_image_prompts(prompts)?;
    Ok(recorded)
}
