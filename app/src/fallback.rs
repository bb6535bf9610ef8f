//! Going on on the CPU after a fault of a GPU.

use latent_diffusion::Error;
use latent_diffusion::tensor::Device;

/// Runs something on a device, and once more on the CPU if the device is a GPU that failed and `may_fall_back`.
/// `device` is the CPU from then on, and `on_fault` is given the error before the second run.
///
/// # Errors
/// Those of `run`.
pub fn or_on_cpu<R>(
    device: &mut Device,
    may_fall_back: bool,
    mut run: impl FnMut(&Device) -> Result<R, Error>,
    on_fault: impl FnOnce(&Error),
) -> Result<R, Error> {
    match run(device) {
        Err(error) if may_fall_back && error.is_gpu_fault() => {
            on_fault(&error);
            *device = Device::Cpu;
            run(device)
        }
        outcome => outcome,
    }
}
