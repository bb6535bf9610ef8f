//! On a GPU. Each thread takes four values, or one where the shape does not allow four; all is bound by memory.

mod channels;
mod flat;

pub use channels::{add_per_channel, concat_channels, prelu, slice_channels};
pub use flat::{add_assign, convert, guidance, parameter_free_attention, repeat, scale};

pub(crate) use channels::{ADD_PER_CHANNEL, CONCAT, SLICE};
pub(crate) use flat::{ADD, CONVERT, GUIDANCE, copy, pieces};

/// Threads of a workgroup.
pub(crate) const THREADS: usize = 256;
