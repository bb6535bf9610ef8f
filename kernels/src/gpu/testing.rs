//! The GPUs on which the tests of this crate run, and naga, which reads their shaders.

use super::template::{COOPERATIVE, SUBGROUPS};
use super::{Array, FeatureLevel, Gpu, GpuError, GpuOptions, ShaderVariant, adapters};
use crate::DType;
use crate::testing::assert_close;
use naga::Module;
use naga::back::PipelineConstants;
use naga::front::wgsl;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

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

/// The text of a variant, parsed and validated.
///
/// # Errors
/// The message of naga.
pub(super) fn parse(text: &str, variant: &ShaderVariant) -> Result<(Module, ModuleInfo), String> {
    let mut capabilities = Capabilities::default() | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if variant.dtype == DType::F16 || variant.flags.contains(&COOPERATIVE) {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if variant.flags.contains(&SUBGROUPS) {
        capabilities |= Capabilities::SUBGROUP;
    }
    if variant.flags.contains(&COOPERATIVE) {
        capabilities |= Capabilities::COOPERATIVE_MATRIX;
    }
    let mut frontend = wgsl::Frontend::new();
    frontend.set_options(wgsl::Options { capabilities, ..wgsl::Options::new() });
    let module = frontend.parse(text).map_err(|error| error.emit_to_string(text))?;
    let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
    let info = info.map_err(|error| error.emit_to_string(text))?;
    Ok((module, info))
}

/// The override constants of a variant.
pub(super) fn pipeline_constants(variant: &ShaderVariant) -> PipelineConstants {
    variant.overrides.iter().map(|(name, value)| ((*name).to_owned(), f64::from(*value))).collect()
}
