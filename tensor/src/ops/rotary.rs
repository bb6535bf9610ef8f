//! Rotary position embeddings.

use super::parameter::Vector;
use crate::error::TensorOp;
use crate::profile::{self, OpClass};
use crate::{Device, Tensor, TensorError};
use latent_kernels::rotary::{self as kernel, Rotary, RotaryPairing};

/// The rotations of a sequence's tokens, or of those of each sequence of a batch.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    /// `[tokens, width]`: the cosines of a token's angles, then their sines.
    angles: Vector,
    width: usize,
    pairing: RotaryPairing,
}

impl RotaryTable {
    /// The table of tokens at `positions`, each with a coordinate for each axis; `axes` are the channels of a head that each
    /// axis has. Angles are computed in `f64`.
    ///
    /// # Errors
    /// Axes of no or of an odd number of channels, not a single token.
    pub fn new<const AXES: usize>(
        axes: [usize; AXES],
        theta: f64,
        positions: &[[f64; AXES]],
        pairing: RotaryPairing,
    ) -> Result<RotaryTable, TensorError> {
        let width = axes.iter().sum();
        if width == 0 || axes.iter().any(|axis| !axis.is_multiple_of(2)) {
            return Err(TensorError::shape(
                TensorOp::Rotary,
                "axes of an even number of channels",
                &axes[..],
            ));
        }
        if positions.is_empty() {
            return Err(TensorError::shape(TensorOp::Rotary, "positions", format_args!("none")));
        }
        Ok(RotaryTable { angles: Vector::Cpu(kernel::table(axes, theta, positions)), width, pairing })
    }

    /// The table on a device.
    ///
    /// # Errors
    /// No memory there, a lost GPU.
    pub fn to(self, device: &Device) -> Result<RotaryTable, TensorError> {
        Ok(RotaryTable { angles: self.angles.to(device)?, ..self })
    }
}

/// Rotates the heads of queries or keys `[batch, tokens, heads * width]` by the angles of their tokens; written into `x`. A table
/// has the tokens of a sequence, or those of all sequences.
///
/// # Errors
/// Shapes that do not agree with the table.
pub fn rotary(mut x: Tensor, table: &RotaryTable) -> Result<Tensor, TensorError> {
    const OP: TensorOp = TensorOp::Rotary;
    let [batch, tokens, channels] = x.rank(OP)?;
    let &RotaryTable { width, pairing, .. } = table;
    let rows = table.angles.len() / width;
    if channels == 0 || !channels.is_multiple_of(width) || (rows != tokens && rows != batch * tokens) {
        return Err(TensorError::shape(OP, format_args!("{rows} tokens of heads of {width}"), x.shape()));
    }
    let shape = Rotary { batch, tokens, heads: channels / width, width, pairing };
    let _timer = profile::timer(OpClass::Elementwise);
    #[cfg(feature = "gpu")]
    if let Some(array) = x.array_mut()? {
        kernel::gpu::rotary(shape, array, table.angles.array()?)?;
        return Ok(x);
    }
    kernel::rotary(shape, x.f32s_mut()?, table.angles.values()?);
    Ok(x)
}
