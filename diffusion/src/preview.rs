//! Rough images of latents: a linear function of each element's channels.

use crate::Error;
use crate::image::Image;
use crate::latents::Latents;
use crate::setting::Setting;

/// What the channels of a latent contribute to red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentRgb {
    /// For each channel of the latent, its part of red, green and blue in an image of -1..1.
    pub factors: &'static [[f32; 3]],
    /// Added to the sum.
    pub bias: [f32; 3],
}

/// Latents of SD 1.x and 2.x, whose VAEs share an encoder: the factors that the user keturn found by comparing images, in
/// "Decoding latents to RGB without upscaling", 2022
/// (<https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204/2>).
pub(crate) const SD: LatentRgb = LatentRgb {
    factors: &[
        [0.298, 0.207, 0.208],
        [0.187, 0.286, 0.173],
        [-0.158, 0.189, 0.264],
        [-0.184, -0.271, -0.473],
    ],
    bias: [0.0; 3],
};

/// Latents of SDXL: the factors of Timothy Alexis Vass, "Explaining the SDXL latent space", 2023
/// (<https://huggingface.co/blog/TimothyAlexisVass/explaining-the-sdxl-latent-space>), which give 0..255.
pub(crate) const SDXL: LatentRgb = LatentRgb {
    factors: &[
        byte([60.0; 3]),
        byte([-60.0, -5.0, 10.0]),
        byte([25.0, 15.0, -5.0]),
        byte([-70.0, -50.0, -35.0]),
    ],
    bias: [150.0 / 127.5 - 1.0, 140.0 / 127.5 - 1.0, 130.0 / 127.5 - 1.0],
};

/// Factors for 0..255 as those for -1..1.
const fn byte(rgb: [f32; 3]) -> [f32; 3] {
    [rgb[0] / 127.5, rgb[1] / 127.5, rgb[2] / 127.5]
}

impl LatentRgb {
    /// One of the latents as an image with a pixel for each element.
    ///
    /// # Errors
    /// [`Error::Setting`]: latents of another number of channels, an image that does not exist.
    ///
    /// ```
    /// use latent_diffusion::{Latents, families};
    /// let family = families::ALL[0];
    /// let image = family.latent_format.rgb.image(&Latents::zeros(1, 4, 2, 3), 0)?;
    /// assert_eq!((image.width, image.height, image.rgb[0]), (3, 2, 128));
    /// # Ok::<(), latent_diffusion::Error>(())
    /// ```
    pub fn image(&self, latents: &Latents, index: usize) -> Result<Image, Error> {
        let &Latents { images, channels, height, width, .. } = latents;
        let each = channels * height * width;
        let values = latents.values.get(index * each..(index + 1) * each);
        let Some(values) = values.filter(|_| channels == self.factors.len() && index < images) else {
            let reason = format!("{images} images of {channels} channels have no preview {index}");
            return Err(Error::setting(Setting::Latents, reason));
        };
        let area = height * width;
        let mut rgb = Vec::with_capacity(3 * area);
        for pixel in 0..area {
            for (colour, bias) in self.bias.iter().enumerate() {
                let terms = self.factors.iter().enumerate();
                let sum: f32 = terms.map(|(channel, f)| f[colour] * values[channel * area + pixel]).sum();
                rgb.push((((sum + bias) / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8);
            }
        }
        Ok(Image { width, height, rgb })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_become_colours() {
        // One element: channel 0 alone, of the size at which SD's red is 0.298.
        let one = |channel: usize, value: f32| {
            let mut latents = Latents::zeros(2, 4, 1, 1);
            latents.values[4 + channel] = value;
            latents
        };
        assert_eq!(SD.image(&one(0, 1.0), 1).unwrap().rgb, [165, 154, 154]);
        assert_eq!(SD.image(&one(0, 1.0), 0).unwrap().rgb, [128; 3]);
        assert_eq!(SD.image(&one(3, 100.0), 1).unwrap().rgb, [0; 3]);
        assert_eq!(SDXL.image(&one(1, 1.0), 1).unwrap().rgb, [90, 135, 140]);
        assert_eq!(SDXL.image(&one(1, 0.0), 1).unwrap().rgb, [150, 140, 130]);
        assert!(SD.image(&one(0, 1.0), 2).is_err());
        assert!(SD.image(&Latents::zeros(1, 16, 1, 1), 0).is_err());
    }
}
