//! Settings of a run, beside the prompts.

use crate::Error;
use crate::families::{Model, RecommendedSettings};
use crate::image::MAX_SIDE;
use crate::latents::LatentShape;
use crate::rng::RngKind;
use crate::samplers::{self, FlowMatchingSupport, Sampler};
use crate::schedule::{Churn, Convention, NoiseModel, Schedule, ScheduleKind};
use crate::setting::{Bounds, Setting, SettingProblem};
use crate::text::TextPart;

/// Guidance scales, of the prompt or of an image.
pub(super) const GUIDANCE: Bounds = Bounds::new(-1000.0, 1000.0);
/// Fractions.
const FRACTION: Bounds = Bounds::new(0.0, 1.0);
/// Images in one batch.
const BATCH: Bounds = Bounds::new(1.0, 256.0);
/// Intervals of the cache: no run has more steps than the maximum.
const CACHE_INTERVAL: Bounds = Bounds::new(1.0, 1000.0);
/// Parts of the tokens that are merged. Three of four could be: from half on, images lose what makes them up.
const TOKEN_MERGING: Bounds = Bounds::new(0.0, 0.5);
/// Scales of perturbed-attention guidance.
const PAG: Bounds = Bounds::new(0.0, 100.0);
/// Scales of skip-layer guidance.
const SLG: Bounds = Bounds::new(0.0, 100.0);
/// Blocks that are left out where none are named: those that its authors found for Stable Diffusion 3.5 medium.
const SLG_LAYERS: [usize; 3] = [7, 8, 9];
/// Amounts of churn.
const CHURN: Bounds = Bounds::new(0.0, 1000.0);
/// Strengths of added noise.
const NOISE_STRENGTH: Bounds = Bounds::new(0.0, 2.0);
/// Shifts of flow matching.
const SHIFT: Bounds = Bounds::new(0.01, 100.0);
/// Exponents of spacings.
const RHO: Bounds = Bounds::new(0.1, 100.0);

/// Defines [`Settings`], a method `with_…` for each of its fields, and [`SettingsOverrides`].
macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident, $with:ident: $type:ty = $default:expr;)*) => {
        /// Settings of a run. [`Settings::of`] a model are those that it was made for; the default is what users of the
        /// webui expect of a model that is not distilled.
        ///
        /// ```
        /// use latent_diffusion::{Pipeline, Settings, loader::Checkpoint};
        /// # let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.safetensors");
        /// let pipeline = Pipeline::open(Checkpoint::open(demo.as_ref())?)?;
        /// let settings = Settings::of(pipeline.model()).with_steps(12).with_seeds(vec![1, 2]);
        /// assert_eq!((settings.steps, settings.seeds.len()), (12, 2));
        /// # Ok::<(), latent_diffusion::Error>(())
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($field: $default,)* }
            }
        }

        impl Settings {
            $(
                #[doc = concat!("These settings with another [`", stringify!($field), "`](Settings::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, $field: $type) -> Settings {
                    self.$field = $field;
                    self
                }
            )*
        }

        /// Settings that differ from those that a model was made for. They can be kept and sent before a model is known.
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct SettingsOverrides {
            $(
                #[doc = concat!("In place of [`Settings::", stringify!($field), "`].")]
                pub $field: Option<$type>,
            )*
        }

        impl SettingsOverrides {
            /// The settings with what is overridden.
            #[must_use]
            pub fn apply(&self, mut settings: Settings) -> Settings {
                $(
                    if let Some(value) = &self.$field {
                        settings.$field.clone_from(value);
                    }
                )*
                settings
            }

            $(
                #[doc = concat!("These overrides with [`Settings::", stringify!($field), "`].")]
                #[must_use]
                pub fn $with(mut self, $field: $type) -> SettingsOverrides {
                    self.$field = Some($field);
                    self
                }
            )*
        }
    };
}

