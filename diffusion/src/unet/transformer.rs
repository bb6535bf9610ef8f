//! Attention to the image itself and to the text (Rombach et al., High-Resolution Image Synthesis with Latent
//! Diffusion Models, 2022, section 3.3).

use super::Heads;
use super::lllite::{BlockLllites, LlliteBlock, SteeredProjection};
use crate::Error;
use crate::params::{BlockList, Params};
use latent_tensor::ops::TokenMerge;
use latent_tensor::{GroupNorm, LayerNorm, Linear, Precision, Tensor, ops};

/// Keys and values of the text for one cross-attention, each `[batch, tokens, channels]`.
pub(crate) struct KeysValues {
    keys: Tensor,
    values: Tensor,
}

impl KeysValues {
    /// Keys and values that other layers than the UNet's own made.
    pub(super) fn new([keys, values]: [Tensor; 2]) -> KeysValues {
        KeysValues { keys, values }
    }
}

/// What the attentions that have not run yet are conditioned on.
pub(crate) struct TextKeys<'a> {
    keys_values: std::slice::Iter<'a, KeysValues>,
    /// Those of image prompts, and how strongly each acts.
    image_prompts: Vec<(f32, std::slice::Iter<'a, KeysValues>)>,
    /// What each ControlNet-LLLite adds in each transformer block, and how strongly.
    lllites: Vec<(f32, std::slice::Iter<'a, LlliteBlock>)>,
    token_merging: f64,
    is_perturbed: bool,
}

/// What one cross-attention attends to.
struct AttendedKeys<'a> {
    text: &'a KeysValues,
    image_prompts: Vec<(f32, &'a KeysValues)>,
}

impl<'a> TextKeys<'a> {
    /// The keys and values of cross-attentions, in their order, the part of the tokens that the finest self-attentions
    /// merge, and whether those of the mid block are perturbed.
    pub(super) fn new(keys_values: &'a [KeysValues], token_merging: f64, is_perturbed: bool) -> TextKeys<'a> {
        let (image_prompts, lllites) = (Vec::new(), Vec::new());
        TextKeys { keys_values: keys_values.iter(), image_prompts, lllites, token_merging, is_perturbed }
    }

    /// With the keys and values of an image prompt for the same cross-attentions, and how strongly it acts.
    pub(super) fn with_image_prompt(mut self, strength: f32, keys_values: &'a [KeysValues]) -> TextKeys<'a> {
        self.image_prompts.push((strength, keys_values.iter()));
        self
    }

    /// With what a ControlNet-LLLite adds in the same transformer blocks, and how strongly.
    pub(super) fn with_lllite(mut self, strength: f32, blocks: &'a [LlliteBlock]) -> TextKeys<'a> {
        self.lllites.push((strength, blocks.iter()));
        self
    }

    /// What ControlNet-LLLites add in the next transformer block.
    fn next_block(&mut self) -> BlockLllites<'a> {
        let mut acting = BlockLllites::default();
        for (strength, blocks) in &mut self.lllites {
            if let Some(block) = blocks.next() {
                acting.push(*strength, block);
            }
        }
        acting
    }

    /// Those of the next cross-attention.
    fn next(&mut self) -> Result<AttendedKeys<'a>, Error> {
        let reason = || "was made for a model with fewer cross-attentions".to_owned();
        let refuse = || Error::setting(crate::Setting::Condition, reason());
        let text = self.keys_values.next().ok_or_else(refuse)?;
        let of_image = |(strength, keys): &mut (f32, std::slice::Iter<'a, KeysValues>)| {
            Ok((*strength, keys.next().ok_or_else(refuse)?))
        };
        let image_prompts = self.image_prompts.iter_mut().map(of_image).collect::<Result<_, Error>>()?;
        Ok(AttendedKeys { text, image_prompts })
    }

    /// How many of an image's tokens are merged.
    fn merged(&self, tokens: usize) -> usize {
        (tokens as f64 * self.token_merging) as usize
    }
}

/// A transformer over the pixels of an image (`Transformer2DModel`).
pub(super) struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: BlockList<BasicTransformerBlock>,
    /// Attentions of a block that read the text.
    readers: usize,
    proj_out: Linear,
    /// Whether it is at the finest level with attention, where tokens may be merged.
    is_finest: bool,
    /// Whether it is in the mid block, where self-attentions may be perturbed.
    is_mid: bool,
}

impl SpatialTransformer {
    /// `context` is the width of the text, and whether all attentions read it (`only_cross_attention`).
    pub(super) fn load(
        params: &Params<'_>,
        channels: usize,
        depth: usize,
        context: (usize, bool),
        heads: Heads,
    ) -> Result<SpatialTransformer, Error> {
        let heads = heads.count(channels);
        let block = move |params: &Params<'_>, i| {
            let params = params.scope("transformer_blocks").scope(i);
            BasicTransformerBlock::load(&params, channels, context, heads)
        };
        Ok(SpatialTransformer {
            norm: params.group_norm("norm", channels, 1e-6)?,
            proj_in: params.linear("proj_in", channels, channels)?,
            transformer_blocks: BlockList::load(params, depth, block)?,
            readers: if context.1 { 2 } else { 1 },
            proj_out: params.linear("proj_out", channels, channels)?,
            is_finest: false,
            is_mid: false,
        })
    }

    /// This transformer, and whether it is at the finest level with attention.
    pub(super) fn at_finest_level(self, is_finest: bool) -> SpatialTransformer {
        SpatialTransformer { is_finest, ..self }
    }

    /// This transformer as that of the mid block.
    pub(super) fn in_mid_block(self) -> SpatialTransformer {
        SpatialTransformer { is_mid: true, ..self }
    }

    /// Keys and values of each block's attention to the text, `[batch, tokens, context]`.
    pub(super) fn keys_values(&self, text: &Tensor) -> Result<Vec<KeysValues>, Error> {
        let mut all = Vec::with_capacity(self.readers());
        for i in 0..self.transformer_blocks.len() {
            for attention in self.transformer_blocks.get(i)?.readers() {
                all.push(attention.keys_values(text)?);
            }
        }
        Ok(all)
    }

    /// Number of attentions that read the text, each of which has keys and values of it.
    pub(super) fn readers(&self) -> usize {
        self.transformer_blocks.len() * self.readers
    }

    /// Number of transformer blocks.
    pub(super) fn blocks(&self) -> usize {
        self.transformer_blocks.len()
    }

    /// `x` `[batch, height, width, channels]`; the result as `x`.
    pub(super) fn forward(&self, x: Tensor, text: &mut TextKeys<'_>) -> Result<Tensor, Error> {
        let &[batch, height, width, channels] = x.dims() else {
            unreachable!("group norm below takes images")
        };
        let mut hidden = ops::linear(&ops::group_norm(&x, &self.norm)?, &self.proj_in)?;
        hidden = hidden.reshape(&[batch, height * width, channels])?;
        let merged = if self.is_finest { text.merged(height * width) } else { 0 };
        let reach = match (self.is_mid && text.is_perturbed, merged) {
            (true, _) => SelfReach::Itself,
            (_, 0) => SelfReach::All,
            _ => SelfReach::Merged([height, width], merged),
        };
        for i in 0..self.transformer_blocks.len() {
            hidden = self.transformer_blocks.get(i)?.forward(hidden, text, reach)?;
        }
        Ok(ops::linear_add(&hidden.reshape(&[batch, height, width, channels])?, &self.proj_out, x)?)
    }
}

