//! What a checkpoint is, found out once when it is opened.
//!
//! Names and shapes of tensors decide nearly everything. What they do not show is looked up, in this order: the folder's
//! configuration, the metadata, one small tensor (the prediction of SD 2.x), and the file's name.
//!
//! From the bottom: [`index`] puts tensors under canonical names, [`unet_shape`] reads the shapes by which UNets differ, the
//! families match them, and [`Probe`] draws the conclusions.

mod addon_family;
mod distillation;
pub(crate) mod edm;
mod evidence;
mod file_words;
mod foreign;
pub(crate) mod index;
mod kind;
mod leftovers;
mod prediction;
mod summary;
#[cfg(test)]
mod tests;
pub(crate) mod unet_shape;
pub(crate) mod variant;

pub(crate) use addon_family::of_transformer_lora;
pub(crate) use distillation::named_steps;
pub use distillation::{DetectedDistillation, Distillation};
pub use evidence::Evidence;
pub(crate) use file_words::{file_name, metadata};
pub use kind::ModelKind;
pub(crate) use leftovers::Leftovers;
pub use prediction::DetectedPrediction;
pub use summary::ComponentSummary;
pub use variant::ModelVariant;

use super::component::Component;
use super::family::{AddedVector, Family};
use super::registry;
use crate::Error;
use crate::tensor_names::network_names::NetworkKind;
use index::{TRANSFORMER, TensorIndex, TextScopes, VAE};
use latent_loader::{Checkpoint, Weights};
use std::fmt;
use std::sync::{Arc, OnceLock};
use unet_shape::UNetShape;

/// Values of a patch of Flux.1 Fill: the latents, those of the masked image, and 8 x 8 of the mask for each element.
const FILL_VALUES: usize = 384;
/// Values of a patch of Flux.1 with a control image.
const CONTROL_VALUES: usize = 128;

/// Where the families' text encoders belong.
const TEXT_SCOPES: TextScopes = TextScopes {
    of_network: |index| registry::of_network(index)?.lone_text_scope(),
    of_width: |width| {
        let mut roles = registry::text_roles();
        roles.find(|role| role.published.width == width).map(|role| role.scope_with_dot)
    },
};

/// What a checkpoint contains and what it is. Made once for a checkpoint and passed on to all that ask about it:
/// [`Model::of`](super::Model::of), [`ComponentCheck::all`](super::ComponentCheck::all).
///
/// ```no_run
/// use latent_diffusion::families::{Model, Probe};
/// use latent_diffusion::loader::Checkpoint;
/// use std::{path::Path, sync::Arc};
///
/// let probe = Probe::of(&Arc::new(Checkpoint::open(Path::new("model.safetensors"))?));
/// println!("{}", probe.identity().family_label().unwrap_or("unknown".to_owned()));
/// let model = Model::of(&probe)?;
/// # Ok::<(), latent_diffusion::Error>(())
/// ```
pub struct Probe {
    checkpoint: Arc<Checkpoint>,
    index: TensorIndex,
    unet: UNetShape,
    /// The family of the UNet or ControlNet in the file, whatever else the file is.
    network_family: Option<&'static Family>,
    network_variant: Option<ModelVariant>,
    identity: Identity,
    weights: OnceLock<Weights>,
}

/// What a file is, as far as its contents show.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// What it is.
    pub kind: ModelKind,
    /// The family that it belongs to, or that it was made for.
    pub family: Option<&'static Family>,
    /// What its UNet is among those of the family; only for files with a UNet.
    pub variant: Option<ModelVariant>,
    /// How it was distilled to draw in few steps.
    pub distillation: Option<DetectedDistillation>,
    /// What its network predicts.
    pub prediction: Option<DetectedPrediction>,
    /// Whether the schedule ends in pure noise (zero terminal SNR).
    pub zero_terminal_snr: bool,
    /// Components that a whole model has and this one lacks.
    pub lacks: Vec<Component>,
}

impl Identity {
    /// Family and variant, for people: "Stable Diffusion 1.x inpainting".
    #[must_use]
    pub fn family_label(&self) -> Option<String> {
        let family = self.family?.label;
        Some(match self.variant {
            None | Some(ModelVariant::Base) => family.to_owned(),
            // Its number is part of the name.
            Some(variant @ (ModelVariant::Sd35Medium | ModelVariant::Sd35Large)) => {
                format!("Stable Diffusion {variant}")
            }
            Some(variant @ ModelVariant::Flux2KleinBase) => format!("Flux.2 {variant}"),
            Some(variant) => format!("{family} {variant}"),
        })
    }
}

