//! Requests of clients as jobs: options by name, files by the names of the catalog, images in the request or by their names
//! in the gallery. No path and no address that a client gives is ever opened.

mod files;
mod images;
mod options;

use crate::error::ApiError;
use crate::gallery::Gallery;
use crate::models::{BUILT_IN, ModelCatalog};
use crate::queue::{ApiName, NewJob};
use crate::work::Work;
#[cfg(feature = "nats")]
pub(crate) use files::check_axis;
use images::Images;
pub(crate) use images::inline as inline_image;
use latent_app::grid::{GridAxis, JobGrid};
use latent_app::job::{InlineImage, JobTask, random_seed};
use latent_app::{Job, models, upscale};
use options::RequestOptions;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use utoipa::ToSchema;

/// What can be asked for.
pub const VERBS: [&str; 8] =
    ["txt2img", "img2img", "inpaint", "outpaint", "edit", "upscale", "grid", "replay"];

/// Maximum number of steps of a run.
pub const MAX_STEPS: usize = 1000;

/// A job that a client wants.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// `txt2img`, `img2img`, `inpaint`, `outpaint`, `edit`, `upscale`, `grid` or `replay`.
    #[schema(example = "txt2img")]
    pub verb: String,
    /// The options of the command line by their long names, with `_` or `-`: texts, numbers, truth values, lists. Files are
    /// names of models; images are `{"image": NAME}` of the gallery, `{"base64": ..., "name": ...}` or a `data:` URL.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"prompt": "a red apple", "steps": 20}))]
    pub options: Map<String, Value>,
    /// Steps from one preview to the next; none for 0.
    #[serde(default)]
    pub preview_interval: u32,
}

/// Makes jobs of requests.
#[derive(Debug)]
pub struct RequestReader {
    /// Where models are found.
    pub models: Arc<ModelCatalog>,
    /// Where images are found.
    pub gallery: Arc<Gallery>,
    /// The folder of LoRAs that prompts name.
    pub lora_dir: Option<PathBuf>,
    /// The folder of textual inversions that prompts name.
    pub embd_dir: Option<PathBuf>,
    /// The folder of wildcards.
    pub wildcards: Option<PathBuf>,
    /// Name of the model of jobs that name none.
    pub default_model: Option<String>,
    /// Names of the devices.
    pub devices: Vec<String>,
}

impl RequestReader {
    /// The job of a request of a client.
    ///
    /// # Errors
    /// Whatever can be said without opening the model: unknown options, values that cannot be read, names of no file.
    pub fn read(&self, request: JobRequest, api: ApiName, client: &str) -> Result<NewJob, ApiError> {
        let JobRequest { verb, options, preview_interval } = request;
        let mut options = RequestOptions::new(options)?;
        let device = self.device(&mut options)?;
        let images = Images { gallery: &self.gallery };
        let work = match verb.as_str() {
            "upscale" => self.upscale(&mut options, images)?,
            "replay" => {
                let force = options.take_switch("force")?;
                Work::Replay { image: images.of(&options.take_needed("image")?)?, force }
            }
            "grid" => {
                let axes = [self.axis(&mut options, "x")?, self.axis(&mut options, "y")?];
                let job = self.job(JobTask::default(), &mut options, images)?;
                let mut job = self.with_seed(job);
                if axes.iter().flatten().any(|axis| axis.option == "seed") {
                    job.sampling.seed = None;
                }
                let grid = JobGrid::new(job.clone(), axes.clone())?;
                (0..grid.cells()).try_for_each(|cell| grid.job(cell).map(drop))?;
                Work::Grid { job: Box::new(job), axes }
            }
            verb => {
                let task = JobTask::named(verb).ok_or_else(|| unknown_verb(verb))?;
                let job = self.with_seed(self.job(task, &mut options, images)?);
                job.check()?;
                Work::Draw { job: Box::new(job) }
            }
        };
        options.finish(&verb)?;
        let (prompt, model, seed) = labels(&work);
        let client = client.to_owned();
        Ok(NewJob { verb, work, prompt, model, seed, api, client, device, preview_interval })
    }

    /// The image of a value, as options have it.
    ///
    /// # Errors
    /// A path, an address, an image that is not in the gallery, or damaged base64.
    pub fn image(&self, value: &Value) -> Result<InlineImage, ApiError> {
        Images { gallery: &self.gallery }.of(value)
    }

