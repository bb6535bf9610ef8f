//! Control-LoRA: a ControlNet as changes of the UNet's own encoder (Stability AI, 2023).
//!
//! Its matrices and filters are those of the model's UNet plus a product of two small factors; norms, biases, and the layers
//! that a UNet does not have are in the file as they are.

use super::{ControlNet, ControlNetConfig};
use crate::families::Component;
use crate::families::completeness::check_component;
use crate::lora::product;
use crate::params::{Params, WeightEdit};
use crate::unet::UNetConfig;
use crate::{Error, lora};
use latent_loader::{DType, RawTensor, Weights};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Beginning of the names of layers that a UNet does not have.
const OWN: &str = "controlnet_";

/// Sizes of a Control-LoRA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlLoraConfig {
    /// Channels of the image, of the first convolution that sees it, and of each one after that but the last.
    pub hint_channels: Vec<usize>,
    /// Outputs, rank and columns of the change of each layer.
    layers: BTreeMap<String, [usize; 3]>,
}

impl ControlLoraConfig {
    /// Reads the sizes from tensors named as diffusers names those of a ControlNet, with `up` and `down` in place of `weight`.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: factors that cannot be multiplied, or none; a tensor from which a size is read is missing.
    pub fn from_weights(weights: &Weights) -> Result<ControlLoraConfig, Error> {
        let refuse = |reason: String| Error::Unsupported { file: weights.label().to_owned(), reason };
        let mut layers = BTreeMap::new();
        for name in weights.names() {
            let (layer, other) = match (name.strip_suffix(".up"), name.strip_suffix(".down")) {
                (Some(layer), _) => (layer, "down"),
                (_, Some(layer)) => (layer, "up"),
                _ => continue,
            };
            if !weights.contains(&format!("{layer}.{other}")) {
                return Err(refuse(format!("is a Control-LoRA with gaps: {name} has no {other} beside it")));
            }
            let matrix = |factor: &str| match weights.shape(&format!("{layer}.{factor}")) {
                Some([rows, columns @ ..]) => [*rows, columns.iter().product::<usize>()],
                _ => [0; 2],
            };
            let ([outputs, rank], [down_rank, columns]) = (matrix("up"), matrix("down"));
            if rank != down_rank || [outputs, rank, columns].contains(&0) || rank > lora::MAX_RANK {
                return Err(refuse(format!(
                    "is a Control-LoRA that cannot be built: {layer} has factors of {outputs}x{rank} and {down_rank}x{columns}"
                )));
            }
            layers.insert(layer.to_owned(), [outputs, rank, columns]);
        }
        if layers.is_empty() {
            return Err(refuse("is a Control-LoRA without changes of a UNet's weights".to_owned()));
        }
        Ok(ControlLoraConfig { hint_channels: ControlNetConfig::hint_channels_of(weights)?, layers })
    }

    /// The largest rank of its changes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.layers.values().map(|[_, rank, _]| *rank).max().unwrap_or(0)
    }

    /// The first layer that a UNet has not got, or has in another shape, as the end of a sentence that begins with the file.
    fn misfit(&self, file: &Weights, unet: &Weights) -> Option<String> {
        let describe = |name: &str, own: String| match unet.shape(name) {
            Some(shape) => format!("has {own} for {name}, which is {shape:?} in the model"),
            None => format!("changes {name}, which the model has not got"),
        };
        for (layer, [outputs, _, columns]) in &self.layers {
            let name = format!("{layer}.weight");
            let fits = unet.shape(&name).is_some_and(|shape| {
                shape.first() == Some(outputs) && shape[1..].iter().product::<usize>() == *columns
            });
            if !fits {
                return Some(describe(&name, format!("a change of {outputs}x{columns}")));
            }
        }
        let mut copies = file.names().filter(|name| !name.starts_with(OWN) && !is_factor(name));
        copies
            .find(|name| unet.shape(name) != file.shape(name))
            .map(|name| describe(name, format!("{:?}", file.shape(name).unwrap_or_default())))
    }
}

fn is_factor(name: &str) -> bool {
    name.ends_with(".up") || name.ends_with(".down")
}

