//! Programs whose texts are JSON objects, or keys of their own: tables of what each calls a setting.

use super::image_metadata::{ImageMetadata, MetadataKey, SettingName};
use super::json::{Json, JsonObject};

/// `invokeai_metadata` of InvokeAI 3 and later.
const INVOKE: [SettingName; 9] = [
    ("positive_prompt", MetadataKey::Prompt),
    ("negative_prompt", MetadataKey::Negative),
    ("seed", MetadataKey::Seed),
    ("steps", MetadataKey::Steps),
    ("scheduler", MetadataKey::Sampler),
    ("cfg_scale", MetadataKey::CfgScale),
    ("width", MetadataKey::Width),
    ("height", MetadataKey::Height),
    ("strength", MetadataKey::Strength),
];

pub(super) fn invoke(object: &JsonObject<'_>) -> ImageMetadata {
    let mut metadata = ImageMetadata::new(&version("InvokeAI", object.text("app_version")));
    if let Some(Json::Object(model)) = object.get("model") {
        let names = ["model_name", "name", "key"];
        let name = names.iter().find_map(|key| model.text(key)).unwrap_or("");
        metadata.set(MetadataKey::Model, name);
        // Newer versions write `blake3:…`, a hash that no other program has.
        let hash = model.text("hash").unwrap_or("");
        metadata.add_other("model hash", hash);
    }
    metadata.add_object(object, &INVOKE, &["app_version", "model"]);
    metadata
}

/// `sd-metadata` of InvokeAI 2.
const SD_METADATA: [SettingName; 7] = [
    ("seed", MetadataKey::Seed),
    ("steps", MetadataKey::Steps),
    ("sampler", MetadataKey::Sampler),
    ("cfg_scale", MetadataKey::CfgScale),
    ("width", MetadataKey::Width),
    ("height", MetadataKey::Height),
    ("strength", MetadataKey::Strength),
];

pub(super) fn sd_metadata(object: &JsonObject<'_>) -> ImageMetadata {
    let mut metadata = ImageMetadata::new(&version("InvokeAI", object.text("app_version")));
    if let Some(Json::Object(image)) = object.get("image") {
        // A text, or a list of texts and their weights.
        match image.get("prompt") {
            Some(Json::Text(prompt)) => words_in_brackets(&mut metadata, prompt),
            Some(Json::List(list)) => {
                let parts: Vec<_> = list.iter().filter_map(|part| part.get("prompt")?.as_str()).collect();
                words_in_brackets(&mut metadata, &parts.join(" "));
            }
            _ => {}
        }
        metadata.add_object(image, &SD_METADATA, &["prompt"]);
    }
    metadata.add_object(
        object,
        &[("model_weights", MetadataKey::Model), ("model_hash", MetadataKey::ModelHash)],
        &["app_version", "image"],
    );
    metadata
}

/// What is in square brackets is the negative prompt.
fn words_in_brackets(metadata: &mut ImageMetadata, prompt: &str) {
    let (mut positive, mut negative) = (String::new(), String::new());
    let mut rest = prompt;
    while let Some((before, tail)) = rest.split_once('[') {
        let Some((inside, tail)) = tail.split_once(']') else { break };
        positive.push_str(before);
        if !negative.is_empty() {
            negative.push_str(", ");
        }
        negative.push_str(inside.trim());
        rest = tail;
    }
    positive.push_str(rest);
    metadata.set(MetadataKey::Prompt, positive);
    metadata.set(MetadataKey::Negative, negative);
}

/// `Dream` of InvokeAI 1: the prompt in quotes and flags of one letter.
pub(super) fn dream(text: &str) -> ImageMetadata {
    let mut metadata = ImageMetadata::new("InvokeAI");
    let end = text.rfind('"').filter(|end| *end > 0).unwrap_or(0);
    words_in_brackets(&mut metadata, text[..end].strip_prefix('"').unwrap_or(""));
    let mut words = text.get(end + 1..).unwrap_or("").split_whitespace();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) else { continue };
        // `-s 50`, and `-s50` too.
        let is_letter = |flag: &str| flag.len() == 1 && flag.is_ascii();
        let joined = flag.is_char_boundary(1) && !is_letter(flag) && !flag.starts_with('-');
        let (flag, value) = if joined { flag.split_at(1) } else { (flag, words.next().unwrap_or("")) };
        match flag {
            "s" => metadata.set(MetadataKey::Steps, value),
            "S" => metadata.set(MetadataKey::Seed, value),
            "W" => metadata.set(MetadataKey::Width, value),
            "H" => metadata.set(MetadataKey::Height, value),
            "C" => metadata.set(MetadataKey::CfgScale, value),
            "A" => metadata.set(MetadataKey::Sampler, value),
            "f" => metadata.set(MetadataKey::Strength, value),
            other => metadata.add_other(other, value),
        }
    }
    metadata
}

/// `Comment` of NovelAI.
const NOVEL: [SettingName; 10] = [
    ("prompt", MetadataKey::Prompt),
    ("uc", MetadataKey::Negative),
    ("seed", MetadataKey::Seed),
    ("steps", MetadataKey::Steps),
    ("sampler", MetadataKey::Sampler),
    ("noise_schedule", MetadataKey::Scheduler),
    ("scale", MetadataKey::CfgScale),
    ("width", MetadataKey::Width),
    ("height", MetadataKey::Height),
    ("strength", MetadataKey::Strength),
];

