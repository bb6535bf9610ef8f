//! Waits that leave the event loop of a browser its turns.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

static PAUSE: OnceLock<fn()> = OnceLock::new();

/// Sets what waits call again and again until they are over: a function that returns after the event loop of the
/// browser had a turn. In WebAssembly that is an import that suspends its caller (JavaScript Promise Integration).
/// The first call counts.
pub fn set_pause(pause: fn()) {
    let _ = PAUSE.set(pause);
}

fn pause() {
    let pause = PAUSE.get().expect("`set_pause` must be called before a GPU is used in a browser");
    pause();
}

/// The value of a future, once it is there.
pub(in crate::gpu) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Nobody needs to be woken: it is asked again after each turn.
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => return value,
            Poll::Pending => pause(),
        }
    }
}

/// As its native twin. A lost device ends the wait too.
pub(in crate::gpu) fn for_commands(_: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), String> {
    let done = Arc::new(OnceLock::new());
    let answer = Arc::clone(&done);
    queue.on_submitted_work_done(move || {
        let _ = answer.set(());
    });
    for_answer(&done);
    Ok(())
}

/// As its native twin; a browser knows no submission but the last.
pub(in crate::gpu) fn for_submission(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    _: wgpu::SubmissionIndex,
) -> Result<(), String> {
    for_commands(device, queue)
}

/// Waits for what a callback gives.
pub(in crate::gpu) fn for_answer<T>(answer: &OnceLock<T>) {
    while answer.get().is_none() {
        pause();
    }
}

/// As its native twin: the answer comes once the read is done, whatever was submitted since.
pub(in crate::gpu) fn for_read<T>(
    _: &wgpu::Device,
    _: wgpu::SubmissionIndex,
    answer: &OnceLock<T>,
) -> Result<(), String> {
    for_answer(answer);
    Ok(())
}
