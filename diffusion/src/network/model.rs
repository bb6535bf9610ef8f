//! Which network a model has: all that a pipeline needs to know about it before it is loaded.

use super::DiffusionNetwork;
use crate::Error;
use crate::families::Model;
use crate::latents::LatentShape;
use crate::params::Params;
use crate::schedule::NoiseModel;
use crate::stage::LoadedNetwork;
use crate::unet::UNet;
use latent_loader::Weights;
use std::sync::Arc;

/// Where the network's weights are, below those of the model.
const SCOPE: &str = "unet";

/// Loads the network of a model from its weights ([`Model::network_weights`]).
pub(crate) fn load(params: &Params<'_>, model: &Model) -> Result<Arc<dyn DiffusionNetwork>, Error> {
    Ok(Arc::new(UNet::load(params, &model.unet)?))
}

impl Model {
    /// How it was trained to see noise, and what it predicts.
    #[must_use]
    pub fn noise_model(&self) -> NoiseModel {
        match &self.edm {
            Some(training) => NoiseModel::Edm { training: training.clone(), prediction: self.prediction },
            None => NoiseModel::VariancePreserving {
                training: self.training.clone(),
                prediction: self.prediction,
            },
        }
    }

    /// The weights of the network that it is sampled with, and what that network is called.
    pub(crate) fn network_weights(&self) -> (LoadedNetwork, Weights) {
        (LoadedNetwork::UNet, self.weights.scope(SCOPE))
    }

    /// Whether it is conditioned on the size of the image (SDXL).
    pub(crate) fn takes_sizes(&self) -> bool {
        self.unet.added_dim.is_some()
    }

    /// Bytes that the network works on for latents of this shape, estimated.
    pub(crate) fn activation_bytes(&self, latents: LatentShape) -> u64 {
        let LatentShape { images, height, width, .. } = latents;
        self.unet.sampling_bytes((width, height), images)
    }
}
