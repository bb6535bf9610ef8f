//! Attention of image and text to each other, and of the image to itself.

use super::tokens::{join, sequence_dims, split};
use crate::{Error, params::Params};
use latent_tensor::ops::{self, AttentionOptions};
use latent_tensor::{Linear, Precision, RmsNorm, RotaryTable, Tensor};

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttentionShape {
    pub(crate) heads: usize,
    pub(crate) head_width: usize,
    /// Epsilon of the norms of queries and keys; `None` where they are not normed (SD 3).
    pub(crate) norm_eps: Option<f32>,
    pub(crate) has_bias: bool,
}

impl AttentionShape {
    pub(crate) fn width(&self) -> usize {
        self.heads * self.head_width
    }
}

/// Where the tokens of an attention are, and which of them count. It is the same for all blocks.
#[derive(Clone, Copy, Default)]
pub(crate) struct AttentionContext<'a> {
    /// The positions of all tokens.
    pub(crate) rotary: Option<&'a RotaryTable>,
    /// How many tokens of each sequence count; the others are padding at its end.
    pub(crate) key_lengths: Option<&'a [usize]>,
}

/// What the layers of queries, keys and values are called: each alone, all three fused, and the norms.
struct ProjectionNames {
    split: [&'static str; 3],
    fused: &'static str,
    norms: [&'static str; 2],
}

/// Those of the only sequence, or of the image.
const OWN: ProjectionNames =
    ProjectionNames { split: ["to_q", "to_k", "to_v"], fused: "to_qkv", norms: ["norm_q", "norm_k"] };
/// Those of the text beside the image.
const ADDED: ProjectionNames = ProjectionNames {
    split: ["add_q_proj", "add_k_proj", "add_v_proj"],
    fused: "to_added_qkv",
    norms: ["norm_added_q", "norm_added_k"],
};

/// The layers for queries, keys and values of a sequence, and the RMS norms of queries and keys.
pub(crate) struct Projections {
    layers: [Linear; 3],
    norms: Option<[RmsNorm; 2]>,
}

impl Projections {
    /// Those of the only sequence, or of the image.
    pub(crate) fn load(params: &Params<'_>, shape: AttentionShape) -> Result<Projections, Error> {
        Projections::load_named(params, shape, &OWN)
    }

    fn load_named(
        params: &Params<'_>,
        shape: AttentionShape,
        names: &ProjectionNames,
    ) -> Result<Projections, Error> {
        let width = shape.width();
        let has = |name: &str| params.contains(&format!("{name}.weight"));
        let layers = if !has(names.split[0]) && has(names.fused) {
            params.linear_rows(names.fused, [width; 3], width, shape.has_bias)?
        } else {
            let [q, k, v] = names.split.map(|name| params.linear_layer(name, width, width, shape.has_bias));
            [q?, k?, v?]
        };
        Projections::of(params, layers, shape, names)
    }

    /// Of layers that are part of a larger one; the norms are below `params`.
    pub(crate) fn of_layers(
        params: &Params<'_>,
        layers: [Linear; 3],
        shape: AttentionShape,
    ) -> Result<Projections, Error> {
        Projections::of(params, layers, shape, &OWN)
    }

    fn of(
        params: &Params<'_>,
        layers: [Linear; 3],
        shape: AttentionShape,
        names: &ProjectionNames,
    ) -> Result<Projections, Error> {
        let norms = shape.norm_eps.map(|eps| {
            let [q, k] = names.norms.map(|name| params.rms_norm(name, shape.head_width, eps));
            Ok::<_, Error>([q?, k?])
        });
        Ok(Projections { layers, norms: norms.transpose()? })
    }

    /// Queries, keys and values of `x` `[batch, tokens, width]`, as `x`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<[Tensor; 3], Error> {
        let [q, k, v] = &self.layers;
        let [q, k, v] = ops::linear_many(x, [q, k, v])?;
        match &self.norms {
            Some([norm_q, norm_k]) => Ok([ops::rms_norm(&q, norm_q)?, ops::rms_norm(&k, norm_k)?, v]),
            None => Ok([q, k, v]),
        }
    }
}

/// Attention of all tokens to those that count, at their positions: `[batch, tokens, width]`.
pub(crate) fn attend(
    [mut q, mut k, v]: [Tensor; 3],
    heads: usize,
    context: AttentionContext<'_>,
    precision: Precision,
) -> Result<Tensor, Error> {
    if let Some(table) = context.rotary {
        (q, k) = (ops::rotary(q, table)?, ops::rotary(k, table)?);
    }
    let options =
        AttentionOptions { key_lengths: context.key_lengths, precision, ..AttentionOptions::new(heads) };
    Ok(ops::attention_with(&q, &k, &v, &options)?)
}

/// Attention of a sequence to itself, with its last layer (MMDiT-X: a second one, of the image alone).
pub(crate) struct SelfAttention {
    projections: Projections,
    to_out: Linear,
    heads: usize,
    precision: Precision,
}

impl SelfAttention {
    pub(crate) fn load(params: &Params<'_>, shape: AttentionShape) -> Result<SelfAttention, Error> {
        let width = shape.width();
        Ok(SelfAttention {
            projections: Projections::load(params, shape)?,
            to_out: params.linear_layer("to_out.0", width, width, shape.has_bias)?,
            heads: shape.heads,
            precision: params.precision(),
        })
    }

    /// `[batch, tokens, width]`; the result as `x`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let qkv = self.projections.forward(x)?;
        let out = attend(qkv, self.heads, AttentionContext::default(), self.precision)?;
        Ok(ops::linear(&out, &self.to_out)?)
    }
}

/// Attention of image and text to both together, each with layers of its own (Esser et al. 2024, figure 2). The tokens of the
/// image come first, so that padding of the text is at the end.
pub(crate) struct JointAttention {
    image: Projections,
    text: Projections,
    to_out: Linear,
    /// `None` in a last block, after which the text is not needed.
    to_add_out: Option<Linear>,
    heads: usize,
    precision: Precision,
}

impl JointAttention {
    pub(crate) fn load(
        params: &Params<'_>,
        shape: AttentionShape,
        is_last: bool,
    ) -> Result<JointAttention, Error> {
        let width = shape.width();
        let layer = |name| params.linear_layer(name, width, width, shape.has_bias);
        Ok(JointAttention {
            image: Projections::load(params, shape)?,
            text: Projections::load_named(params, shape, &ADDED)?,
            to_out: layer("to_out.0")?,
            to_add_out: if is_last { None } else { Some(layer("to_add_out")?) },
            heads: shape.heads,
            precision: params.precision(),
        })
    }

    /// `image` `[batch, m, width]` and `text` `[batch, n, width]`; the results as they.
    pub(crate) fn forward(
        &self,
        image: &Tensor,
        text: &Tensor,
        context: AttentionContext<'_>,
    ) -> Result<(Tensor, Option<Tensor>), Error> {
        let [q, k, v] = self.image.forward(image)?;
        let [text_q, text_k, text_v] = self.text.forward(text)?;
        let joined = [join(&q, &text_q)?, join(&k, &text_k)?, join(&v, &text_v)?];
        drop([q, k, v, text_q, text_k, text_v]);
        let out = attend(joined, self.heads, context, self.precision)?;
        let [image, text] = split(&out, sequence_dims(image)[1])?;
        let text = self.to_add_out.as_ref().map(|layer| ops::linear(&text, layer)).transpose()?;
        Ok((ops::linear(&image, &self.to_out)?, text))
    }
}
