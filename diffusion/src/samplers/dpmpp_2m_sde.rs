//! DPM-Solver++(2M) with noise: Lu et al., "DPM-Solver++", 2022, appendix C, "SDE-DPM-Solver++(2M)". diffusers'
//! `DPMSolverMultistepScheduler` with `sde-dpmsolver++`, k-diffusion's `sample_dpmpp_2m_sde`.
//!
//! Each step draws fresh noise. k-diffusion takes it from a Brownian path, whose increments between the levels of one run are
//! just as independent; they differ in that its noise stays the same path when the number of steps changes.

use super::{DpmSolver, SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};

/// DPM-Solver++(2M) SDE. Second order, one evaluation a step, noise in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpmpp2mSde;

impl Named for Dpmpp2mSde {
    fn name(&self) -> &'static str {
        "dpm++2m_sde"
    }
}

impl Sampler for Dpmpp2mSde {
    fn label(&self) -> &'static str {
        "DPM++ 2M SDE"
    }

    fn about(&self) -> &'static str {
        "rich detail from 20 to 40 steps; images change with the number of steps"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Exponential
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        DpmSolver { stochastic: true, ..DpmSolver::PLUS_PLUS_2M }.take_steps(run)
    }
}
