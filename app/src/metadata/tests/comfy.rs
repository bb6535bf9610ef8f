//! Graphs of ComfyUI.

use crate::metadata::comfy_graph::Graph;
use crate::metadata::json::with_json;
use crate::metadata::{ImageMetadata, MetadataKey, comfy};
use serde_json::{Value, json};

pub(super) fn parse(graph: &Value) -> Option<ImageMetadata> {
    let parsed = with_json("prompt", &graph.to_string(), |json| {
        Graph::of_prompt(json)?.map_or(Ok(None), |graph| comfy::parse(&graph))
    });
    parsed.unwrap()
}

fn parse_workflow(graph: &Value) -> Option<ImageMetadata> {
    let parsed = with_json("workflow", &graph.to_string(), |json| {
        Graph::of_workflow(json)?.map_or(Ok(None), |graph| comfy::parse(&graph))
    });
    parsed.unwrap()
}

fn settings_of(graph: &Value) -> Vec<(&'static str, String)> {
    let metadata = parse(graph).unwrap();
    metadata.settings().map(|(key, value)| (key.name(), value.to_owned())).collect()
}

/// A first pass, a second one at twice the size, and texts that a ControlNet passes on.
#[test]
fn from_the_saved_image_to_the_first_sampler() {
    let graph = json!({
        "9": { "class_type": "SaveImage", "inputs": { "images": ["8", 0], "filename_prefix": "x" } },
        "8": { "class_type": "VAEDecode", "inputs": { "samples": ["20", 0], "vae": ["4", 2] } },
        "20": { "class_type": "KSampler", "inputs": {
            "seed": 8, "steps": 10, "cfg": 5, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["21", 0] } },
        "21": { "class_type": "LatentUpscale", "inputs": { "samples": ["3", 0], "width": 1024, "height": 1024 } },
        "3": { "class_type": "KSampler", "inputs": {
            "seed": ["30", 0], "steps": 25, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras",
            "denoise": 1, "model": ["10", 0], "positive": ["12", 0], "negative": ["12", 1],
            "latent_image": ["5", 0] } },
        "30": { "class_type": "PrimitiveInt", "inputs": { "value": 123 } },
        "12": { "class_type": "ControlNetApplyAdvanced", "inputs": {
            "positive": ["6", 0], "negative": ["7", 0], "control_net": ["40", 0], "strength": 1.0 } },
        "6": { "class_type": "CLIPTextEncode", "inputs": { "text": ["31", 0], "clip": ["10", 1] } },
        "31": { "class_type": "StringConstant", "inputs": { "string": "a cat" } },
        "7": { "class_type": "CLIPTextEncode", "inputs": { "text": "blurry", "clip": ["10", 1] } },
        "10": { "class_type": "LoraLoader", "inputs": {
            "lora_name": "ink.safetensors", "strength_model": 0.8, "model": ["4", 0], "clip": ["4", 1] } },
        "4": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "sd15.safetensors" } },
        "5": { "class_type": "EmptyLatentImage", "inputs": { "width": 512, "height": 768, "batch_size": 1 } },
    });
    let want = [
        ("prompt", "a cat"),
        ("negative_prompt", "blurry"),
        ("seed", "123"),
        ("steps", "25"),
        ("sampler", "dpmpp_2m"),
        ("scheduler", "karras"),
        ("cfg_scale", "6.5"),
        ("width", "512"),
        ("height", "768"),
        ("model", "sd15.safetensors"),
    ];
    assert_eq!(settings_of(&graph), want.map(|(name, value)| (name, value.to_owned())));
    let others = parse(&graph).unwrap().others;
    assert_eq!(others[0], ("LoRA".to_owned(), "ink.safetensors:0.8".to_owned()));
    assert!(others[1].0 == "KSampler 20" && others[1].1.contains("denoise: 0.5"), "{others:?}");
}

