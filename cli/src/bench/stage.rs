//! The stages of an image, on weights that are made up.

use latent_diffusion::families::ModelSizes;
use latent_diffusion::names::Named;
use latent_diffusion::params::Params;
use latent_diffusion::rng::RngKind;
use latent_diffusion::tensor::{Device, Tensor, ops};
use latent_diffusion::text::TextEncoder;
use latent_diffusion::tokenizer::CONTEXT;
use latent_diffusion::unet::UNet;
use latent_diffusion::vae::VaeDecoder;
use latent_diffusion::{Error, VaeTiling};

/// Seed of weights and inputs: the time does not depend on it.
const SEED: u64 = 1;
/// Both halves of classifier-free guidance.
pub(crate) const CFG: usize = 2;
/// A step in the middle of the sampling, and a usual guidance.
const TIMESTEP: f32 = 500.0;
const GUIDANCE: f32 = 7.0;

/// A part of the work on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Text,
    UNet,
    Vae,
}

/// Computes a stage once.
pub(super) type Forward = Box<dyn Fn() -> Result<Vec<Tensor>, Error>>;

impl Stage {
    /// Its name for programs.
    pub(super) fn id(self) -> &'static str {
        match self {
            Stage::Text => "text",
            Stage::UNet => "unet",
            Stage::Vae => "vae",
        }
    }

    /// Its name for people, with `batch` evaluations of the UNet at once.
    pub(super) fn label(self, batch: usize) -> String {
        match self {
            Stage::Text => "text, two prompts".to_owned(),
            Stage::UNet if batch == CFG => "UNet, one CFG step".to_owned(),
            Stage::UNet if batch.is_multiple_of(CFG) => format!("UNet, CFG, batch {batch}"),
            Stage::UNet => format!("UNet, batch {batch}"),
            Stage::Vae => "VAE decode".to_owned(),
        }
    }

    /// How often it runs for an image of so many steps.
    pub(super) fn runs_of_image(self, steps: usize) -> usize {
        if self == Stage::UNet { steps } else { 1 }
    }

    /// Makes up its weights and inputs, for images of `side` by `side` pixels and `batch` evaluations of the UNet at
    /// once. An even `batch` has two halves, between which guidance is computed.
    pub(super) fn load(
        self,
        sizes: &ModelSizes,
        side: usize,
        batch: usize,
        memory: VaeTiling,
        device: &Device,
    ) -> Result<Forward, Error> {
        let params = Params::synthetic(SEED, &|_| ()).on(device);
        let side = side / sizes.vae.factor();
        Ok(match self {
            Stage::Text => {
                let load = |config| TextEncoder::load(&params, config);
                let encoders: Vec<_> = sizes.text.iter().map(load).collect::<Result<_, _>>()?;
                let vocabulary = sizes.text.iter().map(|config| config.vocabulary).min().unwrap_or(0);
                let ids = std::array::from_fn(|i| (i * vocabulary / CONTEXT) as u32);
                Box::new(move || encoders.iter().map(|encoder| encoder.encode(&[ids; CFG], 1)).collect())
            }
            Stage::UNet => {
                let unet = UNet::load(&params, &sizes.unet)?;
                let latents = normal(&[batch, side, side, sizes.unet.in_channels])?;
                let timesteps = vec![TIMESTEP; batch];
                let text = normal(&[batch, CONTEXT, sizes.unet.cross_attention_dim])?;
                let added = sizes.unet.added_dim.map(|dim| normal(&[batch, dim])).transpose()?;
                let condition = unet.condition(&text, added.as_ref())?;
                Box::new(move || {
                    let output = unet.forward(&latents, &timesteps, &condition)?;
                    let is_guided = batch.is_multiple_of(CFG);
                    Ok(vec![if is_guided { ops::guidance(&output, GUIDANCE)? } else { output }])
                })
            }
            Stage::Vae => {
                let decoder = VaeDecoder::load(&params, &sizes.vae)?;
                let latent = normal(&[1, side, side, sizes.vae.latent_channels])?;
                Box::new(move || {
                    Ok(vec![match memory {
                        VaeTiling::Off => decoder.decode(&latent)?,
                        VaeTiling::Bands => decoder.decode_in_bands(&latent)?,
                    }])
                })
            }
        })
    }
}

/// Unit normals.
fn normal(dims: &[usize]) -> Result<Tensor, Error> {
    let mut values = vec![0.0; dims.iter().product()];
    RngKind::Cpu.generator(SEED).normal(&mut values);
    Ok(Tensor::from_f32(dims, &values)?)
}

/// What `--stage` can name.
pub(crate) struct Choice {
    name: &'static str,
    pub(super) stages: &'static [Stage],
}

/// Every stage, and all of them.
pub(crate) static CHOICES: [Choice; 4] = [
    Choice { name: "all", stages: &[Stage::Text, Stage::UNet, Stage::Vae] },
    Choice { name: "text", stages: &[Stage::Text] },
    Choice { name: "unet", stages: &[Stage::UNet] },
    Choice { name: "vae", stages: &[Stage::Vae] },
];

impl Named for Choice {
    fn name(&self) -> &'static str {
        self.name
    }
}
