//! A request while it becomes a job: what all images have.

use super::error::refused;
use super::lenient::LenientInt;
use super::names;
use super::request::{WebuiRequest, chosen, is_automatic};
use crate::error::ApiError;
use crate::models::ModelInfo;
use crate::request::MAX_STEPS;
use crate::state::ServerState;
use crate::webui::KeptSettings;
use latent_app::job::SamplerChoice;
use latent_diffusion::MAX_SIDE;
use latent_diffusion::names::Named;
use latent_diffusion::schedule::ScheduleKind;
use serde_json::{Map, Value};

/// What a request asks for, while it becomes a job.
pub(super) struct WebuiJob<'a> {
    pub(super) state: &'a ServerState,
    pub(super) request: &'a WebuiRequest,
    /// The fields as they were sent.
    pub(super) body: &'a Map<String, Value>,
    pub(super) model: ModelInfo,
    pub(super) options: Map<String, Value>,
}

impl WebuiJob<'_> {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.options.insert(name.to_owned(), value.into());
    }

    /// A whole number that is not negative.
    pub(super) fn count(field: &str, value: Option<LenientInt>) -> Result<Option<u64>, ApiError> {
        let read = |value: LenientInt| u64::try_from(value.0).map_err(|_| refused(field, "is negative"));
        value.map(read).transpose()
    }

    /// The prompts.
    pub(super) fn words(&mut self) {
        let request = self.request;
        self.set("prompt", request.prompt.clone().unwrap_or_default());
        if let Some(negative) = request.negative_prompt.as_ref().filter(|negative| !negative.is_empty()) {
            self.set("negative_prompt", negative.clone());
        }
    }

    /// Seed, size, batch, sampler and what it is set to.
    pub(super) fn sampling(&mut self) -> Result<(), ApiError> {
        let request = self.request;
        match request.seed {
            None | Some(LenientInt(-1)) => {}
            Some(LenientInt(seed)) if seed >= 0 => self.set("seed", seed),
            Some(_) => return Err(refused("seed", "is negative; give -1 for a random one")),
        }
        self.variation()?;
        if request.tiling.is_some_and(|tiling| tiling.0) {
            self.set("seamless", "both");
        }
        let whole = [("steps", request.steps), ("width", request.width), ("height", request.height)];
        for (name, value) in whole {
            let Some(value) = Self::count(name, value)? else { continue };
            // Images are brought to that size before the job sees it.
            let max = if name == "steps" { MAX_STEPS } else { MAX_SIDE };
            if !(1..=max as u64).contains(&value) {
                return Err(refused(name, &format!("{value} is not in 1 to {max}")));
            }
            self.set(name, value);
        }
        let numbers = [
            ("cfg_scale", request.cfg_scale, None),
            ("eta", request.eta, None),
            ("s_churn", request.s_churn, Some(0.0)),
            ("s_noise", request.s_noise, Some(1.0)),
        ];
        for (name, value, usual) in numbers {
            if let Some(value) = value.filter(|value| Some(value.0) != usual) {
                self.set(name, value.0);
            }
        }
        self.batch()?;
        self.sampler()
    }

    /// Noise of another seed that is mixed in.
    fn variation(&mut self) -> Result<(), ApiError> {
        let strength = self.request.subseed_strength.map_or(0.0, |strength| strength.0);
        if strength == 0.0 {
            return Ok(());
        }
        if !(0.0..=1.0).contains(&strength) {
            return Err(refused("subseed_strength", &format!("{strength} is not in 0 to 1")));
        }
        self.set("variation_strength", strength);
        match self.request.subseed {
            None | Some(LenientInt(-1)) => {}
            Some(LenientInt(seed)) if seed >= 0 => self.set("variation_seed", seed),
            Some(_) => return Err(refused("subseed", "is negative; give -1 for a random one")),
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<(), ApiError> {
        let size = Self::count("batch_size", self.request.batch_size)?.unwrap_or(1);
        let times = Self::count("n_iter", self.request.n_iter)?.unwrap_or(1);
        if size == 0 || times == 0 {
            return Err(refused(if size == 0 { "batch_size" } else { "n_iter" }, "0 images; 1 is usual"));
        }
        if size.saturating_mul(times) > 1 {
            self.set("batch_count", size.saturating_mul(times));
        }
        if size > 1 {
            self.set("batch_size", size);
        }
        Ok(())
    }

    fn sampler(&mut self) -> Result<(), ApiError> {
        let request = self.request;
        let named = [("sampler_name", &request.sampler_name), ("sampler_index", &request.sampler_index)];
        let named = named.into_iter().find_map(|(field, name)| Some((field, chosen(name.as_deref())?)));
        if let Some((field, name)) = named.filter(|(_, name)| !is_automatic(name)) {
            SamplerChoice::parse(name).map_err(|error| refused(field, &error))?;
            self.set("sampler", name);
        }
        if let Some(name) = chosen(request.scheduler.as_deref()).filter(|name| !is_automatic(name)) {
            let kind = ScheduleKind::parse(name).map_err(|error| refused("scheduler", &error.to_string()))?;
            self.set("scheduler", kind.name());
        }
        Ok(())
    }

    /// The model and what is added to it.
    pub(super) fn files(&mut self, set: &KeptSettings) -> Result<(), ApiError> {
        self.set("model", self.model.name.clone());
        if let Some(vae) = &set.vae {
            self.set("vae", vae.clone());
        }
        if !set.text_encoders.is_empty() {
            self.set("text_encoder", set.text_encoders.clone());
        }
        if let Some(skip) = set.clip_skip {
            self.set("clip_skip", skip);
        }
        if let Some(rng) = &set.rng {
            self.set("rng", rng.clone());
        }
        let request = self.request;
        let start = request.refiner_switch_at.map(|at| at.0);
        // From the end on it draws nothing.
        if let Some(refiner) = chosen(request.refiner_checkpoint.as_deref()).filter(|_| start != Some(1.0)) {
            let refiner = names::model(self.state, "refiner_checkpoint", refiner)?;
            self.set("refiner", refiner.name);
            if let Some(start) = start {
                self.set("refiner_start", start);
            }
        }
        Ok(())
    }

    /// The width and height that are asked for.
    pub(super) fn asked_size(&self) -> (Option<usize>, Option<usize>) {
        let side = |side: Option<LenientInt>| side.and_then(|side| usize::try_from(side.0).ok());
        (side(self.request.width), side(self.request.height))
    }
}
