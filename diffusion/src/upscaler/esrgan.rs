//! ESRGAN (Wang et al., ESRGAN, 2018), the network of Real-ESRGAN too (Wang et al., 2021): `RRDBNet`.

use super::RGB;
use super::rrdb::Rrdb;
use super::shapes::conv_shape;
use crate::Error;
use crate::blocks::BlockCount;
use crate::params::Params;
use latent_loader::Weights;
use latent_tensor::{Conv2d, Epilogue, Prologue, Tensor, ops};

/// Maximum doublings: 16 times as high and wide.
const MAX_DOUBLINGS: usize = 4;

/// Sizes of an `RRDBNet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EsrganConfig {
    /// Channels between the blocks: 64.
    pub features: usize,
    /// Channels that each convolution of a dense block adds: 32.
    pub growth: usize,
    /// Residual blocks: 23; 6 in small ones.
    pub blocks: usize,
    /// Number of times that the head doubles the sides: 2.
    pub doublings: usize,
    /// Sides of the squares of pixels that become the channels of one before the trunk: 1, or 2 and 4 where the result is to
    /// be two times as large and as large as the image (Wang et al. 2021, figure 4).
    pub unshuffle: usize,
}

impl EsrganConfig {
    /// Reads the sizes from tensors named as Real-ESRGAN names them.
    pub(super) fn from_weights(weights: &Weights) -> Result<EsrganConfig, String> {
        let [features, inputs] = conv_shape(weights, "conv_first.weight")?;
        let [growth, _] = conv_shape(weights, "body.0.rdb1.conv1.weight")?;
        let count =
            |name: &dyn Fn(usize) -> String| (0..).take_while(|i| weights.contains(&name(*i))).count();
        let blocks = count(&|i| format!("body.{i}.rdb1.conv1.weight"));
        let doublings = count(&|i| format!("conv_up{}.weight", i + 1));
        let unshuffle = match inputs {
            3 => 1,
            12 => 2,
            48 => 4,
            _ => return Err(format!("it takes {inputs} channels, which are not colours")),
        };
        if doublings > MAX_DOUBLINGS || (1 << doublings) < unshuffle {
            return Err(format!("it doubles the sides {doublings} times"));
        }
        Ok(EsrganConfig { features, growth, blocks, doublings, unshuffle })
    }

    /// Channels that the first convolution takes.
    pub(super) fn inputs(&self) -> usize {
        RGB * self.unshuffle * self.unshuffle
    }

    /// Whether a network of these sizes has a layer of that canonical name.
    pub(super) fn has_layer(&self, path: &str) -> bool {
        let number = |text: &str, all: std::ops::Range<usize>| text.parse().is_ok_and(|n| all.contains(&n));
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["conv_first" | "conv_body" | "conv_hr" | "conv_last"] => true,
            [up] => up.strip_prefix("conv_up").is_some_and(|up| number(up, 1..self.doublings + 1)),
            ["body", block, dense, conv] => {
                number(block, 0..self.blocks)
                    && dense.strip_prefix("rdb").is_some_and(|dense| number(dense, 1..4))
                    && conv.strip_prefix("conv").is_some_and(|conv| number(conv, 1..6))
            }
            _ => false,
        }
    }

    /// Values that the trunk holds at once for a pixel: the residuals of all blocks, of a block and of a dense block, and the
    /// widest concatenation in a dense block.
    pub(super) fn trunk_values(&self) -> usize {
        let EsrganConfig { features, growth, .. } = *self;
        3 * features + (features + 3 * growth) + growth + (features + 4 * growth)
    }
}

/// The layers before the image is enlarged.
pub(super) struct EsrganTrunk {
    conv_first: Conv2d,
    body: Vec<Rrdb>,
    conv_body: Conv2d,
}

impl EsrganTrunk {
    pub(super) fn load(params: &Params<'_>, config: &EsrganConfig) -> Result<EsrganTrunk, Error> {
        let EsrganConfig { features, growth, blocks, .. } = *config;
        let body = params.scope("body");
        Ok(EsrganTrunk {
            conv_first: params.conv3x3("conv_first", features, config.inputs())?,
            body: (0..blocks)
                .map(|i| Rrdb::load(&body.scope(i), features, growth))
                .collect::<Result<_, _>>()?,
            conv_body: params.conv3x3("conv_body", features, features)?,
        })
    }

    /// `[1, height, width, inputs]` to `[1, height, width, features]`.
    pub(super) fn forward(&self, x: &Tensor, count: &mut BlockCount<'_>) -> Result<Tensor, Error> {
        let first = ops::conv2d(x, &self.conv_first)?;
        let mut hidden = first.clone();
        for block in &self.body {
            hidden = block.forward(hidden)?;
            count.add()?;
        }
        let residual = Epilogue::residual(first);
        Ok(ops::conv2d_fused(&hidden, &self.conv_body, Prologue::none(), residual)?)
    }
}
