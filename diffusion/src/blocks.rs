//! How far a network is within one evaluation, and whether it is to go on.

use crate::stage::Stage;
use crate::{Error, Event, Listener};

/// Counts the blocks of a network as they are done and reports each to a listener, whose `Break` ends the evaluation within the
/// block. Without a listener it counts.
///
/// On the CPU a block is done when its values are there. On a GPU it is when its commands are recorded: nothing waits for
/// the device to be told more.
pub struct BlockCount<'a> {
    stage: Stage,
    done: usize,
    total: usize,
    listener: Option<&'a mut Listener<'a>>,
}

impl std::fmt::Debug for BlockCount<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BlockCount { stage, done, total, .. } = self;
        f.debug_struct("BlockCount").field("stage", stage).field("done", done).field("total", total).finish()
    }
}

impl<'a> BlockCount<'a> {
    /// Of an evaluation that nobody watches.
    #[must_use]
    pub fn unwatched() -> BlockCount<'static> {
        BlockCount { stage: Stage::Sampling, done: 0, total: 0, listener: None }
    }

    /// Of so many blocks.
    #[must_use]
    pub fn new(stage: Stage, total: usize, listener: &'a mut Listener<'a>) -> BlockCount<'a> {
        BlockCount { stage, done: 0, total, listener: Some(listener) }
    }

    /// Another block is done.
    ///
    /// # Errors
    /// [`Error::Cancelled`]
    pub fn add(&mut self) -> Result<(), Error> {
        self.done += 1;
        let (stage, block, total) = (self.stage, self.done, self.total);
        debug_assert!(self.listener.is_none() || block <= total, "{stage}: block {block} of {total}");
        match &mut self.listener {
            Some(listener) => crate::event::notify(listener, Event::Block { stage, block, total }),
            None => Ok(()),
        }
    }
}
