//! Named weights of a checkpoint as the parameters of layers.

mod block_list;
mod checklist;
pub(crate) mod layout;
mod stored;
mod synthetic;
mod transformer;

pub(crate) use block_list::{Block, BlockList};
pub(crate) use checklist::{Checklist, RequestedTensors};
pub(crate) use stored::StoredParams;
pub(crate) use transformer::PatchShape;

use crate::Error;
use latent_kernels::parallel;
use latent_loader::{RawTensor, TensorInfo, Weights};
use latent_tensor::{
    Conv2d, DType, Device, Embedding, GroupNorm, LayerNorm, Linear, Padding, Precision, Prelu, Weight,
};
use layout::{QkvPart, transposed};
use std::fmt::{self, Debug, Display};
use std::sync::Arc;
use synthetic::Synthetic;

/// Groups of every group norm of Stable Diffusion.
const NORM_GROUPS: usize = 32;

/// Called with the number of bytes of a checkpoint that were just read.
pub type OnRead<'a> = dyn Fn(u64) + 'a;

/// A change of weights when they are read.
pub(crate) trait WeightEdit: Debug + Send + Sync {
    /// The weight of that canonical name, changed if need be.
    fn apply(&self, name: &str, raw: RawTensor) -> Result<RawTensor, Error>;

    /// Whether the weight of that canonical name is changed.
    fn changes(&self, name: &str) -> bool;
}

/// Weights under a common prefix, read as layers. Names are those of diffusers.
#[derive(Clone)]
pub struct Params<'a> {
    source: ParamSource,
    device: Device,
    precision: Precision,
    /// Whether convolutions continue images by what is on their other side: vertically, horizontally.
    wraps: [bool; 2],
    edit: Option<Arc<dyn WeightEdit>>,
    /// Whether the blocks of a network are read when it is their turn.
    streams_blocks: bool,
    on_read: &'a OnRead<'a>,
}

/// Where tensors come from.
#[derive(Clone, Debug)]
enum ParamSource {
    Checkpoint(Weights),
    Synthetic(Synthetic),
    Checklist(Checklist),
}

