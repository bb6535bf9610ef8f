//! The metadata of an image that a job draws.

use crate::hash::{self, ContentHash};
use crate::metadata::OutputTexts;
use latent_diffusion::names::Named;
use latent_diffusion::rng::RngKind;
use latent_diffusion::schedule::Churn;
use latent_diffusion::tensor::{Device, Precision};
use latent_diffusion::{Image, Seamless, Settings};
use latent_kernels::Isa;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The key that says in which order the weights of a prompt's tags are. Versions that had them in the other order did not write it.
pub(crate) const TAG_ORDER: &str = "tag_order";

/// A setting that only some jobs have, as metadata record it.
#[derive(Clone, Debug)]
pub(super) struct RecordedSetting {
    /// As the webui names it.
    pub(super) label: &'static str,
    /// As the option is named, with `_`.
    pub(super) key: &'static str,
    pub(super) value: Value,
}

impl RecordedSetting {
    pub(super) fn new(label: &'static str, key: &'static str, value: impl Into<Value>) -> RecordedSetting {
        RecordedSetting { label, key, value: value.into() }
    }

    /// How much may change.
    pub(super) fn strength(value: f64) -> RecordedSetting {
        RecordedSetting::new("Denoising strength", "strength", value)
    }

    /// The softness of a mask's edge.
    pub(super) fn mask_blur(value: f64) -> RecordedSetting {
        RecordedSetting::new("Mask blur", "mask_blur", value)
    }

    /// As the webui writes it.
    fn text(&self) -> String {
        if let Value::Object(parts) = &self.value {
            // A comma ends a setting, except in quotes.
            let text = parts.iter().map(|(key, value)| format!("{key}: {}", unquoted(value)));
            return format!(", {}: {}", self.label, Value::from(text.collect::<Vec<_>>().join(", ")));
        }
        let value = unquoted(&self.value);
        format!(", {}: {}", self.label, value.strip_suffix(".0").unwrap_or(&value))
    }
}

/// A value without the quotes of a text.
fn unquoted(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How an image was made.
pub(super) struct ImageRecord<'a> {
    /// The name of the task.
    pub(super) command: &'static str,
    pub(super) settings: &'a Settings,
    /// The prompt and the negative prompt.
    pub(super) prompts: [&'a str; 2],
    /// What they were made from, where that differs.
    pub(super) templates: [Option<&'a str>; 2],
    /// The model's name.
    pub(super) model: &'a str,
    /// Its hash.
    pub(super) hash: Option<&'a ContentHash>,
    pub(super) seed: u64,
    /// The variation seed, where one counts.
    pub(super) variation: Option<u64>,
    pub(super) seamless: Seamless,
    /// Width and height of the first pass, where there are two, or of what was drawn before it was enlarged.
    pub(super) first_size: Option<(usize, usize)>,
    pub(super) recorded: &'a [RecordedSetting],
    /// Options as they were given, and the files among them.
    pub(super) options: &'a Map<String, Value>,
    pub(super) files: &'a Value,
    /// What drew it.
    pub(super) device: &'a Device,
    /// What the CPU multiplied in, if that was the device.
    pub(super) precision: Precision,
}

impl ImageRecord<'_> {
    /// The texts of the image's file.
    pub(super) fn texts(&self, image: &Image) -> OutputTexts {
        let mut json = self.json(image);
        for (key, template) in ["prompt_template", "negative_prompt_template"].iter().zip(self.templates) {
            if let Some(template) = template {
                json[*key] = template.into();
            }
        }
        [("parameters", self.parameters(image)), ("latent", json.to_string())]
    }

    /// The webui's text, which every reader of such images knows.
    fn parameters(&self, image: &Image) -> String {
        let Settings { steps, guidance, sampler, schedule, clip_skip, rng, .. } = self.settings;
        let [prompt, negative_prompt] = self.prompts;
        let mut text = prompt.to_owned();
        if !negative_prompt.is_empty() {
            let _ = write!(text, "\nNegative prompt: {negative_prompt}");
        }
        let (width, height) = self.size(image);
        let schedule = if self.settings.sigmas.is_some() { "Custom" } else { schedule.label() };
        let _ = write!(text, "\nSteps: {steps}, Sampler: {}, Schedule type: {schedule}", sampler.label());
        text.push_str(&sampler_parameters(self.settings));
        let _ = write!(text, ", CFG scale: {guidance}, Seed: {}, Size: {width}x{height}", self.seed);
        let strength = self.settings.variation_strength;
        if let Some(seed) = self.variation.filter(|_| strength > 0.0) {
            let _ = write!(text, ", Variation seed: {seed}, Variation seed strength: {strength}");
        }
        if self.seamless != Seamless::Off {
            let axes = if self.seamless == Seamless::Both { "True" } else { self.seamless.name() };
            let _ = write!(text, ", Tiling: {axes}");
        }
        text.push_str(&guidance_parameters(self.settings));
        if self.settings.guidance_end < 1.0 {
            let _ = write!(text, ", CFG end: {}", self.settings.guidance_end);
        }
        if self.settings.cache_interval > 1 {
            let _ = write!(text, ", DeepCache: {}", self.settings.cache_interval);
        }
        if self.settings.token_merging > 0.0 {
            let _ = write!(text, ", Token merging ratio: {}", self.settings.token_merging);
        }
        text.extend(self.recorded.iter().map(RecordedSetting::text));
        if let Some(hash) = self.file_hash().map(hash::short) {
            let _ = write!(text, ", Model hash: {hash}");
        }
        let _ = write!(text, ", Model: {}", self.model);
        if *clip_skip > 1 {
            let _ = write!(text, ", Clip skip: {clip_skip}");
        }
        let _ = write!(text, ", RNG: {}, Version: latent {}", rng_label(*rng), env!("CARGO_PKG_VERSION"));
        text
    }

    /// The SHA-256 of a model that is one file: other programs know no hash of folders.
    fn file_hash(&self) -> Option<&str> {
        self.hash.and_then(ContentHash::of_file)
    }

    /// The size to ask for.
    fn size(&self, image: &Image) -> (usize, usize) {
        self.first_size.unwrap_or((image.width, image.height))
    }

    /// Everything needed to draw the image again.
    fn json(&self, image: &Image) -> Value {
        let settings = self.settings;
        let (width, height) = self.size(image);
        let mut json = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "command": self.command,
            "prompt": self.prompts[0],
            "negative_prompt": self.prompts[1],
            "width": width,
            "height": height,
            "steps": settings.steps,
            "cfg_scale": settings.guidance,
            "cfg_rescale": settings.guidance_rescale,
            "cfg_end": settings.guidance_end,
            "cache": settings.cache_interval,
            "tome": settings.token_merging,
            "seed": self.seed,
            "sampler": settings.sampler.name(),
            "scheduler": settings.schedule.name(),
            "compat": settings.convention().name(),
            "sampling": sampler_json(settings),
            "rng": settings.rng.name(),
            "clip_skip": settings.clip_skip,
            "model": self.model,
            "model_hash": self.file_hash().map(hash::short),
            "model_sha256": self.file_hash(),
            "flags": self.options,
            "files": self.files,
            "isa": Isa::best().name(),
            "device": device_name(self.device, self.precision),
        });
        if self.prompts.iter().any(|prompt| prompt.contains('<')) {
            json[TAG_ORDER] = "te:unet".into();
        }
        if let Some(seed) = self.variation {
            json["variation_seed"] = seed.into();
            json["variation_strength"] = settings.variation_strength.into();
        }
        if self.seamless != Seamless::Off {
            json["seamless"] = self.seamless.name().into();
        }
        record_guidance(settings, &mut json);
        if let Some(hash) = self.hash.and_then(ContentHash::of_folder) {
            json["model_folder_sha256"] = hash.into();
        }
        for setting in self.recorded {
            json[setting.key] = setting.value.clone();
        }
        json
    }
}

