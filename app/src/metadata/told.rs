//! What a file tells of how an image was made, in the same words whatever program wrote it.

use serde_json::{Map, Value, json};

/// A setting that programs have in common, by the name that this program's flags have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Prompt,
    Negative,
    Seed,
    Steps,
    Sampler,
    Scheduler,
    CfgScale,
    Width,
    Height,
    /// Both at once: `512x768`, `(512, 768)` or `512 × 768`.
    Size,
    Model,
    ModelHash,
    Vae,
    Strength,
    ClipSkip,
    Rng,
}

impl Key {
    pub fn name(self) -> &'static str {
        match self {
            Key::Prompt => "prompt",
            Key::Negative => "negative_prompt",
            Key::Seed => "seed",
            Key::Steps => "steps",
            Key::Sampler => "sampler",
            Key::Scheduler => "scheduler",
            Key::CfgScale => "cfg_scale",
            Key::Width => "width",
            Key::Height => "height",
            Key::Size => "size",
            Key::Model => "model",
            Key::ModelHash => "model_hash",
            Key::Vae => "vae",
            Key::Strength => "strength",
            Key::ClipSkip => "clip_skip",
            Key::Rng => "rng",
        }
    }

    fn is_number(self) -> bool {
        use Key::{CfgScale, ClipSkip, Height, Seed, Steps, Strength, Width};
        matches!(self, Seed | Steps | CfgScale | Width | Height | Strength | ClipSkip)
    }
}

/// What a program calls a setting.
pub type Name = (&'static str, Key);

/// All that is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The program, and its version where that is told.
    pub program: String,
    settings: Vec<(Key, String)>,
    /// Settings of the program alone, by its own names.
    pub others: Vec<(String, String)>,
    /// Our own text.
    pub own: Option<Value>,
}

impl Told {
    pub fn by(program: &str) -> Told {
        Told { program: program.to_owned(), ..Told::default() }
    }

    /// Keeps a setting. What is empty is not told, and the first of two counts.
    pub fn set(&mut self, key: Key, value: impl Into<String>) {
        let value = value.into();
        let value = value.trim();
        if key == Key::Size {
            let sides: Vec<&str> =
                value.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).collect();
            if let [width, height] = sides[..] {
                self.set(Key::Width, width);
                self.set(Key::Height, height);
            }
        } else if !value.is_empty() && self.get(key).is_none() {
            self.settings.push((key, value.to_owned()));
        }
    }

    pub fn get(&self, key: Key) -> Option<&str> {
        self.settings.iter().find(|(other, _)| *other == key).map(|(_, value)| value.as_str())
    }

    pub fn other(&mut self, name: &str, value: impl Into<String>) {
        self.others.push((name.to_owned(), value.into()));
    }

    /// Keeps the members of a JSON object, by what the program calls its settings.
    pub fn take(&mut self, object: &Map<String, Value>, names: &[Name]) {
        // In the order of the names, of which several may be for one setting.
        for (name, key) in names {
            if let Some(text) = object.get(*name).and_then(plain) {
                self.set(*key, text);
            }
        }
        for (name, value) in object {
            if names.iter().all(|(known, _)| known != name) && !value.is_null() {
                self.other(name, plain(value).unwrap_or_else(|| value.to_string()));
            }
        }
    }

    /// Whether anything was found.
    pub fn is_some(&self) -> bool {
        !self.settings.is_empty()
    }

    /// The settings in the order in which a person reads them.
    pub fn settings(&self) -> impl Iterator<Item = (Key, &str)> {
        use Key::{CfgScale, ClipSkip, Height, Model, ModelHash, Negative, Prompt, Rng};
        use Key::{Sampler, Scheduler, Seed, Steps, Strength, Vae, Width};
        let order = [
            Prompt, Negative, Seed, Steps, Sampler, Scheduler, CfgScale, Width, Height, Strength, Model,
            ModelHash, Vae, ClipSkip, Rng,
        ];
        order.into_iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    /// The same as JSON, numbers as such.
    pub fn json(&self) -> Value {
        let settings = self.settings().map(|(key, value)| {
            let number = Some(key).filter(|key| key.is_number()).and(serde_json::from_str(value).ok());
            (key.name().to_owned(), number.filter(Value::is_number).unwrap_or_else(|| value.into()))
        });
        let mut others = Map::new();
        for (name, value) in &self.others {
            // What is told twice is a list.
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

/// A text, a number or a switch as text.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
