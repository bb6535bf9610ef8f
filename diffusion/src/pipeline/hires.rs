//! Images larger than a model was made for: drawn small, enlarged, and redrawn (the webui's "hires. fix").
//!
//! A model that draws larger images than it was trained on repeats things: two heads, a second horizon. The first pass has
//! the size at which it composes well; the second runs the last part of the steps at the large size, which draws the
//! details.

use super::prepare::{InitImage, InitLatents, StepRange};
use super::{Pipeline, PreparedTask, Settings, Task, VaeTiling};
use crate::families::Model;
use crate::image::Image;
use crate::latents::Latents;
use crate::setting::{Bounds, Setting, SettingProblem};
use crate::{Error, Listener};
use latent_tensor::Tensor;
use std::fmt;

/// The second pass.
#[derive(Clone, Copy, Debug)]
pub struct Hires<'a> {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Steps of the second pass, 1 to 1000; those of the first when `None`.
    pub steps: Option<usize>,
    /// How much may change, above 0 and at most 1: the second pass begins at the noise level where this last fraction of a
    /// schedule begins. 0.7 is usual for latents, 0.3 to 0.5 for pixels.
    pub strength: f64,
    /// How the first pass is enlarged.
    pub enlarge: HiresUpscaler<'a>,
}

/// Enlarges an image to a width and height in pixels.
pub type UpscaleImage<'a> = dyn Fn(&Image, (usize, usize), &mut Listener<'_>) -> Result<Image, Error> + 'a;

/// How a first pass is enlarged.
#[derive(Clone, Copy)]
pub enum HiresUpscaler<'a> {
    /// The latents, interpolated ("Latent"): quick, and soft unless much may change.
    Bilinear,
    /// The latents, each element repeated ("Latent (nearest)").
    Nearest,
    /// The decoded image, which is encoded again.
    Pixels(&'a UpscaleImage<'a>),
}

impl fmt::Debug for HiresUpscaler<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HiresUpscaler::Bilinear => "Bilinear",
            HiresUpscaler::Nearest => "Nearest",
            HiresUpscaler::Pixels(_) => "Pixels",
        })
    }
}

/// How much may change.
const STRENGTH: Bounds = Bounds::new(0.0, 1.0).above_min();
/// The webui's limit, which keeps the first noise level in use at full strength.
const WEBUI_MAX_STRENGTH: f64 = 0.999;
/// Maximum steps of a schedule.
const MAX_STEPS: usize = 1000;

impl Hires<'_> {
    /// A second pass of a size in pixels, which enlarges the latents and has the webui's strength.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Hires<'static> {
        Hires { width, height, steps: None, strength: 0.7, enlarge: HiresUpscaler::Bilinear }
    }

    /// Steps that the second pass runs, for a first one.
    #[must_use]
    pub fn run_steps(&self, first: &Settings) -> usize {
        self.steps.unwrap_or(first.steps)
    }

    /// The settings of the second pass, for a first one. All of its steps are run, so the schedule that they are the end of
    /// has more. Noise levels that are given one by one are those of the first pass.
    ///
    /// # Errors
    /// [`Error::Setting`]: a strength out of range, more steps than a schedule has, a size that the model cannot draw.
    pub fn settings(&self, first: &Settings, model: &Model) -> Result<Settings, Error> {
        SettingProblem::check_range(self.strength, STRENGTH, Some("0.7"))
            .map_err(|problem| Error::setting(Setting::HiresStrength, problem))?;
        let run_steps = self.run_steps(first);
        let steps = run_steps as f64 / self.strength.min(WEBUI_MAX_STRENGTH);
        if run_steps == 0 || steps > MAX_STEPS as f64 {
            let strength = self.strength;
            let reason = format!(
                "{run_steps} at a strength of {strength} are the last of {steps:.0} steps, which must be 1 to {MAX_STEPS}"
            );
            return Err(Error::setting(Setting::HiresSteps, reason));
        }
        let (width, height) = (Some(self.width), Some(self.height));
        let second = Settings { width, height, steps: steps as usize, sigmas: None, ..first.clone() };
        second.check(model).map_err(|error| match error {
            Error::Setting { setting: Setting::Width | Setting::Height, problem } => {
                Error::Setting { setting: Setting::HiresSize, problem }
            }
            error => error,
        })?;
        Ok(second)
    }
}

impl Pipeline {
    /// Enlarges the latents of a first pass: the task and the settings of the second ([`Pipeline::sample_prepared`]). The
    /// images of ControlNets are enlarged to its size. With [`VaeTiling::Bands`] the denoiser leaves memory while images are
    /// enlarged.
    ///
    /// # Errors
    /// As [`Hires::settings`], [`Pipeline::decode`], the upscaler and [`Pipeline::encode_image`].
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
                if self.vae_tiling() == VaeTiling::Bands {
                    self.unload_denoiser();
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
        let steps = StepRange::Last(hires.steps.unwrap_or(settings.steps));
        let mut task = self.prepare_unchecked(&Task::TextToImage, &second, listener)?;
        task.init = Some(InitImage { latents: InitLatents::FirstPass(drawn), steps });
        Ok((task, second))
    }

    /// The modes of the images' latents, of that height and width.
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
    fn all_steps_of_the_second_pass_are_run() {
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
    fn pixels_are_redrawn_as_an_image_is() {
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
    fn an_image_of_a_batch_is_that_of_its_seed_in_every_way() {
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