/// What a position attends to in a self-attention.
#[derive(Clone, Copy)]
enum SelfReach {
    All,
    /// All, with so many of the positions in a grid `[height, width]` merged.
    Merged([usize; 2], usize),
    /// Itself alone: the attention map is the identity (perturbed-attention guidance).
    Itself,
}

/// Self-attention, cross-attention and feed-forward, each applied to a layer norm of its input and added to the input.
struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: CrossAttention,
    /// Whether the first attention reads the text too.
    reads_text_alone: bool,
    norm2: LayerNorm,
    attn2: CrossAttention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl BasicTransformerBlock {
    fn load(
        params: &Params<'_>,
        channels: usize,
        (context, reads_text_alone): (usize, bool),
        heads: usize,
    ) -> Result<BasicTransformerBlock, Error> {
        let first = if reads_text_alone { context } else { channels };
        Ok(BasicTransformerBlock {
            norm1: params.layer_norm("norm1", channels)?,
            attn1: CrossAttention::load(&params.scope("attn1"), channels, first, heads)?,
            reads_text_alone,
            norm2: params.layer_norm("norm2", channels)?,
            attn2: CrossAttention::load(&params.scope("attn2"), channels, context, heads)?,
            norm3: params.layer_norm("norm3", channels)?,
            ff: FeedForward::load(&params.scope("ff.net"), channels)?,
        })
    }

    /// The attentions that read the text.
    fn readers(&self) -> impl Iterator<Item = &CrossAttention> {
        self.reads_text_alone.then_some(&self.attn1).into_iter().chain([&self.attn2])
    }

    /// `x` `[batch, pixels, channels]`; the result as `x`.
    fn forward(&self, x: Tensor, text: &mut TextKeys<'_>, reach: SelfReach) -> Result<Tensor, Error> {
        let lllites = text.next_block();
        let normed = ops::layer_norm(&x, &self.norm1)?;
        if self.reads_text_alone {
            let normed = lllites.input(SteeredProjection::SelfQuery, &normed)?;
            let x = self.attn1.forward_to(&text.next()?, &normed, x)?;
            return self.forward_rest(x, text, &lllites);
        }
        // As the authors do it, similarities are those of what enters the norm.
        let merge = match reach {
            SelfReach::Merged(grid, merged) => Some(ops::match_tokens(&x, grid, merged)?),
            SelfReach::All | SelfReach::Itself => None,
        };
        let x = match (reach, merge.filter(|merge| merge.kept() < x.dims()[1])) {
            (SelfReach::Itself, _) => self.attn1.forward_itself(&normed, x, &lllites)?,
            (_, Some(merge)) => self.attn1.forward_merged(normed, &merge, x, &lllites)?,
            (_, None) => self.attn1.forward_self(&normed, x, &lllites)?,
        };
        self.forward_rest(x, text, &lllites)
    }

    /// What follows the first attention.
    fn forward_rest(
        &self,
        x: Tensor,
        text: &mut TextKeys<'_>,
        lllites: &BlockLllites<'_>,
    ) -> Result<Tensor, Error> {
        let mut normed = ops::layer_norm(&x, &self.norm2)?;
        if !lllites.is_empty() {
            normed = lllites.input(SteeredProjection::CrossQuery, &normed)?;
        }
        let x = self.attn2.forward_to(&text.next()?, &normed, x)?;
        drop(normed);
        self.ff.forward(&ops::layer_norm(&x, &self.norm3)?, x)
    }
}

