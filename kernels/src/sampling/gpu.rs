//! On a GPU. Latents are `f32` there whatever the dtype of the model.

use super::assert_term_lengths;
use crate::DType;
use crate::elementwise::gpu::{THREADS, copy, pieces};
use crate::gpu::{
    Array, BindingAccess, Dispatch, GpuError, PendingRead, Shader, ShaderVariant, in_rows, prelude,
};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// Terms of one command.
const TERMS: usize = 4;
/// Values that a thread looks at, where there are many.
const VALUES_OF_THREAD: usize = 64;
/// Maximum threads, each of which leaves a word to read.
const MAX_THREADS: usize = 4096;

const _: () = assert!(MAX_THREADS.is_multiple_of(THREADS));

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct CombinationParams {
    factors: [f32; TERMS],
    count: u32,
    firsts: [u32; TERMS],
    out_first: u32,
    terms: u32,
    pad: u32,
}

pub(crate) static LINEAR_COMBINATION: Shader = Shader {
    name: "linear_combination",
    sources: &[prelude::ELEMENTS, include_str!("linear_combination.wgsl")],
    bindings: &[
        BindingAccess::Read,
        BindingAccess::Read,
        BindingAccess::Read,
        BindingAccess::Read,
        BindingAccess::Write,
    ],
    params: size_of::<CombinationParams>(),
    variants: || vec![ShaderVariant::new(DType::F32, 4)],
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SelectParams {
    count: u32,
    x_first: u32,
    mask_first: u32,
    other_first: u32,
}

pub(crate) static SELECT: Shader = Shader {
    name: "select",
    sources: &[prelude::ELEMENTS, include_str!("select.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Read, BindingAccess::Write],
    params: size_of::<SelectParams>(),
    variants: || vec![ShaderVariant::new(DType::F32, 4)],
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NotFiniteParams {
    count: u32,
    first: u32,
    threads: u32,
    pad: u32,
}

pub(crate) static NOT_FINITE: Shader = Shader {
    name: "not_finite",
    sources: &[prelude::ELEMENTS, include_str!("not_finite.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<NotFiniteParams>(),
    variants: || vec![ShaderVariant::new(DType::F32, 1)],
};

/// As [`super::linear_combination`], with factors, products and sums of `f32`.
///
/// # Errors
/// No memory, a lost GPU, a command that it refused.
///
/// # Panics
/// If there is no term, the lengths differ, or an array is not `f32`.
pub fn linear_combination(terms: &[(f64, &Array)], out: &mut Array) -> Result<(), GpuError> {
    assert_term_lengths(terms.iter().map(|(_, array)| array.len()), out.len());
    assert!(!terms.is_empty(), "a sum of nothing");
    let (first, rest) = terms.split_at(terms.len().min(TERMS));
    combine(first, out)?;
    for more in rest.chunks(TERMS - 1) {
        let mut sum = Array::scratch(out.gpu(), DType::F32, out.len())?;
        std::mem::swap(&mut sum, out);
        let terms: Vec<(f64, &Array)> = std::iter::once((1.0, &sum)).chain(more.iter().copied()).collect();
        combine(&terms, out)?;
    }
    Ok(())
}

/// Up to [`TERMS`] terms.
fn combine(terms: &[(f64, &Array)], out: &Array) -> Result<(), GpuError> {
    assert_f32(terms.iter().map(|(_, array)| *array).chain([out]));
    let gpu = out.gpu();
    for [start, here] in pieces(gpu, out.len(), DType::F32.size()) {
        // The memory is whole vectors, so the last one may be computed past the end.
        let count = here.div_ceil(4);
        let (to, out_first) = out.window(start, here);
        let mut params = CombinationParams {
            count: count as u32,
            out_first: out_first / 4,
            terms: terms.len() as u32,
            ..CombinationParams::zeroed()
        };
        let mut arrays = Vec::with_capacity(TERMS + 1);
        for i in 0..TERMS {
            // What is not a term is bound and not read.
            let (factor, array) = terms.get(i).unwrap_or(&terms[0]);
            let (from, from_first) = array.window(start, here);
            (params.factors[i], params.firsts[i]) = (*factor as f32, from_first / 4);
            arrays.push(from);
        }
        arrays.push(to);
        gpu.dispatch(&Dispatch {
            shader: &LINEAR_COMBINATION,
            variant: ShaderVariant::new(DType::F32, 4),
            arrays: &arrays,
            params,
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// As [`super::select`].
///
/// # Errors
/// As [`linear_combination`].
///
/// # Panics
/// As [`linear_combination`].
pub fn select(mask: &Array, x: &mut Array, other: &Array) -> Result<(), GpuError> {
    assert_term_lengths([mask.len(), other.len()], x.len());
    assert_f32([mask, x, other]);
    let gpu = x.gpu().clone();
    for [start, here] in pieces(&gpu, x.len(), DType::F32.size()) {
        let count = here.div_ceil(4);
        let (to, x_first) = x.window(start, here);
        let (kept, mask_first) = mask.window(start, here);
        let (from, other_first) = other.window(start, here);
        gpu.dispatch(&Dispatch {
            shader: &SELECT,
            variant: ShaderVariant::new(DType::F32, 4),
            arrays: &[kept, from, to],
            params: SelectParams {
                count: count as u32,
                x_first: x_first / 4,
                mask_first: mask_first / 4,
                other_first: other_first / 4,
            },
            groups: in_rows(count.div_ceil(THREADS)),
            flops: 0,
        })?;
    }
    Ok(())
}

/// Whether values are finite, as will be known once the GPU has got there.
#[derive(Debug)]
pub struct PendingFiniteCheck(Vec<PendingRead>);

impl PendingFiniteCheck {
    /// Waits for the commands before the check, and not for those after it; whether no value is NaN or infinite.
    ///
    /// # Errors
    /// A lost GPU, a command that it refused.
    pub fn finish(self) -> Result<bool, GpuError> {
        let mut is_finite = true;
        for read in self.0 {
            is_finite &= read.finish()?.iter().all(|byte| *byte == 0);
        }
        Ok(is_finite)
    }
}

/// Begins to look for NaN and infinities in an array. All recorded commands start.
///
/// # Errors
/// As [`linear_combination`].
///
/// # Panics
/// If the array is not `f32`.
pub fn all_finite(x: &Array) -> Result<PendingFiniteCheck, GpuError> {
    assert_f32([x]);
    let gpu = x.gpu();
    let mut reads = Vec::new();
    for [start, here] in pieces(gpu, x.len(), DType::F32.size()) {
        let threads = here.div_ceil(VALUES_OF_THREAD).next_multiple_of(THREADS).min(MAX_THREADS);
        let found = Array::scratch(gpu, DType::F32, threads)?;
        let (from, first) = x.window(start, here);
        gpu.dispatch(&Dispatch {
            shader: &NOT_FINITE,
            variant: ShaderVariant::new(DType::F32, 1),
            arrays: &[from, found.whole()],
            params: NotFiniteParams { count: here as u32, first, threads: threads as u32, pad: 0 },
            groups: in_rows(threads / THREADS),
            flops: 0,
        })?;
        reads.push(found.begin_read()?);
    }
    Ok(PendingFiniteCheck(reads))
}

/// Copies some of the rows of `x` `[rows, width]` to `out`, in that order, in the dtype of both.
///
/// # Errors
/// As [`linear_combination`].
///
/// # Panics
/// If a row does not exist, or `out` has another length or dtype.
pub fn index_select(x: &Array, width: usize, rows: &[usize], out: &mut Array) -> Result<(), GpuError> {
    assert_eq!((out.len(), out.dtype()), (rows.len() * width, x.dtype()), "{} rows", rows.len());
    for (at, run) in runs(rows) {
        copy(x, run.start * width..run.end * width, out, at * width)?;
    }
    Ok(())
}

/// Rows that follow each other, and where in the list each such run begins.
fn runs(rows: &[usize]) -> Vec<(usize, Range<usize>)> {
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        match runs.last_mut() {
            Some((_, run)) if run.end == *row => run.end += 1,
            _ => runs.push((at, *row..row + 1)),
        }
    }
    runs
}

fn assert_f32<'a>(arrays: impl IntoIterator<Item = &'a Array>) {
    for array in arrays {
        assert_eq!(array.dtype(), DType::F32, "latents are `f32`");
    }
}
