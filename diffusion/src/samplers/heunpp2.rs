//! Heun++, of the extension `sd-webui-samplers-scheduler` of the webui. ComfyUI's `heunpp2`.
//!
//! As Heun's method with a third slope, one level further on. The slopes count by their levels, as parts of the first level of
//! the run: late slopes nearly not at all. The step before the last has two slopes, the last one slope.

use super::run::sum;
use super::{SampleError, Sampler, SamplingRun};
use crate::names::Named;
use crate::schedule::Discretization;

/// Heun++. Three evaluations a step; noise only if it is churned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeunPp2;

impl Named for HeunPp2 {
    fn name(&self) -> &'static str {
        "heun++2"
    }
}

impl Sampler for HeunPp2 {
    fn label(&self) -> &'static str {
        "Heun++ 2"
    }

    fn about(&self) -> &'static str {
        "Heun with a third slope, three evaluations a step"
    }

    fn discretization(&self) -> Discretization {
        Discretization::Euler
    }

    fn evaluations(&self) -> usize {
        3
    }

    fn take_steps(&self, run: &mut SamplingRun<'_>) -> Result<(), SampleError> {
        let first = run.schedule.levels()[0].sigma;
        for i in 0..run.schedule.steps() {
            let (denoised, from) = run.denoise_churned(i)?;
            let end = run.end(i);
            let Some(&later) = run.schedule.targets().get(i + 1).filter(|_| end.sigma > 0.0) else {
                run.blend(end.sigma / from, 1.0 - end.sigma / from, &denoised)?;
                run.end_step(i, &denoised)?;
                continue;
            };
            let (to, x) = (end.sigma, run.x.clone());
            let slope = sum(&[(from.recip(), &x), (-from.recip(), &denoised)])?;
            let there = sum(&[(1.0, &x), (to - from, &slope)])?;
            let second = run.model.denoise(&there, end)?;
            let second = sum(&[(to.recip(), &there), (-to.recip(), &second)])?;
            if later > 0.0 {
                let level = run.end(i + 1);
                let beyond = sum(&[(1.0, &there), (later - to, &second)])?;
                let third = run.model.denoise(&beyond, level)?;
                let third = sum(&[(later.recip(), &beyond), (-later.recip(), &third)])?;
                let [w2, w3] = [to, later].map(|sigma| sigma / (3.0 * first));
                let w1 = 1.0 - w2 - w3;
                let length = to - from;
                run.advance(1.0, &[(length * w1, &slope), (length * w2, &second), (length * w3, &third)])?;
            } else {
                let w2 = to / (2.0 * first);
                run.advance(1.0, &[((to - from) * (1.0 - w2), &slope), ((to - from) * w2, &second)])?;
            }
            run.end_step(i, &denoised)?;
        }
        Ok(())
    }
}
