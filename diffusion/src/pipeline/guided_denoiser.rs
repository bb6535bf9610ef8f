//! A model's network under guidance, as a sampler sees it.

use super::conditioning::PromptSelection;
use super::guidance::{Guidance, GuidanceCopy};
use super::start::ExtraChannels;
use super::step_state::StepState;
use super::{Conditioning, Settings};
use crate::blocks::BlockCount;
use crate::latents::{LatentShape, Latents};
use crate::network::{
    BatchInputs, ConditionedNetwork, DiffusionNetwork, PreparedControl, PreparedImagePrompt, StepPosition,
};
use crate::samplers::GuidedEstimate;
use crate::schedule::{NoiseLevel, NoiseModel};
use crate::stage::Stage;
use crate::{Error, Listener};
use latent_tensor::{Device, Tensor, ops};
use std::rc::Rc;
use std::sync::Arc;

/// Plans that are kept, for prompts that alternate.
const MAX_PLANS: usize = 4;

/// Predicts the clean latents of a batch under guidance.
pub(super) struct GuidedDenoiser {
    network: Arc<dyn DiffusionNetwork>,
    /// That of the network.
    device: Device,
    noise_model: NoiseModel,
    guidance: Guidance,
    /// As [`Settings::guidance_end`].
    guidance_end: f64,
    /// How the network is perturbed for another prediction, which steps move away from.
    perturbation: Perturbation,
    /// As [`Settings::cache_interval`].
    cache_interval: usize,
    /// As [`Settings::token_merging`].
    token_merging: f64,
    /// The guidance scale, for networks that take it.
    scale: f32,
    conditioning: Conditioning,
    /// The sizes that SDXL is conditioned on, with the negative prompt and with the prompt.
    sizes: [Vec<f32>; 2],
    extra_channels: Option<Latents>,
    /// Latents of images that the prediction refers to.
    references: Vec<Tensor>,
    controls: Vec<PreparedControl>,
    image_prompts: Vec<PreparedImagePrompt>,
    state: Rc<StepState>,
    shape: LatentShape,
    /// The last one used is the last.
    plans: Vec<EvaluationPlan>,
}

/// A perturbation of the network, and how far a step moves away from what it predicts then.
enum Perturbation {
    /// None.
    Off,
    /// Each position of its mid block attends to itself alone.
    Attention { scale: f64 },
    /// It lacks some blocks, in the steps between two fractions of them.
    SkippedBlocks { scale: f64, blocks: Vec<usize>, span: [f64; 2] },
}

impl Perturbation {
    fn of(settings: &Settings) -> Perturbation {
        if settings.pag_scale != 0.0 {
            Perturbation::Attention { scale: settings.pag_scale }
        } else if settings.slg_scale != 0.0 {
            Perturbation::SkippedBlocks {
                scale: settings.slg_scale,
                blocks: settings.skipped_layers().to_vec(),
                span: [settings.slg_start, settings.slg_end],
            }
        } else {
            Perturbation::Off
        }
    }

    /// How far a step moves, if it does.
    fn scale(&self, at: StepPosition) -> Option<f64> {
        let (done, steps) = (at.step as f64, at.steps as f64);
        match *self {
            Perturbation::Off => None,
            Perturbation::Attention { scale } => Some(scale),
            // As diffusers' pipeline counts: neither at the start itself nor at the end.
            Perturbation::SkippedBlocks { scale, span: [start, end], .. } => {
                (done > steps * start && done < steps * end).then_some(scale)
            }
        }
    }

    fn skipped(&self) -> &[usize] {
        match self {
            Perturbation::Off | Perturbation::Attention { .. } => &[],
            Perturbation::SkippedBlocks { blocks, .. } => blocks,
        }
    }
}

/// What the images of a batch are conditioned on in some steps, and the evaluations of the network that this takes.
struct EvaluationPlan {
    prompts: Vec<PromptSelection>,
    guidance: Guidance,
    /// As [`Perturbation::scale`].
    perturbation_scale: Option<f64>,
    /// Copies of images, in the order of the predictions.
    rows: Vec<BatchRow>,
    evaluations: Vec<Evaluation>,
}

/// A copy of an image.
#[derive(Clone, Copy)]
struct BatchRow {
    image: usize,
    copy: GuidanceCopy,
}

/// Copies that the network sees at once.
struct Evaluation {
    /// Their indices among the rows of the plan.
    rows: Vec<usize>,
    network: Box<dyn ConditionedNetwork>,
}

