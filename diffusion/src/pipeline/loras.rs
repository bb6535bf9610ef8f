//! LoRAs of a pipeline.

use super::Pipeline;
use crate::Error;
use crate::lora::{Applied, Lora, Merge, Strength};
use std::sync::Arc;

impl Pipeline {
    /// Draws with these LoRAs and weights from now on, and with no others; tells of each how much of it fits. Parts that
    /// were read are dropped; without LoRAs they are again as they were.
    ///
    /// # Errors
    /// [`Error::Lora`]: one that does not fit the model. Then nothing has changed.
    pub fn set_loras<S: Copy + Into<Strength>>(
        &mut self,
        loras: &[(Arc<Lora>, S)],
    ) -> Result<Vec<Applied>, Error> {
        let (merge, applied) = Merge::new(loras, &self.model.weights, self.model.family.label)?;
        self.unload();
        self.merge = (!loras.is_empty()).then(|| Arc::new(merge));
        Ok(applied)
    }
}
