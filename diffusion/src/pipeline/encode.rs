//! The first stage: prompts to conditioning.

use super::conditioning::{EncodeRequest, PassSteps};
use super::encoded_text::TextEncoders;
use super::guidance::Guidance;
use super::refine::Refiner;
use super::{Conditioning, Pipeline, Settings};
use crate::params::Params;
use crate::prompt::check_bytes;
use crate::setting::Setting;
use crate::stage::LoadedNetwork;
use crate::text::{LanguageEncoder, LayerLoading, PartEncoder, TextPart};
use crate::{Error, Listener};

impl Pipeline {
    /// Encodes prompts, one for all images or one for each, and negative prompts, too. Without negative prompts the model is
    /// guided away from what it was trained to take for no prompt: an empty prompt, or zeros (SDXL). The same holds for an
    /// empty one among several.
    ///
    /// Prompts are written in the webui's language ([`crate::prompt`]). Those that change from step to step do so over the
    /// steps of `settings`; of the other settings the clip skip is used, and by models with a large text encoder what says whether
    /// there is guidance: without any, the negative prompts are not encoded, and sampling with guidance fails. Each different text
    /// is encoded once. An `AND` in a negative prompt is a word.
    ///
    /// # Errors
    /// A prompt that is too long or has too many chunks ([`crate::prompt::MAX_PROMPT_BYTES`]), or is too long for its schedules, a clip skip beyond the layers, steps that the model cannot take,
    /// unreadable weights, a cancelled run.
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Pipeline, Settings, loader::Checkpoint};
    /// # use std::{ops::ControlFlow, path::Path};
    /// # let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
    /// let mut pipeline = Pipeline::open(Checkpoint::open(Path::new("v1-5-pruned.safetensors"))?)?;
    /// let settings = Settings::of(pipeline.model()).with_steps(20).with_seeds(vec![1, 2]);
    /// // The first prompt changes after five steps; the second is composed of two.
    /// let prompts = ["a [sketch:photo:5] of a fox", "a fox :1.2 AND snow, [dawn|dusk] :0.5"];
    /// let conditioning = pipeline.encode(&prompts, &["blurry"], &settings, &mut go_on)?;
    /// let latents = pipeline.sample(&conditioning, &settings, &mut go_on)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encode(
        &mut self,
        prompts: &[&str],
        negative_prompts: &[&str],
        settings: &Settings,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        self.encode_passes(prompts, negative_prompts, settings, 0, listener)
    }

    /// As [`Pipeline::encode`], for a run that is followed by a second pass of `second` steps (the webui's hires fix), which
    /// [`Conditioning::second_pass`] conditions ([`PromptSchedule::of_passes`](crate::prompt::PromptSchedule::of_passes)).
    ///
    /// # Errors
    /// As [`Pipeline::encode`].
    pub fn encode_passes(
        &mut self,
        prompts: &[&str],
        negative_prompts: &[&str],
        settings: &Settings,
        second: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        prompts.iter().try_for_each(|prompt| check_bytes(prompt, Setting::Prompt))?;
        negative_prompts.iter().try_for_each(|prompt| check_bytes(prompt, Setting::NegativePrompt))?;
        let guidance = Guidance::new(self.model.network.takes_guidance(), settings, None);
        let request = EncodeRequest {
            positive: prompts,
            negative: negative_prompts,
            steps: PassSteps(settings.schedule(&self.model)?.steps(), second),
            clip_skip: settings.clip_skip,
            // A large text encoder takes many seconds for each text.
            omits_negative: self.model.language.is_some() && guidance == Guidance::None,
        };
        self.retry_in_f32(listener, |pipeline, listener| {
            pipeline
                .retry_streaming(listener, |pipeline, listener| pipeline.encode_request(&request, listener))
        })
    }

    fn encode_request(
        &mut self,
        request: &EncodeRequest<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        if self.text_encoders.is_empty() {
            let load = |part: &TextPart| {
                let load = |params: &Params<'_>| PartEncoder::load(params, part);
                let weights = self.model.weights.scope(part.scope);
                self.load_network((LoadedNetwork::TextEncoder, weights), &self.device, load, listener)
            };
            self.text_encoders.clip = self.model.text.iter().map(load).collect::<Result<_, _>>()?;
            self.text_encoders.language = self.load_language(listener)?;
            for (index, encoder) in self.text_encoders.clip.iter_mut().enumerate() {
                encoder.learn(self.words.table(index));
            }
        }
        let zero_negative = self.model.zero_negative;
        let encoders = (&self.text_encoders, self.model.text_layout);
        let mut conditioning = Conditioning::encode(encoders, request, zero_negative, &self.words, listener)?;
        if self.refiner.is_some() {
            self.unload_text_encoder();
        }
        if let Some(Refiner { pipeline, .. }) = &mut self.refiner {
            let refiner = pipeline.encode_request(request, listener)?;
            pipeline.unload_text_encoder();
            conditioning.refiner = Some(Box::new(refiner));
        }
        Ok(conditioning)
    }

    /// The large text encoder of a model that has one.
    fn load_language(&self, listener: &mut Listener<'_>) -> Result<Option<LanguageEncoder>, Error> {
        let Some(language) = &self.model.language else { return Ok(None) };
        let weights = self.model.weights.scope(language.role.scope());
        let streams = self.streams(&weights, &self.device);
        let loading = if streams { LayerLoading::OneByOne } else { LayerLoading::AllAtOnce };
        let load = |params: &Params<'_>| LanguageEncoder::load(params, language, loading);
        self.load_network((LoadedNetwork::TextEncoder, weights), &self.device, load, listener).map(Some)
    }

    /// Drops the text encoders and the memory of its stage.
    pub fn unload_text_encoder(&mut self) {
        self.text_encoders = TextEncoders::default();
        self.device.trim();
    }
}
