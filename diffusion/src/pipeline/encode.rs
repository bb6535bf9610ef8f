//! The first stage: prompts to conditioning.

use super::refine::Refiner;
use super::{Conditioning, Listener, Pipeline};
use crate::Error;
use crate::params::Params;
use crate::text::{PartEncoder, TextPart};

impl Pipeline {
    /// Encodes prompts, one for all pictures or one for each, and as many negative ones. Without negative ones the model is
    /// steered away from what it was trained to take for nothing: an empty prompt, or zeros (SDXL).
    ///
    /// # Errors
    /// A clip skip beyond the layers, unreadable weights, a cancelled run.
    pub fn encode(
        &mut self,
        prompts: &[&str],
        negative_prompts: &[&str],
        clip_skip: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        if self.text_encoders.is_empty() {
            let load = |part: &TextPart| {
                let load = |params: &Params<'_>| PartEncoder::load(params, part);
                self.load_part("text encoder", part.scope, &self.device, load, listener)
            };
            self.text_encoders = self.model.text.iter().map(load).collect::<Result<_, _>>()?;
            for (index, encoder) in self.text_encoders.iter_mut().enumerate() {
                encoder.learn(self.words.table(index));
            }
        }
        let zero_negative = self.model.zero_negative;
        let encoders = &self.text_encoders;
        let words = &self.words;
        let mut conditioning =
            Conditioning::encode(encoders, prompts, negative_prompts, clip_skip, zero_negative, words)?;
        if self.refiner.is_some() {
            self.unload_text_encoder();
        }
        if let Some(Refiner { pipeline, .. }) = &mut self.refiner {
            let refiner = pipeline.encode(prompts, negative_prompts, clip_skip, listener)?;
            pipeline.unload_text_encoder();
            conditioning.refiner = Some(Box::new(refiner));
        }
        Ok(conditioning)
    }

    /// Drops the text encoders and the memory of its stage.
    pub fn unload_text_encoder(&mut self) {
        self.text_encoders.clear();
        self.device.trim();
    }
}