/// What a denoiser is made of beside the network.
pub(super) struct DenoiserInputs<'a> {
    pub(super) shape: LatentShape,
    pub(super) extra_channels: Option<&'a ExtraChannels>,
    /// Latents of images that the network sees as further tokens, each `[1, height, width, channels]`.
    pub(super) references: &'a [Tensor],
    pub(super) conditioning: &'a Conditioning,
    pub(super) settings: &'a Settings,
    pub(super) state: &'a Rc<StepState>,
}

impl GuidedDenoiser {
    /// `sizes` are those that SDXL is conditioned on, with the negative prompt and with the prompt.
    pub(super) fn new(
        (network, device): (Arc<dyn DiffusionNetwork>, &Device),
        noise_model: NoiseModel,
        inputs: &DenoiserInputs<'_>,
        sizes: [Vec<f32>; 2],
    ) -> Result<GuidedDenoiser, Error> {
        let DenoiserInputs { shape, extra_channels, references, conditioning, settings, state } = *inputs;
        let image_guidance = extra_channels.and_then(|extra| extra.guidance);
        let guidance = Guidance::new(network.takes_guidance(), settings, image_guidance);
        conditioning.check(shape.images, guidance)?;
        Ok(GuidedDenoiser {
            guidance,
            guidance_end: settings.guidance_end,
            perturbation: Perturbation::of(settings),
            cache_interval: settings.cache_interval,
            token_merging: settings.token_merging,
            network,
            device: device.clone(),
            noise_model,
            scale: settings.distilled_guidance.unwrap_or(settings.guidance) as f32,
            conditioning: conditioning.clone(),
            sizes,
            extra_channels: extra_channels.map(|extra| extra.latents.clone()),
            references: references.to_vec(),
            controls: Vec::new(),
            image_prompts: Vec::new(),
            state: state.clone(),
            shape,
            plans: Vec::new(),
        })
    }

    /// This denoiser with ControlNets.
    pub(super) fn with_controls(mut self, controls: Vec<PreparedControl>) -> GuidedDenoiser {
        self.controls = controls;
        self
    }

    /// This denoiser with image prompts.
    pub(super) fn with_image_prompts(mut self, prompts: Vec<PreparedImagePrompt>) -> GuidedDenoiser {
        self.image_prompts = prompts;
        self
    }

