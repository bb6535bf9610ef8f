//! What a command that draws makes of its flags: the images it starts from, and what becomes of the drawn ones.

use latent_app::AppError;
use latent_diffusion::{Image, Task};
use serde_json::Value;

/// A command's own setting, as an image's file tells it.
#[derive(Clone)]
pub(crate) struct Fact {
    /// As the webui names it.
    pub(crate) label: &'static str,
    /// As the flag is named, with `_`.
    pub(crate) key: &'static str,
    pub(crate) value: Value,
}

impl Fact {
    /// How much may change.
    pub(crate) fn strength(value: f64) -> Fact {
        Fact { label: "Denoising strength", key: "strength", value: value.into() }
    }

    /// The softness of a mask's edge.
    pub(crate) fn mask_blur(value: f64) -> Fact {
        Fact { label: "Mask blur", key: "mask_blur", value: value.into() }
    }

    /// As the webui writes it.
    pub(super) fn text(&self) -> String {
        if let Value::Object(parts) = &self.value {
            // Commas are the next setting's, but in quotes.
            let text = parts.iter().map(|(key, value)| format!("{key}: {}", plain(value)));
            return format!(", {}: {}", self.label, Value::from(text.collect::<Vec<_>>().join(", ")));
        }
        let value = plain(&self.value);
        format!(", {}: {}", self.label, value.strip_suffix(".0").unwrap_or(&value))
    }
}

/// A value without the quotes of a text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The work of a command.
pub(crate) trait Job {
    /// What to draw, and what of.
    fn task(&self) -> Task<'_>;

    /// Images of the task as they are to be written.
    fn finish(&self, images: Vec<Image>) -> Result<Vec<Image>, AppError> {
        Ok(images)
    }

    /// What is drawn of an image that shows the same as the whole result.
    fn part(&self, whole: Image) -> Image {
        whole
    }

    /// The command's own settings.
    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }
}
