//! LoRAs of diffusion transformers: every form of names on weights of both layouts, compared with what `reference/lora_transformers.py`
//! merged in double precision.

use super::manifest;
use crate::made::{Entry, file, file_with};
use latent_benches::{Manifest, synth};
use latent_diffusion::Pipeline;
use latent_diffusion::convert::{Conversion, ConvertOptions, OutputLayout};
use latent_diffusion::families::Probe;
use latent_diffusion::loader::{Checkpoint, DType, Weights};
use latent_diffusion::lora::{Lora, Merge, Strength};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tempfile::TempDir;

/// Sums over a difference, by which it is compared.
const SUMS: usize = 4;

/// Values of a factor, which follow from its name; a flag is not set.
fn factor(name: &str, count: usize) -> Vec<f32> {
    if name.ends_with(".on_input") {
        return vec![0.0; count];
    }
    let seed: usize = name.bytes().enumerate().map(|(i, byte)| (i + 1) * usize::from(byte)).sum();
    (1..=count).map(|n| (((n * 7919 + seed % 10007 * 31) % 257) as f32 - 128.0) / 256.0).collect()
}

fn digest(change: &[f32]) -> [f64; SUMS] {
    let weight = |n: usize, k: usize| ((n * (2 * k + 3) * 7919) % 1009) as f64 / 504.5 - 1.0;
    std::array::from_fn(|k| {
        change.iter().enumerate().map(|(i, value)| f64::from(*value) * weight(i + 1, k)).sum()
    })
}

/// The tensors of a tiny file in one layout.
fn entries(family: &str, layout: &str) -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/transformer_manifests");
    let json = std::fs::read_to_string(format!("{folder}/{family}-tiny-{layout}.json")).unwrap();
    let manifest: Value = serde_json::from_str(&json).unwrap();
    manifest["files"].as_object().unwrap().values().next().unwrap().as_array().unwrap().clone()
}

/// A tiny file whose weights are all of this value.
fn constant(family: &str, layout: &str, value: f32) -> Checkpoint {
    let manifest = manifest(family, "tiny", layout);
    let tensors = manifest.files().values().flatten();
    let tensors: Vec<_> =
        tensors.map(|entry| (entry.name.clone(), entry.shape.clone(), entry.len())).collect();
    let entries: Vec<Entry<'_>> =
        tensors.iter().map(|(name, shape, len)| (name.as_str(), &shape[..], vec![value; *len])).collect();
    file(family, &entries)
}

/// All weights of a file with a LoRA merged in, and how many of its layers were.
fn merged(
    base: Checkpoint,
    lora: Checkpoint,
    strength: f32,
) -> Result<(BTreeMap<String, Vec<f32>>, usize), String> {
    let lora = Lora::open(lora).map_err(|error| error.to_string())?;
    let loras = vec![(Arc::new(lora), Strength::from(strength))];
    let options = ConvertOptions { loras, ..ConvertOptions::to(OutputLayout::Single) };
    let conversion = Conversion::plan(base, &options).map_err(|error| error.to_string())?;
    let [applied] = conversion.applied() else { panic!("one LoRA") };
    assert!(applied.unmatched.is_empty(), "{applied}");
    let count = applied.applied;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("merged.safetensors");
    conversion.write(&path, &mut |_| ControlFlow::Continue(())).map_err(|error| error.to_string())?;
    let merged = Checkpoint::open(&path).unwrap();
    let names: Vec<String> = merged.tensors().map(|tensor| tensor.name.clone()).collect();
    let read = |name: String| {
        let values = merged.read(&name).unwrap().to_f32().unwrap().to_vec();
        (name, values)
    };
    Ok((names.into_iter().map(read).collect(), count))
}

