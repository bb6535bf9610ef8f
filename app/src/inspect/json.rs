//! A report as JSON.

use super::{MemoryAtSize, ModelReport, ReportedSizes};
use crate::hash;
use latent_diffusion::families::{ComponentCheck, ComponentSummary, ModelVariant};
use latent_diffusion::names::Named;
use latent_diffusion::upscaler::UpscalerConfig;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

impl Serialize for ModelReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let identity = &self.identity;
        let prediction = identity.prediction.as_ref();
        let lora = self.lora.as_ref();
        let upscaler = self.upscaler.as_ref();
        let report = ReportJson {
            file: &self.file,
            layout: self.layout_name(),
            bytes: self.bytes,
            header_bytes: self.header_bytes,
            tensors: self.tensors.len(),
            kind: identity.kind.id(),
            purpose: self.purpose(),
            family: self.family,
            family_name: identity.family_label(),
            base: identity.family.map(|family| family.id),
            variant: identity.variant.map(ModelVariant::name),
            distilled: identity.distillation.map(|detected| DistilledJson {
                name: detected.distillation.name(),
                evidence: detected.evidence.label(),
            }),
            prediction: prediction.map(|detected| detected.prediction.name()),
            prediction_evidence: prediction.map(|detected| detected.evidence.label()),
            zero_terminal_snr: identity.zero_terminal_snr,
            lacks: identity.lacks.iter().map(|component| component.name()).collect(),
            can_draw: self.model.is_some(),
            problem: self.problem.as_deref(),
            components: self.components.iter().map(|summary| ComponentJson::of(self, summary)).collect(),
            tensors_checked: self.checks.iter().map(ComponentCheckJson::of).collect(),
            memory_estimate: &self.memory,
            model: self.model.as_ref().map(ModelJson::of),
            metadata: &self.metadata,
            lora: lora.map(|lora| LoraJson { layers: lora.layers, kinds: &lora.kinds, ranks: &lora.ranks }),
            upscaler: upscaler.map(|config| UpscalerJson {
                architecture: config.architecture(),
                scale: config.scale(),
                blocks: config.blocks(),
                features: config.features(),
                growth: match config {
                    UpscalerConfig::Esrgan(config) => Some(config.growth),
                    _ => None,
                },
            }),
            sha256: self.sha256.as_deref(),
            short_hash: self.sha256.as_deref().map(hash::short),
            tensor_list: self.lists_tensors.then_some(TensorList(self)),
        };
        report.serialize(serializer)
    }
}

#[derive(Serialize)]
struct ReportJson<'a> {
    file: &'a str,
    layout: &'a str,
    bytes: u64,
    header_bytes: u64,
    tensors: usize,
    kind: &'a str,
    purpose: &'a str,
    family: Option<&'a str>,
    family_name: Option<String>,
    base: Option<&'a str>,
    variant: Option<&'a str>,
    distilled: Option<DistilledJson<'a>>,
    prediction: Option<&'a str>,
    #[serde(rename = "prediction_told_by")]
    prediction_evidence: Option<&'a str>,
    zero_terminal_snr: bool,
    lacks: Vec<&'a str>,
    can_draw: bool,
    problem: Option<&'a str>,
    components: Vec<ComponentJson<'a>>,
    tensors_checked: Vec<ComponentCheckJson<'a>>,
    memory_estimate: &'a [MemoryAtSize],
    model: Option<ModelJson<'a>>,
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lora: Option<LoraJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upscaler: Option<UpscalerJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensor_list: Option<TensorList<'a>>,
}

#[derive(Serialize)]
struct DistilledJson<'a> {
    name: &'a str,
    #[serde(rename = "told_by")]
    evidence: &'a str,
}

#[derive(Serialize)]
struct ComponentJson<'a> {
    name: &'a str,
    tensors: usize,
    parameters: u64,
    bytes: u64,
    dtypes: DtypeBytes<'a>,
}

