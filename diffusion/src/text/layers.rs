//! Layers of a large text encoder: all in memory, or one at a time.

use crate::Error;
use crate::params::{Params, StoredParams};

/// When the layers of a text encoder are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerLoading {
    /// When the encoder is loaded; they stay in memory.
    AllAtOnce,
    /// Each when it computes, for all texts of a call, and in each call again: one is in memory at a time. The values are the
    /// same, bit for bit.
    OneByOne,
}

/// A layer that is read from below its scope.
pub(super) trait TextLayer: Sized {
    /// What is known about all layers.
    type Sizes;

    /// Reads a layer.
    fn load(params: &Params<'_>, sizes: &Self::Sizes) -> Result<Self, Error>;
}

/// The first layers of an encoder.
pub(super) struct LayerStack<L: TextLayer> {
    /// Below it, the number of a layer is its scope.
    params: StoredParams,
    sizes: L::Sizes,
    count: usize,
    /// All of them, or none.
    loaded: Vec<L>,
}

impl<L: TextLayer> LayerStack<L> {
    /// The first `count` layers below a scope.
    pub(super) fn load(
        params: &Params<'_>,
        sizes: L::Sizes,
        count: usize,
        loading: LayerLoading,
    ) -> Result<LayerStack<L>, Error> {
        let loaded = match loading {
            LayerLoading::AllAtOnce => {
                (0..count).map(|i| L::load(&params.scope(i), &sizes)).collect::<Result<_, _>>()?
            }
            LayerLoading::OneByOne => Vec::new(),
        };
        Ok(LayerStack { params: params.stored(), sizes, count, loaded })
    }

    /// Number of layers.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Visits each layer in its order, with its number from 1 on.
    pub(super) fn for_each(
        &self,
        mut visit: impl FnMut(usize, &L) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for i in 0..self.count {
            match self.loaded.get(i) {
                Some(layer) => visit(i + 1, layer)?,
                None => {
                    let params = self.params.params().scope(i);
                    let layer = params.device().stream_weights(|| L::load(&params, &self.sizes))??;
                    visit(i + 1, &layer)?;
                }
            }
        }
        Ok(())
    }
}
