//! What is wrong with a setting, for people and for code.

use crate::schedule::ScheduleError;
use std::fmt;

/// A setting of a run, or something else that a user gives, such as an image. It is displayed by its plain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// [`Settings::width`](crate::Settings::width)
    Width,
    /// [`Settings::height`](crate::Settings::height)
    Height,
    /// [`Settings::guidance`](crate::Settings::guidance)
    Guidance,
    /// [`Settings::guidance_rescale`](crate::Settings::guidance_rescale)
    GuidanceRescale,
    /// [`Settings::guidance_end`](crate::Settings::guidance_end)
    GuidanceEnd,
    /// [`Settings::distilled_guidance`](crate::Settings::distilled_guidance)
    DistilledGuidance,
    /// [`Settings::pag_scale`](crate::Settings::pag_scale)
    PagScale,
    /// [`Settings::slg_scale`](crate::Settings::slg_scale)
    SlgScale,
    /// [`Settings::slg_layers`](crate::Settings::slg_layers)
    SlgLayers,
    /// [`Settings::slg_start`](crate::Settings::slg_start) and [`Settings::slg_end`](crate::Settings::slg_end).
    SlgSpan,
    /// [`Settings::variation_seeds`](crate::Settings::variation_seeds)
    VariationSeeds,
    /// [`Settings::variation_strength`](crate::Settings::variation_strength)
    VariationStrength,
    /// Images that can be tiled ([`Pipeline::set_seamless`](crate::Pipeline::set_seamless)).
    Seamless,
    /// The sampler.
    Sampler,
    /// [`Settings::cache_interval`](crate::Settings::cache_interval)
    CacheInterval,
    /// [`Settings::token_merging`](crate::Settings::token_merging)
    TokenMerging,
    /// The number of [`Settings::seeds`](crate::Settings::seeds).
    BatchSize,
    /// [`Settings::clip_skip`](crate::Settings::clip_skip)
    ClipSkip,
    /// [`Settings::schedule`](crate::Settings::schedule), with the number of steps.
    Schedule,
    /// [`Settings::sigmas`](crate::Settings::sigmas)
    Sigmas,
    /// [`Settings::eta`](crate::Settings::eta)
    Eta,
    /// [`Churn::amount`](crate::schedule::Churn::amount)
    Churn,
    /// [`Churn::noise`](crate::schedule::Churn::noise)
    NoiseStrength,
    /// [`Settings::rho`](crate::Settings::rho)
    Rho,
    /// [`Settings::shift`](crate::Settings::shift)
    Shift,
    /// [`Settings::sizes`](crate::Settings::sizes)
    Sizes,
    /// A prompt.
    Prompt,
    /// A negative prompt.
    NegativePrompt,
    /// The folder of wildcards, or what a prompt takes from it.
    Wildcards,
    /// The image of a [`Task`](crate::Task), or one to be upscaled.
    Image,
    /// The mask of a [`Task`](crate::Task).
    Mask,
    /// The feathered edge of a mask.
    MaskBlur,
    /// The strength of a [`Task`](crate::Task).
    Strength,
    /// The image guidance of [`Task::Edit`](crate::Task::Edit).
    ImageGuidance,
    /// The model.
    Model,
    /// Latents that are given.
    Latents,
    /// A ControlNet.
    ControlNet,
    /// The image of a [`Control`](crate::Control).
    ControlImage,
    /// [`Control::control_type`](crate::Control::control_type)
    ControlType,
    /// [`Control::strength`](crate::Control::strength)
    ControlStrength,
    /// [`Control::start`](crate::Control::start) and [`Control::end`](crate::Control::end).
    ControlSpan,
    /// [`ImagePrompt::strength`](crate::ImagePrompt::strength)
    ImagePromptStrength,
    /// [`ImagePrompt::start`](crate::ImagePrompt::start) and [`ImagePrompt::end`](crate::ImagePrompt::end).
    ImagePromptSpan,
    /// Thresholds or blur of [`Canny`](crate::controlnet::Canny).
    Canny,
    /// Width and height of [`Hires`](crate::Hires).
    HiresSize,
    /// [`Hires::steps`](crate::Hires::steps)
    HiresSteps,
    /// [`Hires::strength`](crate::Hires::strength)
    HiresStrength,
    /// A second pass ([`Hires`](crate::Hires)) as such.
    Hires,
    /// The refiner.
    Refiner,
    /// When the refiner takes over.
    RefinerStart,
    /// The averaged copy of the weights, in a conversion.
    Ema,
    /// The dtype of the weights, in a conversion.
    Dtype,
    /// What a network was conditioned on.
    Condition,
    /// The vector added to the embedded time step (SDXL).
    AddedVector,
    /// The number of threads.
    Threads,
}

