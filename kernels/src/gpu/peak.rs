//! The measured peak performance of an adapter: of its arithmetic and of its memory.

use super::{
    Array, BindingAccess, COOPERATIVE, Dispatch, Gpu, GpuError, KernelTime, Shader, ShaderVariant, in_rows,
    prelude,
};
use crate::DType;
use bytemuck::{Pod, Zeroable};

/// Runs of each measurement; the fastest counts.
const RUNS: usize = 5;
/// Workgroups of 256 threads: enough for the largest GPUs.
const GROUPS: u32 = 2048;
/// Multiply-adds of a thread in a round.
const PER_ROUND: u64 = 8 * 4;
/// Maximum number of bytes to copy: more than fit in any cache.
const COPIED: u64 = 256 << 20;

/// The peak performance of an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Multiply-adds of `f32` in registers, in floating-point operations a second.
    pub f32_flops: f64,
    /// The same of `f16`, where the adapter has it.
    pub f16_flops: Option<f64>,
    /// Products of cooperative matrices of `f16`, where the adapter has them and its subgroups have one size.
    pub matrix_flops: Option<f64>,
    /// Bytes a second that a copy reads and writes.
    pub bytes: f64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RoundParams {
    rounds: u32,
    a: f32,
    b: f32,
    pad: u32,
}

pub(crate) static MULTIPLY_ADD: Shader = Shader {
    name: "multiply_add",
    sources: &[include_str!("multiply_add.wgsl")],
    bindings: &[BindingAccess::Write],
    params: size_of::<RoundParams>(),
    variants: || vec![ShaderVariant::new(DType::F32, 4), ShaderVariant::new(DType::F16, 4)],
};

pub(crate) static MULTIPLY_MATRICES: Shader = Shader {
    name: "multiply_matrices",
    sources: &[prelude::MATRICES, include_str!("multiply_matrices.wgsl")],
    bindings: &[BindingAccess::Write],
    params: size_of::<RoundParams>(),
    variants: || vec![matrices(8, 8), matrices(16, 32)],
};

/// The variant of [`MULTIPLY_MATRICES`] for matrices of a side and subgroups of a size.
fn matrices(side: u32, subgroup: u32) -> ShaderVariant {
    let variant = ShaderVariant::new(DType::F16, 1).flag(COOPERATIVE, true).flag("SIDE_8", side == 8);
    variant.constant("SUBGROUP", subgroup)
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct CopyParams {
    count: u32,
    pad: [u32; 3],
}

pub(crate) static STREAM: Shader = Shader {
    name: "stream",
    sources: &[prelude::ELEMENTS, include_str!("stream.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<CopyParams>(),
    variants: || vec![ShaderVariant::new(DType::F32, 4)],
};

impl Gpu {
    /// Measures the peak performance of the adapter. Takes about a tenth of a second on a GPU, some seconds on a software
    /// adapter.
    ///
    /// # Errors
    /// An adapter without timestamps, no memory, a lost GPU.
    pub fn peak(&self) -> Result<Peak, GpuError> {
        let f32_flops = self.multiply_adds(DType::F32)?;
        let f16_flops = self.has_f16().then(|| self.multiply_adds(DType::F16)).transpose()?;
        let matrix_flops = match (self.cooperative_matrix(), self.subgroup_size()) {
            (Some(side), Some(subgroup)) if self.has_f16() => Some(self.matrices(side, subgroup)?),
            _ => None,
        };
        Ok(Peak { f32_flops, f16_flops, matrix_flops, bytes: self.stream()? })
    }

    /// Operations a second of multiply-adds in registers.
    fn multiply_adds(&self, dtype: DType) -> Result<f64, GpuError> {
        let out = Array::scratch(self, dtype, GROUPS as usize * 256 * 4)?;
        self.rounds(&MULTIPLY_ADD, &ShaderVariant::new(dtype, 4), &out, 256 * PER_ROUND * 2)
    }

    /// Operations a second of products of matrices in registers.
    fn matrices(&self, side: u32, subgroup: u32) -> Result<f64, GpuError> {
        let out = Array::scratch(self, DType::F32, (GROUPS * 8 * subgroup) as usize)?;
        // Eight subgroups with four products each.
        let flops = 8 * 4 * 2 * u64::from(side).pow(3);
        self.rounds(&MULTIPLY_MATRICES, &matrices(side, subgroup), &out, flops)
    }

    /// Operations a second of a shader whose workgroups do `flops` operations each in a round.
    fn rounds(
        &self,
        shader: &'static Shader,
        variant: &ShaderVariant,
        out: &Array,
        flops: u64,
    ) -> Result<f64, GpuError> {
        let mut rounds = 16;
        loop {
            let flops = u64::from(GROUPS) * u64::from(rounds) * flops;
            let run = || {
                self.dispatch(&Dispatch {
                    shader,
                    variant: variant.clone(),
                    arrays: &[out.whole()],
                    params: RoundParams { rounds, a: 0.999, b: 0.001, pad: 0 },
                    groups: [GROUPS, 1, 1],
                    flops,
                })
            };
            let seconds = self.fastest(run)?;
            // Long enough that the start does not count, and far from what drivers reset.
            if seconds > 5e-3 || rounds >= 1 << 14 {
                return Ok(flops as f64 / seconds);
            }
            rounds *= 4;
        }
    }

    /// Bytes a second of a copy.
    fn stream(&self) -> Result<f64, GpuError> {
        let len = (COPIED.min(self.binding_limit()) / 16 * 4) as usize;
        let (x, out) = (Array::scratch(self, DType::F32, len)?, Array::scratch(self, DType::F32, len)?);
        let count = len / 4;
        let seconds = self.fastest(|| {
            self.dispatch(&Dispatch {
                shader: &STREAM,
                variant: ShaderVariant::new(DType::F32, 4),
                arrays: &[x.whole(), out.whole()],
                params: CopyParams { count: count as u32, pad: [0; 3] },
                groups: in_rows(count.div_ceil(256)),
                flops: 0,
            })
        })?;
        Ok(2.0 * 4.0 * len as f64 / seconds)
    }

    /// Seconds of the fastest of some runs, after one to warm up.
    fn fastest(&self, run: impl Fn() -> Result<(), GpuError>) -> Result<f64, GpuError> {
        run()?;
        let (result, times) = self.profile(|| (0..RUNS).try_for_each(|_| run()))?;
        result?;
        let seconds = times.iter().map(|KernelTime { seconds, .. }| *seconds);
        Ok(seconds.fold(f64::INFINITY, f64::min).max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use crate::gpu::testing::gpus;

    #[test]
    fn a_peak_is_a_positive_number() {
        for (name, gpu) in gpus() {
            let peak = gpu.peak().unwrap();
            assert!(peak.f32_flops > 1e6 && peak.f32_flops.is_finite(), "{name} {peak:?}");
            assert!(peak.bytes > 1e6 && peak.bytes.is_finite(), "{name} {peak:?}");
            assert_eq!(peak.f16_flops.is_some(), gpu.has_f16(), "{name}");
        }
    }
}