impl<'a> Params<'a> {
    /// The layers of `weights`, read on the threads of [`parallel`]; `on_read` is called for each tensor, for a progress bar,
    /// on the thread that asked for it.
    #[must_use]
    pub fn new(weights: Weights, on_read: &'a OnRead<'a>) -> Params<'a> {
        let weights = weights.read_on(|count, task| parallel::for_each(count, task));
        Params::of(ParamSource::Checkpoint(weights), on_read)
    }

    /// Layers of any shape without a checkpoint, for benches: random `f16` weights, made when they are asked for.
    /// They follow from `seed` and their names, and are so small that signals keep about their size.
    ///
    /// ```
    /// use latent_diffusion::params::Params;
    /// let layer = Params::synthetic(1, &|_| ()).linear("proj_in", 320, 640)?;
    /// assert_eq!((layer.outputs(), layer.inputs()), (320, 640));
    /// # Ok::<(), latent_diffusion::Error>(())
    /// ```
    #[must_use]
    pub fn synthetic(seed: u64, on_read: &'a OnRead<'a>) -> Params<'a> {
        Params::of(ParamSource::Synthetic(Synthetic::new(seed)), on_read)
    }

    /// Layers of zeros; the list records what is asked for.
    pub(crate) fn listed(list: &Checklist, on_read: &'a OnRead<'a>) -> Params<'a> {
        Params::of(ParamSource::Checklist(list.clone()), on_read)
    }

    fn of(source: ParamSource, on_read: &'a OnRead<'a>) -> Params<'a> {
        Params {
            source,
            device: Device::Cpu,
            precision: Precision::F32,
            wraps: [false; 2],
            edit: None,
            streams_blocks: false,
            on_read,
        }
    }

    /// The same layers, on a device.
    #[must_use]
    pub fn on(self, device: &Device) -> Params<'a> {
        Params { device: device.clone(), ..self }
    }

    /// The same layers with products in a precision on the CPU.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Params<'a> {
        Params { precision, ..self }
    }

    /// The same layers with convolutions that continue images by what is on their other side, in place of zeros: vertically,
    /// horizontally.
    pub(crate) fn wrapping(&self, wraps: [bool; 2]) -> Params<'a> {
        Params { wraps, ..self.clone() }
    }

    /// The same layers in `f32`: the first and the last of a network, and what embeds its timestep. They cost little, and what
    /// they lose all others lack.
    pub(crate) fn exact(&self) -> Params<'a> {
        self.clone().in_precision(Precision::F32)
    }

    /// The precision of the layers' products on the CPU.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// An error about the file.
    pub(crate) fn refuse(&self, reason: String) -> Error {
        let file = match &self.source {
            ParamSource::Checkpoint(weights) => weights.label().to_owned(),
            ParamSource::Synthetic(_) | ParamSource::Checklist(_) => "the model".to_owned(),
        };
        Error::Unsupported { file, reason }
    }

    /// The same layers with weights changed as they are read.
    pub(crate) fn edited(self, edit: Option<Arc<dyn WeightEdit>>) -> Params<'a> {
        Params { edit, ..self }
    }

    /// Where the layers are.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The layers below `name`.
    #[must_use]
    pub fn scope(&self, name: impl Display) -> Params<'a> {
        let source = match &self.source {
            ParamSource::Checkpoint(weights) => ParamSource::Checkpoint(weights.scope(name)),
            ParamSource::Synthetic(synthetic) => ParamSource::Synthetic(synthetic.scope(name)),
            ParamSource::Checklist(list) => ParamSource::Checklist(list.scope(name)),
        };
        Params { source, ..self.clone() }
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match &self.source {
            ParamSource::Checkpoint(weights) => weights.contains(name),
            ParamSource::Synthetic(synthetic) => synthetic.contains(name),
            ParamSource::Checklist(list) => list.contains(name),
        }
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<RawTensor, Error> {
        let raw = match &self.source {
            ParamSource::Checkpoint(weights) => weights.get(name, shape)?,
            ParamSource::Synthetic(synthetic) => synthetic.tensor(name, shape),
            ParamSource::Checklist(list) => list.read(name, shape)?,
        };
        (self.on_read)(raw.data.len() as u64);
        match (&self.edit, &self.source) {
            (Some(edit), ParamSource::Checkpoint(weights)) => edit.apply(&weights.canonical(name), raw),
            _ => Ok(raw),
        }
    }

    /// A weight of a matrix or a filter. Values of 8 bits keep their bytes where nothing changes them, whatever their scale.
    fn matrix(&self, name: &str, shape: &[usize]) -> Result<Weight, Error> {
        let (raw, scales) = self.matrix_parts(name, shape)?;
        Ok(weight(raw).scaled(scales))
    }

    /// The values of such a weight, and what they are multiplied by: nothing, one scale, or one for each row.
    fn matrix_parts(&self, name: &str, shape: &[usize]) -> Result<(RawTensor, Vec<f32>), Error> {
        let scaled = match &self.source {
            ParamSource::Checkpoint(weights) if weights.info(name).is_some_and(TensorInfo::is_scaled) => {
                weights
            }
            _ => return Ok((self.read(name, shape)?, Vec::new())),
        };
        if self.edit.as_ref().is_some_and(|edit| edit.changes(&scaled.canonical(name))) {
            return Ok((self.read(name, shape)?, Vec::new()));
        }
        let (raw, scales) = scaled.get_parts(name, shape)?;
        (self.on_read)(raw.data.len() as u64);
        Ok((raw, scales))
    }

    /// A vector, in main memory on every device.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        self.values(name, &[len])
    }

    /// The values of a tensor of any shape, in main memory on every device.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        Ok(weight(self.read(name, shape)?).view().to_f32())
    }

    fn bias(&self, len: usize) -> Result<Option<Vec<f32>>, Error> {
        if self.contains("bias") { self.vector("bias", len).map(Some) } else { Ok(None) }
    }

    /// A table `[rows, width]`, in main memory on every device.
    pub fn embedding(&self, name: &str, dims: [usize; 2]) -> Result<Embedding, Error> {
        let raw = self.scope(name).read("weight", &dims)?;
        Ok(Embedding::new(weight(raw), dims)?)
    }

    fn placed(&self, layer: Linear) -> Result<Linear, Error> {
        Ok(layer.to(&self.device)?.in_precision(self.precision))
    }

    /// A linear layer, with a bias if there is one. A 1x1 convolution is one too: the shape in the file may be
    /// `[outputs, inputs, 1]` or `[outputs, inputs, 1, 1]`.
    pub fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, Error> {
        let layer = self.scope(name);
        let in_file = match &layer.source {
            ParamSource::Checkpoint(weights) => weights.shape("weight"),
            ParamSource::Checklist(list) => list.shape("weight"),
            ParamSource::Synthetic(_) => None,
        };
        let shape = [outputs, inputs, 1, 1];
        let rank = in_file.map_or(2, |shape| shape.len().clamp(2, 4));
        let weight = layer.matrix("weight", &shape[..rank])?;
        self.placed(Linear::new(weight, [outputs, inputs], layer.bias(outputs)?)?)
    }

    /// A linear layer, which has no bias.
    pub(crate) fn linear_without_bias(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, Error> {
        let weight = self.scope(name).matrix("weight", &[outputs, inputs])?;
        self.placed(Linear::new(weight, [outputs, inputs], None)?)
    }

    /// Three linear layers that `name_weight` and `name_bias` contain one after the other, as in
    /// `torch.nn.MultiheadAttention`: queries, keys and values.
    pub fn fused(&self, name: &str, outputs: usize, inputs: usize) -> Result<[Linear; 3], Error> {
        let raw = self.read(&format!("{name}_weight"), &[3 * outputs, inputs])?;
        let bias = self.vector(&format!("{name}_bias"), 3 * outputs)?;
        let layer = |part: QkvPart| -> Result<Linear, Error> {
            let bias = bias[part.range(bias.len())].to_vec();
            self.placed(Linear::new(weight(part.of(raw.clone())?), [outputs, inputs], Some(bias))?)
        };
        let [query, key, value] = QkvPart::ALL.map(layer);
        Ok([query?, key?, value?])
    }

    /// A linear layer without bias: `name.weight` `[outputs, inputs]`, or OpenCLIP's `name` `[inputs, outputs]`. Square ones
    /// have the same shape: only the name distinguishes them.
    pub fn projection(&self, name: &str, [outputs, inputs]: [usize; 2]) -> Result<Linear, Error> {
        let layer = self.scope(name);
        if layer.contains("weight") || !self.contains(name) {
            let weight = layer.matrix("weight", &[outputs, inputs])?;
            return self.placed(Linear::new(weight, [outputs, inputs], None)?);
        }
        let raw = self.read(name, &[inputs, outputs])?;
        if let ParamSource::Checklist(_) = self.source {
            return Ok(Linear::new(weight(raw), [outputs, inputs], None)?);
        }
        self.placed(Linear::new(weight(transposed(raw)?), [outputs, inputs], None)?)
    }

    /// A convolution of a square kernel with bias.
    pub fn conv(
        &self,
        name: &str,
        [outputs, inputs, kernel]: [usize; 3],
        stride: usize,
        padding: Padding,
    ) -> Result<Conv2d, Error> {
        let layer = self.scope(name);
        let weight = layer.matrix("weight", &[outputs, inputs, kernel, kernel])?;
        let bias = layer.bias(outputs)?;
        let dims = [outputs, inputs, kernel];
        let conv = Conv2d::wrapping(weight, dims, stride, padding, bias, self.wraps)?;
        Ok(conv.to(&self.device)?.in_precision(self.precision))
    }

    /// A convolution of a square kernel, which has no bias.
    pub fn conv_without_bias(
        &self,
        name: &str,
        [outputs, inputs, kernel]: [usize; 3],
        stride: usize,
        padding: Padding,
    ) -> Result<Conv2d, Error> {
        let weight = self.scope(name).matrix("weight", &[outputs, inputs, kernel, kernel])?;
        let dims = [outputs, inputs, kernel];
        let conv = Conv2d::wrapping(weight, dims, stride, padding, None, self.wraps)?;
        Ok(conv.to(&self.device)?.in_precision(self.precision))
    }

    /// A 3x3 convolution that keeps the image's size.
    pub fn conv3x3(&self, name: &str, outputs: usize, inputs: usize) -> Result<Conv2d, Error> {
        self.conv(name, [outputs, inputs, 3], 1, Padding::all(1))
    }

    /// A 3x3 convolution that keeps the image's size, of weights `[outputs, inputs, 3, 3]` that were computed.
    pub(crate) fn conv3x3_of(
        &self,
        values: &[f32],
        bias: Vec<f32>,
        outputs: usize,
        inputs: usize,
    ) -> Result<Conv2d, Error> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let weight = Weight::new(DType::F32, Arc::new(bytes));
        let conv = Conv2d::new(weight, [outputs, inputs, 3], 1, Padding::all(1), Some(bias))?;
        Ok(conv.to(&self.device)?.in_precision(self.precision))
    }

    /// The slopes of a PReLU, one for each channel.
    pub(crate) fn prelu(&self, name: &str, channels: usize) -> Result<Prelu, Error> {
        Ok(Prelu::new(self.scope(name).vector("weight", channels)?)?.to(&self.device)?)
    }

    /// A group norm of 32 groups.
    pub fn group_norm(&self, name: &str, channels: usize, eps: f32) -> Result<GroupNorm, Error> {
        let layer = self.scope(name);
        let (weight, bias) = (layer.vector("weight", channels)?, layer.vector("bias", channels)?);
        Ok(GroupNorm::new(weight, bias, NORM_GROUPS, eps)?.to(&self.device)?)
    }

    /// A layer norm with the epsilon of `torch.nn.LayerNorm`, 1e-5.
    pub fn layer_norm(&self, name: &str, channels: usize) -> Result<LayerNorm, Error> {
        let layer = self.scope(name);
        let (weight, bias) = (layer.vector("weight", channels)?, layer.vector("bias", channels)?);
        Ok(LayerNorm::new(weight, bias, 1e-5)?.to(&self.device)?)
    }
}

impl Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("source", &self.source)
            .field("device", &self.device)
            .field("precision", &self.precision)
            .field("wraps", &self.wraps)
            .field("edit", &self.edit)
            .field("streams_blocks", &self.streams_blocks)
            .finish_non_exhaustive()
    }
}

/// A tensor as the kernels know it; its bytes are not copied.
fn weight(raw: RawTensor) -> Weight {
    Weight::new(raw.dtype, Arc::new(raw.data))
}
