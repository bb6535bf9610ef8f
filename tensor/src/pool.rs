//! The memory of tensors: what a dropped tensor leaves serves the next.

use crate::TensorError;
use latent_kernels::arena::{Arena, ArenaUse, Buffer};
use std::fmt;

/// The memory of all tensors of the process.
///
/// There is one pool: what one pipeline frees serves the next, so a program that keeps several open needs little more
/// memory than the largest. The figures of [`Pool::used`] are therefore those of all pipelines together. A program that
/// wants the peak of one pipeline runs it alone, in a process of its own.
pub struct Pool {
    arena: Arena,
}

static GLOBAL: Pool = Pool { arena: Arena::new() };

impl Pool {
    /// The pool that all tensors of the process use.
    #[must_use]
    pub fn global() -> &'static Pool {
        &GLOBAL
    }

    /// A buffer for `bytes` bytes. Its contents are unspecified.
    pub(crate) fn take(&'static self, bytes: usize) -> Result<Buffer, TensorError> {
        self.arena.take(bytes).map_err(|_| TensorError::OutOfMemory { bytes })
    }

    /// Returns memory that no tensor uses to the system. Call it at the end of a stage.
    pub fn trim(&self) {
        self.arena.trim();
        latent_kernels::sys::release_freed_memory();
    }

    /// Returns the pages between tensors to the system, for a program that saves memory. The next tensor there is
    /// slower at first.
    pub fn release(&self) {
        self.arena.release();
    }

    /// How much memory the tensors use.
    #[must_use]
    pub fn used(&self) -> ArenaUse {
        self.arena.used()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("used", &self.used()).finish_non_exhaustive()
    }
}
