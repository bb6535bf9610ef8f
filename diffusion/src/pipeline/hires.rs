//! Images larger than a model was made for: drawn small, enlarged, and redrawn (the webui's "hires. fix").
//!
//! A model that draws larger than it was trained repeats things: two heads, a second horizon. The first pass has the size at
//! which it composes well; the second walks the last part of the steps at the large size, which draws the details.

use super::prepare::{Shown, ShownLatents, Walked};
use super::{Image, Latents, Listener, Pipeline, PreparedTask, Settings, Task, VaeTiling};
use crate::Error;
use crate::families::Model;
use latent_tensor::Tensor;

/// The second pass.
#[derive(Clone, Copy)]
pub struct Hires<'a> {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Steps of the second pass; those of the first when `None`.
    pub steps: Option<usize>,
    /// How much may change, above 0 and at most 1: the second pass begins at the noise level that this part of a schedule
    /// begins at. 0.7 is usual for latents, 0.3 to 0.5 for pixels.
    pub strength: f64,
    /// How the first pass is enlarged.
    pub enlarge: HiresUpscaler<'a>,
}

/// Enlarges an image to a width and height in pixels.
pub type UpscaleImage<'a> = dyn Fn(&Image, (usize, usize), &mut Listener<'_>) -> Result<Image, Error> + 'a;

/// How a first pass is enlarged.
#[derive(Clone, Copy)]
pub enum HiresUpscaler<'a> {
    /// The latents, with values between their neighbours' ("Latent"): quick, and soft unless much may change.
    Bilinear,
    /// The latents, each element repeated ("Latent (nearest)").
    Nearest,
    /// The decoded image, which is encoded again.
    Pixels(&'a UpscaleImage<'a>),
}

/// The webui's limit, which keeps the first noise level in use at full strength.
const MAX_STRENGTH: f64 = 0.999;
/// Most steps of a schedule.
const MAX_STEPS: usize = 1000;

impl Hires<'_> {
    /// A second pass of a size, of latents, with the webui's strength.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Hires<'static> {
        Hires { width, height, steps: None, strength: 0.7, enlarge: HiresUpscaler::Bilinear }
    }

    /// Steps of the second pass that are walked, for a first one.
    #[must_use]
    pub fn walked(&self, first: &Settings) -> usize {
        self.steps.unwrap_or(first.steps)
    }

    /// The settings of the second pass, for a first one. All of its steps are walked, so the schedule that they are the end of
    /// has more. Noise levels that are given one by one are those of the first pass.
    ///
    /// # Errors
    /// A strength that is no part, more steps than a schedule has, a size that the model cannot draw.
    pub fn settings(&self, first: &Settings, model: &Model) -> Result<Settings, Error> {
        if !(self.strength > 0.0 && self.strength <= 1.0) {
            let reason = format!("{} is not above 0 and at most 1; 0.7 is usual", self.strength);
            return Err(Error::Setting { name: "hires strength", reason });
        }
        let walked = self.walked(first);
        let steps = walked as f64 / self.strength.min(MAX_STRENGTH);
        if walked == 0 || steps > MAX_STEPS as f64 {
            let strength = self.strength;
            let reason = format!(
                "{walked} at a strength of {strength} are the end of {steps:.0}; 1 to {MAX_STEPS} can be"
            );
            return Err(Error::Setting { name: "hires steps", reason });
        }
        let (width, height) = (Some(self.width), Some(self.height));
        let second = Settings { width, height, steps: steps as usize, sigmas: None, ..first.clone() };
        second.check(model).map_err(|error| match error {
            Error::Setting { name: "width" | "height", reason } => {
                Error::Setting { name: "hires size", reason }
            }
            error => error,
        })?;
        Ok(second)
    }
}

