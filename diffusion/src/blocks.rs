//! How far a network is within one evaluation, and whether it is to go on.

use crate::stage::Stage;
use crate::{Error, Event, Listener};
use latent_tensor::Tensor;

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
    hidden_states: Option<&'a mut Vec<Tensor>>,
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
        BlockCount { stage: Stage::Sampling, done: 0, total: 0, listener: None, hidden_states: None }
    }

    /// Of so many blocks.
    #[must_use]
    pub fn new(stage: Stage, total: usize, listener: &'a mut Listener<'a>) -> BlockCount<'a> {
        BlockCount { stage, done: 0, total, listener: Some(listener), hidden_states: None }
    }

    /// Of an evaluation that nobody watches, which keeps the hidden states after each block of a UNet.
    pub(crate) fn keeping(hidden_states: &'a mut Vec<Tensor>) -> BlockCount<'a> {
        let hidden_states = Some(hidden_states);
        BlockCount { stage: Stage::Sampling, done: 0, total: 0, listener: None, hidden_states }
    }

    /// Another block is done, and gave these hidden states.
    pub(crate) fn add_hidden(&mut self, hidden: &Tensor) -> Result<(), Error> {
        if let Some(kept) = &mut self.hidden_states {
            kept.push(hidden.clone());
        }
        self.add()
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
