//! What a denoiser network takes besides the latents, which the channels of its first convolution show.

use std::fmt;

/// What a denoiser network takes. Every family has models of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkInput {
    /// The latents alone.
    Latent,
    /// The latents, the mask, and the latents of the image without what the mask covers: inpainting models, Flux.1 Fill.
    Inpaint,
    /// The latents, and those of the image to be changed (Brooks et al., InstructPix2Pix, 2023).
    Edit,
}

impl NetworkInput {
    /// The input of a network of `channels`, for latents of `latent_channels`, whose elements are `factor` pixels wide and high. A
    /// mask has one channel, or one for each pixel of an element.
    pub(super) fn of(channels: usize, latent_channels: usize, factor: usize) -> Option<NetworkInput> {
        let extra = channels.checked_sub(latent_channels)?;
        match extra {
            0 => Some(NetworkInput::Latent),
            _ if extra == latent_channels + 1 => Some(NetworkInput::Inpaint),
            _ if extra == latent_channels + factor * factor => Some(NetworkInput::Inpaint),
            _ if extra == latent_channels => Some(NetworkInput::Edit),
            _ => None,
        }
    }

    /// Its name in sentences: "inpainting".
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            NetworkInput::Latent => "text to image",
            NetworkInput::Inpaint => "inpainting",
            NetworkInput::Edit => "InstructPix2Pix",
        }
    }
}

impl fmt::Display for NetworkInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_decide_the_input() {
        let inputs = [4, 9, 8, 5, 7, 3].map(|channels| NetworkInput::of(channels, 4, 8));
        let known = [NetworkInput::Latent, NetworkInput::Inpaint, NetworkInput::Edit];
        assert_eq!(inputs[..3], known.map(Some));
        assert_eq!(inputs[3..], [None; 3]);
        assert_eq!(NetworkInput::of(96, 16, 8), Some(NetworkInput::Inpaint));
    }
}
