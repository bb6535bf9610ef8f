//! Images that can be tiled: their left edge continues the right one, or their upper edge the lower one.

use super::{Pipeline, VaeTiling};
use crate::names::{self, Named, UnknownName};
use crate::{Error, Setting, SettingProblem};
use latent_tensor::Device;

/// Along which axes images can be tiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seamless {
    /// Along neither.
    #[default]
    Off,
    /// From left to right.
    X,
    /// From top to bottom.
    Y,
    /// Along both.
    Both,
}

impl Seamless {
    /// All of them.
    pub const ALL: &[Seamless] = &[Seamless::Off, Seamless::X, Seamless::Y, Seamless::Both];

    /// That of a name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known one.
    pub fn parse(name: &str) -> Result<Seamless, UnknownName> {
        names::find("axis", name, Seamless::ALL).copied()
    }

    /// Vertically, horizontally.
    fn wraps(self) -> [bool; 2] {
        [matches!(self, Seamless::Y | Seamless::Both), matches!(self, Seamless::X | Seamless::Both)]
    }
}

impl Named for Seamless {
    fn name(&self) -> &'static str {
        match self {
            Seamless::Off => "off",
            Seamless::X => "x",
            Seamless::Y => "y",
            Seamless::Both => "both",
        }
    }

    fn aliases(&self) -> &'static [&'static str] {
        match self {
            Seamless::Off => &["none", "false"],
            Seamless::Both => &["xy", "true"],
            Seamless::X | Seamless::Y => &[],
        }
    }
}

impl Pipeline {
    /// Draws images that can be tiled along these axes from now on: all convolutions of UNet, ControlNets and VAE continue an
    /// image by what is on its other side, in place of zeros (`padding_mode="circular"`). On the CPU only; the VAE then runs on
    /// whole images ([`VaeTiling::Off`]). Networks that were loaded are dropped.
    pub fn set_seamless(&mut self, seamless: Seamless) {
        if self.seamless == seamless {
            return;
        }
        self.unload();
        if let Some(refiner) = &mut self.refiner {
            refiner.pipeline.set_seamless(seamless);
        }
        self.seamless = seamless;
    }

    /// Along which axes images can be tiled.
    #[must_use]
    pub fn seamless(&self) -> Seamless {
        self.seamless
    }

    /// Vertically, horizontally.
    pub(super) fn wraps(&self) -> [bool; 2] {
        self.seamless.wraps()
    }

    /// How the VAE runs: bands have an upper and a lower edge of their own.
    pub(super) fn vae_tiling(&self) -> VaeTiling {
        if self.seamless == Seamless::Off { self.vae_tiling } else { VaeTiling::Off }
    }

    /// Refuses images that can be tiled where no kernel draws them.
    pub(super) fn check_seamless(&self) -> Result<(), Error> {
        if self.seamless == Seamless::Off || self.device == Device::Cpu {
            return Ok(());
        }
        let reason = "works on the CPU only; draw on the CPU, or set it to off".to_owned();
        Err(Error::setting(Setting::Seamless, SettingProblem::Unsupported(reason)))
    }
}
