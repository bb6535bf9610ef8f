//! Ctrl-C.

use latent_app::AppError;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that Ctrl-C sets. The second Ctrl-C ends the program at once.
pub(crate) fn listen() -> Result<Arc<AtomicBool>, AppError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .map_err(|error| AppError::RunTime(format!("cannot listen for Ctrl-C: {error}")))?;
    Ok(interrupted)
}

/// Calls something with the first and the second Ctrl-C, and SIGTERM. The third ends the program at once.
#[cfg(feature = "server")]
pub(crate) fn listen_with(mut stop: impl FnMut() + Send + 'static) -> Result<(), AppError> {
    let mut times = 0;
    ctrlc::set_handler(move || {
        times += 1;
        if times > 2 {
            std::process::exit(130);
        }
        stop();
    })
    .map_err(|error| AppError::RunTime(format!("cannot listen for Ctrl-C: {error}")))
}

/// What a listener answers: whether to go on.
pub(crate) fn flow(interrupted: &AtomicBool) -> ControlFlow<()> {
    if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
