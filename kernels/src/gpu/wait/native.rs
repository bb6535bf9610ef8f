//! Waits that let the thread sleep.

pub(in crate::gpu) use pollster::block_on;
use std::sync::OnceLock;

/// Waits until all submitted commands have run and their callbacks were called; an error says in words why that cannot be.
pub(in crate::gpu) fn for_commands(device: &wgpu::Device, _: &wgpu::Queue) -> Result<(), String> {
    device.poll(wgpu::PollType::wait_indefinitely()).map(drop).map_err(|error| error.to_string())
}

/// The same for a submission and those before it.
pub(in crate::gpu) fn for_submission(
    device: &wgpu::Device,
    _: &wgpu::Queue,
    submission: wgpu::SubmissionIndex,
) -> Result<(), String> {
    poll_until(device, submission)
}

fn poll_until(device: &wgpu::Device, submission: wgpu::SubmissionIndex) -> Result<(), String> {
    let until = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
    device.poll(until).map(drop).map_err(|error| error.to_string())
}

/// Waits for what a callback gives; [`for_commands`] has waited for it.
pub(in crate::gpu) fn for_answer<T>(_: &OnceLock<T>) {}

/// Waits for what the callback of a read gives, which was submitted so.
pub(in crate::gpu) fn for_read<T>(
    device: &wgpu::Device,
    submission: wgpu::SubmissionIndex,
    _: &OnceLock<T>,
) -> Result<(), String> {
    poll_until(device, submission)
}
