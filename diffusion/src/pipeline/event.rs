//! What a pipeline tells while it works.

use crate::Error;
use std::ops::ControlFlow;

/// What a pipeline is doing, for progress bars and previews. The listener answers whether to go on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A part of the model is being read.
    Loading {
        /// "text encoder", "UNet", "VAE", "ControlNet" or "upscaler".
        component: &'static str,
        /// Bytes read so far.
        read: u64,
        /// Bytes of the part in the file.
        total: u64,
    },
    /// A stage begins once more in `f32`, after values that half precision cannot hold.
    InF32 {
        /// What was found.
        reason: &'a Error,
    },
    /// The encoding of images begins, or one was encoded.
    Encoded {
        /// Images done: from 0 to `total`.
        image: usize,
        /// Images in all.
        total: usize,
    },
    /// The sampling begins, or a step of it ended.
    Step {
        /// Steps done: from 0 to `total`.
        step: usize,
        /// Steps in all.
        total: usize,
        /// The latents so far, in the order of [`Latents::values`](super::Latents::values): clean ones plus `sigma` times noise.
        latents: &'a [f32],
        /// What they are without the noise, as it was last predicted: for previews. Empty at step 0.
        denoised: &'a [f32],
        /// The noise level that is left.
        sigma: f64,
    },
    /// A part of a converted model was written.
    Written {
        /// Bytes of tensors written so far.
        written: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The enlarging of an image begins, or a tile of it was enlarged.
    Upscaled {
        /// Tiles done: from 0 to `total`.
        tile: usize,
        /// Tiles in all.
        total: usize,
    },
    /// The decoding begins, or an image was decoded.
    Decoded {
        /// Images done: from 0 to `total`.
        image: usize,
        /// Images in all.
        total: usize,
    },
}

/// Listens to events; `ControlFlow::Break` cancels.
pub type Listener<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// Tells the listener; its wish to stop is an error.
pub(crate) fn tell(listener: &mut Listener<'_>, event: Event<'_>) -> Result<(), Error> {
    if listener(event).is_break() { Err(Error::Cancelled) } else { Ok(()) }
}
