//! The images that a job begins with, as the pipeline takes them, and what becomes of the drawn ones.

use super::opacity::KeptOpacity;
use super::record::RecordedSetting;
use super::region::MaskedRegion;
use crate::AppError;
use crate::image_file::{self, InputImage, Resize};
use crate::job::{EditTask, ImageSource, Img2imgTask, InpaintTask, JobTask, OutpaintTask};
use latent_diffusion::families::Model;
use latent_diffusion::names::Named;
use latent_diffusion::{Fill, Image, MAX_SIDE, Margins, Mask, Settings, Task};

/// Softness of a mask's edge in pixels, if nothing is given.
const DEFAULT_MASK_BLUR: f64 = 4.0;
/// Pixels around a mask that are shown to the model, if nothing is given.
const DEFAULT_PADDING: usize = 32;

/// What a job begins with.
#[derive(Debug)]
pub(super) struct TaskWork {
    start: WorkStart,
    /// Of a job that draws the surroundings of a mask alone, and the softness of the mask's edge.
    region: Option<(MaskedRegion, f64)>,
    /// Of an image with transparent parts that are kept.
    opacity: Option<KeptOpacity>,
    /// The job's own settings.
    pub(super) recorded: Vec<RecordedSetting>,
}

#[derive(Debug)]
enum WorkStart {
    Words,
    Image { image: Image, strength: f64 },
    Masked { image: Image, mask: Mask, fill: Fill, strength: f64, feather: f64 },
    Instruction { image: Image, guidance: f64 },
}

impl TaskWork {
    /// Reads the images of a task, and puts the size to draw into the settings. `is_enlarged`: whether drawn images are
    /// enlarged, so that a part of a large image is drawn in the model's own size.
    ///
    /// # Errors
    /// Bad input.
    pub(super) fn open(
        task: &JobTask,
        settings: &mut Settings,
        model: &Model,
        is_enlarged: bool,
    ) -> Result<TaskWork, AppError> {
        match task {
            JobTask::Txt2img(_) => {
                Ok(TaskWork { start: WorkStart::Words, region: None, opacity: None, recorded: Vec::new() })
            }
            JobTask::Img2img(task) => redraw(task, settings, model),
            JobTask::Inpaint(task) => inpaint(task, settings, model, is_enlarged),
            JobTask::Outpaint(task) => outpaint(task, settings, model, is_enlarged),
            JobTask::Edit(task) => edit(task, settings, model),
        }
    }

    /// What the pipeline is to do.
    pub(super) fn task(&self) -> Task<'_> {
        match &self.start {
            WorkStart::Words => Task::TextToImage,
            WorkStart::Image { image, strength } => Task::ImageToImage { image, strength: *strength },
            WorkStart::Masked { image, mask, fill, strength, feather } => {
                Task::Inpaint { image, mask, strength: *strength, fill: *fill, feather: *feather }
            }
            WorkStart::Instruction { image, guidance } => Task::Edit { image, guidance: *guidance },
        }
    }

    /// Whether the size of the result does not follow from the drawn one, or is free: the drawn images may be enlarged.
    pub(super) fn can_be_enlarged(&self) -> bool {
        self.region.is_some() || !matches!(self.start, WorkStart::Masked { .. })
    }

    /// Whether the results have the size of the given image, whatever is drawn.
    pub(super) fn keeps_size(&self) -> bool {
        self.region.is_some()
    }

    /// The drawn images as they are to be written.
    pub(super) fn finish(&self, images: Vec<Image>) -> Result<Vec<Image>, AppError> {
        match &self.region {
            Some((region, blur)) => images.iter().map(|part| region.put_back(part, *blur)).collect(),
            None => Ok(images),
        }
    }

    /// The pixels of a finished image with their opacity, if the given image had transparent parts that are kept.
    pub(super) fn rgba(&self, finished: &Image) -> Option<Vec<u8>> {
        self.opacity.as_ref().map(|kept| kept.rgba(finished))
    }

    /// What is drawn of an image that shows the same as the whole result.
    pub(super) fn drawn_part(&self, whole: Image) -> Image {
        match &self.region {
            Some((region, _)) => region.of_whole(&whole),
            None => whole,
        }
    }
}

/// Reads an image and brings it to the size to draw, which the settings then hold.
fn sized(
    source: &ImageSource,
    mode: Option<Resize>,
    settings: &mut Settings,
    model: &Model,
) -> Result<Image, AppError> {
    let image = source.read()?.over(image_file::BACKGROUND);
    image_file::to_drawn_size(&image, mode.unwrap_or_default(), settings, model)
}

fn redraw(task: &Img2imgTask, settings: &mut Settings, model: &Model) -> Result<TaskWork, AppError> {
    let image = sized(&task.image, task.resize, settings, model)?;
    let strength = task.strength.unwrap_or(0.75);
    let recorded = vec![RecordedSetting::strength(strength)];
    Ok(TaskWork { start: WorkStart::Image { image, strength }, region: None, opacity: None, recorded })
}

