//! RES: Zhang et al., "Improved order analysis and design of exponential integrator for diffusion models sampling", 2023, the
//! multistep scheme of order 2, whose coefficients fulfil the order conditions. ComfyUI's `res_multistep`.
//!
//! With two levels those conditions leave one solution: the exact integral of the line through the last two estimates. So it is
//! DPM-Solver++(2M) with the slope integrated in place of the midpoint rule.

use super::{DpmSolver, SampleError, Sampler, SamplingRun, SlopeRule};
use crate::names::Named;
use crate::schedule::{Discretization, ScheduleKind};

/// RES, multistep. Second order, one evaluation a step, no noise added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResMultistep;

impl Named for ResMultistep {
    fn name(&self) -> &'static str {
        "res_multistep"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["res_2m"]
    }
}

impl Sampler for ResMultistep {
    fn label(&self) -> &'static str {
        "RES Multistep"
    }

    fn about(&self) -> &'static str {
        "much as DPM++ 2M; often a little better under 15 steps"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::SgmUniform
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        DpmSolver { rule: SlopeRule::Integral, lower_at_end: false, ..DpmSolver::PLUS_PLUS_2M }.solve(run)
    }
}
