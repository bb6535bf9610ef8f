//! An estimate of the memory that drawing takes, also for a UNet that lacks the other parts of a model.

use super::ReportedSizes;
use latent_diffusion::families::{Component, ComponentSummary, Identity, PublishedModel, published};
use latent_diffusion::network::NetworkConfig;
use latent_diffusion::transformer::TransformerConfig;

/// Memory that drawing one square image takes on the CPU, estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct MemoryAtSize {
    /// Width and height in pixels.
    pub side: usize,
    /// Bytes.
    pub bytes: u64,
}

/// Sizes for which an estimate is made.
const SIDES: [usize; 3] = [512, 768, 1024];
/// Latents that the UNet sees at once: with and without the prompt.
const CFG_BATCH: usize = 2;
/// Maximum number of channels for which an estimate is made: more is in no model, and no memory has room for it.
const MAX_CHANNELS: usize = 1 << 16;

/// The maximum over the stages, each of which has its own weights in memory and works on what
/// [`NetworkConfig::sampling_bytes`] and
/// [`VaeConfig::decoding_bytes`](latent_diffusion::vae::VaeConfig::decoding_bytes) count. Parts that a file lacks are
/// taken to have the sizes of the published model of its family; `model_channels` are the UNet's at its first level, and `alone` is
/// a transformer without the other parts.
pub(super) fn estimate(
    components: &[ComponentSummary],
    identity: &Identity,
    model: Option<&ReportedSizes>,
    model_channels: Option<usize>,
    alone: Option<TransformerConfig>,
) -> Vec<MemoryAtSize> {
    let weights = |part: Component| -> u64 {
        components.iter().filter(|summary| summary.component == part).map(|summary| summary.bytes).sum()
    };
    let known = identity.family.and_then(|family| PublishedModel::find(family.id).ok());
    let Some(known) = known.or(published().next()) else { return Vec::new() };
    let sizes = known.sizes();
    let (mut network, vae) = match model {
        Some(model) => (model.network.clone(), &model.vae),
        None => (alone.map_or(NetworkConfig::UNet(sizes.unet), NetworkConfig::Transformer), &sizes.vae),
    };
    // Of a VAE that is not there.
    let packing =
        identity.family.filter(|_| model.is_none()).map_or(1, |family| family.latent_format.packing);
    if let (NetworkConfig::UNet(unet), None, Some(channels)) = (&mut network, model, model_channels) {
        unet.block_out_channels[0] = channels;
    }
    let widths = network.unet().map_or(&[][..], |unet| &unet.block_out_channels);
    if widths.iter().chain(&vae.block_out_channels).any(|channels| *channels > MAX_CHANNELS) {
        return Vec::new();
    }
    let bytes = |side: usize| {
        let latent = side / vae.factor() / packing;
        let sampling = weights(Component::UNet)
            + weights(Component::Transformer)
            + network.sampling_bytes((latent, latent), CFG_BATCH);
        let decoding = weights(Component::Vae) + vae.decoding_bytes((side, side), false);
        let text = [Component::TextEncoder, Component::T5, Component::Qwen3].map(weights);
        text.iter().sum::<u64>().max(sampling).max(decoding)
    };
    SIDES.map(|side| MemoryAtSize { side, bytes: bytes(side) }).to_vec()
}
