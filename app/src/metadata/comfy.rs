//! ComfyUI: from the image that was saved, links lead back to a sampler, and from there to the texts, the model and the
//! size.

use super::comfy_graph::{Graph, GraphInput};
use super::comfy_loras;
use super::comfy_text::{LinkFollower, PromptSide};
use super::image_metadata::{ImageMetadata, MetadataKey};
use std::collections::HashSet;

/// Inputs that lead to the latents which a sampler begins with.
const LATENTS: [&str; 3] = ["latent_image", "latent", "samples"];
/// Inputs that lead to the parts of a sampler in parts.
const PARTS: [&str; 4] = ["noise", "sampler", "sigmas", "guider"];

/// How an image was made, according to a graph; `None` if no sampler is in it.
///
/// # Errors
/// The rest of a line that begins with the file's name: a graph that exceeds a bound.
pub(super) fn parse(graph: &Graph<'_>) -> Result<Option<ImageMetadata>, String> {
    let sampler = graph.sampler();
    let metadata = sampler.map(|sampler| follow(graph, sampler)).transpose();
    // A graph that was not followed to its end may seem to have no sampler.
    graph.checked_steps()?;
    metadata
}

/// What a sampler and the nodes before it say.
fn follow(graph: &Graph<'_>, sampler: usize) -> Result<ImageMetadata, String> {
    let mut metadata = ImageMetadata::new("ComfyUI");
    let mut follower = LinkFollower::new(graph);
    let named = [
        (MetadataKey::Seed, &["seed", "noise_seed"][..]),
        (MetadataKey::Steps, &["steps"]),
        (MetadataKey::Sampler, &["sampler_name"]),
        (MetadataKey::Scheduler, &["scheduler"]),
        (MetadataKey::CfgScale, &["cfg"]),
    ];
    for (key, names) in named {
        metadata.set(key, graph.setting(&mut follower, sampler, names, key).unwrap_or_default());
    }
    metadata.set(MetadataKey::Prompt, follower.texts(sampler, PromptSide::Positive).join("\n"));
    metadata.set(MetadataKey::Negative, follower.texts(sampler, PromptSide::Negative).join("\n"));
    follower.check()?;
    graph.model(sampler, &mut metadata);
    graph.size(&mut follower, sampler, &mut metadata);
    for other in graph.samplers().filter(|other| *other != sampler) {
        let node = graph.node(other);
        let scalars = node.inputs().filter_map(|(name, value)| Some(format!("{name}: {}", value.plain()?)));
        let line = scalars.collect::<Vec<_>>().join(", ");
        metadata.add_other(&format!("{} {}", node.class, node.id), line);
    }
    metadata.not_followed = follower.not_followed;
    Ok(metadata)
}

impl<'a> Graph<'a> {
    fn is_sampler(&self, node: usize) -> bool {
        let node = self.node(node);
        node.class.starts_with("SamplerCustom")
            || (node.has("steps") && node.has("cfg") && (node.has("positive") || node.has("seed")))
    }

    fn samplers(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes().len()).filter(|node| self.is_sampler(*node))
    }

    /// The sampler that began the image: the one that a node which saves leads back to, and of several in a row the one that
    /// ran first.
    fn sampler(&self) -> Option<usize> {
        let mut sampler = self.saved_sampler().or_else(|| self.samplers().next())?;
        let mut seen = HashSet::from([sampler]);
        loop {
            let mut before = self.upstream(sampler, &LATENTS, &[]);
            match before.find(|node| self.is_sampler(*node) && !seen.contains(node)) {
                Some(earlier) => sampler = earlier,
                None => return Some(sampler),
            }
            seen.insert(sampler);
        }
    }

    fn saved_sampler(&self) -> Option<usize> {
        // Nodes that were met lead to no sampler.
        let mut met = HashSet::new();
        for (number, node) in self.nodes().iter().enumerate() {
            let class = node.class.to_lowercase();
            if !class.contains("save") && !class.contains("preview") {
                continue;
            }
            let mut before = self.upstream(number, &["images", "image", "samples"], &[]);
            before.pass_by(met);
            if let Some(found) = before.find(|node| self.is_sampler(*node)) {
                return Some(found);
            }
            met = before.met();
        }
        None
    }

    /// A setting: the sampler's own, that of the node that an input leads to, or that of a node for noise, steps or guidance
    /// before it.
    fn setting(
        &self,
        follower: &mut LinkFollower<'_, 'a>,
        node: usize,
        names: &[&str],
        key: MetadataKey,
    ) -> Option<String> {
        let what = &key.name().replace('_', " ");
        let has = |node: usize| names.iter().any(|name| self.node(node).has(name));
        if has(node) {
            return follower.number(node, names, what);
        }
        let mut parts = self.upstream(node, &PARTS, &["model", "positive", "negative"]);
        follower.number(parts.find(|node| has(*node))?, names, what)
    }

    /// The model, and what was added to it on the way.
    fn model(&self, sampler: usize, metadata: &mut ImageMetadata) {
        let starts = ["model", "guider", "sigmas"];
        let closed = ["positive", "negative", "conditioning", "latent_image", "latent", "image"];
        let text = |node: usize, name: &str| self.node(node).input(name).and_then(GraphInput::plain);
        for node in self.upstream(sampler, &starts, &closed) {
            for (lora, strength) in comfy_loras::of_node(self.node(node)) {
                metadata.add_other("LoRA", format!("{lora}:{strength}"));
            }
            for name in ["ckpt_name", "unet_name", "base_ckpt_name", "model_name"] {
                metadata.set(MetadataKey::Model, text(node, name).unwrap_or_default());
            }
        }
        for node in 0..self.nodes().len() {
            metadata.set(MetadataKey::Vae, text(node, "vae_name").unwrap_or_default());
            let layer = text(node, "stop_at_clip_layer").and_then(|layer| layer.parse::<i64>().ok());
            metadata.set(
                MetadataKey::ClipSkip,
                layer.map_or(String::new(), |layer| layer.saturating_neg().to_string()),
            );
        }
    }

    /// The size of an empty latent, or else how much of an image changed.
    fn size(&self, follower: &mut LinkFollower<'_, 'a>, sampler: usize, metadata: &mut ImageMetadata) {
        for node in self.upstream(sampler, &LATENTS, &["model", "positive", "negative"]) {
            let has = |name| self.node(node).has(name);
            if has("width") && has("height") {
                let mut side = |name| follower.number(node, &[name], name);
                if let (Some(width), Some(height)) = (side("width"), side("height")) {
                    metadata.set(MetadataKey::Width, width);
                    metadata.set(MetadataKey::Height, height);
                    return;
                }
            }
            if has("pixels") {
                break;
            }
        }
        let strength = self.setting(follower, sampler, &["denoise"], MetadataKey::Strength);
        metadata.set(
            MetadataKey::Strength,
            strength.filter(|part| part != "1" && part != "1.0").unwrap_or_default(),
        );
    }
}
