//! A stage once more in `f32`, where half precision was too small.

use super::{Event, Listener, Pipeline, tell};
use crate::Error;

impl Pipeline {
    /// Runs a stage. Where its values passed the largest `f16` of a GPU, it runs once more in `f32`, and so do all from then
    /// on. A VAE does that alone ([`Pipeline::decode`]): it is the part that does so often.
    pub(super) fn or_in_f32<R>(
        &mut self,
        listener: &mut Listener<'_>,
        mut stage: impl FnMut(&mut Pipeline, &mut Listener<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let reason = match stage(self, listener) {
            Err(error) if error.is_not_finite() => error,
            result => return result,
        };
        let Some(exact) = self.device.more_exact() else { return Err(reason) };
        tell(listener, Event::InF32 { reason: &reason })?;
        self.set_device(exact);
        stage(self, listener)
    }
}
