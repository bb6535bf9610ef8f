//! DPM-Solver++(2M) with noise, whose slope is integrated: Lu et al., "DPM-Solver++", 2022, appendix C. diffusers'
//! `DPMSolverMultistepScheduler` with `sde-dpmsolver++` and `solver_type` "heun", k-diffusion's `sample_dpmpp_2m_sde` with the same.

use super::{DpmSolver, SampleError, Sampler, SamplingRun, SlopeRule};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};

/// DPM-Solver++(2M) SDE with exact integration of the slope. Second order, one evaluation a step, noise in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpmpp2mSdeHeun;

impl Named for Dpmpp2mSdeHeun {
    fn name(&self) -> &'static str {
        "dpm++2m_sde_heun"
    }
}

impl Sampler for Dpmpp2mSdeHeun {
    fn label(&self) -> &'static str {
        "DPM++ 2M SDE Heun"
    }

    fn about(&self) -> &'static str {
        "as DPM++ 2M SDE, a little smoother"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Exponential
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        DpmSolver { stochastic: true, rule: SlopeRule::Integral, ..DpmSolver::PLUS_PLUS_2M }.take_steps(run)
    }
}
