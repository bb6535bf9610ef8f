//! The blocks of a network: all in memory, or one at a time.

use crate::Error;
use crate::params::{Params, StoredParams};
use std::ops::Deref;

/// How a block is loaded from the parameters of the network.
type LoadBlock<B> = Box<dyn Fn(&Params<'_>, usize) -> Result<B, Error> + Send + Sync>;

/// Blocks of one kind in their order.
pub(crate) enum BlockList<B> {
    /// All in memory.
    Kept(Vec<B>),
    /// Read when it is their turn ([`Params::streaming_blocks`]).
    Streamed { count: usize, params: StoredParams, load: LoadBlock<B> },
}

impl<B> BlockList<B> {
    /// So many blocks. `load` gets the parameters that this gets, and the number of a block.
    pub(crate) fn load(
        params: &Params<'_>,
        count: usize,
        load: impl Fn(&Params<'_>, usize) -> Result<B, Error> + Send + Sync + 'static,
    ) -> Result<BlockList<B>, Error> {
        match params.later() {
            Some(params) => Ok(BlockList::Streamed { count, params, load: Box::new(load) }),
            None => Ok(BlockList::Kept((0..count).map(|i| load(params, i)).collect::<Result<_, _>>()?)),
        }
    }

    /// The number of blocks.
    pub(crate) fn len(&self) -> usize {
        match self {
            BlockList::Kept(blocks) => blocks.len(),
            BlockList::Streamed { count, .. } => *count,
        }
    }

    /// A block; one that was not kept is read, and dropped with the result.
    ///
    /// # Errors
    /// A tensor that cannot be read any more, or has values that are not finite.
    pub(crate) fn get(&self, index: usize) -> Result<ListedBlock<'_, B>, Error> {
        Ok(match self {
            BlockList::Kept(blocks) => ListedBlock::Kept(&blocks[index]),
            BlockList::Streamed { params, load, .. } => {
                let params = params.params();
                // The block before leaves a GPU's memory.
                params.device().settle()?;
                ListedBlock::Streamed(Box::new(load(&params, index)?))
            }
        })
    }
}

/// A block in memory.
pub(crate) enum ListedBlock<'a, B> {
    Kept(&'a B),
    Streamed(Box<B>),
}

impl<B> Deref for ListedBlock<'_, B> {
    type Target = B;

    fn deref(&self) -> &B {
        match self {
            ListedBlock::Kept(block) => block,
            ListedBlock::Streamed(block) => block,
        }
    }
}
