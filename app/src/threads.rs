//! The threads that work is done with.

pub use latent_kernels::parallel::spawn;

use crate::AppError;
use latent_kernels::parallel::{self, MAX_THREADS};

/// What to say about more threads than cores, which [`in_threads`] does not start.
///
/// ```
/// use latent_app::threads::excess;
/// assert_eq!(excess(Some(1)), None);
/// assert!(excess(Some(1024)).unwrap().starts_with("threads: 1024 asked for, "));
/// ```
#[must_use]
pub fn excess(threads: Option<usize>) -> Option<String> {
    let cores = parallel::available();
    let asked = threads.filter(|asked| (cores + 1..=MAX_THREADS).contains(asked))?;
    Some(format!("threads: {asked} asked for, {cores} used: this machine has so many cores"))
}

/// Does work with so many threads, but at most one for each core: more would only wait for each other. One for each core
/// if no number is given.
///
/// # Errors
/// Bad input: a number of threads out of range, an environment variable of the kernels (`LATENT_ISA`, `LATENT_CONV`) that
/// cannot be followed. A run-time failure, if the threads cannot be started. Otherwise what the work returns.
pub fn in_threads<R: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<R, AppError> + Send,
) -> Result<R, AppError> {
    check_environment()?;
    let threads = match threads {
        Some(n) if n == 0 || n > MAX_THREADS => {
            return Err(AppError::BadInput(format!("threads: {n} is not in 1 to {MAX_THREADS}")));
        }
        threads => threads.map_or(0, |asked| asked.min(parallel::available())),
    };
    parallel::with_threads(threads, work).map_err(AppError::RunTime)?
}

/// The name of the instruction set that the kernels use.
#[must_use]
pub fn isa() -> &'static str {
    latent_kernels::Isa::best().name()
}

/// Checks the environment variables of the kernels.
fn check_environment() -> Result<(), AppError> {
    let isa = latent_kernels::Isa::from_environment().map(drop);
    let conv = latent_kernels::conv2d::Algorithm::from_environment().map(drop);
    isa.and(conv).map_err(AppError::BadInput)
}
