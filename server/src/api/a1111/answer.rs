//! The answer of `txt2img` and `img2img`: images, and the text of JSON that says how they were made.

use crate::error::ApiError;
use crate::queue::JobRecord;
use crate::state::ServerState;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latent_app::job::SamplerChoice;
use latent_app::{hash, metadata};
use latent_diffusion::schedule::ScheduleKind;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::Cursor;
use std::time::{Duration, UNIX_EPOCH};
use utoipa::ToSchema;

/// Images, and how they were made.
#[derive(Serialize, ToSchema)]
pub(super) struct WebuiImages {
    /// PNG files in base64.
    pub(super) images: Vec<String>,
    /// The request again, without its images, with what it left open.
    #[schema(value_type = Object)]
    pub(super) parameters: Map<String, Value>,
    /// A text of JSON: `seed`, `all_seeds`, `width`, `height`, `infotexts` and others.
    pub(super) info: String,
}

/// An image as its file holds it.
pub(super) struct DrawnFile {
    bytes: Vec<u8>,
    /// The webui's text.
    infotext: String,
    /// What this program has written into it.
    own: Value,
}

impl DrawnFile {
    /// Reads an image of the gallery.
    pub(super) fn read(state: &ServerState, name: &str) -> Result<DrawnFile, ApiError> {
        let path = state.gallery.path(name)?;
        let bytes = std::fs::read(path).map_err(|error| ApiError::io(name, &error))?;
        let texts = metadata::container::read(&mut Cursor::new(&bytes)).unwrap_or_default();
        let text = |keyword: &str| {
            texts.iter().find(|text| text.keyword == keyword).map_or("", |text| text.text.as_str()).to_owned()
        };
        let own = serde_json::from_str(&text("latent")).unwrap_or_default();
        Ok(DrawnFile { infotext: text("parameters"), own, bytes })
    }

    pub(super) fn base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    fn text(&self, name: &str) -> &str {
        self.own[name].as_str().unwrap_or("")
    }
}

/// Notes the hash of the model that images were drawn with.
pub(super) fn note_hash(state: &ServerState, images: &[DrawnFile]) {
    if let Some(image) = images.first()
        && let Ok(model) = state.models.info(image.text("model"))
        && let Some(sha256) = image.own["model_sha256"].as_str()
    {
        state.webui.set_sha256(&model.name, sha256);
    }
}

/// The time of a job as the webui writes it.
pub(super) fn timestamp(milliseconds: u64) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(milliseconds));
    time.to_string().chars().filter(char::is_ascii_digit).collect()
}

/// The answer with the images of a job, and with what is known of them.
pub(super) fn of(
    images: &[DrawnFile],
    info: Value,
    echo: Map<String, Value>,
    sends_images: bool,
) -> WebuiImages {
    let mut parameters = echo;
    for name in ["prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "sampler_name"]
    {
        let is_open = parameters.get(name).is_none_or(Value::is_null);
        if let Some(value) = info.get(name).filter(|value| is_open && !value.is_null()) {
            parameters.insert(name.to_owned(), value.clone());
        }
    }
    // Clients count the images by them.
    for name in ["batch_size", "n_iter"] {
        if parameters.get(name).is_none_or(Value::is_null) {
            parameters.insert(name.to_owned(), json!(1));
        }
    }
    let sent = images.iter().filter(|_| sends_images);
    WebuiImages { images: sent.map(DrawnFile::base64).collect(), parameters, info: info.to_string() }
}

/// How the images of a job were made.
pub(super) fn info(record: &JobRecord, images: &[DrawnFile], echo: &Map<String, Value>) -> Value {
    let nothing = DrawnFile { bytes: Vec::new(), infotext: String::new(), own: json!({}) };
    let first = images.first().unwrap_or(&nothing);
    // Of a job that was interrupted before the first image only the request is known.
    let value = |name: &str| match &first.own[name] {
        Value::Null => echo.get(name).cloned().unwrap_or_default(),
        value => value.clone(),
    };
    let all = |name: &str| images.iter().map(|image| image.own[name].clone()).collect::<Vec<_>>();
    let seed = first.own["seed"].as_u64().or(record.seed);
    let vae = vae(&first.own);
    let subseed = |own: &Value| own["variation_seed"].as_u64().map_or(json!(-1), Value::from);
    let subseeds: Vec<Value> = images.iter().map(|image| subseed(&image.own)).collect();
    json!({
        "prompt": value("prompt"),
        "all_prompts": all("prompt"),
        "negative_prompt": first.own["negative_prompt"].as_str().or(echo.get("negative_prompt").and_then(Value::as_str)).unwrap_or(""),
        "all_negative_prompts": all("negative_prompt"),
        "seed": seed,
        "all_seeds": all("seed"),
        "subseed": subseed(&first.own),
        "all_subseeds": subseeds,
        "subseed_strength": first.own.get("variation_strength").cloned().unwrap_or(json!(0)),
        "width": value("width"),
        "height": value("height"),
        "sampler_name": sampler(first.text("sampler"), echo),
        "cfg_scale": value("cfg_scale"),
        "steps": value("steps"),
        "batch_size": echo.get("batch_size").cloned().unwrap_or(json!(1)),
        "restore_faces": false,
        "face_restoration_model": null,
        "sd_model_name": if images.is_empty() { record.model.as_str() } else { first.text("model") },
        "sd_model_hash": first.own["model_hash"],
        "sd_vae_name": vae.0,
        "sd_vae_hash": vae.1,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": value("strength"),
        "extra_generation_params": extra(&first.own),
        "index_of_first_image": 0,
        "infotexts": images.iter().map(|image| image.infotext.as_str()).collect::<Vec<_>>(),
        "styles": [],
        "job_timestamp": timestamp(record.created),
        "clip_skip": first.own["clip_skip"].as_u64().unwrap_or(1),
        "is_using_inpainting_conditioning": false,
        "version": concat!("latent ", env!("CARGO_PKG_VERSION")),
    })
}

/// The sampler by the name that the webui shows.
fn sampler(name: &str, echo: &Map<String, Value>) -> String {
    match SamplerChoice::parse(name) {
        Ok(choice) => choice.sampler.label().to_owned(),
        Err(_) => echo.get("sampler_name").and_then(Value::as_str).unwrap_or("").to_owned(),
    }
}

/// Name and short hash of a VAE that is not the model's own.
fn vae(own: &Value) -> (Value, Value) {
    let files = own["files"].as_array().into_iter().flatten();
    let Some(file) = files.into_iter().find(|file| file["flag"] == "vae") else {
        return (Value::Null, Value::Null);
    };
    (file["name"].clone(), file["sha256"].as_str().map(hash::short).into())
}

fn extra(own: &Value) -> Value {
    match own["scheduler"].as_str().map(ScheduleKind::parse) {
        Some(Ok(kind)) => json!({ "Schedule type": kind.label() }),
        _ => json!({}),
    }
}