impl Pipeline {
    /// Draws an image for each seed as [`Pipeline::text_to_image`], enlarges it, and redraws it.
    ///
    /// # Errors
    /// As [`Pipeline::text_to_image`], and [`Hires::settings`].
    ///
    /// # Examples
    /// ```no_run
    /// # use latent_diffusion::{Hires, Pipeline, Settings, loader::Checkpoint};
    /// # use std::{ops::ControlFlow, path::Path};
    /// let mut pipeline = Pipeline::open(Checkpoint::open(Path::new("v1-5-pruned.safetensors"))?)?;
    /// let (settings, hires) = (Settings::default(), Hires { strength: 0.6, ..Hires::new(1024, 1024) });
    /// let mut go_on = |_: latent_diffusion::Event<'_>| ControlFlow::Continue(());
    /// let images = pipeline.text_to_image_hires("a red fox", "", &settings, &hires, &mut go_on)?;
    /// assert_eq!((images[0].width, images[0].height), (1024, 1024));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn text_to_image_hires(
        &mut self,
        prompt: &str,
        negative_prompt: &str,
        settings: &Settings,
        hires: &Hires<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<Vec<Image>, Error> {
        settings.check(&self.model)?;
        hires.settings(settings, &self.model)?;
        let negative: &[&str] = if negative_prompt.is_empty() { &[] } else { &[negative_prompt] };
        let walked = hires.walked(settings);
        let conditioning = self.encode_passes(&[prompt], negative, settings, walked, listener)?;
        self.unload_text_encoder();
        let first = self.sample(&conditioning, settings, listener)?;
        let (source, second) = self.enlarge(&first, settings, hires, listener)?;
        let latents = self.sample_prepared(&source, &conditioning.second_pass(), &second, listener)?;
        self.unload_unet();
        let images = self.decode(&latents, listener)?;
        self.unload_decoder();
        Ok(images)
    }

    /// Enlarges the latents of a first pass: the source and the settings of the second ([`Pipeline::sample_prepared`]). What
    /// ControlNets see is stretched to its size. With [`VaeTiling::Bands`] the UNet leaves memory while images are enlarged.
    ///
    /// # Errors
    /// As [`Hires::settings`], and what [`Pipeline::decode`], the enlarging and [`Pipeline::encode_image`] fail by.
    pub fn enlarge(
        &mut self,
        first: &Latents,
        settings: &Settings,
        hires: &Hires<'_>,
        listener: &mut Listener<'_>,
    ) -> Result<(PreparedTask, Settings), Error> {
        let second = hires.settings(settings, &self.model)?;
        let factor = self.model.vae.factor();
        let size = [hires.height / factor, hires.width / factor];
        let drawn = match hires.enlarge {
            HiresUpscaler::Bilinear => first.bilinear(size),
            HiresUpscaler::Nearest => first.nearest(size),
            HiresUpscaler::Pixels(enlarge) => {
                if self.vae_tiling == VaeTiling::Bands {
                    self.unload_unet();
                }
                let images = self.decode(first, listener)?;
                self.unload_decoder();
                let mut pixels = Vec::new();
                for image in &images {
                    pixels.push(enlarge(image, (hires.width, hires.height), listener)?.to_tensor()?);
                }
                self.encode_all(&pixels, size, listener)?
            }
        };
        let walked = Walked::Last(hires.steps.unwrap_or(settings.steps));
        let mut source = self.prepare_alone(&Task::TextToImage, &second, listener)?;
        source.image = Some(Shown { latents: ShownLatents::Drawn(drawn), walked });
        Ok((source, second))
    }

