//! ControlNets of a job: files, images, and how they act.

use super::record::RecordedSetting;
use super::work::TaskWork;
use crate::image_file::{self, Resize};
use crate::job::{ControlOptions, ControlPreprocessor, Job};
use crate::{AppError, model_file, models};
use latent_diffusion::controlnet::{Canny, ControlFile, ControlType, canny};
use latent_diffusion::{Control, Image, Pipeline, Settings};
use latent_loader::{Access, Checkpoint};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// What the webui and our own text call each.
const NAMES: [(&str, &str); 8] = [
    ("ControlNet 0", "control_0"),
    ("ControlNet 1", "control_1"),
    ("ControlNet 2", "control_2"),
    ("ControlNet 3", "control_3"),
    ("ControlNet 4", "control_4"),
    ("ControlNet 5", "control_5"),
    ("ControlNet 6", "control_6"),
    ("ControlNet 7", "control_7"),
];
/// Contrasts of edges, if nothing is given.
const DEFAULT_CANNY: [f64; 2] = [100.0, 200.0];

/// Opens the ControlNets of a job for a pipeline; what metadata record of them.
pub(super) fn apply(
    job: &Job,
    work: &TaskWork,
    settings: &Settings,
    access: Access,
    pipeline: &mut Pipeline,
) -> Result<Vec<RecordedSetting>, AppError> {
    let drawn = settings.size(pipeline.model())?;
    let size = work.task().image().map_or(drawn, |image| (image.width, image.height));
    let mut opened: Vec<(&Path, Arc<ControlFile>)> = Vec::new();
    let (mut controls, mut recorded) = (Vec::new(), Vec::new());
    for (options, (label, key)) in job.control.iter().zip(NAMES) {
        let net = match opened.iter().find(|(other, _)| *other == options.net) {
            Some((_, net)) => net.clone(),
            None => {
                let kinds = model_file::kinds_of("control-net");
                let path = model_file::locate_kind(&options.net, job.model.models_dir.as_deref(), kinds)?;
                Arc::new(ControlFile::open(Checkpoint::open_with(&path, access)?)?)
            }
        };
        opened.push((&options.net, net.clone()));
        let control = Control {
            control_type: kind_of(options),
            strength: options.strength.unwrap_or(1.0),
            start: options.start.unwrap_or(0.0),
            end: options.end.unwrap_or(1.0),
            ..Control::new(net, seen(options, work, size)?)
        };
        let path = options.image.path();
        let mut value = json!({
            "net": models::stem(&options.net),
            "image": path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(),
            "strength": control.strength,
            "start": control.start,
            "end": control.end,
        });
        if options.preprocess == Some(ControlPreprocessor::Canny) {
            value["canny"] = json!(contrasts(options));
        }
        if let Some(kind) = options.control_type {
            value["type"] = json!(kind);
        }
        recorded.push(RecordedSetting::new(label, key, value));
        controls.push(control);
    }
    pipeline.set_controls(controls)?;
    Ok(recorded)
}

/// What the image is: edges where they are made here.
fn kind_of(options: &ControlOptions) -> Option<ControlType> {
    let made = (options.preprocess == Some(ControlPreprocessor::Canny)).then_some(ControlType::Canny);
    options.control_type.map(|name| name.0).or(made)
}

fn contrasts(options: &ControlOptions) -> [f64; 2] {
    [options.canny_low.unwrap_or(DEFAULT_CANNY[0]), options.canny_high.unwrap_or(DEFAULT_CANNY[1])]
}

/// The image as a network sees it: of the size that is drawn.
fn seen(options: &ControlOptions, work: &TaskWork, size: (usize, usize)) -> Result<Image, AppError> {
    let image = work.drawn_part(options.image.read()?.over(image_file::BACKGROUND));
    let image = image_file::to_size(&image, size, Resize::Crop);
    Ok(match options.preprocess {
        Some(ControlPreprocessor::Canny) => {
            let [low, high] = contrasts(options);
            canny(&image, &Canny { low, high, ..Canny::default() })?
        }
        Some(ControlPreprocessor::None) | None => image,
    })
}
