//! What an image's file tells of how it was made.

use super::Fact;
use crate::args::sampler_numbers as samplers;
use crate::hash;
use latent_app::metadata::OutputTexts as Texts;
use latent_diffusion::names::Named;
use latent_diffusion::rng::RngKind;
use latent_diffusion::tensor::Device;
use latent_diffusion::{Image, Settings};
use latent_kernels::Isa;
use serde_json::{Map, Value, json};

/// What the webui calls a generator.
fn rng_label(rng: RngKind) -> &'static str {
    match rng {
        RngKind::Cpu => "CPU",
        RngKind::Cuda => "NV",
    }
}

/// A device as an image's file tells it: `cpu`, or a GPU's name and the numbers that it stores.
fn device_name(device: &Device) -> String {
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu { gpu, dtype } => format!("{} {}", gpu.name(), dtype),
        _ => "cpu".to_owned(),
    }
}

/// How an image was made.
pub(super) struct About<'a> {
    /// The command.
    pub(super) command: &'static str,
    pub(super) settings: &'a Settings,
    pub(super) prompt: &'a str,
    pub(super) negative_prompt: &'a str,
    /// The model's name.
    pub(super) model: &'a str,
    /// Its SHA-256.
    pub(super) hash: Option<&'a str>,
    pub(super) seed: u64,
    /// Width and height of the first pass, where there are two.
    pub(super) drawn: Option<(usize, usize)>,
    /// The command's own settings.
    pub(super) facts: &'a [Fact],
    /// Flags as they were given, and the files among them.
    pub(super) flags: &'a Map<String, Value>,
    pub(super) files: &'a Value,
    /// What drew it.
    pub(super) device: &'a Device,
}

impl About<'_> {
    /// All that an image's file tells; `more` adds to the program's own.
    pub(super) fn texts(&self, image: &Image, more: impl FnOnce(Value) -> Value) -> Texts {
        [("parameters", self.parameters(image)), ("latent", more(self.json(image)).to_string())]
    }

    /// The webui's text, which every reader of such images knows.
    fn parameters(&self, image: &Image) -> String {
        let Settings { steps, guidance, sampler, schedule, clip_skip, rng, .. } = self.settings;
        let mut text = self.prompt.to_owned();
        if !self.negative_prompt.is_empty() {
            text.push_str(&format!("\nNegative prompt: {}", self.negative_prompt));
        }
        let (width, height) = self.size(image);
        text.push_str(&format!(
            "\nSteps: {steps}, Sampler: {}, Schedule type: {}",
            sampler.label(),
            if self.settings.sigmas.is_some() { "Custom" } else { schedule.label() }
        ));
        text.push_str(&samplers::parameters(self.settings));
        text.push_str(&format!(", CFG scale: {guidance}, Seed: {}, Size: {width}x{height}", self.seed));
        if self.settings.guidance_end < 1.0 {
            text.push_str(&format!(", CFG end: {}", self.settings.guidance_end));
        }
        if self.settings.cache_interval > 1 {
            text.push_str(&format!(", DeepCache: {}", self.settings.cache_interval));
        }
        text.extend(self.facts.iter().map(Fact::text));
        if let Some(hash) = self.hash.map(hash::short) {
            text.push_str(&format!(", Model hash: {hash}"));
        }
        text.push_str(&format!(", Model: {}", self.model));
        if *clip_skip > 1 {
            text.push_str(&format!(", Clip skip: {clip_skip}"));
        }
        text.push_str(&format!(", RNG: {}, Version: latent {}", rng_label(*rng), env!("CARGO_PKG_VERSION")));
        text
    }

    /// The size to ask for.
    fn size(&self, image: &Image) -> (usize, usize) {
        self.drawn.unwrap_or((image.width, image.height))
    }

    /// Everything needed to draw the image again.
    fn json(&self, image: &Image) -> serde_json::Value {
        let settings = self.settings;
        let (width, height) = self.size(image);
        let mut json = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "command": self.command,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "width": width,
            "height": height,
            "steps": settings.steps,
            "cfg_scale": settings.guidance,
            "cfg_rescale": settings.guidance_rescale,
            "cfg_end": settings.guidance_end,
            "cache": settings.cache_interval,
            "seed": self.seed,
            "sampler": settings.sampler.name(),
            "scheduler": settings.schedule.name(),
            "compat": settings.convention().name(),
            "sampling": samplers::json(settings),
            "rng": settings.rng.name(),
            "clip_skip": settings.clip_skip,
            "model": self.model,
            "model_hash": self.hash.map(hash::short),
            "model_sha256": self.hash,
            "flags": self.flags,
            "files": self.files,
            "isa": Isa::best().name(),
            "device": device_name(self.device),
        });
        for fact in self.facts {
            json[fact.key] = fact.value.clone();
        }
        json
    }
}
