//! Values of options as text: what a command line, an axis of a grid or the metadata of an image holds.

use crate::addons::WeightedLora;
use crate::device::{DeviceChoice, PrecisionChoice};
use crate::image_file::Resize;
use latent_diffusion::names::{self, Named};
use latent_diffusion::rng::RngKind;
use latent_diffusion::samplers::{self, Prediction, Sampler};
use latent_diffusion::schedule::{Convention, ScheduleKind};
use latent_diffusion::{Fill, Seamless};
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Maximum of a size or an offset that conditions SDXL.
const MAX_PIXELS_OF_OPTION: usize = 1 << 20;

/// Width and height in pixels. As text and in JSON: `1024x768`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelSize {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

/// A place in an image. As text and in JSON: `16,32`, from the left and from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelOffset {
    /// Pixels from the left.
    pub left: usize,
    /// Pixels from the top.
    pub top: usize,
}

/// A value that can be written as text and read back.
pub(crate) trait OptionText: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// The end of a line that begins with the option's name.
    fn from_text(text: &str) -> Result<Self, String>;

    /// The same of text that may not be UTF-8, as the names of files may not be.
    fn from_os(text: &OsStr) -> Result<Self, String> {
        Self::from_text(text.to_str().ok_or_else(|| format!("{:?} is not UTF-8", text.to_string_lossy()))?)
    }

    /// Writes a value so that [`OptionText::from_text`] gives the same one.
    fn to_text(&self) -> String;
}

