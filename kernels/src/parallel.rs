//! Work on several threads: the only place that names rayon.
//!
//! Results never depend on the number of threads: a task writes its own part of the output, and no sum is split
//! between tasks.

use rayon::prelude::*;

/// Values of work (reads or cheap operations) below which a task is not worth another thread: about 10 microseconds, ten
/// times the cost of waking a thread.
pub const GRAIN: usize = 16 * 1024;

/// Number of threads that parallel calls from here may use.
#[must_use]
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `f` with `n` threads (0: one for each core) for every parallel call within.
///
/// # Errors
/// One line, if the threads cannot be started.
pub fn with_threads<R: Send>(n: usize, f: impl FnOnce() -> R + Send) -> Result<R, String> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build()
        .map_err(|error| format!("cannot start {n} threads: {error}"))?;
    Ok(pool.install(f))
}

/// Calls `f(0)`, ..., `f(tasks - 1)`, in any order.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if tasks <= 1 || threads() == 1 {
        (0..tasks).for_each(f);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(f);
    }
}

/// Cuts `data` into pieces of `len` values (the last may be shorter) and calls `f(index, piece)` for each.
///
/// # Panics
/// If `len` is 0.
pub fn chunks_mut<T: Send>(data: &mut [T], len: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    assert!(len > 0, "chunks of 0 values");
    if data.len() <= len || threads() == 1 {
        data.chunks_mut(len).enumerate().for_each(|(i, piece)| f(i, piece));
    } else {
        data.par_chunks_mut(len).enumerate().with_max_len(1).for_each(|(i, piece)| f(i, piece));
    }
}

/// The length of a piece for [`chunks_mut`]: a multiple of `unit` near [`GRAIN`] values.
#[must_use]
pub fn grain(unit: usize) -> usize {
    GRAIN.div_ceil(unit.max(1)) * unit.max(1)
}

/// A pointer that tasks share to write disjoint parts of one output.
#[derive(Debug)]
pub(crate) struct SharedMut<T = f32>(*mut T);

impl<T> Clone for SharedMut<T> {
    fn clone(&self) -> SharedMut<T> {
        *self
    }
}

impl<T> Copy for SharedMut<T> {}

// SAFETY: a plain address of values that may be sent; each use of `get` states why the parts written are disjoint.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    pub(crate) fn new(data: &mut [T]) -> SharedMut<T> {
        SharedMut(data.as_mut_ptr())
    }
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once_with_any_number_of_threads() {
        for n in [1, 2, 5] {
            let hits: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            with_threads(n, || {
                assert_eq!(threads(), n);
                for_each(100, |i| {
                    hits[i].fetch_add(1, Ordering::Relaxed);
                });
            })
            .unwrap();
            assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn pieces_cover_the_data() {
        let mut data = vec![0; 1003];
        with_threads(3, || {
            chunks_mut(&mut data, 10, |i, piece| {
                piece.iter_mut().enumerate().for_each(|(j, v)| *v = i * 10 + j);
            });
        })
        .unwrap();
        assert!(data.iter().enumerate().all(|(i, v)| *v == i));
        assert_eq!(grain(7) % 7, 0);
    }
}
