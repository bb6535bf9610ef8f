//! Parameters that are read later.

use super::{ParamSource, Params, WeightEdit};
use latent_tensor::{Device, Precision};
use std::sync::Arc;

/// The same layers as some [`Params`], for as long as they are needed. Nobody is told what is read of them.
#[derive(Clone, Debug)]
pub(crate) struct StoredParams {
    source: ParamSource,
    device: Device,
    precision: Precision,
    wraps: [bool; 2],
    edit: Option<Arc<dyn WeightEdit>>,
}

impl StoredParams {
    /// The parameters, to load layers.
    pub(crate) fn params(&self) -> Params<'static> {
        let StoredParams { source, device, precision, wraps, edit } = self.clone();
        Params { source, device, precision, wraps, edit, streams_blocks: true, on_read: &|_| () }
    }
}

impl Params<'_> {
    /// The same layers, but the blocks of a network are read when it is their turn in an evaluation, and dropped after it:
    /// memory holds one of them at a time. Predictions are the same, bit for bit.
    #[must_use]
    pub fn streaming_blocks(self, streams_blocks: bool) -> Self {
        Params { streams_blocks, ..self }
    }

    /// The same layers, but blocks that are read when it is their turn only on a GPU: on the CPU, a UNet computes from weights as they
    /// lie in the file, and reading them would be a copy.
    pub(crate) fn streaming_on_gpus(&self) -> Self {
        let is_gpu = !matches!(self.device, Device::Cpu);
        self.clone().streaming_blocks(self.streams_blocks && is_gpu)
    }

    /// What reads the blocks of a network later, if they are to be read so.
    pub(crate) fn later(&self) -> Option<StoredParams> {
        // A list of what is needed is complete only if all of it is asked for.
        let streams = self.streams_blocks && !matches!(self.source, ParamSource::Checklist(_));
        streams.then(|| self.stored())
    }

    /// The same layers, to be read later than the rest.
    pub(crate) fn stored(&self) -> StoredParams {
        let Params { source, device, precision, wraps, edit, .. } = self.clone();
        StoredParams { source, device, precision, wraps, edit }
    }
}
