//! The sizes of a VAE, read from the shapes of its tensors.

use super::bands::BAND_BYTES;
use crate::Error;
use crate::params::Params;
use latent_loader::Weights;

/// Bytes of all bands together: of the input, of the hidden tensor and of the convolutions' scratch memory.
const BANDS_BYTES: usize = 4 * BAND_BYTES;

/// Epsilon of the batch norm of packed latents.
const BATCH_NORM_EPS: f32 = 1e-4;

/// Sizes of an `AutoencoderKL`. The scale and shift of the latents cannot be read from shapes; the family knows them.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of each level, finest first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Channels of a latent, as the model's network sees it.
    pub latent_channels: usize,
    /// Elements of the autoencoder's own latents along the side of one of the model's, whose channels contain them: 2 in Flux.2, and 1
    /// where there is no difference.
    pub packing: usize,
    /// The VAE's latents, less the shift, times this have unit variance.
    pub scaling_factor: f32,
    /// The mean of the VAE's latents, where it is not 0 (Stable Diffusion 3, Flux).
    pub shift_factor: f32,
    /// Whether 1x1 convolutions stand between the latents and the two networks (`use_quant_conv`).
    pub has_quant_conv: bool,
    /// Mean and deviation of the VAE's latents, for models that were trained on latents without them (Playground 2.5): those
    /// less the mean, over the deviation, are then multiplied by the factor.
    pub statistics: Option<LatentStatistics>,
}

/// Mean and standard deviation of each channel of a VAE's latents.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentStatistics {
    /// `latents_mean` of diffusers, a value for each channel.
    pub mean: Vec<f32>,
    /// `latents_std` of diffusers, a value for each channel.
    pub deviation: Vec<f32>,
}

impl LatentStatistics {
    /// Statistics of that many channels, if the deviations are above 0 and all values are finite.
    pub(crate) fn checked(mean: Vec<f32>, deviation: Vec<f32>, channels: usize) -> Option<LatentStatistics> {
        let is_good = mean.iter().all(|value| value.is_finite())
            && deviation.iter().all(|value| value.is_finite() && *value > 0.0)
            && [mean.len(), deviation.len()] == [channels; 2];
        is_good.then_some(LatentStatistics { mean, deviation })
    }
}

