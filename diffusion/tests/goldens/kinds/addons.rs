//! A model with an add-on. Today those with a LoRA: its text encoder and its UNet.

use std::sync::Arc;

use latent_diffusion::families::Model;
use latent_diffusion::lora::{Lora, Merge};
use latent_diffusion::text::PartEncoder;
use latent_diffusion::tokenizer::CONTEXT;
use latent_diffusion::unet::UNet;
use latent_loader::Checkpoint;

use super::{nchw, nhwc, values};
use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    if case.json["lora"].is_null() {
        return Outcome::Unsupported;
    }
    let model = super::checkpoint(case, context)
        .and_then(|checkpoint| Model::detect(&checkpoint).map_err(|e| e.to_string()));
    // Several text encoders have tensors of their own in the goldens.
    if model.as_ref().is_ok_and(|model| model.text.len() > 1) {
        return Outcome::Unsupported;
    }
    super::attempt(case, context, |comparison| with_lora(case, context, &model?, comparison))
}

fn with_lora(
    case: &Case,
    context: &Context,
    model: &Model,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let text = |e: latent_diffusion::Error| e.to_string();
    let path = context.checkpoints.path(&case.add_on("lora")?.ok_or("the case has no LoRA")?)?;
    let lora = Lora::open(Checkpoint::open(&path).map_err(|e| e.to_string())?).map_err(text)?;
    let scale = case.json["lora"]["scale"].as_f64().ok_or("the case has no scale")? as f32;
    let (merge, reports) =
        Merge::new(&[(Arc::new(lora), scale)], &model.weights, model.family.label).map_err(text)?;
    let applied: Vec<_> = reports.iter().map(|report| (report.applied, report.unmatched.len())).collect();
    comparison.equal("applied", &[(reports[0].total, 0)].to_vec(), &applied);
    let merge = Some(Arc::new(merge));

    let part = &model.text[0];
    let params = super::params(&model.weights, part.scope, context).merged(merge.clone());
    let encoder = PartEncoder::load(&params, part).map_err(text)?;
    let encoder = encoder.encoder();
    let ids: Vec<u32> = context.i32s(case, "input_ids")?.iter().map(|id| id.cast_unsigned()).collect();
    let ids = ids.as_chunks::<CONTEXT>().0;
    let states = encoder.encode(ids, 1).map_err(text)?;
    comparison.tensor("text_last_ln", &values(&states)?);
    let states = encoder.hidden(ids, 2).map_err(text)?;
    comparison.tensor("text_skip2_raw", &values(&states)?);

    let params = super::params(&model.weights, "unet", context).merged(merge);
    let unet = UNet::load(&params, &model.unet).map_err(text)?;
    let condition = unet.condition(&super::tensor(case, context, "context")?, None).map_err(text)?;
    let out =
        unet.forward(&nhwc(case, context, "x")?, &context.f32s(case, "t")?, &condition).map_err(text)?;
    comparison.tensor("out", &nchw(&out)?);
    Ok(())
}
