//! The UNet as a sampler sees it.

use super::control::{ControlConditioning, Steering};
use super::guidance::{Copy, Guidance};
use super::now::Now;
use super::start::Beside;
use super::{Conditioning, Latents, Settings, conditioning};
use crate::Error;
use crate::samplers::{Denoiser, Prediction, SampleError};
use crate::schedule::Level;
use crate::tokenizer::CONTEXT;
use crate::unet::{Condition, DeepCache, DeepFeatures, UNet, added_vector};
use latent_tensor::{Tensor, ops};
use std::rc::Rc;
use std::sync::Arc;

/// Plans that are kept: prompts that take turns come back to them.
const KEPT: usize = 4;

/// Predicts the clean latents of a batch under guidance.
pub(super) struct UNetDenoiser {
    unet: Arc<UNet>,
    prediction: Prediction,
    guidance: Guidance,
    /// As [`Settings::guidance_end`].
    guidance_end: f64,
    /// As [`Settings::cache_interval`].
    interval: usize,
    /// What a model that is told of the guidance is told.
    scale: f32,
    conditioning: Conditioning,
    /// What SDXL is told of the image, with the negative prompt and with the prompt.
    sizes: [Vec<f32>; 2],
    /// What the UNet takes beside the latents.
    beside: Option<Latents>,
    steering: Steering,
    now: Rc<Now>,
    /// The shape of the latents, without values.
    shape: Latents,
    /// The last one used is the last.
    plans: Vec<Plan>,
}

/// What the images of a batch are told in some steps, and the evaluations of the UNet that this takes.
struct Plan {
    steering: Vec<conditioning::Steering>,
    guidance: Guidance,
    /// Copies of images, in the order of the answers.
    rows: Vec<Row>,
    evaluations: Vec<Evaluation>,
}

/// A copy of an image.
#[derive(Clone, Copy)]
struct Row {
    image: usize,
    copy: Copy,
}

/// Copies that the UNet sees at once.
struct Evaluation {
    /// Their places among the rows of the plan.
    rows: Vec<usize>,
    condition: Condition,
    control: ControlConditioning,
    /// What the UNet takes beside the latents, channels last.
    beside: Option<Tensor>,
    kept: Option<Kept>,
}

/// What the UNet's last whole evaluation left of its coarse levels.
struct Kept {
    deep: DeepFeatures,
    step: usize,
    /// Which ControlNets acted.
    acting: Vec<bool>,
}

impl UNetDenoiser {
    /// For latents of the shape of `latents`, whose values do not count. `sizes` are what SDXL is told of the image, with
    /// the negative prompt and with the prompt.
    pub(super) fn new(
        (unet, prediction): (Arc<UNet>, Prediction),
        latents: &Latents,
        beside: Option<&Beside>,
        conditioning: &Conditioning,
        settings: &Settings,
        sizes: [Vec<f32>; 2],
        now: &Rc<Now>,
    ) -> Result<UNetDenoiser, Error> {
        conditioning.check(latents.images)?;
        Ok(UNetDenoiser {
            guidance: Guidance::new(&unet, settings, beside.and_then(|beside| beside.guidance)),
            guidance_end: settings.guidance_end,
            interval: settings.cache_interval,
            unet,
            prediction,
            scale: settings.guidance as f32,
            conditioning: conditioning.clone(),
            sizes,
            beside: beside.map(|beside| beside.latents.clone()),
            steering: Steering::default(),
            now: now.clone(),
            shape: Latents { values: Vec::new(), ..*latents },
            plans: Vec::new(),
        })
    }

    /// With ControlNets.
    pub(super) fn steered(mut self, steering: Steering) -> UNetDenoiser {
        self.steering = steering;
        self
    }

