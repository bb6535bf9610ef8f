//! DPM-Solver++(2M): Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
//! models", 2022, algorithm 2. diffusers' `DPMSolverMultistepScheduler`, k-diffusion's `sample_dpmpp_2m`.
//!
//! The formula is in [`DpmSolver`]'s file. The first step has no step before it, and the last, whose length is infinite, would
//! extrapolate too far: both take the newest estimate alone.

use super::{DpmSolver, SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};

/// DPM-Solver++(2M). Second order, one evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpmpp2m;

impl Named for Dpmpp2m {
    fn name(&self) -> &'static str {
        "dpm++2m"
    }
}

impl Sampler for Dpmpp2m {
    fn label(&self) -> &'static str {
        "DPM++ 2M"
    }

    fn about(&self) -> &'static str {
        "the default: sharp from 15 to 30 steps, one evaluation each"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Karras
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        DpmSolver::PLUS_PLUS_2M.take_steps(run)
    }
}
