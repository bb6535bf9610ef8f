//! ComfyUI: a graph of nodes. From the image that was saved, links lead back to a sampler, and from there to the texts,
//! the model and the size.
//!
//! `prompt` is the graph as it ran: for each node a class and inputs, which are values or links `["node", slot]`.

use super::image_metadata::{ImageMetadata, MetadataKey, plain};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Maximum number of nodes that are visited for one question.
const MAX_NODES: usize = 2000;
/// Maximum number of nodes that save, and of samplers in a row, from which links are followed back.
const MAX_STARTS: usize = 50;
/// Inputs that are a text, or a link to one.
const TEXTS: [&str; 12] = [
    "text",
    "text_g",
    "text_l",
    "prompt",
    "string",
    "value",
    "populated_text",
    "wildcard_text",
    "positive_prompt",
    "clip_l",
    "t5xxl",
    "text_a",
];
/// Inputs that lead away from the texts of a conditioning.
const ELSEWHERE: [&str; 14] = [
    "clip",
    "model",
    "vae",
    "latent",
    "latent_image",
    "samples",
    "pixels",
    "image",
    "images",
    "control_net",
    "mask",
    "clip_vision",
    "clip_vision_output",
    "style_model",
];

/// How an image was made, according to a graph; `None` if no sampler is in it.
pub(super) fn parse(graph: &Value) -> Option<ImageMetadata> {
    let graph = Graph { nodes: graph.as_object()? };
    let sampler = graph.sampler()?;
    let mut metadata = ImageMetadata::new("ComfyUI");
    let inputs = graph.inputs(sampler)?;
    let number = |names: &[&str]| graph.value(inputs, names);
    let named = [
        (MetadataKey::Seed, &["seed", "noise_seed"][..]),
        (MetadataKey::Steps, &["steps"]),
        (MetadataKey::Sampler, &["sampler_name"]),
        (MetadataKey::Scheduler, &["scheduler"]),
        (MetadataKey::CfgScale, &["cfg"]),
    ];
    for (key, names) in named {
        metadata.set(key, number(names).unwrap_or_default());
    }
    metadata.set(MetadataKey::Prompt, graph.texts(inputs, Side::Positive).join("\n"));
    metadata.set(MetadataKey::Negative, graph.texts(inputs, Side::Negative).join("\n"));
    graph.model(inputs, &mut metadata);
    graph.size(inputs, &mut metadata);
    for (other, class) in graph.samplers().filter(|(other, _)| *other != sampler) {
        let scalars = graph.inputs(other).into_iter().flatten().filter_map(|(name, value)| {
            let text = plain(value)?;
            Some(format!("{name}: {text}"))
        });
        let line = scalars.collect::<Vec<_>>().join(", ");
        metadata.add_other(&format!("{class} {other}"), line);
    }
    Some(metadata)
}

/// Which of a sampler's two texts.
#[derive(Clone, Copy)]
enum Side {
    Positive,
    Negative,
}

impl Side {
    fn input(self) -> &'static str {
        match self {
            Side::Positive => "positive",
            Side::Negative => "negative",
        }
    }
}

struct Graph<'a> {
    nodes: &'a Map<String, Value>,
}

