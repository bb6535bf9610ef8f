//! What a request wants, read from its fields.

use super::fields::{RequestFields, bad, truth};
use crate::error::ApiError;
use crate::models::{BUILT_IN, ModelInfo};
use crate::request::JobRequest;
use crate::state::ServerState;
use latent_app::job::{JobOptionKind, OPTIONS};
use latent_app::models;
use latent_app::output::{DEFAULT_QUALITY, ImageFileFormat};
use serde_json::{Map, Value};
use std::path::Path;

/// Maximum number of images of a request.
const MAX_IMAGES: u64 = 10;
/// Maximum number of unfinished images of a stream.
const MAX_PARTIAL_IMAGES: u64 = 3;
/// Options of jobs that fields of OpenAI stand for, or that mean something else there.
const OWN_FIELDS: [&str; 6] = ["prompt", "model", "image", "mask", "quality", "batch-count"];
/// What names of model files end with.
const MODEL_EXTENSIONS: [&str; 6] = ["safetensors", "ckpt", "gguf", "pt", "pth", "bin"];
/// What OpenAI calls how good an image is. Nothing here depends on it.
const QUALITIES: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// How images are answered.
#[derive(Clone, Debug)]
pub(super) struct AnswerStyle {
    /// What the names of events begin with.
    pub(super) event: &'static str,
    pub(super) prompt: String,
    pub(super) format: ImageFileFormat,
    /// Whether the answer has addresses, and no images.
    pub(super) is_url: bool,
    pub(super) quality: Option<&'static str>,
    /// The size that was asked for.
    pub(super) size: Option<(usize, usize)>,
    pub(super) is_streamed: bool,
    pub(super) partial_images: usize,
}

impl AnswerStyle {
    /// The name of the format. An address leads to the file as it was written.
    pub(super) fn format_name(&self) -> &'static str {
        match self.format {
            _ if self.is_url => "png",
            ImageFileFormat::Jpeg(_) => "jpeg",
            ImageFileFormat::WebP => "webp",
            _ => "png",
        }
    }
}

/// What a request wants.
#[derive(Debug)]
pub(super) struct ImageParameters {
    pub(super) style: AnswerStyle,
    pub(super) model: Option<String>,
    count: u64,
    /// Options of the job.
    pub(super) options: Map<String, Value>,
}

impl ImageParameters {
    /// Reads the fields that all requests share.
    pub(super) fn read(
        mut fields: RequestFields,
        event: &'static str,
        needs_prompt: bool,
    ) -> Result<ImageParameters, ApiError> {
        let prompt = match fields.text("prompt")? {
            Some(prompt) => prompt,
            None if needs_prompt => return Err(bad("prompt", "is needed")),
            None => String::new(),
        };
        let model = fields.text("model")?.filter(|model| !model.is_empty());
        let count = fields.whole("n", (1, MAX_IMAGES))?.unwrap_or(1);
        let size = fields.size("size")?;
        let backgrounds = [("auto", false), ("opaque", false), ("transparent", true)];
        if fields.choice("background", &backgrounds)? == Some(true) {
            return Err(bad("background", "images have an opaque one here; give opaque or auto"));
        }
        // Other services have qualities of their own; nobody fails for one.
        let quality = fields.take("quality");
        let quality = QUALITIES.into_iter().find(|known| quality.as_ref().is_some_and(|own| own == known));
        let compression = fields.whole("output_compression", (0, 100))?;
        let jpeg = compression.map_or(DEFAULT_QUALITY, |quality| quality.clamp(1, 100) as u8);
        let formats = [
            ("png", ImageFileFormat::Png),
            ("jpeg", ImageFileFormat::Jpeg(jpeg)),
            ("webp", ImageFileFormat::WebP),
        ];
        let format = fields.choice("output_format", &formats)?.unwrap_or(ImageFileFormat::Png);
        let is_url = fields.choice("response_format", &[("b64_json", false), ("url", true)])?;
        let is_streamed = fields.switch("stream")?;
        let partial_images = fields.whole("partial_images", (0, MAX_PARTIAL_IMAGES))?.unwrap_or(0) as usize;
        // Events have images alone.
        let is_url = is_url.unwrap_or(false) && !is_streamed;
        let options = own_options(fields);
        let style = AnswerStyle { event, prompt, format, is_url, quality, size, is_streamed, partial_images };
        Ok(ImageParameters { style, model, count, options })
    }

