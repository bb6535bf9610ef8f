//! Ops on small shapes, whose commands are checked.
//!
//! Shapes are chosen so that every shader runs with every set of flags, with tails in each dimension, and with several
//! workgroups; on a GPU with small bindings, arrays are split too.

mod attentions;
mod elements;
mod norms;
mod products;

use crate::DType;
use crate::gpu::{Array, Gpu};
use crate::testing::random;

/// Some ops.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) run: fn(&Gpu),
    /// Whether the adapter runs them too: a software adapter compiles large shaders for seconds.
    pub(super) is_compared: bool,
}

/// Ops that the adapter runs too.
const fn compared(name: &'static str, run: fn(&Gpu)) -> Case {
    Case { name, run, is_compared: true }
}

/// Ops that only the interpreter runs.
const fn interpreted(name: &'static str, run: fn(&Gpu)) -> Case {
    Case { name, run, is_compared: false }
}

/// All of them.
pub(super) const CASES: [&[Case]; 4] = [attentions::CASES, elements::CASES, norms::CASES, products::CASES];

/// The dtypes of activations.
const BOTH: [DType; 2] = [DType::F32, DType::F16];

/// An array of random values.
fn array(gpu: &Gpu, dtype: DType, seed: u64, len: usize) -> Array {
    Array::upload(gpu, dtype, &random(seed, len)).unwrap()
}

/// An array of zeros.
fn zeros(gpu: &Gpu, dtype: DType, len: usize) -> Array {
    Array::upload(gpu, dtype, &vec![0.0; len]).unwrap()
}
