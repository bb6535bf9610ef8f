//! ControlNets: where their tensors are in a file, and the family that they are made for.

use super::contents::{CONTROL, Contents};
use super::{ALL, Base, Family, Identity, ModelKind, anatomy};
use crate::Error;
use crate::unet::Heads;
use latent_loader::{Checkpoint, Weights};
use std::sync::Arc;

/// The one tensor that every ControlNet has and nothing else.
const HINT: &str = "controlnet_cond_embedding.conv_in.weight";

/// The ControlNet of a file.
pub(crate) struct ControlParts {
    /// Its weights by the names of diffusers.
    pub(crate) weights: Weights,
    /// The family of the UNets that it steers.
    pub(crate) family: &'static Family,
}

impl ControlParts {
    /// Finds a ControlNet by names and shapes; no weight is read. The file may hold a whole model beside it, as the first
    /// ones did.
    pub(crate) fn of(checkpoint: Checkpoint) -> Result<ControlParts, Error> {
        let checkpoint = Arc::new(checkpoint);
        let refuse = |reason: String| Error::Unsupported { file: checkpoint.label().to_owned(), reason };
        let contents = Contents::of(&checkpoint);
        if contents.shape(&format!("{CONTROL}{HINT}")).is_none() {
            return Err(refuse(no_control(&checkpoint)));
        }
        let has = |start: &str| contents.has(&format!("{CONTROL}{start}"));
        if has("task_embedding") || has("control_add_embedding.") {
            return Err(refuse(
                "is a ControlNet for several tasks (union), which must be told which; give one for one task"
                    .into(),
            ));
        }
        // The small ones for SDXL have no transformer to tell it by.
        let vector = || has("add_embedding.").then_some(Base::Sdxl);
        let family = anatomy::base(&contents).or_else(vector).and_then(Family::of_base);
        let Some(family) = family else {
            return Err(refuse("is a ControlNet for a kind of model that is not known here".into()));
        };
        let weights =
            Weights::renamed(checkpoint.clone(), contents.names()).scope(CONTROL.trim_end_matches('.'));
        Ok(ControlParts { weights, family })
    }

    pub(crate) fn heads(&self) -> Heads {
        self.family.heads
    }
}

/// What a file without a ControlNet is.
fn no_control(checkpoint: &Checkpoint) -> String {
    let kind = Identity::of(checkpoint).kind;
    let is_lora = checkpoint.get("lora_controlnet").is_some();
    let what = match kind {
        _ if is_lora => "is a Control-LoRA, which cannot be used here".to_owned(),
        // Without the part that sees the image.
        ModelKind::ControlNet => {
            "is a part of a ControlNet, without the layers that see the image".to_owned()
        }
        ModelKind::Unknown => "holds no ControlNet".to_owned(),
        kind => format!("is no ControlNet but a {}, which {}", kind.label(), kind.purpose()),
    };
    format!("{what}; give a ControlNet, such as control_v11p_sd15_canny")
}

impl Family {
    fn of_base(base: Base) -> Option<&'static Family> {
        ALL.iter().copied().find(|family| family.id == base.id())
    }
}
