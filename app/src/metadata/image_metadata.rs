//! How an image was made, under the same names whatever program wrote it.

use serde_json::{Map, Value, json};

/// A setting that most programs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataKey {
    /// The prompt.
    Prompt,
    /// The negative prompt.
    Negative,
    /// The seed.
    Seed,
    /// The number of sampling steps.
    Steps,
    /// The sampler, by the program's own name.
    Sampler,
    /// The schedule, by the program's own name.
    Scheduler,
    /// The guidance scale.
    CfgScale,
    /// Width in pixels.
    Width,
    /// Height in pixels.
    Height,
    /// Width and height at once, as programs write them: `512x768`, `(512, 768)` or `512 × 768`. It is kept as
    /// [`MetadataKey::Width`] and [`MetadataKey::Height`].
    Size,
    /// The name or file of the model.
    Model,
    /// The webui's short hash of the model's file.
    ModelHash,
    /// The name or file of a VAE.
    Vae,
    /// How much of a given image is drawn anew, 0 to 1.
    Strength,
    /// The layer of the text encoder, counted from its end, whose hidden states are used.
    ClipSkip,
    /// The random number generator.
    Rng,
}

impl MetadataKey {
    /// Its name in JSON, which is that of this program's flag with `_` for `-`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MetadataKey::Prompt => "prompt",
            MetadataKey::Negative => "negative_prompt",
            MetadataKey::Seed => "seed",
            MetadataKey::Steps => "steps",
            MetadataKey::Sampler => "sampler",
            MetadataKey::Scheduler => "scheduler",
            MetadataKey::CfgScale => "cfg_scale",
            MetadataKey::Width => "width",
            MetadataKey::Height => "height",
            MetadataKey::Size => "size",
            MetadataKey::Model => "model",
            MetadataKey::ModelHash => "model_hash",
            MetadataKey::Vae => "vae",
            MetadataKey::Strength => "strength",
            MetadataKey::ClipSkip => "clip_skip",
            MetadataKey::Rng => "rng",
        }
    }

    fn is_number(self) -> bool {
        use MetadataKey::{CfgScale, ClipSkip, Height, Seed, Steps, Strength, Width};
        matches!(self, Seed | Steps | CfgScale | Width | Height | Strength | ClipSkip)
    }
}

/// What a program calls a setting.
pub(super) type SettingName = (&'static str, MetadataKey);

/// How an image was made, according to the metadata in its file.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ImageMetadata {
    /// The program that wrote it, and its version where the file has it.
    pub program: String,
    settings: Vec<(MetadataKey, String)>,
    /// Settings that only this program has, by its own names.
    pub others: Vec<(String, String)>,
    /// The JSON object that Latent writes, as it is in the file.
    pub own: Option<Value>,
}

impl ImageMetadata {
    /// Metadata of a program without any setting.
    pub(super) fn new(program: &str) -> ImageMetadata {
        ImageMetadata { program: program.to_owned(), ..ImageMetadata::default() }
    }

    /// Keeps a setting, unless it is empty or was set before.
    pub(super) fn set(&mut self, key: MetadataKey, value: impl Into<String>) {
        let value = value.into();
        let value = value.trim();
        if key == MetadataKey::Size {
            let sides: Vec<&str> =
                value.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).collect();
            if let [width, height] = sides[..] {
                self.set(MetadataKey::Width, width);
                self.set(MetadataKey::Height, height);
            }
        } else if !value.is_empty() && self.get(key).is_none() {
            self.settings.push((key, value.to_owned()));
        }
    }

    /// The value of a setting, as the program wrote it.
    #[must_use]
    pub fn get(&self, key: MetadataKey) -> Option<&str> {
        self.settings.iter().find(|(other, _)| *other == key).map(|(_, value)| value.as_str())
    }

    /// Keeps a setting that only the program has.
    pub(super) fn add_other(&mut self, name: &str, value: impl Into<String>) {
        self.others.push((name.to_owned(), value.into()));
    }

    /// Keeps the members of a JSON object. `names` are what the program calls the settings.
    pub(super) fn add_object(&mut self, object: &Map<String, Value>, names: &[SettingName]) {
        // In the order of the names, as several may be for one setting.
        for (name, key) in names {
            if let Some(text) = object.get(*name).and_then(plain) {
                self.set(*key, text);
            }
        }
        for (name, value) in object {
            if names.iter().all(|(known, _)| known != name) && !value.is_null() {
                self.add_other(name, plain(value).unwrap_or_else(|| value.to_string()));
            }
        }
    }

    /// Whether any setting was found.
    pub(super) fn has_settings(&self) -> bool {
        !self.settings.is_empty()
    }

    /// The settings in the order in which a person reads them.
    pub fn settings(&self) -> impl Iterator<Item = (MetadataKey, &str)> {
        use MetadataKey::{CfgScale, ClipSkip, Height, Model, ModelHash, Negative, Prompt, Rng};
        use MetadataKey::{Sampler, Scheduler, Seed, Steps, Strength, Vae, Width};
        let order = [
            Prompt, Negative, Seed, Steps, Sampler, Scheduler, CfgScale, Width, Height, Strength, Model,
            ModelHash, Vae, ClipSkip, Rng,
        ];
        order.into_iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    /// The same as JSON: an object with `program`, `settings`, `others` and `latent`. Numbers are JSON numbers.
    #[must_use]
    pub fn json(&self) -> Value {
        let settings = self.settings().map(|(key, value)| {
            let number = Some(key).filter(|key| key.is_number()).and(serde_json::from_str(value).ok());
            (key.name().to_owned(), number.filter(Value::is_number).unwrap_or_else(|| value.into()))
        });
        let mut others = Map::new();
        for (name, value) in &self.others {
            // What the file has twice becomes a list.
            match others.get_mut(name) {
                None => drop(others.insert(name.clone(), value.as_str().into())),
                Some(Value::Array(list)) => list.push(value.as_str().into()),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        json!({
            "program": self.program,
            "settings": settings.collect::<Map<_, _>>(),
            "others": others,
            "latent": self.own,
        })
    }
}

/// A string, a number or a truth value as text.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