impl Probe {
    /// Looks at the names and shapes of a checkpoint. One small tensor is read at most.
    #[must_use]
    pub fn of(checkpoint: &Arc<Checkpoint>) -> Probe {
        let index = TensorIndex::of(checkpoint, &TEXT_SCOPES);
        let unet = UNetShape::of(&index);
        let network_family = registry::of_network(&index);
        let network_variant = match network_variant(&index, &unet, network_family) {
            Some(variant) if !variant.is_foreign() && edm::is_edm(checkpoint) => Some(ModelVariant::Edm),
            variant => variant,
        };
        let kind = ModelKind::of(&index);
        let has_unet = kind.denoises();
        let family = match kind {
            ModelKind::ControlNet => network_family,
            kind if kind.denoises() => network_family,
            ModelKind::Lora => addon_family::of_lora(checkpoint),
            ModelKind::Embedding => addon_family::of_embedding(checkpoint),
            ModelKind::TextEncoder => addon_family::of_text_encoder(checkpoint),
            ModelKind::ControlLora => addon_family::of_control_lora(checkpoint),
            ModelKind::ControlLllite => addon_family::of_lllite(checkpoint),
            ModelKind::IpAdapter => addon_family::of_ip_adapter(checkpoint),
            _ => None,
        };
        let parts = [(Component::TextEncoder, index.has_text()), (Component::Vae, index.has(VAE))];
        let lacks = parts.into_iter().filter(|(_, is_there)| has_unet && !is_there);
        let is_distillable = has_unet || kind == ModelKind::Lora;
        let mut distillation = is_distillable.then(|| DetectedDistillation::of(checkpoint, &index)).flatten();
        let mut variant = network_variant.filter(|_| has_unet);
        let flow = family.filter(|_| has_unet).and_then(|family| family.flow);
        if flow.is_some_and(|flow| flow.is_usually_distilled) && distillation.is_none() {
            distillation = DetectedDistillation::unless_base(checkpoint);
            variant = variant.filter(|_| distillation.is_some()).or(Some(ModelVariant::Flux2KleinBase));
        }
        let identity = Identity {
            kind,
            family,
            variant,
            distillation,
            prediction: (has_unet && family.is_none_or(|family| family.flow.is_none()))
                .then(|| DetectedPrediction::of(checkpoint, &index, family, network_variant))
                .flatten(),
            zero_terminal_snr: has_unet && prediction::zero_terminal_snr(checkpoint),
            lacks: lacks.map(|(component, _)| component).collect(),
        };
        let checkpoint = checkpoint.clone();
        let weights = OnceLock::new();
        Probe { checkpoint, index, unet, network_family, network_variant, identity, weights }
    }

