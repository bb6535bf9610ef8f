//! A model with an add-on: its text encoders and its UNet with a LoRA, its text encoder with a textual inversion,
//! its UNet with a ControlNet.

use std::sync::Arc;

use latent_diffusion::embeddings::{LearnedEmbeddings, TextualInversion};
use latent_diffusion::lora::{Lora, Merge};
use latent_diffusion::prompt;
use latent_diffusion::text::PartEncoder;
use latent_diffusion::tokenizer::{CONTEXT, END};
use latent_diffusion::unet::{UNet, added_vector};
use latent_loader::Checkpoint;

use super::{nchw, nhwc, values};
use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    if !case.json["ti"].is_null() {
        return super::attempt(case, context, |comparison| with_words(case, context, comparison));
    }
    if !case.json["control"].is_null() {
        return super::control::run(case, context);
    }
    super::attempt(case, context, |comparison| with_lora(case, context, comparison))
}

fn with_lora(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let text = |e: latent_diffusion::Error| e.to_string();
    // With all layers, those too that drawing leaves out.
    let parts = super::parts(case, context)?;
    let path = context.checkpoints.path(&case.add_on("lora")?.ok_or("the case has no LoRA")?)?;
    let lora = Lora::open(Checkpoint::open(&path).map_err(|e| e.to_string())?).map_err(text)?;
    let scale = case.json["lora"]["scale"].as_f64().ok_or("the case has no scale")? as f32;
    let (merge, reports) =
        Merge::new(&[(Arc::new(lora), scale)], &parts.weights, parts.family.label).map_err(text)?;
    let applied: Vec<_> = reports.iter().map(|report| (report.applied, report.unmatched.len())).collect();
    comparison.equal("applied", &[(reports[0].total, 0)].to_vec(), &applied);
    let merge = Some(Arc::new(merge));

    let part = &parts.text[0];
    let params = super::params(&parts.weights, part.scope, context).merged(merge.clone());
    let encoder = PartEncoder::load(&params, part).map_err(text)?;
    let encoder = encoder.encoder();
    let ids = ids(case, context, "input_ids")?;
    comparison.tensor("text_last_ln", &values(&encoder.encode(&ids, 1).map_err(text)?)?);
    comparison.tensor("text_skip2_raw", &values(&encoder.hidden(&ids, 2).map_err(text)?)?);
    if let Some(part) = parts.text.get(1) {
        let params = super::params(&parts.weights, part.scope, context).merged(merge.clone());
        let encoder = PartEncoder::load(&params, part).map_err(text)?;
        let encoded = encoder.encode(&self::ids(case, context, "input_ids2")?, 1).map_err(text)?;
        comparison.tensor("text2_skip2_raw", &values(&encoded.states)?);
        comparison.tensor("text2_pooled", &values(&encoded.pooled.ok_or("the engine pools nothing")?)?);
    }

    let params = super::params(&parts.weights, "unet", context).merged(merge);
    let unet = UNet::load(&params, parts.network.unet().unwrap()).map_err(text)?;
    let added = if case.tensors.contains_key("pooled") {
        let pooled = super::tensor(case, context, "pooled")?;
        let added = added_vector(&pooled, &context.f32s(case, "time_ids")?).map_err(text)?;
        comparison.tensor("y", &values(&added)?);
        Some(added)
    } else {
        None
    };
    let condition =
        unet.condition(&super::tensor(case, context, "context")?, added.as_ref()).map_err(text)?;
    let out =
        unet.forward(&nhwc(case, context, "x")?, &context.f32s(case, "t")?, &condition).map_err(text)?;
    comparison.tensor("out", &nchw(&out)?);
    Ok(())
}

/// Chunks of token ids among the tensors of a case.
fn ids(case: &Case, context: &Context, name: &str) -> Result<Vec<[u32; CONTEXT]>, String> {
    let ids: Vec<u32> = context.i32s(case, name)?.iter().map(|id| id.cast_unsigned()).collect();
    Ok(ids.as_chunks::<CONTEXT>().0.to_vec())
}

fn with_words(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let text = |e: latent_diffusion::Error| e.to_string();
    let parts = super::parts(case, context)?;
    let path = context.checkpoints.path(&case.add_on("ti")?.ok_or("the case has no textual inversion")?)?;
    let file = TextualInversion::open("<TI>", Checkpoint::open(&path).map_err(|e| e.to_string())?);
    let words =
        LearnedEmbeddings::new(&[Arc::new(file.map_err(text)?)], &parts.text, "small").map_err(text)?;
    let prompt = case.json["ti"]["prompt"].as_str().ok_or("the case has no prompt")?;
    let chunks = prompt::encode_with(prompt, END, &words);
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.ids).collect();
    let expected: Vec<u32> = context.i32s(case, "input_ids")?.iter().map(|id| id.cast_unsigned()).collect();
    comparison.equal("input_ids", &expected, &ids.as_flattened().to_vec());
    let part = &parts.text[0];
    let params = super::params(&parts.weights, part.scope, context);
    let mut encoder = PartEncoder::load(&params, part).map_err(text)?;
    encoder.learn(words.table(0));
    let states = encoder.encode(&ids, 1).map_err(text)?.states;
    comparison.tensor("last_ln", &values(&states)?);
    Ok(())
}