    /// Makes the plan of the current step the last one.
    fn plan(&mut self) -> Result<(), Error> {
        let step = self.state.step.get();
        let guidance =
            if self.state.fraction() >= self.guidance_end { Guidance::None } else { self.guidance };
        let scale = self.perturbation.scale(self.state.position());
        let prompts: Vec<_> =
            (0..self.shape.images).map(|image| self.conditioning.selection(image, step)).collect();
        let is_it = |plan: &EvaluationPlan| {
            (&plan.prompts, plan.guidance, plan.perturbation_scale) == (&prompts, guidance, scale)
        };
        if let Some(at) = self.plans.iter().position(is_it) {
            let plan = self.plans.remove(at);
            self.plans.push(plan);
            return Ok(());
        }
        let mut rows: Vec<(usize, BatchRow)> = Vec::new();
        for (image, prompt) in prompts.iter().enumerate() {
            let subs = prompt.positive.len();
            let mut copies = guidance.copies(subs, prompt.is_composed());
            if scale.is_some() {
                copies.extend(GuidanceCopy::perturbed(subs));
            }
            rows.extend(copies.into_iter().enumerate().map(|(at, copy)| (at, BatchRow { image, copy })));
        }
        // The first copy of each image, the second of each, and so on.
        rows.sort_by_key(|(at, _)| *at);
        let rows: Vec<BatchRow> = rows.into_iter().map(|(_, row)| row).collect();
        let mut lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.tokens).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut evaluations = Vec::new();
        for length in lengths {
            let same = (0..rows.len()).filter(|row| prompts[rows[*row].image].tokens == length);
            let (perturbed, same): (Vec<usize>, Vec<usize>) =
                same.partition(|row| rows[*row].copy.is_perturbed);
            for some in
                [same, perturbed].iter().flat_map(|rows| rows.chunks(guidance.at_once() * self.shape.images))
            {
                evaluations.push(self.evaluation(some, &rows, &prompts)?);
            }
        }
        if self.plans.len() == MAX_PLANS {
            self.plans.remove(0);
        }
        let perturbation_scale = scale;
        self.plans.push(EvaluationPlan { prompts, guidance, perturbation_scale, rows, evaluations });
        Ok(())
    }

    /// An evaluation of some of the rows, whose texts are equally long.
    fn evaluation(
        &self,
        some: &[usize],
        rows: &[BatchRow],
        prompts: &[PromptSelection],
    ) -> Result<Evaluation, Error> {
        let (mut states, mut pooled, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let mut text_lengths = Vec::new();
        let mut extra =
            self.extra_channels.as_ref().map(|all| LatentShape { images: 0, ..all.shape() }.zeros());
        let mut tokens = 0;
        for row in some.iter().map(|row| rows[*row]) {
            let prompt = &prompts[row.image];
            let (text, _) = self.conditioning.text(prompt, row.copy.sub);
            tokens = prompt.tokens;
            states.extend(text.hidden_states(tokens));
            text_lengths.push(text.length());
            pooled.extend(text.pooled().into_iter().flatten());
            sizes.extend_from_slice(&self.sizes[usize::from(row.copy.sub.is_some())]);
            if let (Some(extra), Some(all)) = (&mut extra, &self.extra_channels) {
                let values = all.image(row.image);
                extra.images += 1;
                if row.copy.sees_image {
                    extra.values.extend_from_slice(values);
                } else {
                    extra.values.resize(extra.values.len() + values.len(), 0.0);
                }
            }
        }
        let count = some.len();
        let is_prompt: Vec<bool> = some.iter().map(|row| rows[*row].copy.sub.is_some()).collect();
        let pooled = match pooled.len() / count {
            0 => None,
            width => Some(Tensor::from_f32(&[count, width], &pooled)?),
        };
        let is_perturbed = some.iter().any(|row| rows[*row].copy.is_perturbed);
        let skipped = if is_perturbed { self.perturbation.skipped() } else { &[] };
        let inputs = BatchInputs {
            text: Tensor::from_f32(&[count, tokens, self.conditioning.width()], &states)?,
            text_lengths: &text_lengths,
            pooled,
            sizes: &sizes,
            guidance: self.scale,
            extra_channels: self.on_device(extra)?,
            references: &self.references,
            skipped_blocks: skipped,
            controls: &self.controls,
            image_prompts: &self.image_prompts,
            sees_image_prompts: &is_prompt,
            cache_interval: self.cache_interval,
            token_merging: self.token_merging,
            is_perturbed: is_perturbed && skipped.is_empty(),
        };
        Ok(Evaluation { rows: some.to_vec(), network: self.network.clone().condition(&inputs)? })
    }

    /// Channels for the network.
    fn on_device(&self, latents: Option<Latents>) -> Result<Option<Tensor>, Error> {
        let Some(latents) = latents else { return Ok(None) };
        Ok(Some(latents.channels_last(0..latents.images)?.to(&self.device)?))
    }

    /// The network's prediction under guidance, for its input `[images, height, width, channels]`, and that with the negative prompt
    /// alone where it is `apart`.
    ///
    /// With a plain prompt under plain guidance all of it is computed where the network is. What is read from a GPU otherwise is a
    /// prediction for each copy of the latents.
    fn predict(
        &mut self,
        input: &Tensor,
        (timestep, apart): (f64, bool),
        listener: &mut Listener<'_>,
    ) -> Result<(Tensor, Option<Tensor>), Error> {
        self.plan()?;
        let at = self.state.position();
        let Some(plan) = self.plans.last_mut() else { unreachable!("it was just made") };
        let total = plan.evaluations.iter().map(|evaluation| evaluation.network.blocks(at)).sum();
        let mut count = BlockCount::new(Stage::Sampling, total, listener);
        let mut outputs = Vec::new();
        for evaluation in &mut plan.evaluations {
            let (batch, timesteps) = evaluation.batch(&plan.rows, input, timestep)?;
            outputs.push(evaluation.network.predict(&batch.to(&self.device)?, &timesteps, at, &mut count)?);
        }
        let Some(plan) = self.plans.last() else { unreachable!("it was just run") };
        let is_plain = !plan.prompts.iter().any(PromptSelection::is_composed);
        match &outputs[..] {
            // The predictions are in the order that guidance expects, those of all images with the negative prompt before others, and
            // where they were computed.
            [output] if is_plain && !(apart && matches!(plan.guidance, Guidance::PromptAndImage { .. })) => {
                let images: Vec<usize> = (0..self.shape.images).collect();
                let negative = if apart { Some(ops::index_select(output, &images)?) } else { None };
                Ok((plan.guidance.join(output)?, negative))
            }
            _ => {
                let [joined, negative] =
                    self.join(plan, &outputs)?.map(|values| self.shape.with_values(values));
                let negative = if apart { Some(negative.to_tensor(&self.device)?) } else { None };
                Ok((joined.to_tensor(&self.device)?, negative))
            }
        }
    }

    /// Combines the predictions of several evaluations, image by image, and gives those with the negative prompt alone too.
    fn join(&self, plan: &EvaluationPlan, outputs: &[Tensor]) -> Result<[Vec<f32>; 2], Error> {
        let mut predictions: Vec<Vec<f32>> = vec![Vec::new(); plan.rows.len()];
        for (evaluation, output) in plan.evaluations.iter().zip(outputs) {
            let latents = Latents::from_channels_last(output)?;
            for (index, row) in evaluation.rows.iter().enumerate() {
                predictions[*row] = latents.image(index).to_vec();
            }
        }
        let (mut joined, mut negative) = (Vec::new(), Vec::new());
        for (image, prompt) in plan.prompts.iter().enumerate() {
            let own = plan.rows.iter().zip(&predictions).filter(|(row, _)| row.image == image);
            let (perturbed, own): (Vec<_>, Vec<_>) = own.partition(|(row, _)| row.copy.is_perturbed);
            let [mut perturbed, mut own] = [perturbed, own]
                .map(|rows| rows.into_iter().map(|(_, prediction)| prediction.clone()).collect::<Vec<_>>());
            if prompt.is_composed() {
                let weights: Vec<f64> = prompt.positive.iter().map(|(_, weight)| *weight).collect();
                let others = &own[..own.len() - weights.len()];
                if !perturbed.is_empty() {
                    perturbed = plan.guidance.composed(&[others, &perturbed].concat(), &weights);
                }
                own = plan.guidance.composed(&own, &weights);
            }
            let copies = LatentShape { images: own.len(), ..self.shape }.with_values(own.concat());
            let copies = plan.guidance.join(&copies.channels_last(0..copies.images)?)?;
            let mut values = Latents::from_channels_last(&copies)?.values;
            if let (Some(perturbed), Some(positive), Some(scale)) =
                (perturbed.last(), own.last(), plan.perturbation_scale)
            {
                for ((value, positive), perturbed) in values.iter_mut().zip(positive).zip(perturbed) {
                    *value += scale as f32 * (positive - perturbed);
                }
            }
            negative.extend_from_slice(own.len().checked_sub(2).map_or(&values[..], |last| &own[last]));
            joined.extend(values);
        }
        Ok([joined, negative])
    }
}

