//! Times one stage of Stable Diffusion 1.5 in candle.
//!
//! `latent-peer-candle FOLDER text|unet|vae RUNS`, where FOLDER is a diffusers folder. The stage runs once to warm up
//! and then RUNS times, in f32, without attention slices. The last line printed is a JSON object with the seconds of
//! each run. RAYON_NUM_THREADS sets the threads.

use candle_core::{DType, Device, Error, Module, Result, Tensor};
use candle_transformers::models::stable_diffusion::{StableDiffusionConfig, build_clip_transformer};
use std::path::Path;
use std::time::Instant;

/// The instruction set that this program was compiled for. The matrix products (crate `gemm`) choose at run time, AVX2 at
/// most: candle leaves their AVX-512 off.
const BUILT_FOR: &str = if cfg!(target_feature = "avx512f") {
    "AVX-512, AVX2 in matrix products"
} else if cfg!(target_feature = "avx2") {
    "AVX2"
} else if cfg!(target_feature = "neon") {
    "NEON"
} else {
    "SSE2, AVX2 in matrix products"
};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, stage, runs] = args.as_slice() else {
        return Err(Error::msg("usage: latent-peer-candle FOLDER text|unet|vae RUNS"));
    };
    let folder = Path::new(folder);
    let runs: usize = runs.parse().map_err(Error::wrap)?;
    let device = Device::Cpu;
    let config = StableDiffusionConfig::v1_5(None, Some(512), Some(512));
    let normal = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, &device);

    let start = Instant::now();
    let (load, seconds) = match stage.as_str() {
        "text" => {
            let weights = folder.join("text_encoder/model.safetensors");
            let text = build_clip_transformer(&config.clip, weights, &device, DType::F32)?;
            // One prompt after the other, as candle's example does: its causal mask fails on a batch of two.
            let prompts = Tensor::arange(1000u32, 1154, &device)?.reshape((2, 77))?;
            let forward = |i| text.forward(&prompts.narrow(0, i, 1)?);
            (start.elapsed(), time(runs, &[2, 77, 768], || Tensor::cat(&[forward(0)?, forward(1)?], 0))?)
        }
        "unet" => {
            let weights = folder.join("unet/diffusion_pytorch_model.safetensors");
            let unet = config.build_unet(weights, &device, 4, false, DType::F32)?;
            let (latents, context) = (normal(&[2, 4, 64, 64])?, normal(&[2, 77, 768])?);
            (start.elapsed(), time(runs, &[2, 4, 64, 64], || unet.forward(&latents, 500.0, &context))?)
        }
        "vae" => {
            let weights = folder.join("vae/diffusion_pytorch_model.safetensors");
            let vae = config.build_vae(weights, &device, DType::F32)?;
            let latents = normal(&[1, 4, 64, 64])?;
            (start.elapsed(), time(runs, &[1, 3, 512, 512], || vae.decode(&latents))?)
        }
        _ => return Err(Error::msg(format!("no stage {stage}: text, unet or vae"))),
    };
    let (name, load) = (version(), load.as_secs_f64());
    println!(
        "{{\"name\": \"candle {name}\", \"isa\": [\"{BUILT_FOR}\"], \"load_seconds\": {load}, \
         \"stages\": {{\"{stage}\": {seconds:?}}}}}"
    );
    Ok(())
}

/// The version of candle that Cargo.lock names.
fn version() -> &'static str {
    let rest = include_str!("../Cargo.lock").split("name = \"candle-core\"\nversion = \"").nth(1);
    rest.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// The seconds of `runs` calls after one that warms up; the result must have the shape `expected`.
fn time(runs: usize, expected: &[usize], forward: impl Fn() -> Result<Tensor>) -> Result<Vec<f64>> {
    let mut seconds = Vec::with_capacity(runs);
    for run in 0..=runs {
        let start = Instant::now();
        let result = forward()?;
        if result.dims() != expected {
            return Err(Error::msg(format!("got {:?} where {expected:?} was expected", result.dims())));
        }
        if run > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}
