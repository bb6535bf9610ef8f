//! Work on several threads: the only place that names rayon.
//!
//! Results never depend on the number of threads: a task writes its own part of the output, and no sum is split
//! between tasks.

use rayon::prelude::*;
use std::io;
use std::sync::OnceLock;
use std::thread::JoinHandle;

/// Values of work (reads or cheap operations) below which a task is not worth another thread: about 10 microseconds, ten
/// times the cost of waking a thread.
pub const GRAIN: usize = 16 * 1024;

/// Maximum number of threads. Each has a stack, and they wait for each other.
pub const MAX_THREADS: usize = 1024;

/// Size in bytes of a thread's stack. It is always given: the default is that of an environment variable, and one that is too
/// small for the kernels ends the program.
const STACK_BYTES: usize = 4 << 20;

/// Number of cores that this process may use, by its affinity and its control group; 1 if the system does not say.
#[must_use]
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Number of threads that parallel calls from here may use.
#[must_use]
pub fn threads() -> usize {
    match rayon::current_thread_index() {
        Some(_) => rayon::current_num_threads(),
        None => default_pool().map_or(1, rayon::ThreadPool::current_num_threads),
    }
}

/// Runs `f` with `n` threads (0: one for each core) for every parallel call within.
///
/// # Errors
/// One line, if there are more than [`MAX_THREADS`], or if they cannot be started.
pub fn with_threads<R: Send>(n: usize, f: impl FnOnce() -> R + Send) -> Result<R, String> {
    if n > MAX_THREADS {
        return Err(format!("{n} threads are more than {MAX_THREADS}"));
    }
    Ok(pool(if n == 0 { available() } else { n }, STACK_BYTES)?.install(f))
}

/// Starts a thread of its own for work beside the kernels.
///
/// # Errors
/// Those of the system, which may have no threads left.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work)
}

/// Does each of several pieces of work in a thread of its own, with an equal part of the threads of the caller for the parallel
/// calls within, while `meanwhile` runs in the calling thread. Returns what that gives when all are done.
///
/// # Errors
/// One line, if threads cannot be started. What was begun is waited for, and `meanwhile` is dropped without a call.
///
/// # Panics
/// If a piece of work does.
pub fn side_by_side<W: Send, R>(
    pieces: Vec<W>,
    work: impl Fn(W) + Sync,
    meanwhile: impl FnOnce() -> R,
) -> Result<R, String> {
    let each = threads().div_ceil(pieces.len().max(1));
    let pools = pieces.iter().map(|_| pool(each, STACK_BYTES)).collect::<Result<Vec<_>, _>>()?;
    let work = &work;
    std::thread::scope(move |scope| {
        for (piece, pool) in pieces.into_iter().zip(pools) {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let started = thread.spawn_scoped(scope, move || pool.install(|| work(piece)));
            started.map_err(|error| format!("cannot start a thread: {error}"))?;
        }
        Ok(meanwhile())
    })
}

/// A pool of which nothing is left to the environment.
fn pool(threads: usize, stack_bytes: usize) -> Result<rayon::ThreadPool, String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(stack_bytes).build();
    pool.map_err(|error| format!("cannot start {threads} threads: {error}"))
}

/// The pool of calls outside of [`with_threads`], in place of rayon's own, whose size an environment variable sets. Nothing
/// where it cannot be started; then the calling thread does all work.
fn default_pool() -> Option<&'static rayon::ThreadPool> {
    static DEFAULT: OnceLock<Option<rayon::ThreadPool>> = OnceLock::new();
    DEFAULT.get_or_init(|| pool(available(), STACK_BYTES).ok()).as_ref()
}

/// Runs `f` in the pool of the caller, or in the default one.
fn in_pool(f: impl FnOnce() + Send) {
    if rayon::current_thread_index().is_some() {
        f();
    } else if let Some(pool) = default_pool() {
        pool.install(f);
    } else {
        unreachable!("without a pool there is one thread");
    }
}

/// Calls `f(0)`, ..., `f(tasks - 1)`, in any order.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if tasks <= 1 || threads() == 1 {
        (0..tasks).for_each(f);
    } else {
        in_pool(|| (0..tasks).into_par_iter().with_max_len(1).for_each(f));
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
        in_pool(|| data.par_chunks_mut(len).enumerate().with_max_len(1).for_each(|(i, piece)| f(i, piece)));
    }
}

/// Gives each of several pieces to `f`, in any order.
pub fn each<T: Send>(pieces: Vec<T>, f: impl Fn(T) + Sync + Send) {
    if pieces.len() <= 1 || threads() == 1 {
        pieces.into_iter().for_each(f);
    } else {
        in_pool(|| pieces.into_par_iter().with_max_len(1).for_each(f));
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
                each(hits.iter().collect(), |hit: &AtomicUsize| {
                    hit.fetch_add(1, Ordering::Relaxed);
                });
            })
            .unwrap();
            assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 2));
        }
    }

    #[test]
    fn threads_that_cannot_be_started_are_an_error() {
        let error = pool(2, 1 << 60).unwrap_err();
        assert!(error.starts_with("cannot start 2 threads: "), "{error}");
        assert!(with_threads(MAX_THREADS + 1, || ()).unwrap_err().contains("1024"));
    }

    #[test]
    fn pieces_of_work_share_the_threads_of_the_caller() {
        let (send, receive) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel();
        // Each piece waits for something that only `meanwhile` gives, so they run at the same time as it.
        let wait = std::sync::Mutex::new(wait);
        let sum = with_threads(4, move || {
            let pieces = [1, 2].map(|piece| (piece, send.clone())).into();
            let work = |(piece, send): (usize, std::sync::mpsc::Sender<usize>)| {
                wait.lock().unwrap().recv().unwrap();
                send.send(piece * threads()).unwrap();
            };
            side_by_side(pieces, work, || {
                (0..2).for_each(|_| go.send(()).unwrap());
                receive.iter().take(2).sum::<usize>()
            })
        });
        assert_eq!(sum, Ok(Ok((1 + 2) * 2)));
    }

    #[test]
    fn calls_outside_of_a_pool_have_one_of_all_cores() {
        assert_eq!(threads(), available());
        let seen: Vec<AtomicUsize> = (0..64).map(|_| AtomicUsize::new(0)).collect();
        for_each(64, |i| {
            assert_eq!(threads(), available());
            seen[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        assert_eq!(with_threads(0, threads).unwrap(), available());
        let stack = with_threads(2, || spawn(|| 7).unwrap().join().unwrap());
        assert_eq!(stack.unwrap(), 7);
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
