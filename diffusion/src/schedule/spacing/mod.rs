//! The spacings, a file each: the given number of noise levels, falling from the largest of the training to the smallest.

mod align_your_steps;
mod beta;
mod ddim;
mod exponential;
mod karras;
mod kl_optimal;
mod normal;
mod polyexponential;
mod sgm_uniform;
mod simple;

pub(super) use align_your_steps::{align_your_steps, align_your_steps_xl};
pub(super) use beta::beta;
pub(super) use ddim::ddim;
pub(super) use exponential::exponential;
pub(super) use karras::karras;
pub(super) use kl_optimal::kl_optimal;
pub(super) use normal::normal;
pub(super) use polyexponential::polyexponential;
pub(super) use sgm_uniform::sgm_uniform;
pub(super) use simple::simple;

/// `n` evenly spaced numbers from `first` to `last`, both included; `first` alone for n = 1.
fn ramp(first: f64, last: f64, n: usize) -> impl Iterator<Item = f64> {
    let intervals = n.saturating_sub(1).max(1) as f64;
    (0..n).map(move |i| first + (last - first) * (i as f64 / intervals))
}
