//! An estimate of the memory that drawing takes, from the sizes of a model's parts alone.

use latent_diffusion::families::{Component, ComponentSummary};
use latent_loader::Checkpoint;

/// Memory needed for square images of a size.
pub(crate) struct MemoryEstimate {
    /// Width and height in pixels.
    pub(crate) side: u64,
    /// Bytes.
    pub(crate) bytes: u64,
}

/// Sizes for which the need is told.
const SIDES: [u64; 3] = [512, 768, 1024];
/// Pixels of an image along one of the latent.
const FACTOR: u64 = 8;
/// Tensors of the first level's size that a UNet holds at once: those kept for the way up, of all levels together, and
/// what a block works on.
const UNET_TENSORS: u64 = 20;
/// Evaluations at once: with and without the prompt.
const CFG: u64 = 2;
/// Tensors of an image's size that the end of a VAE's decoder holds at once.
const VAE_TENSORS: u64 = 3;
/// Channels of the published decoder at its end; twice as many where it first has the image's size.
const VAE_CHANNELS: usize = 128;
/// Bytes of a number while it is worked on.
const NUMBER: u64 = 4;

/// The most that any of the stages takes: each has its own weights in memory, in the file's number format, and its
/// activations. `model_channels` are the UNet's at its first level.
pub(crate) fn needs(
    components: &[ComponentSummary],
    checkpoint: &Checkpoint,
    model_channels: usize,
) -> Vec<MemoryEstimate> {
    let bytes = |component: Component| -> u64 {
        components.iter().filter(|c| c.component == component).map(|c| c.bytes).sum()
    };
    let (text, unet, vae) = (bytes(Component::TextEncoder), bytes(Component::UNet), bytes(Component::Vae));
    let norms = ["first_stage_model.decoder.norm_out.weight", "vae.decoder.conv_norm_out.weight"];
    let norm = norms.iter().find_map(|name| checkpoint.get(name)).and_then(|t| t.shape.first().copied());
    let vae_channels = (norm.unwrap_or(VAE_CHANNELS) as u64).saturating_mul(2);
    let need = |side: u64| {
        let latent = (side / FACTOR).pow(2);
        let sampling = (latent * UNET_TENSORS * CFG * NUMBER).saturating_mul(model_channels as u64);
        let decoding = (side.pow(2) * VAE_TENSORS * NUMBER).saturating_mul(vae_channels);
        text.max(unet.saturating_add(sampling)).max(vae.saturating_add(decoding))
    };
    SIDES.iter().map(|side| MemoryEstimate { side: *side, bytes: need(*side) }).collect()
}
