//! The threads that work is done with.

use crate::AppError;

/// Maximum number of threads.
const MAX_THREADS: usize = 1024;

/// Does work with so many threads, or with one for each core.
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
        threads => threads.unwrap_or(0),
    };
    latent_kernels::parallel::with_threads(threads, work).map_err(AppError::RunTime)?
}

/// Checks the environment variables of the kernels.
fn check_environment() -> Result<(), AppError> {
    let isa = latent_kernels::Isa::from_environment().map(drop);
    let conv = latent_kernels::conv2d::Algorithm::from_environment().map(drop);
    isa.and(conv).map_err(AppError::BadInput)
}