/// Attention of a sequence to another, or to itself (`Attention`).
struct CrossAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    precision: Precision,
}

impl CrossAttention {
    fn load(
        params: &Params<'_>,
        channels: usize,
        context: usize,
        heads: usize,
    ) -> Result<CrossAttention, Error> {
        Ok(CrossAttention {
            to_q: params.linear("to_q", channels, channels)?,
            to_k: params.linear("to_k", channels, context)?,
            to_v: params.linear("to_v", channels, context)?,
            to_out: params.linear("to_out.0", channels, channels)?,
            heads,
            precision: params.precision(),
        })
    }

    /// Keys and values of another sequence `[batch, tokens, context]`.
    fn keys_values(&self, context: &Tensor) -> Result<KeysValues, Error> {
        let [keys, values] = ops::linear_many(context, [&self.to_k, &self.to_v])?;
        Ok(KeysValues { keys, values })
    }

    /// Attention of `x` to itself, plus `residual`.
    fn forward_self(
        &self,
        x: &Tensor,
        residual: Tensor,
        lllites: &BlockLllites<'_>,
    ) -> Result<Tensor, Error> {
        let out = match lllites.is_empty() {
            true => self.attend(x)?,
            false => self.attend_steered(x, lllites, None)?,
        };
        Ok(ops::linear_add(&out, &self.to_out, residual)?)
    }

