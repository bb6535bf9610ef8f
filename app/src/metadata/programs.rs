//! Programs whose texts are JSON objects, or keys of their own: tables of what each calls a setting.

use super::told::{Key, Name, Told};
use serde_json::{Map, Value};

/// `invokeai_metadata` of InvokeAI 3 and later.
const INVOKE: [Name; 9] = [
    ("positive_prompt", Key::Prompt),
    ("negative_prompt", Key::Negative),
    ("seed", Key::Seed),
    ("steps", Key::Steps),
    ("scheduler", Key::Sampler),
    ("cfg_scale", Key::CfgScale),
    ("width", Key::Width),
    ("height", Key::Height),
    ("strength", Key::Strength),
];

pub(super) fn invoke(mut object: Map<String, Value>) -> Told {
    let mut told = Told::by(&version("InvokeAI", object.remove("app_version")));
    if let Some(Value::Object(model)) = object.remove("model") {
        let names = ["model_name", "name", "key"];
        let name = names.iter().find_map(|key| model.get(*key)?.as_str()).unwrap_or("");
        told.set(Key::Model, name);
        // `blake3:…` of newer versions is no hash that others know.
        let hash = model.get("hash").and_then(Value::as_str).unwrap_or("");
        told.other("model hash", hash);
    }
    told.take(&object, &INVOKE);
    told
}

/// `sd-metadata` of InvokeAI 2.
const SD_METADATA: [Name; 7] = [
    ("seed", Key::Seed),
    ("steps", Key::Steps),
    ("sampler", Key::Sampler),
    ("cfg_scale", Key::CfgScale),
    ("width", Key::Width),
    ("height", Key::Height),
    ("strength", Key::Strength),
];

pub(super) fn sd_metadata(mut object: Map<String, Value>) -> Told {
    let mut told = Told::by(&version("InvokeAI", object.remove("app_version")));
    if let Some(Value::Object(mut image)) = object.remove("image") {
        // A text, or a list of texts and their weights.
        let prompt = match image.remove("prompt") {
            Some(Value::String(prompt)) => prompt,
            Some(Value::Array(list)) => {
                list.iter().filter_map(|part| part.get("prompt")?.as_str()).collect::<Vec<_>>().join(" ")
            }
            _ => String::new(),
        };
        words_in_brackets(&mut told, &prompt);
        told.take(&image, &SD_METADATA);
    }
    told.take(&object, &[("model_weights", Key::Model), ("model_hash", Key::ModelHash)]);
    told
}

/// What is in square brackets is the negative prompt.
fn words_in_brackets(told: &mut Told, prompt: &str) {
    let (mut positive, mut negative) = (String::new(), Vec::new());
    let mut rest = prompt;
    while let Some((before, behind)) = rest.split_once('[') {
        let Some((inside, behind)) = behind.split_once(']') else { break };
        positive.push_str(before);
        negative.push(inside.trim());
        rest = behind;
    }
    positive.push_str(rest);
    told.set(Key::Prompt, positive);
    told.set(Key::Negative, negative.join(", "));
}

/// `Dream` of InvokeAI 1: the prompt in quotes and flags of one letter.
pub(super) fn dream(text: &str) -> Told {
    let mut told = Told::by("InvokeAI");
    let end = text.rfind('"').filter(|end| *end > 0).unwrap_or(0);
    words_in_brackets(&mut told, text[..end].strip_prefix('"').unwrap_or(""));
    let mut words = text.get(end + 1..).unwrap_or("").split_whitespace();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) else { continue };
        // `-s 50`, and `-s50` too.
        let is_letter = |flag: &str| flag.len() == 1 && flag.is_ascii();
        let joined = flag.is_char_boundary(1) && !is_letter(flag) && !flag.starts_with('-');
        let (flag, value) = if joined { flag.split_at(1) } else { (flag, words.next().unwrap_or("")) };
        match flag {
            "s" => told.set(Key::Steps, value),
            "S" => told.set(Key::Seed, value),
            "W" => told.set(Key::Width, value),
            "H" => told.set(Key::Height, value),
            "C" => told.set(Key::CfgScale, value),
            "A" => told.set(Key::Sampler, value),
            "f" => told.set(Key::Strength, value),
            other => told.other(other, value),
        }
    }
    told
}

/// `Comment` of NovelAI.
const NOVEL: [Name; 10] = [
    ("prompt", Key::Prompt),
    ("uc", Key::Negative),
    ("seed", Key::Seed),
    ("steps", Key::Steps),
    ("sampler", Key::Sampler),
    ("noise_schedule", Key::Scheduler),
    ("scale", Key::CfgScale),
    ("width", Key::Width),
    ("height", Key::Height),
    ("strength", Key::Strength),
];