/// The weights of diffusers' layout, taken out of those of the original one as the manifest says.
fn as_diffusers(family: &str, original: &BTreeMap<String, Vec<f32>>) -> BTreeMap<String, Vec<f32>> {
    let part = |entry: &Value| {
        let name = entry["name"].as_str().unwrap().to_owned();
        let src = entry["src"].as_str().unwrap_or(&name);
        let rows_of = |value: &Value| value.as_array().unwrap()[0].as_u64().unwrap() as usize;
        // Norms are called scale in files of Flux.1.
        let all = original.get(src).or_else(|| original.get(&src.replace(".weight", ".scale")))?;
        let columns = all.len() / entry.get("src_shape").map_or(1, rows_of).max(1);
        let mut values = match entry["rows"].as_array() {
            Some(rows) => {
                let [start, end] = [0, 1].map(|i| rows[i].as_u64().unwrap() as usize);
                all[start * columns..end * columns].to_vec()
            }
            None => all.clone(),
        };
        if entry["op"] == "swap" {
            let half = values.len() / 2;
            values.rotate_left(half);
        }
        Some((name, values))
    };
    entries(family, "diffusers").iter().filter_map(part).collect()
}

/// The LoRA of a case.
fn lora_of(case: &Value) -> Checkpoint {
    let mut tensors = Vec::new();
    for (name, shape) in case["tensors"].as_object().unwrap() {
        let shape: Vec<usize> =
            shape.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let values = factor(name, shape.iter().product());
        tensors.push((name.clone(), shape, values));
        if let (Some(module), Some(alpha)) = (name.strip_suffix(".lora_down.weight"), case["alpha"].as_f64())
        {
            tensors.push((format!("{module}.alpha"), vec![], vec![alpha as f32]));
        }
    }
    let entries: Vec<Entry<'_>> =
        tensors.iter().map(|(name, shape, values)| (name.as_str(), &shape[..], values.clone())).collect();
    file(case["form"].as_str().unwrap(), &entries)
}

#[test]
fn every_form_is_merged_as_in_double_precision() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../reference/lora_transformers.json")).unwrap();
    assert!(cases.len() >= 30);
    for case in &cases {
        let (family, form) = (case["family"].as_str().unwrap(), case["form"].as_str().unwrap());
        let strength = case["strength"].as_f64().unwrap() as f32;
        for layout in ["single", "diffusers"] {
            let (found, count) = merged(constant(family, layout, 0.0), lora_of(case), strength).unwrap();
            assert_eq!(count as u64, case["modules"].as_u64().unwrap(), "{family} {form} {layout}");
            let found = if layout == "single" { as_diffusers(family, &found) } else { found };
            let expected = case["expected"].as_object().unwrap();
            for (name, values) in &found {
                let sums = expected
                    .get(name)
                    .map_or([0.0; SUMS], |sums| std::array::from_fn(|k| sums[k].as_f64().unwrap()));
                for (a, b) in digest(values).iter().zip(sums) {
                    assert!((a - b).abs() < 2e-4, "{family} {form} {layout} {name}: {a} {b}");
                }
            }
        }
    }
}

/// Names and shapes of the tensors of a layer.
type LayerShapes<'a> = (&'a str, &'a [(&'a str, &'a [usize])]);

