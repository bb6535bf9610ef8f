//! Layers that only transformers have: parts of fused matrices, RMS norms, tables, layers on patches.

use super::layout::{dequantized, transpose};
use super::{Params, weight};
use crate::Error;
use latent_loader::RawTensor;
use latent_tensor::{Embedding, Linear, RmsNorm};
use std::ops::Range;

/// Pixels of a patch, and the channels of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatchShape {
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
}

impl PatchShape {
    fn values(self) -> usize {
        self.pixels * self.channels
    }
}

impl Params<'_> {
    /// Linear layers whose weights are rows of one, `name.weight` `[sum of outputs, inputs]`, one after the other, and their
    /// biases parts of `name.bias`, if they have any. Where blocks go on from one layer to the next, they become `f32`.
    pub(crate) fn linear_rows<const N: usize>(
        &self,
        name: &str,
        outputs: [usize; N],
        inputs: usize,
        has_bias: bool,
    ) -> Result<[Linear; N], Error> {
        let layer = self.scope(name);
        let all: usize = outputs.iter().sum();
        let (mut raw, scales) = layer.matrix_parts("weight", &[all, inputs])?;
        let bias = has_bias.then(|| layer.vector("bias", all)).transpose()?;
        let starts_block = |rows: &usize| (rows * inputs).is_multiple_of(raw.dtype.block_len());
        if !outputs.iter().all(starts_block) {
            raw = dequantized(raw)?;
        }
        let mut end = 0;
        let parts = outputs.map(|outputs| {
            let rows = end..end + outputs;
            end = rows.end;
            let scales = if scales.len() == all { &scales[rows.clone()] } else { &scales };
            let bias = bias.as_ref().map(|bias| bias[rows.clone()].to_vec());
            let weight = weight(rows_of(&raw, rows, inputs)).scaled(scales.to_vec());
            self.placed(Linear::new(weight, [outputs, inputs], bias)?)
        });
        all_of(parts)
    }

    /// A linear layer with a bias that must be there, or without one.
    pub(crate) fn linear_layer(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
        has_bias: bool,
    ) -> Result<Linear, Error> {
        let [layer] = self.linear_rows(name, [outputs], inputs, has_bias)?;
        Ok(layer)
    }

    /// A linear layer of patches: the file has its inputs channel by channel, the layer pixel by pixel.
    pub(crate) fn linear_of_patches(
        &self,
        name: &str,
        outputs: usize,
        patch: PatchShape,
        has_bias: bool,
    ) -> Result<Linear, Error> {
        let layer = self.scope(name);
        let raw = dequantized(layer.read("weight", &[outputs, patch.values()])?)?;
        let size = raw.dtype.size();
        let order = [patch.channels, patch.pixels];
        let row = |row: &[u8]| transpose(row, order, size);
        let data: Vec<u8> = raw.data.chunks_exact(patch.values() * size).flat_map(row).collect();
        let bias = has_bias.then(|| layer.vector("bias", outputs)).transpose()?;
        let raw = RawTensor { data: data.into(), ..raw };
        self.placed(Linear::new(weight(raw), [outputs, patch.values()], bias)?)
    }

    /// A linear layer to patches: the file has its outputs channel by channel, the layer pixel by pixel.
    pub(crate) fn linear_to_patches(
        &self,
        name: &str,
        patch: PatchShape,
        inputs: usize,
        has_bias: bool,
    ) -> Result<Linear, Error> {
        let layer = self.scope(name);
        let raw = dequantized(layer.read("weight", &[patch.values(), inputs])?)?;
        let order = [patch.channels, patch.pixels];
        let data = transpose(&raw.data, order, inputs * raw.dtype.size());
        let bias = has_bias.then(|| layer.vector("bias", patch.values())).transpose()?;
        let bias = bias.map(|bias| transpose(&bias, order, 1));
        let raw = RawTensor { data: data.into(), ..raw };
        self.placed(Linear::new(weight(raw), [patch.values(), inputs], bias)?)
    }

    /// An RMS norm.
    pub(crate) fn rms_norm(&self, name: &str, width: usize, eps: f32) -> Result<RmsNorm, Error> {
        Ok(RmsNorm::new(self.scope(name).vector("weight", width)?, eps)?.to(&self.device)?)
    }

    /// A table of position embeddings, `[1, rows, width]` in the file, in main memory on every device.
    pub(crate) fn position_table(&self, name: &str, [rows, width]: [usize; 2]) -> Result<Embedding, Error> {
        Ok(Embedding::new(weight(self.read(name, &[1, rows, width])?), [rows, width])?)
    }
}