fn edit(task: &EditTask, settings: &mut Settings, model: &Model) -> Result<TaskWork, AppError> {
    let image = sized(&task.image, task.resize, settings, model)?;
    let guidance = task.img_cfg_scale.unwrap_or(1.5);
    // A model that sees the image as further tokens has no scale for it.
    let takes_guidance = !model.refers_to_images();
    if !takes_guidance && task.img_cfg_scale.is_some() {
        let reason = "this model keeps to the image by itself; leave it out";
        return Err(AppError::BadInput(format!("img cfg scale: {reason}")));
    }
    let recorded = RecordedSetting::new("Image CFG scale", "img_cfg_scale", guidance);
    let recorded = if takes_guidance { vec![recorded] } else { Vec::new() };
    Ok(TaskWork { start: WorkStart::Instruction { image, guidance }, region: None, opacity: None, recorded })
}

/// The whole of a large image as a part to be drawn in the model's own size, where what is drawn is enlarged.
fn shrunk(
    (image, mask): (&Image, &Mask),
    fill: Fill,
    model: &Model,
    is_enlarged: bool,
) -> Option<(MaskedRegion, Image, Mask)> {
    let is_large = image.width * image.height > 2 * model.resolution.0 * model.resolution.1;
    let size = image_file::size_for(image, (None, None), model);
    (is_enlarged && is_large).then(|| MaskedRegion::whole(image, mask, fill, size))
}

fn inpaint(
    task: &InpaintTask,
    settings: &mut Settings,
    model: &Model,
    is_enlarged: bool,
) -> Result<TaskWork, AppError> {
    let MaskedImage { image, mask, fill, given } = masked(task)?;
    let strength = task.strength.unwrap_or(1.0);
    let mask_blur = task.mask_blur.unwrap_or(DEFAULT_MASK_BLUR);
    let padding = task.padding.unwrap_or(DEFAULT_PADDING);
    if padding > MAX_SIDE {
        return Err(AppError::BadInput(format!("padding: {padding} pixels are more than {MAX_SIDE}")));
    }
    let mut recorded = vec![
        RecordedSetting::strength(strength),
        RecordedSetting::mask_blur(mask_blur),
        RecordedSetting::new("Masked content", "fill", fill.name()),
    ];
    // A transparent part that is filled leaves nothing transparent.
    let given = given.filter(|_| task.mask.is_some() || task.invert);
    let soft = || mask.feathered(mask_blur);
    let opacity =
        given.and_then(|(colours, alpha)| KeptOpacity::of(colours, alpha, soft(), task.mask.is_some()));
    if !task.only_masked {
        refuse_size(
            settings,
            "the image's own size is drawn, or a part in any size if only the mask is drawn",
        )?;
        if let Some((region, image, mask)) = shrunk((&image, &mask), fill, model, is_enlarged) {
            let start = WorkStart::Masked { image, mask, fill, strength, feather: 0.0 };
            return Ok(TaskWork { start, region: Some((region, mask_blur)), opacity, recorded });
        }
        let start = WorkStart::Masked { image, mask, fill, strength, feather: mask_blur };
        return Ok(TaskWork { start, region: None, opacity, recorded });
    }
    let size = (settings.width.unwrap_or(model.resolution.0), settings.height.unwrap_or(model.resolution.1));
    // A size that the model cannot draw is refused before the image is brought to it.
    settings.size(model)?;
    let Some((region, image, mask)) = MaskedRegion::cut(&image, &mask, fill, padding, size) else {
        let start = WorkStart::Masked { image, mask, fill, strength, feather: mask_blur };
        return Ok(TaskWork { start, region: None, opacity, recorded });
    };
    recorded.push(RecordedSetting::new("Inpaint area", "only_masked", true));
    recorded.push(RecordedSetting::new("Masked area padding", "padding", region.padding));
    // The edge of a part is softened when it is put back.
    let start = WorkStart::Masked { image, mask, fill, strength, feather: 0.0 };
    Ok(TaskWork { start, region: Some((region, mask_blur)), opacity, recorded })
}

/// An image, and what of it is to be drawn.
struct MaskedImage {
    image: Image,
    mask: Mask,
    fill: Fill,
    /// The colours and the opacity that it was given with, if it has transparent parts.
    given: Option<(Image, Vec<u8>)>,
}

