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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_errors_do_not_fall_back() {
        let mut device = Device::Cpu;
        let mut runs = 0;
        let run = |_: &Device| -> Result<(), Error> {
            runs += 1;
            Err(Error::Cancelled)
        };
        let outcome = or_on_cpu(&mut device, true, run, |_| panic!("not a fault of a GPU"));
        assert!(matches!(outcome, Err(Error::Cancelled)) && runs == 1);
    }
}
