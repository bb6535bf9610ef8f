//! What steers a run: which texts, in which steps.

use super::texts::{TextRef, Texts};
use crate::Error;
use crate::embeddings::LearnedEmbeddings;
use crate::prompt::{self, PromptSchedule, subprompts};
use crate::text::PartEncoder;
use crate::tokenizer::CONTEXT;
use latent_tensor::Tensor;
use std::collections::HashMap;
use std::sync::Arc;

/// What steers the sampling: states of the prompts and of the negative prompts, in main memory. A copy shares them.
#[derive(Clone, Debug)]
pub struct Conditioning {
    texts: Arc<Texts>,
    /// Those of the negative prompts.
    negative_texts: Arc<Texts>,
    /// One for all images, or one for each.
    positive: Vec<Vec<Sub>>,
    negative: Vec<Arc<Track>>,
    /// Steps of the first pass, where it was encoded for two.
    first: usize,
    /// Steps that were walked before.
    past: usize,
    /// What steers the refiner, where there is one.
    pub refiner: Option<Box<Conditioning>>,
}

/// What an image is told in one step.
#[derive(Debug)]
pub struct StepConditioning {
    /// States of the text, `[1, 77 chunks, width]`.
    pub states: Tensor,
    /// The pooled text `[1, width]`, for models that take it.
    pub pooled: Option<Tensor>,
    /// How strongly it steers.
    pub weight: f64,
}

/// A subprompt of a prompt.
#[derive(Clone, Debug)]
struct Sub {
    track: Arc<Track>,
    weight: f64,
}

/// Which text a prompt is in which step.
#[derive(Debug)]
struct Track {
    schedule: PromptSchedule,
    /// For each text of the schedule its place in [`Texts::all`].
    places: Vec<usize>,
}

impl Track {
    fn at(&self, step: usize) -> usize {
        self.places[self.schedule.place(step)]
    }
}

/// Steps of the first and of the second pass; none of the second where there is none.
#[derive(Clone, Copy)]
pub(super) struct Passes(pub(super) usize, pub(super) usize);

/// What is encoded for a run.
pub(super) struct Request<'a> {
    pub(super) positive: &'a [&'a str],
    pub(super) negative: &'a [&'a str],
    pub(super) steps: Passes,
    pub(super) clip_skip: usize,
}

