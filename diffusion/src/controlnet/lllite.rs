//! ControlNet-LLLite: small networks inside the attentions of a UNet, each of which sees the control image by itself (kohya-ss,
//! sd-scripts; the original has no paper).
//!
//! A module acts before a layer that makes queries, keys or values: the image, embedded by convolutions, and the layer's input,
//! made narrow, go through one layer, and what comes out is added to that input.

use crate::tensor_names::ldm;
use crate::unet::{
    LlliteBlock, LlliteLayers, LlliteModule, SteeredProjection, UNetConfig, transformer_places,
};
use crate::{Error, Setting, params::Params};
use latent_loader::Weights;
use latent_tensor::{Conv2d, Device, Padding, Tensor, ops};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Beginning of the names of modules.
const PREFIX: &str = "lllite_unet_";
/// Channels of an image.
const RGB: usize = 3;

/// Sizes of a ControlNet-LLLite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlliteConfig {
    /// Its modules by the name of the layer that each acts before, with underscores.
    modules: BTreeMap<String, ModuleSizes>,
}

/// Sizes of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ModuleSizes {
    /// Width of the layer's input.
    inputs: usize,
    /// Width inside (`mlp_dim`).
    width: usize,
    /// Outputs, inputs and side of each convolution of the image; the side is also its stride. Their number and sides follow from
    /// what the trainer calls `depth`, the last one's outputs are its `cond_emb_dim`.
    conditioning: Vec<[usize; 3]>,
}

impl ModuleSizes {
    /// From the shapes of a module's tensors. The error is the reason, without the module's name.
    fn from_weights(weights: &Weights) -> Result<ModuleSizes, String> {
        let shape = |name: &str| weights.shape(name).ok_or_else(|| format!("lacks {name}"));
        let mut conditioning = Vec::new();
        // The activations between them are numbered, too.
        for i in (0..).step_by(2) {
            match weights.shape(&format!("conditioning1.{i}.weight")) {
                None => break,
                Some(&[outputs, inputs, height, width]) if height == width && height > 0 => {
                    conditioning.push([outputs, inputs, height]);
                }
                Some(other) => return Err(format!("has a convolution of shape {other:?}")),
            }
        }
        let (down, mid) = (shape("down.0.weight")?, shape("mid.0.weight")?);
        let (&[width, inputs], &[mid_width, mid_inputs]) = (down, mid) else {
            return Err(format!(
                "has layers of shapes {down:?} and {mid:?}, which are not those of an attention"
            ));
        };
        let first = conditioning.first().map(|[_, inputs, _]| *inputs);
        let is_chain = conditioning.windows(2).all(|pair| pair[0][0] == pair[1][1]);
        let embedding = conditioning.last().map_or(0, |last| last[0]);
        if first != Some(RGB)
            || !is_chain
            || mid_width != width
            || Some(mid_inputs) != width.checked_add(embedding)
        {
            return Err(format!("has convolutions {conditioning:?} and layers {down:?} and {mid:?}"));
        }
        Ok(ModuleSizes { inputs, width, conditioning })
    }

    fn embedding(&self) -> usize {
        self.conditioning.last().map_or(0, |last| last[0])
    }

    /// Pixels of the image along a side of an element of its embedding.
    fn factor(&self) -> usize {
        self.conditioning.iter().fold(1, |product, [_, _, side]| product.saturating_mul(*side))
    }
}

/// The transformer block of a module and the layer in it, of a UNet.
#[derive(Clone, Copy, Debug)]
struct ModulePlace {
    /// Number of the transformer block, in the order in which they run.
    block: usize,
    level: usize,
    channels: usize,
    projection: SteeredProjection,
}

/// Where the modules of a ControlNet-LLLite belong in a UNet, by their names.
fn places(unet: &UNetConfig) -> BTreeMap<String, ModulePlace> {
    let mut places = BTreeMap::new();
    for (block, place) in transformer_places(unet).into_iter().enumerate() {
        let original = ldm::unet_layer_from_canonical(&place.name, unet.layers_per_block);
        for projection in SteeredProjection::ALL {
            // A layer that reads the text has no pixels.
            let reads_text = matches!(projection, SteeredProjection::SelfKey | SteeredProjection::SelfValue);
            if place.reads_text_alone && reads_text {
                continue;
            }
            let (level, channels) = (place.level, unet.block_out_channels[place.level]);
            let target = ModulePlace { block, level, channels, projection };
            for name in original.iter().chain([&place.name]) {
                places.insert(format!("{}_{}", name.replace('.', "_"), projection.layer()), target);
            }
        }
    }
    places
}