/// Guidance beside the cfg scale, as the webui writes it: Forge has a name for the scale that a distilled network takes.
fn guidance_parameters(settings: &Settings) -> String {
    let mut text = String::new();
    if let Some(scale) = settings.distilled_guidance {
        let _ = write!(text, ", Distilled CFG Scale: {scale}");
    }
    if settings.pag_scale != 0.0 {
        let _ = write!(text, ", PAG scale: {}", settings.pag_scale);
    }
    if settings.slg_scale != 0.0 {
        let Settings { slg_scale, slg_start, slg_end, .. } = settings;
        let _ = write!(text, ", SLG scale: {slg_scale}, SLG start: {slg_start}, SLG end: {slg_end}");
        if !settings.slg_layers.is_empty() {
            let layers: Vec<_> = settings.slg_layers.iter().map(usize::to_string).collect();
            // A comma ends a setting.
            let _ = write!(text, ", SLG layers: {}", layers.join(" "));
        }
    }
    text
}

/// The same for our own text.
fn record_guidance(settings: &Settings, json: &mut Value) {
    if let Some(scale) = settings.distilled_guidance {
        json["guidance"] = scale.into();
    }
    if settings.pag_scale != 0.0 {
        json["pag_scale"] = settings.pag_scale.into();
    }
    if settings.slg_scale != 0.0 {
        json["slg_scale"] = settings.slg_scale.into();
        json["slg_layers"] = settings.slg_layers.clone().into();
        json["slg_start"] = settings.slg_start.into();
        json["slg_end"] = settings.slg_end.into();
    }
}

/// What the webui calls a generator.
fn rng_label(rng: RngKind) -> &'static str {
    match rng {
        RngKind::Cpu => "CPU",
        RngKind::Cuda => "NV",
    }
}

/// A device as metadata record it: `cpu` with the precision where that is not f32, or a GPU's name and the dtype that it stores.
fn device_name(device: &Device, precision: Precision) -> String {
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu { gpu, dtype } => format!("{} {}", gpu.name(), dtype),
        _ if precision == Precision::F32 => "cpu".to_owned(),
        _ => format!("cpu {precision}"),
    }
}

/// The sampler's own settings that differ from the usual, as the webui writes them.
fn sampler_parameters(settings: &Settings) -> String {
    let mut text = String::new();
    let Churn { amount, noise } = settings.churn;
    let changed = [
        ("Eta", settings.eta),
        ("Sigma churn", Some(amount).filter(|amount| *amount != 0.0)),
        ("Sigma noise", Some(noise).filter(|noise| *noise != 1.0)),
        ("Schedule rho", settings.rho),
        ("Shift", settings.shift),
    ];
    for (name, value) in changed {
        if let Some(value) = value {
            let _ = write!(text, ", {name}: {value}");
        }
    }
    text
}

/// The same for our own text, where nothing is left out.
fn sampler_json(settings: &Settings) -> Value {
    json!({
        "eta": settings.eta,
        "s_churn": settings.churn.amount,
        "s_noise": settings.churn.noise,
        "rho": settings.rho,
        "shift": settings.shift,
        "sigmas": settings.sigmas,
    })
}
