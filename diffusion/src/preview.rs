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
    /// Pixels along the side of an element, whose channels contain those of each pixel side by side: 1 but for Flux.2.
    pub packing: usize,
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
    packing: 1,
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
    packing: 1,
};

/// Latents of Stable Diffusion 3 and 3.5: the factors that ComfyUI uses (`latent_formats.py`, 2025), found by regression.
pub(crate) const SD3: LatentRgb = LatentRgb {
    factors: &[
        [-0.0922, -0.0175, 0.0749],
        [0.0311, 0.0633, 0.0954],
        [0.1994, 0.0927, 0.0458],
        [0.0856, 0.0339, 0.0902],
        [0.0587, 0.0272, -0.0496],
        [-0.0006, 0.1104, 0.0309],
        [0.0978, 0.0306, 0.0427],
        [-0.0042, 0.1038, 0.1358],
        [-0.0194, 0.0020, 0.0669],
        [-0.0488, 0.0130, -0.0268],
        [0.0922, 0.0988, 0.0951],
        [-0.0278, 0.0524, -0.0542],
        [0.0332, 0.0456, 0.0895],
        [-0.0069, -0.0030, -0.0810],
        [-0.0596, -0.0465, -0.0293],
        [-0.1448, -0.1463, -0.1189],
    ],
    bias: [0.2394, 0.2135, 0.1925],
    packing: 1,
};

/// Latents of Flux.1, Chroma and Z-Image, which share a VAE: the factors that ComfyUI uses (`latent_formats.py`, 2024), found
/// by regression.
pub(crate) const FLUX: LatentRgb = LatentRgb {
    factors: &[
        [-0.0404, 0.0159, 0.0609],
        [0.0043, 0.0298, 0.0850],
        [0.0328, -0.0749, -0.0503],
        [-0.0245, 0.0085, 0.0549],
        [0.0966, 0.0894, 0.0530],
        [0.0035, 0.0399, 0.0123],
        [0.0583, 0.1184, 0.1262],
        [-0.0191, -0.0206, -0.0306],
        [-0.0324, 0.0055, 0.1001],
        [0.0955, 0.0659, -0.0545],
        [-0.0504, 0.0231, -0.0013],
        [0.0500, -0.0008, -0.0088],
        [0.0982, 0.0941, 0.0976],
        [-0.1233, -0.0280, -0.0897],
        [-0.0005, -0.0530, -0.0020],
        [-0.1273, -0.0932, -0.0680],
    ],
    bias: [0.0; 3],
    packing: 1,
};

/// Latents of Flux.2, of four pixels each: the factors that ComfyUI uses (`latent_formats.py`, 2025), found by regression.
pub(crate) const FLUX2: LatentRgb = LatentRgb {
    factors: &[
        [0.0058, 0.0113, 0.0073],
        [0.0495, 0.0443, 0.0836],
        [-0.0099, 0.0096, 0.0644],
        [0.2144, 0.3009, 0.3652],
        [0.0166, -0.0039, -0.0054],
        [0.0157, 0.0103, -0.0160],
        [-0.0398, 0.0902, -0.0235],
        [-0.0052, 0.0095, 0.0109],
        [-0.3527, -0.2712, -0.1666],
        [-0.0301, -0.0356, -0.0180],
        [-0.0107, 0.0078, 0.0013],
        [0.0746, 0.0090, -0.0941],
        [0.0156, 0.0169, 0.0070],
        [-0.0034, -0.0040, -0.0114],
        [0.0032, 0.0181, 0.0080],
        [-0.0939, -0.0008, 0.0186],
        [0.0018, 0.0043, 0.0104],
        [0.0284, 0.0056, -0.0127],
        [-0.0024, -0.0022, -0.0030],
        [0.1207, -0.0026, 0.0065],
        [0.0128, 0.0101, 0.0142],
        [0.0137, -0.0072, -0.0007],
        [0.0095, 0.0092, -0.0059],
        [0.0000, -0.0077, -0.0049],
        [-0.0465, -0.0204, -0.0312],
        [0.0095, 0.0012, -0.0066],
        [0.0290, -0.0034, 0.0025],
        [0.0220, 0.0169, -0.0048],
        [-0.0332, -0.0457, -0.0468],
        [-0.0085, 0.0389, 0.0609],
        [-0.0076, 0.0003, -0.0043],
        [-0.0111, -0.0460, -0.0614],
    ],
    bias: [-0.0329, -0.0718, -0.0851],
    packing: 2,
};

/// Factors for 0..255 as those for -1..1.
const fn byte(rgb: [f32; 3]) -> [f32; 3] {
    [rgb[0] / 127.5, rgb[1] / 127.5, rgb[2] / 127.5]
}

impl LatentRgb {
    /// One of the latents as an image with a pixel for each element, or a square of pixels.
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
        let (each, side) = (channels * height * width, self.packing);
        let values = latents.values.get(index * each..(index + 1) * each);
        let Some(values) = values.filter(|_| channels == self.factors.len() * side * side && index < images)
        else {
            let reason = format!("{images} images of {channels} channels have no preview {index}");
            return Err(Error::setting(Setting::Latents, reason));
        };
        let (height, width) = (height * side, width * side);
        let area = height * width;
        let mut rgb = Vec::with_capacity(3 * area);
        for pixel in 0..area {
            let (row, column) = (pixel / width, pixel % width);
            // The element, and which of its pixels.
            let (element, part) =
                (row / side * (width / side) + column / side, row % side * side + column % side);
            let at = |channel: usize| (channel * side * side + part) * (area / (side * side)) + element;
            for (colour, bias) in self.bias.iter().enumerate() {
                let terms = self.factors.iter().enumerate();
                let sum: f32 = terms.map(|(channel, f)| f[colour] * values[at(channel)]).sum();
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
        // The pixel below the first one, in channel 3 of the VAE.
        let mut packed = Latents::zeros(1, 128, 1, 2);
        packed.values[2 * (4 * 3 + 2)] = 1.0;
        let image = FLUX2.image(&packed, 0).unwrap();
        assert_eq!((image.width, image.height), (4, 2));
        let lit: Vec<usize> = (0..8).filter(|pixel| image.rgb[3 * pixel] > 130).collect();
        assert_eq!((lit, &image.rgb[12..15]), (vec![4], &[151, 157, 163][..]));
        assert!(SD.image(&Latents::zeros(1, 16, 1, 1), 0).is_err());
    }
}
