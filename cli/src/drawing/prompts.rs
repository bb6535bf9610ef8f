//! The prompts of a command's images: one pair for all, or with wildcards one for each.

use super::TAGGED;
use crate::args::ModelArgs;
use crate::words::WordsArgs;
use crate::{lora, words as learned};
use latent_app::AppError;
use latent_diffusion::lora::{Tag, take_tags};
use latent_diffusion::prompt::{PromptSchedule, Wildcards, subprompts};
use latent_diffusion::{Conditioning, Error, Listener, Pipeline, Settings};
use serde_json::Value;
use std::ops::Range;
use std::path::PathBuf;

/// Images of which the prompts are encoded at once.
const AT_ONCE: usize = 64;

/// A prompt and its negative prompt.
type Pair = [String; 2];

/// The prompts of all images.
pub(super) struct Prompts<'a> {
    templates: [&'a str; 2],
    /// As the images' files tell them: one, or one for each image.
    told: Vec<Pair>,
    /// The same as they are encoded, without LoRAs.
    words: Vec<Pair>,
    /// The LoRAs that they name.
    tags: Vec<Tag>,
}

impl<'a> Prompts<'a> {
    /// Draws what wildcards become for each seed.
    pub(super) fn resolve(
        args: &WordsArgs,
        templates: [&'a str; 2],
        seeds: &[u64],
    ) -> Result<Prompts<'a>, AppError> {
        let told = match &args.wildcards {
            None => vec![templates.map(str::to_owned)],
            Some(folder) => {
                let mut wildcards = Wildcards::open(folder)?;
                seeds.iter().map(|seed| wildcards.resolve(templates, *seed)).collect::<Result<_, _>>()?
            }
        };
        let taken = |[prompt, negative]: &Pair| -> Result<(Pair, Vec<Tag>), Error> {
            let ((prompt, mut tags), (negative, more)) = (take_tags(prompt)?, take_tags(negative)?);
            tags.extend(more);
            Ok(([prompt, negative], tags))
        };
        let (words, tags): (Vec<_>, Vec<_>) =
            told.iter().map(taken).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        if tags.iter().any(|own| *own != tags[0]) {
            return Err(AppError::BadInput(
                "wildcards: two of the images would get different LoRAs; name LoRAs outside of wildcards, or draw one \
                 image at a time"
                    .into(),
            ));
        }
        Ok(Prompts { templates, told, words, tags: tags.into_iter().next().unwrap_or_default() })
    }

    /// All that decides which files they need: LoRAs, and texts that may name learned words.
    pub(super) fn files(&self, args: &WordsArgs) -> String {
        format!("{:?}", (&self.tags, (!args.is_empty()).then_some(&self.words)))
    }

    /// Refuses prompts that cannot be drawn in so many steps of a first and a second pass.
    pub(super) fn check(&self, first: usize, second: usize) -> Result<(), AppError> {
        for [prompt, negative] in &self.words {
            for part in subprompts(prompt)? {
                PromptSchedule::of_passes(part.text, first, second)?;
            }
            PromptSchedule::of_passes(negative, first, second)?;
        }
        Ok(())
    }

    /// Gives a pipeline the LoRAs and the learned words.
    pub(super) fn open(&self, args: &ModelArgs, pipeline: &mut Pipeline) -> Result<(), AppError> {
        let [prompt, negative] = &self.told[0];
        lora::apply(args, [prompt, negative], pipeline)?;
        learned::apply(&args.words, &self.texts(), pipeline)
    }

    /// The files that they name, by the flag that they stand for.
    pub(super) fn used(&self, args: &ModelArgs) -> Result<Vec<(String, PathBuf)>, AppError> {
        let [prompt, negative] = &self.told[0];
        let tagged =
            lora::tagged(args, &[prompt, negative])?.into_iter().map(|path| (TAGGED.to_owned(), path));
        let named = learned::named_files(&args.words, &self.texts())?;
        Ok(tagged.chain(named.into_iter().map(|path| ("embedding".to_owned(), path))).collect())
    }

    /// All different texts.
    fn texts(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.words.iter().flatten().map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the file of an image tells.
    pub(super) fn told(&self, image: usize) -> [&str; 2] {
        let pair = if self.told.len() == 1 { &self.told[0] } else { &self.told[image] };
        [&pair[0], &pair[1]]
    }

    /// Adds the templates to what an image's file tells, where they are others.
    pub(super) fn tell_templates(&self, mut json: Value, image: usize) -> Value {
        let keys = ["prompt_template", "negative_prompt_template"];
        for ((key, template), told) in keys.into_iter().zip(self.templates).zip(self.told(image)) {
            if template != told {
                json[key] = template.into();
            }
        }
        json
    }

    /// The images whose prompts are encoded together with those of a batch that begins with `image`: all of them if
    /// they have the same.
    pub(super) fn block(&self, image: usize, batch: usize) -> Range<usize> {
        if self.words.len() == 1 {
            return 0..1;
        }
        let block = (AT_ONCE / batch).max(1) * batch;
        let start = image - image % block;
        start..(start + block).min(self.words.len())
    }

    /// Encodes the prompts of some images, for so many steps of a second pass.
    pub(super) fn encode(
        &self,
        images: Range<usize>,
        pipeline: &mut Pipeline,
        settings: &Settings,
        second: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        let side = |side: usize| -> Vec<&str> {
            self.words[images.clone()].iter().map(|pair| pair[side].as_str()).collect()
        };
        let (prompts, mut negative) = (side(0), side(1));
        // As without a negative prompt.
        if negative.iter().all(|text| text.is_empty()) {
            negative.clear();
        }
        let conditioning = pipeline.encode_passes(&prompts, &negative, settings, second, listener)?;
        pipeline.unload_text_encoder();
        Ok(conditioning)
    }
}
