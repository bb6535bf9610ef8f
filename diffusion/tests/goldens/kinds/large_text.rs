//! Token ids and hidden states of T5 and Qwen3. Each encoder computes once with all layers in memory, and once with one at a time.

use latent_diffusion::BlockCount;
use latent_diffusion::params::Params;
use latent_diffusion::tensor::Tensor;
use latent_diffusion::text::LayerLoading;
use latent_diffusion::text::qwen3::{ChatTemplate, Qwen3Config, Qwen3Encoder};
use latent_diffusion::text::t5::{T5Config, T5Encoder};
use latent_diffusion::tokenizer::PaddedTokens;
use latent_diffusion::tokenizer::qwen3::Qwen3Tokenizer;
use latent_diffusion::tokenizer::t5::T5Tokenizer;
use latent_loader::Weights;

use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

const LOADINGS: [LayerLoading; 2] = [LayerLoading::AllAtOnce, LayerLoading::OneByOne];

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| match case.group.as_str() {
        "large_text/t5" => t5(case, context, comparison),
        "large_text/qwen3" => qwen3(case, context, comparison),
        other => Err(format!("the harness knows no encoder of {other}")),
    })
}

fn text(error: latent_diffusion::Error) -> String {
    error.to_string()
}

fn params(weights: &Weights, context: &Context) -> Params<'static> {
    Params::new(weights.clone(), &|_| {}).on(&context.target.device)
}

/// The tokens of the case's prompts, compared with its own.
fn tokens(
    case: &Case,
    context: &Context,
    comparison: &mut Comparison<'_>,
    encode: impl Fn(&str, usize) -> PaddedTokens,
) -> Result<Vec<PaddedTokens>, String> {
    let prompts = case.json["prompts"].as_array().ok_or("the case has no prompts")?;
    let length = case.tensors["input_ids"][1];
    let tokens: Vec<_> =
        prompts.iter().filter_map(|prompt| prompt.as_str()).map(|prompt| encode(prompt, length)).collect();
    let ids: Vec<i32> = tokens.iter().flat_map(|text| &text.ids).map(|id| id.cast_signed()).collect();
    comparison.equal("input_ids", &context.i32s(case, "input_ids")?, &ids);
    let counts: Vec<i32> = tokens.iter().map(|text| text.count as i32).collect();
    comparison.equal("counts", &context.i32s(case, "counts")?, &counts);
    Ok(tokens)
}

/// States of all texts one after the other.
fn joined(states: &[Tensor]) -> Result<Vec<f32>, String> {
    Ok(states.iter().map(super::values).collect::<Result<Vec<_>, _>>()?.concat())
}

fn t5(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let tokens = tokens(case, context, comparison, |prompt, length| {
        T5Tokenizer::built_in().encode_padded(prompt, length)
    })?;
    let weights = T5Encoder::weights(&super::checkpoint(case, context)?);
    let config = T5Config::from_weights(&weights).map_err(text)?;
    for loading in LOADINGS {
        let encoder = T5Encoder::load(&params(&weights, context), &config, loading).map_err(text)?;
        for (name, masks_padding) in [("unmasked", false), ("masked", true)] {
            let states = encoder.encode(&tokens, masks_padding, &mut BlockCount::unwatched());
            comparison.tensor(name, &joined(&states.map_err(text)?)?);
        }
    }
    Ok(())
}

fn qwen3(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let template = match case.name.as_str() {
        "qwen3-thinking" => ChatTemplate::THINKING,
        _ => ChatTemplate::NOT_THINKING,
    };
    let tokens = tokens(case, context, comparison, |prompt, length| {
        Qwen3Tokenizer::built_in().encode_padded(&template.apply(prompt), length)
    })?;
    let chosen = case.json["states"].as_array().into_iter().flatten();
    let chosen: Vec<isize> = chosen.filter_map(|state| state.as_i64().map(|state| state as isize)).collect();
    let weights = Qwen3Encoder::weights(&super::checkpoint(case, context)?);
    let config = Qwen3Config::from_weights(&weights).map_err(text)?;
    for loading in LOADINGS {
        let encoder =
            Qwen3Encoder::load(&params(&weights, context), &config, &chosen, loading).map_err(text)?;
        let states = encoder.encode(&tokens, &mut BlockCount::unwatched()).map_err(text)?;
        comparison.tensor("states", &joined(&states)?);
    }
    Ok(())
}
