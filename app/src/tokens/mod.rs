//! What a prompt becomes before a text encoder sees it: chunks of tokens with weights, for each step.

mod pieces;
mod report;

pub use report::{
    LoraTagReport, PromptReport, PromptTextReport, SubpromptReport, TextEncoderReport, TokenReport,
};

use crate::AppError;
use latent_diffusion::Setting;
use latent_diffusion::embeddings::{LearnedEmbeddings, TextualInversion};
use latent_diffusion::families::Model;
use latent_diffusion::lora::{Tag, take_tags};
use latent_diffusion::prompt::{self, PromptSchedule, Wildcards, check_bytes, subprompts};
use latent_diffusion::tokenizer::END;
use pieces::TokenNames;
use std::path::Path;
use std::sync::Arc;

/// Maximum number of steps of a run, as in [`latent_diffusion::Settings::steps`].
const MAX_STEPS: usize = 1000;

/// A prompt whose wildcards are resolved and whose LoRA tags are taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptToExplain {
    /// The prompt, with its tags.
    prompt: String,
    /// The text that wildcards were resolved in, where it is another one.
    template: Option<String>,
    /// The prompt without tags.
    bare: String,
    loras: Vec<Tag>,
    steps: usize,
}

impl PromptToExplain {
    /// Resolves the wildcards of a prompt from the files of a folder, as an image of that seed does, for a run of 1 to 1000
    /// steps.
    ///
    /// # Errors
    /// Bad input: another number of steps, a prompt that is too long, wildcards that cannot be resolved, a broken tag.
    pub fn new(
        given: &str,
        wildcards: Option<&Path>,
        seed: u64,
        steps: usize,
    ) -> Result<PromptToExplain, AppError> {
        if steps == 0 || steps > MAX_STEPS {
            return Err(AppError::BadInput(format!("steps: {steps} is not in 1 to {MAX_STEPS}")));
        }
        check_bytes(given, Setting::Prompt)?;
        let (mut prompt, mut template) = (given.to_owned(), None);
        if let Some(folder) = wildcards {
            [prompt] = Wildcards::open(folder)?.resolve([given], seed)?;
            template = Some(given.to_owned()).filter(|template| *template != prompt);
        }
        let (bare, loras) = take_tags(&prompt)?;
        Ok(PromptToExplain { prompt, template, bare, loras, steps })
    }

    /// The prompt without tags, which may name textual inversions.
    #[must_use]
    pub fn bare(&self) -> &str {
        &self.bare
    }

    /// Splits the prompt into subprompts, texts of the steps, chunks and tokens, as a model's text encoders see it.
    ///
    /// # Errors
    /// Bad input: a prompt that cannot be parsed or has too many chunks, textual inversions without a model or of another kind of model.
    pub fn explain(
        self,
        model: Option<&Model>,
        embeddings: &[Arc<TextualInversion>],
    ) -> Result<PromptReport, AppError> {
        let words = match (model, embeddings) {
            (_, []) => LearnedEmbeddings::default(),
            (Some(model), files) => LearnedEmbeddings::new(files, &model.text, model.family.label)?,
            (None, _) => {
                let line = "embedding: is for one kind of model; name the model with -m";
                return Err(AppError::BadInput(line.into()));
            }
        };
        let encoders = model.iter().flat_map(|model| &model.text).map(|part| TextEncoderReport {
            width: part.config.width,
            layers: part.config.layers,
            padding: part.padding,
        });
        let encoders: Vec<_> = encoders.collect();
        let padding = encoders.first().map_or(END, |encoder| encoder.padding);
        let names = TokenNames::new(embeddings);
        let mut subprompt_reports = Vec::new();
        for sub in subprompts(&self.bare)? {
            let schedule = PromptSchedule::new(sub.text, self.steps)?;
            let places: Vec<usize> = (1..=self.steps).map(|step| schedule.place(step)).collect();
            let text = |(place, text): (usize, &String)| -> Result<PromptTextReport, AppError> {
                let chunks = prompt::encode_bounded(text, padding, &words)?;
                Ok(PromptTextReport {
                    text: text.clone(),
                    steps: ranges((1..=self.steps).filter(|step| places[*step - 1] == place)),
                    chunks: chunks.iter().map(|chunk| names.tokens(chunk, padding)).collect(),
                })
            };
            let texts = schedule.texts().iter().enumerate().map(text).collect::<Result<_, _>>()?;
            subprompt_reports.push(SubpromptReport { weight: sub.weight, texts });
        }
        Ok(PromptReport {
            prompt: self.prompt,
            template: self.template,
            steps: self.steps,
            loras: self.loras.iter().map(LoraTagReport::of).collect(),
            text_encoders: encoders,
            subprompts: subprompt_reports,
        })
    }
}

/// Steps as the first and the last of those in a row.
fn ranges(steps: impl Iterator<Item = usize>) -> Vec<[usize; 2]> {
    let mut ranges: Vec<[usize; 2]> = Vec::new();
    for step in steps {
        match ranges.last_mut() {
            Some([_, last]) if *last + 1 == step => *last = step,
            _ => ranges.push([step, step]),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_a_row_are_a_range() {
        assert_eq!(ranges([1, 2, 3, 7, 9, 10].into_iter()), [[1, 3], [7, 7], [9, 10]]);
        assert!(ranges(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_prompt_is_split_into_texts_and_tokens() {
        let prompt =
            PromptToExplain::new("<lora:ink:0.5>a [cat:dog:2] AND (hat:1.2):0.5", None, 0, 4).unwrap();
        let report = prompt.explain(None, &[]).unwrap();
        assert_eq!((report.loras[0].name.as_str(), report.loras[0].unet_weight), ("ink", 0.5));
        let [first, second] = &report.subprompts[..] else { panic!("{report:?}") };
        assert_eq!((first.weight, second.weight), (1.0, 0.5));
        let steps: Vec<_> = first.texts.iter().map(|text| text.steps.as_slice()).collect();
        assert_eq!(steps, [&[[1, 2]], &[[3, 4]]]);
        let token = &second.texts[0].chunks[0][0];
        assert_eq!((token.piece.as_str(), token.weight), ("hat</w>", 1.2));
        assert!(PromptToExplain::new("a", None, 0, 1001).is_err());
    }
}