impl Setting {
    /// The plain name, as error messages have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Setting::Width => "width",
            Setting::Height => "height",
            Setting::Guidance => "cfg scale",
            Setting::GuidanceRescale => "cfg rescale",
            Setting::GuidanceEnd => "cfg end",
            Setting::DistilledGuidance => "guidance",
            Setting::PagScale => "pag scale",
            Setting::SlgScale => "slg scale",
            Setting::SlgLayers => "slg layers",
            Setting::SlgSpan => "slg start and end",
            Setting::VariationSeeds => "variation seeds",
            Setting::VariationStrength => "variation strength",
            Setting::Seamless => "seamless",
            Setting::Sampler => "sampler",
            Setting::CacheInterval => "cache",
            Setting::TokenMerging => "token merging",
            Setting::BatchSize => "batch",
            Setting::ClipSkip => "clip skip",
            Setting::Schedule => "schedule",
            Setting::Sigmas => "sigmas",
            Setting::Eta => "eta",
            Setting::Churn => "s_churn",
            Setting::NoiseStrength => "s_noise",
            Setting::Rho => "rho",
            Setting::Shift => "shift",
            Setting::Sizes => "sizes",
            Setting::Prompt => "prompt",
            Setting::NegativePrompt => "negative prompt",
            Setting::Wildcards => "wildcards",
            Setting::Image => "image",
            Setting::Mask => "mask",
            Setting::MaskBlur => "mask blur",
            Setting::Strength => "strength",
            Setting::ImageGuidance => "img cfg scale",
            Setting::Model => "model",
            Setting::Latents => "latents",
            Setting::ControlNet => "ControlNet",
            Setting::ControlImage => "control image",
            Setting::ControlType => "control type",
            Setting::ControlStrength => "control strength",
            Setting::ControlSpan => "control start and end",
            Setting::ImagePromptStrength => "ip adapter strength",
            Setting::ImagePromptSpan => "ip adapter start and end",
            Setting::Canny => "canny",
            Setting::HiresSize => "hires size",
            Setting::HiresSteps => "hires steps",
            Setting::HiresStrength => "hires strength",
            Setting::Hires => "hires",
            Setting::Refiner => "refiner",
            Setting::RefinerStart => "refiner start",
            Setting::Ema => "EMA",
            Setting::Dtype => "dtype",
            Setting::Condition => "condition",
            Setting::AddedVector => "added vector",
            Setting::Threads => "threads",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Numbers that a setting may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The minimum.
    pub min: f64,
    /// The maximum.
    pub max: f64,
    /// Whether the minimum itself is too small.
    pub above_min: bool,
    /// Whether the maximum itself is too large.
    pub below_max: bool,
}

impl Bounds {
    /// From a minimum to a maximum, both included.
    #[must_use]
    pub const fn new(min: f64, max: f64) -> Bounds {
        Bounds { min, max, above_min: false, below_max: false }
    }

    /// These bounds without the minimum itself.
    #[must_use]
    pub const fn above_min(self) -> Bounds {
        Bounds { above_min: true, ..self }
    }

    /// These bounds without the maximum itself.
    #[must_use]
    pub const fn below_max(self) -> Bounds {
        Bounds { below_max: true, ..self }
    }

    /// Whether a number is within them. NaN is not.
    #[must_use]
    pub fn contain(&self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
            && !(self.above_min && value == self.min)
            && !(self.below_max && value == self.max)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bounds { min, max, .. } = self;
        match (self.above_min, self.below_max) {
            (false, false) => write!(f, "{min} to {max}"),
            (true, false) => write!(f, "above {min} and at most {max}"),
            (false, true) => write!(f, "at least {min} and below {max}"),
            (true, true) => write!(f, "above {min} and below {max}"),
        }
    }
}

