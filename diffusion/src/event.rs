//! What a run reports while it works.

use crate::Error;
use crate::stage::{LoadedNetwork, Stage};
use latent_tensor::Tensor;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a run is doing, for progress bars and previews. The listener answers whether to go on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The weights of a network are being read.
    Loading {
        /// The network.
        component: LoadedNetwork,
        /// Bytes read so far.
        read: u64,
        /// Bytes of the network in the file.
        total: u64,
    },
    /// A stage begins once more in `f32`, after values that half precision cannot hold.
    InF32 {
        /// What was found.
        reason: &'a Error,
    },
    /// A stage begins once more on the fallback device of a plan ([`RunPlan::fallback`](crate::RunPlan::fallback)).
    OnFallback {
        /// What happened to the GPU.
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
        /// The noisy latents so far, `[images, height, width, channels]` on the device that draws. Who reads them
        /// ([`Latents::from_channels_last`](crate::Latents::from_channels_last)) waits for a GPU.
        latents: &'a Tensor,
        /// What they are without the noise, as it was last predicted: for previews. `None` at step 0.
        denoised: Option<&'a Tensor>,
        /// The noise level that is left.
        sigma: f64,
    },
    /// A block of a network is done, within a step or an image: a layer of a text encoder, a block of the UNet or of a
    /// ControlNet, a residual block of a VAE or a band of one. On a GPU: its commands are recorded.
    Block {
        /// The stage that the network works for.
        stage: Stage,
        /// Blocks done, from 1 to `total`.
        block: usize,
        /// Blocks of this evaluation, for all prompts that guidance compares. A sampler of second order evaluates twice a
        /// step.
        total: usize,
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

/// An [`Event`] that can be kept and sent to another thread.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OwnedEvent {
    /// As [`Event::Loading`].
    Loading {
        /// The network.
        component: LoadedNetwork,
        /// Bytes read so far.
        read: u64,
        /// Bytes of the network in the file.
        total: u64,
    },
    /// As [`Event::InF32`].
    InF32 {
        /// What was found.
        reason: String,
    },
    /// As [`Event::OnFallback`].
    OnFallback {
        /// What happened to the GPU.
        reason: String,
    },
    /// As [`Event::Encoded`].
    Encoded {
        /// Images done: from 0 to `total`.
        image: usize,
        /// Images in all.
        total: usize,
    },
    /// As [`Event::Step`].
    Step {
        /// Steps done: from 0 to `total`.
        step: usize,
        /// Steps in all.
        total: usize,
        /// As in [`Event::Step`].
        latents: Tensor,
        /// As in [`Event::Step`].
        denoised: Option<Tensor>,
        /// The noise level that is left.
        sigma: f64,
    },
    /// As [`Event::Block`].
    Block {
        /// The stage that the network works for.
        stage: Stage,
        /// Blocks done, from 1 to `total`.
        block: usize,
        /// Blocks of this evaluation.
        total: usize,
    },
    /// As [`Event::Written`].
    Written {
        /// Bytes of tensors written so far.
        written: u64,
        /// Bytes in all.
        total: u64,
    },
    /// As [`Event::Upscaled`].
    Upscaled {
        /// Tiles done: from 0 to `total`.
        tile: usize,
        /// Tiles in all.
        total: usize,
    },
    /// As [`Event::Decoded`].
    Decoded {
        /// Images done: from 0 to `total`.
        image: usize,
        /// Images in all.
        total: usize,
    },
}

impl Event<'_> {
    /// The same event with latents and texts of its own.
    #[must_use]
    pub fn into_owned(self) -> OwnedEvent {
        match self {
            Event::Loading { component, read, total } => OwnedEvent::Loading { component, read, total },
            Event::InF32 { reason } => OwnedEvent::InF32 { reason: reason.to_string() },
            Event::OnFallback { reason } => OwnedEvent::OnFallback { reason: reason.to_string() },
            Event::Encoded { image, total } => OwnedEvent::Encoded { image, total },
            Event::Step { step, total, latents, denoised, sigma } => {
                OwnedEvent::Step { step, total, latents: latents.clone(), denoised: denoised.cloned(), sigma }
            }
            Event::Block { stage, block, total } => OwnedEvent::Block { stage, block, total },
            Event::Written { written, total } => OwnedEvent::Written { written, total },
            Event::Upscaled { tile, total } => OwnedEvent::Upscaled { tile, total },
            Event::Decoded { image, total } => OwnedEvent::Decoded { image, total },
        }
    }
}

/// Listens to events; `ControlFlow::Break` cancels.
pub type Listener<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// Passes an event to the listener; its wish to stop is an error.
pub(crate) fn notify(listener: &mut Listener<'_>, event: Event<'_>) -> Result<(), Error> {
    if listener(event).is_break() { Err(Error::Cancelled) } else { Ok(()) }
}

/// Cancels a run from anywhere: copies share one flag and can be sent to other threads.
///
/// ```
/// use latent_diffusion::CancelHandle;
/// let cancel = CancelHandle::new();
/// let other = cancel.clone();
/// // A listener that stops when it is asked to:
/// let mut listener = |_: latent_diffusion::Event<'_>| other.flow();
/// cancel.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    cancelled: Arc<AtomicBool>,
}

impl CancelHandle {
    /// A handle that has not been used yet.
    #[must_use]
    pub fn new() -> CancelHandle {
        CancelHandle::default()
    }

    /// Stops the run at its next event; it then ends with [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`CancelHandle::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// What a [`Listener`] is to answer.
    pub fn flow(&self) -> ControlFlow<()> {
        if self.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
