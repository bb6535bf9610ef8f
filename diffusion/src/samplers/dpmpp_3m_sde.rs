//! DPM-Solver++(3M) with noise: the third order of Lu et al., "DPM-Solver++", 2022, appendix B, with the noise of appendix C.
//! k-diffusion's `sample_dpmpp_3m_sde`.

use super::{DpmSolver, SampleError, Sampler, SamplingRun, SlopeRule};
use crate::names::Named;
use crate::schedule::{Discretization, NoiseModel, ScheduleKind};

/// DPM-Solver++(3M) SDE. Third order, one evaluation a step, noise in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpmpp3mSde;

impl Named for Dpmpp3mSde {
    fn name(&self) -> &'static str {
        "dpm++3m_sde"
    }
}

impl Sampler for Dpmpp3mSde {
    fn label(&self) -> &'static str {
        "DPM++ 3M SDE"
    }

    fn about(&self) -> &'static str {
        "as DPM++ 2M SDE, for 30 steps and more"
    }

    fn discretization(&self) -> Discretization {
        Discretization::DpmSolver
    }

    fn default_kind(&self) -> ScheduleKind {
        ScheduleKind::Exponential
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        // k-diffusion integrates the slope in the second step, too; images of Stable Diffusion keep the rule that they had.
        let is_flow = matches!(run.schedule.noise_model(), NoiseModel::FlowMatching(_));
        let rule = if is_flow { SlopeRule::Integral } else { SlopeRule::Midpoint };
        DpmSolver { order: 3, rule, stochastic: true, lower_at_end: false, ..DpmSolver::PLUS_PLUS_2M }
            .take_steps(run)
    }
}
