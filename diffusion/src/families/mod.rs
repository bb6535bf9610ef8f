//! The families of models, recognised by names and shapes of tensors alone.
//!
//! A family is data: a file here and a line in [`ALL`] (`docs/adding-a-family.md`). Everything above works with the [`Model`]
//! in a checkpoint and does not ask which family it is of.
//!
//! A checkpoint is looked at once, by [`Probe::of`]. The probe says what the file is ([`Identity`]), and is given to all that
//! ask more: [`Model::of`], [`ModelParts::of`], [`ComponentCheck::all`].

pub(crate) mod completeness;
mod component;
mod controlnet;
mod family;
mod flux;
mod flux2;
mod latent_format;
mod model;
mod model_parts;
mod network_input;
mod probe;
mod published;
mod recommended;
mod registry;
mod sd1;
mod sd2;
mod sd3;
mod sdxl;
mod sdxl_refiner;
mod sources;
mod text_encoders;
mod z_image;

pub(crate) use completeness::check_language_models;
pub use completeness::missing::{ComponentCheck, MisshapedTensor, MissingTensors};
pub use component::Component;
pub(crate) use controlnet::ControlNetParts;
pub(crate) use family::TextUse;
pub use family::{DenoiserNetwork, Family};
#[cfg(test)]
pub(crate) use family::{FlowShift, FlowTraining};
pub use latent_format::LatentFormat;
pub use model::Model;
pub use model_parts::ModelParts;
pub use network_input::NetworkInput;
pub(crate) use probe::Leftovers;
pub(crate) use probe::of_transformer_lora;
pub use probe::{
    ComponentSummary, DetectedDistillation, DetectedPrediction, Distillation, Evidence, Identity, ModelKind,
    ModelVariant, Probe,
};
pub use published::{ModelSizes, PublishedModel};
pub use recommended::RecommendedSettings;
pub use registry::{ALL, published};
pub(crate) use registry::{SD1, SDXL, of_context_width};
pub use sources::{JoinedModel, Sources};
