//! `<lora:name:weight>` and `<lora:name:text_weight:unet_weight>` in prompts, as the webui reads them.

use super::Strength;
use crate::Error;

/// Kinds of tags that name a LoRA.
const KINDS: [&str; 2] = ["lora", "lyco"];

/// A LoRA that a prompt asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// The stem of its file, or its path below a folder with `/`.
    pub name: String,
    /// How strongly it is added to the UNet; as to the text encoders if the prompt does not say.
    pub weight: f32,
    /// How strongly it is added to the text encoders; 1 if the prompt does not say.
    pub text_weight: f32,
    /// How much of its rank is used (`dyn`); all of it if `None`.
    pub max_rank: Option<usize>,
}

impl Tag {
    /// Both weights, and how much of the rank is used.
    #[must_use]
    pub fn strength(&self) -> Strength {
        Strength { unet: self.weight, text: self.text_weight, max_rank: self.max_rank }
    }
}

/// A part of a prompt.
enum PromptPart<'a> {
    Words(&'a str),
    /// `<kind:text>`, of any kind.
    Tag {
        kind: &'a str,
        text: &'a str,
    },
}

/// Removes the tags from a prompt, and gives those that name LoRAs. Tags of other kinds ([`other_tags`]) are left out.
///
/// ```
/// use latent_diffusion::lora::take_tags;
/// let (prompt, tags) = take_tags("a fox <lora:ink:0.8>, at night")?;
/// assert_eq!((prompt.as_str(), tags[0].name.as_str(), tags[0].weight), ("a fox , at night", "ink", 0.8));
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
///
/// # Errors
/// A weight that is not a number, or a name that is not a path of plain names: names never lead out of a folder.
pub fn take_tags(prompt: &str) -> Result<(String, Vec<Tag>), Error> {
    let (mut words, mut tags) = (String::with_capacity(prompt.len()), Vec::new());
    for part in parts(prompt) {
        match part {
            PromptPart::Words(text) => match KINDS.iter().find(|kind| text.contains(&format!("<{kind}:"))) {
                Some(kind) => {
                    return Err(wrong(format!("<{kind}: without its name or without the closing >")));
                }
                None => words.push_str(text),
            },
            PromptPart::Tag { kind, text } if KINDS.contains(&kind) => tags.push(parse(kind, text)?),
            PromptPart::Tag { .. } => {}
        }
    }
    Ok((words, tags))
}

/// The tags of a prompt that [`take_tags`] leaves out: of kinds that other programs have, such as `<hypernet:NAME:1>`.
#[must_use]
pub fn other_tags(prompt: &str) -> Vec<String> {
    let other = |part| match part {
        PromptPart::Tag { kind, text } if !KINDS.contains(&kind) => Some(format!("<{kind}:{text}>")),
        _ => None,
    };
    parts(prompt).into_iter().filter_map(other).collect()
}

/// A prompt of the time when the first of two weights was that of the UNet and tags of other kinds were words, in words of
/// today.
#[must_use]
pub fn update_tags(prompt: &str) -> String {
    let mut updated = String::with_capacity(prompt.len());
    for part in parts(prompt) {
        match part {
            PromptPart::Words(text) => updated.push_str(text),
            PromptPart::Tag { kind: "lora", text } => {
                let [unet, te] = earlier_weights(text);
                match (text.split_once(':'), unet.or(te), te.or(unet)) {
                    (Some((name, weights)), Some(unet), Some(te)) if weights.contains([':', '=']) => {
                        updated.push_str(&format!("<lora:{name}:te={te}:unet={unet}>"));
                    }
                    _ => updated.push_str(&format!("<lora:{text}>")),
                }
            }
            // A space makes no difference to tokens.
            PromptPart::Tag { kind, text } => updated.push_str(&format!("< {kind}:{text}>")),
        }
    }
    updated
}

/// The weights of the UNet and of the text encoders in a tag, as they used to be read.
fn earlier_weights(tag: &str) -> [Option<&str>; 2] {
    let (mut unet, mut te) = (None, None);
    for part in tag.split(':').skip(1) {
        match part.split_once('=') {
            Some(("unet", number)) => unet = Some(number),
            Some(("te", number)) => te = Some(number),
            _ if unet.is_none() => unet = Some(part),
            _ => te = Some(part),
        }
    }
    [unet, te]
}

