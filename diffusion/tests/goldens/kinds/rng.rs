//! Random numbers: tensors are named after how they were drawn.
//!
//! `torch_cpu_N`: the first `randn(N)`; `torch_cpu_seqI_N`: call number I of one generator; `torch_cpu_rand_N`:
//! uniform numbers; `torch_cpu_double_N`: double precision, rounded; `philox_callK_N`: call number K.

use latent_diffusion::rng::{Noise, Philox, TorchCpu};

use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    let Some(seed) = case.json["seed"].as_u64() else {
        return Outcome::Failed("the case has no seed".to_owned());
    };
    let mut comparison = Comparison::new(case, context);
    let mut sequence = TorchCpu::new(seed);
    // Sorted names: the calls of the sequence come in their order.
    for (name, shape) in &case.tensors {
        let mut out = vec![0.0; shape.iter().product()];
        if let Some(call) = name.strip_prefix("philox_call") {
            let mut generator = Philox::new(seed);
            let before = call.split('_').next().and_then(|k| k.parse().ok()).unwrap_or(0);
            (0..=before).for_each(|_| generator.normal(&mut out));
        } else if name.starts_with("torch_cpu_seq") {
            sequence.normal(&mut out);
        } else if name.starts_with("torch_cpu_rand_") {
            TorchCpu::new(seed).uniform(&mut out);
        } else if name.starts_with("torch_cpu_double_") {
            let mut exact = vec![0.0; out.len()];
            TorchCpu::new(seed).normal_f64(&mut exact);
            out.iter_mut().zip(exact).for_each(|(v, x)| *v = x as f32);
        } else if name.starts_with("torch_cpu_") {
            TorchCpu::new(seed).normal(&mut out);
        } else {
            comparison.problem(format!("{name}: no way of drawing is called that"));
            continue;
        }
        comparison.tensor(name, &out);
    }
    comparison.finish()
}