impl LlliteConfig {
    /// Whether names of tensors are those of a ControlNet-LLLite for a UNet.
    pub(crate) fn is_for_unet<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
        names.any(|name| name.starts_with(PREFIX))
    }

    /// Reads the sizes from tensors named as in the file.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: modules of other layers than those of an attention.
    pub fn from_weights(weights: &Weights) -> Result<LlliteConfig, Error> {
        let refuse = |reason: String| Error::Unsupported { file: weights.label().to_owned(), reason };
        let named = |name: &str| name.strip_prefix(PREFIX)?.split('.').next().map(str::to_owned);
        let names: BTreeSet<String> = weights.names().filter_map(named).collect();
        let mut modules = BTreeMap::new();
        for name in names {
            let sizes = ModuleSizes::from_weights(&weights.scope(format!("{PREFIX}{name}")));
            let sizes = sizes.map_err(|reason| {
                refuse(format!("is a ControlNet-LLLite that cannot be built: {name} {reason}"))
            })?;
            modules.insert(name, sizes);
        }
        Ok(LlliteConfig { modules })
    }

    /// Number of modules.
    #[must_use]
    pub fn modules(&self) -> usize {
        self.modules.len()
    }

    /// Why it does not fit a UNet, as the end of a sentence that begins with the file.
    pub(super) fn misfit(&self, unet: &UNetConfig) -> Option<String> {
        let places = places(unet);
        self.modules.iter().find_map(|(name, sizes)| match places.get(name) {
            None => Some(format!(
                "acts before {name}, which the model's UNet has not got or cannot be steered at"
            )),
            Some(place) if place.channels != sizes.inputs => Some(format!(
                "has a module of {} channels for {name}, which has {} in the model",
                sizes.inputs, place.channels
            )),
            Some(_) => None,
        })
    }

    /// Bytes of the embedded image for latents of this width and height, and `batch` of them at once.
    pub(crate) fn embedding_bytes(
        &self,
        unet: &UNetConfig,
        (width, height): (usize, usize),
        batch: usize,
    ) -> u64 {
        let places = places(unet);
        let bytes = |(name, sizes): (&String, &ModuleSizes)| {
            let [height, width] = places.get(name).map_or([0; 2], |place| grid([height, width], place.level));
            (height * width * sizes.embedding() * batch * size_of::<f32>()) as u64
        };
        self.modules.iter().map(bytes).sum()
    }

    /// Loads all its modules, wherever they belong, from tensors named as in the file.
    pub(super) fn load_layers(&self, params: &Params<'_>) -> Result<(), Error> {
        self.modules.iter().try_for_each(|(name, sizes)| module(params, name, sizes).map(drop))
    }
}

/// Height and width of a level of a UNet for latents of this size.
fn grid(latents: [usize; 2], level: usize) -> [usize; 2] {
    latents.map(|side| (0..level).fold(side, |side, _| side.div_ceil(2)))
}

/// The convolutions of a module, in main memory and `f32`, and its layers.
fn module(
    params: &Params<'_>,
    name: &str,
    sizes: &ModuleSizes,
) -> Result<(Vec<Conv2d>, LlliteLayers), Error> {
    let params = params.scope(format!("{PREFIX}{name}"));
    let image = params.exact().on(&Device::Cpu);
    let conv = |(i, [outputs, inputs, side]): (usize, &[usize; 3])| {
        let none = Padding::all(0);
        image.conv(&format!("conditioning1.{}", 2 * i), [*outputs, *inputs, *side], *side, none)
    };
    let conditioning = sizes.conditioning.iter().enumerate().map(conv).collect::<Result<_, _>>()?;
    Ok((conditioning, LlliteLayers::load(&params, sizes.inputs, sizes.width, sizes.embedding())?))
}

/// A loaded ControlNet-LLLite.
pub struct Lllite {
    modules: Vec<LoadedModule>,
    /// Transformer blocks of the UNet.
    blocks: usize,
    device: Device,
}

struct LoadedModule {
    place: ModulePlace,
    factor: usize,
    conditioning: Vec<Conv2d>,
    layers: Arc<LlliteLayers>,
}

impl fmt::Debug for Lllite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lllite").field("modules", &self.modules.len()).finish_non_exhaustive()
    }
}

