//! How an image was made, under the same names whatever program wrote it.

use super::json::JsonObject;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// Maximum number of settings that only the program of a file knows.
pub(super) const MAX_OTHERS: usize = 1000;

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
    /// The part of the tokens that are merged.
    TokenMerging,
    /// The seed of the noise that is mixed in.
    VariationSeed,
    /// How much of it, 0 to 1.
    VariationStrength,
    /// Whether the image can be tiled.
    Seamless,
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
            MetadataKey::TokenMerging => "tome",
            MetadataKey::VariationSeed => "variation_seed",
            MetadataKey::VariationStrength => "variation_strength",
            MetadataKey::Seamless => "seamless",
        }
    }

    fn is_number(self) -> bool {
        use MetadataKey::{CfgScale, ClipSkip, Height, Seed, Steps, Strength, TokenMerging, Width};
        use MetadataKey::{VariationSeed, VariationStrength};
        matches!(
            self,
            VariationSeed
                | VariationStrength
                | Seed
                | Steps
                | CfgScale
                | Width
                | Height
                | Strength
                | ClipSkip
                | TokenMerging
        )
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
    /// What the settings do not say, though it made the image: for each a setting and where it comes from, such as `prompt
    /// (through ConditioningCombine, node 12)`.
    pub not_followed: Vec<String>,
    /// Whether there are more than [`MAX_OTHERS`] others.
    has_too_many: bool,
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
            let sides = value.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty());
            // One more than there may be.
            let sides: Vec<&str> = sides.take(3).collect();
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
        self.has_too_many |= self.others.len() >= MAX_OTHERS;
        if !self.has_too_many {
            self.others.push((name.to_owned(), value.into()));
        }
    }

    /// The metadata, unless there is more than a person could read.
    ///
    /// # Errors
    /// The rest of a line that begins with the file's name.
    pub(super) fn bounded(self) -> Result<ImageMetadata, String> {
        if self.has_too_many {
            return Err(format!("has more than {MAX_OTHERS} settings of its program's own"));
        }
        Ok(self)
    }

    /// Keeps the members of a JSON object but those in `without`. `names` are what the program calls the settings.
    pub(super) fn add_object(&mut self, object: &JsonObject<'_>, names: &[SettingName], without: &[&str]) {
        // In the order of the names, as several may be for one setting.
        for (name, key) in names {
            if let Some(text) = object.get(name).and_then(|value| value.plain()) {
                self.set(*key, text);
            }
        }
        for (name, value) in object.iter() {
            let is_known = names.iter().any(|(known, _)| *known == name) || without.contains(&name);
            if !is_known && *value != super::json::Json::Null {
                self.add_other(name, value.plain().map_or_else(|| value.to_string(), Into::into));
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
        use MetadataKey::{Sampler, Scheduler, Seamless, Seed, Steps, Strength, TokenMerging, Vae, Width};
        use MetadataKey::{VariationSeed, VariationStrength};
        let order = [
            Prompt,
            Negative,
            Seed,
            Steps,
            Sampler,
            Scheduler,
            CfgScale,
            Width,
            Height,
            Strength,
            Model,
            ModelHash,
            Vae,
            ClipSkip,
            Rng,
            TokenMerging,
            VariationSeed,
            VariationStrength,
            Seamless,
        ];
        order.into_iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    /// The same as JSON: an object with `program`, `settings`, `others`, `not_followed` and `latent`. Numbers are JSON
    /// numbers. Serializing the metadata itself gives the same without a copy of it in memory.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A setting in JSON.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum SettingValue<'a> {
    Number(Number),
    Text(&'a str),
}

/// Other settings of one name.
struct SameName<'a>(Vec<&'a str>);

impl Serialize for SameName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What the file has twice becomes a list.
        match self.0[..] {
            [text] => serializer.serialize_str(text),
            _ => self.0.serialize(serializer),
        }
    }
}

impl Serialize for ImageMetadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = self.settings().map(|(key, value)| {
            let number = Some(key).filter(|key| key.is_number()).and(serde_json::from_str(value).ok());
            (key.name(), number.map_or(SettingValue::Text(value), SettingValue::Number))
        });
        let mut others: BTreeMap<&str, SameName<'_>> = BTreeMap::new();
        for (name, value) in &self.others {
            others.entry(name).or_insert_with(|| SameName(Vec::new())).0.push(value);
        }
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("latent", &self.own)?;
        map.serialize_entry("not_followed", &self.not_followed)?;
        map.serialize_entry("others", &others)?;
        map.serialize_entry("program", &self.program)?;
        map.serialize_entry("settings", &settings.collect::<BTreeMap<_, _>>())?;
        map.end()
    }
}
