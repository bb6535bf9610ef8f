//! SSD-1B, Vega and KOALA: SDXL with fewer transformer blocks, and less or nothing in the middle.

use super::{assert_near, bytes, checkpoint, entries, quiet, values};
use latent_diffusion::families::{Model, ModelParts, ModelVariant, Probe};
use latent_diffusion::loader::{Checkpoint, Weights};
use latent_diffusion::params::Params;
use latent_diffusion::tensor::Tensor;
use latent_diffusion::unet::{UNet, UNetConfig};
use latent_diffusion::{Pipeline, Settings};
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::Arc;

const UNET: &str = "model.diffusion_model.";

fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap()
}

/// Layers that a transformer block adds to its input by.
const LAST: [&str; 3] = ["attn1.to_out.0.", "attn2.to_out.0.", "ff.net.2."];

/// SDXL without what a test of names is true of.
fn without(test: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut entries = entries("sdxl");
    entries.retain(|entry| !name(entry).strip_prefix(UNET).is_some_and(&test));
    entries
}

/// SDXL in which the parts that [`is_not_in_ssd`] leaves out add nothing to their input.
fn idle() -> Vec<Value> {
    let mut entries = entries("sdxl");
    for entry in &mut entries {
        let short = name(entry).strip_prefix(UNET).unwrap_or("").to_owned();
        let is_last =
            ["middle_block.1.proj_out.", "middle_block.2.out_layers.3."].iter().any(|n| short.starts_with(n))
                || (is_not_in_ssd(&short) && LAST.iter().any(|layer| short.contains(layer)));
        if is_last {
            entry["fixed"] = json!("w:0");
        }
    }
    entries
}

/// Attention in the middle and what follows it, and all but one block in two of the coarsest attentions on the way up.
fn is_not_in_ssd(name: &str) -> bool {
    name.starts_with("middle_block.1.")
        || name.starts_with("middle_block.2.")
        || ["output_blocks.1.", "output_blocks.2."].iter().any(|block| name.starts_with(block))
            && name.contains(".transformer_blocks.1.")
}

/// Loads a UNet, and expects that each of its tensors is read once.
fn load(weights: &Weights, config: &UNetConfig) -> UNet {
    let read = Cell::new(0);
    let on_read = |_: u64| read.set(read.get() + 1);
    let unet = UNet::load(&Params::new(weights.clone(), &on_read), config).unwrap();
    assert_eq!(read.get(), weights.names().count(), "not all tensors are used");
    unet
}

fn parts(entries: Vec<Value>) -> (UNetConfig, UNet) {
    let parts = ModelParts::detect(&checkpoint(entries)).unwrap();
    let unet = load(&parts.weights.scope("unet"), parts.network.unet().unwrap());
    (parts.network.unet().unwrap().clone(), unet)
}

fn output(unet: &UNet) -> Tensor {
    let condition = unet.condition(&values(&[1, 77, 320]), Some(&values(&[1, 1728]))).unwrap();
    // Sides that do not halve evenly.
    unet.forward(&values(&[1, 8, 12, 4]), &[500.0], &condition).unwrap()
}

#[test]
fn fewer_blocks_are_as_blocks_that_do_nothing() {
    let (small, unet) = parts(without(is_not_in_ssd));
    assert_eq!(small.transformer_depth, [0, 1, 2]);
    assert_eq!(small.up_depth, Some(vec![vec![0; 3], vec![1; 3], vec![2, 1, 1]]));
    assert_eq!((small.mid_depth, small.mid_resnets), (0, 1));
    let (whole, idle) = parts(idle());
    assert_eq!((whole.up_depth.as_ref(), whole.mid_depth, whole.mid_resnets), (None, 2, 2));
    assert_near(&output(&unet), &output(&idle));
}

#[test]
fn depths_of_each_attention_are_those_of_the_level() {
    let ModelParts { network, weights, .. } = ModelParts::detect(&checkpoint(entries("sdxl"))).unwrap();
    let config = network.unet().unwrap().clone();
    let each =
        config.transformer_depth.iter().map(|depth| vec![*depth; config.layers_per_block + 1]).collect();
    let told = UNetConfig { up_depth: Some(each), ..config.clone() };
    let weights = weights.scope("unet");
    assert_near(&output(&load(&weights, &config)), &output(&load(&weights, &told)));
}

