//! Weights that there is no room for: they are read block by block whenever they compute.

use super::Pipeline;
use crate::{Error, Listener};
use latent_loader::Weights;
use latent_tensor::Device;

impl Pipeline {
    /// Whether the blocks of a network are read when it is their turn: where that was asked for, or where all of them are more than
    /// a device may hold. What they work on needs room too; where that is lacking, the stage begins anew
    /// ([`Pipeline::retry_streaming`]).
    pub(super) fn streams(&self, weights: &Weights, device: &Device) -> bool {
        self.streams_weights || device.memory_limit().is_some_and(|limit| weights.total_bytes() > limit)
    }

    /// Whether blocks of networks are read when it is their turn, wherever that is possible
    /// ([`Pipeline::with_streamed_weights`]).
    #[must_use]
    pub fn streams_weights(&self) -> bool {
        self.streams_weights
    }

    /// Whether any network of the model can be read block by block where it computes. A UNet can on a GPU.
    #[must_use]
    pub fn can_stream(&self) -> bool {
        let has_unet = self.model.network.unet().is_some();
        self.model.language.is_some() || !has_unet || self.device != Device::Cpu
    }

    /// Runs a stage. Where a GPU has too little memory for it, it runs once more with networks that are read block by block, and so
    /// do all that follow.
    pub(super) fn retry_streaming<R>(
        &mut self,
        listener: &mut Listener<'_>,
        mut stage: impl FnMut(&mut Pipeline, &mut Listener<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        match stage(self, listener) {
            Err(error) if error.is_out_of_gpu_memory() && !self.streams_weights && self.can_stream() => {
                self.unload();
                self.streams_weights = true;
                stage(self, listener)
            }
            result => result,
        }
    }
}
