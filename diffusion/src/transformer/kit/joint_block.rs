//! The block of two sequences, image and text, with weights of their own that attend to each other (Esser et al. 2024, figure 2;
//! the double blocks of Flux).

use super::attention::{AttentionContext, AttentionShape, JointAttention, SelfAttention};
use super::mlp::{BlockMlp, MlpShape};
use super::modulation::{Modulation, ShiftScale, SubLayer};
use crate::{Error, params::Params};
use latent_tensor::{Tensor, ops};

/// The sizes of a joint block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct JointBlockShape {
    pub(crate) attention: AttentionShape,
    pub(crate) mlp: MlpShape,
    /// Whether the image attends to itself too, beside the joint attention (MMDiT-X).
    pub(crate) has_second: bool,
    /// Whether the text ends here: it is attended to, and has no output.
    pub(crate) is_last: bool,
    /// Whether it makes its modulations itself.
    pub(crate) modulates: bool,
}

/// How the image's layers are modulated.
pub(crate) struct ImageModulations {
    pub(crate) attention: SubLayer,
    pub(crate) mlp: SubLayer,
    pub(crate) second: Option<SubLayer>,
}

impl ImageModulations {
    /// Six vectors, attention before MLP; or nine, the second attention last.
    pub(crate) fn of(vectors: &[Tensor]) -> ImageModulations {
        let (attention, mlp) = (SubLayer::of(&vectors[..3]), SubLayer::of(&vectors[3..6]));
        ImageModulations { attention, mlp, second: vectors.get(6..9).map(SubLayer::of) }
    }
}

/// How the text's layers are modulated.
pub(crate) struct TextModulations {
    input: ShiftScale,
    /// The gate of its attention, and its MLP; `None` in a last block.
    output: Option<(Tensor, SubLayer)>,
}

impl TextModulations {
    /// Six vectors, attention before MLP.
    pub(crate) fn of(vectors: &[Tensor]) -> TextModulations {
        let SubLayer { input, gate } = SubLayer::of(&vectors[..3]);
        TextModulations { input, output: Some((gate, SubLayer::of(&vectors[3..6]))) }
    }
}

/// Where the modulations of a block come from.
pub(crate) enum Modulator<'a, M> {
    /// The block's own layers, of this activated conditioning `[batch, width]`.
    Vector(&'a Tensor),
    /// Made before.
    Given(M),
}

/// A layer's two vectors scale and shift, which files have in either order.
pub(crate) struct ScaleShiftLayer {
    modulation: Modulation,
    shift_first: bool,
}

impl ScaleShiftLayer {
    /// diffusers has `name.linear` with the scale first, the original files `name.adaLN_modulation.1` with the shift first.
    pub(crate) fn load(
        params: &Params<'_>,
        name: &str,
        width: usize,
        has_bias: bool,
    ) -> Result<ScaleShiftLayer, Error> {
        let params = params.scope(name);
        let shift_first = !params.contains("linear.weight") && params.contains("adaLN_modulation.1.weight");
        let layer = if shift_first { "adaLN_modulation.1" } else { "linear" };
        Ok(ScaleShiftLayer {
            modulation: Modulation::load(&params, layer, (2, width), has_bias)?,
            shift_first,
        })
    }

    pub(crate) fn forward(&self, activated: &Tensor) -> Result<ShiftScale, Error> {
        let mut vectors = self.modulation.forward(activated)?;
        if !self.shift_first {
            vectors.reverse();
        }
        let [shift, scale] = vectors.try_into().expect("two vectors");
        Ok(ShiftScale { shift, scale })
    }
}

/// The text's layer of modulations.
enum TextModulation {
    Continued(Modulation),
    Last(ScaleShiftLayer),
}

impl TextModulation {
    fn forward(&self, activated: &Tensor) -> Result<TextModulations, Error> {
        Ok(match self {
            TextModulation::Continued(layer) => TextModulations::of(&layer.forward(activated)?),
            TextModulation::Last(layer) => TextModulations { input: layer.forward(activated)?, output: None },
        })
    }
}

