//! Time and operations of a forward pass, by kind of op.
//!
//! While [`record`] runs a function, every op that the function calls adds its time and its operations to the account
//! of its [`OpClass`]. At all other times an op only reads one flag of its thread.
//!
//! Operations are those of the *direct* algorithm, two for each multiply-add of a convolution, a linear layer or the two
//! products of attention, even if a kernel uses another: an algorithm that needs fewer operations is faster, not less
//! work. Norms and elementwise ops count as no operations.
//!
//! ```
//! use latent_tensor::profile::{self, OpClass};
//! use latent_tensor::{DType, Linear, Tensor, WeightBytes, ops};
//!
//! let layer = Linear::new(WeightBytes::new(DType::F32, &[0; 4 * 3 * 2]), [3, 2], None)?;
//! let x = Tensor::zeros(&[5, 2])?;
//! let (y, profile) = profile::record(|| ops::linear(&x, &layer));
//! assert_eq!(y?.dims(), [5, 3]);
//! assert_eq!(profile.work(OpClass::Linear).flops, 2 * 5 * 3 * 2);
//! # Ok::<(), latent_tensor::TensorError>(())
//! ```

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// A kind of op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpClass {
    /// Convolutions; those of 1x1 are linear layers.
    Conv,
    /// Linear layers.
    Linear,
    /// Attention.
    Attention,
    /// Group norm and layer norm.
    Norm,
    /// Activations, softmax, sums, joins, resizes and tables.
    Elementwise,
}

impl OpClass {
    /// Every class.
    pub const ALL: [OpClass; 5] =
        [OpClass::Conv, OpClass::Linear, OpClass::Attention, OpClass::Norm, OpClass::Elementwise];
}

/// The time and the operations of the ops of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpWork {
    /// Time in the ops.
    pub time: Duration,
    /// Floating-point operations of the direct algorithm.
    pub flops: u64,
}

/// The account of a [`record`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    work: [OpWork; OpClass::ALL.len()],
}

impl Profile {
    /// The time and the operations of the ops of a class.
    #[must_use]
    pub fn work(&self, class: OpClass) -> OpWork {
        self.work[class as usize]
    }

    /// The time and the operations of all ops.
    #[must_use]
    pub fn total(&self) -> OpWork {
        let add =
            |sum: OpWork, work: &OpWork| OpWork { time: sum.time + work.time, flops: sum.flops + work.flops };
        self.work.iter().fold(OpWork::default(), add)
    }
}

thread_local! {
    /// The account of the innermost [`record`] on this thread, if there is one.
    static CURRENT: RefCell<Option<Profile>> = const { RefCell::new(None) };
}

/// Runs `f` and accounts for the ops that it calls on this thread. Ops inside a nested `record` count only there.
pub fn record<R>(f: impl FnOnce() -> R) -> (R, Profile) {
    let outer = CURRENT.replace(Some(Profile::default()));
    let result = f();
    (result, CURRENT.replace(outer).unwrap_or_default())
}

/// Accounts for an op until it is dropped. It is made just before the kernel is called; an op that calls other ops
/// needs none.
#[must_use]
pub(crate) struct Timer {
    class: OpClass,
    flops: u64,
    /// `None` while nothing is recorded.
    start: Option<Instant>,
}

/// Starts the account of an op.
pub(crate) fn timer(class: OpClass) -> Timer {
    let start = CURRENT.with_borrow(Option::is_some).then(Instant::now);
    Timer { class, flops: 0, start }
}

impl Timer {
    /// Sets the work of the op: a number of values, and the multiply-adds of each.
    pub(crate) fn multiply_adds(mut self, values: usize, each: usize) -> Timer {
        self.flops = 2 * values as u64 * each as u64;
        self
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(start) = self.start else { return };
        CURRENT.with_borrow_mut(|current| {
            if let Some(profile) = current {
                let work = &mut profile.work[self.class as usize];
                work.time += start.elapsed();
                work.flops += self.flops;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv2d, DType, GroupNorm, LayerNorm, Linear, Padding, Tensor, WeightBytes, ops};

    fn zeros(dims: &[usize]) -> Tensor {
        Tensor::zeros(dims).unwrap()
    }

    #[track_caller]
    fn counts(class: OpClass, flops: u64, op: impl FnOnce() -> Tensor) {
        let (_, profile) = record(op);
        for other in OpClass::ALL {
            let work = profile.work(other);
            assert_eq!(work.flops, if other == class { flops } else { 0 }, "{other:?}");
            assert!(work.time == Duration::ZERO || other == class, "{other:?}");
        }
        assert_eq!(profile.total(), profile.work(class));
    }

    #[test]
    fn each_op_counts_the_work_of_the_direct_algorithm() {
        let bytes = [0; 4 * 7 * 5 * 9];
        let weight = |values: usize| WeightBytes::new(DType::F32, &bytes[..4 * values]);
        for (stride, padding, pixels) in [(1, 1, 6 * 4), (2, 1, 3 * 2), (1, 0, 4 * 2)] {
            let conv =
                Conv2d::new(weight(7 * 5 * 9), [7, 5, 3], stride, Padding::all(padding), None).unwrap();
            let flops = 2 * 2 * pixels * 7 * 5 * 9;
            counts(OpClass::Conv, flops, || ops::conv2d(&zeros(&[2, 6, 4, 5]), &conv).unwrap());
        }
        let linear = Linear::new(weight(7 * 5), [7, 5], None).unwrap();
        counts(OpClass::Linear, 2 * 12 * 7 * 5, || ops::linear(&zeros(&[3, 4, 5]), &linear).unwrap());
        let (q, k) = (zeros(&[2, 3, 8]), zeros(&[2, 7, 8]));
        // q k and p v, for two images, each of two heads of width 4.
        let flops = 2 * (2 * 2 * 3 * 7 * 4) * 2;
        counts(OpClass::Attention, flops, || ops::attention(&q, &k, &k, 2, false).unwrap());
        let norm = GroupNorm::new(vec![1.0; 4], vec![0.0; 4], 2, 1e-5).unwrap();
        counts(OpClass::Norm, 0, || ops::group_norm(&zeros(&[1, 2, 2, 4]), &norm).unwrap());
        let norm = LayerNorm::new(vec![1.0; 4], vec![0.0; 4], 1e-5).unwrap();
        counts(OpClass::Norm, 0, || ops::layer_norm(&zeros(&[2, 4]), &norm).unwrap());
        counts(OpClass::Elementwise, 0, || ops::add(q.clone(), &q).unwrap());
        counts(OpClass::Elementwise, 0, || ops::silu(zeros(&[1000])).unwrap());
    }

    #[test]
    fn records_add_up_and_do_not_see_each_other() {
        let linear = Linear::new(WeightBytes::new(DType::F32, &[0; 4 * 6]), [3, 2], None).unwrap();
        let x = zeros(&[1, 2]);
        let ((_, inner), outer) = record(|| {
            ops::linear(&x, &linear).unwrap();
            ops::linear(&x, &linear).unwrap();
            record(|| ops::linear(&x, &linear).unwrap())
        });
        assert_eq!((inner.total().flops, outer.total().flops), (12, 24));
        ops::linear(&x, &linear).unwrap();
        assert_eq!(record(|| ()).1, Profile::default());
    }
}
