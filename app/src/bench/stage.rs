//! The stages of an image, on synthetic weights.

use super::BenchOptions;
use latent_diffusion::families::ModelSizes;
use latent_diffusion::names::Named;
use latent_diffusion::params::Params;
use latent_diffusion::rng::RngKind;
use latent_diffusion::tensor::{Device, Tensor, ops};
use latent_diffusion::text::TextEncoder;
use latent_diffusion::tokenizer::CONTEXT;
use latent_diffusion::unet::UNet;
use latent_diffusion::vae::VaeDecoder;
use latent_diffusion::{Error, LoadedNetwork, VaeTiling};

/// Seed of weights and inputs: the time does not depend on it.
const SEED: u64 = 1;
/// UNet evaluations of a step with classifier-free guidance: with and without the prompt.
pub const CFG_BATCH: usize = 2;
/// A step in the middle of the sampling, and a usual guidance.
pub(super) const TIMESTEP: f32 = 500.0;
const GUIDANCE: f32 = 7.0;

/// Steps of the image whose time is extrapolated.
pub const IMAGE_STEPS: usize = 20;

/// A part of the work on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BenchStage {
    /// The text encoders, on two prompts.
    Text,
    /// One evaluation of the UNet.
    UNet,
    /// The VAE's decoder.
    Vae,
}

/// Computes a stage once.
pub(super) type Forward = Box<dyn Fn() -> Result<Vec<Tensor>, Error>>;

impl BenchStage {
    /// Its name for programs.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            BenchStage::Text => "text",
            BenchStage::UNet => "unet",
            BenchStage::Vae => "vae",
        }
    }

    /// Its name for people, with `batch` evaluations of the UNet at once.
    #[must_use]
    pub fn label(self, batch: usize) -> String {
        match self {
            BenchStage::Text => "text, two prompts".to_owned(),
            BenchStage::UNet if batch == CFG_BATCH => "UNet, one CFG step".to_owned(),
            BenchStage::UNet if batch.is_multiple_of(CFG_BATCH) => format!("UNet, CFG, batch {batch}"),
            BenchStage::UNet => format!("UNet, batch {batch}"),
            BenchStage::Vae => "VAE decode".to_owned(),
        }
    }

    fn network(self) -> LoadedNetwork {
        match self {
            BenchStage::Text => LoadedNetwork::TextEncoder,
            BenchStage::UNet => LoadedNetwork::UNet,
            BenchStage::Vae => LoadedNetwork::Vae,
        }
    }

    /// How often it runs for an image of that many steps.
    pub(super) fn runs_of_image(self, steps: usize) -> usize {
        if self == BenchStage::UNet { steps } else { 1 }
    }

    /// Makes synthetic weights and inputs, for images of `side` by `side` pixels and `batch` evaluations of the UNet at
    /// once. An even `batch` has two halves, between which guidance is computed.
    pub(super) fn load(self, options: &BenchOptions, device: &Device) -> Result<Forward, Error> {
        let &BenchOptions { side, batch, vae_tiling, precision, token_merging, .. } = options;
        let sizes = options.family.sizes();
        let params = synthetic_params(device).in_precision(self.network().precision(precision));
        Ok(match self {
            BenchStage::Text => {
                let load = |config| TextEncoder::load(&params, config);
                let encoders: Vec<_> = sizes.text.iter().map(load).collect::<Result<_, _>>()?;
                let vocabulary = sizes.text.iter().map(|config| config.vocabulary).min().unwrap_or(0);
                let ids = std::array::from_fn(|i| (i * vocabulary / CONTEXT) as u32);
                Box::new(move || {
                    encoders.iter().map(|encoder| encoder.encode(&[ids; CFG_BATCH], 1)).collect()
                })
            }
            BenchStage::UNet => {
                let unet = UNet::load(&params, &sizes.unet)?;
                let latents = latents_of(&sizes, side, [batch, sizes.unet.in_channels])?;
                let timesteps = vec![TIMESTEP; batch];
                let text = normal(&[batch, CONTEXT, sizes.unet.cross_attention_dim])?;
                let added = sizes.unet.added_dim.map(|dim| normal(&[batch, dim])).transpose()?;
                let mut condition = unet.condition(&text, added.as_ref())?;
                condition.set_token_merging(token_merging);
                Box::new(move || {
                    let output = unet.forward(&latents, &timesteps, &condition)?;
                    let is_guided = batch.is_multiple_of(CFG_BATCH);
                    Ok(vec![if is_guided { ops::guidance(&output, GUIDANCE)? } else { output }])
                })
            }
            BenchStage::Vae => {
                let decoder = VaeDecoder::load(&params, &sizes.vae)?;
                let latent = latents_of(&sizes, side, [1, sizes.vae.latent_channels])?;
                Box::new(move || {
                    Ok(vec![match vae_tiling {
                        VaeTiling::Off => decoder.decode(&latent)?,
                        VaeTiling::Bands => decoder.decode_in_bands(&latent)?,
                    }])
                })
            }
        })
    }
}

/// Random weights of any shape.
pub(super) fn synthetic_params(device: &Device) -> Params<'static> {
    Params::synthetic(SEED, &|_| ()).on(device)
}

/// Latents of images of `side` by `side` pixels, in a batch with so many channels.
pub(super) fn latents_of(
    sizes: &ModelSizes,
    side: usize,
    [batch, channels]: [usize; 2],
) -> Result<Tensor, Error> {
    let side = side / sizes.vae.factor();
    normal(&[batch, side, side, channels])
}

/// Unit normals.
pub(super) fn normal(dims: &[usize]) -> Result<Tensor, Error> {
    let mut values = vec![0.0; dims.iter().product()];
    RngKind::Cpu.generator(SEED).normal(&mut values);
    Ok(Tensor::from_f32(dims, &values)?)
}

/// Some of the stages, under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSelection {
    name: &'static str,
    stages: &'static [BenchStage],
}

impl StageSelection {
    /// The stages, in the order in which they are measured.
    #[must_use]
    pub fn stages(&self) -> &'static [BenchStage] {
        self.stages
    }
}

/// All stages, and each alone.
pub static STAGE_SELECTIONS: [StageSelection; 4] = [
    StageSelection { name: "all", stages: &[BenchStage::Text, BenchStage::UNet, BenchStage::Vae] },
    StageSelection { name: "text", stages: &[BenchStage::Text] },
    StageSelection { name: "unet", stages: &[BenchStage::UNet] },
    StageSelection { name: "vae", stages: &[BenchStage::Vae] },
];

impl Named for StageSelection {
    fn name(&self) -> &'static str {
        self.name
    }
}
