//! The blocks of a network: in memory, or read one at a time.

use super::{Params, StoredParams};
use crate::Error;
use std::ops::Deref;
use std::sync::Arc;

/// How a block is loaded from its parameters.
type LoadBlock<B> = Box<dyn Fn(&Params<'_>) -> Result<B, Error> + Send + Sync>;

/// A block of a network.
pub(crate) enum Block<B> {
    /// In memory.
    Kept(B),
    /// Read when it is its turn ([`Params::streaming_blocks`]).
    Streamed { params: StoredParams, load: LoadBlock<B> },
}

impl<B> Block<B> {
    /// A block. `load` gets the parameters that this gets.
    pub(crate) fn load(
        params: &Params<'_>,
        load: impl Fn(&Params<'_>) -> Result<B, Error> + Send + Sync + 'static,
    ) -> Result<Block<B>, Error> {
        match params.later() {
            Some(params) => Ok(Block::Streamed { params, load: Box::new(load) }),
            None => Ok(Block::Kept(load(params)?)),
        }
    }

    /// The block; one that was not kept is read, and dropped with the result.
    ///
    /// # Errors
    /// A tensor that cannot be read any more, or has values that are not finite.
    pub(crate) fn get(&self) -> Result<BlockInMemory<'_, B>, Error> {
        Ok(match self {
            Block::Kept(block) => BlockInMemory::Kept(block),
            Block::Streamed { params, load } => {
                let params = params.params();
                let block = params.device().stream_weights(|| load(&params))??;
                BlockInMemory::Streamed(Box::new(block))
            }
        })
    }
}

/// Blocks of one kind in their order.
pub(crate) struct BlockList<B>(Vec<Block<B>>);

impl<B: 'static> BlockList<B> {
    /// So many blocks. `load` gets the parameters that this gets, and the number of a block.
    pub(crate) fn load(
        params: &Params<'_>,
        count: usize,
        load: impl Fn(&Params<'_>, usize) -> Result<B, Error> + Send + Sync + 'static,
    ) -> Result<BlockList<B>, Error> {
        let load = Arc::new(load);
        let block = |i| {
            let load = Arc::clone(&load);
            Block::load(params, move |params| load(params, i))
        };
        Ok(BlockList((0..count).map(block).collect::<Result<_, _>>()?))
    }

    /// The number of blocks.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A block; one that was not kept is read, and dropped with the result.
    ///
    /// # Errors
    /// As [`Block::get`].
    pub(crate) fn get(&self, index: usize) -> Result<BlockInMemory<'_, B>, Error> {
        self.0[index].get()
    }
}

/// A block in memory.
pub(crate) enum BlockInMemory<'a, B> {
    Kept(&'a B),
    Streamed(Box<B>),
}

impl<B> Deref for BlockInMemory<'_, B> {
    type Target = B;

    fn deref(&self) -> &B {
        match self {
            BlockInMemory::Kept(block) => block,
            BlockInMemory::Streamed(block) => block,
        }
    }
}