settings! {
    /// Width in pixels; the model's own when `None`.
    width, with_width: Option<usize> = None;
    /// Height in pixels; the model's own when `None`.
    height, with_height: Option<usize> = None;
    /// Sampling steps, 1 to 1000.
    steps, with_steps: usize = 20;
    /// Classifier-free guidance (Ho and Salimans 2022), -1000 to 1000: at 1 or less the negative prompt is not used.
    guidance, with_guidance: f64 = 7.0;
    /// The sampler.
    sampler, with_sampler: &'static dyn Sampler = &samplers::Dpmpp2m;
    /// How the noise levels are spaced.
    schedule, with_schedule: ScheduleKind = ScheduleKind::Karras;
    /// Whose conventions the schedule follows; when `None`, the sampler's own, or one that has the spacing
    /// ([`Settings::convention`]).
    convention, with_convention: Option<Convention> = None;
    /// The random generator.
    rng, with_rng: RngKind = RngKind::Cuda;
    /// How much noise a sampler adds that adds noise, 0 to 1; `None` is its usual.
    eta, with_eta: Option<f64> = None;
    /// One image for each, 1 to 256.
    seeds, with_seeds: Vec<u64> = vec![0];
    /// Seeds of other noise that is mixed into what images start from, one for each image; not used where
    /// [`Settings::variation_strength`] is 0.
    variation_seeds, with_variation_seeds: Vec<u64> = Vec::new();
    /// How much of it: 0 is the seed's own noise, 1 that of the variation seed, and a small part changes an image a little.
    variation_strength, with_variation_strength: f64 = 0.0;
    /// 1 uses the layers of the text encoder that the model was trained with, 2 leaves out the last, and so on.
    clip_skip, with_clip_skip: usize = 1;
    /// The sizes that SDXL is conditioned on.
    sizes, with_sizes: SizeConditioning = SizeConditioning::default();
    /// The same for the negative prompt; as for the prompt when `None`.
    negative_sizes, with_negative_sizes: Option<SizeConditioning> = None;
    /// Noise that is added in each step beyond the sampler's own, and how strong all added noise is.
    churn, with_churn: Churn = Churn::default();
    /// Exponent of the spacings that have one (karras, polyexponential), 0.1 to 100; `None` is their usual.
    rho, with_rho: Option<f64> = None;
    /// How far the noise levels of a flow matching model are moved towards noise ([`FlowMatching::new`]), 0.01 to 100; `None` is
    /// the model's own. Other models ignore it.
    ///
    /// [`FlowMatching::new`]: crate::schedule::FlowMatching::new
    shift, with_shift: Option<f64> = None;
    /// Noise levels given one by one, from high to low, in place of `steps`, `schedule` and `convention`.
    sigmas, with_sigmas: Option<Vec<f64>> = None;
    /// How much of the contrast that guidance adds is taken back, from 0 to 1 ([`Settings::guidance`]; Lin et al. 2023,
    /// section 3.4). 0.7 is good for models with a zero terminal signal-to-noise ratio.
    guidance_rescale, with_guidance_rescale: f64 = 0.0;
    /// The fraction of the steps, from 0 to 1, after which there is no guidance: from then on the network sees the prompt
    /// alone, and a step takes half the time (Kynkäänniemi et al., Applying Guidance in a Limited Interval, 2024). 1 guides
    /// all steps.
    guidance_end, with_guidance_end: f64 = 1.0;
    /// Perturbed-attention guidance (Ahn et al., Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance, 2024), 0 to
    /// 100: how far a step moves away from what the network predicts where each position of its mid block attends to itself
    /// alone. It makes structures clearer, also without a guidance scale, and takes one evaluation more. 0 is none; 3 is usual.
    pag_scale, with_pag_scale: f64 = 0.0;
    /// The scale that a network takes as an input which was distilled with it (Flux.1 dev, LCM), -1000 to 1000. Where it is given,
    /// [`Settings::guidance`] guides beside it, away from the negative prompt; `None` makes that the input, and nothing guides
    /// beside it.
    distilled_guidance, with_distilled_guidance: Option<f64> = None;
    /// Skip-layer guidance, 0 to 100: how far a step moves away from what a transformer predicts without some of its blocks
    /// (Stability AI, 2024, for Stable Diffusion 3.5 medium). It makes anatomy better, and takes one evaluation more in the steps
    /// where it acts. 0 is none; 2.8 is usual.
    slg_scale, with_slg_scale: f64 = 0.0;
    /// The blocks that are left out for it, counted from 0; without any, those for Stable Diffusion 3.5 medium: 7, 8 and 9.
    slg_layers, with_slg_layers: Vec<usize> = Vec::new();
    /// The fraction of the steps, 0 to 1, after which it acts.
    slg_start, with_slg_start: f64 = 0.01;
    /// The fraction of the steps, 0 to 1, after which it acts no longer.
    slg_end, with_slg_end: f64 = 0.2;
    /// The whole network is computed in every n-th step; the steps between reuse its coarse levels (Ma et al., DeepCache,
    /// 2024). 1 computes it in all steps; 1 to 1000.
    cache_interval, with_cache_interval: usize = 1;
    /// The part of the tokens, from 0 to 0.5, that are merged with similar ones in the self-attentions of the finest level
    /// with attention, also of ControlNets (Bolya and Hoffman, Token Merging for Fast Stable Diffusion, 2023). 0 merges none;
    /// on a GPU nothing else is possible.
    token_merging, with_token_merging: f64 = 0.0;
    /// Aesthetic scores that SDXL's refiner is conditioned on.
    aesthetic_scores, with_aesthetic_scores: AestheticScores = AestheticScores::default();
}

