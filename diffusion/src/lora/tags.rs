//! `<lora:name:weight>` and `<lora:name:unet_weight:text_weight>` in prompts.

use super::Strength;
use crate::Error;

/// A LoRA that a prompt asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// The stem of its file, or its path below a folder with `/` and without its ending.
    pub name: String,
    /// How strongly it is added to the UNet; 1 if the prompt does not say.
    pub weight: f32,
    /// How strongly it is added to the text encoders; as to the UNet if the prompt does not say.
    pub text_weight: f32,
}

impl Tag {
    /// Both weights.
    #[must_use]
    pub fn strength(&self) -> Strength {
        Strength { unet: self.weight, text: self.text_weight }
    }
}

/// Removes the tags from a prompt.
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
    let (mut words, mut tags, mut rest) = (String::with_capacity(prompt.len()), Vec::new(), prompt);
    while let Some((before, after)) = rest.split_once("<lora:") {
        words.push_str(before);
        let Some((tag, after)) = after.split_once('>') else {
            return Err(wrong("<lora: without the closing >".into()));
        };
        tags.push(parse(tag)?);
        rest = after;
    }
    words.push_str(rest);
    Ok((words, tags))
}

fn parse(tag: &str) -> Result<Tag, Error> {
    let mut parts = tag.split(':');
    // Windows' separators are those of prompts that were written there.
    let name = parts.next().unwrap_or_default().replace('\\', "/");
    let is_plain =
        name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\0'));
    if !is_plain {
        return Err(wrong(format!(
            "<lora:{tag}>: {name:?} is not the plain name of a file, or of one in a sub-folder"
        )));
    }
    let (mut unet, mut text) = (None, None);
    for part in parts {
        // The webui's names for the two, in any order.
        let (slot, number) = match part.split_once('=') {
            Some(("unet", number)) => (&mut unet, number),
            Some(("te", number)) => (&mut text, number),
            _ if unet.is_none() => (&mut unet, part),
            _ => (&mut text, part),
        };
        match number.trim().parse::<f32>() {
            Ok(number) if number.is_finite() && slot.is_none() => *slot = Some(number),
            Ok(number) if number.is_finite() => {
                return Err(wrong(format!("<lora:{tag}>: has more weights than UNet and text encoder")));
            }
            _ => return Err(wrong(format!("<lora:{tag}>: {number:?} is not a number such as 0.8"))),
        }
    }
    let weight = unet.or(text).unwrap_or(1.0);
    Ok(Tag { name, weight, text_weight: text.unwrap_or(weight) })
}

fn wrong(reason: String) -> Error {
    Error::setting(crate::Setting::Prompt, reason)
}