    /// The middles of the images' latents, of that height and width.
    fn encode_all(
        &mut self,
        images: &[Tensor],
        [height, width]: [usize; 2],
        listener: &mut Listener<'_>,
    ) -> Result<Latents, Error> {
        let mut all = Latents::zeros(0, self.model.vae.latent_channels, height, width);
        for moments in self.encode_pixels(images, listener)? {
            let latent = Latents::from_channels_last(&moments.mode()?)?;
            all.values.extend(latent.values);
            all.images += 1;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use latent_loader::Checkpoint;
    use std::ops::ControlFlow;

    fn demo() -> Pipeline {
        Pipeline::open(Checkpoint::from_bytes("demo", latent_demo::DEMO.unwrap()).unwrap()).unwrap()
    }

    /// webui: 20 steps at 0.7 are the last of 28.
    #[test]
    fn all_steps_of_the_second_pass_are_walked() {
        let model = demo().model;
        for (steps, strength, total) in
            [(Some(20), 0.7, 28), (None, 0.5, 40), (Some(1), 0.001, 1000), (Some(20), 1.0, 20)]
        {
            let hires = Hires { steps, strength, ..Hires::new(128, 128) };
            assert_eq!(hires.settings(&Settings::default(), &model).unwrap().steps, total);
        }
        for (steps, strength) in
            [(Some(0), 0.7), (None, 0.0), (None, 1.1), (None, f64::NAN), (Some(900), 0.5)]
        {
            let hires = Hires { steps, strength, ..Hires::new(128, 128) };
            assert!(hires.settings(&Settings::default(), &model).is_err(), "{steps:?} {strength}");
        }
        let odd = Hires::new(129, 128).settings(&Settings::default(), &model).err().unwrap();
        assert!(odd.to_string().starts_with("hires size: 129"), "{odd}");
    }

    /// Every pixel four times.
    fn twice(image: &Image, (width, height): (usize, usize), _: &mut Listener<'_>) -> Result<Image, Error> {
        let rgb = (0..width * height).flat_map(|i| {
            let (x, y) = (i % width * image.width / width, i / width * image.height / height);
            image.rgb[3 * (y * image.width + x)..][..3].to_vec()
        });
        Ok(Image { width, height, rgb: rgb.collect() })
    }

    /// The second pass of pixels is the redrawing of the enlarged image.
    #[test]
    fn pixels_are_redrawn_as_a_image_is() {
        let mut pipeline = demo();
        let mut go_on = |_: crate::Event<'_>| ControlFlow::Continue(());
        let settings = Settings { steps: 6, seeds: vec![3], ..Settings::default() };
        let small = pipeline.text_to_image("a red apple", "", &settings, &mut go_on).unwrap();
        let large = twice(&small[0], (128, 96), &mut go_on).unwrap();
        // The last 6 of 8 steps.
        let task = Task::ImageToImage { image: &large, strength: 0.7 };
        let of_image = task.sized(Settings { steps: 8, ..settings.clone() }, &pipeline.model);
        let redrawn = pipeline.draw(&task, "a red apple", "", &of_image, &mut go_on).unwrap();
        let hires = Hires { enlarge: HiresUpscaler::Pixels(&twice), ..Hires::new(128, 96) };
        let second = pipeline.text_to_image_hires("a red apple", "", &settings, &hires, &mut go_on).unwrap();
        assert_eq!(second, redrawn);
    }

    #[test]
    fn a_image_of_a_batch_is_that_of_its_seed_in_every_way() {
        let mut pipeline = demo();
        let mut seen = Vec::new();
        for enlarge in [HiresUpscaler::Bilinear, HiresUpscaler::Nearest, HiresUpscaler::Pixels(&twice)] {
            let hires = Hires { steps: Some(2), enlarge, ..Hires::new(96, 128) };
            let mut steps = 0;
            let mut draw = |pipeline: &mut Pipeline, seeds: Vec<u64>| {
                let settings = Settings { steps: 3, seeds, ..Settings::default() };
                let mut listener = |event: crate::Event<'_>| {
                    steps += usize::from(matches!(event, crate::Event::Step { step: 1.., .. }));
                    ControlFlow::Continue(())
                };
                pipeline.text_to_image_hires("a red apple", "", &settings, &hires, &mut listener).unwrap()
            };
            let both = draw(&mut pipeline, vec![1, 2]);
            assert_eq!((both[0].width, both[0].height), (96, 128));
            pipeline = pipeline.with_vae_tiling(VaeTiling::Bands);
            assert_eq!(draw(&mut pipeline, vec![2])[0], both[1]);
            assert_eq!(steps, 2 * (3 + 2));
            pipeline = pipeline.with_vae_tiling(VaeTiling::Off);
            assert!(!seen.contains(&both[0]));
            seen.push(both[0].clone());
        }
    }
}
