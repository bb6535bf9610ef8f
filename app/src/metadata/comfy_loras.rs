//! ComfyUI: the LoRAs that a node adds, of loaders of one and of stacks of many.
//!
//! Extensions name the inputs of the n-th LoRA in ways of their own: `lora_name_1` with `lora_wt_1` or `model_weight_1`, `lora_01`
//! with `strength_01`, `lora_1_name` with `lora_1_strength`, or one object. What all have in common: the name of the file is in an
//! input with "lora" in its name, and its strength in one with the same number.

use super::comfy_graph::{GraphInput, GraphNode};
use super::json::Json;

/// Words in the names of inputs that hold a strength, the best first; one of the text encoder is another one.
const STRENGTHS: [&str; 6] =
    ["strength_model", "model_strength", "model_weight", "model_str", "strength", "wt"];
/// Words in the names of inputs that hold something else than a file.
const OTHERS: [&str; 9] = ["strength", "weight", "wt", "_str", "count", "num", "switch", "toggle", "stack"];
/// Inputs that say how many of the LoRAs count.
const COUNTS: [&str; 2] = ["lora_count", "num_loras"];

/// Maximum number of inputs of a node whose LoRAs are looked for: each is compared with all others.
const MAX_INPUTS: usize = 300;

/// Names and strengths of the LoRAs that a node adds, in the order of its inputs.
pub(super) fn of_node(node: &GraphNode<'_>) -> Vec<(String, String)> {
    if node.inputs().count() > MAX_INPUTS {
        return Vec::new();
    }
    let count = COUNTS.iter().find_map(|name| node.input(name)?.plain()?.parse::<f64>().ok());
    let mut loras = Vec::new();
    for (name, input) in node.inputs() {
        let lower = name.to_lowercase();
        if !lower.contains("lora") || OTHERS.iter().any(|other| lower.contains(other)) {
            continue;
        }
        let number = number(name);
        let counts = count.is_none_or(|count| number.is_none_or(|number| f64::from(number) <= count));
        let found = match input {
            GraphInput::Value(value) if value.as_object().is_some() => of_object(value),
            _ => input.plain().map(|file| (file.into_owned(), strength(node, number))),
        };
        let Some((file, strength)) = found.filter(|_| counts && is_on(node, number)) else { continue };
        let is_named = lower == "lora_name" || is_file(&file);
        if !file.is_empty() && !file.eq_ignore_ascii_case("none") && is_named {
            loras.push((file, strength));
        }
    }
    loras
}

/// Whether a value is the name of a file and not a word of a setting.
fn is_file(value: &str) -> bool {
    [".safetensors", ".pt", ".ckpt", ".bin"].iter().any(|ending| value.to_lowercase().ends_with(ending))
}

/// A LoRA of one object: `{"on": true, "lora": "ink.safetensors", "strength": 0.8}`.
fn of_object(value: &Json<'_>) -> Option<(String, String)> {
    let plain = |name: &str| value.get(name).and_then(Json::plain);
    let is_on = plain("on").is_none_or(|on| on == "true");
    let file = plain("lora").or_else(|| plain("name"))?;
    let strength = plain("strength").map_or("1".to_owned(), |strength| strength.into_owned());
    is_on.then(|| (file.into_owned(), strength))
}

/// The number in the name of an input.
fn number(name: &str) -> Option<u32> {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The strength of the LoRA of a number.
fn strength(node: &GraphNode<'_>, of: Option<u32>) -> String {
    let fits = |name: &str, word: &str| {
        let lower = name.to_lowercase();
        lower.contains(word) && !lower.contains("clip") && number(name) == of
    };
    let find = |word: &&str| {
        let (_, input) = node.inputs().find(|(name, input)| fits(name, word) && input.plain().is_some())?;
        input.plain()
    };
    STRENGTHS.iter().find_map(find).map_or("1".to_owned(), |strength| strength.into_owned())
}

/// Whether no switch of that number is off.
fn is_on(node: &GraphNode<'_>, of: Option<u32>) -> bool {
    let is_off = |(name, input): (&str, GraphInput<'_>)| {
        let lower = name.to_lowercase();
        (lower.starts_with("switch") || lower.starts_with("toggle") || lower.starts_with("enabled"))
            && number(name).is_none_or(|number| Some(number) == of)
            && input.plain().is_some_and(|value| ["off", "false"].contains(&value.to_lowercase().as_str()))
    };
    !node.inputs().any(is_off)
}