#[test]
fn small_models_are_recognised_and_draw() {
    let is_second = |name: &str| name.contains(".transformer_blocks.1.");
    let in_middle = |name: &str| name.starts_with("middle_block.");
    let vega = without(|name| is_second(name) || is_not_in_ssd(name));
    let koala = without(in_middle);
    for (entries, variant, up, middle) in [
        (without(is_not_in_ssd), ModelVariant::Vega, true, 1),
        (vega, ModelVariant::Vega, false, 1),
        (koala, ModelVariant::Koala, false, 0),
    ] {
        let probe = Probe::of(&checkpoint(entries.clone()));
        assert_eq!(probe.identity().variant, Some(variant));
        let model = Model::detect(&checkpoint(entries.clone())).unwrap();
        assert_eq!((model.family.id, model.network.unet().unwrap().up_depth.is_some()), ("sdxl", up));
        assert_eq!(
            (model.network.unet().unwrap().mid_depth, model.network.unet().unwrap().mid_resnets),
            (0, middle)
        );
        let file = Checkpoint::from_bytes("small", bytes(entries)).unwrap();
        let settings = Settings::default().with_width(Some(64)).with_height(Some(64)).with_steps(1);
        let images = Pipeline::open(file).unwrap().text_to_image("a cat", "", &settings, &mut *quiet());
        assert_eq!(images.unwrap()[0].rgb.len(), 64 * 64 * 3);
    }
}

#[test]
fn the_published_depths_are_read_from_the_names_of_diffusers() {
    // Blocks of each attention on the way up, coarsest level first.
    let ssd = ([0, 2, 4], [[4, 4, 10], [2, 1, 1], [0, 0, 0]]);
    let vega = ([0, 1, 2], [[2, 2, 2], [1, 1, 1], [0, 0, 0]]);
    for ((down, up), is_usual) in [(ssd, false), (vega, true)] {
        let mut entries = Vec::new();
        let mut add = |name: String, shape: &[usize]| {
            entries.push(json!({"name": name, "dtype": "W", "shape": shape}));
        };
        add("conv_in.weight".into(), &[64, 4, 3, 3]);
        add("conv_out.weight".into(), &[4, 64, 3, 3]);
        add("add_embedding.linear_1.weight".into(), &[256, 1728]);
        add("mid_block.resnets.0.conv1.weight".into(), &[64, 64, 3, 3]);
        let mut attention = |block: &str, layer: usize, depth: usize| {
            add(format!("{block}.resnets.{layer}.conv1.weight"), &[64, 64, 3, 3]);
            for k in 0..depth {
                let transformer = format!("{block}.attentions.{layer}.transformer_blocks.{k}");
                add(format!("{transformer}.norm1.weight"), &[64]);
                add(format!("{transformer}.attn2.to_k.weight"), &[64, 2048]);
            }
        };
        for (level, depth) in down.iter().enumerate() {
            (0..2).for_each(|layer| attention(&format!("down_blocks.{level}"), layer, *depth));
        }
        for (block, depths) in up.iter().enumerate() {
            let layers = depths.iter().enumerate();
            layers.for_each(|(layer, depth)| attention(&format!("up_blocks.{block}"), layer, *depth));
        }
        let weights = Weights::new(Arc::new(Checkpoint::from_bytes("unet", bytes(entries)).unwrap()));
        let config = UNetConfig::from_weights(&weights, latent_diffusion::unet::Heads::Width(64)).unwrap();
        assert_eq!(config.transformer_depth, down);
        let finest_first: Vec<Vec<usize>> = up.iter().rev().map(|level| level.to_vec()).collect();
        assert_eq!(config.up_depth, (!is_usual).then_some(finest_first));
        assert_eq!((config.mid_depth, config.mid_resnets), (0, 1));
        assert_eq!((config.cross_attention_dim, config.added_dim), (2048, Some(1728)));
    }
}
