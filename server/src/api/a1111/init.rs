//! The image that `img2img` begins with, and its mask.

use super::error::refused;
use super::images;
use super::job::WebuiJob;
use crate::error::ApiError;
use latent_app::image_file::{self, BACKGROUND, Resize};
use latent_diffusion::names::Named;
use latent_diffusion::{Image, Mask};

/// The webui's defaults, which do not depend on the model.
const DENOISING_STRENGTH: f64 = 0.75;
const MASK_BLUR: f64 = 4.0;

/// Gives a job its image and its mask; the job's verb.
pub(super) fn apply(job: &mut WebuiJob<'_>) -> Result<&'static str, ApiError> {
    let request = job.request;
    let image = match request.init_images.as_deref() {
        Some([image]) => image,
        None | Some([]) => return Err(refused("init_images", "give an image")),
        Some(_) => return Err(refused("init_images", "several images; give one, in a request for each")),
    };
    let resize = resize(job)?;
    let mask = request.mask.as_deref().filter(|mask| !mask.is_empty());
    let can = |verb: &str| job.model.verbs.iter().any(|own| own == verb);
    // A model that does nothing else.
    if can("edit") && !can("img2img") {
        return edit(job, image, mask, resize);
    }
    job.set("strength", request.denoising_strength.map_or(DENOISING_STRENGTH, |strength| strength.0));
    match mask {
        Some(mask) => inpaint(job, image, mask, resize),
        None => {
            let image = images::value("init_images", "image.png", image)?;
            job.set("image", image);
            job.set("resize", resize.name());
            Ok("img2img")
        }
    }
}

fn resize(job: &WebuiJob<'_>) -> Result<Resize, ApiError> {
    match job.request.resize_mode.map_or(0, |mode| mode.0) {
        0 => Ok(Resize::Stretch),
        1 => Ok(Resize::Crop),
        2 => Ok(Resize::Fit),
        3 => Err(refused("resize_mode", "latents are not resized; give 0, 1 or 2")),
        _ => Err(refused("resize_mode", "give 0, 1 or 2")),
    }
}

/// An image changed by an instruction.
fn edit(
    job: &mut WebuiJob<'_>,
    image: &str,
    mask: Option<&str>,
    resize: Resize,
) -> Result<&'static str, ApiError> {
    if mask.is_some() {
        return Err(refused("mask", &format!("{} changes whole images; leave it out", job.model.name)));
    }
    if job.request.denoising_strength.is_some_and(|strength| strength.0 != 1.0) {
        let line = format!(
            "{} follows an instruction; give 1, and say by image_cfg_scale how close to keep",
            job.model.name
        );
        return Err(refused("denoising_strength", &line));
    }
    let image = images::value("init_images", "image.png", image)?;
    job.set("image", image);
    job.set("resize", resize.name());
    if let Some(scale) = job.request.image_cfg_scale {
        job.set("img_cfg_scale", scale.0);
    }
    Ok("edit")
}

/// A part of an image drawn anew.
fn inpaint(
    job: &mut WebuiJob<'_>,
    image: &str,
    mask: &str,
    resize: Resize,
) -> Result<&'static str, ApiError> {
    let request = job.request;
    let is_alone = request.inpaint_full_res.is_none_or(|alone| alone.0);
    job.set("mask_blur", mask_blur(job)?);
    job.set("fill", fill(job)?);
    if request.inpainting_mask_invert.is_some_and(|invert| invert.0) {
        job.set("invert", true);
    }
    let (given, given_mask) = (images::decoded("init_images", image)?, images::decoded("mask", mask)?);
    let own = (given.image.width, given.image.height);
    let size = match job.asked_size() {
        (width, height) if !is_alone => (width.unwrap_or(own.0), height.unwrap_or(own.1)),
        _ => own,
    };
    if is_alone {
        job.set("only_masked", true);
        let padding = WebuiJob::count("inpaint_full_res_padding", request.inpaint_full_res_padding)?;
        job.set("padding", padding.unwrap_or(0));
    } else {
        // The image has the size that is drawn.
        job.options.remove("width");
        job.options.remove("height");
    }
    // An image that fits goes on as it came, with its opacity.
    let image = if size == own {
        images::value("init_images", "image.png", image)?
    } else {
        images::value_of("image.png", &image_file::to_size(&given.over(BACKGROUND), size, resize))?
    };
    job.set("image", image);
    let mask_size = (given_mask.image.width, given_mask.image.height);
    let mask = if mask_size == size {
        images::value("mask", "mask.png", mask)?
    } else {
        let pixels = image_of(&given_mask.into_mask());
        images::value_of("mask.png", &image_file::to_size(&pixels, size, resize))?
    };
    job.set("mask", mask);
    Ok("inpaint")
}

fn image_of(mask: &Mask) -> Image {
    let rgb = mask.values.iter().flat_map(|value| [*value; 3]).collect();
    Image { width: mask.width, height: mask.height, rgb }
}

fn mask_blur(job: &WebuiJob<'_>) -> Result<f64, ApiError> {
    let request = job.request;
    let usual = request.mask_blur.map_or(MASK_BLUR, |blur| blur.0);
    let side = |blur: Option<super::lenient::LenientFloat>| blur.map_or(usual, |blur| blur.0);
    let (x, y) = (side(request.mask_blur_x), side(request.mask_blur_y));
    if x == y {
        Ok(x)
    } else {
        Err(refused("mask_blur_x", "is not mask_blur_y; a mask is blurred as much both ways"))
    }
}

fn fill(job: &WebuiJob<'_>) -> Result<&'static str, ApiError> {
    match job.request.inpainting_fill.map_or(0, |fill| fill.0) {
        0 => Ok("nearest"),
        1 => Ok("original"),
        2 => Ok("noise"),
        3 => Ok("zero"),
        _ => Err(refused("inpainting_fill", "give 0 to 3")),
    }
}