    /// The same where each position attends to itself alone: its own value.
    fn forward_itself(
        &self,
        x: &Tensor,
        residual: Tensor,
        lllites: &BlockLllites<'_>,
    ) -> Result<Tensor, Error> {
        let values = ops::linear(&lllites.input(SteeredProjection::SelfValue, x)?, &self.to_v)?;
        Ok(ops::linear_add(&values, &self.to_out, residual)?)
    }

    /// The same with some tokens merged into others: they get the same.
    fn forward_merged(
        &self,
        x: Tensor,
        merge: &TokenMerge,
        residual: Tensor,
        lllites: &BlockLllites<'_>,
    ) -> Result<Tensor, Error> {
        let out = if lllites.is_empty() {
            let merged = ops::merge_tokens(&x, merge)?;
            drop(x);
            self.attend(&merged)?
        } else {
            self.attend_steered(&x, lllites, Some(merge))?
        };
        Ok(ops::unmerge_add(&ops::linear(&out, &self.to_out)?, merge, residual)?)
    }

    /// Attention of `x` to itself, before the last layer.
    fn attend(&self, x: &Tensor) -> Result<Tensor, Error> {
        let [q, k, v] = ops::linear_many(x, [&self.to_q, &self.to_k, &self.to_v])?;
        Ok(ops::attention_in(self.precision, &q, &k, &v, self.heads, false)?)
    }

    /// The same where each layer has an input of its own. Tokens are merged afterwards: what is added is of pixels.
    fn attend_steered(
        &self,
        x: &Tensor,
        lllites: &BlockLllites<'_>,
        merge: Option<&TokenMerge>,
    ) -> Result<Tensor, Error> {
        let project = |projection: SteeredProjection, layer: &Linear| -> Result<Tensor, Error> {
            let mut input = lllites.input(projection, x)?;
            if let Some(merge) = merge {
                input = ops::merge_tokens(&input, merge)?;
            }
            Ok(ops::linear(&input, layer)?)
        };
        let q = project(SteeredProjection::SelfQuery, &self.to_q)?;
        let k = project(SteeredProjection::SelfKey, &self.to_k)?;
        let v = project(SteeredProjection::SelfValue, &self.to_v)?;
        Ok(ops::attention_in(self.precision, &q, &k, &v, self.heads, false)?)
    }

    /// Attention of `x` to the text and to image prompts, each by itself, plus `residual`.
    fn forward_to(&self, other: &AttendedKeys<'_>, x: &Tensor, residual: Tensor) -> Result<Tensor, Error> {
        let q = ops::linear(x, &self.to_q)?;
        let attend = |KeysValues { keys, values }: &KeysValues| {
            ops::attention_in(self.precision, &q, keys, values, self.heads, false)
        };
        let mut out = attend(other.text)?;
        for (strength, keys_values) in &other.image_prompts {
            out = ops::add(out, &ops::scale(attend(keys_values)?, *strength)?)?;
        }
        Ok(ops::linear_add(&out, &self.to_out, residual)?)
    }
}

/// Two linear layers with a gated GELU between (`FeedForward`; Shazeer, GLU Variants Improve Transformer, 2020).
struct FeedForward {
    net_0_proj: Linear,
    net_2: Linear,
}

impl FeedForward {
    fn load(params: &Params<'_>, channels: usize) -> Result<FeedForward, Error> {
        Ok(FeedForward {
            net_0_proj: params.linear("0.proj", 8 * channels, channels)?,
            net_2: params.linear("2", channels, 4 * channels)?,
        })
    }

    fn forward(&self, x: &Tensor, residual: Tensor) -> Result<Tensor, Error> {
        let hidden = ops::linear_geglu(x, &self.net_0_proj)?;
        Ok(ops::linear_add(&hidden, &self.net_2, residual)?)
    }
}
