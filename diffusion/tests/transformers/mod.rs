//! Diffusion transformers: files of both layouts and of all sizes, blocks that are read when they are needed, and what is
//! refused. `goldens` compares their values with diffusers.

mod files;
mod loras;
mod negative_prompts;
mod networks;
mod quantised;

use latent_benches::{Manifest, synth};
use latent_diffusion::Pipeline;
use latent_diffusion::loader::{Checkpoint, DType};
use latent_diffusion::params::Params;
use latent_diffusion::tensor::Tensor;
use latent_diffusion::transformer::{
    DiffusionTransformer, FluxConditioning, TransformerConfig, TransformerFile, TransformerInputs,
};
use std::path::PathBuf;
use std::sync::Arc;

/// Families that have manifests of tiny models.
const TINY: [&str; 9] = [
    "sd3-medium",
    "sd35-medium",
    "sd35-large",
    "flux-schnell",
    "flux-dev",
    "flux-fill",
    "chroma",
    "z-image",
    "flux2-klein",
];

/// What a manifest lists.
fn manifest(family: &str, scale: &str, layout: &str) -> Manifest {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/transformer_manifests");
    let json = std::fs::read_to_string(folder.join(format!("{family}-{scale}-{layout}.json"))).unwrap();
    Manifest::parse(&json).unwrap()
}

/// A tiny model in memory.
fn tiny(family: &str, layout: &str) -> TransformerFile {
    TransformerFile::open(tiny_checkpoint(family, layout)).unwrap()
}

fn tiny_checkpoint(family: &str, layout: &str) -> Checkpoint {
    let manifest = manifest(family, "tiny", layout);
    let entries = manifest.files().values().next().unwrap();
    let bytes = synth::bytes(entries, 7, DType::F16);
    Checkpoint::from_bytes(family, bytes).unwrap()
}

/// A tiny model with its text encoders.
fn pipeline(family: &str) -> Pipeline {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference/manifests");
    let json = std::fs::read_to_string(folder.join(format!("{family}-pipeline-tiny-single.json"))).unwrap();
    let manifest = Manifest::parse(&json).unwrap();
    let bytes = synth::bytes(manifest.files().values().next().unwrap(), 1, DType::F16);
    Pipeline::open(Checkpoint::from_bytes(family, bytes).unwrap()).unwrap()
}

fn params(file: &TransformerFile) -> Params<'static> {
    Params::new(file.weights().clone(), &|_| ())
}

/// Numbers that differ.
fn values(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 7919 % 1013) as f32 - 506.0) / 300.0).collect();
    Tensor::from_f32(dims, &values).unwrap()
}

/// Inputs of a network for two images: latents, text, and pooled text.
struct Inputs {
    x: Tensor,
    text: Tensor,
    pooled: Option<Tensor>,
}

/// Time steps of both images.
const TIMESTEPS: [f32; 2] = [750.0, 250.0];

impl Inputs {
    fn of(config: &TransformerConfig) -> Inputs {
        let (channels, text, pooled) = match config {
            TransformerConfig::Sd3(config) => {
                (config.in_channels, config.text_width, Some(config.pooled_width))
            }
            TransformerConfig::Flux(config) => {
                let pooled = match config.conditioning {
                    FluxConditioning::Embedded { pooled_width, .. } => Some(pooled_width),
                    FluxConditioning::Approximated(_) => None,
                };
                (config.in_channels, config.text_width, pooled)
            }
            TransformerConfig::Flux2(config) => (config.in_channels, config.text_width, None),
            TransformerConfig::ZImage(config) => (config.in_channels, config.text_width, None),
            _ => unreachable!("no other network"),
        };
        Inputs {
            x: values(&[2, 4, 6, channels]),
            text: values(&[2, 5, text]),
            pooled: pooled.map(|width| values(&[2, width])),
        }
    }

    fn inputs(&self) -> TransformerInputs<'_> {
        TransformerInputs { pooled: self.pooled.as_ref(), ..TransformerInputs::of_text(&self.text) }
    }

    fn predict(&self, network: &Arc<dyn DiffusionTransformer>) -> Vec<f32> {
        let mut condition = network.condition(&self.inputs()).unwrap();
        let out = network.forward(&self.x, &TIMESTEPS, &mut condition).unwrap();
        out.f32s().unwrap().to_vec()
    }
}
