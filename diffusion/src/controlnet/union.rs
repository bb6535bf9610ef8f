//! One ControlNet for several kinds of control images (ControlNet-Union and ProMax of xinsir; `ControlNetUnionModel`).
//!
//! The network is told the kind in two places: beside the time step, and by a vector of its own for each kind, which two
//! layers of attention join with the means of the embedded image and of the latents. What comes out is added to every pixel.

use super::config::UnionConfig;
use crate::text::{EncoderLayer, LayerSizes, TextActivation};
use crate::unet::{Condition, TimestepEmbedding, timestep_embedding};
use crate::{Error, params::Params};
use latent_tensor::{Device, Linear, Tensor, ops};

/// Heads of the attention between image and latents (`num_trans_head`).
pub(super) const HEADS: usize = 8;
/// Width of the sinusoids that say whether a kind is used (`addition_time_embed_dim`).
const TYPE_WIDTH: usize = 256;

/// A kind of control images, as a union of ControlNets numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// Poses of people.
    OpenPose,
    /// Depths.
    Depth,
    /// Soft lines: HED, PidiNet, scribbles, TEED.
    SoftEdge,
    /// Hard lines: Canny, line art, straight lines.
    Canny,
    /// Normals of surfaces.
    Normal,
    /// Segments.
    Segment,
    /// The image itself, to be drawn again with more detail (ProMax).
    Tile,
    /// The image itself with a black hole, to be filled (ProMax).
    Repaint,
}

impl ControlType {
    /// All of them, in the order of their numbers.
    pub const ALL: [ControlType; 8] = [
        ControlType::OpenPose,
        ControlType::Depth,
        ControlType::SoftEdge,
        ControlType::Canny,
        ControlType::Normal,
        ControlType::Segment,
        ControlType::Tile,
        ControlType::Repaint,
    ];

    /// Its name, as a program writes it.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            ControlType::OpenPose => "openpose",
            ControlType::Depth => "depth",
            ControlType::SoftEdge => "softedge",
            ControlType::Canny => "canny",
            ControlType::Normal => "normal",
            ControlType::Segment => "segment",
            ControlType::Tile => "tile",
            ControlType::Repaint => "repaint",
        }
    }

    /// The kind of that name, or of one of the names that other programs have for it.
    #[must_use]
    pub fn named(name: &str) -> Option<ControlType> {
        let name = name.to_lowercase();
        Some(match name.as_str() {
            "pose" => ControlType::OpenPose,
            "hed" | "pidi" | "scribble" | "ted" | "teed" | "sketch" => ControlType::SoftEdge,
            "lineart" | "anime_lineart" | "mlsd" => ControlType::Canny,
            "seg" | "segmentation" => ControlType::Segment,
            "inpaint" => ControlType::Repaint,
            _ => return ControlType::ALL.into_iter().find(|kind| kind.id() == name),
        })
    }

    /// Its number.
    fn index(self) -> usize {
        self as usize
    }
}

/// The layers that only a union has. They see two vectors an image and run on the CPU.
pub(super) struct UnionLayers {
    /// One vector for each kind.
    task_embedding: Vec<f32>,
    transformer_layes: Vec<EncoderLayer>,
    spatial_ch_projs: Linear,
    control_add_embedding: TimestepEmbedding,
    config: UnionConfig,
}

impl UnionLayers {
    /// `first` is the number of channels of the first level.
    pub(super) fn load(
        params: &Params<'_>,
        config: &UnionConfig,
        first: usize,
    ) -> Result<UnionLayers, Error> {
        let params = params.exact().on(&Device::Cpu);
        let width = config.width;
        let sizes = LayerSizes {
            width,
            mlp_width: 4 * width,
            heads: HEADS,
            activation: TextActivation::QuickGelu,
            is_causal: false,
        };
        let layer = |i| EncoderLayer::load(&params.scope("transformer_layes").scope(i), &sizes);
        let types = params.scope("control_add_embedding");
        Ok(UnionLayers {
            task_embedding: params.values("task_embedding", &[config.types, width])?,
            transformer_layes: (0..config.layers).map(layer).collect::<Result<_, _>>()?,
            spatial_ch_projs: params.linear("spatial_ch_projs", first, width)?,
            control_add_embedding: TimestepEmbedding::load(
                &types,
                TYPE_WIDTH * config.types,
                4 * first,
                None,
            )?,
            config: config.clone(),
        })
    }

    /// Tells a condition the kind.
    pub(super) fn set_type(
        &self,
        condition: &mut Condition,
        kind: ControlType,
        (batch, device): (usize, &Device),
    ) -> Result<(), Error> {
        let used: Vec<f32> =
            (0..self.config.types).map(|i| if i == kind.index() { 1.0 } else { 0.0 }).collect();
        let sinusoids = timestep_embedding(&used.repeat(batch), TYPE_WIDTH)?;
        let embedding =
            self.control_add_embedding.forward(&sinusoids.reshape(&[batch, TYPE_WIDTH * used.len()])?)?;
        condition.add_to_time(&embedding.to(device)?)
    }

    /// What is added to each pixel of the embedded image, `[batch, channels]`, in main memory. `latents` are the latents
    /// after the network's first convolution, `hint` is the embedded image.
    pub(super) fn shift(&self, latents: &Tensor, hint: &Tensor, kind: ControlType) -> Result<Tensor, Error> {
        let width = self.config.width;
        let (latents, mut hint) = (means(&latents.to(&Device::Cpu)?)?, means(&hint.to(&Device::Cpu)?)?);
        let task = &self.task_embedding[kind.index() * width..][..width];
        for image in hint.chunks_exact_mut(width) {
            image.iter_mut().zip(task).for_each(|(x, task)| *x += task);
        }
        let batch = hint.len() / width;
        let both: Vec<f32> = hint
            .chunks_exact(width)
            .zip(latents.chunks_exact(width))
            .flat_map(|(hint, latents)| hint.iter().chain(latents))
            .copied()
            .collect();
        let mut x = Tensor::from_f32(&[batch, 2, width], &both)?;
        for layer in &self.transformer_layes {
            x = layer.forward(x)?;
        }
        let of_hint: Vec<f32> =
            x.f32s()?.chunks_exact(2 * width).flat_map(|both| &both[..width]).copied().collect();
        Ok(ops::linear(&Tensor::from_f32(&[batch, width], &of_hint)?, &self.spatial_ch_projs)?)
    }
}

/// The mean of each channel of each image, of `[batch, height, width, channels]` in main memory.
fn means(x: &Tensor) -> Result<Vec<f32>, Error> {
    let &[_, height, width, channels] = x.dims() else { unreachable!("an image") };
    let mut means = Vec::new();
    for image in x.f32s()?.chunks_exact((height * width * channels).max(1)) {
        let mut sums = vec![0.0_f64; channels];
        for pixel in image.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        means.extend(sums.iter().map(|sum| (sum / (height * width) as f64) as f32));
    }
    Ok(means)
}
