//! What a run is conditioned on: which texts, in which steps.

use super::encoded_text::{EncodedText, EncodedTextRef, EncodedTexts, TextEncoders};
use super::guidance::Guidance;
use crate::embeddings::LearnedEmbeddings;
use crate::prompt::{self, PromptSchedule, subprompts};
use crate::setting::{Setting, SettingProblem};
use crate::text::TextLayout;
use crate::{Error, Listener};
use latent_tensor::Tensor;
use std::collections::HashMap;
use std::sync::Arc;

/// What the sampling is conditioned on: hidden states of the prompts and of the negative prompts, in main memory. A clone
/// shares them.
#[derive(Clone, Debug)]
pub struct Conditioning {
    texts: Arc<EncodedTexts>,
    /// Those of the negative prompts.
    negative_texts: Arc<EncodedTexts>,
    /// Whether the negative prompts were left out, as nothing would look at them.
    lacks_negative: bool,
    /// One for all images, or one for each.
    positive: Vec<Vec<WeightedPrompt>>,
    negative: Vec<Arc<PromptTrack>>,
    /// Steps of the first pass, where it was encoded for two.
    first: usize,
    /// Steps of earlier passes.
    past: usize,
    /// What the refiner is conditioned on, where there is one.
    pub refiner: Option<Box<Conditioning>>,
}

/// What one image is conditioned on in one step.
#[derive(Debug)]
pub struct StepConditioning {
    /// Hidden states of the text, `[1, tokens, width]`.
    pub hidden_states: Tensor,
    /// The pooled text `[1, width]`, of models that take it.
    pub pooled: Option<Tensor>,
    /// The weight of the prompt.
    pub weight: f64,
}

/// A subprompt of a prompt.
#[derive(Clone, Debug)]
struct WeightedPrompt {
    track: Arc<PromptTrack>,
    weight: f64,
}

/// Which text a prompt is in which step.
#[derive(Debug)]
struct PromptTrack {
    schedule: PromptSchedule,
    /// For each text of the schedule its index in [`EncodedTexts::all`].
    places: Vec<usize>,
}

impl PromptTrack {
    fn at(&self, step: usize) -> usize {
        self.places[self.schedule.place(step)]
    }
}

/// Steps of the first and of the second pass, 0 where there is no second.
#[derive(Clone, Copy)]
pub(super) struct PassSteps(pub(super) usize, pub(super) usize);

/// What is encoded for a run.
pub(super) struct EncodeRequest<'a> {
    pub(super) positive: &'a [&'a str],
    pub(super) negative: &'a [&'a str],
    pub(super) steps: PassSteps,
    pub(super) clip_skip: usize,
    /// Whether the negative prompts are left out, unless a prompt is composed.
    pub(super) omits_negative: bool,
}