impl Conditioning {
    /// Encodes each different text once. Without negative prompts, theirs are the states of an empty one, or zeros.
    pub(super) fn encode(
        encoders: &[PartEncoder],
        request: &Request<'_>,
        zero_negative: bool,
        words: &LearnedEmbeddings,
    ) -> Result<Conditioning, Error> {
        let mut known = Known::default();
        let mut positive = Vec::new();
        for prompt in request.positive {
            let sub = |part: prompt::Subprompt<'_>| {
                Ok(Sub { track: known.track(part.text, request.steps)?, weight: part.weight })
            };
            positive
                .push(without_idle(subprompts(prompt)?.into_iter().map(sub).collect::<Result<_, Error>>()?));
        }
        // No negative prompt is one of zeros, or an empty one.
        let prompts = if request.negative.is_empty() { &[""] } else { request.negative };
        let is_none = |prompt: &str| zero_negative && prompt.is_empty() && request.negative.len() != 1;
        let track = |prompt: &&str| match is_none(prompt) {
            true => Ok(None),
            false => known.track(prompt, request.steps).map(Some),
        };
        let tracks = prompts.iter().map(track).collect::<Result<Vec<_>, Error>>()?;
        let mut texts = Texts::encode(encoders, &known.texts, request.clip_skip, words)?;
        let zeros = Track { schedule: PromptSchedule::new("", 1)?, places: vec![texts.all.len()] };
        texts.add_zeros();
        let zeros = Arc::new(zeros);
        let negative = tracks.into_iter().map(|track| track.unwrap_or(zeros.clone())).collect();
        let texts = Arc::new(texts);
        let Passes(first, second) = request.steps;
        let first = if second == 0 { 0 } else { first };
        let negative_texts = texts.clone();
        Ok(Conditioning { texts, negative_texts, positive, negative, first, past: 0, refiner: None })
    }

    /// What an image is told in a step, both counted from 0: the subprompts of its prompt, and the negative prompt. All
    /// are filled up to the length of the longest.
    ///
    /// # Errors
    /// VaeTiling.
    ///
    /// # Panics
    /// If there are prompts for fewer images.
    pub fn told(
        &self,
        image: usize,
        step: usize,
    ) -> Result<(Vec<StepConditioning>, StepConditioning), Error> {
        let steering = self.steering(image, step);
        let told = |sub: Option<usize>| -> Result<StepConditioning, Error> {
            let (text, weight) = self.text(&steering, sub);
            let states = text.states(steering.chunks);
            let dims = [1, steering.chunks * CONTEXT, self.width()];
            let pooled = text.pooled().map(|pooled| Tensor::from_f32(&[1, pooled.len()], pooled));
            Ok(StepConditioning {
                states: Tensor::from_f32(&dims, &states)?,
                pooled: pooled.transpose()?,
                weight,
            })
        };
        let positive = (0..steering.positive.len()).map(|sub| told(Some(sub)));
        Ok((positive.collect::<Result<_, _>>()?, told(None)?))
    }

    /// What steers the second pass of a run that was encoded for one ([`Pipeline::encode_passes`](super::Pipeline)).
    /// Otherwise it is the same.
    #[must_use]
    pub fn second_pass(&self) -> Conditioning {
        let refiner = self.refiner.as_ref().map(|refiner| Box::new(refiner.second_pass()));
        Conditioning { past: self.first, refiner, ..self.clone() }
    }

    /// With the negative prompts of another one of the same model: encoded with another clip skip, for instance.
    ///
    /// # Errors
    /// [`Error::Setting`]: prompts of different lengths in chunks; encoded together they would be filled up.
    pub fn with_negative_of(self, other: &Conditioning) -> Result<Conditioning, Error> {
        let chunks = |texts: &Texts| texts.all.iter().map(|text| text.chunks).max();
        let is_full = |texts: &Texts| !texts.empty.is_empty();
        let (own, others) = (&*self.texts, &*other.negative_texts);
        if chunks(own) != chunks(others) && !(is_full(own) && is_full(others)) {
            let reason = "the two are of different lengths; encode them together".to_owned();
            return Err(Error::Setting { name: "negative prompt", reason });
        }
        let (negative_texts, negative) = (other.negative_texts.clone(), other.negative.clone());
        Ok(Conditioning { negative_texts, negative, ..self })
    }

    /// The same for some of the images. One prompt for all stays one.
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
            positive: part(&self.positive, &images),
            negative: part(&self.negative, &images),
            first: self.first,
            past: self.past,
            refiner: self.refiner.as_ref().map(|refiner| Box::new(refiner.of_images(images))),
        }
    }

    /// Refuses prompts that are neither one for all images nor one for each.
    pub(super) fn check(&self, images: usize) -> Result<(), Error> {
        for prompts in [self.positive.len(), self.negative.len()] {
            if prompts != 1 && prompts != images {
                let reason =
                    format!("{prompts} prompts for {images} images; one for all or one for each can be");
                return Err(Error::Setting { name: "prompt", reason });
            }
        }
        Ok(())
    }

    /// Which texts steer an image in a step, both counted from 0.
    pub(super) fn steering(&self, image: usize, step: usize) -> Steering {
        let positive = if self.positive.len() == 1 { &self.positive[0] } else { &self.positive[image] };
        let negative = if self.negative.len() == 1 { &self.negative[0] } else { &self.negative[image] };
        let step = self.past + step + 1;
        let positive: Vec<(usize, f64)> =
            positive.iter().map(|sub| (sub.track.at(step), sub.weight)).collect();
        let negative = negative.at(step);
        let lengths = positive.iter().map(|(text, _)| self.texts.all[*text].chunks);
        let chunks = lengths.max().unwrap_or(1).max(self.negative_texts.all[negative].chunks);
        Steering { positive, negative, chunks }
    }

    /// A subprompt's text and weight, or the negative prompt's.
    pub(super) fn text(&self, steering: &Steering, sub: Option<usize>) -> (TextRef<'_>, f64) {
        let (texts, place, weight) = match sub.map(|sub| steering.positive[sub]) {
            Some((place, weight)) => (&self.texts, place, weight),
            None => (&self.negative_texts, steering.negative, 1.0),
        };
        (TextRef { text: &texts.all[place], texts }, weight)
    }

    /// Width of the states.
    pub(super) fn width(&self) -> usize {
        self.texts.width
    }
}

/// Which texts steer an image in a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Steering {
    /// The places of the subprompts, and their weights.
    pub(super) positive: Vec<(usize, f64)>,
    pub(super) negative: usize,
    /// Chunks of the longest.
    pub(super) chunks: usize,
}

impl Steering {
    /// Whether the prompt is more than one of weight 1.
    pub(super) fn is_composed(&self) -> bool {
        !matches!(self.positive[..], [(_, 1.0)])
    }
}

/// Leaves out subprompts that do not steer, but for one.
fn without_idle(mut subs: Vec<Sub>) -> Vec<Sub> {
    let first = subs[0].clone();
    subs.retain(|sub| sub.weight != 0.0);
    if subs.is_empty() {
        subs.push(first);
    }
    subs
}

/// Texts and prompts that were seen.
#[derive(Default)]
struct Known {
    texts: Vec<String>,
    places: HashMap<String, usize>,
    tracks: HashMap<String, Arc<Track>>,
}

impl Known {
    fn track(&mut self, prompt: &str, steps: Passes) -> Result<Arc<Track>, Error> {
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
        let track = Arc::new(Track { schedule, places });
        self.tracks.insert(prompt.to_owned(), track.clone());
        Ok(track)
    }
}