    /// Makes the plan of the present step the last one.
    fn plan(&mut self) -> Result<(), Error> {
        let step = self.now.step.get();
        let guidance = if self.now.part() >= self.guidance_end { Guidance::None } else { self.guidance };
        let steering: Vec<_> =
            (0..self.shape.images).map(|image| self.conditioning.steering(image, step)).collect();
        if let Some(at) =
            self.plans.iter().position(|plan| (&plan.steering, plan.guidance) == (&steering, guidance))
        {
            let plan = self.plans.remove(at);
            self.plans.push(plan);
            return Ok(());
        }
        let mut rows: Vec<(usize, Row)> = Vec::new();
        for (image, steering) in steering.iter().enumerate() {
            let copies = guidance.copies(steering.positive.len(), steering.is_composed());
            rows.extend(copies.into_iter().enumerate().map(|(at, copy)| (at, Row { image, copy })));
        }
        // The first copy of each image, the second of each, and so on.
        rows.sort_by_key(|(at, _)| *at);
        let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        let mut lengths: Vec<usize> = steering.iter().map(|steering| steering.chunks).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut evaluations = Vec::new();
        for length in lengths {
            let same = (0..rows.len()).filter(|row| steering[rows[*row].image].chunks == length);
            let same: Vec<usize> = same.collect();
            for some in same.chunks(guidance.at_once() * self.shape.images) {
                evaluations.push(self.evaluation(some, &rows, &steering)?);
            }
        }
        if self.plans.len() == KEPT {
            self.plans.remove(0);
        }
        self.plans.push(Plan { steering, guidance, rows, evaluations });
        Ok(())
    }

    /// An evaluation of some of the rows, whose texts are equally long.
    fn evaluation(
        &self,
        some: &[usize],
        rows: &[Row],
        steering: &[conditioning::Steering],
    ) -> Result<Evaluation, Error> {
        let (mut states, mut pooled, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let mut beside = self.beside.as_ref().map(|all| Latents { values: Vec::new(), images: 0, ..*all });
        let mut chunks = 0;
        for row in some.iter().map(|row| rows[*row]) {
            let told = &steering[row.image];
            let (text, _) = self.conditioning.text(told, row.copy.sub);
            chunks = told.chunks;
            states.extend(text.states(chunks));
            pooled.extend(text.pooled().into_iter().flatten());
            sizes.extend_from_slice(&self.sizes[usize::from(row.copy.sub.is_some())]);
            if let (Some(beside), Some(all)) = (&mut beside, &self.beside) {
                let values = all.image(row.image);
                beside.images += 1;
                if row.copy.sees {
                    beside.values.extend_from_slice(values);
                } else {
                    beside.values.resize(beside.values.len() + values.len(), 0.0);
                }
            }
        }
        let count = some.len();
        let text = Tensor::from_f32(&[count, chunks * CONTEXT, self.conditioning.width()], &states)?;
        let added = match pooled.len() / count {
            0 => None,
            width => Some(added_vector(&Tensor::from_f32(&[count, width], &pooled)?, &sizes)?),
        };
        let mut condition = self.unet.condition(&text, added.as_ref())?;
        self.unet.set_guidance(&mut condition, &vec![self.scale; count])?;
        Ok(Evaluation {
            rows: some.to_vec(),
            condition,
            control: self.steering.told(&text, added.as_ref())?,
            beside: beside.map(|beside| beside.channels_last(0..count)).transpose()?,
            kept: None,
        })
    }

    /// The network's output under guidance, for its input `[images, channels, height, width]`.
    fn predict(&mut self, input: Vec<f32>, timestep: f64) -> Result<Vec<f32>, Error> {
        self.plan()?;
        let UNetDenoiser { unet, interval, now, plans, shape, .. } = self;
        let Some(plan) = plans.last_mut() else { unreachable!("it was just made") };
        let input = Latents { values: input, ..*shape };
        let (mut outputs, step) = (Vec::new(), now.step.get());
        for evaluation in &mut plan.evaluations {
            let (batch, timesteps) = evaluation.batch(&plan.rows, &input, timestep)?;
            outputs.push(evaluation.run(unet, &batch, &timesteps, step, *interval)?);
        }
        let Some(plan) = self.plans.last() else { unreachable!("it was just run") };
        let is_plain = !plan.steering.iter().any(conditioning::Steering::is_composed);
        match &outputs[..] {
            // The answers lie as guidance takes them, and where they were computed.
            [output] if is_plain => Ok(Latents::from_channels_last(&plan.guidance.join(output)?)?.values),
            _ => self.join(plan, &outputs),
        }
    }

    /// Joins the answers of several evaluations, image by image.
    fn join(&self, plan: &Plan, outputs: &[Tensor]) -> Result<Vec<f32>, Error> {
        let mut answers: Vec<Vec<f32>> = vec![Vec::new(); plan.rows.len()];
        for (evaluation, output) in plan.evaluations.iter().zip(outputs) {
            let latents = Latents::from_channels_last(&output.to(&latent_tensor::Device::Cpu)?)?;
            for (place, row) in evaluation.rows.iter().enumerate() {
                answers[*row] = latents.image(place).to_vec();
            }
        }
        let mut joined = Vec::new();
        for (image, steering) in plan.steering.iter().enumerate() {
            let own = plan.rows.iter().zip(&answers).filter(|(row, _)| row.image == image);
            let mut own: Vec<Vec<f32>> = own.map(|(_, answer)| answer.clone()).collect();
            if steering.is_composed() {
                let weights: Vec<f64> = steering.positive.iter().map(|(_, weight)| *weight).collect();
                own = plan.guidance.composed(&own, &weights);
            }
            let copies = Latents { values: own.concat(), images: own.len(), ..self.shape };
            let copies = plan.guidance.join(&copies.channels_last(0..copies.images)?)?;
            joined.extend(Latents::from_channels_last(&copies)?.values);
        }
        Ok(joined)
    }
}

impl Evaluation {
    /// The latents of its rows, channels last, and their time steps.
    fn batch(&self, rows: &[Row], input: &Latents, timestep: f64) -> Result<(Tensor, Vec<f32>), Error> {
        let images = self.rows.len();
        let values = self.rows.iter().flat_map(|row| input.image(rows[*row].image));
        let latents = Latents { values: values.copied().collect(), images, ..*input };
        Ok((latents.channels_last(0..images)?, vec![timestep as f32; images]))
    }

