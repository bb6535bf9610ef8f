//! One ControlNet for several kinds of control images (ControlNet-Union and ProMax of xinsir; `ControlNetUnionModel`).
//!
//! The network is told the kind in two places: beside the time step, and by a vector of its own for each kind, which a
//! transformer layer joins with the mean of the embedded image. What comes out is added to every pixel.

use crate::text::{EncoderLayer, LayerSizes, TextActivation};
use crate::unet::{Condition, TimestepEmbedding, timestep_embedding};
use crate::{Error, params::Params};
use latent_loader::Weights;
use latent_tensor::{Device, Linear, Tensor, ops};

/// Heads of its attention (`num_trans_head`).
const HEADS: usize = 8;
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

/// Sizes of the layers that only a ControlNet-Union has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnionConfig {
    /// Number of kinds: 6, and 8 of ProMax.
    pub types: usize,
    /// Channels of the attention between image and latents.
    pub width: usize,
    /// Layers of it.
    pub layers: usize,
}

impl UnionConfig {
    pub(super) fn from_weights(weights: &Weights, first: usize) -> Result<Option<UnionConfig>, Error> {
        if !weights.contains("task_embedding") {
            return Ok(None);
        }
        let is_layer = |i: &usize| weights.contains(&format!("transformer_layes.{i}.mlp.fc1.weight"));
        let (types, width) = (weights.dim("task_embedding", 0)?, weights.dim("task_embedding", 1)?);
        let layers = (0..).take_while(is_layer).count();
        // The attention joins the first level's channels.
        if types == 0 || types > ControlType::ALL.len() || width != first || !width.is_multiple_of(HEADS) {
            return Err(Error::Unsupported {
                file: weights.label().to_owned(),
                reason: format!("a ControlNet-Union of {types} kinds and width {width} cannot be built"),
            });
        }
        Ok(Some(UnionConfig { types, width, layers }))
    }
}

/// The layers that only a union has. They see one vector an image and run on the CPU.
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

    /// What is added to each pixel of the embedded image `hint`, `[batch, channels]`, in main memory.
    ///
    /// In diffusers and in the authors' program the attention joins this vector with the mean of the latents, but runs along the
    /// batch. So where an image is alone, or with a copy of itself under guidance, each vector sees itself only, and neither the
    /// latents nor the step count.
    pub(super) fn shift(&self, hint: &Tensor, kind: ControlType) -> Result<Tensor, Error> {
        let width = self.config.width;
        let mut seen = means(&hint.to(&Device::Cpu)?)?;
        let task = &self.task_embedding[kind.index() * width..][..width];
        for image in seen.chunks_exact_mut(width) {
            image.iter_mut().zip(task).for_each(|(x, task)| *x += task);
        }
        let batch = seen.len() / width;
        let mut x = Tensor::from_f32(&[batch, 1, width], &seen)?;
        for layer in &self.transformer_layes {
            x = layer.forward(x)?;
        }
        Ok(ops::linear(&x.reshape(&[batch, width])?, &self.spatial_ch_projs)?)
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