/// Rows of a matrix of that many columns, which begin and end with whole blocks.
fn rows_of(raw: &RawTensor, rows: Range<usize>, columns: usize) -> RawTensor {
    let start = raw.dtype.bytes(rows.start * columns) as u64;
    let len = raw.dtype.bytes(rows.len() * columns);
    let data = raw.data.slice(start, len).expect("rows of the matrix");
    RawTensor { dtype: raw.dtype, shape: vec![rows.len(), columns], data }
}

/// All of some layers, or the first error.
fn all_of<const N: usize>(layers: [Result<Linear, Error>; N]) -> Result<[Linear; N], Error> {
    let layers = layers.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(layers.try_into().expect("one for each"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use latent_loader::{Checkpoint, DType, Weights};
    use latent_tensor::{Tensor, ops};
    use std::sync::Arc;

    /// The weights of a file of `f32`.
    fn weights(tensors: &[(&str, &[usize], &[f32])]) -> Weights {
        let (mut header, mut data) = (Vec::new(), Vec::new());
        for (name, shape, values) in tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            let end = data.len();
            header.push(format!(
                r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
            ));
        }
        let header = format!("{{{}}}", header.join(","));
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
        Weights::new(Arc::new(Checkpoint::from_bytes("test", bytes).unwrap()))
    }

    fn apply(layer: &Linear, x: &[f32]) -> Vec<f32> {
        let x = Tensor::from_f32(&[1, x.len()], x).unwrap();
        ops::linear(&x, layer).unwrap().f32s().unwrap().to_vec()
    }

    #[test]
    fn a_fused_layer_is_several() {
        let weights =
            weights(&[("a.weight", &[3, 2], &[1., 2., 3., 4., 5., 6.]), ("a.bias", &[3], &[0.5, 0.25, 1.])]);
        let params = Params::new(weights, &|_| ());
        let [first, rest] = params.linear_rows("a", [1, 2], 2, true).unwrap();
        assert_eq!((apply(&first, &[1., 1.]), apply(&rest, &[1., 1.])), (vec![3.5], vec![7.25, 12.]));
        let [first, _] = params.linear_rows("a", [1, 2], 2, false).unwrap();
        assert_eq!(apply(&first, &[1., 1.]), [3.0]);
        assert!(params.linear_rows("a", [1, 1], 2, true).is_err(), "a row too many in the file");
    }

    #[test]
    fn rows_of_blocks_stay_blocks() {
        let data: Vec<u8> = (0..3 * 34u8).collect();
        let raw = RawTensor { dtype: DType::Q8_0, shape: vec![3, 32], data: data.clone().into() };
        let rows = rows_of(&raw, 1..3, 32);
        assert_eq!((rows.dtype, rows.shape, &rows.data[..]), (DType::Q8_0, vec![2, 32], &data[34..]));
    }

    #[test]
    fn patches_have_their_pixels_in_the_order_of_the_image() {
        // Two channels of four pixels: in the file c0p0 c0p1 c0p2 c0p3 c1p0 ...
        let columns: Vec<f32> = (0..8u8).map(f32::from).collect();
        let weights = weights(&[
            ("a.weight", &[1, 8], &columns),
            ("b.weight", &[8, 1], &columns),
            ("b.bias", &[8], &columns.iter().map(|v| 10. * v).collect::<Vec<_>>()),
        ]);
        let params = Params::new(weights, &|_| ());
        let patch = PatchShape { pixels: 4, channels: 2 };
        let layer = params.linear_of_patches("a", 1, patch, false).unwrap();
        // The second pixel's channels, then the third's.
        let picked = |i: usize| {
            let mut x = [0.0; 8];
            x[i] = 1.0;
            apply(&layer, &x)[0]
        };
        assert_eq!([picked(0), picked(1), picked(2), picked(7)], [0., 4., 1., 7.]);
        let layer = params.linear_to_patches("b", patch, 1, true).unwrap();
        assert_eq!(apply(&layer, &[1.]), [0., 44., 11., 55., 22., 66., 33., 77.]);
    }
}