    /// A job with a seed, so that it draws the same if it runs once more.
    fn with_seed(&self, mut job: Job) -> Job {
        job.sampling.seed = job.sampling.seed.or_else(|| Some(random_seed()));
        job
    }

    fn device(&self, options: &mut RequestOptions) -> Result<Option<String>, ApiError> {
        let Some(value) = options.take("device") else { return Ok(None) };
        let name = value.as_str().unwrap_or_default();
        if name == "auto" {
            return Ok(None);
        }
        if self.devices.iter().any(|own| own == name) {
            return Ok(Some(name.to_owned()));
        }
        let line = format!("device: this server has {}", self.devices.join(", "));
        Err(ApiError::bad_input(line).at("device"))
    }

    /// The job of a task with its options, files and folders.
    fn job(&self, task: JobTask, options: &mut RequestOptions, images: Images<'_>) -> Result<Job, ApiError> {
        let mut job = Job::new(task, "");
        options.apply(&mut job, &self.models, images)?;
        if job.model.model.is_none() && job.model.parts.unet.is_none() {
            let default = self.default_model.as_deref().unwrap_or(BUILT_IN);
            job.model.model = self.models.find(default)?;
        }
        job.wildcards.clone_from(&self.wildcards);
        job.model.embeddings.folder.clone_from(&self.embd_dir);
        job.model.lora_dir = files::lora_dir(&job, &self.models, self.lora_dir.as_deref())?;
        Ok(job)
    }

    fn upscale(&self, options: &mut RequestOptions, images: Images<'_>) -> Result<Work, ApiError> {
        let image = images.of(&options.take_needed("image")?)?;
        let name = match options.take("upscale-model").or_else(|| options.take("model")) {
            Some(value) => Some(options::text("model", &value)?),
            None => None,
        };
        let model = match name.as_deref() {
            None | Some("") => None,
            Some("lanczos" | "Lanczos") => Some(PathBuf::from("lanczos")),
            Some(name) if upscale::built_in() == Some(name) => Some(name.into()),
            Some(name) => {
                let found = self.models.find(name).map_err(|error| error.at("model"))?;
                Some(found.ok_or_else(|| ApiError::bad_input("model: is not an upscaler").at("model"))?)
            }
        };
        let scale = options.take_number("scale")?;
        if let Some(scale) = scale {
            upscale::scaled("scale", (1, 1), scale)?;
        }
        Ok(Work::Upscale { image, model, scale })
    }

    /// A side of a grid: `{"option": ..., "values": [...]}`, or a text as on the command line.
    fn axis(&self, options: &mut RequestOptions, name: &str) -> Result<Option<GridAxis>, ApiError> {
        let Some(value) = options.take(name) else { return Ok(None) };
        let bad = |line: String| ApiError::bad_input(format!("{name}: {line}")).at(name);
        let mut axis = match &value {
            Value::String(text) => text.parse::<GridAxis>().map_err(bad)?,
            Value::Object(object) => {
                let text = |value: &Value| options::text(name, value);
                let option = object.get("option").map(text).transpose()?.unwrap_or_default();
                let values = object.get("values").and_then(Value::as_array);
                let values = values.ok_or_else(|| bad("give the option and a list of values".into()))?;
                let values = values.iter().map(text).collect::<Result<_, _>>()?;
                GridAxis { option: option.replace('_', "-"), values }
            }
            _ => return Err(bad("give the option and a list of values".into())),
        };
        files::resolve_axis(&mut axis, &self.models).map_err(|error| error.at(name))?;
        Ok(Some(axis))
    }
}

fn unknown_verb(verb: &str) -> ApiError {
    let clipped: String = verb.chars().take(40).collect();
    ApiError::bad_input(format!("verb: {clipped:?} is not one of {}", VERBS.join(", "))).at("verb")
}

/// Prompt, model and seed of a job, for lists.
fn labels(work: &Work) -> (String, String, Option<u64>) {
    let name = |path: Option<&Path>| path.map_or_else(|| BUILT_IN.to_owned(), models::stem);
    match work {
        Work::Draw { job } | Work::Grid { job, .. } => {
            let model = job.model.model.as_deref().or(job.model.parts.unet.as_deref());
            (job.prompt.clone(), name(model), job.sampling.seed)
        }
        Work::Upscale { model, .. } | Work::UpscalePart { model, .. } => {
            let usual = || upscale::built_in().unwrap_or("lanczos").to_owned();
            (String::new(), model.as_deref().map_or_else(usual, models::stem), None)
        }
        Work::Replay { .. } => (String::new(), String::new(), None),
    }
}
