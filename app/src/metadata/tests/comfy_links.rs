//! Prompts and numbers of ComfyUI that come through other nodes: followed, or named.

use super::comfy::parse;
use crate::metadata::{ImageMetadata, MetadataKey};
use serde_json::{Value, json};

/// A graph whose sampler has these nodes before its positive conditioning `["6", 0]`.
fn graph(nodes: Value) -> Value {
    let mut graph = json!({
        "3": { "class_type": "KSampler", "inputs": {
            "seed": 1, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal", "denoise": 1,
            "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0] } },
        "5": { "class_type": "EmptyLatentImage", "inputs": { "width": 64, "height": 64 } },
        "6": { "class_type": "CLIPTextEncode", "inputs": { "text": ["12", 0], "clip": ["4", 1] } },
        "7": { "class_type": "CLIPTextEncode", "inputs": { "text": "bad", "clip": ["4", 1] } },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["3", 0] } },
    });
    let Value::Object(nodes) = nodes else { panic!("not nodes") };
    graph.as_object_mut().unwrap().extend(nodes);
    graph
}

fn read(nodes: Value) -> ImageMetadata {
    parse(&graph(nodes)).unwrap()
}

#[track_caller]
fn prompt(nodes: Value, want: &str) {
    let metadata = read(nodes);
    assert_eq!(metadata.get(MetadataKey::Prompt), Some(want));
    assert_eq!(metadata.get(MetadataKey::Negative), Some("bad"));
    assert!(metadata.not_followed.is_empty(), "{:?}", metadata.not_followed);
}

#[test]
fn a_prompt_that_nodes_put_together_is_followed() {
    let concatenate = |a: Value, b: Value| json!({ "class_type": "StringConcatenate", "inputs": { "string_a": a, "string_b": b, "delimiter": "," } });
    prompt(json!({ "12": concatenate("a cat".into(), " on mat".into()) }), "a cat, on mat");
    let was = |clean: &str| {
        json!({
            "12": { "class_type": "Text Concatenate", "inputs": { "delimiter": "\\n", "clean_whitespace": clean,
                "text_a": ["13", 0], "text_b": "", "text_c": ["14", 0] } },
            "13": { "class_type": "Text Multiline", "inputs": { "text": "a cat " } },
            "14": { "class_type": "CR Text Concatenate", "inputs": {
                "text1": ["15", 0], "text2": "mat", "separator": " " } },
            "15": { "class_type": "ShowText|pysssss", "inputs": { "text": ["16", 0], "text_0": "as it was before" } },
            "16": { "class_type": "PrimitiveStringMultiline", "inputs": { "value": "on a" } },
        })
    };
    prompt(was("true"), "a cat\non a mat");
    prompt(was("false"), "a cat \non a mat");
    let function = |action: &str, tidy: &str, b: &str, c: &str| {
        json!({ "12": { "class_type": "StringFunction|pysssss", "inputs": {
            "action": action, "tidy_tags": tidy, "text_a": "a cat", "text_b": b, "text_c": c } } })
    };
    prompt(function("append", "yes", "hat ", ", mat"), "a cat, hat, mat");
    prompt(function("append", "no", " with", "undefined"), "a cat with");
    prompt(function("replace", "yes", "cat", "fox"), "a fox");
    // A separator of its own node, and the same text twice.
    prompt(
        json!({
            "12": { "class_type": "JoinStrings", "inputs": {
                "string1": ["13", 0], "string2": ["13", 0], "delimiter": ["14", 0] } },
            "13": { "class_type": "StringConstant", "inputs": { "string": "a" } },
            "14": { "class_type": "PrimitiveString", "inputs": { "value": " and " } },
        }),
        "a and a",
    );
}

