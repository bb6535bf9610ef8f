//! Samplers: from noise to a picture by repeatedly asking the model what the picture might be.
//!
//! All work on "variance exploding" latents, x = x0 + sigma n, and see the model as a [`Denoiser`], the
//! estimate of x0 given x: D(x, sigma) in Karras et al., "Elucidating the design space of diffusion-based
//! generative models", 2022. The direction in which x changes with sigma is (x - D) / sigma. What sets
//! programs apart is mostly the choice of levels, and that is [`crate::schedule`]'s; a sampler is only the
//! rule for one step.
//!
//! Every sampler works element by element, with coefficients in f64 and latents in f32, so that a picture
//! does not depend on what else is in its batch.
//!
//! A new sampler is a file with an implementation of [`Sampler`] and a line in [`ALL`].

mod ddim;
mod dpmpp_2m;
mod euler;
mod euler_a;
mod prediction;
mod run;

pub use ddim::Ddim;
pub use dpmpp_2m::Dpmpp2m;
pub use euler::Euler;
pub use euler_a::EulerA;
pub use prediction::Prediction;
pub use run::{Denoiser, Run, SampleError, Step};

use crate::names::{self, Named, UnknownName};
use crate::schedule::{Form, Grid, Kind};

/// A rule for getting from one noise level to the next.
pub trait Sampler: Named + Sync {
    /// The name that the web UI shows.
    fn label(&self) -> &'static str;

    /// How the scheduler class of this name in diffusers lays out its time steps.
    fn grid(&self) -> Grid;

    /// The form of schedule that people who know this sampler by name expect.
    fn default_form(&self) -> Form {
        Form::KDiffusion
    }

    /// Walks `run.x` down the whole schedule. Afterwards it holds latents as the VAE wants them.
    ///
    /// # Errors
    /// [`SampleError::Cancelled`] as soon as `run.on_step` asks for it, otherwise what went wrong with the
    /// model.
    fn sample(&self, run: &mut Run<'_>) -> Result<(), SampleError>;
}

/// All samplers.
pub static ALL: &[&dyn Sampler] = &[
    &Euler, //
    &EulerA, &Dpmpp2m, &Ddim,
];

/// The sampler of that name, and the schedule if one is named with it, as in `DPM++ 2M Karras`.
///
/// # Errors
/// [`UnknownName`], with the nearest known one.
pub fn parse(name: &str) -> Result<(&'static dyn Sampler, Option<Kind>), UnknownName> {
    let all = || ALL.iter().copied();
    let unknown = match names::find("sampler", name, all()) {
        Ok(sampler) => return Ok((sampler, None)),
        Err(unknown) => unknown,
    };
    let whole = names::key(name);
    for kind in Kind::ALL {
        if let Some(rest) = whole.strip_suffix(kind.name()).filter(|rest| !rest.is_empty()) {
            return match names::find("sampler", rest, all()) {
                Ok(sampler) => Ok((sampler, Some(*kind))),
                Err(without_kind) => Err(UnknownName { given: name.to_owned(), ..without_kind }),
            };
        }
    }
    Err(unknown)
}

#[cfg(test)]
mod tests;
