//! ControlNets of a command: files, images, and how they act.

use super::{Fact, Job};
use crate::args::{ControlArgs, Preprocess};
use crate::image_file::{self, Resize};
use crate::model;
use latent_app::AppError;
use latent_app::models;
use latent_diffusion::controlnet::{Canny, ControlFile, canny};
use latent_diffusion::{Control, Pipeline, Settings};
use latent_loader::{Access, Checkpoint};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// What the webui and the `latent` chunk call each.
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

/// Opens the ControlNets of the flags for a pipeline; what the images' files tell of them.
pub(super) fn apply(
    args: &ControlArgs,
    job: &dyn Job,
    settings: &Settings,
    access: Access,
    models_dir: Option<&Path>,
    pipeline: &mut Pipeline,
) -> Result<Vec<Fact>, AppError> {
    let count = args.control_net.len();
    if count > NAMES.len() {
        let line = format!("control net: {count} are given; {} are the most", NAMES.len());
        return Err(AppError::BadInput(line));
    }
    let mut opened: Vec<(&Path, Arc<ControlFile>)> = Vec::new();
    let (mut controls, mut facts) = (Vec::new(), Vec::new());
    for (i, path) in args.control_net.iter().enumerate() {
        let net = match opened.iter().find(|(other, _)| other == path) {
            Some((_, net)) => net.clone(),
            None => {
                let path = model::locate(path, models_dir)?;
                Arc::new(ControlFile::open(Checkpoint::open_with(&path, access)?)?)
            }
        };
        opened.push((path, net.clone()));
        let Some(image_path) = own("control image", &args.control_image, i, count)? else {
            return Err(AppError::BadInput("control image: give the image that the network sees".into()));
        };
        let made = own("control preprocess", &args.control_preprocess, i, count)?;
        let number = |name, values: &[f64], usual| {
            Ok::<_, AppError>(own(name, values, i, count)?.copied().unwrap_or(usual))
        };
        let control = Control {
            strength: number("control strength", &args.control_strength, 1.0)?,
            start: number("control start", &args.control_start, 0.0)?,
            end: number("control end", &args.control_end, 1.0)?,
            ..Control::new(net, seen(args, image_path, made, job, settings, pipeline)?)
        };
        let (label, key) = NAMES[i];
        let file = image_path.file_name().unwrap_or(image_path.as_os_str()).to_string_lossy();
        let mut value = json!({
            "net": models::stem(path),
            "image": file,
            "strength": control.strength,
            "start": control.start,
            "end": control.end,
        });
        if made == Some(&Preprocess::Canny) {
            value["canny"] = json!([args.canny_low, args.canny_high]);
        }
        facts.push(Fact { label, key, value });
        controls.push(control);
    }
    pipeline.set_controls(controls)?;
    Ok(facts)
}

/// The value of one of several ControlNets: its own, that of all, or none.
fn own<'a, T>(name: &str, values: &'a [T], i: usize, count: usize) -> Result<Option<&'a T>, AppError> {
    match values.len() {
        0 | 1 => Ok(values.first()),
        n if n == count => Ok(values.get(i)),
        n => {
            let line =
                format!("{name}: {n} are given for {count} ControlNets; give one for all, or one for each");
            Err(AppError::BadInput(line))
        }
    }
}

/// The image as a network sees it: of the size of what is drawn.
fn seen(
    args: &ControlArgs,
    path: &Path,
    made: Option<&Preprocess>,
    job: &dyn Job,
    settings: &Settings,
    pipeline: &Pipeline,
) -> Result<latent_diffusion::Image, AppError> {
    let drawn = settings.size(pipeline.model())?;
    let size = job.task().image().map_or(drawn, |image| (image.width, image.height));
    let image = job.part(image_file::read(path)?.over(image_file::BACKGROUND));
    let image = image_file::to_size(&image, size, Resize::Crop);
    Ok(match made {
        Some(Preprocess::Canny) => {
            let settings = Canny { low: args.canny_low, high: args.canny_high, ..Canny::default() };
            canny(&image, &settings)?
        }
        Some(Preprocess::None) | None => image,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_for_all_and_several_are_for_each() {
        let of = |values: &[i32], i| own("x", values, i, 2).unwrap().copied();
        assert_eq!((of(&[], 0), of(&[5], 0), of(&[5], 1)), (None, Some(5), Some(5)));
        assert_eq!((of(&[5, 6], 0), of(&[5, 6], 1)), (Some(5), Some(6)));
        assert!(own("x", &[1, 2, 3], 0, 2).unwrap_err().to_string().contains("3 are given for 2"));
    }
}
