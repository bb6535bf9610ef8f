//! How large the components of a checkpoint are.

use super::index::TensorIndex;
use crate::families::component::Component;
use crate::tensor_names::prefixes::TensorPart;
use latent_loader::TensorInfo;
use std::cmp::Reverse;

/// A component of a checkpoint, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComponentSummary {
    /// Which one.
    pub component: Component,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values.
    pub parameters: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Names of dtypes and how many bytes each takes, largest first.
    pub dtypes: Vec<(String, u64)>,
}

/// The components in the order in which they are listed.
const LISTED: [Component; 10] = [
    Component::TextEncoder,
    Component::T5,
    Component::Qwen3,
    Component::UNet,
    Component::Transformer,
    Component::ControlNet,
    Component::Vae,
    Component::EmaCopy,
    Component::Schedule,
    Component::Other,
];

impl ComponentSummary {
    /// Those of all components that are there.
    pub(super) fn all(index: &TensorIndex) -> Vec<ComponentSummary> {
        let placed = index.tensors().map(|(name, tensor)| {
            let component = match name.split('.').next() {
                Some("unet") => Component::UNet,
                Some("transformer") => Component::Transformer,
                Some("t5") => Component::T5,
                Some("qwen3") => Component::Qwen3,
                Some("controlnet") => Component::ControlNet,
                Some("vae") => Component::Vae,
                _ => Component::TextEncoder,
            };
            (component, tensor)
        });
        let unplaced = index.unplaced().iter().map(|(part, tensor)| {
            let component = match part {
                TensorPart::Text(_) if index.has_text() => Component::TextEncoder,
                TensorPart::UNet => Component::UNet,
                TensorPart::Transformer => Component::Transformer,
                TensorPart::T5 => Component::T5,
                TensorPart::Qwen3 => Component::Qwen3,
                TensorPart::ControlNet => Component::ControlNet,
                TensorPart::Vae => Component::Vae,
                TensorPart::Ema => Component::EmaCopy,
                TensorPart::Schedule => Component::Schedule,
                TensorPart::Text(_) | TensorPart::Other => Component::Other,
            };
            (component, tensor)
        });
        let all: Vec<_> = placed.chain(unplaced).collect();
        let tensors_of = |wanted: Component| {
            all.iter().filter(move |(component, _)| *component == wanted).map(|(_, t)| *t)
        };
        LISTED
            .into_iter()
            .map(|component| ComponentSummary::of(component, tensors_of(component)))
            .filter(|summary| summary.tensors > 0)
            .collect()
    }

    fn of<'a>(component: Component, tensors: impl Iterator<Item = &'a TensorInfo>) -> ComponentSummary {
        let mut summary =
            ComponentSummary { component, tensors: 0, parameters: 0, bytes: 0, dtypes: Vec::new() };
        for tensor in tensors {
            summary.tensors += 1;
            summary.parameters += tensor.elements() as u64;
            summary.bytes += tensor.bytes() as u64;
            let dtype = tensor.dtype.header_name().to_owned();
            match summary.dtypes.iter_mut().find(|(name, _)| *name == dtype) {
                Some((_, bytes)) => *bytes += tensor.bytes() as u64,
                None => summary.dtypes.push((dtype, tensor.bytes() as u64)),
            }
        }
        summary.dtypes.sort_by_key(|(_, bytes)| Reverse(*bytes));
        summary
    }
}
