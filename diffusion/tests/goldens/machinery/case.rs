//! One golden case: its parameters, its tensors, its checkpoint and its tolerance.

use std::collections::BTreeMap;

use serde_json::Value;

/// The relative error that every tensor must keep, as largest difference over largest value and as L2 norm of the
/// difference over L2 norm.
const RELATIVE: f64 = 1e-4;
/// What 8-bit images of deterministic computations may differ by.
const PIXEL: u8 = 1;

/// One line of the index.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The group, for example `unet/sd15`; its first part is the kind.
    pub(crate) group: String,
    /// The name within the group.
    pub(crate) name: String,
    /// The file with the tensors, relative to the folder of the index; `None` for cases that are only JSON.
    pub(crate) file: Option<String>,
    /// The tensors and their shapes.
    pub(crate) tensors: BTreeMap<String, Vec<usize>>,
    /// Everything that the index says about the case.
    pub(crate) json: Value,
}

/// A synthetic checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CheckpointKey {
    pub(crate) family: String,
    pub(crate) scale: String,
    pub(crate) seed: u64,
    pub(crate) dtype: String,
}

/// What a result may differ by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// Relative to the largest value, and in the L2 norm.
    Relative(f64),
    /// Per element.
    Absolute(f64),
}

impl Case {
    /// `unet`, `text`, `schedulers`, ...
    pub(crate) fn kind(&self) -> &str {
        self.group.split('/').next().unwrap_or_default()
    }

    /// `group/name`, unique in the index.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The limit for tensors: the absolute one of the case where it has only that (values that are known to the last
    /// bits, whatever their size), else the relative one, never looser than [`RELATIVE`].
    ///
    /// The sinusoids of time steps are not known so well: their frequencies are `exp`s in f32 of the library that made
    /// the goldens, some not rounded to the nearest, and one unit in the last place moves an angle of 1024 by 6e-5.
    pub(crate) fn limit(&self) -> Limit {
        let tolerance = &self.json["tol"];
        match (tolerance["abs"].as_f64(), tolerance["rel"].as_f64()) {
            (Some(absolute), None) if self.kind() != "time" => Limit::Absolute(absolute),
            (_, relative) => Limit::Relative(relative.unwrap_or(RELATIVE).min(RELATIVE)),
        }
    }

    /// The limit for 8-bit images, never looser than [`PIXEL`].
    pub(crate) fn pixel_limit(&self) -> u8 {
        let own = self.json["tol"]["u8_max"].as_u64().unwrap_or(u64::from(PIXEL));
        u8::try_from(own).unwrap_or(PIXEL).min(PIXEL)
    }

    /// The checkpoint that the case ran with, where it names one.
    pub(crate) fn checkpoint(&self) -> Result<Option<CheckpointKey>, String> {
        let json = &self.json["checkpoint"];
        if json.is_null() {
            return Ok(None);
        }
        let text = |key: &str| {
            let value = json[key].as_str().map(str::to_owned);
            value.ok_or_else(|| format!("{}: checkpoint has no {key}", self.id()))
        };
        let seed = json["seed"].as_u64().ok_or_else(|| format!("{}: checkpoint has no seed", self.id()))?;
        Ok(Some(CheckpointKey {
            family: text("family")?,
            scale: text("scale")?,
            seed,
            dtype: text("dtype")?,
        }))
    }

    /// The add-on file under `key` (`lora`, `control`, `ti`, `ip_adapter` or `image_encoder`), where the case has one: as the checkpoint, with the
    /// family and seed of the add-on.
    pub(crate) fn add_on(&self, key: &str) -> Result<Option<CheckpointKey>, String> {
        let json = &self.json[key];
        if json.is_null() {
            return Ok(None);
        }
        let base = self.checkpoint()?;
        match (base, json["file"].as_str(), json["seed"].as_u64()) {
            (Some(base), Some(file), Some(seed)) => {
                Ok(Some(CheckpointKey { family: file.to_owned(), seed, ..base }))
            }
            _ => Err(format!("{}: {key} needs a file, a seed and a checkpoint", self.id())),
        }
    }

    /// Every synthetic file that the case needs.
    pub(crate) fn all_checkpoints(&self) -> Result<Vec<CheckpointKey>, String> {
        let mut keys: Vec<CheckpointKey> = self.checkpoint()?.into_iter().collect();
        for key in ["lora", "control", "ti", "ip_adapter", "image_encoder"] {
            keys.extend(self.add_on(key)?);
        }
        Ok(keys)
    }
}