impl<'a> ComponentJson<'a> {
    fn of(report: &ModelReport, component: &'a ComponentSummary) -> ComponentJson<'a> {
        ComponentJson {
            name: report.component_name(component),
            tensors: component.tensors,
            parameters: component.parameters,
            bytes: component.bytes,
            dtypes: DtypeBytes(&component.dtypes),
        }
    }
}

/// The bytes of each dtype as an object.
struct DtypeBytes<'a>(&'a [(String, u64)]);

impl Serialize for DtypeBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(dtype, bytes)| map.serialize_entry(dtype, bytes))?;
        map.end()
    }
}

#[derive(Serialize)]
struct ComponentCheckJson<'a> {
    part: &'a str,
    missing: &'a [String],
    misshaped: Vec<MisshapedJson<'a>>,
    not_used: &'a [String],
}

#[derive(Serialize)]
struct MisshapedJson<'a> {
    name: &'a str,
    expected: &'a [usize],
    found: &'a [usize],
}

impl ComponentCheckJson<'_> {
    fn of(check: &ComponentCheck) -> ComponentCheckJson<'_> {
        let misshaped = check.misshaped.iter().map(|tensor| MisshapedJson {
            name: &tensor.name,
            expected: &tensor.expected,
            found: &tensor.found,
        });
        ComponentCheckJson {
            part: check.component.name(),
            missing: &check.missing,
            misshaped: misshaped.collect(),
            not_used: &check.unused,
        }
    }
}

#[derive(Serialize)]
struct ModelJson<'a> {
    width: usize,
    height: usize,
    size_multiple: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    unet: Option<UNetJson<'a>>,
    vae: VaeJson<'a>,
    text: Vec<TextEncoderJson>,
}

#[derive(Serialize)]
struct UNetJson<'a> {
    in_channels: usize,
    block_out_channels: &'a [usize],
    layers_per_block: usize,
    transformer_depth: &'a [usize],
    cross_attention_dim: usize,
}

#[derive(Serialize)]
struct VaeJson<'a> {
    block_out_channels: &'a [usize],
    layers_per_block: usize,
    latent_channels: usize,
    scaling_factor: f32,
}

#[derive(Serialize)]
struct TextEncoderJson {
    vocabulary: usize,
    width: usize,
    layers: usize,
}

impl ModelJson<'_> {
    fn of(model: &ReportedSizes) -> ModelJson<'_> {
        let vae = &model.vae;
        let text = model.text.iter().map(|config| TextEncoderJson {
            vocabulary: config.vocabulary,
            width: config.width,
            layers: config.layers,
        });
        ModelJson {
            width: model.resolution.0,
            height: model.resolution.1,
            size_multiple: model.size_multiple,
            unet: model.network.unet().map(|unet| UNetJson {
                in_channels: unet.in_channels,
                block_out_channels: &unet.block_out_channels,
                layers_per_block: unet.layers_per_block,
                transformer_depth: &unet.transformer_depth,
                cross_attention_dim: unet.cross_attention_dim,
            }),
            vae: VaeJson {
                block_out_channels: &vae.block_out_channels,
                layers_per_block: vae.layers_per_block,
                latent_channels: vae.latent_channels,
                scaling_factor: vae.scaling_factor,
            },
            text: text.collect(),
        }
    }
}

#[derive(Serialize)]
struct LoraJson<'a> {
    layers: usize,
    kinds: &'a BTreeMap<&'static str, usize>,
    ranks: &'a BTreeMap<usize, usize>,
}

#[derive(Serialize)]
struct UpscalerJson {
    architecture: &'static str,
    scale: usize,
    blocks: usize,
    features: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<usize>,
}

/// Every tensor of a report: its name, dtype and shape.
struct TensorList<'a>(&'a ModelReport);

#[derive(Serialize)]
struct TensorJson<'a> {
    name: &'a str,
    dtype: &'a str,
    shape: &'a [usize],
}

impl Serialize for TensorList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tensors = &self.0.tensors;
        let mut list = serializer.serialize_seq(Some(tensors.len()))?;
        for tensor in tensors {
            let (name, dtype, shape) = (&tensor.name, tensor.dtype.header_name(), &tensor.shape);
            list.serialize_element(&TensorJson { name, dtype, shape })?;
        }
        list.end()
    }
}
