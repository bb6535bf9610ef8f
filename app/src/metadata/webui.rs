//! The text of AUTOMATIC1111's webui, which Forge, SD.Next, stable-diffusion.cpp, Fooocus and others write too, and this
//! program:
//!
//! ```text
//! a prompt of any number of lines
//! Negative prompt: the same
//! Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x768, Model: name, …
//! ```

use super::image_metadata::{ImageMetadata, MetadataKey, SettingName};

/// Maximum number of lines, of which long prompts have some hundred.
const MAX_LINES: usize = 10_000;
/// Maximum number of settings in a line.
const MAX_PAIRS: usize = 1000;
/// Maximum size in bytes of a value with quotes or brackets: each of a hostile line may seem to reach to its end.
const MAX_VALUE_BYTES: usize = 64 << 10;

const NAMES: [SettingName; 20] = [
    ("Steps", MetadataKey::Steps),
    ("Sampler", MetadataKey::Sampler),
    ("Schedule type", MetadataKey::Scheduler),
    ("Scheduler", MetadataKey::Scheduler),
    ("CFG scale", MetadataKey::CfgScale),
    ("Guidance", MetadataKey::CfgScale),
    ("Seed", MetadataKey::Seed),
    ("Size", MetadataKey::Size),
    ("Model", MetadataKey::Model),
    ("Model hash", MetadataKey::ModelHash),
    ("VAE", MetadataKey::Vae),
    ("Denoising strength", MetadataKey::Strength),
    ("Denoising Strength", MetadataKey::Strength),
    ("Clip skip", MetadataKey::ClipSkip),
    ("CLIP skip", MetadataKey::ClipSkip),
    ("RNG", MetadataKey::Rng),
    ("Token merging ratio", MetadataKey::TokenMerging),
    ("Variation seed", MetadataKey::VariationSeed),
    ("Variation seed strength", MetadataKey::VariationStrength),
    ("Tiling", MetadataKey::Seamless),
];

/// Whether a text has this form.
pub(super) fn is_webui_text(text: &str) -> bool {
    line_of_settings(text).is_some() || text.contains("\nNegative prompt: ")
}

/// Where the line of settings begins and ends.
fn line_of_settings(text: &str) -> Option<(usize, usize)> {
    let start = match text.rfind("\nSteps: ") {
        Some(at) => at + 1,
        None if text.starts_with("Steps: ") => 0,
        None => return None,
    };
    Some((start, text[start..].find('\n').map_or(text.len(), |length| start + length)))
}

/// How an image was made, according to such a text.
///
/// # Errors
/// The rest of a line that begins with the file's name: more lines or settings than the bounds here.
pub(super) fn parse(text: &str) -> Result<ImageMetadata, String> {
    if text.lines().nth(MAX_LINES).is_some() {
        return Err(format!("has a text of more than {MAX_LINES} lines"));
    }
    let text = &text.replace("\r\n", "\n");
    let (start, end) = line_of_settings(text).unwrap_or((text.len(), text.len()));
    let words = text[..start].trim_end_matches('\n');
    let mark = "Negative prompt: ";
    let at =
        if words.starts_with(mark) { Some(0) } else { words.rfind("\nNegative prompt: ").map(|at| at + 1) };
    let (prompt, negative) = at.map_or((words, ""), |at| (&words[..at], &words[at + mark.len()..]));
    let mut metadata = ImageMetadata::new("the webui, or one that writes as it does");
    metadata.set(MetadataKey::Prompt, prompt);
    metadata.set(MetadataKey::Negative, negative);
    let pairs = pairs(&text[start..end]);
    if pairs.len() > MAX_PAIRS {
        return Err(format!("has more than {MAX_PAIRS} settings in a line"));
    }
    for (name, value) in pairs {
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, key)) => metadata.set(*key, value),
            None if name == "Version" => metadata.program = program(&value),
            None if name == "App" => metadata.program = value,
            None => metadata.add_other(&name, value),
        }
    }
    for line in text[end..].lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or(("more", line));
        metadata.add_other(name, value);
    }
    Ok(metadata)
}

/// Which program has such a version.
fn program(version: &str) -> String {
    let begins =
        |c: char| version.strip_prefix(c).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if begins('v') {
        format!("AUTOMATIC1111's webui {version}")
    } else if begins('f') || version.contains("forge") || version == "neo" {
        format!("Forge {version}")
    } else {
        version.to_owned()
    }
}

/// `name: value, name: value`, at most one more than [`MAX_PAIRS`]; a value in quotes or brackets may hold commas.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((name, tail)) = rest.split_once(':').filter(|_| pairs.len() <= MAX_PAIRS) {
        // A name without a value, as some add-ons write.
        let name = name.rsplit_once(',').map_or(name, |(_, name)| name).trim();
        let value = tail.trim_start();
        let length = value_length(value);
        let (value, tail) = value.split_at(length);
        pairs.push((name.to_owned(), unquoted(value.trim())));
        rest = tail.strip_prefix(',').unwrap_or(tail);
    }
    pairs
}

