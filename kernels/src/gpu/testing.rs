//! The GPUs on which the tests of this crate run.

use super::{Array, FeatureLevel, Gpu, GpuError, GpuOptions, adapters};
use crate::DType;
use crate::testing::assert_close;

/// Every way in which the tests open the best adapter of this machine, each with a name: with all its features, and with
/// [`FeatureLevel::Minimal`] and bindings so small that arrays are split.
///
/// Without an adapter the list is empty, which is reported on the standard error, or, if the variable
/// `LATENT_GPU_REQUIRED` is set, a failure.
pub(crate) fn gpus() -> Vec<(&'static str, Gpu)> {
    let Some(adapter) = adapters().into_iter().max_by_key(super::Adapter::rank) else {
        assert!(std::env::var_os("LATENT_GPU_REQUIRED").is_none(), "no GPU, and LATENT_GPU_REQUIRED is set");
        eprintln!("SKIPPED: no GPU; Mesa's llvmpipe is one (Debian: mesa-vulkan-drivers)");
        return Vec::new();
    };
    let minimal = GpuOptions {
        features: FeatureLevel::Minimal,
        binding_limit: Some(16 << 10),
        ..GpuOptions::default()
    };
    [("full", GpuOptions::default()), ("minimal", minimal)]
        .map(|(name, options)| (name, Gpu::open(&adapter, &options).expect("an adapter opens")))
        .into()
}

/// Runs an op on arrays of `f32` and, if the GPU has it, of `f16`, and compares the result with `want`: in `f32` within
/// `tolerance`, in `f16` within that and two roundings of the largest value.
///
/// # Panics
/// If the result differs, or the GPU fails.
pub(crate) fn check(
    gpu: &Gpu,
    inputs: &[&[f32]],
    want: &[f32],
    tolerance: f32,
    what: &str,
    op: impl Fn(&[Array]) -> Result<Array, GpuError>,
) {
    let largest = want.iter().fold(1.0f32, |largest, v| largest.max(v.abs()));
    for (dtype, tolerance) in [(DType::F32, tolerance), (DType::F16, tolerance + largest * 2e-3)] {
        if dtype == DType::F16 && !gpu.has_f16() {
            continue;
        }
        let inputs: Vec<Array> =
            inputs.iter().map(|x| Array::upload(gpu, dtype, x).expect("an upload")).collect();
        let out = op(&inputs).and_then(|out| out.read());
        let out = out.unwrap_or_else(|error| panic!("{what} {dtype}: {error}"));
        assert_close(&out, want, tolerance, &format!("{what} {dtype}"));
    }
}
