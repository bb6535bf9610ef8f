//! Which program wrote the texts of a file, and what they say.

use super::comfy_graph::Graph;
use super::image_metadata::{ImageMetadata, MetadataKey, SettingName};
use super::json::{Json, JsonObject, with_json};
use super::texts::MetadataText;
use super::{comfy, programs, webui};
use std::borrow::Cow;

/// Maximum number of JSON values of our own text: a `serde_json::Value` is kept of it.
const MAX_OWN_VALUES: usize = 20_000;

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

/// What a text says; `None` if it is not by that program. An error is the rest of a line that begins with the file's name:
/// a text of that program, with more in it than the bounds.
type Found = Result<Option<ImageMetadata>, String>;

/// How an image was made, according to the texts of its file; `None` if no known program wrote any of them.
///
/// # Errors
/// The rest of a line that begins with the file's name: a text that exceeds a bound.
pub(super) fn detect(texts: &[MetadataText]) -> Found {
    // From the most certain sign to the least.
    let programs =
        [ours, invoke, fooocus_or_swarm, novel, webui_text, comfy_graph, draw_things, easy, comment];
    for program in programs {
        if let Some(metadata) = program(texts)?.filter(ImageMetadata::has_settings) {
            return metadata.bounded().map(Some);
        }
    }
    Ok(None)
}

fn text<'a>(texts: &'a [MetadataText], keyword: &str) -> Option<&'a str> {
    texts.iter().find(|text| text.keyword == keyword).map(|text| text.text.as_str())
}