pub(super) fn novel(description: &str, source: Option<&str>, object: &Map<String, Value>) -> Told {
    let mut told = Told::by("NovelAI");
    told.take(object, &NOVEL);
    told.set(Key::Prompt, description);
    // `Stable Diffusion 1D44365E`: a name and a hash.
    if let Some((name, hash)) = source.and_then(|source| source.rsplit_once(' ')) {
        told.set(Key::Model, name);
        told.other("Model hash", hash);
    }
    told
}

/// Fooocus: `parameters`, and before its version 2.2 a comment.
const FOOOCUS: [Name; 16] = [
    ("prompt", Key::Prompt),
    ("negative_prompt", Key::Negative),
    ("seed", Key::Seed),
    ("steps", Key::Steps),
    ("sampler", Key::Sampler),
    ("sampler_name", Key::Sampler),
    ("scheduler", Key::Scheduler),
    ("guidance_scale", Key::CfgScale),
    ("cfg", Key::CfgScale),
    ("resolution", Key::Size),
    ("width", Key::Width),
    ("height", Key::Height),
    ("base_model", Key::Model),
    ("base_model_name", Key::Model),
    ("base_model_hash", Key::ModelHash),
    ("vae", Key::Vae),
];

pub(super) fn fooocus(mut object: Map<String, Value>) -> Told {
    let told_version = object.remove("version").and_then(|version| Some(version.as_str()?.to_owned()));
    let mut told = Told::by(told_version.as_deref().unwrap_or("Fooocus"));
    told.take(&object, &FOOOCUS);
    told
}

/// Draw Things: a comment in XMP.
const DRAW_THINGS: [Name; 9] = [
    ("c", Key::Prompt),
    ("uc", Key::Negative),
    ("seed", Key::Seed),
    ("steps", Key::Steps),
    ("sampler", Key::Sampler),
    ("scale", Key::CfgScale),
    ("size", Key::Size),
    ("model", Key::Model),
    ("strength", Key::Strength),
];

pub(super) fn draw_things(object: &Map<String, Value>) -> Told {
    let mut told = Told::by("Draw Things");
    told.take(object, &DRAW_THINGS);
    told
}

/// Easy Diffusion: a text for each setting, or JSON, by either of two sets of names.
pub(super) const EASY: [Name; 24] = [
    ("prompt", Key::Prompt),
    ("Prompt", Key::Prompt),
    ("negative_prompt", Key::Negative),
    ("Negative Prompt", Key::Negative),
    ("seed", Key::Seed),
    ("Seed", Key::Seed),
    ("num_inference_steps", Key::Steps),
    ("Steps", Key::Steps),
    ("sampler_name", Key::Sampler),
    ("Sampler", Key::Sampler),
    ("guidance_scale", Key::CfgScale),
    ("Guidance Scale", Key::CfgScale),
    ("width", Key::Width),
    ("Width", Key::Width),
    ("height", Key::Height),
    ("Height", Key::Height),
    ("use_stable_diffusion_model", Key::Model),
    ("Stable Diffusion model", Key::Model),
    ("use_vae_model", Key::Vae),
    ("VAE model", Key::Vae),
    ("prompt_strength", Key::Strength),
    ("Prompt Strength", Key::Strength),
    ("scheduler_name", Key::Scheduler),
    ("Scheduler", Key::Scheduler),
];

pub(super) fn easy(object: &Map<String, Value>) -> Told {
    let mut told = Told::by("Easy Diffusion");
    told.take(object, &EASY);
    told
}

/// SwarmUI: `sui_image_params` in JSON.
const SWARM: [Name; 11] = [
    ("prompt", Key::Prompt),
    ("negativeprompt", Key::Negative),
    ("seed", Key::Seed),
    ("steps", Key::Steps),
    ("sampler", Key::Sampler),
    ("comfyuisampler", Key::Sampler),
    ("scheduler", Key::Scheduler),
    ("cfgscale", Key::CfgScale),
    ("width", Key::Width),
    ("height", Key::Height),
    ("model", Key::Model),
];

pub(super) fn swarm(mut object: Map<String, Value>) -> Told {
    let mut told = Told::by(&version("SwarmUI", object.remove("swarm_version")));
    told.take(&object, &SWARM);
    told
}

/// A program's name and its version.
fn version(program: &str, version: Option<Value>) -> String {
    match version.as_ref().and_then(Value::as_str) {
        Some(version) if version.starts_with(program) => version.to_owned(),
        Some(version) => format!("{program} {version}"),
        None => program.to_owned(),
    }
}
