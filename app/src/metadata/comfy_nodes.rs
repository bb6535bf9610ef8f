//! What nodes of ComfyUI and its widely used extensions do with texts and numbers.

/// How a node makes its output of its inputs.
#[derive(Clone, Copy, Debug)]
pub(super) enum NodeRule {
    /// It is the value of this input.
    Value(&'static str),
    /// It is the first input that is a link.
    FirstLink,
    /// An input holds a number: it is the input whose name is that number after `prefix`.
    Choice { number: &'static str, prefix: &'static str },
    /// It is one of two inputs, by whether a third is true.
    Condition { test: &'static str, yes: &'static str, no: &'static str },
    /// The inputs whose names begin with `prefix`, in the order of their names, with another input between them.
    Join { prefix: &'static str, separator: &'static str, default: &'static str },
    /// The same, without empty texts, and with white space around each only if `clean_whitespace` is not `true`.
    JoinClean { prefix: &'static str, separator: &'static str, default: &'static str },
    /// `StringFunction|pysssss`: texts in a row, or one text replaced in another.
    StringFunction,
}

use NodeRule::{Choice, Condition, FirstLink, Join, JoinClean, StringFunction, Value};

/// Nodes that pass on texts and numbers.
const RULES: [(&str, NodeRule); 70] = [
    // Of ComfyUI itself.
    ("PrimitiveBoolean", Value("value")),
    ("PrimitiveFloat", Value("value")),
    ("PrimitiveInt", Value("value")),
    ("PrimitiveNode", Value("value")),
    ("PrimitiveString", Value("value")),
    ("PrimitiveStringMultiline", Value("value")),
    ("PreviewAny", Value("source")),
    ("RandomNoise", Value("noise_seed")),
    ("Reroute", FirstLink),
    ("ComfySwitchNode", Condition { test: "switch", yes: "on_true", no: "on_false" }),
    ("StringConcatenate", Join { prefix: "string_", separator: "delimiter", default: "" }),
    // WAS Node Suite.
    ("Seed", Value("seed")),
    ("Text Multiline", Value("text")),
    ("Text Multiline (Code Compatible)", Value("text")),
    ("Text String", Value("text")),
    ("Text Concatenate", JoinClean { prefix: "text", separator: "delimiter", default: ", " }),
    // Comfyroll.
    ("CR Seed", Value("seed")),
    ("CR Text", Value("text")),
    ("CR Prompt Text", Value("prompt")),
    ("CR Text Concatenate", Join { prefix: "text", separator: "separator", default: "" }),
    ("CR Text Input Switch", Choice { number: "Input", prefix: "text" }),
    ("CR Text Input Switch (4 way)", Choice { number: "Input", prefix: "text" }),
    ("CR Conditioning Input Switch", Choice { number: "Input", prefix: "conditioning" }),
    ("CR Latent Input Switch", Choice { number: "Input", prefix: "latent" }),
    ("CR Model Input Switch", Choice { number: "Input", prefix: "model" }),
    // rgthree.
    ("Any Switch (rgthree)", FirstLink),
    ("Reroute (rgthree)", FirstLink),
    ("Display Any (rgthree)", Value("source")),
    ("Display Int (rgthree)", Value("input")),
    ("Power Prompt - Simple (rgthree)", Value("prompt")),
    ("Seed (rgthree)", Value("seed")),
    // Custom Scripts.
    ("ShowText|pysssss", Value("text")),
    ("StringFunction|pysssss", StringFunction),
    // KJNodes.
    ("FloatConstant", Value("value")),
    ("INTConstant", Value("value")),
    ("StringConstant", Value("string")),
    ("StringConstantMultiline", Value("string")),
    ("JoinStrings", Join { prefix: "string", separator: "delimiter", default: " " }),
    // Impact Pack.
    ("ImpactConditionalBranch", Condition { test: "cond", yes: "tt_value", no: "ff_value" }),
    ("ImpactFloat", Value("value")),
    ("ImpactInt", Value("value")),
    ("ImpactSwitch", Choice { number: "select", prefix: "input" }),
    ("LatentSwitch", Choice { number: "select", prefix: "input" }),
    ("ImpactWildcardProcessor", Value("populated_text")),
    // Easy Use.
    ("easy positive", Value("positive")),
    ("easy negative", Value("negative")),
    ("easy string", Value("value")),
    ("easy int", Value("value")),
    ("easy float", Value("value")),
    ("easy boolean", Value("value")),
    ("easy seed", Value("seed")),
    ("easy showAnything", Value("anything")),
    ("easy anythingIndexSwitch", Choice { number: "index", prefix: "value" }),
    ("easy ifElse", Condition { test: "boolean", yes: "on_true", no: "on_false" }),
    ("easy promptConcat", Join { prefix: "prompt", separator: "separator", default: "" }),
    // Efficiency Nodes, tinyterraNodes, ComfyLiterals, Crystools and others.
    ("ttN text", Value("text")),
    ("ttN int", Value("int")),
    ("ttN float", Value("float")),
    ("ttN seed", Value("seed")),
    ("Int", Value("Number")),
    ("Float", Value("Number")),
    ("String", Value("String")),
    ("Int Literal", Value("int")),
    ("Float Literal", Value("float")),
    ("String Literal", Value("string")),
    ("Primitive string [Crystools]", Value("string")),
    ("Switch any [Crystools]", Condition { test: "boolean", yes: "on_true", no: "on_false" }),
    ("Switch string [Crystools]", Condition { test: "boolean", yes: "on_true", no: "on_false" }),
    ("JWString", Value("text")),
    ("JWStringMultiline", Value("text")),
];

/// Nodes that turn texts into what a sampler takes, and that a prompt says all of.
const ENCODERS: [&str; 18] = [
    "BNK_CLIPTextEncodeAdvanced",
    "BasicGuider",
    "CFGGuider",
    "CLIPTextEncode",
    "CLIPTextEncodeFlux",
    "CLIPTextEncodeSD3",
    "CLIPTextEncodeSDXL",
    "CLIPTextEncodeSDXLRefiner",
    "Eff. Loader SDXL",
    "Efficient Loader",
    "ImpactWildcardEncode",
    "Text to Conditioning",
    "ToBasicPipe",
    "easy a1111Loader",
    "easy comfyLoader",
    "easy fullLoader",
    "easy preSampling",
    "smZ CLIPTextEncode",
];

/// What a class does with its inputs, if it is known.
pub(super) fn rule(class: &str) -> Option<NodeRule> {
    RULES.iter().find(|(known, _)| *known == class).map(|(_, rule)| *rule)
}

pub(super) fn is_encoder(class: &str) -> bool {
    ENCODERS.contains(&class)
}

/// The values that the page shows for the nodes that matter, in its order.
pub(super) const WIDGETS: [(&str, &[&str]); 27] = [
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
    ("PrimitiveNode", &["value"]),
    ("PrimitiveInt", &["value"]),
    ("PrimitiveFloat", &["value"]),
    ("PrimitiveString", &["value"]),
    ("PrimitiveStringMultiline", &["value"]),
    ("StringConcatenate", &["string_a", "string_b", "delimiter"]),
    ("Text Concatenate", &["delimiter", "clean_whitespace"]),
    ("Text Multiline", &["text"]),
    ("CR Text", &["text"]),
    ("CR Text Concatenate", &["separator"]),
    ("ImpactSwitch", &["select"]),
    ("easy positive", &["positive"]),
    ("Seed (rgthree)", &["seed"]),
];