#[test]
fn a_prompt_that_a_switch_chooses_is_followed() {
    prompt(
        json!({
            "12": { "class_type": "ImpactSwitch", "inputs": { "select": ["20", 0], "input1": ["13", 0],
                "input2": ["14", 0] } },
            "13": { "class_type": "easy positive", "inputs": { "positive": "wrong" } },
            "14": { "class_type": "CR Text Input Switch", "inputs": { "Input": 2, "text1": "wrong", "text2": ["15", 0] } },
            "15": { "class_type": "Switch any [Crystools]", "inputs": {
                "boolean": false, "on_true": "wrong", "on_false": ["16", 0] } },
            "16": { "class_type": "Any Switch (rgthree)", "inputs": { "any_02": ["17", 0] } },
            "17": { "class_type": "Reroute", "inputs": { "": ["18", 0] } },
            "18": { "class_type": "easy positive", "inputs": { "positive": "right" } },
            "20": { "class_type": "PrimitiveInt", "inputs": { "value": 2 } },
        }),
        "right",
    );
    let chosen = read(json!({
        "6": { "class_type": "CR Conditioning Input Switch", "inputs": {
            "Input": 1, "conditioning1": ["12", 0], "conditioning2": ["7", 0] } },
        "12": { "class_type": "CLIPTextEncodeSDXL", "inputs": { "text_g": "a cat", "text_l": "a cat", "width": 64 } },
    }));
    assert_eq!((chosen.get(MetadataKey::Prompt), chosen.not_followed.len()), (Some("a cat"), 0));
    // One that the graph does not say.
    let unknown = read(json!({
        "12": { "class_type": "ImpactSwitch", "inputs": { "select": ["20", 0], "input1": "a", "input2": "b" } },
        "20": { "class_type": "RandomInt", "inputs": {} },
    }));
    assert_eq!(unknown.get(MetadataKey::Prompt), None);
    assert_eq!(unknown.not_followed, ["prompt (through ImpactSwitch, node 12)"]);
}

#[test]
fn nodes_that_are_not_known_are_named() {
    // Its text may be what it makes, or what it makes it of.
    let shouted = read(json!({ "12": { "class_type": "TextShout", "inputs": { "text": "a cat" } } }));
    assert_eq!(shouted.get(MetadataKey::Prompt), Some("a cat"));
    assert_eq!(shouted.not_followed, ["prompt (through TextShout, node 12)"]);
    let written = read(json!({ "12": { "class_type": "AskModel", "inputs": { "image": ["5", 0] } } }));
    assert_eq!(written.get(MetadataKey::Prompt), None);
    assert_eq!(written.not_followed, ["prompt (through AskModel, node 12)"]);
    let expression = json!({ "12": { "class_type": "StringFunction|pysssss", "inputs": {
        "action": "replace", "tidy_tags": "no", "text_a": "a cat", "text_b": "/a (.*)/", "text_c": "b" } } });
    assert_eq!(read(expression).not_followed, ["prompt (through StringFunction|pysssss, node 12)"]);
    let missing = read(json!({ "6": { "class_type": "CLIPTextEncode", "inputs": { "text": ["99", 0] } } }));
    assert_eq!(missing.not_followed, ["prompt (through CLIPTextEncode, node 6)"]);
    let loaded = read(json!({ "6": { "class_type": "LoadConditioning", "inputs": { "name": "x" } } }));
    assert_eq!(loaded.not_followed, ["prompt (through LoadConditioning, node 6)"]);
}

/// They change how a text works; the text itself is shown.
#[test]
fn nodes_that_change_a_conditioning_are_named() {
    let combined = read(json!({
        "6": { "class_type": "ConditioningCombine", "inputs": { "conditioning_1": ["20", 0], "conditioning_2": ["21", 0] } },
        "20": { "class_type": "ConditioningSetTimestepRange", "inputs": { "conditioning": ["22", 0], "start": 0, "end": 0.5 } },
        "21": { "class_type": "smZ CLIPTextEncode", "inputs": { "text": "two", "parser": "A1111" } },
        "22": { "class_type": "FluxGuidance", "inputs": { "conditioning": ["23", 0], "guidance": 3.5 } },
        "23": { "class_type": "CLIPTextEncode", "inputs": { "text": "one" } },
        "7": { "class_type": "ControlNetApply", "inputs": { "conditioning": ["24", 0], "control_net": ["5", 0] } },
        "24": { "class_type": "ConditioningZeroOut", "inputs": { "conditioning": ["23", 0] } },
    }));
    assert_eq!(combined.get(MetadataKey::Prompt), Some("one\ntwo"));
    // What is zeroed out is none of the negative prompt.
    assert_eq!(combined.get(MetadataKey::Negative), None);
    let want = [
        "prompt (through ConditioningCombine, node 6)",
        "prompt (through ConditioningSetTimestepRange, node 20)",
        "prompt (through FluxGuidance, node 22)",
        "negative prompt (through ControlNetApply, node 7)",
        "negative prompt (through ConditioningZeroOut, node 24)",
    ];
    assert_eq!(combined.not_followed, want);
}