/// Cuts a prompt at its tags: `<`, a word, `:`, and anything up to `>`.
fn parts(prompt: &str) -> Vec<PromptPart<'_>> {
    let (mut parts, mut words, mut at) = (Vec::new(), 0, 0);
    while let Some(open) = prompt[at..].find('<').map(|open| at + open) {
        let after = &prompt[open + 1..];
        let kind = after.len() - after.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
        let text = after[kind..].strip_prefix(':').filter(|_| kind > 0);
        let end = text.and_then(|text| text.find('>')).filter(|end| *end > 0);
        let (Some(text), Some(end)) = (text, end) else {
            at = open + 1;
            // Without an end here, there is none further on.
            if text.is_some_and(|text| !text.contains('>')) {
                break;
            }
            continue;
        };
        parts.push(PromptPart::Words(&prompt[words..open]));
        parts.push(PromptPart::Tag { kind: &after[..kind], text: &text[..end] });
        words = open + 1 + kind + 1 + end + 1;
        at = words;
    }
    parts.push(PromptPart::Words(&prompt[words..]));
    parts
}

fn parse(kind: &str, tag: &str) -> Result<Tag, Error> {
    let bad = |reason: String| wrong(format!("<{kind}:{tag}>: {reason}"));
    let mut parts = tag.split(':');
    // Windows' separators are those of prompts that were written there.
    let name = parts.next().unwrap_or_default().replace('\\', "/");
    let is_plain =
        name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\0'));
    if !is_plain {
        return Err(bad(format!("{name:?} is not the plain name of a file, or of one in a sub-folder")));
    }
    // In the order of the tag, and by name, which counts more.
    let (mut values, mut named, mut next) = ([None; 3], [None; 3], 0);
    for part in parts {
        let slot = match part.split_once('=') {
            Some((key, value)) => {
                let slot = ["te", "unet", "dyn"].iter().position(|known| *known == key.trim());
                let slot = slot.ok_or_else(|| bad(format!("{key:?} is not one of te, unet and dyn")))?;
                named[slot] = Some(value);
                continue;
            }
            None => next,
        };
        *values.get_mut(slot).ok_or_else(|| bad("has more than a name, two weights and a rank".into()))? =
            Some(part);
        next += 1;
    }
    let value = |slot: usize| named[slot].or(values[slot]);
    let number = |text: &str| match text.trim().parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(bad(format!("{text:?} is not a number such as 0.8"))),
    };
    let text_weight = value(0).map_or(Ok(1.0), number)?;
    let weight = value(1).map_or(Ok(text_weight), number)?;
    let max_rank = value(2).map(|text| match text.trim().parse::<usize>() {
        Ok(rank) if rank > 0 => Ok(rank),
        _ => Err(bad(format!("{text:?} is not a rank such as 8"))),
    });
    Ok(Tag { name, weight, text_weight, max_rank: max_rank.transpose()? })
}

fn wrong(reason: String) -> Error {
    Error::setting(crate::Setting::Prompt, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_in_the_order_of_the_webui() {
        let weights = |prompt: &str| {
            let (_, tags) = take_tags(prompt).unwrap();
            tags.iter().map(|tag| (tag.text_weight, tag.weight, tag.max_rank)).collect::<Vec<_>>()
        };
        assert_eq!(
            weights("<lora:a:0.5:1><lora:b:0.5><lyco:c><lora:d:1:2:8>"),
            [(0.5, 1.0, None), (0.5, 0.5, None), (1.0, 1.0, None), (1.0, 2.0, Some(8))]
        );
        assert_eq!(
            weights("<lora:a:te=0.5:unet=2><lora:b:1:te=0><lora:c:unet=3:dyn=4><lora:d:1:2:unet=3>"),
            [(0.5, 2.0, None), (0.0, 0.0, None), (1.0, 3.0, Some(4)), (1.0, 3.0, None)]
        );
        for bad in
            ["<lora:a:x=1>", "<lora:a:1:2:0>", "<lora:a:1:2:3:4>", "<lyco:a:much>", "<lyco:", "<lora:>"]
        {
            assert!(take_tags(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_of_other_kinds_are_left_out() {
        let prompt = "a <hypernet:foo:1>fox <3 <:x> <b>bold</b> a<b:";
        assert_eq!(take_tags(prompt).unwrap(), ("a fox <3 <:x> <b>bold</b> a<b:".to_owned(), vec![]));
        assert_eq!(other_tags(prompt), ["<hypernet:foo:1>"]);
        assert!(other_tags("<lora:a:1> <lyco:b>").is_empty());
    }

    #[test]
    fn prompts_of_earlier_versions_keep_their_meaning() {
        for (before, after) in [
            ("a <lora:b:0.5> <lora:c>", "a <lora:b:0.5> <lora:c>"),
            ("<lora:b:0:1> x", "<lora:b:te=1:unet=0> x"),
            ("<lora:b:1:te=0>", "<lora:b:te=0:unet=1>"),
            ("<lora:b:unet=2>", "<lora:b:te=2:unet=2>"),
            ("<lyco:b:1> <hypernet:c>", "< lyco:b:1> < hypernet:c>"),
        ] {
            assert_eq!(update_tags(before), after);
        }
    }
}