/// The layer of the text's modulation, which has the name of the original file if that does not say whether the block is the
/// last, whose vectors are in another order.
fn text_modulation(params: &Params<'_>) -> &'static str {
    const NAMES: [&str; 2] = ["norm1_context.linear", "norm1_context.adaLN_modulation.1"];
    let has = |name: &str| params.contains(&format!("{name}.weight"));
    if !has(NAMES[0]) && has(NAMES[1]) { NAMES[1] } else { NAMES[0] }
}

/// A joint block.
pub(crate) struct JointBlock {
    modulations: Option<(Modulation, TextModulation)>,
    attn: JointAttention,
    attn2: Option<SelfAttention>,
    ff: BlockMlp,
    ff_context: Option<BlockMlp>,
}

impl JointBlock {
    pub(crate) fn load(params: &Params<'_>, shape: &JointBlockShape) -> Result<JointBlock, Error> {
        let &JointBlockShape { attention, mlp, has_second, is_last, modulates } = shape;
        let (width, has_bias) = (attention.width(), attention.has_bias);
        let mlp = |name| BlockMlp::load(&params.scope(name), mlp, width, has_bias);
        let modulations = || -> Result<_, Error> {
            let vectors = if has_second { 9 } else { 6 };
            let image = Modulation::load(params, "norm1.linear", (vectors, width), has_bias)?;
            let text = if is_last {
                TextModulation::Last(ScaleShiftLayer::load(params, "norm1_context", width, has_bias)?)
            } else {
                TextModulation::Continued(Modulation::load(
                    params,
                    text_modulation(params),
                    (6, width),
                    has_bias,
                )?)
            };
            Ok((image, text))
        };
        let second = || SelfAttention::load(&params.scope("attn2"), attention);
        Ok(JointBlock {
            modulations: modulates.then(modulations).transpose()?,
            attn: JointAttention::load(&params.scope("attn"), attention, is_last)?,
            attn2: has_second.then(second).transpose()?,
            ff: mlp("ff")?,
            ff_context: (!is_last).then(|| mlp("ff_context")).transpose()?,
        })
    }

    /// `image` `[batch, m, width]` and `text` `[batch, n, width]`; the results as they. The text of a last block is what it was.
    pub(crate) fn forward(
        &self,
        image: Tensor,
        text: Tensor,
        modulator: Modulator<'_, (ImageModulations, TextModulations)>,
        context: AttentionContext<'_>,
    ) -> Result<(Tensor, Tensor), Error> {
        let (of_image, of_text) = match (modulator, &self.modulations) {
            (Modulator::Given(given), _) => given,
            (Modulator::Vector(vector), Some((image, text))) => {
                (ImageModulations::of(&image.forward(vector)?), text.forward(vector)?)
            }
            (Modulator::Vector(_), None) => unreachable!("the network gives the modulations of this block"),
        };
        let (normed, normed_text) = (of_image.attention.norm(&image)?, of_text.input.norm(&text)?);
        let (attended, attended_text) = self.attn.forward(&normed, &normed_text, context)?;
        drop((normed, normed_text));
        let second = match (&self.attn2, &of_image.second) {
            (Some(attn2), Some(layer)) => Some((layer, attn2.forward(&layer.norm(&image)?)?)),
            _ => None,
        };
        let mut image = of_image.attention.add(image, &attended)?;
        drop(attended);
        if let Some((layer, attended)) = second {
            image = layer.add(image, &attended)?;
        }
        let hidden = self.ff.forward(&of_image.mlp.norm(&image)?)?;
        let image = of_image.mlp.add(image, &hidden)?;
        Ok((image, self.forward_text(text, attended_text, &of_text)?))
    }

    fn forward_text(
        &self,
        text: Tensor,
        attended: Option<Tensor>,
        modulations: &TextModulations,
    ) -> Result<Tensor, Error> {
        let (Some(attended), Some(ff), Some((gate, mlp))) = (attended, &self.ff_context, &modulations.output)
        else {
            return Ok(text);
        };
        let text = ops::add_gated(text, &attended, gate)?;
        let hidden = ff.forward(&mlp.norm(&text)?)?;
        mlp.add(text, &hidden)
    }
}
