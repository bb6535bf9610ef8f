//! Every kind of change, compared with weights that `reference/lora_merge.py` merged in double precision.

use crate::made::{Entry, file};
use latent_diffusion::loader::Weights;
use latent_diffusion::lora::{Lora, Merge};
use serde_json::Value;
use std::sync::Arc;

/// Names of a linear layer and of a convolution in the model and in LoRA files of kohya.
const LINEAR: [&str; 2] =
    ["unet.down_blocks.0.attentions.0.to_q.weight", "lora_unet_down_blocks_0_attentions_0_to_q"];
const CONVOLUTION: [&str; 2] =
    ["unet.down_blocks.0.resnets.0.conv1.weight", "lora_unet_down_blocks_0_resnets_0_conv1"];

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Shape and values of a tensor of the reference.
fn tensor(value: &Value) -> (Vec<usize>, Vec<f32>) {
    let shape = numbers(&value["shape"]).iter().map(|side| *side as usize).collect();
    (shape, numbers(&value["values"]).iter().map(|number| *number as f32).collect())
}

#[test]
fn every_kind_is_merged_as_in_double_precision() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("reference/lora_merge.json")).unwrap();
    assert!(cases.len() > 30);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let (shape, values) = tensor(&case["weight"]);
        let [weight, module] = if shape.len() == 2 { LINEAR } else { CONVOLUTION };
        let weights = Weights::new(Arc::new(file("model", &[(weight, &shape, values)])));
        let parts = case["tensors"].as_object().unwrap();
        let parts: Vec<_> =
            parts.iter().map(|(end, value)| (format!("{module}.{end}"), tensor(value))).collect();
        let entries: Vec<Entry<'_>> =
            parts.iter().map(|(name, (shape, values))| (name.as_str(), &shape[..], values.clone())).collect();
        let lora = Lora::open(file(name, &entries)).unwrap_or_else(|error| panic!("{error}"));
        let strength = case["strength"].as_f64().unwrap() as f32;
        let (merge, _) = Merge::new(&[(Arc::new(lora), strength)], &weights, "small").unwrap();
        let merged = merge.apply(weight, weights.get(weight, &shape).unwrap()).unwrap().to_f32().unwrap();
        let expected = numbers(&case["merged"]);
        let worst = merged.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(worst < 2e-6, "{name}: {worst}");
    }
}
