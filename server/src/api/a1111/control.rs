//! Units of ControlNet, as the extension of that name has them, as options of a job.

use super::error::refused;
use super::job::WebuiJob;
use super::lenient::{bool_of, number_of};
use super::request::chosen;
use super::{images, names};
use crate::error::ApiError;
use latent_app::image_file::{self, BACKGROUND, Resize};
use serde_json::{Map, Value, json};

pub(super) const FIELD: &str = "alwayson_scripts";
/// What can be done with an image before a network sees it.
pub(super) const MODULES: [&str; 2] = ["none", "canny"];

/// Kinds of models that a unit can name.
const KINDS: [&str; 4] = ["controlnet", "control-lora", "controlnet-lllite", "t2i-adapter"];

/// Whether a unit can name a model of that kind.
pub(super) fn is_control(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| KINDS.contains(&kind))
}

/// A unit as options.
struct ControlUnit {
    net: String,
    image: Value,
    strength: f64,
    start: f64,
    end: f64,
    /// Both contrasts, of edges that are looked for.
    canny: Option<[f64; 2]>,
}

/// Gives a job its ControlNets.
pub(super) fn apply(job: &mut WebuiJob<'_>, units: Vec<Map<String, Value>>) -> Result<(), ApiError> {
    if units.is_empty() {
        return Ok(());
    }
    let units: Vec<ControlUnit> = units.iter().map(|unit| read(job, unit)).collect::<Result<_, _>>()?;
    let all = |of: fn(&ControlUnit) -> Value| Value::Array(units.iter().map(of).collect());
    job.set("control_net", all(|unit| json!(unit.net)));
    job.set("control_image", all(|unit| unit.image.clone()));
    job.set("control_strength", all(|unit| json!(unit.strength)));
    job.set("control_start", all(|unit| json!(unit.start)));
    job.set("control_end", all(|unit| json!(unit.end)));
    if units.iter().any(|unit| unit.canny.is_some()) {
        job.set("control_preprocess", all(|unit| json!(MODULES[usize::from(unit.canny.is_some())])));
        job.set("canny_low", all(|unit| json!(unit.canny.unwrap_or(CANNY)[0])));
        job.set("canny_high", all(|unit| json!(unit.canny.unwrap_or(CANNY)[1])));
    }
    Ok(())
}

/// The extension's own contrasts.
pub(super) const CANNY: [f64; 2] = [100.0, 200.0];

fn refuse(name: &str, reason: &str) -> ApiError {
    refused(FIELD, &format!("ControlNet: {name}: {reason}"))
}

fn number(unit: &Map<String, Value>, name: &str, usual: f64) -> Result<f64, ApiError> {
    match unit.get(name).filter(|value| !value.is_null()) {
        Some(value) => number_of(value).ok_or_else(|| refuse(name, "is not a number")),
        None => Ok(usual),
    }
}

fn read(job: &WebuiJob<'_>, unit: &Map<String, Value>) -> Result<ControlUnit, ApiError> {
    check(job, unit)?;
    let text = |name: &str| unit.get(name).and_then(Value::as_str);
    let net = chosen(text("model")).ok_or_else(|| refuse("model", "give the name of one"))?;
    let net = names::model(job.state, FIELD, net)?;
    if !is_control(net.kind.as_deref()) {
        return Err(refuse("model", &format!("{} is not a ControlNet", net.name)));
    }
    let module = chosen(text("module")).unwrap_or("none").to_lowercase();
    let canny = match module.as_str() {
        "none" => None,
        "canny" => Some(contrasts(number(unit, "threshold_a", -1.0)?, number(unit, "threshold_b", -1.0)?)),
        _ => return Err(refuse("module", &format!("{module:?} is not one of {}", MODULES.join(", ")))),
    };
    if canny.is_some() {
        check_resolution(job, unit)?;
    }
    Ok(ControlUnit {
        net: net.name,
        image: image(job, unit)?,
        strength: number(unit, "weight", 1.0)?,
        start: number(unit, "guidance_start", 0.0)?,
        end: number(unit, "guidance_end", 1.0)?,
        canny,
    })
}

/// The contrasts of a request; the usual ones for -1.
pub(super) fn contrasts(low: f64, high: f64) -> [f64; 2] {
    [if low < 0.0 { CANNY[0] } else { low }, if high < 0.0 { CANNY[1] } else { high }]
}

