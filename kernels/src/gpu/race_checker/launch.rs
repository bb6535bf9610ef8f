//! Commands that are caught as they are recorded.

use super::{Outcome, check};
use crate::DType;
use crate::gpu::template::{COOPERATIVE, SUBGROUPS, expand};
use crate::gpu::{Binding, BindingAccess, Dispatch, Gpu, GpuError, Shader, ShaderVariant};
use std::cell::RefCell;

/// A command, with all that it reads.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) shader: &'static Shader,
    pub(super) variant: ShaderVariant,
    pub(super) params: Vec<u8>,
    /// The contents of the bindings.
    pub(super) arrays: Vec<Vec<u8>>,
    pub(super) groups: [u32; 3],
    /// How far apart neighbouring invocations are in the order of the subgroups' threads.
    pub(super) spread: u32,
}

impl Launch {
    pub(super) fn text(&self) -> String {
        expand(self.shader, &self.variant)
    }
}

/// A command, and what became of it.
pub(super) struct Caught {
    pub(super) launch: Launch,
    pub(super) outcome: Outcome,
    /// The arrays after the adapter ran it, if it did.
    pub(super) after: Option<Vec<Vec<u8>>>,
}

thread_local! {
    /// The commands so far, while they are caught, and whether the adapter runs them too.
    static CAUGHT: RefCell<Option<(Vec<Caught>, bool)>> = const { RefCell::new(None) };
}

/// Checks the commands that `op` records. The adapter runs them if `compares`, as far as it has their features.
pub(super) fn catch(compares: bool, op: impl FnOnce()) -> Vec<Caught> {
    CAUGHT.set(Some((Vec::new(), compares)));
    op();
    CAUGHT.take().expect("commands are caught").0
}

/// Runs a command at once if commands are caught. Returns whether it did.
pub(in crate::gpu) fn intercept<P: bytemuck::Pod>(
    gpu: &Gpu,
    dispatch: &Dispatch<'_, P>,
) -> Result<bool, GpuError> {
    // Taken, so that the command itself is not caught when the adapter runs it.
    let Some((mut caught, compares)) = CAUGHT.take() else { return Ok(false) };
    let Dispatch { shader, variant, arrays, params, groups, .. } = dispatch;
    let launch = Launch {
        shader,
        variant: variant.clone(),
        params: bytemuck::bytes_of(params).to_vec(),
        arrays: contents(gpu, arrays)?,
        groups: *groups,
        // Only the shaders with cooperative matrices know which threads a subgroup has.
        spread: if variant.flags.contains(&SUBGROUPS) { 5 } else { 1 },
    };
    let outcome = check(&launch, &launch.text());
    let after = if compares && runs_on(gpu, variant) {
        gpu.dispatch(dispatch)?;
        Some(contents(gpu, arrays)?)
    } else {
        let written = arrays.iter().zip(&outcome.arrays).zip(shader.bindings);
        for ((binding, bytes), _) in written.filter(|(_, access)| **access == BindingAccess::Write) {
            let mut whole = gpu.read(&binding.buffer, binding.offset + binding.size)?;
            whole[binding.offset as usize..].copy_from_slice(bytes);
            gpu.write(&binding.buffer, &whole)?;
        }
        None
    };
    caught.push(Caught { launch, outcome, after });
    CAUGHT.set(Some((caught, compares)));
    Ok(true)
}

fn contents(gpu: &Gpu, arrays: &[Binding]) -> Result<Vec<Vec<u8>>, GpuError> {
    let of = |binding: &Binding| {
        let bytes = gpu.read(&binding.buffer, binding.offset + binding.size)?;
        Ok(bytes[binding.offset as usize..].to_vec())
    };
    arrays.iter().map(of).collect()
}

/// Whether an adapter has the features of a variant.
fn runs_on(gpu: &Gpu, variant: &ShaderVariant) -> bool {
    let has = |flag| variant.flags.contains(&flag);
    let size = variant.constants.iter().find(|(name, _)| *name == "SUBGROUP").map(|(_, size)| *size);
    let side = if has("SIDE_8") { 8 } else { 16 };
    let has_matrices = gpu.cooperative_matrix() == Some(side) && gpu.subgroup_size() == size;
    let needs_half = variant.dtype == DType::F16 || size.is_some();
    (gpu.has_f16() || !needs_half) && (has_matrices || !has(COOPERATIVE))
}
