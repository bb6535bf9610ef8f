//! ControlNets: where their tensors are in a file, and the family that they were made for.

use super::family::Family;
use super::probe::index::CONTROLNET;
use super::probe::{ModelKind, Probe};
use super::registry;
use crate::Error;
use crate::unet::Heads;
use latent_loader::Weights;

/// The one tensor that every ControlNet has and nothing else.
const HINT: &str = "controlnet_cond_embedding.conv_in.weight";

/// The ControlNet of a file.
#[derive(Debug)]
pub(crate) struct ControlNetParts {
    /// Its weights by the names of diffusers.
    pub(crate) weights: Weights,
    /// The family of the UNets that it steers.
    pub(crate) family: &'static Family,
    /// Heads of its attentions.
    pub(crate) heads: Heads,
}

impl ControlNetParts {
    /// Finds a ControlNet by names and shapes; no weight is read. The file may also contain a whole model, as the first ones
    /// did.
    pub(crate) fn of(probe: &Probe) -> Result<ControlNetParts, Error> {
        let has = |start: &str| probe.index().has(&format!("{CONTROLNET}{start}"));
        if probe.index().get(&format!("{CONTROLNET}{HINT}")).is_none() {
            return Err(probe.refuse(explain(probe)));
        }
        // The small ones for SDXL have no transformer to recognise them by.
        let by_vector = || has("add_embedding.").then_some(registry::SDXL);
        let found = probe.network_family().or_else(by_vector);
        let Some((family, heads)) = found.and_then(|family| Some((family, family.heads()?))) else {
            return Err(probe.refuse("is a ControlNet for a kind of model that is not known here".into()));
        };
        let weights = ControlNetParts::weights_of(probe);
        Ok(ControlNetParts { weights, family, heads })
    }

    /// The weights of a ControlNet or a Control-LoRA by the names of diffusers.
    pub(crate) fn weights_of(probe: &Probe) -> Weights {
        probe.weights().scope(CONTROLNET.trim_end_matches('.'))
    }
}

/// What a file without a ControlNet is.
fn explain(probe: &Probe) -> String {
    let what = match probe.identity().kind {
        // Without the layers that see the image.
        ModelKind::ControlNet => {
            "is a part of a ControlNet, without the layers that see the image".to_owned()
        }
        ModelKind::Unknown => probe.unknown("holds no ControlNet"),
        kind => kind.instead_of("a ControlNet"),
    };
    format!("{what}; give a ControlNet, such as control_v11p_sd15_canny")
}
