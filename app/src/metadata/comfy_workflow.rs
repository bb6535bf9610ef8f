//! ComfyUI's `workflow`: the graph as the page shows it, with values in the page's order. It is converted to the form of
//! `prompt` where a file has nothing else.

use super::image_metadata::plain;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The values that the page shows for the nodes that matter, in its order.
const WIDGETS: [(&str, &[&str]); 14] = [
    ("KSampler", &["seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"]),
    (
        "KSamplerAdvanced",
        &[
            "add_noise",
            "noise_seed",
            "",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "start_at_step",
            "end_at_step",
        ],
    ),
    ("CLIPTextEncode", &["text"]),
    ("CLIPTextEncodeSDXL", &["", "", "", "", "", "", "text_g", "text_l"]),
    ("CheckpointLoaderSimple", &["ckpt_name"]),
    ("UNETLoader", &["unet_name"]),
    ("VAELoader", &["vae_name"]),
    ("LoraLoader", &["lora_name", "strength_model", "strength_clip"]),
    ("EmptyLatentImage", &["width", "height", "batch_size"]),
    ("RandomNoise", &["noise_seed"]),
    ("KSamplerSelect", &["sampler_name"]),
    ("BasicScheduler", &["scheduler", "steps", "denoise"]),
    ("CFGGuider", &["cfg"]),
    ("CLIPSetLastLayer", &["stop_at_clip_layer"]),
];

/// The graph of a `workflow` as that of a `prompt`.
pub(super) fn graph(workflow: &Value) -> Option<Value> {
    // [link, from node, from slot, to node, to slot, kind]
    let links = workflow.get("links").and_then(Value::as_array);
    let parts = |link: &Value| Some((plain(link.get(0)?)?, (plain(link.get(1)?)?, link.get(2)?.clone())));
    let links: HashMap<String, (String, Value)> = links.into_iter().flatten().filter_map(parts).collect();
    let mut graph = Map::new();
    for node in workflow.get("nodes")?.as_array()? {
        let (Some(id), Some(class)) =
            (node.get("id").and_then(plain), node.get("type").and_then(Value::as_str))
        else {
            continue;
        };
        let mut inputs = Map::new();
        let order = WIDGETS.iter().find(|(known, _)| *known == class).map_or(&[][..], |(_, names)| names);
        match node.get("widgets_values") {
            Some(Value::Array(values)) => {
                let named = order.iter().zip(values).filter(|(name, _)| !name.is_empty());
                inputs.extend(named.map(|(name, value)| ((*name).to_owned(), value.clone())));
            }
            Some(Value::Object(values)) => inputs.extend(values.clone()),
            _ => {}
        }
        for input in node.get("inputs").and_then(Value::as_array).into_iter().flatten() {
            let (Some(name), Some(link)) = (input.get("name").and_then(Value::as_str), input.get("link"))
            else {
                continue;
            };
            if let Some((node, slot)) = plain(link).and_then(|link| links.get(&link)) {
                inputs.insert(name.to_owned(), json!([node, slot]));
            }
        }
        graph.insert(id, json!({ "class_type": class, "inputs": inputs }));
    }
    Some(Value::Object(graph))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MetadataKey;
    use crate::metadata::comfy;

    #[test]
    fn a_page_s_graph_alone() {
        let workflow = json!({
            "nodes": [
                { "id": 3, "type": "KSampler", "widgets_values": [5, "fixed", 20, 8, "euler", "normal", 1], "inputs": [
                    { "name": "model", "link": 1 }, { "name": "positive", "link": 4 }, { "name": "negative", "link": 6 },
                    { "name": "latent_image", "link": 2 }] },
                { "id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["a.safetensors"] },
                { "id": 5, "type": "EmptyLatentImage", "widgets_values": [512, 256, 1] },
                { "id": 6, "type": "CLIPTextEncode", "widgets_values": ["a hat"] },
                { "id": 7, "type": "CLIPTextEncode", "widgets_values": ["text"] },
            ],
            "links": [[1, 4, 0, 3, 0, "MODEL"], [4, 6, 0, 3, 1, "CONDITIONING"], [6, 7, 0, 3, 2, "CONDITIONING"],
                [2, 5, 0, 3, 3, "LATENT"]],
        });
        let metadata = comfy::parse(&graph(&workflow).unwrap()).unwrap();
        let got = |key| metadata.get(key).unwrap_or("");
        assert_eq!(
            (got(MetadataKey::Prompt), got(MetadataKey::Negative), got(MetadataKey::Seed)),
            ("a hat", "text", "5")
        );
        assert_eq!(
            (got(MetadataKey::Width), got(MetadataKey::Height), got(MetadataKey::Model)),
            ("512", "256", "a.safetensors")
        );
    }
}
