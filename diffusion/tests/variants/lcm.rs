//! Models that are told of the guidance.

use super::{assert_near, bytes, entries, quiet, values};
use latent_diffusion::families::{Distillation, Model, ModelParts};
use latent_diffusion::loader::Checkpoint;
use latent_diffusion::params::Params;
use latent_diffusion::samplers::Euler;
use latent_diffusion::schedule::ScheduleKind;
use latent_diffusion::tensor::Tensor;
use latent_diffusion::unet::{UNet, timestep_embedding};
use latent_diffusion::{Pipeline, Settings};
use serde_json::{Value, json};
use std::sync::Arc;

const COND_PROJ: &str = "model.diffusion_model.time_embed.cond_proj.weight";
/// Length of the guidance's embedding.
const DIM: usize = 256;
/// Channels of the tiny model's sinusoids.
const CHANNELS: usize = 32;

/// SD 1.x that is told of the guidance.
fn lcm() -> Vec<u8> {
    let mut entries = entries("sd15");
    let first = entries.iter().find(|e| e["name"] == "model.diffusion_model.time_embed.0.weight").unwrap();
    assert_eq!(first["shape"][1], CHANNELS);
    entries.push(json!({"name": COND_PROJ, "dtype": "W", "shape": [CHANNELS, DIM]}));
    bytes(entries)
}

/// Writes the values of a tensor over those in a file.
fn overwrite(file: &mut [u8], name: &str, values: &[f32]) {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let start = 8 + length + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    file[start..][..data.len()].copy_from_slice(&data);
}

fn unet(file: Vec<u8>) -> UNet {
    let parts = ModelParts::detect(&Arc::new(Checkpoint::from_bytes("lcm", file).unwrap())).unwrap();
    UNet::load(&Params::new(parts.weights.scope("unet"), &|_| ()), parts.network.unet().unwrap()).unwrap()
}

fn output(unet: &UNet, timestep: f32, guidance: Option<f32>) -> Tensor {
    let mut condition = unet.condition(&values(&[1, 77, 128]), None).unwrap();
    if let Some(guidance) = guidance {
        unet.set_guidance(&mut condition, &[guidance]).unwrap();
    }
    unet.forward(&values(&[1, 8, 8, 4]), &[timestep], &condition).unwrap()
}

#[test]
fn the_guidance_is_added_to_the_sinusoids_of_the_time() {
    // The embedding of a guidance of 1 is 0 in its first half, and 1 in the second. With the difference between two time
    // steps in one column of that half, the one looks like the other.
    let sinusoids = timestep_embedding(&[900.0, 100.0], CHANNELS).unwrap();
    let (from, to) = sinusoids.f32s().unwrap().split_at(CHANNELS);
    let mut matrix = vec![0.0; CHANNELS * DIM];
    for (row, (from, to)) in matrix.chunks_exact_mut(DIM).zip(from.iter().zip(to)) {
        row[DIM / 2 + 3] = to - from;
    }
    let mut file = lcm();
    overwrite(&mut file, COND_PROJ, &matrix);
    let told = unet(file);
    let plain = unet(bytes(entries("sd15")));
    assert!(told.takes_guidance() && !plain.takes_guidance());
    assert_near(&output(&told, 900.0, Some(1.0)), &output(&plain, 100.0, None));
    // What is not told, and what is told to one that does not take it, changes nothing.
    assert_near(&output(&told, 900.0, None), &output(&plain, 900.0, Some(1.0)));
}

#[test]
fn an_lcm_is_recognised_and_needs_no_second_evaluation() {
    let open = || Checkpoint::from_bytes("lcm.safetensors", lcm()).unwrap();
    let model = Model::detect(&Arc::new(open())).unwrap();
    assert_eq!(
        (model.network.unet().unwrap().time_cond_proj_dim, model.distillation),
        (Some(DIM), Some(Distillation::Lcm))
    );
    let own = model.recommended();
    assert_eq!((own.steps, own.guidance), (4, 8.0));
    let mut pipeline = Pipeline::open(open()).unwrap();
    let mut listener = quiet();
    let conditioning = pipeline.encode(&["a cat"], &["a dog"], &Settings::default(), &mut *listener).unwrap();
    let other = pipeline.encode(&["a cat"], &["a house"], &Settings::default(), &mut *listener).unwrap();
    let mut latents = |guidance, conditioning| {
        let settings = Settings::default()
            .with_steps(1)
            .with_guidance(guidance)
            .with_sampler(&Euler)
            .with_schedule(ScheduleKind::Normal)
            .with_width(Some(64))
            .with_height(Some(64));
        pipeline.sample(conditioning, &settings, &mut *listener).unwrap().values
    };
    let eight = latents(8.0, &conditioning);
    assert!(eight == latents(8.0, &other), "the negative prompt counts");
    assert!(eight != latents(4.0, &conditioning), "the guidance does not count");
}