    /// The UNet's answers in a step. It goes all the way in every `interval`th, where the last time it did is as long ago,
    /// and where other ControlNets act than then.
    fn run(
        &mut self,
        unet: &UNet,
        batch: &Tensor,
        timesteps: &[f32],
        step: usize,
        interval: usize,
    ) -> Result<Tensor, Error> {
        let acting = self.control.acting();
        let input = match &self.beside {
            Some(beside) => ops::concat_channels(batch, beside)?,
            None => batch.clone(),
        };
        if !step.is_multiple_of(interval)
            && let Some(kept) = &self.kept
            && step - kept.step < interval
            && kept.acting == acting
        {
            return unet.forward_with(&input, timesteps, &self.condition, None, DeepCache::Reuse(&kept.deep));
        }
        // Not in memory while the next ones are computed.
        self.kept = None;
        let residuals = self.control.residuals(batch, timesteps)?;
        if interval == 1 {
            return unet.forward_with(&input, timesteps, &self.condition, residuals, DeepCache::Off);
        }
        let mut deep = None;
        let output =
            unet.forward_with(&input, timesteps, &self.condition, residuals, DeepCache::Keep(&mut deep))?;
        self.kept = deep.map(|deep| Kept { deep, step, acting });
        Ok(output)
    }
}

impl Denoiser for UNetDenoiser {
    /// `x` holds `[images, channels, height, width]`.
    fn denoise(&mut self, x: &[f32], level: Level) -> Result<Vec<f32>, SampleError> {
        let input = Prediction::network_input(x, level.sigma);
        let mut output = self.predict(input, level.timestep).map_err(SampleError::model)?;
        self.prediction.to_denoised(x, &mut output, level.sigma);
        Ok(output)
    }
}