/// Scores of the images that SDXL's refiner was trained with, from 1 to 10.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AestheticScores {
    /// With the prompt.
    pub positive: f64,
    /// With the negative prompt.
    pub negative: f64,
}

impl Default for AestheticScores {
    fn default() -> AestheticScores {
        AestheticScores { positive: 6.0, negative: 2.5 }
    }
}

/// Sizes that SDXL is conditioned on (Podell et al., SDXL, 2023, section 2.2); other models ignore them. Heights before
/// widths, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeConditioning {
    /// The size of the image before it was scaled for training: small ones look blurred. The drawn size when `None`.
    pub original: Option<[usize; 2]>,
    /// Where the image was cropped, from the top and from the left: 0 keeps things in the middle.
    pub crop: [usize; 2],
    /// The size to draw for. The drawn size when `None`.
    pub target: Option<[usize; 2]>,
}

impl SizeConditioning {
    /// The values in the order of the added vector, for a drawn size. An aesthetic score replaces the target (the refiner).
    pub(super) fn values(&self, drawn: [usize; 2], score: Option<f64>) -> Vec<f32> {
        let [height, width] = self.original.unwrap_or(drawn);
        let [top, left] = self.crop;
        let target = self.target.unwrap_or(drawn);
        let sizes = [height, width, top, left].into_iter();
        match score {
            Some(score) => sizes.map(|size| size as f32).chain([score as f32]).collect(),
            None => sizes.chain(target).map(|size| size as f32).collect(),
        }
    }
}

impl Settings {
    /// The settings that a model was made for: few steps without guidance for a distilled one.
    #[must_use]
    pub fn of(model: &Model) -> Settings {
        let RecommendedSettings { steps, guidance, sampler, schedule, convention } = model.recommended();
        Settings { steps, guidance, sampler, schedule, convention, ..Settings::default() }
    }

    /// Width and height in pixels for a model.
    ///
    /// # Errors
    /// [`SettingProblem::NotMultiple`]: a side of 0, over [`MAX_SIDE`], or not a multiple of [`Model::size_multiple`].
    pub fn size(&self, model: &Model) -> Result<(usize, usize), Error> {
        let of = model.size_multiple();
        let max = MAX_SIDE / of * of;
        let check = |setting: Setting, value: usize| {
            if value > 0 && value <= MAX_SIDE && value.is_multiple_of(of) {
                return Ok(value);
            }
            let nearest = (value.saturating_add(of / 2) / of * of).clamp(of, max);
            Err(Error::setting(setting, SettingProblem::NotMultiple { value, of, max: MAX_SIDE, nearest }))
        };
        let (width, height) = model.resolution;
        Ok((
            check(Setting::Width, self.width.unwrap_or(width))?,
            check(Setting::Height, self.height.unwrap_or(height))?,
        ))
    }

