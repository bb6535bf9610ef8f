//! A LoRA file added to a small model.

use super::assert_one_line;
use super::bytes::{FuzzInput, file};
use latent_diffusion::Error;
use latent_diffusion::lora::{Lora, Merge};
use latent_loader::{Checkpoint, Weights};
use std::sync::{Arc, OnceLock};

/// Layers of the model: a linear layer and a convolution in the UNet, a linear layer in the text encoder.
const LAYERS: [(&str, &[usize]); 3] = [
    ("unet.down_blocks.0.attentions.0.attn2.to_k.weight", &[4, 6]),
    ("unet.down_blocks.0.resnets.0.conv1.weight", &[2, 3, 3, 3]),
    ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.weight", &[4, 6]),
];
/// Names of modules, most of them of those layers.
const MODULES: [&str; 7] = [
    "lora_unet_down_blocks_0_attentions_0_attn2_to_k",
    "lora_unet_input_blocks_1_1_attn2_to_k",
    "unet.down_blocks.0.attentions.0.attn2.to_k",
    "lora_unet_down_blocks_0_resnets_0_conv1",
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
    "unet.down_blocks.0.attentions.0.attn2.processor.to_k_lora",
    "lora_te2_nowhere",
];
/// Roles of tensors.
const ROLES: [&str; 24] = [
    "lora_up.weight",
    "lora_down.weight",
    "lora_mid.weight",
    "alpha",
    "diff",
    "dora_scale",
    "lora_A.weight",
    "lora_B.weight",
    "lora.up.weight",
    "lora.down.weight",
    "up.weight",
    "down.weight",
    "hada_w1_a",
    "hada_w1_b",
    "hada_t1",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
];
/// Roles of rotations and of GLoRA, with those that go with them.
const MORE_ROLES: [&str; 13] = [
    "oft_blocks",
    "oft_diag",
    "rescale",
    "a1.weight",
    "a2.weight",
    "b1.weight",
    "b2.weight",
    "bm.weight",
    "alpha",
    "dora_scale",
    "lora_B.bias",
    "lora_A.default.weight",
    "lora_B.default.weight",
];
const DIMS: [usize; 8] = [1, 2, 3, 4, 6, 0, 54, 5];
/// Most values of a tensor.
const MOST_ELEMENTS: usize = 1024;
const WEIGHTS: [f32; 6] = [1.0, -0.5, 0.0, 100.0, f32::NAN, 1e9];

/// The first byte says whether the rest is a header, or a plan of tensors.
pub fn run(data: &[u8]) {
    let mut input = FuzzInput(data);
    let how = input.byte();
    let weight = input.one_of(&WEIGHTS);
    let roles: &[&'static str] = if how < 0x80 { &ROLES } else { &MORE_ROLES };
    let bytes = if how % 8 == 0 { file(input.0, &[0x3c; 64]) } else { plan(&mut input, roles) };
    let Ok(checkpoint) = Checkpoint::from_bytes("fuzz", bytes.clone()) else { return };
    if let Err(error) = merge(checkpoint, weight) {
        assert_one_line(&error);
        assert!(error.is_bad_input(), "{error:?}");
        return;
    }
    // Added once more it gives the same.
    let again = || merge(Checkpoint::from_bytes("fuzz", bytes.clone()).unwrap(), weight).unwrap();
    assert_eq!(again(), again());
}

/// A file of tensors with the names of LoRAs and small shapes.
fn plan(input: &mut FuzzInput<'_>, roles: &[&'static str]) -> Vec<u8> {
    let (mut header, mut values) = (String::from("{"), Vec::new());
    for index in 0..input.below(9) {
        let (module, role) = (input.one_of(&MODULES), input.one_of(roles));
        let mut shape: Vec<usize> = (0..input.below(5)).map(|_| input.one_of(&DIMS)).collect();
        while shape.iter().product::<usize>() > MOST_ELEMENTS {
            shape.pop();
        }
        let elements: usize = shape.iter().product();
        let (dtype, size) = input.one_of(&[("F32", 4), ("F16", 2), ("BF16", 2), ("I8", 1)]);
        let start = values.len();
        let (kind, given) = (input.byte(), input.take(2));
        let pattern = match kind % 4 {
            0 => [0, 0, 0x80, 0x3f],
            1 => [0, 0x3c, 0, 0x3c],
            2 => [0x80, 0x3f, 0x80, 0xbf],
            _ => [given.first().copied().unwrap_or(0), given.get(1).copied().unwrap_or(0), 0, 0],
        };
        values.extend(pattern.into_iter().cycle().take(elements * size));
        let (comma, end) = (if index == 0 { "" } else { "," }, values.len());
        header += &format!(
            r#"{comma}"{module}.{role}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
    }
    file((header + "}").as_bytes(), &values)
}

/// All weights of the model after it was added.
fn merge(checkpoint: Checkpoint, weight: f32) -> Result<Vec<Vec<f32>>, Error> {
    let lora = Arc::new(Lora::open(checkpoint)?);
    let model = model();
    let (merge, applied) = Merge::new(&[(lora, weight)], model, "small")?;
    assert!(applied[0].applied <= applied[0].total);
    assert_one_line(&applied[0]);
    LAYERS
        .iter()
        .map(|(name, shape)| {
            let raw = merge.apply(name, model.get(name, shape)?)?;
            assert_eq!(raw.shape, *shape);
            let values = raw.to_f32()?;
            assert!(values.iter().all(|value| value.is_finite()));
            Ok(values)
        })
        .collect()
}

/// A model of zeros.
fn model() -> &'static Weights {
    static MODEL: OnceLock<Weights> = OnceLock::new();
    MODEL.get_or_init(|| {
        let (mut header, mut end) = (String::from("{"), 0);
        for (name, shape) in LAYERS {
            let comma = if end == 0 { "" } else { "," };
            let start = end;
            end += 4 * shape.iter().product::<usize>();
            header += &format!(
                r#"{comma}"{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
            );
        }
        let bytes = file((header + "}").as_bytes(), &vec![0; end]);
        Weights::new(Arc::new(Checkpoint::from_bytes("model", bytes).unwrap()))
    })
}
