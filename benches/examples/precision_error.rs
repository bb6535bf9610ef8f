//! How far the hidden states of a UNet of full size move by the precisions of the CPU, block by block.
//!
//!     cargo run --release -p latent-benches --example precision_error -- [SIDE [bf16|int8 ...]]
//!
//! Stable Diffusion 1.5 with synthetic weights, SIDE by SIDE pixels (512). For each block it prints the relative error
//! `|x - f32| / |f32|` over all values; errors of earlier blocks are in it.

use latent_diffusion::families::published;
use latent_diffusion::names::Named;
use latent_diffusion::params::Params;
use latent_diffusion::rng::RngKind;
use latent_diffusion::tensor::{Precision, Tensor};
use latent_diffusion::tokenizer::CONTEXT;
use latent_diffusion::unet::UNet;
use std::error::Error;

const SEED: u64 = 1;
/// In the middle of the sampling.
const TIMESTEP: f32 = 500.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let side: usize = args.next().map_or(Ok(512), |side| side.parse())?;
    let named: Vec<Precision> = args.map(|name| name.parse()).collect::<Result<_, _>>()?;
    let precisions = if named.is_empty() { vec![Precision::Bf16, Precision::Int8] } else { named };

    let exact = hidden_states(side, Precision::F32)?;
    let others = precisions.iter().map(|precision| hidden_states(side, *precision));
    let others = others.collect::<Result<Vec<_>, _>>()?;
    let names: String = precisions.iter().map(|precision| format!(" {precision} |")).collect();
    println!("| block | hidden states |{names}\n|---|---|{}", "---|".repeat(precisions.len()));
    for (block, expected) in exact.iter().enumerate() {
        let name = if block + 1 == exact.len() { "prediction".to_owned() } else { (block + 1).to_string() };
        let dims = expected.dims();
        let errors = others.iter().map(|states| relative_error(&states[block], expected));
        let errors: String =
            errors.map(|error| Ok(format!(" {:.2e} |", error?))).collect::<Result<_, Box<dyn Error>>>()?;
        println!("| {name} | {}x{}x{} |{errors}", dims[1], dims[2], dims[3]);
    }
    Ok(())
}

/// Those of one evaluation in a precision, and the prediction.
fn hidden_states(side: usize, precision: Precision) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let model = published().find(|model| model.name() == "sd15").ok_or("no model has that name")?;
    let sizes = model.sizes();
    let unet = UNet::load(&Params::synthetic(SEED, &|_| ()).in_precision(precision), &sizes.unet)?;
    let latent_side = side / sizes.vae.factor();
    let latents = normal(&[1, latent_side, latent_side, sizes.unet.in_channels])?;
    let condition = unet.condition(&normal(&[1, CONTEXT, sizes.unet.cross_attention_dim])?, None)?;
    Ok(unet.hidden_states(&latents, &[TIMESTEP], &condition)?)
}

/// Unit normals.
fn normal(dims: &[usize]) -> Result<Tensor, Box<dyn Error>> {
    let mut values = vec![0.0; dims.iter().product()];
    RngKind::Cpu.generator(SEED).normal(&mut values);
    Ok(Tensor::from_f32(dims, &values)?)
}

/// The norm of the difference beside that of what was expected.
fn relative_error(x: &Tensor, expected: &Tensor) -> Result<f64, Box<dyn Error>> {
    let (x, expected) = (x.f32s()?, expected.f32s()?);
    let square = |value: f64| value * value;
    let difference: f64 = x.iter().zip(expected).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
    let norm: f64 = expected.iter().map(|y| square(f64::from(*y))).sum();
    Ok((difference / norm).sqrt())
}