    /// Checks everything against a model; returns the shape of the latents.
    ///
    /// # Errors
    /// [`Error::Setting`]: the first setting that the model cannot follow.
    pub fn check(&self, model: &Model) -> Result<LatentShape, Error> {
        let (width, height) = self.size(model)?;
        let within = |setting, value: f64, bounds, usual| {
            SettingProblem::check_range(value, bounds, usual)
                .map_err(|problem| Error::setting(setting, problem))
        };
        within(Setting::Guidance, self.guidance, GUIDANCE, Some("7"))?;
        within(Setting::GuidanceRescale, self.guidance_rescale, FRACTION, Some("0.7"))?;
        within(Setting::GuidanceEnd, self.guidance_end, FRACTION, Some("1"))?;
        within(Setting::DistilledGuidance, self.distilled_guidance.unwrap_or(1.0), GUIDANCE, Some("3.5"))?;
        within(Setting::PagScale, self.pag_scale, PAG, Some("3"))?;
        within(Setting::SlgScale, self.slg_scale, SLG, Some("2.8"))?;
        within(Setting::SlgSpan, self.slg_start, FRACTION, Some("0.01 and 0.2"))?;
        within(Setting::SlgSpan, self.slg_end, FRACTION, Some("0.01 and 0.2"))?;
        within(Setting::VariationStrength, self.variation_strength, FRACTION, Some("0.1"))?;
        self.check_images()?;
        self.check_network(model)?;
        within(Setting::CacheInterval, self.cache_interval as f64, CACHE_INTERVAL, Some("3"))?;
        within(Setting::TokenMerging, self.token_merging, TOKEN_MERGING, Some("0.3"))?;
        within(Setting::BatchSize, self.seeds.len() as f64, BATCH, None)?;
        self.check_texts(model)?;
        within(Setting::Eta, self.eta.unwrap_or(0.0), FRACTION, Some("0 or 1"))?;
        within(Setting::Churn, self.churn.amount, CHURN, Some("0"))?;
        within(Setting::NoiseStrength, self.churn.noise, NOISE_STRENGTH, Some("1"))?;
        within(Setting::Rho, self.rho.unwrap_or(1.0), RHO, Some("7 for karras, 1 for polyexponential"))?;
        within(Setting::Shift, self.shift.unwrap_or(1.0), SHIFT, Some("3"))?;
        self.check_flow(self.schedule(model)?.noise_model())?;
        let factor = model.vae.factor();
        let (images, channels) = (self.seeds.len(), model.vae.latent_channels);
        Ok(LatentShape { images, channels, height: height / factor, width: width / factor })
    }

    /// Refuses a sampler that does not work with a flow matching model.
    fn check_flow(&self, noise_model: &NoiseModel) -> Result<(), Error> {
        if !matches!(noise_model, NoiseModel::FlowMatching(_)) {
            return Ok(());
        }
        let name = self.sampler.name();
        let reason = match self.sampler.flow_matching() {
            FlowMatchingSupport::Full => return Ok(()),
            FlowMatchingSupport::WithoutEta if self.eta.unwrap_or(0.0) == 0.0 => return Ok(()),
            FlowMatchingSupport::WithoutEta => {
                format!(
                    "{name} adds no noise in a flow matching model; set eta to 0, or choose euler_a, dpm++2m_sde or er_sde"
                )
            }
            FlowMatchingSupport::None => {
                format!(
                    "{name} does not work with flow matching models; choose euler, dpm++2m, unipc or euler_a"
                )
            }
        };
        Err(Error::setting(Setting::Sampler, SettingProblem::Unsupported(reason)))
    }

    /// Refuses what acts on the blocks of a UNet where there is none, on those of a transformer, or on an input that is not there.
    fn check_network(&self, model: &Model) -> Result<(), Error> {
        let unsupported =
            |setting, reason: String| Err(Error::setting(setting, SettingProblem::Unsupported(reason)));
        if self.distilled_guidance.is_some() && !model.network.takes_guidance() {
            let reason = "this model has no input for a guidance scale; use the cfg scale alone".to_owned();
            return unsupported(Setting::DistilledGuidance, reason);
        }
        if self.slg_scale != 0.0 {
            let blocks = model.network.skippable_blocks();
            let asked = self.skipped_layers().iter().max().copied();
            if blocks == 0 {
                let reason = "works with the transformer of Stable Diffusion 3, and this model has another network; set it to 0";
                return unsupported(Setting::SlgScale, reason.to_owned());
            }
            if let Some(layer) = asked.filter(|layer| *layer >= blocks) {
                let reason = format!("there is no block {layer}; give some of 0 to {}", blocks - 1);
                return unsupported(Setting::SlgLayers, reason);
            }
        }
        if model.network.unet().is_some() {
            return Ok(());
        }
        let given = [
            (self.pag_scale != 0.0, Setting::PagScale, "0"),
            (self.cache_interval > 1, Setting::CacheInterval, "1"),
            (self.token_merging != 0.0, Setting::TokenMerging, "0"),
        ];
        match given.iter().find(|(is_given, ..)| *is_given) {
            Some((_, setting, usual)) => {
                let reason =
                    format!("works with a UNet, and this model has a transformer; set it to {usual}");
                Err(Error::setting(*setting, SettingProblem::Unsupported(reason)))
            }
            None => Ok(()),
        }
    }

