//! A network between two of the same sizes.

use crate::Error;
use crate::params::WeightEdit;
use latent_loader::{Bytes, DType, RawTensor, Weights};

/// The other network, and its part of each weight (deep network interpolation; Wang et al., 2019).
#[derive(Clone, Debug)]
pub(super) struct WeightMix {
    pub(super) other: Weights,
    pub(super) part: f64,
}

impl WeightEdit for WeightMix {
    fn apply(&self, name: &str, raw: RawTensor) -> Result<RawTensor, Error> {
        let other = self.other.get(name, &raw.shape)?;
        let [own, other] = [&raw, &other].map(RawTensor::to_f32);
        let part = self.part;
        let mixed = own?
            .into_iter()
            .zip(other?)
            .map(|(own, other)| ((1.0 - part) * f64::from(own) + part * f64::from(other)) as f32);
        let data: Vec<u8> = mixed.flat_map(f32::to_le_bytes).collect();
        Ok(RawTensor { dtype: DType::F32, shape: raw.shape, data: Bytes::from(data) })
    }

    fn changes(&self, _: &str) -> bool {
        true
    }
}