/// Bytes until the comma that ends a value.
fn value_length(text: &str) -> usize {
    let (mut depth, mut in_quotes, mut escaped) = (0usize, false, false);
    // Quotes and brackets in the middle of a value are ordinary characters.
    if !text.starts_with(['"', '{', '[']) {
        return text.find(',').unwrap_or(text.len());
    }
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_quotes,
            '"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return at,
            _ if at > MAX_VALUE_BYTES => break,
            _ => {}
        }
    }
    // A quote or bracket that is not closed is an ordinary character.
    if in_quotes || depth > 0 || text.len() > MAX_VALUE_BYTES {
        text.find(',').unwrap_or(text.len())
    } else {
        text.len()
    }
}

/// A JSON string's text.
fn unquoted(value: &str) -> String {
    let text = value.starts_with('"').then(|| serde_json::from_str(value).ok()).flatten();
    text.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ImageMetadata {
        super::parse(text).unwrap()
    }

    fn got(metadata: &ImageMetadata, key: MetadataKey) -> &str {
        metadata.get(key).unwrap_or("")
    }

    #[test]
    fn a_usual_text() {
        let metadata = parse(
            "a cat,\non a mat\nNegative prompt: dog,\nbird\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: \
             6.5, Seed: 12345678901, Size: 512x768, Model hash: 6ce0161689, Model: v1-5: pruned, Denoising strength: 0.4, \
             Lora hashes: \"ink: 0123456789ab, two: ba9876543210\", Hires upscale: 2, Version: v1.10.1",
        );
        assert_eq!(metadata.program, "AUTOMATIC1111's webui v1.10.1");
        assert_eq!(got(&metadata, MetadataKey::Prompt), "a cat,\non a mat");
        assert_eq!(got(&metadata, MetadataKey::Negative), "dog,\nbird");
        assert_eq!(
            (got(&metadata, MetadataKey::Steps), got(&metadata, MetadataKey::Seed)),
            ("20", "12345678901")
        );
        assert_eq!(
            (got(&metadata, MetadataKey::Sampler), got(&metadata, MetadataKey::Scheduler)),
            ("DPM++ 2M", "Karras")
        );
        assert_eq!((got(&metadata, MetadataKey::Width), got(&metadata, MetadataKey::Height)), ("512", "768"));
        assert_eq!(
            (got(&metadata, MetadataKey::Model), got(&metadata, MetadataKey::ModelHash)),
            ("v1-5: pruned", "6ce0161689")
        );
        assert_eq!(got(&metadata, MetadataKey::CfgScale), "6.5");
        let others: Vec<_> =
            metadata.others.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(others, [("Lora hashes", "ink: 0123456789ab, two: ba9876543210"), ("Hires upscale", "2")]);
    }

    #[test]
    fn brackets_and_lines_after_the_settings() {
        let metadata = parse(
            "x\nSteps: 4, Civitai resources: [{\"type\":\"checkpoint\",\"name\":\"a, b\"}], Seed: 7, Broken: \"no end, \
             Size: 64x64, App: SD.Next\nTemplate: {x|y}",
        );
        assert_eq!((got(&metadata, MetadataKey::Seed), got(&metadata, MetadataKey::Width)), ("7", "64"));
        assert_eq!(metadata.program, "SD.Next");
        assert_eq!(metadata.others[0].1, "[{\"type\":\"checkpoint\",\"name\":\"a, b\"}]");
        assert_eq!(metadata.others.last(), Some(&("Template".to_owned(), "{x|y}".to_owned())));
    }

    #[test]
    fn parts_may_be_missing() {
        assert_eq!(got(&parse("only words"), MetadataKey::Prompt), "only words");
        let metadata = parse("Negative prompt: dog\nSteps: 1, Seed: 2");
        assert_eq!(
            (
                metadata.get(MetadataKey::Prompt),
                got(&metadata, MetadataKey::Negative),
                got(&metadata, MetadataKey::Seed)
            ),
            (None, "dog", "2")
        );
        assert_eq!(got(&parse("Steps: 3"), MetadataKey::Steps), "3");
        assert!(
            !is_webui_text("only words")
                && is_webui_text("Steps: 3")
                && is_webui_text("a\nNegative prompt: b")
        );
        // A prompt may contain what looks like the line of settings.
        let metadata = parse("Steps: 9\nNegative prompt: a\nNegative prompt: b\nSteps: 3");
        assert_eq!((got(&metadata, MetadataKey::Steps), got(&metadata, MetadataKey::Negative)), ("3", "b"));
    }
}