#[test]
fn a_sampler_in_parts() {
    let graph = json!({
        "1": { "class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0] } },
        "2": { "class_type": "RandomNoise", "inputs": { "noise_seed": 77 } },
        "3": { "class_type": "CFGGuider", "inputs": {
            "model": ["7", 0], "positive": ["8", 0], "negative": ["9", 0], "cfg": 4.5 } },
        "4": { "class_type": "KSamplerSelect", "inputs": { "sampler_name": "euler" } },
        "5": { "class_type": "BasicScheduler", "inputs": { "scheduler": "simple", "steps": 8, "model": ["7", 0] } },
        "6": { "class_type": "EmptyLatentImage", "inputs": { "width": 64, "height": 64 } },
        "7": { "class_type": "UNETLoader", "inputs": { "unet_name": "u.safetensors" } },
        "8": { "class_type": "CLIPTextEncode", "inputs": { "text": "a fox" } },
        "9": { "class_type": "CLIPTextEncode", "inputs": { "text": "" } },
    });
    let metadata = parse(&graph).unwrap();
    let got = |key| metadata.get(key).unwrap_or("");
    assert_eq!(
        (got(MetadataKey::Seed), got(MetadataKey::Steps), got(MetadataKey::CfgScale)),
        ("77", "8", "4.5")
    );
    assert_eq!((got(MetadataKey::Prompt), got(MetadataKey::Negative)), ("a fox", ""));
    assert_eq!(
        (got(MetadataKey::Sampler), got(MetadataKey::Scheduler), got(MetadataKey::Model)),
        ("euler", "simple", "u.safetensors")
    );
}

#[test]
fn cyclic_graphs_end() {
    let graph = json!({
        "1": { "class_type": "KSampler", "inputs": {
            "seed": ["1", 0], "steps": 1, "cfg": 1, "positive": ["2", 0], "negative": ["1", 0], "latent_image": ["1", 0],
            "model": ["1", 0] } },
        "2": { "class_type": "ConditioningCombine", "inputs": { "a": ["2", 0], "b": ["1", 0] } },
    });
    assert_eq!(parse(&graph).unwrap().get(MetadataKey::Steps), Some("1"));
    assert!(parse(&json!({})).is_none() && parse(&json!([1])).is_none());
    assert!(parse(&json!({ "1": { "class_type": 5, "inputs": [] } })).is_none());
}

/// ComfyUI's `workflow`: the graph as the page shows it.
#[test]
fn a_page_s_graph_alone() {
    let workflow = json!({
        "nodes": [
            { "id": 3, "type": "KSampler", "widgets_values": [5, "fixed", 20, 8, "euler", "normal", 1], "inputs": [
                { "name": "model", "link": 1 }, { "name": "positive", "link": 4 }, { "name": "negative", "link": 6 },
                { "name": "latent_image", "link": 2 }, { "name": "seed", "link": 9 }] },
            { "id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["a.safetensors"] },
            { "id": 5, "type": "EmptyLatentImage", "widgets_values": [512, 256, 1] },
            { "id": 6, "type": "CLIPTextEncode", "widgets_values": ["a hat"] },
            { "id": 7, "type": "CLIPTextEncode", "widgets_values": ["text"] },
            { "id": 8, "type": "PrimitiveNode", "widgets_values": [77, "randomize"] },
            { "id": 9, "type": "Reroute", "inputs": [{ "name": "", "link": 10 }] },
        ],
        "links": [[1, 4, 0, 3, 0, "MODEL"], [4, 9, 0, 3, 1, "CONDITIONING"], [6, 7, 0, 3, 2, "CONDITIONING"],
            [2, 5, 0, 3, 3, "LATENT"], { "id": 9, "origin_id": 8, "origin_slot": 0, "target_id": 3 },
            [10, 6, 0, 9, 0, "*"]],
    });
    let metadata = parse_workflow(&workflow).unwrap();
    let got = |key| metadata.get(key).unwrap_or("");
    assert_eq!(
        (got(MetadataKey::Prompt), got(MetadataKey::Negative), got(MetadataKey::Seed)),
        ("a hat", "text", "77")
    );
    assert_eq!(
        (got(MetadataKey::Width), got(MetadataKey::Height), got(MetadataKey::Model)),
        ("512", "256", "a.safetensors")
    );
    assert!(metadata.not_followed.is_empty(), "{:?}", metadata.not_followed);
}
