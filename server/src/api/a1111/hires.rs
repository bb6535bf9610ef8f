//! The second pass at a larger size.

use super::error::refused;
use super::job::WebuiJob;
use super::names;
use super::request::{chosen, is_automatic};
use crate::error::ApiError;
use latent_app::upscale;
use serde_json::Value;

/// Fields that would make the second pass differ from the first, and that which they must be the same as.
const SAME: [(&str, Option<&str>); 6] = [
    ("hr_prompt", Some("prompt")),
    ("hr_negative_prompt", Some("negative_prompt")),
    ("hr_sampler_name", Some("sampler_name")),
    ("hr_scheduler", Some("scheduler")),
    ("hr_cfg", Some("cfg_scale")),
    ("hr_checkpoint_name", None),
];

/// Gives a job its second pass, if it is asked for.
pub(super) fn apply(job: &mut WebuiJob<'_>) -> Result<(), ApiError> {
    let request = job.request;
    if !request.enable_hr.is_some_and(|enabled| enabled.0) {
        return Ok(());
    }
    check_same(job)?;
    job.set("hires", true);
    if let Some(scale) = scale(job)? {
        job.set("hires_scale", scale);
    }
    if let Some(steps) =
        WebuiJob::count("hr_second_pass_steps", request.hr_second_pass_steps)?.filter(|n| *n > 0)
    {
        job.set("hires_steps", steps);
    }
    if let Some(strength) = request.denoising_strength {
        job.set("hires_strength", strength.0);
    }
    if let Some(name) = request.hr_upscaler.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        let upscaler = upscaler(job, name)?;
        job.set("hires_upscaler", upscaler);
    }
    Ok(())
}

fn check_same(job: &WebuiJob<'_>) -> Result<(), ApiError> {
    for (name, first) in SAME {
        let Some(value) = job.body.get(name).filter(|value| !value.is_null()) else { continue };
        let is_unset = value.as_str().is_some_and(|text| {
            text.is_empty() || text == "None" || is_automatic(text) || text.starts_with("Use same ")
        });
        if is_unset || first.is_some_and(|first| job.body.get(first) == Some(value)) {
            continue;
        }
        let is_model = name == "hr_checkpoint_name"
            && value.as_str().is_some_and(|title| {
                names::model(job.state, name, title).is_ok_and(|model| model.name == job.model.name)
            });
        if !is_model {
            return Err(refused(name, "the second pass is drawn as the first; leave it out"));
        }
    }
    let modules = job.body.get("hr_additional_modules").and_then(Value::as_array);
    let is_own = |module: &Value| !matches!(module.as_str(), Some("Use same choices" | "" | "None"));
    if modules.is_some_and(|modules| modules.iter().any(is_own)) {
        return Err(refused("hr_additional_modules", "the second pass is drawn as the first; leave it out"));
    }
    Ok(())
}

/// How many times as wide and high the second pass is.
fn scale(job: &WebuiJob<'_>) -> Result<Option<f64>, ApiError> {
    let request = job.request;
    let x = WebuiJob::count("hr_resize_x", request.hr_resize_x)?.unwrap_or(0);
    let y = WebuiJob::count("hr_resize_y", request.hr_resize_y)?.unwrap_or(0);
    if x == 0 && y == 0 {
        return Ok(request.hr_scale.map(|scale| scale.0));
    }
    let (width, height) = job.asked_size();
    let own = job.model.defaults.as_ref();
    let width = width.or(own.map(|own| own.width)).unwrap_or(512).max(1);
    let height = height.or(own.map(|own| own.height)).unwrap_or(512).max(1);
    let (wide, high) = (x as f64 / width as f64, y as f64 / height as f64);
    if x > 0 && y > 0 && wide != high {
        let line = format!(
            "{x}x{y} is not of the shape of {width}x{height}; give one of hr_resize_x and hr_resize_y"
        );
        return Err(refused("hr_resize_x", &line));
    }
    Ok(Some(wide.max(high)))
}

fn upscaler(job: &WebuiJob<'_>, name: &str) -> Result<String, ApiError> {
    let refuse = |reason: &str| Err(refused("hr_upscaler", reason));
    match name.to_lowercase().as_str() {
        "latent" => Ok("latent".into()),
        "latent (nearest)" | "latent (nearest-exact)" => Ok("latent-nearest".into()),
        "lanczos" => Ok("lanczos".into()),
        lower if upscale::built_in() == Some(lower) => Ok(lower.into()),
        "none" | "nearest" => refuse("give Latent, Latent (nearest), Lanczos or an upscaler's name"),
        lower if lower.starts_with("latent (") => {
            refuse("latents are enlarged by Latent and Latent (nearest)")
        }
        _ => {
            let found = names::model(job.state, "hr_upscaler", chosen(Some(name)).unwrap_or(name))?;
            if found.kind.as_deref() == Some("upscaler") {
                Ok(found.name)
            } else {
                refuse(&format!("{} is not an upscaler", found.name))
            }
        }
    }
}