    /// The model that is meant, as far as it is known. Names that other services have mean the default model.
    ///
    /// # Errors
    /// The name of a file that is not here, or of several.
    pub(super) fn find_model(&self, state: &ServerState) -> Result<Option<ModelInfo>, ApiError> {
        let list = state.models.list();
        let default = state.options.default_model.as_deref().unwrap_or(BUILT_IN);
        let Some(name) = self.model.as_deref() else { return Ok(named(&list, default)) };
        if let Some(info) = named(&list, name) {
            return Ok(Some(info));
        }
        if list.iter().any(|info| is_called(info, name)) {
            return state.models.find(name).map(|_| None).map_err(|error| error.at("model"));
        }
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        let is_file =
            extension.is_some_and(|own| MODEL_EXTENSIONS.iter().any(|known| own.eq_ignore_ascii_case(known)));
        if is_file {
            return Err(missing_model(name));
        }
        Ok(named(&list, default))
    }

    /// The job of a verb with a model.
    ///
    /// # Errors
    /// A model that cannot do that.
    pub(super) fn into_job(
        self,
        verb: &str,
        model: Option<&ModelInfo>,
    ) -> Result<(JobRequest, AnswerStyle), ApiError> {
        let ImageParameters { style, model: asked, count, mut options } = self;
        if let Some(model) = model {
            if !model.verbs.iter().any(|own| own == verb) {
                let can = if model.verbs.is_empty() { "nothing here".into() } else { model.verbs.join(", ") };
                return Err(bad("model", &format!("{} cannot do {verb}; it can do {can}", model.name)));
            }
            if asked.is_some() {
                options.insert("model".into(), model.name.clone().into());
            }
        }
        options.insert("prompt".into(), style.prompt.clone().into());
        options.insert("batch-count".into(), count.into());
        if let Some((width, height)) = style.size.filter(|_| verb != "inpaint") {
            options.insert("width".into(), width.into());
            options.insert("height".into(), height.into());
        }
        let has_previews = style.is_streamed && style.partial_images > 0;
        Ok((JobRequest { verb: verb.into(), options, preview_interval: has_previews.into() }, style))
    }
}

/// The error of a model that is not here.
pub(super) fn missing_model(name: &str) -> ApiError {
    let clipped: String = name.chars().take(100).collect();
    ApiError::not_found(format!("model: {clipped:?} is not in the model folders; ask for /v1/models"))
        .at("model")
}

/// The model of a name, or of the only file of that name.
pub(super) fn named(list: &[ModelInfo], name: &str) -> Option<ModelInfo> {
    if let Some(info) = list.iter().find(|info| info.name == name) {
        return Some(info.clone());
    }
    let mut called = list.iter().filter(|info| is_called(info, name));
    called.next().filter(|_| called.next().is_none()).cloned()
}

fn is_called(info: &ModelInfo, name: &str) -> bool {
    let path = Path::new(&info.path_in_folder);
    let has_file = !info.built_in && path.file_name().is_some();
    has_file
        && (path == Path::new(name)
            || path.file_name().is_some_and(|own| own == name)
            || models::stem(path) == name)
}

/// The fields that are options of a job. Other services have other fields, which are ignored.
fn own_options(fields: RequestFields) -> Map<String, Value> {
    let mut options = Map::new();
    for (name, value) in fields.rest() {
        let name = name.replace('_', "-");
        let Some(option) = OPTIONS.iter().find(|option| option.name() == name) else { continue };
        if OWN_FIELDS.contains(&name.as_str()) {
            continue;
        }
        // In a form everything is a text.
        let value = match &value {
            Value::String(text) if text.is_empty() => continue,
            Value::String(_) if option.kind() == JobOptionKind::Switch => {
                truth(&value).map_or(value, Value::Bool)
            }
            Value::String(text) if name == "seed" && text.trim() == "-1" => (-1).into(),
            _ => value,
        };
        options.insert(name, value);
    }
    options
}
