//! Named weights of a checkpoint as the parameters of layers.

use crate::Error;
use crate::checklist::Checklist;
use crate::lora::Merge;
use crate::synthetic::Synthetic;
use latent_kernels::parallel;
use latent_loader::{DType, RawTensor, Weights};
use latent_tensor::{Conv2d, Device, Embedding, GroupNorm, LayerNorm, Linear, Padding, Weight};
use std::fmt::Display;
use std::sync::Arc;

/// Groups of every group norm of Stable Diffusion.
const NORM_GROUPS: usize = 32;

/// Told how many bytes of a checkpoint were just read.
pub type OnRead<'a> = dyn Fn(u64) + 'a;

/// Weights under a common prefix, read as layers. Names are those of diffusers.
#[derive(Clone)]
pub struct Params<'a> {
    source: Source,
    device: Device,
    /// What is added to weights when they are read.
    merge: Option<Arc<Merge>>,
    on_read: &'a OnRead<'a>,
}

/// Where tensors come from.
#[derive(Clone)]
enum Source {
    Checkpoint(Weights),
    Invented(Synthetic),
    Listed(Checklist),
}

impl<'a> Params<'a> {
    /// The layers of `weights`, read on the threads of [`parallel`]; `on_read` hears of each tensor, for a progress bar,
    /// on the thread that asked for it.
    #[must_use]
    pub fn new(weights: Weights, on_read: &'a OnRead<'a>) -> Params<'a> {
        let weights = weights.read_on(|count, task| parallel::for_each(count, task));
        Params { source: Source::Checkpoint(weights), device: Device::Cpu, merge: None, on_read }
    }

    /// Layers of any shape without a checkpoint, for benches: random `f16` weights, invented when they are asked for.
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
        Params { source: Source::Invented(Synthetic::new(seed)), device: Device::Cpu, merge: None, on_read }
    }

    /// Layers of zeros; the list notes what is asked for.
    pub(crate) fn listed(list: &Checklist, on_read: &'a OnRead<'a>) -> Params<'a> {
        Params { source: Source::Listed(list.clone()), device: Device::Cpu, merge: None, on_read }
    }

    /// The same layers, on a device.
    #[must_use]
    pub fn on(self, device: &Device) -> Params<'a> {
        Params { device: device.clone(), ..self }
    }

    /// The same layers, changed by LoRAs.
    #[must_use]
    pub fn merged(self, merge: Option<Arc<Merge>>) -> Params<'a> {
        Params { merge, ..self }
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
            Source::Checkpoint(weights) => Source::Checkpoint(weights.scope(name)),
            Source::Invented(synthetic) => Source::Invented(synthetic.scope(name)),
            Source::Listed(list) => Source::Listed(list.scope(name)),
        };
        Params { source, ..self.clone() }
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match &self.source {
            Source::Checkpoint(weights) => weights.contains(name),
            Source::Invented(synthetic) => synthetic.contains(name),
            Source::Listed(list) => list.contains(name),
        }
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<RawTensor, Error> {
        let raw = match &self.source {
            Source::Checkpoint(weights) => weights.get(name, shape)?,
            Source::Invented(synthetic) => synthetic.tensor(name, shape),
            Source::Listed(list) => list.read(name, shape)?,
        };
        (self.on_read)(raw.data.len() as u64);
        match (&self.merge, &self.source) {
            (Some(merge), Source::Checkpoint(weights)) => merge.apply(&weights.canonical(name), raw),
            _ => Ok(raw),
        }
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, Error> {
        Ok(weight(self.read(name, &[len])?).view().to_f32())
    }

    fn bias(&self, len: usize) -> Result<Option<Vec<f32>>, Error> {
        if self.contains("bias") { self.vector("bias", len).map(Some) } else { Ok(None) }
    }

    /// A table `[rows, width]`, in main memory on every device.
    pub fn embedding(&self, name: &str, dims: [usize; 2]) -> Result<Embedding, Error> {
        let raw = self.scope(name).read("weight", &dims)?;
        Ok(Embedding::new(weight(raw), dims)?)
    }

    /// A linear layer, with a bias if there is one. A 1x1 convolution is one too: the shape in the file may be
    /// `[outputs, inputs, 1]` or `[outputs, inputs, 1, 1]`.
    pub fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, Error> {
        let layer = self.scope(name);
        let in_file = match &layer.source {
            Source::Checkpoint(weights) => weights.shape("weight"),
            Source::Listed(list) => list.shape("weight"),
            Source::Invented(_) => None,
        };
        let shape = [outputs, inputs, 1, 1];
        let rank = in_file.map_or(2, |shape| shape.len().clamp(2, 4));
        let raw = layer.read("weight", &shape[..rank])?;
        Ok(Linear::new(weight(raw), [outputs, inputs], layer.bias(outputs)?)?.to(&self.device)?)
    }

    /// Three linear layers that lie one after the other in `name_weight` and `name_bias`, as in
    /// `torch.nn.MultiheadAttention`: queries, keys and values.
    pub fn fused(&self, name: &str, outputs: usize, inputs: usize) -> Result<[Linear; 3], Error> {
        let raw = self.read(&format!("{name}_weight"), &[3 * outputs, inputs])?;
        let bias = self.vector(&format!("{name}_bias"), 3 * outputs)?;
        let bytes = raw.data.len() / 3;
        let layer = |i: usize| -> Result<Linear, Error> {
            let data = raw.data.slice((i * bytes) as u64, bytes).expect("a third of them");
            let part = RawTensor { dtype: raw.dtype, shape: vec![outputs, inputs], data };
            let bias = bias[i * outputs..][..outputs].to_vec();
            Ok(Linear::new(weight(part), [outputs, inputs], Some(bias))?.to(&self.device)?)
        };
        Ok([layer(0)?, layer(1)?, layer(2)?])
    }

    /// A square linear layer without bias: `name.weight` `[outputs, inputs]`, or OpenCLIP's `name` `[inputs, outputs]`.
    /// Both have the same shape: only the name tells them apart.
    pub fn projection(&self, name: &str, width: usize) -> Result<Linear, Error> {
        let layer = self.scope(name);
        if layer.contains("weight") || !self.contains(name) {
            let raw = layer.read("weight", &[width, width])?;
            return Ok(Linear::new(weight(raw), [width, width], None)?.to(&self.device)?);
        }
        let raw = self.read(name, &[width, width])?;
        if let Source::Listed(_) = self.source {
            return Ok(Linear::new(weight(raw), [width, width], None)?);
        }
        let raw = without_blocks(raw)?;
        let size = raw.data.len() / (width * width).max(1);
        let mut data = Vec::with_capacity(raw.data.len());
        for output in 0..width {
            for input in 0..width {
                data.extend_from_slice(&raw.data[(input * width + output) * size..][..size]);
            }
        }
        let turned = RawTensor { data: data.into(), ..raw };
        Ok(Linear::new(weight(turned), [width, width], None)?.to(&self.device)?)
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
        let raw = layer.read("weight", &[outputs, inputs, kernel, kernel])?;
        let bias = layer.bias(outputs)?;
        Ok(Conv2d::new(weight(raw), [outputs, inputs, kernel], stride, padding, bias)?.to(&self.device)?)
    }

    /// A convolution of a square kernel, which has no bias.
    pub fn conv_without_bias(
        &self,
        name: &str,
        [outputs, inputs, kernel]: [usize; 3],
        stride: usize,
        padding: Padding,
    ) -> Result<Conv2d, Error> {
        let raw = self.scope(name).read("weight", &[outputs, inputs, kernel, kernel])?;
        Ok(Conv2d::new(weight(raw), [outputs, inputs, kernel], stride, padding, None)?.to(&self.device)?)
    }

    /// A 3x3 convolution that keeps the image's size.
    pub fn conv3x3(&self, name: &str, outputs: usize, inputs: usize) -> Result<Conv2d, Error> {
        self.conv(name, [outputs, inputs, 3], 1, Padding::all(1))
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

/// A tensor whose values can be put into another order: blocks lie along the rows.
pub(crate) fn without_blocks(raw: RawTensor) -> Result<RawTensor, Error> {
    if !raw.dtype.is_block_format() {
        return Ok(raw);
    }
    let data: Vec<u8> = raw.to_f32()?.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(RawTensor { dtype: DType::F32, shape: raw.shape, data: data.into() })
}

/// A tensor as the kernels know it; its bytes are not copied.
fn weight(raw: RawTensor) -> Weight {
    Weight::new(raw.dtype, Arc::new(raw.data))
}