pub(super) fn novel(description: &str, source: Option<&str>, object: &JsonObject<'_>) -> ImageMetadata {
    let mut metadata = ImageMetadata::new("NovelAI");
    metadata.add_object(object, &NOVEL, &[]);
    metadata.set(MetadataKey::Prompt, description);
    // `Stable Diffusion 1D44365E`: a name and a hash.
    if let Some((name, hash)) = source.and_then(|source| source.rsplit_once(' ')) {
        metadata.set(MetadataKey::Model, name);
        metadata.add_other("Model hash", hash);
    }
    metadata
}

/// Fooocus: `parameters`, and before its version 2.2 a comment.
const FOOOCUS: [SettingName; 16] = [
    ("prompt", MetadataKey::Prompt),
    ("negative_prompt", MetadataKey::Negative),
    ("seed", MetadataKey::Seed),
    ("steps", MetadataKey::Steps),
    ("sampler", MetadataKey::Sampler),
    ("sampler_name", MetadataKey::Sampler),
    ("scheduler", MetadataKey::Scheduler),
    ("guidance_scale", MetadataKey::CfgScale),
    ("cfg", MetadataKey::CfgScale),
    ("resolution", MetadataKey::Size),
    ("width", MetadataKey::Width),
    ("height", MetadataKey::Height),
    ("base_model", MetadataKey::Model),
    ("base_model_name", MetadataKey::Model),
    ("base_model_hash", MetadataKey::ModelHash),
    ("vae", MetadataKey::Vae),
];

pub(super) fn fooocus(object: &JsonObject<'_>) -> ImageMetadata {
    let mut metadata = ImageMetadata::new(object.text("version").unwrap_or("Fooocus"));
    metadata.add_object(object, &FOOOCUS, &["version"]);
    metadata
}

/// Draw Things: a comment in XMP.
const DRAW_THINGS: [SettingName; 9] = [
    ("c", MetadataKey::Prompt),
    ("uc", MetadataKey::Negative),
    ("seed", MetadataKey::Seed),
    ("steps", MetadataKey::Steps),
    ("sampler", MetadataKey::Sampler),
    ("scale", MetadataKey::CfgScale),
    ("size", MetadataKey::Size),
    ("model", MetadataKey::Model),
    ("strength", MetadataKey::Strength),
];

pub(super) fn draw_things(object: &JsonObject<'_>) -> ImageMetadata {
    let mut metadata = ImageMetadata::new("Draw Things");
    metadata.add_object(object, &DRAW_THINGS, &[]);
    metadata
}

/// Easy Diffusion: a text for each setting, or JSON, by either of two sets of names.
pub(super) const EASY: [SettingName; 24] = [
    ("prompt", MetadataKey::Prompt),
    ("Prompt", MetadataKey::Prompt),
    ("negative_prompt", MetadataKey::Negative),
    ("Negative Prompt", MetadataKey::Negative),
    ("seed", MetadataKey::Seed),
    ("Seed", MetadataKey::Seed),
    ("num_inference_steps", MetadataKey::Steps),
    ("Steps", MetadataKey::Steps),
    ("sampler_name", MetadataKey::Sampler),
    ("Sampler", MetadataKey::Sampler),
    ("guidance_scale", MetadataKey::CfgScale),
    ("Guidance Scale", MetadataKey::CfgScale),
    ("width", MetadataKey::Width),
    ("Width", MetadataKey::Width),
    ("height", MetadataKey::Height),
    ("Height", MetadataKey::Height),
    ("use_stable_diffusion_model", MetadataKey::Model),
    ("Stable Diffusion model", MetadataKey::Model),
    ("use_vae_model", MetadataKey::Vae),
    ("VAE model", MetadataKey::Vae),
    ("prompt_strength", MetadataKey::Strength),
    ("Prompt Strength", MetadataKey::Strength),
    ("scheduler_name", MetadataKey::Scheduler),
    ("Scheduler", MetadataKey::Scheduler),
];

pub(super) fn easy(object: &JsonObject<'_>) -> ImageMetadata {
    let mut metadata = ImageMetadata::new("Easy Diffusion");
    metadata.add_object(object, &EASY, &[]);
    metadata
}

/// SwarmUI: `sui_image_params` in JSON.
const SWARM: [SettingName; 11] = [
    ("prompt", MetadataKey::Prompt),
    ("negativeprompt", MetadataKey::Negative),
    ("seed", MetadataKey::Seed),
    ("steps", MetadataKey::Steps),
    ("sampler", MetadataKey::Sampler),
    ("comfyuisampler", MetadataKey::Sampler),
    ("scheduler", MetadataKey::Scheduler),
    ("cfgscale", MetadataKey::CfgScale),
    ("width", MetadataKey::Width),
    ("height", MetadataKey::Height),
    ("model", MetadataKey::Model),
];

pub(super) fn swarm(object: &JsonObject<'_>) -> ImageMetadata {
    let mut metadata = ImageMetadata::new(&version("SwarmUI", object.text("swarm_version")));
    metadata.add_object(object, &SWARM, &["swarm_version"]);
    metadata
}

/// A program's name and its version.
fn version(program: &str, version: Option<&str>) -> String {
    match version {
        Some(version) if version.starts_with(program) => version.to_owned(),
        Some(version) => format!("{program} {version}"),
        None => program.to_owned(),
    }
}
