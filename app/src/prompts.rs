//! The prompts of a job, read once: wildcards, LoRA tags, and textual inversions of a folder.

use crate::AppError;
use crate::job::Job;
use latent_diffusion::embeddings::LearnedEmbeddings;
use latent_diffusion::lora::{Tag, other_tags, take_tags};
use latent_diffusion::prompt::{PromptSchedule, Wildcards, encode_bounded, subprompts};
use latent_diffusion::tokenizer::END;
use latent_diffusion::{Conditioning, Error, Listener, Pipeline, Settings};
use std::ops::Range;
use std::path::PathBuf;

/// Images whose prompts are encoded at once.
const MAX_ENCODED: usize = 64;

/// Refuses texts of too many chunks, whatever textual inversions make of them.
fn check_texts(schedule: &PromptSchedule) -> Result<(), Error> {
    let none = LearnedEmbeddings::default();
    schedule.texts().iter().try_for_each(|text| encode_bounded(text, END, &none).map(drop))
}

/// One line for each tag of another kind than LoRAs', which is left out of a prompt.
pub(crate) fn left_out(prompt: &str) -> Vec<String> {
    let line =
        |tag: String| format!("{tag}: is a tag of an unknown kind and is left out; lora and lyco are known");
    other_tags(prompt).into_iter().map(line).collect()
}

/// A prompt and its negative prompt.
pub(crate) type PromptPair = [String; 2];

/// The prompts of all images of a job: one pair for all, or with wildcards one for each.
#[derive(Debug)]
pub(crate) struct ResolvedPrompts {
    /// As they were given.
    templates: PromptPair,
    /// As the metadata record them: with what wildcards became, and with LoRA tags.
    drawn: Vec<PromptPair>,
    /// As they are encoded: without LoRA tags.
    bare: Vec<PromptPair>,
    /// The LoRAs that they name, and their files.
    pub(crate) loras: Vec<(Tag, PathBuf)>,
    /// The textual inversions of the job's folder, or of the usual ones, that they name.
    pub(crate) embeddings: Vec<PathBuf>,
}

impl ResolvedPrompts {
    /// Draws what wildcards become for each seed, and finds the files that the prompts name.
    pub(crate) fn of(job: &Job, seeds: &[u64]) -> Result<ResolvedPrompts, AppError> {
        let templates = [job.prompt.clone(), job.negative_prompt.clone()];
        let drawn = match &job.wildcards {
            None => vec![templates.clone()],
            Some(folder) => {
                let mut wildcards = Wildcards::open(folder)?;
                let texts = templates.each_ref().map(String::as_str);
                seeds.iter().map(|seed| wildcards.resolve(texts, *seed)).collect::<Result<_, _>>()?
            }
        };
        let taken = |[prompt, negative]: &PromptPair| -> Result<(PromptPair, Vec<Tag>), Error> {
            let ((prompt, mut tags), (negative, more)) = (take_tags(prompt)?, take_tags(negative)?);
            tags.extend(more);
            Ok(([prompt, negative], tags))
        };
        let (bare, tags): (Vec<_>, Vec<_>) =
            drawn.iter().map(taken).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        if tags.iter().any(|own| *own != tags[0]) {
            return Err(AppError::BadInput(
                "wildcards: two of the images would get different LoRAs; name LoRAs outside of wildcards, or draw one \
                 image at a time"
                    .into(),
            ));
        }
        let find = |tag: Tag| job.model.lora_places().tagged(&tag).map(|path| (tag, path));
        let loras = tags.into_iter().next().unwrap_or_default().into_iter().map(find);
        let mut prompts = ResolvedPrompts {
            loras: loras.collect::<Result<_, _>>()?,
            embeddings: Vec::new(),
            templates,
            drawn,
            bare,
        };
        let named = job.model.embeddings.named(&prompts.texts(), job.model.models_dir.as_deref())?;
        prompts.embeddings = named.into_iter().map(|(_, path)| path).collect();
        Ok(prompts)
    }

    /// Refuses prompts that cannot be drawn in so many steps of a first and a second pass.
    pub(crate) fn check(&self, first: usize, second: usize) -> Result<(), AppError> {
        for [prompt, negative] in &self.bare {
            for part in subprompts(prompt)? {
                check_texts(&PromptSchedule::of_passes(part.text, first, second)?)?;
            }
            check_texts(&PromptSchedule::of_passes(negative, first, second)?)?;
        }
        Ok(())
    }

    /// One line for each tag of another kind than LoRAs', which is left out.
    pub(crate) fn other_tags(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.drawn.iter().flatten().flat_map(|text| left_out(text)).collect();
        lines.sort();
        lines.dedup();
        lines
    }

    /// All different texts without LoRA tags, sorted.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.bare.iter().flatten().map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The prompt and the negative prompt of an image, as its metadata record them.
    pub(crate) fn drawn(&self, image: usize) -> [&str; 2] {
        let pair = if self.drawn.len() == 1 { &self.drawn[0] } else { &self.drawn[image] };
        pair.each_ref().map(String::as_str)
    }

    /// The templates of an image's prompt and negative prompt, where they differ from what was drawn.
    pub(crate) fn templates(&self, image: usize) -> [Option<&str>; 2] {
        let drawn = self.drawn(image);
        [0, 1].map(|side| Some(self.templates[side].as_str()).filter(|template| *template != drawn[side]))
    }

    /// The images whose prompts are encoded together with those of a batch that begins with `image`: all of them if
    /// they have the same.
    pub(crate) fn block(&self, image: usize, batch: usize) -> Range<usize> {
        if self.bare.len() == 1 {
            return 0..1;
        }
        let block = (MAX_ENCODED / batch).max(1) * batch;
        let start = image - image % block;
        start..(start + block).min(self.bare.len())
    }

    /// Encodes the prompts of some images, for so many steps of a second pass.
    pub(crate) fn encode(
        &self,
        images: Range<usize>,
        pipeline: &mut Pipeline,
        settings: &Settings,
        second_steps: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        let side = |side: usize| -> Vec<&str> {
            self.bare[images.clone()].iter().map(|pair| pair[side].as_str()).collect()
        };
        let (prompts, mut negative) = (side(0), side(1));
        // As without a negative prompt.
        if negative.iter().all(|text| text.is_empty()) {
            negative.clear();
        }
        let conditioning = pipeline.encode_passes(&prompts, &negative, settings, second_steps, listener)?;
        pipeline.unload_text_encoder();
        Ok(conditioning)
    }
}
