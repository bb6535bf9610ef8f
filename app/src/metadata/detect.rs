//! Which program wrote the texts of a file, and what they say.

use super::image_metadata::{ImageMetadata, MetadataKey, SettingName};
use super::texts::MetadataText;
use super::{comfy, comfy_workflow, programs, webui};
use serde_json::{Map, Value};

/// Our own text, whose other members are flags and files.
const OURS: [SettingName; 14] = [
    ("prompt", MetadataKey::Prompt),
    ("negative_prompt", MetadataKey::Negative),
    ("seed", MetadataKey::Seed),
    ("steps", MetadataKey::Steps),
    ("sampler", MetadataKey::Sampler),
    ("scheduler", MetadataKey::Scheduler),
    ("cfg_scale", MetadataKey::CfgScale),
    ("width", MetadataKey::Width),
    ("height", MetadataKey::Height),
    ("strength", MetadataKey::Strength),
    ("model", MetadataKey::Model),
    ("model_hash", MetadataKey::ModelHash),
    ("clip_skip", MetadataKey::ClipSkip),
    ("rng", MetadataKey::Rng),
];

/// How an image was made, according to the texts of its file; `None` if no known program wrote any of them.
pub(super) fn detect(texts: &[MetadataText]) -> Option<ImageMetadata> {
    // From the most certain sign to the least.
    [ours, invoke, fooocus_or_swarm, novel, webui_text, comfy_graph, draw_things, easy, comment]
        .into_iter()
        .find_map(|program| program(texts).filter(ImageMetadata::has_settings))
}

fn text<'a>(texts: &'a [MetadataText], keyword: &str) -> Option<&'a str> {
    texts.iter().find(|text| text.keyword == keyword).map(|text| text.text.as_str())
}

/// The JSON object that a text is.
fn object(text: &str) -> Option<Map<String, Value>> {
    match json(text)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// A text as JSON. Python's writer has `NaN` and infinities, which JSON has not: they are nothing.
fn json(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&without_nan(text)).ok())
}

/// `NaN`, `Infinity` and `-Infinity` outside of strings as `null`.
fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let odd =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = odd {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn ours(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let own = object(text(texts, "latent")?)?;
    let version = own.get("version")?.as_str()?;
    let mut metadata = ImageMetadata::new(&format!("latent {version}"));
    metadata.add_object(&own, &OURS);
    metadata
        .others
        .retain(|(name, value)| !value.is_empty() && !matches!(name.as_str(), "version" | "flags" | "files"));
    metadata.own = Some(Value::Object(own));
    Some(metadata)
}

fn invoke(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let new = || Some(programs::invoke(object(text(texts, "invokeai_metadata")?)?));
    let old = || Some(programs::sd_metadata(object(text(texts, "sd-metadata")?)?));
    new().or_else(old).or_else(|| Some(programs::dream(text(texts, "Dream").or(text(texts, "dream"))?)))
}

/// JSON where the webui has its text.
fn fooocus_or_swarm(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let mut parameters = object(text(texts, "parameters").or(text(texts, "UserComment"))?)?;
    if let Some(Value::Object(swarm)) = parameters.remove("sui_image_params") {
        return Some(programs::swarm(swarm));
    }
    let is_fooocus = text(texts, "fooocus_scheme").is_some()
        || ["metadata_scheme", "base_model", "base_model_name"]
            .iter()
            .any(|key| parameters.contains_key(*key));
    is_fooocus.then(|| programs::fooocus(parameters))
}

fn novel(texts: &[MetadataText]) -> Option<ImageMetadata> {
    if text(texts, "Software")? != "NovelAI" {
        return None;
    }
    let comment = object(text(texts, "Comment")?)?;
    Some(programs::novel(text(texts, "Description").unwrap_or(""), text(texts, "Source"), &comment))
}

fn webui_text(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let parameters = text(texts, "parameters")
        .or_else(|| text(texts, "UserComment").filter(|text| webui::is_webui_text(text)));
    Some(webui::parse(parameters.filter(|text| object(text).is_none())?))
}

/// In a PNG's own texts, or in EXIF with the name before it, as savers of WebP files write it.
fn comfy_graph(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let named = |name: &str| -> Option<Value> {
        let in_exif = texts.iter().find_map(|text| {
            let (before, graph) = text.text.split_once(':')?;
            before.eq_ignore_ascii_case(name).then_some(graph)
        });
        json(text(texts, name).or(in_exif)?)
    };
    // Civitai's own images have the graph itself in a comment.
    let comment = || json(text(texts, "UserComment")?);
    let ran = named("prompt").or_else(comment).and_then(|graph| comfy::parse(&graph));
    ran.or_else(|| comfy::parse(&comfy_workflow::graph(&named("workflow")?)?))
}

fn draw_things(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let xmp = text(texts, "XML:com.adobe.xmp")?;
    let (_, tail) = xmp.split_once("<exif:UserComment")?;
    let (inside, _) = tail.split_once("</exif:UserComment>")?;
    // The text of the first list item, or of the element itself.
    let start = inside.find("<rdf:li").unwrap_or(0);
    let (_, tail) = inside[start..].split_once('>')?;
    let comment = object(&unescaped(tail.split('<').next()?.trim()))?;
    comment.contains_key("c").then(|| programs::draw_things(&comment))
}

/// XML's entities, and characters by number.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('&') {
        out.push_str(before);
        let end = tail.char_indices().take(9).find(|(_, c)| *c == ';').map(|(at, _)| at);
        let (name, after) = end.map_or(("", tail), |at| (&tail[..at], &tail[at + 1..]));
        let number = name.strip_prefix('#').and_then(|number| match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        });
        match name {
            "quot" => out.push('"'),
            "apos" => out.push('\''),
            "lt" => out.push('<'),
            "gt" => out.push('>'),
            "amp" => out.push('&'),
            _ => match number.and_then(char::from_u32) {
                Some(c) => out.push(c),
                None => {
                    // Not an entity after all.
                    out.push('&');
                    rest = tail;
                    continue;
                }
            },
        }
        rest = after;
    }
    out + rest
}

fn easy(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let sign = ["negative_prompt", "Negative Prompt", "use_stable_diffusion_model", "Stable Diffusion model"];
    let in_json = || object(text(texts, "UserComment")?);
    let in_texts = || -> Map<String, Value> {
        let known = |text: &&MetadataText| programs::EASY.iter().any(|(name, _)| *name == text.keyword);
        texts.iter().filter(known).map(|text| (text.keyword.clone(), text.text.as_str().into())).collect()
    };
    let object = in_json().unwrap_or_else(in_texts);
    sign.iter().any(|key| object.contains_key(*key)).then(|| programs::easy(&object))
}

/// Fooocus before its version 2.2.
fn comment(texts: &[MetadataText]) -> Option<ImageMetadata> {
    let comment = object(text(texts, "Comment")?)?;
    ["prompt", "base_model"].iter().all(|key| comment.contains_key(*key)).then(|| programs::fooocus(comment))
}