impl Evaluation {
    /// The latents of its rows, and their time steps.
    fn batch(&self, rows: &[BatchRow], input: &Tensor, timestep: f64) -> Result<(Tensor, Vec<f32>), Error> {
        let images: Vec<usize> = self.rows.iter().map(|row| rows[*row].image).collect();
        Ok((ops::index_select(input, &images)?, vec![timestep as f32; images.len()]))
    }
}

impl GuidedDenoiser {
    /// As [`Denoiser::denoise`](crate::samplers::Denoiser::denoise). The blocks of the network are reported to the listener.
    pub(super) fn denoise(
        &mut self,
        x: &Tensor,
        level: NoiseLevel,
        listener: &mut Listener<'_>,
    ) -> Result<Tensor, Error> {
        let input = self.network_input(x, level.sigma)?;
        let (output, _) = self.predict(&input, (level.timestep, false), listener)?;
        self.to_denoised(x, &output, level.sigma)
    }

    /// As [`Denoiser::denoise_apart`](crate::samplers::Denoiser::denoise_apart).
    pub(super) fn denoise_apart(
        &mut self,
        x: &Tensor,
        level: NoiseLevel,
        listener: &mut Listener<'_>,
    ) -> Result<GuidedEstimate, Error> {
        let input = self.network_input(x, level.sigma)?;
        let (output, negative) = self.predict(&input, (level.timestep, true), listener)?;
        let denoised = self.to_denoised(x, &output, level.sigma)?;
        let negative = match negative {
            Some(negative) => self.to_denoised(x, &negative, level.sigma)?,
            None => denoised.clone(),
        };
        Ok(GuidedEstimate { denoised, negative })
    }

    /// As [`NoiseModel::network_input`].
    fn network_input(&self, x: &Tensor, sigma: f64) -> Result<Tensor, Error> {
        let factor = self.noise_model.input_divisor(sigma).recip();
        if factor == 1.0 {
            return Ok(x.clone());
        }
        Ok(ops::linear_combination(&[(factor, x)])?)
    }

    /// As [`NoiseModel::to_denoised`].
    fn to_denoised(&self, x: &Tensor, output: &Tensor, sigma: f64) -> Result<Tensor, Error> {
        let [from_x, from_output] = self.noise_model.denoised_factors(sigma);
        Ok(ops::linear_combination(&[(from_x, x), (from_output, &output.to(&x.device())?)])?)
    }
}