impl Conditioning {
    /// Encodes each different text once. Without negative prompts, the hidden states of an empty one or zeros take their
    /// place.
    pub(super) fn encode(
        (encoders, layout): (&TextEncoders, TextLayout),
        request: &EncodeRequest<'_>,
        zero_negative: bool,
        words: &LearnedEmbeddings,
        listener: &mut Listener<'_>,
    ) -> Result<Conditioning, Error> {
        let mut known = KnownTexts::default();
        let mut positive = Vec::new();
        for prompt in request.positive {
            let sub = |part: prompt::Subprompt<'_>| {
                Ok(WeightedPrompt { track: known.track(part.text, request.steps)?, weight: part.weight })
            };
            positive
                .push(without_idle(subprompts(prompt)?.into_iter().map(sub).collect::<Result<_, Error>>()?));
        }
        // Zeros or an empty prompt stand for no negative prompt.
        let prompts = if request.negative.is_empty() { &[""] } else { request.negative };
        let is_plain = |subs: &Vec<WeightedPrompt>| matches!(subs[..], [WeightedPrompt { weight: 1.0, .. }]);
        let lacks_negative = request.omits_negative && positive.iter().all(is_plain);
        let is_none = |prompt: &str| {
            lacks_negative || zero_negative && prompt.is_empty() && request.negative.len() != 1
        };
        let track = |prompt: &&str| match is_none(prompt) {
            true => Ok(None),
            false => known.track(prompt, request.steps).map(Some),
        };
        let tracks = prompts.iter().map(track).collect::<Result<Vec<_>, Error>>()?;
        let texts = (&known.texts[..], layout);
        let mut texts = EncodedTexts::encode(encoders, texts, request.clip_skip, words, listener)?;
        let zeros = PromptTrack { schedule: PromptSchedule::new("", 1)?, places: vec![texts.all.len()] };
        texts.add_zeros();
        let zeros = Arc::new(zeros);
        let negative = tracks.into_iter().map(|track| track.unwrap_or(zeros.clone())).collect();
        let texts = Arc::new(texts);
        let PassSteps(first, second) = request.steps;
        let first = if second == 0 { 0 } else { first };
        let negative_texts = texts.clone();
        Ok(Conditioning {
            texts,
            negative_texts,
            lacks_negative,
            positive,
            negative,
            first,
            past: 0,
            refiner: None,
        })
    }

    /// What an image is conditioned on in a step, both counted from 0: the subprompts of its prompt, and the negative
    /// prompt. All are padded to the length of the longest.
    ///
    /// # Errors
    /// Memory that cannot be allocated.
    ///
    /// # Panics
    /// If there are prompts for fewer images.
    pub fn at_step(
        &self,
        image: usize,
        step: usize,
    ) -> Result<(Vec<StepConditioning>, StepConditioning), Error> {
        let selection = self.selection(image, step);
        let of = |sub: Option<usize>| -> Result<StepConditioning, Error> {
            let (text, weight) = self.text(&selection, sub);
            let states = text.hidden_states(selection.tokens);
            let dims = [1, selection.tokens, self.width()];
            let pooled = text.pooled().map(|pooled| Tensor::from_f32(&[1, pooled.len()], pooled));
            Ok(StepConditioning {
                hidden_states: Tensor::from_f32(&dims, &states)?,
                pooled: pooled.transpose()?,
                weight,
            })
        };
        let positive = (0..selection.positive.len()).map(|sub| of(Some(sub)));
        Ok((positive.collect::<Result<_, _>>()?, of(None)?))
    }

    /// The conditioning of the second pass of a run that was encoded for two
    /// ([`Pipeline::encode_passes`](super::Pipeline::encode_passes)). For other runs it is the same.
    #[must_use]
    pub fn second_pass(&self) -> Conditioning {
        let refiner = self.refiner.as_ref().map(|refiner| Box::new(refiner.second_pass()));
        Conditioning { past: self.first, refiner, ..self.clone() }
    }

    /// This conditioning with the negative prompts of another one of the same model, encoded with another clip skip for
    /// instance.
    ///
    /// # Errors
    /// [`Error::Setting`]: prompts of different lengths in tokens; encoded together they would be padded.
    pub fn with_negative_of(self, other: &Conditioning) -> Result<Conditioning, Error> {
        let tokens = |texts: &EncodedTexts| texts.all.iter().map(EncodedText::tokens).max();
        let is_full = |texts: &EncodedTexts| !texts.empty.is_empty();
        let (own, others) = (&*self.texts, &*other.negative_texts);
        if tokens(own) != tokens(others) && !(is_full(own) && is_full(others)) {
            let reason = "the two are of different lengths; encode them together".to_owned();
            return Err(Error::setting(Setting::NegativePrompt, SettingProblem::Conflict(reason)));
        }
        let (negative_texts, negative) = (other.negative_texts.clone(), other.negative.clone());
        Ok(Conditioning { negative_texts, negative, lacks_negative: other.lacks_negative, ..self })
    }

    /// The conditioning of some of the images. One prompt for all stays one.
    ///
    /// # Panics
    /// If there are prompts for fewer images.
    #[must_use]
    pub fn of_images(&self, images: std::ops::Range<usize>) -> Conditioning {
        fn part<T: Clone>(all: &[T], images: &std::ops::Range<usize>) -> Vec<T> {
            if all.len() == 1 { all.to_vec() } else { all[images.clone()].to_vec() }
        }
        Conditioning {
            texts: self.texts.clone(),
            negative_texts: self.negative_texts.clone(),
            lacks_negative: self.lacks_negative,
            positive: part(&self.positive, &images),
            negative: part(&self.negative, &images),
            first: self.first,
            past: self.past,
            refiner: self.refiner.as_ref().map(|refiner| Box::new(refiner.of_images(images))),
        }
    }

    /// Refuses prompts that are neither one for all images nor one for each, and guidance away from negative prompts that were
    /// left out.
    pub(super) fn check(&self, images: usize, guidance: Guidance) -> Result<(), Error> {
        if self.lacks_negative && guidance != Guidance::None {
            let reason = "the prompts were encoded for settings without guidance".to_owned();
            return Err(Error::setting(Setting::Guidance, SettingProblem::Conflict(reason)));
        }
        for prompts in [self.positive.len(), self.negative.len()] {
            if prompts != 1 && prompts != images {
                let problem = SettingProblem::CountMismatch { given: prompts, images };
                return Err(Error::setting(Setting::Prompt, problem));
            }
        }
        Ok(())
    }

    /// Which texts an image is conditioned on in a step, both counted from 0.
    pub(super) fn selection(&self, image: usize, step: usize) -> PromptSelection {
        let positive = if self.positive.len() == 1 { &self.positive[0] } else { &self.positive[image] };
        let negative = if self.negative.len() == 1 { &self.negative[0] } else { &self.negative[image] };
        let step = self.past + step + 1;
        let positive: Vec<(usize, f64)> =
            positive.iter().map(|sub| (sub.track.at(step), sub.weight)).collect();
        let negative = negative.at(step);
        let lengths = positive.iter().map(|(text, _)| self.texts.all[*text].tokens());
        let tokens = lengths.max().unwrap_or(0).max(self.negative_texts.all[negative].tokens());
        PromptSelection { positive, negative, tokens }
    }

    /// A subprompt's text and weight, or the negative prompt's.
    pub(super) fn text(&self, selection: &PromptSelection, sub: Option<usize>) -> (EncodedTextRef<'_>, f64) {
        let (texts, place, weight) = match sub.map(|sub| selection.positive[sub]) {
            Some((place, weight)) => (&self.texts, place, weight),
            None => (&self.negative_texts, selection.negative, 1.0),
        };
        (EncodedTextRef { text: &texts.all[place], texts }, weight)
    }

    /// Width of the hidden states.
    pub(super) fn width(&self) -> usize {
        self.texts.width
    }
}