impl Lllite {
    /// Loads one for a UNet from tensors named as in the file.
    ///
    /// # Errors
    /// A tensor that is missing, mis-shaped or unreadable; a module that the UNet has no layer for.
    pub fn load(params: &Params<'_>, config: &LlliteConfig, unet: &UNetConfig) -> Result<Lllite, Error> {
        let places = places(unet);
        let mut modules = Vec::new();
        for (name, sizes) in &config.modules {
            let place = *places.get(name).ok_or_else(|| {
                let reason = format!("a ControlNet-LLLite acts before {name}, which this UNet has not got");
                Error::setting(Setting::ControlNet, reason)
            })?;
            let (conditioning, layers) = module(params, name, sizes)?;
            modules.push(LoadedModule {
                place,
                factor: sizes.factor(),
                conditioning,
                layers: Arc::new(layers),
            });
        }
        Ok(Lllite { modules, blocks: transformer_places(unet).len(), device: params.device().clone() })
    }

    /// Embeds a control image `[1, height, width, 3]` of 0..1, whose latents have the given height and width: for each module
    /// `[1, pixels, channels]` in main memory. The result serves every step.
    ///
    /// # Errors
    /// An image that is smaller than what a module sees as one.
    pub fn embed(&self, hint: &Tensor, latents: [usize; 2]) -> Result<Vec<Tensor>, Error> {
        let values: Vec<f32> = hint.f32s()?.iter().map(|value| 2.0 * value - 1.0).collect();
        let image = Tensor::from_f32(hint.dims(), &values)?;
        self.modules.iter().map(|module| module.embed(&image, latents)).collect()
    }

    /// What it adds in each transformer block of its UNet, for a batch: embedded images from [`Lllite::embed`].
    ///
    /// # Errors
    /// Out of memory.
    pub fn blocks(&self, embeddings: &[Tensor], batch: usize) -> Result<Vec<LlliteBlock>, Error> {
        let mut blocks = vec![LlliteBlock::default(); self.blocks];
        for (module, embedding) in self.modules.iter().zip(embeddings) {
            let mut dims = embedding.dims().to_vec();
            dims[0] = batch;
            let embedding = Tensor::from_f32(&dims, &embedding.f32s()?.repeat(batch))?.to(&self.device)?;
            let ModulePlace { block, projection, .. } = module.place;
            blocks[block].modules[projection as usize] =
                Some(LlliteModule { layers: module.layers.clone(), embedding });
        }
        Ok(blocks)
    }
}

impl LoadedModule {
    fn embed(&self, image: &Tensor, latents: [usize; 2]) -> Result<Tensor, Error> {
        let smallest = image.dims()[1].min(image.dims()[2]);
        if smallest < self.factor {
            let reason = format!(
                "a side of {smallest} pixels is too small for a ControlNet-LLLite, which sees {} as one; draw a larger image",
                self.factor
            );
            return Err(Error::setting(Setting::ControlImage, reason));
        }
        let mut x = image.clone();
        for (i, conv) in self.conditioning.iter().enumerate() {
            x = ops::conv2d(&if i == 0 { x } else { ops::relu(x)? }, conv)?;
        }
        nearest_exact(&x, grid(latents, self.place.level))
    }
}

/// An image of another size, each pixel the one whose middle is nearest (`nearest-exact` of torch): `[1, height, width, channels]`
/// to `[1, pixels, channels]`.
fn nearest_exact(x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor, Error> {
    let &[_, rows, columns, channels] = x.dims() else { unreachable!("a convolution gives images") };
    let dims = [1, height * width, channels];
    if [rows, columns] == [height, width] {
        return Ok(x.clone().reshape(&dims)?);
    }
    let values = x.f32s()?;
    let from = |i: usize, size: usize, own: usize| ((2 * i + 1) * own / (2 * size)).min(own - 1);
    let mut out = Vec::with_capacity(dims.iter().product());
    for row in 0..height {
        for column in 0..width {
            let pixel = from(row, height, rows) * columns + from(column, width, columns);
            out.extend_from_slice(&values[pixel * channels..][..channels]);
        }
    }
    Ok(Tensor::from_f32(&dims, &out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_pixel_is_that_of_torch() {
        let x = Tensor::from_f32(&[1, 1, 2, 1], &[1.0, 2.0]).unwrap();
        let wide = nearest_exact(&x, [1, 3]).unwrap();
        assert_eq!((wide.dims(), wide.f32s().unwrap()), (&[1, 3, 1][..], &[1.0, 2.0, 2.0][..]));
        let x = Tensor::from_f32(&[1, 3, 1, 1], &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(nearest_exact(&x, [2, 1]).unwrap().f32s().unwrap(), [1.0, 3.0]);
        assert_eq!(nearest_exact(&x, [5, 1]).unwrap().f32s().unwrap(), [1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(grid([5, 8], 2), [2, 2]);
    }
}