/// What `read` makes of the JSON object that the first of these texts is.
fn object<T>(
    texts: &[MetadataText],
    keywords: &[&str],
    read: impl FnOnce(&JsonObject<'_>) -> Result<Option<T>, String>,
) -> Result<Option<T>, String> {
    let found = keywords.iter().find_map(|keyword| Some((keyword, text(texts, keyword)?)));
    let Some((keyword, text)) = found else { return Ok(None) };
    with_json(keyword, text, |json| json.as_object().map_or(Ok(None), read))
}

fn ours(texts: &[MetadataText]) -> Found {
    with_json("latent", text(texts, "latent").unwrap_or(""), |json| {
        let Some(own) = json.as_object() else { return Ok(None) };
        let Some(version) = own.text("version") else { return Ok(None) };
        if json.count() > MAX_OWN_VALUES {
            return Err(format!("has more than {MAX_OWN_VALUES} JSON values in its text \"latent\""));
        }
        let mut metadata = ImageMetadata::new(&format!("latent {version}"));
        metadata.add_object(own, &OURS, &["version", "flags", "files"]);
        metadata.others.retain(|(_, value)| !value.is_empty());
        metadata.own = serde_json::to_value(json).ok();
        Ok(Some(metadata))
    })
}

fn invoke(texts: &[MetadataText]) -> Found {
    let new = object(texts, &["invokeai_metadata"], |object| Ok(Some(programs::invoke(object))))?;
    if new.is_some() {
        return Ok(new);
    }
    let old = object(texts, &["sd-metadata"], |object| Ok(Some(programs::sd_metadata(object))))?;
    Ok(old.or_else(|| Some(programs::dream(text(texts, "Dream").or(text(texts, "dream"))?))))
}

/// JSON where the webui has its text.
fn fooocus_or_swarm(texts: &[MetadataText]) -> Found {
    object(texts, &["parameters", "UserComment"], |parameters| {
        if let Some(Json::Object(swarm)) = parameters.get("sui_image_params") {
            return Ok(Some(programs::swarm(swarm)));
        }
        let is_fooocus = text(texts, "fooocus_scheme").is_some()
            || ["metadata_scheme", "base_model", "base_model_name"]
                .iter()
                .any(|key| parameters.contains(key));
        Ok(is_fooocus.then(|| programs::fooocus(parameters)))
    })
}

fn novel(texts: &[MetadataText]) -> Found {
    if text(texts, "Software") != Some("NovelAI") {
        return Ok(None);
    }
    object(texts, &["Comment"], |comment| {
        let description = text(texts, "Description").unwrap_or("");
        Ok(Some(programs::novel(description, text(texts, "Source"), comment)))
    })
}

fn webui_text(texts: &[MetadataText]) -> Found {
    let comment = || Some(("UserComment", text(texts, "UserComment").filter(|t| webui::is_webui_text(t))?));
    let found = text(texts, "parameters").map(|text| ("parameters", text)).or_else(comment);
    let Some((keyword, text)) = found else { return Ok(None) };
    let is_object = with_json(keyword, text, |json| Ok(json.as_object().map(|_| ())))?.is_some();
    if is_object { Ok(None) } else { webui::parse(text).map(Some) }
}

/// In a PNG's own texts, or in EXIF with the name before it, as savers of WebP files write it.
fn comfy_graph(texts: &[MetadataText]) -> Found {
    let named = |name: &str| {
        let in_exif = texts.iter().find_map(|text| {
            let (before, graph) = text.text.split_once(':')?;
            before.eq_ignore_ascii_case(name).then_some(graph)
        });
        text(texts, name).or(in_exif).unwrap_or("")
    };
    let ran = |keyword, text| {
        with_json(keyword, text, |json| {
            Graph::of_prompt(json)?.map_or(Ok(None), |graph| comfy::parse(&graph))
        })
    };
    let mut found = ran("prompt", named("prompt"))?;
    if found.is_none() {
        // Civitai's own images have the graph itself in a comment.
        found = ran("UserComment", text(texts, "UserComment").unwrap_or(""))?;
    }
    if found.is_none() {
        found = with_json("workflow", named("workflow"), |json| {
            Graph::of_workflow(json)?.map_or(Ok(None), |graph| comfy::parse(&graph))
        })?;
    }
    Ok(found)
}

fn draw_things(texts: &[MetadataText]) -> Found {
    let xmp = text(texts, "XML:com.adobe.xmp").unwrap_or("");
    let comment = || {
        let (_, tail) = xmp.split_once("<exif:UserComment")?;
        let (inside, _) = tail.split_once("</exif:UserComment>")?;
        // The text of the first list item, or of the element itself.
        let start = inside.find("<rdf:li").unwrap_or(0);
        let (_, tail) = inside[start..].split_once('>')?;
        Some(unescaped(tail.split('<').next()?.trim()))
    };
    with_json("XML:com.adobe.xmp", &comment().unwrap_or_default(), |json| {
        let comment = json.as_object().filter(|comment| comment.contains("c"));
        Ok(comment.map(programs::draw_things))
    })
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

fn easy(texts: &[MetadataText]) -> Found {
    let sign = ["negative_prompt", "Negative Prompt", "use_stable_diffusion_model", "Stable Diffusion model"];
    let read =
        |object: &JsonObject<'_>| sign.iter().any(|key| object.contains(key)).then(|| programs::easy(object));
    let in_json = object(texts, &["UserComment"], |object| Ok(Some(read(object))))?;
    Ok(in_json.unwrap_or_else(|| {
        let known = |text: &&MetadataText| programs::EASY.iter().any(|(name, _)| *name == text.keyword);
        let members = texts
            .iter()
            .filter(known)
            .map(|text| (Cow::Borrowed(&*text.keyword), Json::Text(Cow::Borrowed(&*text.text))));
        read(&JsonObject::new(members.collect()))
    }))
}

/// Fooocus before its version 2.2.
fn comment(texts: &[MetadataText]) -> Found {
    object(texts, &["Comment"], |comment| {
        let is_fooocus = ["prompt", "base_model"].iter().all(|key| comment.contains(key));
        Ok(is_fooocus.then(|| programs::fooocus(comment)))
    })
}