/// A Control-LoRA and the UNet that it changes: all that a ControlNet is loaded from.
#[derive(Debug)]
pub struct ControlLora {
    weights: Weights,
    config: ControlNetConfig,
    changes: Arc<ControlLoraChanges>,
}

impl ControlLora {
    /// Of the weights of a file, named as diffusers names them, and those of a UNet. `model` is what messages call the model. No
    /// value is read.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a UNet of other sizes; [`Error::Incomplete`] for a file with gaps.
    pub fn new(
        file: &Weights,
        config: &ControlLoraConfig,
        unet: (&Weights, &UNetConfig),
        model: &'static str,
    ) -> Result<ControlLora, Error> {
        if let Some(misfit) = config.misfit(file, unet.0) {
            let reason = format!(
                "is a Control-LoRA for another UNet than that of this {model} model: it {misfit}; give one that was made for \
                 the model"
            );
            return Err(Error::Unsupported { file: file.label().to_owned(), reason });
        }
        const DECODER: [&str; 3] = ["up_blocks.", "conv_norm_out.", "conv_out."];
        let is_decoder = |name: &str| DECODER.iter().any(|start| name.starts_with(start));
        let weights = file.only(|name| !is_factor(name)).over(&unet.0.only(|name| !is_decoder(name)));
        let config = ControlLora {
            config: ControlNetConfig {
                unet: UNetConfig {
                    out_channels: 0,
                    up_depth: None,
                    time_cond_proj_dim: None,
                    ..unet.1.clone()
                },
                hint_channels: config.hint_channels.clone(),
                union: None,
            },
            weights,
            changes: Arc::new(ControlLoraChanges { file: file.clone(), layers: config.layers.clone() }),
        };
        let load = |params: &Params<'_>| ControlNet::load(params, &config.config).map(drop);
        check_component(&config.weights, (Component::ControlNet, model), load, |name| {
            !name.starts_with(OWN)
        })?;
        Ok(config)
    }

    /// The weights that it is loaded from: those of the UNet's encoder before they are changed, and the file's own.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The sizes of the ControlNet that it makes.
    #[must_use]
    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// Bytes of the network in memory: weights that are changed are `f32`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = |name: &str| {
            let info = self.weights.info(name)?;
            let is_changed = self.changes.changes(name);
            Some(if is_changed { info.elements() * size_of::<f32>() } else { info.bytes() } as u64)
        };
        self.weights.names().filter_map(bytes).sum()
    }

    /// Loads the network from parameters of [`ControlLora::weights`].
    ///
    /// # Errors
    /// A tensor that is unreadable, or not finite after it was changed.
    pub fn load(&self, params: &Params<'_>) -> Result<ControlNet, Error> {
        let changes: Arc<dyn WeightEdit> = self.changes.clone();
        ControlNet::load(&params.clone().edited(Some(changes)), &self.config)
    }
}

/// What is added to the weights of a UNet when they are read.
#[derive(Debug)]
struct ControlLoraChanges {
    file: Weights,
    layers: BTreeMap<String, [usize; 3]>,
}

impl WeightEdit for ControlLoraChanges {
    fn apply(&self, name: &str, raw: RawTensor) -> Result<RawTensor, Error> {
        let Some(layer) = name.strip_suffix(".weight").filter(|layer| self.layers.contains_key(*layer))
        else {
            return Ok(raw);
        };
        let [_, rank, columns] = self.layers[layer];
        let factor = |factor: &str| -> Result<Vec<f32>, Error> {
            let name = format!("{layer}.{factor}");
            Ok(self.file.get(&name, self.file.shape(&name).unwrap_or_default())?.to_f32()?)
        };
        let change = product(&factor("up")?, &factor("down")?, [rank, rank], columns);
        let mut values = raw.to_f32()?;
        values.iter_mut().zip(&change).for_each(|(value, change)| *value += change);
        if !values.iter().all(|value| value.is_finite()) {
            let reason =
                format!("makes {name} NaN or infinite; the file is damaged, or was made for another model");
            return Err(Error::Unsupported { file: self.file.label().to_owned(), reason });
        }
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(RawTensor { dtype: DType::F32, shape: raw.shape, data: data.into() })
    }

    fn changes(&self, name: &str) -> bool {
        name.strip_suffix(".weight").is_some_and(|layer| self.layers.contains_key(layer))
    }
}