fn masked(task: &InpaintTask) -> Result<MaskedImage, AppError> {
    let given = task.image.read()?;
    let image_name = task.image.path().display();
    let (mut mask, usual) = match &task.mask {
        Some(source) => (mask_of(source, &given)?, Fill::Original),
        None => {
            let hole = given.hole().ok_or_else(|| {
                AppError::BadInput(format!("{image_name}: has no transparent part, and no mask is given"))
            })?;
            (hole, Fill::Nearest)
        }
    };
    if task.invert {
        mask = mask.inverted();
    }
    if mask.is_empty() {
        let (file, what) = match (&task.mask, task.invert) {
            (Some(mask), false) => (mask.path(), "is black everywhere: paint white what is to be drawn"),
            (Some(mask), true) => {
                (mask.path(), "is white everywhere and inverted: paint black what is to be drawn")
            }
            (None, false) => (
                task.image.path(),
                "is opaque everywhere: make transparent what is to be drawn, or give a mask",
            ),
            (None, true) => {
                (task.image.path(), "is transparent everywhere, and that is inverted: give a mask")
            }
        };
        return Err(AppError::BadInput(format!("{}: nothing would be drawn, as it {what}", file.display())));
    }
    let colours = given.alpha.clone().map(|alpha| (given.image.clone(), alpha));
    // The colours of a transparent part that is the mask are not to be seen.
    let image = if usual == Fill::Nearest { given.image } else { given.over(image_file::BACKGROUND) };
    Ok(MaskedImage { image, mask, fill: task.fill.unwrap_or(usual), given: colours })
}

/// The mask of a file, which must be of the image's size.
fn mask_of(source: &ImageSource, given: &InputImage) -> Result<Mask, AppError> {
    let mask = source.read()?.into_mask();
    let (width, height) = (given.image.width, given.image.height);
    if (mask.width, mask.height) == (width, height) {
        return Ok(mask);
    }
    Err(AppError::BadInput(format!(
        "{}: the mask is {}x{} and the image {width}x{height}; make them the same size",
        source.path().display(),
        mask.width,
        mask.height
    )))
}

/// Refuses a size where the image's own is drawn.
fn refuse_size(settings: &Settings, instead: &str) -> Result<(), AppError> {
    match settings.width.or(settings.height) {
        Some(side) => {
            Err(AppError::BadInput(format!("width, height: {side} cannot be chosen here; {instead}")))
        }
        None => Ok(()),
    }
}

fn outpaint(
    task: &OutpaintTask,
    settings: &Settings,
    model: &Model,
    is_enlarged: bool,
) -> Result<TaskWork, AppError> {
    refuse_size(settings, "the image grows by left, right, top and bottom")?;
    let sides = [("left", task.left), ("right", task.right), ("top", task.top), ("bottom", task.bottom)];
    let sides = sides.map(|(name, side)| (name, side.unwrap_or(0)));
    if let Some((name, side)) = sides.into_iter().find(|(_, side)| *side > MAX_SIDE) {
        return Err(AppError::BadInput(format!("{name}: {side} pixels are more than {MAX_SIDE}")));
    }
    let [left, right, top, bottom] = sides.map(|(_, side)| side);
    if left + right + top + bottom == 0 {
        let line =
            "left, right, top, bottom: all are 0; give the number of pixels that the image is to grow by";
        return Err(AppError::BadInput(line.into()));
    }
    let given = task.image.read()?;
    let colours = given.alpha.clone().map(|alpha| (given.image.clone(), alpha));
    let image = given.over(image_file::BACKGROUND);
    let grown = [left + image.width + right, top + image.height + bottom];
    if let Some(side) = grown.into_iter().find(|side| *side > MAX_SIDE) {
        let line = format!("the image would be {side} pixels; the maximum is {MAX_SIDE}");
        return Err(AppError::BadInput(line));
    }
    let margins = Margins { left, right, top, bottom };
    let (canvas, mask) = image.grown(margins);
    let strength = task.strength.unwrap_or(1.0);
    let feather = task.mask_blur.unwrap_or(DEFAULT_MASK_BLUR);
    let recorded = vec![
        RecordedSetting::strength(strength),
        RecordedSetting::mask_blur(feather),
        RecordedSetting::new("Outpaint left", "left", left),
        RecordedSetting::new("Outpaint right", "right", right),
        RecordedSetting::new("Outpaint top", "top", top),
        RecordedSetting::new("Outpaint bottom", "bottom", bottom),
    ];
    let opacity = colours.and_then(|(colours, alpha)| {
        let alpha = KeptOpacity::grown(alpha, (colours.width, colours.height), margins);
        KeptOpacity::of(colours.grown(margins).0, alpha, mask.feathered(feather), true)
    });
    let fill = Fill::Nearest;
    if let Some((region, image, mask)) = shrunk((&canvas, &mask), fill, model, is_enlarged) {
        let start = WorkStart::Masked { image, mask, fill, strength, feather: 0.0 };
        return Ok(TaskWork { start, region: Some((region, feather)), opacity, recorded });
    }
    let start = WorkStart::Masked { image: canvas, mask, fill, strength, feather };
    Ok(TaskWork { start, region: None, opacity, recorded })
}