/// A file with a factor or more for each module: ends of names and shapes.
fn lora(modules: &[LayerShapes<'_>]) -> Checkpoint {
    let mut tensors = Vec::new();
    for (module, parts) in modules {
        for (end, shape) in *parts {
            tensors.push((format!("{module}.{end}"), *shape, shape.iter().product()));
        }
    }
    let entries: Vec<Entry<'_>> =
        tensors.iter().map(|(name, shape, len)| (name.as_str(), *shape, factor(name, *len))).collect();
    file("lora", &entries)
}

#[test]
fn other_kinds_of_changes_are_the_same_on_fused_layers_and_on_single_ones() {
    let (one, all) = ("lora_unet_double_blocks_1_img_attn_qkv", "lora_unet_single_blocks_0_linear1");
    let last = "lora_unet_final_layer_adaLN_modulation_1";
    for (name, file) in [
        (
            "loha",
            lora(&[(
                one,
                &[
                    ("hada_w1_a", &[192, 2]),
                    ("hada_w1_b", &[2, 64]),
                    ("hada_w2_a", &[192, 2]),
                    ("hada_w2_b", &[2, 64]),
                ],
            )]),
        ),
        ("lokr", lora(&[(all, &[("lokr_w1", &[4, 2]), ("lokr_w2", &[112, 32])])])),
        (
            "lokr of a product",
            lora(&[(one, &[("lokr_w1", &[2, 4]), ("lokr_w2_a", &[96, 2]), ("lokr_w2_b", &[2, 16])])]),
        ),
        ("difference", lora(&[(all, &[("diff", &[448, 64]), ("diff_b", &[448])])])),
        ("difference of halves", lora(&[(last, &[("diff", &[128, 64]), ("diff_b", &[128])])])),
        (
            "dora of outputs",
            lora(&[(
                one,
                &[("lora_up.weight", &[192, 2]), ("lora_down.weight", &[2, 64]), ("dora_scale", &[192, 1])],
            )]),
        ),
        (
            "dora of inputs on halves",
            lora(&[(
                last,
                &[("lora_up.weight", &[128, 2]), ("lora_down.weight", &[2, 64]), ("dora_scale", &[1, 64])],
            )]),
        ),
        ("ia3", lora(&[(one, &[("weight", &[192]), ("on_input", &[1])])])),
        (
            "glora",
            lora(&[(
                one,
                &[
                    ("a1.weight", &[64, 2]),
                    ("a2.weight", &[2, 64]),
                    ("b1.weight", &[192, 2]),
                    ("b2.weight", &[2, 64]),
                ],
            )]),
        ),
        (
            "norm",
            lora(&[("diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale", &[("diff", &[32])])]),
        ),
        (
            "part of a fused layer",
            lora(&[(
                "transformer.transformer_blocks.0.attn.to_k",
                &[("lora_up.weight", &[64, 2]), ("lora_down.weight", &[2, 64]), ("dora_scale", &[1, 64])],
            )]),
        ),
        (
            "oft of a part",
            lora(&[("transformer.single_transformer_blocks.0.proj_mlp", &[("oft_blocks", &[64, 4, 4])])]),
        ),
    ] {
        // Files are read once.
        let bytes = |layout| {
            let tensors: Vec<_> = file.tensors().map(|t| (t.name.clone(), t.shape.clone())).collect();
            let entries: Vec<Entry<'_>> = tensors
                .iter()
                .map(|(name, shape)| (name.as_str(), &shape[..], factor(name, shape.iter().product())))
                .collect();
            merged(constant("flux-dev", layout, 0.5), crate::made::file("lora", &entries), 0.5).unwrap().0
        };
        let (fused, alone) = (as_diffusers("flux-dev", &bytes("single")), bytes("diffusers"));
        let mut changed = 0;
        for (name, values) in &alone {
            let worst = values.iter().zip(&fused[name]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{name}: {worst}");
            changed += usize::from(values.iter().any(|value| *value != 0.5));
        }
        assert!(changed > 0, "{name}");
    }
}

#[test]
fn a_rotation_of_a_fused_layer_needs_it_fused() {
    let rotation = || lora(&[("lora_unet_double_blocks_0_img_attn_qkv", &[("oft_blocks", &[48, 4, 4])])]);
    merged(constant("flux-dev", "single", 0.5), rotation(), 1.0).unwrap();
    let line = merged(constant("flux-dev", "diffusers", 0.5), rotation(), 1.0).unwrap_err();
    assert!(line.contains("as 3 layers; give the model as a file of the original layout"), "{line}");
}

#[test]
fn a_lora_for_another_family_is_refused_by_name() {
    const PAIR: [(&str, &[usize]); 2] = [("lora_up.weight", &[64, 2]), ("lora_down.weight", &[2, 64])];
    for (family, module, said) in [
        ("flux-dev", "lora_unet_joint_blocks_0_x_block_attn_qkv", "is a LoRA for Stable Diffusion 3"),
        ("flux-dev", "lora_unet_input_blocks_1_1_attn1_to_q", "is a LoRA for Stable Diffusion with a UNet"),
        ("flux-dev", "transformer.transformer_blocks.0.img_mlp.net.2", "is a LoRA for Qwen-Image"),
        ("flux-dev", "diffusion_model.layers.0.attention.qkv", "is a LoRA for Z-Image"),
        ("sd35-medium", "lora_unet_double_blocks_0_img_attn_proj", "is a LoRA for Flux.1 dev"),
        ("z-image", "transformer.single_transformer_blocks.0.attn.to_q", "is a LoRA for Flux.1 dev"),
        ("z-image", "transformer.transformer_blocks.0.attn.to_q", "does not fit this Z-Image model"),
        (
            "sd35-medium",
            "transformer.transformer_blocks.0.attn.to_q",
            "changes 64x64 where the model has [128, 128]",
        ),
    ] {
        let line = merged(constant(family, "single", 0.0), lora(&[(module, &PAIR)]), 1.0).unwrap_err();
        assert!(line.contains(said) && line.contains("does not fit this"), "{line}");
    }
    // A control LoRA replaces norms and widens the first layer.
    let control = lora(&[("double_blocks.0.img_attn.norm.query_norm", &[("scale", &[32])])]);
    let line = merged(constant("flux-dev", "single", 0.0), control, 1.0).unwrap_err();
    assert!(line.contains("a Flux.1 control LoRA"), "{line}");
}

#[test]
fn the_family_of_a_lora_is_seen_in_its_layers_and_metadata() {
    const DOWN: &str = "lora_down.weight";
    for (module, width, metadata, family) in [
        ("lora_unet_joint_blocks_0_x_block_attn_qkv", 1536, None, Some("sd3")),
        ("lora_unet_double_blocks_0_img_attn_qkv", 3072, None, Some("flux")),
        (
            "lora_unet_double_blocks_0_img_attn_qkv",
            3072,
            Some(("ss_base_model_version", "flux1")),
            Some("flux"),
        ),
        (
            "lora_unet_double_blocks_0_img_attn_qkv",
            3072,
            Some(("ss_base_model_version", "flux1-schnell")),
            Some("flux-schnell"),
        ),
        ("lora_unet_distilled_guidance_layer_double_blocks_0", 3072, None, Some("chroma")),
        ("double_blocks.0.processor.qkv_lora1", 3072, None, Some("flux")),
        ("transformer.transformer_blocks.0.attn.to_q", 2432, None, Some("sd3")),
        ("transformer.transformer_blocks.0.attn.to_q", 3072, None, Some("flux")),
        ("transformer.layers.0.attention.to_q", 3840, None, Some("z-image")),
        (
            "diffusion_model.layers.0.attention.qkv",
            3840,
            Some(("modelspec.architecture", "Z-Image/lora")),
            Some("z-image"),
        ),
        ("transformer.transformer_blocks.59.attn.to_q", 3072, None, None),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, None, Some("sdxl")),
    ] {
        let (down, up) = (format!("{module}.{DOWN}"), format!("{module}.lora_up.weight"));
        let entries: [Entry<'_>; 2] = [(&down, &[1, width], vec![0.0; width]), (&up, &[4, 1], vec![0.0; 4])];
        let metadata: Vec<(&str, &str)> = metadata.into_iter().collect();
        let checkpoint = Arc::new(file_with("lora", &entries, &metadata));
        let found = Probe::of(&checkpoint).identity().family.map(|family| family.id);
        assert_eq!(found, family, "{module} {width}");
    }
}

#[test]
fn large_text_encoders_are_found_under_every_name() {
    let t5 = "t5.encoder.block.0.layer.0.SelfAttention.q.weight";
    let clip = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.weight";
    let qwen3 = "qwen3.model.layers.0.self_attn.q_proj.weight";
    let shape: &[usize] = &[4, 6];
    let weights = |encoder: &str| {
        let tensors = [clip, encoder].map(|name| (name, shape, vec![0.0; 24]));
        Weights::new(Arc::new(file("model", &tensors)))
    };
    for (module, tensor) in [
        ("lora_te3_encoder_block_0_layer_0_SelfAttention_q", t5),
        ("text_encoder_2.encoder.block.0.layer.0.SelfAttention.q", t5),
        ("text_encoder_3.encoder.block.0.layer.0.SelfAttention.q", t5),
        ("text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q", t5),
        ("t5.encoder.block.0.layer.0.SelfAttention.q", t5),
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", clip),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", clip),
        ("text_encoder.model.layers.0.self_attn.q_proj", qwen3),
        ("text_encoders.qwen3_4b.transformer.model.layers.0.self_attn.q_proj", qwen3),
    ] {
        let of = |encoder: &str, strength: Strength| {
            let lora = lora(&[(module, &[("lora_up.weight", &[4, 2]), ("lora_down.weight", &[2, 6])])]);
            let weights = weights(encoder);
            let loras = [(Arc::new(Lora::open(lora).unwrap()), strength)];
            let (merge, applied) = Merge::new(&loras, &weights, "small").unwrap();
            assert_eq!(applied[0].applied, 1, "{module}");
            let merged = merge.apply(tensor, weights.get(tensor, shape).unwrap()).unwrap();
            merged.to_f32().unwrap().iter().any(|value| *value != 0.0)
        };
        let encoder = if tensor == qwen3 { qwen3 } else { t5 };
        assert!(of(encoder, Strength { unet: 0.0, text: 1.0, max_rank: None }), "{module}");
        assert!(!of(encoder, Strength { unet: 1.0, text: 0.0, max_rank: None }), "{module}");
    }
}

#[test]
fn few_steps_of_flow_matching_models_keep_their_guidance_where_it_is_an_input() {
    let open = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/manifests");
        let json = std::fs::read_to_string(format!("{folder}/{name}-tiny-single.json")).unwrap();
        let manifest = Manifest::parse(&json).unwrap();
        let bytes = synth::bytes(manifest.files().values().next().unwrap(), 1, DType::F16);
        Pipeline::open(Checkpoint::from_bytes(name, bytes).unwrap()).unwrap()
    };
    let modules = [
        ("flux-pipeline", "lora_unet_single_blocks_0_modulation_lin", [192, 64]),
        ("sd35-pipeline", "lora_unet_joint_blocks_0_x_block_attn_proj", [64, 64]),
    ];
    for (model, module, [rows, columns]) in modules {
        let mut pipeline = open(model);
        let own = pipeline.model().recommended();
        let mut with = |label: &str| {
            let (up, down) = (format!("{module}.lora_up.weight"), format!("{module}.lora_down.weight"));
            let entries: [Entry<'_>; 2] =
                [(&up, &[rows, 1], vec![0.0; rows]), (&down, &[1, columns], vec![0.0; columns])];
            let lora = Arc::new(Lora::open(file(label, &entries)).unwrap());
            pipeline.set_loras(&[(lora, 0.125)]).unwrap();
            let recommended = pipeline.model().recommended();
            assert_eq!(
                (recommended.sampler.name(), recommended.schedule),
                (own.sampler.name(), own.schedule)
            );
            (recommended.steps, recommended.guidance)
        };
        if model == "flux-pipeline" {
            assert_eq!(with("Hyper-FLUX.1-dev-8steps-lora"), (8, 3.5));
            assert_eq!(with("FLUX.1-Turbo-Alpha"), (8, 3.5));
            assert_eq!(with("flux-dev2schnell"), (4, 3.5));
            assert_eq!(with("film_grain"), (20, 3.5));
        } else {
            assert_eq!(with("Hyper-SD3-4steps-CFG-lora"), (4, 3.0));
            assert_eq!(with("Hyper-SD3-8steps-CFG-lora"), (8, 5.0));
            assert_eq!(with("Hyper-SD3-16steps-CFG-lora"), (16, 7.0));
            assert_eq!(with("sd3.5_large_turbo_lora"), (4, 1.0));
        }
    }
}
