//! Tensors of constants that the original files contain besides the weights: the tables of the noise schedule
//! (`DDPM.register_schedule` in LDM; Ho et al. 2020, section 2), and what CLIP is saved with.

use super::TARGET_DTYPES;
use super::dtypes::encode;
use super::planned::{PlannedTensor, TensorOrigin};
use crate::schedule::scaled_linear_betas;
use crate::tokenizer::CONTEXT;
use latent_loader::DType;

/// Minimum variance whose logarithm is taken: that of the first step is 0.
const MIN_VARIANCE: f64 = 1e-20;

/// A table: its name, and its value for a beta, an alpha-bar and the alpha-bar before it.
type ScheduleTable = (&'static str, fn(f64, f64, f64) -> f64);
const TABLES: [ScheduleTable; 12] = [
    ("alphas_cumprod", |_, bar, _| bar),
    ("alphas_cumprod_prev", |_, _, before| before),
    ("betas", |beta, _, _| beta),
    ("log_one_minus_alphas_cumprod", |_, bar, _| (1.0 - bar).ln()),
    ("posterior_log_variance_clipped", |beta, bar, before| {
        variance(beta, bar, before).max(MIN_VARIANCE).ln()
    }),
    ("posterior_mean_coef1", |beta, bar, before| beta * before.sqrt() / (1.0 - bar)),
    ("posterior_mean_coef2", |beta, bar, before| (1.0 - before) * (1.0 - beta).sqrt() / (1.0 - bar)),
    ("posterior_variance", variance),
    ("sqrt_alphas_cumprod", |_, bar, _| bar.sqrt()),
    ("sqrt_one_minus_alphas_cumprod", |_, bar, _| (1.0 - bar).sqrt()),
    ("sqrt_recip_alphas_cumprod", |_, bar, _| (1.0 / bar).sqrt()),
    ("sqrt_recipm1_alphas_cumprod", |_, bar, _| (1.0 / bar - 1.0).sqrt()),
];

/// Variance of the noise that a step of DDPM adds (equation 7).
fn variance(beta: f64, bar: f64, before: f64) -> f64 {
    beta * (1.0 - before) / (1.0 - bar)
}

/// All tables of the schedule of Stable Diffusion.
pub(super) fn schedule() -> Vec<PlannedTensor> {
    let table = |(name, value): &ScheduleTable| {
        let mut before = 1.0;
        let values: Vec<f32> = scaled_linear_betas()
            .map(|beta| {
                let bar = before * (1.0 - beta);
                let value = value(beta, bar, before);
                before = bar;
                value as f32
            })
            .collect();
        PlannedTensor::constant(name, &[values.len()], &values)
    };
    TABLES.iter().map(table).collect()
}

/// The position ids that transformers saved with an encoder.
pub(super) fn position_ids(name: String) -> PlannedTensor {
    let data = (0..CONTEXT as i64).flat_map(i64::to_le_bytes).collect();
    PlannedTensor { name, shape: vec![1, CONTEXT], dtype: DType::I64, origin: TensorOrigin::Constant(data) }
}

/// The scale that OpenCLIP was trained with: the logarithm of 100, at which it is clamped.
pub(super) fn logit_scale(name: String, dtype: DType) -> Option<PlannedTensor> {
    let mut data = Vec::new();
    if !TARGET_DTYPES.contains(&dtype) {
        return None;
    }
    encode(dtype, &[100f32.ln()], 1, &mut data).ok()?;
    Some(PlannedTensor { name, shape: Vec::new(), dtype, origin: TensorOrigin::Constant(data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_those_of_the_original_files() {
        let tables = schedule();
        assert_eq!(tables.len(), 12);
        for table in tables {
            let expected = latent_benches::schedule::buffer(&table.name).unwrap();
            let TensorOrigin::Constant(data) = &table.origin else { panic!("{table:?}") };
            let values: Vec<f32> =
                data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            assert_eq!(values, expected, "{}", table.name);
        }
    }
}
