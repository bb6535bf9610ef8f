//! States of the text encoder, of plain prompts and of weighted ones.

use latent_diffusion::prompt;
use latent_diffusion::text::{PartEncoder, TextEncoder, TextPart};
use latent_diffusion::tokenizer::{CONTEXT, END, Tokenizer};

use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| {
        let parts = super::parts(case, context)?;
        let index = case.name.strip_prefix("encoder").and_then(|index| index.parse().ok()).unwrap_or(0);
        let part: &TextPart = parts.text.get(index).ok_or("the engine finds no such text encoder")?;
        let params = super::params(&parts.weights, part.scope, context);
        let encoder = PartEncoder::load(&params, part).map_err(|e| e.to_string())?;
        if case.json["prompts"].is_array() {
            plain(case, context, &encoder, comparison)
        } else {
            weighted(case, encoder.encoder(), comparison)
        }
    })
}

fn plain(
    case: &Case,
    context: &Context,
    part: &PartEncoder,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let prompts: Vec<&str> =
        case.json["prompts"].as_array().into_iter().flatten().filter_map(|p| p.as_str()).collect();
    let encoder = part.encoder();
    let pad = super::padding_token(case);
    comparison.equal("pad", &pad, &part.part().padding);
    let ids: Vec<[u32; CONTEXT]> = prompts.iter().map(|p| Tokenizer::clip().encode_padded(p, pad)).collect();
    let expected: Vec<u32> = context.i32s(case, "input_ids")?.iter().map(|&id| id.cast_unsigned()).collect();
    comparison.equal("input_ids", &expected, &ids.as_flattened().to_vec());
    if case.tensors.contains_key("pooled_projected") {
        let encoded = part.encode(&ids, 1).map_err(|e| e.to_string())?;
        let pooled = encoded.pooled.ok_or("the engine pools nothing")?;
        comparison.tensor("pooled_projected", &super::values(&pooled)?);
        comparison.tensor("skip2_raw", &super::values(&encoded.states)?);
    }
    for name in case.tensors.keys() {
        let states = match name.split_once('_') {
            Some((skip, "ln")) if skip.starts_with("skip") => encoder.encode(&ids, skip_of(skip)?),
            Some((skip, "raw")) if skip.starts_with("skip") => encoder.hidden(&ids, skip_of(skip)?),
            _ => continue,
        };
        let states = states.map_err(|e| e.to_string())?;
        comparison.tensor(name, &super::values(&states)?);
    }
    Ok(())
}

fn skip_of(name: &str) -> Result<usize, String> {
    name.trim_start_matches("skip").parse().map_err(|_| format!("{name} is no clip skip"))
}

fn weighted(case: &Case, encoder: &TextEncoder, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let text = case.json["prompt"].as_str().ok_or("the case has no prompt")?;
    let chunks = prompt::chunks(&prompt::parse(text), Tokenizer::clip(), END);
    let ids: Vec<[u32; CONTEXT]> = chunks.iter().map(|chunk| chunk.ids).collect();
    let weights: Vec<f32> = chunks.iter().flat_map(|chunk| chunk.weights).collect();
    comparison.tensor("weights", &weights);
    let states = encoder.encode(&ids, 1).map_err(|e| e.to_string())?;
    let mut values = super::values(&states)?;
    comparison.tensor("plain", &values);
    let width = states.dims()[2];
    for (states, chunk) in values.chunks_exact_mut(CONTEXT * width).zip(&chunks) {
        prompt::emphasize(states, &chunk.weights);
    }
    comparison.tensor("mean_restored", &values);
    Ok(())
}
