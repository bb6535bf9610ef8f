//! Whether a file contains every tensor of a diffusion transformer.

use super::{Component, check_component};
use crate::Error;
use crate::params::Params;
use crate::transformer::TransformerFile;

impl TransformerFile {
    /// Checks from the header alone that every tensor of the network is there, in its shape and in a dtype of weights.
    ///
    /// # Errors
    /// [`Error::Incomplete`] with all that is missing; [`Error::Unsupported`] for sizes of which no network can be built.
    pub fn check_complete(&self) -> Result<(), Error> {
        let load = |params: &Params<'_>| self.config().load(params).map(drop);
        check_component(self.weights(), (Component::Transformer, self.config().name()), load, |_| false)
    }
}
