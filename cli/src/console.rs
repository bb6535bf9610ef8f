//! What the program writes to its standard output and its standard error: the only place that does.
//!
//! Either may be full, or a pipe whose reader left, which is never a reason to panic or to lose an image. What is lost of the
//! standard output makes the exit status 1. A reader that stops early (`| head`) has what it wanted. What is lost of the
//! standard error is a hint, or a message whose status says the same.
//!
//! A stream that is closed when the program starts is the null device: Rust opens it in its place.

use latent_app::AppError;
use std::fmt::Display;
use std::io::{BufWriter, ErrorKind, StdoutLock, Write, stderr, stdout};
use std::sync::OnceLock;

/// The first error of the standard output that was passed over.
static LOST: OnceLock<String> = OnceLock::new();

/// Writes a line to the standard error: a hint, a warning, an error.
pub(crate) fn hint(line: impl Display) {
    // As one piece, so that lines of several threads do not mix.
    let _ = stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Writes to the standard output.
pub(crate) fn print(text: &str) -> Result<(), AppError> {
    let mut out = stdout().lock();
    checked(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes to the standard output piece by piece.
pub(crate) fn print_with(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> std::io::Result<()>,
) -> Result<(), AppError> {
    let mut out = BufWriter::new(stdout().lock());
    checked(write(&mut out).and_then(|()| out.flush()))
}

/// Writes to the standard output in the middle of work that goes on if that fails; [`check`] then says so at the end.
pub(crate) fn print_on_the_way(text: &str) {
    if let Err(AppError::RunTime(line)) = print(text) {
        let _ = LOST.set(line);
    }
}

/// Prints what clap has to say: help and version to the standard output, the rest to the standard error.
pub(crate) fn print_clap(message: &clap::Error) -> Result<(), AppError> {
    let printed = message.print();
    if message.use_stderr() {
        return Ok(());
    }
    checked(printed.and_then(|()| stdout().flush()))
}

/// Whether all that was printed was written.
pub(crate) fn check() -> Result<(), AppError> {
    LOST.get().map_or(Ok(()), |line| Err(AppError::RunTime(line.clone())))
}

fn checked(written: std::io::Result<()>) -> Result<(), AppError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(AppError::RunTime(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