impl<'a> Graph<'a> {
    fn inputs(&self, node: &str) -> Option<&'a Map<String, Value>> {
        self.nodes.get(node)?.get("inputs")?.as_object()
    }

    fn class(&self, node: &str) -> &'a str {
        self.nodes.get(node).and_then(|node| node.get("class_type")?.as_str()).unwrap_or("")
    }

    /// The node that an input leads to.
    fn link(value: &'a Value) -> Option<&'a str> {
        match value.as_array()?.as_slice() {
            [node, slot] if slot.is_u64() => node.as_str(),
            _ => None,
        }
    }

    /// All nodes that some inputs lead back to, the nearest first, without following inputs of the names in `closed`.
    fn upstream(&self, inputs: &'a Map<String, Value>, starts: &[&str], closed: &[&str]) -> Vec<&'a str> {
        let starts = starts.iter().filter_map(|name| Self::link(inputs.get(*name)?));
        let mut found: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        found.extend(starts.filter(|node| seen.insert(*node)));
        let mut at = 0;
        while at < found.len() && found.len() < MAX_NODES {
            for (name, value) in self.inputs(found[at]).into_iter().flatten() {
                if let Some(node) = Self::link(value).filter(|_| !closed.contains(&name.as_str()))
                    && seen.insert(node)
                {
                    found.push(node);
                }
            }
            at += 1;
        }
        found
    }

    fn is_sampler(&self, node: &str) -> bool {
        let class = self.class(node);
        let has = |name| self.inputs(node).is_some_and(|inputs| inputs.contains_key(name));
        class.starts_with("SamplerCustom") || (has("steps") && has("cfg") && (has("positive") || has("seed")))
    }

    fn samplers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.nodes
            .keys()
            .map(String::as_str)
            .filter(|node| self.is_sampler(node))
            .map(|node| (node, self.class(node)))
    }

    /// The sampler that began the image: the one that a node which saves leads back to, and of several in a row the one that
    /// ran first.
    fn sampler(&self) -> Option<&'a str> {
        let saves = self.nodes.keys().map(String::as_str).filter(|node| {
            let class = self.class(node).to_lowercase();
            class.contains("save") || class.contains("preview")
        });
        let saved = saves.take(MAX_STARTS).filter_map(|node| {
            let inputs = self.inputs(node)?;
            self.upstream(inputs, &["images", "image", "samples"], &[])
                .into_iter()
                .find(|node| self.is_sampler(node))
        });
        let mut sampler = saved.into_iter().next().or_else(|| Some(self.samplers().next()?.0))?;
        let mut seen = HashSet::from([sampler]);
        while let Some(inputs) = self.inputs(sampler).filter(|_| seen.len() < MAX_STARTS) {
            let before = self.upstream(inputs, &["latent_image", "latent", "samples"], &[]);
            let Some(earlier) = before.into_iter().find(|node| self.is_sampler(node) && seen.insert(node))
            else {
                break;
            };
            sampler = earlier;
        }
        Some(sampler)
    }

    /// The first value of one of these names: the sampler's own, that of the node that an input leads to, or that of a
    /// node for noise, steps or guidance before it.
    fn value(&self, inputs: &'a Map<String, Value>, names: &[&str]) -> Option<String> {
        let given = names.iter().find_map(|name| inputs.get(*name));
        if let Some(text) = given.and_then(plain) {
            return Some(text);
        }
        if let Some(node) = given.and_then(Self::link) {
            let keys = [names, &["value", "int", "float", "number", "seed", "Value"]].concat();
            let upstream = std::iter::once(node).chain(self.upstream(self.inputs(node)?, &keys, &["model"]));
            let mut found = upstream.filter_map(|node| {
                let inputs = self.inputs(node)?;
                keys.iter().find_map(|key| plain(inputs.get(*key)?))
            });
            return found.next();
        }
        let parts = self.upstream(
            inputs,
            &["noise", "sampler", "sigmas", "guider"],
            &["model", "positive", "negative"],
        );
        parts.into_iter().find_map(|node| {
            let inputs = self.inputs(node)?;
            names.iter().find_map(|name| plain(inputs.get(*name)?))
        })
    }

    /// The texts that a sampler's conditioning is made of, the nearest first.
    fn texts(&self, inputs: &'a Map<String, Value>, side: Side) -> Vec<String> {
        let mut texts = Vec::new();
        let mut seen = HashSet::new();
        let mut next: Vec<&str> = Vec::new();
        let starts = ["guider", "conditioning"].into_iter().filter(|_| !inputs.contains_key(side.input()));
        next.extend(starts.chain([side.input()]).filter_map(|name| Self::link(inputs.get(name)?)));
        while let Some(node) = next.pop() {
            if !seen.insert(node) || seen.len() > MAX_NODES {
                continue;
            }
            let Some(inputs) = self.inputs(node) else { continue };
            // Nodes that pass both on have an input for each.
            let both = inputs.contains_key("positive") && inputs.contains_key("negative");
            if let Some(link) =
                Some(side.input()).filter(|_| both).and_then(|name| Self::link(inputs.get(name)?))
            {
                next.push(link);
                continue;
            }
            let before = texts.len();
            for name in TEXTS {
                match inputs.get(name) {
                    Some(Value::String(text)) if !text.trim().is_empty() => {
                        texts.push(text.trim().to_owned());
                    }
                    Some(value) => next.extend(Self::link(value)),
                    None => {}
                }
            }
            if texts.len() == before {
                // A guider without a negative text has only `conditioning`.
                let is_other = |name: &str| {
                    name == if matches!(side, Side::Positive) { "negative" } else { "conditioning" }
                };
                let only = |name: &str| !(is_other(name) && self.class(node).contains("Guider"));
                let open = |name: &str| !ELSEWHERE.contains(&name) && !TEXTS.contains(&name) && only(name);
                let onward =
                    inputs.iter().filter(|(name, _)| open(name)).filter_map(|(_, value)| Self::link(value));
                next.extend(onward.collect::<Vec<_>>().into_iter().rev());
            }
        }
        let mut once = HashSet::new();
        texts.retain(|text| once.insert(text.clone()));
        texts
    }

    /// The model, and what was added to it on the way.
    fn model(&self, inputs: &'a Map<String, Value>, metadata: &mut ImageMetadata) {
        let starts = ["model", "guider", "sigmas"];
        let closed = ["positive", "negative", "conditioning", "latent_image", "latent", "image"];
        for node in self.upstream(inputs, &starts, &closed) {
            let Some(inputs) = self.inputs(node) else { continue };
            let text = |name: &str| inputs.get(name).and_then(plain);
            if let Some(lora) = text("lora_name") {
                metadata.add_other(
                    "LoRA",
                    format!("{lora}:{}", text("strength_model").unwrap_or_else(|| "1".into())),
                );
            }
            for name in ["ckpt_name", "unet_name", "base_ckpt_name", "model_name"] {
                metadata.set(MetadataKey::Model, text(name).unwrap_or_default());
            }
        }
        for node in self.nodes.keys() {
            let Some(inputs) = self.inputs(node) else { continue };
            let text = |name: &str| inputs.get(name).and_then(plain);
            metadata.set(MetadataKey::Vae, text("vae_name").unwrap_or_default());
            let layer = text("stop_at_clip_layer").and_then(|layer| layer.parse::<i64>().ok());
            metadata.set(
                MetadataKey::ClipSkip,
                layer.map_or(String::new(), |layer| layer.saturating_neg().to_string()),
            );
        }
    }

    /// The size of an empty latent, or else how much of an image changed.
    fn size(&self, inputs: &'a Map<String, Value>, metadata: &mut ImageMetadata) {
        for node in
            self.upstream(inputs, &["latent_image", "latent", "samples"], &["model", "positive", "negative"])
        {
            let Some(inputs) = self.inputs(node) else { continue };
            if let (Some(width), Some(height)) =
                (self.value(inputs, &["width"]), self.value(inputs, &["height"]))
            {
                metadata.set(MetadataKey::Width, width);
                metadata.set(MetadataKey::Height, height);
                return;
            }
            if inputs.contains_key("pixels") {
                break;
            }
        }
        metadata.set(
            MetadataKey::Strength,
            self.value(inputs, &["denoise"]).filter(|part| part != "1" && part != "1.0").unwrap_or_default(),
        );
    }
}
