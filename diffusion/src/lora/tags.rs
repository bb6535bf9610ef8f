//! `<lora:name:weight>` in prompts.

use crate::Error;

/// A LoRA that a prompt asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// The stem of its file.
    pub name: String,
    /// How strongly, 1 if the prompt does not say.
    pub weight: f32,
}

/// Takes the tags out of a prompt.
///
/// ```
/// use latent_diffusion::lora::take_tags;
/// let (prompt, tags) = take_tags("a fox <lora:ink:0.8>, at night")?;
/// assert_eq!((prompt.as_str(), tags[0].name.as_str(), tags[0].weight), ("a fox , at night", "ink", 0.8));
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
///
/// # Errors
/// A weight that is no number, or a name that is no plain file name: names never lead out of a folder.
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
    let (name, weight) = tag.split_once(':').unwrap_or((tag, "1"));
    let is_plain = !name.is_empty() && !name.contains(['/', '\\', ':', '\0']) && !name.starts_with('.');
    if !is_plain {
        return Err(wrong(format!("<lora:{tag}>: {name:?} is not the plain name of a file")));
    }
    match weight.trim().parse::<f32>() {
        Ok(weight) if weight.is_finite() => Ok(Tag { name: name.to_owned(), weight }),
        _ => Err(wrong(format!("<lora:{tag}>: {weight:?} is not a number such as 0.8"))),
    }
}

fn wrong(reason: String) -> Error {
    Error::Setting { name: "prompt", reason }
}