    /// The blocks that skip-layer guidance leaves out.
    pub(super) fn skipped_layers(&self) -> &[usize] {
        if self.slg_layers.is_empty() { &SLG_LAYERS } else { &self.slg_layers }
    }

    /// Checks what depends on the number of images.
    fn check_images(&self) -> Result<(), Error> {
        let (given, images) = (self.variation_seeds.len(), self.seeds.len());
        if self.variation_strength > 0.0 && given != images {
            let problem = SettingProblem::CountMismatch { given, images };
            return Err(Error::setting(Setting::VariationSeeds, problem));
        }
        if self.sampler.draws_alone() && images > 1 {
            let reason = format!(
                "{} draws one image at a time, and {images} are to be drawn at once; set the batch size to 1",
                self.sampler.name()
            );
            return Err(Error::setting(Setting::Sampler, SettingProblem::Conflict(reason)));
        }
        Ok(())
    }

    /// Checks the clip skip against the text encoders of a model, such as a refiner.
    ///
    /// # Errors
    /// [`Error::Setting`]: a clip skip of 0 or beyond the layers.
    pub fn check_texts(&self, model: &Model) -> Result<(), Error> {
        let max = |part: &TextPart| (part.config.layers + 1).saturating_sub(part.skip);
        let layers = model.text.iter().map(max).min().unwrap_or(1);
        SettingProblem::check_range(self.clip_skip as f64, Bounds::new(1.0, layers as f64), Some("1"))
            .map_err(|problem| Error::setting(Setting::ClipSkip, problem))
    }

    /// Whose conventions the schedule follows. Where none is given it is the sampler's own, or another one that has the
    /// spacing, if the sampler's own lacks it: LCM with levels of the webui, Euler with a spacing of diffusers.
    #[must_use]
    pub fn convention(&self) -> Convention {
        self.convention.unwrap_or_else(|| {
            let own = self.sampler.default_convention();
            let has = |convention: &&Convention| {
                convention.kinds(self.sampler.discretization()).contains(&self.schedule)
            };
            let other = Convention::ALL.iter().find(has).copied();
            if has(&&own) { own } else { other.unwrap_or(own) }
        })
    }

    /// The noise levels.
    ///
    /// # Errors
    /// [`SettingProblem::Schedule`]: no steps or too many, a spacing that the convention lacks.
    pub fn schedule(&self, model: &Model) -> Result<Schedule, Error> {
        let noise_model = &model.noise_model_at((self.size(model)?, self.steps), self.shift)?;
        let discretization = self.sampler.discretization();
        let kind = match self.schedule {
            // Models that are conditioned on the image's size are SDXL's.
            ScheduleKind::AlignYourSteps if model.takes_sizes() => ScheduleKind::AlignYourStepsXl,
            kind => kind,
        };
        let (setting, schedule) = match &self.sigmas {
            Some(sigmas) => (Setting::Sigmas, Schedule::from_sigmas(noise_model, sigmas)),
            None => {
                let (convention, rho) = (self.convention(), self.rho);
                let steps = self.steps;
                let schedule = Schedule::with_rho(noise_model, convention, kind, discretization, steps, rho);
                (Setting::Schedule, schedule)
            }
        };
        Ok(schedule.map_err(|error| Error::setting(setting, error))?.with_churn(self.churn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_come_first_and_a_score_replaces_the_target() {
        let sizes = SizeConditioning { original: None, crop: [3, 4], target: Some([5, 6]) };
        assert_eq!(sizes.values([1, 2], None), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(sizes.values([1, 2], Some(2.5)), [1.0, 2.0, 3.0, 4.0, 2.5]);
    }

    #[test]
    fn overrides_replace_what_they_have() {
        let overrides = SettingsOverrides::default().with_steps(3).with_sampler(&samplers::Euler);
        let settings = overrides.apply(Settings::default().with_seeds(vec![7]));
        assert_eq!(
            settings,
            Settings::default().with_seeds(vec![7]).with_steps(3).with_sampler(&samplers::Euler)
        );
        assert_ne!(settings, Settings::default().with_seeds(vec![7]).with_steps(3));
        assert_eq!(SettingsOverrides::default().apply(settings.clone()), settings);
        assert!(format!("{settings:?}").contains("Euler"));
    }
}