#[test]
fn an_empty_prompt_is_no_reason_to_warn() {
    let empty = read(json!({ "12": { "class_type": "PrimitiveString", "inputs": { "value": "" } } }));
    assert_eq!((empty.get(MetadataKey::Prompt), empty.not_followed.len()), (None, 0));
}

#[test]
fn cycles_and_chains_of_texts_end() {
    let cycle = read(json!({
        "12": { "class_type": "StringConcatenate", "inputs": { "string_a": "a", "string_b": ["13", 0], "delimiter": "" } },
        "13": { "class_type": "Reroute", "inputs": { "": ["12", 0] } },
    }));
    assert!(cycle.not_followed[0].starts_with("prompt (through "), "{:?}", cycle.not_followed);
    assert!(cycle.get(MetadataKey::Prompt).is_some_and(|prompt| prompt.starts_with('a')));
}

#[test]
fn numbers_through_other_nodes_are_followed_or_named() {
    let metadata = parse(&json!({
        "1": { "class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0] } },
        "2": { "class_type": "RandomNoise", "inputs": { "noise_seed": ["20", 0] } },
        "3": { "class_type": "CFGGuider", "inputs": { "positive": ["8", 0], "negative": ["8", 0], "cfg": ["21", 0] } },
        "4": { "class_type": "KSamplerSelect", "inputs": { "sampler_name": ["22", 0] } },
        "5": { "class_type": "BasicScheduler", "inputs": { "scheduler": "simple", "steps": ["23", 0] } },
        "6": { "class_type": "EmptyLatentImage", "inputs": { "width": ["24", 0], "height": ["25", 0] } },
        "8": { "class_type": "CLIPTextEncode", "inputs": { "text": "a fox" } },
        "20": { "class_type": "Reroute", "inputs": { "": ["26", 0] } },
        "21": { "class_type": "ImpactSwitch", "inputs": { "select": 2, "input1": 9, "input2": 4.5 } },
        "22": { "class_type": "KSampler Config (rgthree)", "inputs": { "steps_total": 9, "sampler_name": "euler" } },
        "23": { "class_type": "MathExpression|pysssss", "inputs": { "expression": "a * 2", "a": ["26", 0] } },
        "24": { "class_type": "PrimitiveInt", "inputs": { "value": 512 } },
        "25": { "class_type": "MyInt", "inputs": { "value": 768 } },
        "26": { "class_type": "Seed (rgthree)", "inputs": { "seed": 77 } },
    }))
    .unwrap();
    let got = |key| metadata.get(key);
    assert_eq!((got(MetadataKey::Seed), got(MetadataKey::CfgScale)), (Some("77"), Some("4.5")));
    assert_eq!((got(MetadataKey::Sampler), got(MetadataKey::Steps)), (Some("euler"), None));
    assert_eq!((got(MetadataKey::Width), got(MetadataKey::Height)), (Some("512"), Some("768")));
    let want = ["steps (through MathExpression|pysssss, node 23)", "height (through MyInt, node 25)"];
    assert_eq!(metadata.not_followed, want);
}

/// Both texts as texts of a loader, and a way to them that is not called conditioning.
#[test]
fn loaders_with_texts_are_followed() {
    let metadata = parse(&json!({
        "1": { "class_type": "KSampler (Efficient)", "inputs": {
            "seed": 5, "steps": 9, "cfg": 7, "positive": ["2", 1], "negative": ["2", 2], "latent_image": ["2", 3] } },
        "2": { "class_type": "Efficient Loader", "inputs": {
            "ckpt_name": "a.safetensors", "positive": "a cat", "negative": ["3", 0],
            "empty_latent_width": 512, "empty_latent_height": 768 } },
        "3": { "class_type": "easy negative", "inputs": { "negative": "bad" } },
    }))
    .unwrap();
    assert_eq!(metadata.get(MetadataKey::Prompt), Some("a cat"));
    assert_eq!(metadata.get(MetadataKey::Negative), Some("bad"));
    assert!(metadata.not_followed.is_empty(), "{:?}", metadata.not_followed);
}

/// Loaders of one LoRA and stacks of many, as the widely used extensions name their inputs.
#[test]
fn loras_of_loaders_and_stacks_are_named() {
    let loras = |node: Value| {
        let nodes = json!({
            "1": { "class_type": "KSampler", "inputs": {
                "seed": 1, "steps": 2, "cfg": 3, "model": ["2", 0], "positive": ["4", 0], "latent_image": ["5", 0] } },
            "2": { "class_type": "Any", "inputs": { "model": ["3", 0], "lora_stack": ["6", 0] } },
            "3": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "m.safetensors" } },
            "4": { "class_type": "CLIPTextEncode", "inputs": { "text": "a" } },
            "6": node,
        });
        let metadata = parse(&nodes).unwrap();
        let named = metadata.others.iter().filter(|(name, _)| name == "LoRA");
        named.map(|(_, value)| value.clone()).collect::<Vec<_>>().join(" ")
    };
    let node = |class: &str, inputs: Value| json!({ "class_type": class, "inputs": inputs });
    let one = node(
        "LoraLoader",
        json!({ "lora_name": "a.safetensors", "strength_model": 0.5, "strength_clip": 0.7 }),
    );
    assert_eq!(loras(one), "a.safetensors:0.5");
    let efficient = node(
        "Efficient Loader",
        json!({ "lora_name": "a.safetensors", "lora_model_strength": 0.5, "lora_clip_strength": 1 }),
    );
    assert_eq!(loras(efficient), "a.safetensors:0.5");
    let stacker = node(
        "LoRA Stacker",
        json!({
        "input_mode": "simple", "lora_count": 2, "lora_name_1": "a.safetensors", "lora_wt_1": 0.5, "lora_name_2": "b.safetensors",
        "lora_wt_2": 0.25, "lora_name_3": "c.safetensors", "lora_wt_3": 1 }),
    );
    assert_eq!(loras(stacker), "a.safetensors:0.5 b.safetensors:0.25");
    let cr = node(
        "CR LoRA Stack",
        json!({
        "switch_1": "On", "lora_name_1": "a.safetensors", "model_weight_1": 0.5, "clip_weight_1": 1, "switch_2": "Off",
        "lora_name_2": "b.safetensors", "model_weight_2": 1, "switch_3": "On", "lora_name_3": "None" }),
    );
    assert_eq!(loras(cr), "a.safetensors:0.5");
    let rgthree = node(
        "Lora Loader Stack (rgthree)",
        json!({
        "lora_01": "a.safetensors", "strength_01": 0.5, "lora_02": "None", "strength_02": 1 }),
    );
    assert_eq!(loras(rgthree), "a.safetensors:0.5");
    let power = node(
        "Power Lora Loader (rgthree)",
        json!({
        "lora_1": { "on": true, "lora": "a.safetensors", "strength": 0.5 },
        "lora_2": { "on": false, "lora": "b.safetensors", "strength": 1 } }),
    );
    assert_eq!(loras(power), "a.safetensors:0.5");
    let easy = node(
        "easy loraStack",
        json!({
        "toggle": true, "mode": "simple", "num_loras": 1, "lora_1_name": "a.safetensors", "lora_1_strength": 0.5,
        "lora_2_name": "b.safetensors", "lora_2_strength": 1 }),
    );
    assert_eq!(loras(easy), "a.safetensors:0.5");
}
