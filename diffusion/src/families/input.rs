//! What a UNet takes beside the latent, which its first convolution's channels tell.

/// What a UNet takes. Every family has models of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The latent alone.
    Latent,
    /// The latent, the mask, and the latent of the image without what the mask covers: inpainting models.
    Inpaint,
    /// The latent, and that of the image to be changed (Brooks et al., InstructPix2Pix, 2023).
    Edit,
}

impl Input {
    /// The input of a UNet of `channels`, for latents of `latent_channels`.
    pub(super) fn of(channels: usize, latent_channels: usize) -> Option<Input> {
        let beside = channels.checked_sub(latent_channels)?;
        match beside {
            0 => Some(Input::Latent),
            _ if beside == latent_channels + 1 => Some(Input::Inpaint),
            _ if beside == latent_channels => Some(Input::Edit),
            _ => None,
        }
    }

    /// Its name in sentences: "inpainting".
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Input::Latent => "text to image",
            Input::Inpaint => "inpainting",
            Input::Edit => "InstructPix2Pix",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_tell_the_input() {
        let inputs = [4, 9, 8, 5, 7, 3].map(|channels| Input::of(channels, 4));
        assert_eq!(inputs[..3], [Some(Input::Latent), Some(Input::Inpaint), Some(Input::Edit)]);
        assert_eq!(inputs[3..], [None; 3]);
    }
}