/// Refuses what cannot be followed.
fn check(job: &WebuiJob<'_>, unit: &Map<String, Value>) -> Result<(), ApiError> {
    let has = |name: &str| {
        unit.get(name).is_some_and(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(values) => !values.is_empty(),
            _ => true,
        })
    };
    for name in
        ["mask", "mask_image", "effective_region_mask", "advanced_weighting", "guessmode", "ipadapter_input"]
    {
        if has(name) {
            return Err(refuse(name, "cannot be followed; leave it out"));
        }
    }
    let is_balanced = match unit.get("control_mode") {
        None | Some(Value::Null) => true,
        Some(Value::String(mode)) => mode.eq_ignore_ascii_case("balanced"),
        Some(mode) => number_of(mode) == Some(0.0),
    };
    if !is_balanced {
        return Err(refuse("control_mode", "give Balanced"));
    }
    let is_second_pass = job.options.contains_key("hires");
    let option = unit.get("hr_option").and_then(Value::as_str).unwrap_or("Both");
    if is_second_pass && !option.eq_ignore_ascii_case("both") {
        return Err(refuse("hr_option", "give Both"));
    }
    Ok(())
}

/// Edges are found in the size that is drawn.
fn check_resolution(job: &WebuiJob<'_>, unit: &Map<String, Value>) -> Result<(), ApiError> {
    let resolution = number(unit, "processor_res", -1.0)?;
    let (width, height) = drawn_size(job);
    let drawn = width.zip(height).map(|(width, height)| width.min(height) as f64);
    let is_perfect = unit.get("pixel_perfect").and_then(bool_of).unwrap_or(false);
    if is_perfect || resolution < 0.0 || drawn.is_none_or(|drawn| drawn == resolution) {
        return Ok(());
    }
    Err(refuse("processor_res", "edges are found in the size that is drawn; set pixel_perfect"))
}

fn drawn_size(job: &WebuiJob<'_>) -> (Option<usize>, Option<usize>) {
    let (width, height) = job.asked_size();
    let own = job.model.defaults.as_ref().filter(|_| !job.options.contains_key("image"));
    (width.or(own.map(|own| own.width)), height.or(own.map(|own| own.height)))
}

fn resize(unit: &Map<String, Value>) -> Result<Resize, ApiError> {
    match unit.get("resize_mode") {
        None | Some(Value::Null) => Ok(Resize::Crop),
        Some(Value::String(mode)) => match mode.to_lowercase().as_str() {
            "just resize" | "resize" => Ok(Resize::Stretch),
            "crop and resize" | "inner fit (scale to fit)" | "scale to fit (inner fit)" => Ok(Resize::Crop),
            "resize and fill" | "outer fit (shrink to fit)" | "envelope (outer fit)" => Ok(Resize::Fit),
            _ => Err(refuse("resize_mode", "give Just Resize, Crop and Resize or Resize and Fill")),
        },
        Some(mode) => match number_of(mode) {
            Some(0.0) => Ok(Resize::Stretch),
            Some(1.0) => Ok(Resize::Crop),
            Some(2.0) => Ok(Resize::Fit),
            _ => Err(refuse("resize_mode", "give 0, 1 or 2")),
        },
    }
}

/// The image that the network sees: the unit's own, or that which the job begins with.
fn image(job: &WebuiJob<'_>, unit: &Map<String, Value>) -> Result<Value, ApiError> {
    let mode = resize(unit)?;
    let given = unit.get("image").filter(|image| !image.is_null()).or_else(|| unit.get("input_image"));
    let text = match given {
        Some(Value::Object(parts)) => {
            if parts.get("mask").and_then(Value::as_str).is_some_and(|mask| !mask.is_empty()) {
                return Err(refuse("mask", "cannot be followed; leave it out"));
            }
            parts.get("image").and_then(Value::as_str)
        }
        other => other.and_then(Value::as_str),
    };
    let text = match text.filter(|text| !text.is_empty()) {
        Some(text) => text,
        None => match job.request.init_images.as_deref() {
            Some([image]) if job.options.contains_key("image") => image,
            _ => return Err(refuse("image", "give the image that the network sees")),
        },
    };
    // Of a part that is drawn alone the whole image is needed. Otherwise it is cropped to the drawn size by the job itself.
    let size = drawn_size(job);
    if let (Some(width), Some(height), false) = (size.0, size.1, job.options.contains_key("only_masked"))
        && mode != Resize::Crop
    {
        let given = images::decoded(FIELD, text)?;
        if (given.image.width, given.image.height) != (width, height) {
            let sized = image_file::to_size(&given.over(BACKGROUND), (width, height), mode);
            return images::value_of("control.png", &sized);
        }
    }
    images::value(FIELD, "control.png", text)
}
