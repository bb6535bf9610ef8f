//! Files of ControlNets: every layout is the same network, and what is none is told so.

use super::{control, control_entries, entries, file, image, open, renamed};
use latent_diffusion::Control;
use latent_diffusion::controlnet::{ControlFile, ControlNet};
use latent_diffusion::params::Params;
use latent_diffusion::tensor::Tensor;
use serde_json::Value;

fn refused(label: &str, entries: Vec<Value>) -> String {
    let error = ControlFile::open(file(label, entries)).expect_err("it is not a ControlNet");
    assert!(error.is_bad_input(), "{error}");
    let line = error.to_string();
    assert!(line.starts_with(label) && !line.contains('\n'), "{line}");
    line
}

/// The embedded hint, which every layer of the hint has a part in.
fn embedded(entries: Vec<Value>) -> Vec<f32> {
    let file = ControlFile::open(file("control", entries)).unwrap();
    let net =
        ControlNet::load(&Params::new(file.weights().clone(), &|_| ()), file.config().unwrap()).unwrap();
    let hint: Vec<f32> = image(16, 8).rgb.iter().map(|byte| f32::from(*byte) / 255.0).collect();
    let out = net.embed(&Tensor::from_f32(&[1, 8, 16, 3], &hint).unwrap()).unwrap();
    assert_eq!(out.dims(), [1, 1, 2, file.config().unwrap().unet.block_out_channels[0]]);
    out.f32s().unwrap().to_vec()
}

/// The name in diffusers of a name in the original.
fn diffusers(name: &str) -> String {
    let (stem, leaf) = name.strip_prefix("control_model.").unwrap().rsplit_once('.').unwrap();
    let parts: Vec<&str> = stem.split('.').collect();
    let number = |at: usize| parts[at].parse::<usize>().unwrap();
    let resnet = |rest: &str| {
        [
            ("in_layers.0", "norm1"),
            ("in_layers.2", "conv1"),
            ("out_layers.0", "norm2"),
            ("out_layers.3", "conv2"),
            ("emb_layers.1", "time_emb_proj"),
            ("skip_connection", "conv_shortcut"),
        ]
        .into_iter()
        .find_map(|(from, to)| (from == rest).then(|| to.to_owned()))
    };
    let rest = |from: usize| parts[from..].join(".");
    let stem = match parts[0] {
        "time_embed" => format!("time_embedding.linear_{}", number(1) / 2 + 1),
        "label_emb" => format!("add_embedding.linear_{}", number(2) / 2 + 1),
        "middle_block_out" => "controlnet_mid_block".to_owned(),
        "zero_convs" => format!("controlnet_down_blocks.{}", parts[1]),
        "input_hint_block" if parts[1] == "0" => "controlnet_cond_embedding.conv_in".to_owned(),
        "input_hint_block" if parts[1] == "14" => "controlnet_cond_embedding.conv_out".to_owned(),
        "input_hint_block" => format!("controlnet_cond_embedding.blocks.{}", number(1) / 2 - 1),
        "middle_block" if parts[1] == "1" => format!("mid_block.attentions.0.{}", rest(2)),
        "middle_block" => format!("mid_block.resnets.{}.{}", number(1) / 2, resnet(&rest(2)).unwrap()),
        _ if number(1) == 0 => "conv_in".to_owned(),
        _ => {
            let (level, layer) = ((number(1) - 1) / 3, (number(1) - 1) % 3);
            match (parts[2], parts[3]) {
                (_, "op") => format!("down_blocks.{level}.downsamplers.0.conv"),
                ("0", _) => format!("down_blocks.{level}.resnets.{layer}.{}", resnet(&rest(3)).unwrap()),
                _ => format!("down_blocks.{level}.attentions.{layer}.{}", rest(3)),
            }
        }
    };
    format!("{stem}.{leaf}")
}

#[test]
fn every_layout_is_the_same_network() {
    for family in ["sd15", "sdxl"] {
        let original = control_entries(family);
        let folder = renamed(original.clone(), |name| Some(diffusers(name)));
        // Without a prefix, and beside a whole model.
        let bare = renamed(original.clone(), |name| name.strip_prefix("control_model.").map(str::to_owned));
        let whole: Vec<Value> = entries(family).into_iter().chain(original.clone()).collect();
        let config = |entries: &[Value]| {
            let file = ControlFile::open(file("control", entries.to_vec())).unwrap();
            (file.config().unwrap().clone(), file.family(), file.weights().names().count())
        };
        let (expected, hint) = (config(&original), embedded(original));
        for other in [folder, bare, whole] {
            assert_eq!(config(&other), expected, "{family}");
            assert_eq!(embedded(other), hint, "{family}");
        }
    }
}

#[test]
fn another_file_is_told_what_it_is() {
    assert!(
        refused("model", entries("sd15")).contains("is not a ControlNet but a model, which draws images")
    );
    let lora = refused("lora", entries("lora-sd15-kohya"));
    assert!(lora.contains("LoRA") && lora.contains("give a ControlNet"), "{lora}");
    assert!(refused("taesd", entries("taesd")).contains("tiny VAE (TAESD)"));
    let mut union = control_entries("sdxl");
    let extra = serde_json::json!({"name": "control_model.task_embedding", "dtype": "W", "shape": [6, 32]});
    union.push(extra);
    assert!(refused("union", union).contains("ControlNet-Union of 6 kinds and width 32"));
}

#[test]
fn gaps_are_found_before_anything_is_read() {
    let without = |part: &str| {
        let entries = control_entries("sd15").into_iter();
        refused("gap", entries.filter(|e| !e["name"].as_str().unwrap().contains(part)).collect())
    };
    let line = without("zero_convs.4.0.weight");
    assert!(line.contains("ControlNet: 1 of") && line.contains("controlnet_down_blocks.4.weight"), "{line}");
    assert!(without("middle_block_out.0.bias").contains("controlnet_mid_block.bias"));
    assert!(without("input_hint_block.14.").contains("controlnet_cond_embedding.conv_out"));
    assert!(without("input_blocks.1.0.in_layers.0.weight").contains("incomplete"));
    let mut narrow = control_entries("sd15");
    for entry in &mut narrow {
        if entry["name"] == "control_model.zero_convs.2.0.weight" {
            entry["shape"] = serde_json::json!([16, 32, 1, 1]);
        }
    }
    assert!(refused("narrow", narrow).contains("wrong shape"));
}

#[test]
fn a_network_of_another_family_is_refused() {
    for (model, net, parts) in [
        ("sd15", "sdxl", ["for Stable Diffusion XL", "the model is Stable Diffusion 1.x"]),
        ("sdxl", "sd15", ["for Stable Diffusion 1.x", "give one for Stable Diffusion XL"]),
    ] {
        let net = control(net);
        let mut pipeline = open(model);
        let error = pipeline.set_controls(vec![Control::new(net, image(64, 64))]).unwrap_err();
        let line = error.to_string();
        assert!(error.is_bad_input() && parts.iter().all(|part| line.contains(part)), "{line}");
    }
}