/// Why a setting cannot be followed. Displayed, it says what would be right.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SettingProblem {
    /// A number that is too small, too large, or NaN.
    OutOfRange {
        /// The number.
        value: f64,
        /// What it must be.
        bounds: Bounds,
        /// What is usual.
        usual: Option<&'static str>,
    },
    /// A side in pixels that is not a multiple of the VAE's factor, or too large.
    NotMultiple {
        /// The side.
        value: usize,
        /// What it must be a multiple of.
        of: usize,
        /// The maximum.
        max: usize,
        /// The nearest side that is right.
        nearest: usize,
    },
    /// Pixels of another size, widths before heights.
    SizeMismatch {
        /// The size that is given.
        given: [usize; 2],
        /// The size that is needed.
        expected: [usize; 2],
    },
    /// As many as there are images, or one for all, would be right.
    CountMismatch {
        /// How many are given.
        given: usize,
        /// How many images there are.
        images: usize,
    },
    /// A schedule that cannot be made.
    Schedule(ScheduleError),
    /// The model cannot do it.
    Unsupported(String),
    /// It contradicts another setting.
    Conflict(String),
    /// Anything else.
    Invalid(String),
}

impl SettingProblem {
    /// Refuses a number that is not within bounds.
    pub(crate) fn check_range(
        value: f64,
        bounds: Bounds,
        usual: Option<&'static str>,
    ) -> Result<(), SettingProblem> {
        if bounds.contain(value) { Ok(()) } else { Err(SettingProblem::OutOfRange { value, bounds, usual }) }
    }
}

impl From<String> for SettingProblem {
    fn from(reason: String) -> SettingProblem {
        SettingProblem::Invalid(reason)
    }
}

impl From<ScheduleError> for SettingProblem {
    fn from(error: ScheduleError) -> SettingProblem {
        SettingProblem::Schedule(error)
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingProblem::OutOfRange { value, bounds, usual } => {
                write!(f, "{value} is out of range; it must be {bounds}")?;
                usual.iter().try_for_each(|usual| write!(f, ", and {usual} is usual"))
            }
            SettingProblem::NotMultiple { value, of, max, nearest } => write!(
                f,
                "{value} is not a size that this model can make (a multiple of {of}, at most {max}); the nearest good one \
                 is {nearest}"
            ),
            SettingProblem::SizeMismatch { given: [width, height], expected: [w, h] } => {
                write!(f, "{width}x{height} pixels are given, and {w}x{h} are needed")
            }
            SettingProblem::CountMismatch { given, images } => {
                write!(f, "{given} are given for {images} images; give one for all or one for each")
            }
            SettingProblem::Schedule(error) => error.fmt(f),
            SettingProblem::Unsupported(reason)
            | SettingProblem::Conflict(reason)
            | SettingProblem::Invalid(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_contain_their_ends_unless_they_are_excluded() {
        let part = Bounds::new(0.0, 1.0);
        assert!(part.contain(0.0) && part.contain(1.0) && !part.contain(1.01) && !part.contain(f64::NAN));
        assert!(!part.above_min().contain(0.0) && part.above_min().contain(1.0));
        assert!(!part.below_max().contain(1.0) && part.below_max().contain(0.0));
        assert_eq!(part.to_string(), "0 to 1");
        assert_eq!(part.above_min().to_string(), "above 0 and at most 1");
        assert_eq!(part.above_min().below_max().to_string(), "above 0 and below 1");
    }

    #[test]
    fn problems_say_what_would_be_right() {
        let problem = SettingProblem::check_range(1.5, Bounds::new(0.0, 1.0), Some("0.7")).unwrap_err();
        assert_eq!(problem.to_string(), "1.5 is out of range; it must be 0 to 1, and 0.7 is usual");
        let problem = SettingProblem::check_range(f64::NAN, Bounds::new(1.0, 256.0), None).unwrap_err();
        assert_eq!(problem.to_string(), "NaN is out of range; it must be 1 to 256");
        let problem = SettingProblem::SizeMismatch { given: [4, 5], expected: [8, 8] };
        assert_eq!(problem.to_string(), "4x5 pixels are given, and 8x8 are needed");
    }
}