impl VaeConfig {
    /// Reads the sizes from tensors named as diffusers names them.
    ///
    /// # Errors
    /// A tensor from which a size is read is missing.
    pub fn from_weights(weights: &Weights, scaling_factor: f32) -> Result<VaeConfig, Error> {
        // All sizes come from the decoder, because text-to-image models may lack the encoder.
        let count =
            |exists: &dyn Fn(usize) -> String| (0..).take_while(|i| weights.contains(&exists(*i))).count();
        let levels = count(&|i| format!("decoder.up_blocks.{i}.resnets.0.conv1.weight"));
        let layers = count(&|j| format!("decoder.up_blocks.0.resnets.{j}.conv1.weight"));
        let channels = |i| weights.dim(&format!("decoder.up_blocks.{i}.resnets.0.conv1.weight"), 0);
        let own_channels = weights.dim("decoder.conv_in.weight", 1)?;
        let packing = packing(weights, own_channels)?;
        let config = VaeConfig {
            block_out_channels: (0..levels).rev().map(channels).collect::<Result<_, _>>()?,
            layers_per_block: layers.saturating_sub(1),
            latent_channels: own_channels * packing * packing,
            packing,
            scaling_factor,
            shift_factor: 0.0,
            has_quant_conv: weights.contains("post_quant_conv.weight"),
            statistics: None,
        };
        if config.block_out_channels.is_empty() || config.block_out_channels.contains(&0) {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("a VAE of widths {:?} cannot be built", config.block_out_channels),
            });
        }
        Ok(config)
    }

    /// Channels of the latents of encoder and decoder.
    #[must_use]
    pub fn own_channels(&self) -> usize {
        self.latent_channels / (self.packing * self.packing)
    }

    /// This configuration with the statistics that the weights of a VAE with packed latents contain (the batch norm of
    /// `AutoencoderKLFlux2`).
    ///
    /// # Errors
    /// Statistics that are missing, or not those of latents.
    pub(super) fn with_batch_norm(&self, params: &Params<'_>) -> Result<VaeConfig, Error> {
        if self.packing == 1 {
            return Ok(self.clone());
        }
        let norm = params.scope("bn");
        let mean = norm.vector("running_mean", self.latent_channels)?;
        let variance = norm.vector("running_var", self.latent_channels)?;
        let deviation = variance.iter().map(|variance| (variance + BATCH_NORM_EPS).sqrt()).collect();
        let statistics = LatentStatistics::checked(mean, deviation, self.latent_channels);
        let refused =
            || params.refuse("has a VAE whose batch norm is not that of latents; the file is damaged".into());
        Ok(VaeConfig { statistics: Some(statistics.ok_or_else(refused)?), ..self.clone() })
    }

    /// A value of a channel of the VAE's latents as one of unit variance.
    pub(super) fn scaled(&self, value: f32, channel: usize) -> f32 {
        match &self.statistics {
            Some(LatentStatistics { mean, deviation }) => {
                (value - mean[channel]) * self.scaling_factor / deviation[channel]
            }
            None => (value - self.shift_factor) * self.scaling_factor,
        }
    }

    /// What latents of unit variance are as the VAE gives them: the factor and the summand of each channel.
    pub(crate) fn unscaled(&self) -> Vec<(f32, f32)> {
        let scale = |channel: usize| match &self.statistics {
            Some(LatentStatistics { mean, deviation }) => {
                (deviation[channel] / self.scaling_factor, mean[channel])
            }
            None => (1.0 / self.scaling_factor, self.shift_factor),
        };
        (0..self.latent_channels).map(scale).collect()
    }

    /// Estimated bytes that a decoder on the CPU takes in addition to its weights, for an image of this width and height:
    /// two tensors of the widest kind at the image's size; in bands, the tensor between the residual blocks, the last
    /// upsampler's input, and the bands.
    #[must_use]
    pub fn decoding_bytes(&self, (width, height): (usize, usize), in_bands: bool) -> u64 {
        let finest = self.block_out_channels[0];
        let entering = self.block_out_channels.get(1).copied().unwrap_or(finest).max(finest);
        let (quarters, bands) =
            if in_bands { (4 * finest + entering, BANDS_BYTES) } else { (8 * entering, 0) };
        (quarters * width * height * size_of::<f32>() / 4 + bands) as u64
    }

    /// The same for an encoder: the tensor between the residual blocks, the hidden tensor of one, and the next level's; in
    /// bands, the first alone, the next level's, and the bands.
    #[must_use]
    pub fn encoding_bytes(&self, (width, height): (usize, usize), in_bands: bool) -> u64 {
        let finest = self.block_out_channels[0];
        let (quarters, bands) = if in_bands { (5 * finest, BANDS_BYTES) } else { (9 * finest, 0) };
        (quarters * width * height * size_of::<f32>() / 4 + bands) as u64
    }

    /// Pixels along the side of one element of the latents (`vae_scale_factor`).
    #[must_use]
    pub fn factor(&self) -> usize {
        self.packing << (self.block_out_channels.len() - 1)
    }
}

/// Elements of a VAE's own latents along the side of one of the model's: what its batch norm shows.
fn packing(weights: &Weights, own_channels: usize) -> Result<usize, Error> {
    let Some(&[channels]) = weights.shape("bn.running_mean") else { return Ok(1) };
    let packing = (channels / own_channels.max(1)).isqrt();
    if packing > 0 && own_channels * packing * packing == channels {
        return Ok(packing);
    }
    Err(Error::Unsupported {
        file: weights.label().to_owned(),
        reason: format!("a VAE of {own_channels} channels with a batch norm of {channels} cannot be built"),
    })
}