/// Implements [`OptionText`] for types that `std` reads and writes.
macro_rules! std_text {
    ($($kind:ty: $article:literal),*) => { $(
        impl OptionText for $kind {
            fn from_text(text: &str) -> Result<$kind, String> {
                text.trim().parse().map_err(|_| format!("{text:?} is not {}", $article))
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

std_text! { usize: "a whole number", u64: "a whole number", u8: "a whole number up to 255", f64: "a number" }

/// Implements [`OptionText`] for types of this crate with `FromStr` and `Display`.
macro_rules! own_text {
    ($($kind:ty),*) => { $(
        impl OptionText for $kind {
            fn from_text(text: &str) -> Result<$kind, String> {
                text.parse()
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

own_text! { DeviceChoice, WeightedLora, PixelSize, PixelOffset }

/// Implements [`OptionText`] for types that have names.
macro_rules! named_text {
    ($($kind:ty),*) => { $(
        impl OptionText for $kind {
            fn from_text(text: &str) -> Result<$kind, String> {
                <$kind>::parse(text).map_err(|error| error.to_string())
            }

            fn to_text(&self) -> String {
                self.name().to_owned()
            }
        }
    )* };
}

named_text! { ScheduleKind, Convention, RngKind, Prediction, Fill, Resize, Seamless }

impl OptionText for PathBuf {
    fn from_text(text: &str) -> Result<PathBuf, String> {
        PathBuf::from_os(text.as_ref())
    }

    fn from_os(text: &OsStr) -> Result<PathBuf, String> {
        if text.is_empty() { Err("the name of the file is empty".into()) } else { Ok(text.into()) }
    }

    fn to_text(&self) -> String {
        self.to_string_lossy().into_owned()
    }
}

impl OptionText for String {
    fn from_text(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn to_text(&self) -> String {
        self.clone()
    }
}

/// `on` and `off`.
impl OptionText for bool {
    fn from_text(text: &str) -> Result<bool, String> {
        match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("give on or off".to_owned()),
        }
    }

    fn to_text(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl OptionText for PrecisionChoice {
    fn from_text(text: &str) -> Result<PrecisionChoice, String> {
        let found = PrecisionChoice::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, precision)| *precision).ok_or_else(|| "give auto, f32, f16, bf16 or int8".to_owned())
    }

    fn to_text(&self) -> String {
        let found = PrecisionChoice::ALL.iter().find(|(_, precision)| precision == self);
        found.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }
}

impl FromStr for PixelSize {
    type Err = String;

    fn from_str(text: &str) -> Result<PixelSize, String> {
        let sides = pair(text, 'x').filter(|(width, height)| *width > 0 && *height > 0);
        let size = sides.map(|(width, height)| PixelSize { width, height });
        size.ok_or_else(|| "give width and height in pixels, such as 1024x768".to_owned())
    }
}

impl FromStr for PixelOffset {
    type Err = String;

    fn from_str(text: &str) -> Result<PixelOffset, String> {
        let offset = pair(text, ',').map(|(left, top)| PixelOffset { left, top });
        offset.ok_or_else(|| "give the pixels from the left and from the top, such as 0,128".to_owned())
    }
}

impl fmt::Display for PixelSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl fmt::Display for PixelOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.left, self.top)
    }
}

/// Two numbers of pixels.
fn pair(text: &str, between: char) -> Option<(usize, usize)> {
    let (first, second) = text.split_once(between)?;
    let number = |text: &str| text.trim().parse().ok().filter(|n| *n <= MAX_PIXELS_OF_OPTION);
    Some((number(first)?, number(second)?))
}

/// A sampler, and the schedule if one was named with it, as in "DPM++ 2M Karras".
#[derive(Clone, Copy)]
pub struct SamplerChoice {
    /// The sampler.
    pub sampler: &'static dyn Sampler,
    /// The spacing of its noise levels.
    pub schedule: Option<ScheduleKind>,
}

impl SamplerChoice {
    /// The sampler of a name of this program, of the webui, ComfyUI or InvokeAI, with or without a schedule's name.
    ///
    /// # Errors
    /// One line that names the nearest known one.
    pub fn parse(name: &str) -> Result<SamplerChoice, String> {
        if let Ok((sampler, schedule)) = samplers::parse(name) {
            return Ok(SamplerChoice { sampler, schedule });
        }
        let (renamed, karras) = of_other_program(name);
        let (sampler, schedule) =
            samplers::parse(renamed).or_else(|_| samplers::parse(name)).map_err(|error| error.to_string())?;
        Ok(SamplerChoice { sampler, schedule: schedule.or(karras) })
    }
}

/// This program's name of a sampler that another program names, and the schedule that the name asks for: without `k_` before
/// it, and without what tells of devices or of Karras' schedule behind it.
fn of_other_program(name: &str) -> (&str, Option<ScheduleKind>) {
    let plain = name.trim();
    let plain = plain.strip_prefix("k_").unwrap_or(plain);
    let plain = plain.strip_suffix("_gpu").unwrap_or(plain);
    let (plain, karras) = match plain.strip_suffix("_k") {
        Some(plain) => (plain, Some(ScheduleKind::Karras)),
        None => (plain, None),
    };
    let renamed = match names::key(plain).as_str() {
        "unipcbh1" | "unipcbh2" | "unipcsnr" | "unipctu" => "unipc",
        "dpmpp2" => "dpm++2m",
        "pndm" => "plms",
        "eulerancestral" => "euler_a",
        "dpm2ancestral" => "dpm2_a",
        "dpmad" => "dpm_adaptive",
        "dpmpp2sancestral" => "dpm++2s_a",
        _ => plain,
    };
    (renamed, karras)
}

impl fmt::Debug for SamplerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SamplerChoice({})", self.to_text())
    }
}

impl PartialEq for SamplerChoice {
    fn eq(&self, other: &SamplerChoice) -> bool {
        self.sampler.name() == other.sampler.name() && self.schedule == other.schedule
    }
}

impl OptionText for SamplerChoice {
    fn from_text(text: &str) -> Result<SamplerChoice, String> {
        SamplerChoice::parse(text)
    }

    fn to_text(&self) -> String {
        match self.schedule {
            Some(schedule) => format!("{} {}", self.sampler.name(), schedule.name()),
            None => self.sampler.name().to_owned(),
        }
    }
}

/// Serde for an `Option` of a value with [`OptionText`]: a string, or null.
pub(crate) mod as_text {
    use super::OptionText;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<T: OptionText, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(OptionText::to_text).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: OptionText, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| T::from_text(&text)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        fn same<T: OptionText>(text: &str) {
            assert_eq!(T::from_text(text).ok().map(|value| value.to_text()).as_deref(), Some(text));
        }
        same::<usize>("20");
        same::<f64>("-0.25");
        same::<bool>("off");
        same::<ScheduleKind>("karras");
        same::<Convention>("diffusers");
        for sampler in samplers::ALL {
            same::<SamplerChoice>(sampler.name());
            for kind in ScheduleKind::ALL {
                let both = SamplerChoice { sampler: *sampler, schedule: Some(*kind) };
                assert_eq!(SamplerChoice::parse(&both.to_text()), Ok(both));
            }
        }
        same::<PixelSize>("1024x768");
        same::<PixelOffset>("16,32");
        same::<DeviceChoice>("gpu:2");
        same::<PrecisionChoice>("f16");
        for bad in ["", "1024", "0x5", "5x", "-1x5", "5x9999999999"] {
            assert!(PixelSize::from_text(bad).is_err(), "{bad}");
        }
        assert!(PixelOffset::from_text("1x2").is_err() && PixelOffset::from_text("-1,2").is_err());
        let karras = Some(ScheduleKind::Karras);
        for (name, want) in [
            ("DPM++ 2M Karras", ("dpm++2m", karras)),
            ("Euler a", ("euler_a", None)),
            ("k_euler", ("euler", None)),
            ("k_euler_ancestral", ("euler_a", None)),
            ("k_dpmpp_2m", ("dpm++2m", None)),
            ("dpmpp_2m_k", ("dpm++2m", karras)),
            ("dpmpp_2m_sde_gpu", ("dpm++2m_sde", None)),
            ("euler_ancestral", ("euler_a", None)),
            ("uni_pc", ("unipc", None)),
            ("uni_pc_bh2", ("unipc", None)),
            ("ddim", ("ddim", None)),
            ("k_lms", ("lms", None)),
            ("pndm", ("plms", None)),
            ("k_heun", ("heun", None)),
        ] {
            let choice = SamplerChoice::parse(name).unwrap();
            assert_eq!((choice.sampler.name(), choice.schedule), want, "{name}");
        }
        for (name, want) in [
            ("Restart", "restart"),
            ("DPM fast", "dpm_fast"),
            ("k_dpm_fast", "dpm_fast"),
            ("DPM adaptive", "dpm_adaptive"),
            ("k_dpm_ad", "dpm_adaptive"),
            ("euler_cfg_pp", "euler_cfg++"),
            ("Euler CFG++", "euler_cfg++"),
            ("euler_ancestral_cfg_pp", "euler_a_cfg++"),
            ("Euler a CFG++", "euler_a_cfg++"),
            ("heunpp2", "heun++2"),
            ("ipndm_v", "ipndm_v"),
            ("dpm++2mv2", "dpm++2mv2"),
            ("dpmpp_2m_sde_heun_gpu", "dpm++2m_sde_heun"),
            ("dpmpp_3m_sde_gpu", "dpm++3m_sde"),
            ("dpmpp_sde_gpu", "dpm++_sde"),
        ] {
            assert_eq!(SamplerChoice::parse(name).unwrap().sampler.name(), want, "{name}");
        }
        for missing in ["Restart of tomorrow", "sa_solver", "gradient_estimation"] {
            assert!(
                SamplerChoice::parse(missing).unwrap_err().contains("(known: euler, euler_a, "),
                "{missing}"
            );
        }
        assert!(usize::from_text("many").unwrap_err().contains("many"));
        assert!(SamplerChoice::parse("eulre").unwrap_err().contains("did you mean \"euler\"?"));
    }
}
