//! One evaluation of a diffusion transformer: the hidden states of the image after each block, and the prediction.

use latent_diffusion::params::Params;
use latent_diffusion::tensor::Tensor;
use latent_diffusion::transformer::{TransformerFile, TransformerInputs};

use super::{nchw, nhwc, values};
use crate::machinery::case::Case;
use crate::machinery::compare::Outcome;
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| {
        let text = |error: latent_diffusion::Error| error.to_string();
        let file = TransformerFile::open(super::checkpoint(case, context)?).map_err(text)?;
        file.check_complete().map_err(text)?;
        let params = Params::new(file.weights().clone(), &|_| {}).on(&context.target.device);
        let network = file.config().load(&params).map_err(text)?;
        let optional = |name: &str| {
            case.tensors.contains_key(name).then(|| super::tensor(case, context, name)).transpose()
        };
        let (states, pooled) = (super::tensor(case, context, "text")?, optional("pooled")?);
        let references = references(case, context)?;
        let inputs = TransformerInputs {
            text_lengths: &numbers(case, "lengths"),
            pooled: pooled.as_ref(),
            guidance: case.json["guidance"].as_f64().unwrap_or(1.0) as f32,
            references: &references,
            skipped_blocks: &numbers(case, "skip"),
            ..TransformerInputs::of_text(&states)
        };
        let mut condition = network.condition(&inputs).map_err(text)?;
        let x = nhwc(case, context, "x")?;
        let mut states =
            network.hidden_states(&x, &context.f32s(case, "t")?, &mut condition).map_err(text)?;
        let out = states.pop().ok_or("no prediction")?;
        comparison.tensor("out", &nchw(&out)?);
        let blocks = case.tensors.keys().filter(|name| name.starts_with("block")).count();
        if blocks > 0 {
            comparison.equal("blocks", &blocks, &states.len());
        }
        for (i, state) in states.iter().enumerate().take(blocks) {
            comparison.tensor(&format!("block{i}"), &values(state)?);
        }
        Ok(())
    })
}

/// A list of numbers in the JSON of a case, or none.
fn numbers(case: &Case, key: &str) -> Vec<usize> {
    let list = case.json[key].as_array().into_iter().flatten();
    list.filter_map(|number| number.as_u64().and_then(|number| usize::try_from(number).ok())).collect()
}

/// The latents that the prediction refers to.
fn references(case: &Case, context: &Context) -> Result<Vec<Tensor>, String> {
    let names = (0..).map(|i| format!("reference{i}"));
    let there = names.take_while(|name| case.tensors.contains_key(name));
    there.map(|name| nhwc(case, context, &name)).collect()
}