/// Which texts an image is conditioned on in a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PromptSelection {
    /// The indices of the subprompts, and their weights.
    pub(super) positive: Vec<(usize, f64)>,
    pub(super) negative: usize,
    /// Length of the longest.
    pub(super) tokens: usize,
}

impl PromptSelection {
    /// Whether the prompt is more than one of weight 1.
    pub(super) fn is_composed(&self) -> bool {
        !matches!(self.positive[..], [(_, 1.0)])
    }
}

/// Leaves out subprompts of weight 0, but for one.
fn without_idle(mut subs: Vec<WeightedPrompt>) -> Vec<WeightedPrompt> {
    let first = subs[0].clone();
    subs.retain(|sub| sub.weight != 0.0);
    if subs.is_empty() {
        subs.push(first);
    }
    subs
}

/// Texts and prompts that were seen before.
#[derive(Default)]
struct KnownTexts {
    texts: Vec<String>,
    places: HashMap<String, usize>,
    tracks: HashMap<String, Arc<PromptTrack>>,
}

impl KnownTexts {
    fn track(&mut self, prompt: &str, steps: PassSteps) -> Result<Arc<PromptTrack>, Error> {
        if let Some(track) = self.tracks.get(prompt) {
            return Ok(track.clone());
        }
        let schedule = PromptSchedule::of_passes(prompt, steps.0, steps.1)?;
        let mut places = Vec::new();
        for text in schedule.texts() {
            let next = self.texts.len();
            let place = *self.places.entry(text.clone()).or_insert(next);
            if place == next {
                self.texts.push(text.clone());
            }
            places.push(place);
        }
        let track = Arc::new(PromptTrack { schedule, places });
        self.tracks.insert(prompt.to_owned(), track.clone());
        Ok(track)
    }
}
