//! The fields of a request as options of a job.

use super::job::WebuiJob;
use super::request::WebuiRequest;
use super::{control, hires, init, names, neutral, scripts, settings};
use crate::error::ApiError;
use crate::request::JobRequest;
use crate::state::ServerState;
use serde_json::{Map, Value, json};

/// Steps from one preview to the next: `progress` shows how an image looks so far.
const PREVIEW_INTERVAL: u32 = 1;

/// The job of a request.
pub(super) fn job(
    state: &ServerState,
    request: &WebuiRequest,
    body: &Map<String, Value>,
    is_img2img: bool,
) -> Result<JobRequest, ApiError> {
    neutral::check(body)?;
    let units = scripts::control_units(request.alwayson_scripts.as_ref())?;
    let mut set = state.webui.get();
    if let Some(overrides) = &request.override_settings {
        settings::apply(state, &mut set, overrides)?;
    }
    let model = names::current(state, set.model.as_deref())?;
    let mut job = WebuiJob { state, request, body, model, options: Map::new() };
    job.words();
    job.sampling()?;
    job.files(&set)?;
    let verb = if is_img2img {
        init::apply(&mut job)?
    } else {
        hires::apply(&mut job)?;
        "txt2img"
    };
    control::apply(&mut job, units)?;
    Ok(JobRequest { verb: verb.to_owned(), options: job.options, preview_interval: PREVIEW_INTERVAL })
}

/// The fields without images, as the answer repeats them.
pub(super) fn echo(body: &Map<String, Value>, keeps_images: bool) -> Map<String, Value> {
    let mut echo: Map<String, Value> =
        body.iter().map(|(name, value)| (name.clone(), without_long_texts(value))).collect();
    for name in ["init_images", "mask"] {
        if let Some(value) = body.get(name) {
            echo.insert(name.to_owned(), if keeps_images { value.clone() } else { json!(null) });
        }
    }
    echo
}

/// A value whose texts that are too long for words are empty: they are images.
fn without_long_texts(value: &Value) -> Value {
    const MAX_BYTES: usize = 64 << 10;
    match value {
        Value::String(text) if text.len() > MAX_BYTES => json!(""),
        Value::Array(values) => values.iter().map(without_long_texts).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), without_long_texts(value))).collect()
        }
        other => other.clone(),
    }
}