    /// The checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.checkpoint
    }

    /// The checkpoint again, without what was found out about it.
    #[must_use]
    pub fn into_checkpoint(self) -> Arc<Checkpoint> {
        self.checkpoint
    }

    /// What the file is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The family of a model whose UNet can be used here.
    #[must_use]
    pub fn supported_family(&self) -> Option<&'static Family> {
        let is_usable = |family: &&Family| family.takes_input_of(&self.unet);
        self.network_family.filter(|_| self.index.has_network() && !self.is_foreign()).filter(is_usable)
    }

    /// Whether the UNet takes something else than text, noise and an image of the same size.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.network_variant.is_some_and(ModelVariant::is_foreign)
    }

    /// Channels of the first level of the UNet.
    #[must_use]
    pub fn model_channels(&self) -> Option<usize> {
        self.unet.model_channels
    }

    /// The components of the checkpoint and their sizes.
    #[must_use]
    pub fn components(&self) -> Vec<ComponentSummary> {
        ComponentSummary::all(&self.index)
    }

    /// All weights by canonical names.
    pub(crate) fn weights(&self) -> &Weights {
        self.weights.get_or_init(|| Weights::renamed(self.checkpoint.clone(), self.index.names_in_file()))
    }

    /// All tensors by canonical names.
    pub(crate) fn index(&self) -> &TensorIndex {
        &self.index
    }

    /// The shapes of the UNet or ControlNet.
    pub(crate) fn unet_shape(&self) -> &UNetShape {
        &self.unet
    }

    /// The family of the UNet or ControlNet in the file.
    pub(crate) fn network_family(&self) -> Option<&'static Family> {
        self.network_family
    }

    /// What the checkpoint contains besides the weights of its parts.
    pub(crate) fn leftovers(&self) -> Leftovers {
        Leftovers::of(&self.index)
    }

    /// The error of a file for another purpose.
    pub(crate) fn refuse(&self, reason: String) -> Error {
        Error::Unsupported { file: self.checkpoint.label().to_owned(), reason }
    }

    /// [`Probe::supported_family`], or an error with [`Probe::explain`].
    pub(crate) fn require_family(&self) -> Result<&'static Family, Error> {
        self.supported_family().ok_or_else(|| self.refuse(self.explain()))
    }

    /// What is said of a file of an unknown kind: what it seems to be, or `otherwise`.
    pub(crate) fn unknown(&self, otherwise: &str) -> String {
        foreign::name(&self.index)
            .map_or_else(|| otherwise.to_owned(), |name| format!("is {name}, which cannot be used here"))
    }

    /// One line for a file that cannot be used as a model: what it seems to be, and what to do.
    #[must_use]
    pub fn explain(&self) -> String {
        let what = match self.identity.kind {
            ModelKind::Lora => "is a LoRA, an addition to a model",
            ModelKind::ControlNet => "is a ControlNet, an addition to a model",
            ModelKind::ControlLora => "is a Control-LoRA, an addition to a model",
            ModelKind::ControlLllite => "is a ControlNet-LLLite, an addition to a model",
            ModelKind::T2iAdapter => "is a T2I-Adapter, an addition to a model",
            ModelKind::IpAdapter => "is an IP-Adapter, an addition to a model",
            ModelKind::ImageEncoder => "is an image encoder (CLIP vision), which IP-Adapters see images with",
            ModelKind::Embedding => "is a textual inversion, a word for a model",
            kind if kind.denoises() && self.is_foreign() => {
                let variant = self.network_variant.map_or("", ModelVariant::name);
                return format!("is a model of the kind \"{variant}\", which is not supported");
            }
            ModelKind::Model | ModelKind::Transformer if self.index.transformer().is_some() => {
                return self.unknown("holds a transformer of an unknown kind, which is not supported");
            }
            ModelKind::Model | ModelKind::Unet | ModelKind::Transformer => {
                return format!(
                    "holds a UNet of an unknown kind ({} input channels, text width {}); this Stable \
                     Diffusion model is not supported",
                    self.unet.in_channels.unwrap_or(0),
                    self.unet.context_dim.map_or("unknown".into(), |width| width.to_string()),
                );
            }
            ModelKind::Vae => "holds a VAE and no UNet",
            ModelKind::TextEncoder => "holds a text encoder and no UNet",
            ModelKind::TinyVae => "is a tiny VAE (TAESD), an addition to a model",
            ModelKind::Upscaler => "is an upscaler of images",
            ModelKind::Unknown => &self.unknown("holds no tensor of a Stable Diffusion model"),
        };
        format!("{what}; give a whole checkpoint, with text encoder, UNet or transformer, and VAE")
    }
}

/// Without the thousands of names.
impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("file", &self.checkpoint.label())
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The variant of the network of a checkpoint.
fn network_variant(
    index: &TensorIndex,
    unet: &UNetShape,
    family: Option<&'static Family>,
) -> Option<ModelVariant> {
    const VIDEO_LAYERS: [&str; 3] = ["time_mixer", "time_stack", "temporal_transformer_blocks"];
    if index.any_name_in_file(|name| VIDEO_LAYERS.iter().any(|layer| name.contains(layer))) {
        return Some(ModelVariant::StableVideoDiffusion);
    }
    if index.any_name_in_file(|name| name.starts_with("cc_projection.")) {
        return Some(ModelVariant::Zero123);
    }
    if let Some(kind) = index.transformer() {
        return Some(transformer_variant(index, kind));
    }
    Some(match unet.in_channels? {
        9 => ModelVariant::Inpainting,
        8 => ModelVariant::Pix2Pix,
        7 => ModelVariant::X4Upscaler,
        5 => ModelVariant::Depth,
        4 => match family {
            Some(family) if family.added_vector == AddedVector::None && unet.added_dim.is_some() => {
                ModelVariant::UnClip
            }
            Some(family) => (family.variant_by_depth)(unet),
            None => ModelVariant::Base,
        },
        _ => ModelVariant::UnknownInput,
    })
}

/// The variant of a diffusion transformer.
fn transformer_variant(index: &TensorIndex, kind: NetworkKind) -> ModelVariant {
    let has = |start: &str| index.has(&format!("{TRANSFORMER}{start}"));
    match kind {
        NetworkKind::Sd3 if has("transformer_blocks.0.attn2.") => ModelVariant::Sd35Medium,
        NetworkKind::Sd3 if has("transformer_blocks.0.attn.norm_q.") => ModelVariant::Sd35Large,
        NetworkKind::Sd3 => ModelVariant::Sd3Medium,
        NetworkKind::Flux => match index.dim(&format!("{TRANSFORMER}x_embedder.weight"), 1) {
            Some(FILL_VALUES) => ModelVariant::FluxFill,
            Some(CONTROL_VALUES) => ModelVariant::FluxControl,
            _ => ModelVariant::Base,
        },
        NetworkKind::Flux2 | NetworkKind::ZImage => ModelVariant::Base,
    }
}
