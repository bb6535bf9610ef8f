//! Adapters: image encoders, IP-Adapters and the UNet's prediction with them, unions of ControlNets, Control-LoRAs,
//! ControlNet-LLLites, T2I-Adapters.

use latent_diffusion::controlnet::{
    ControlFile, ControlKind, ControlLora, ControlNet, ControlType, Lllite, LlliteConfig, T2iAdapter,
    T2iAdapterConfig,
};
use latent_diffusion::image_encoder::{EncodedImage, ImageEncoder, ImageEncoderFile};
use latent_diffusion::ip_adapter::{IpAdapter, IpAdapterFile};
use latent_diffusion::params::Params;
use latent_diffusion::tensor::{Device, Tensor, ops};
use latent_diffusion::unet::{UNet, UNetAdditions};
use latent_loader::{Checkpoint, Weights};

use super::{nchw, nhwc, values};
use crate::machinery::case::Case;
use crate::machinery::compare::{Comparison, Outcome};
use crate::machinery::context::Context;

pub(crate) fn run(case: &Case, context: &Context) -> Outcome {
    super::attempt(case, context, |comparison| {
        let has = |key: &str| !case.json[key].is_null();
        if has("ip_adapter") {
            ip_adapter(case, context, comparison)
        } else if has("control") {
            control(case, context, comparison)
        } else {
            image_encoder(case, context, comparison)
        }
    })
}

/// The adapter's file of a case.
fn file(case: &Case, context: &Context, key: &str) -> Result<Checkpoint, String> {
    let path = context.checkpoints.path(&case.add_on(key)?.ok_or("the case has no adapter")?)?;
    Checkpoint::open(&path).map_err(|e| e.to_string())
}

fn loaded(weights: &Weights, context: &Context) -> Params<'static> {
    Params::new(weights.clone(), &|_| {}).on(&context.target.device)
}

fn text(error: latent_diffusion::Error) -> String {
    error.to_string()
}

fn image_encoder(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let file = ImageEncoderFile::open(file(case, context, "image_encoder")?).map_err(text)?;
    let params = Params::new(file.weights().clone(), &|_| {});
    let encoder = ImageEncoder::load(&params, file.config()).map_err(text)?;
    let encoded = encoder.encode_pixels(&nhwc(case, context, "pixels")?).map_err(text)?;
    comparison.tensor("embedding", &values(&encoded.embedding)?);
    comparison.tensor("penultimate", &values(&encoded.penultimate)?);
    Ok(())
}

/// The vector that SDXL takes besides the text.
fn added(case: &Case, context: &Context) -> Result<Option<Tensor>, String> {
    case.tensors.contains_key("y").then(|| super::tensor(case, context, "y")).transpose()
}

fn t2i_adapter(
    file: &ControlFile,
    config: &T2iAdapterConfig,
    case: &Case,
    context: &Context,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let strength = case.json["control"]["scale"].as_f64().ok_or("the case has no scale")? as f32;
    let adapter = T2iAdapter::load(&Params::new(file.weights().clone(), &|_| {}), config).map_err(text)?;
    let mut features = adapter.forward(&nhwc(case, context, "hint")?).map_err(text)?;
    for (i, feature) in features.iter_mut().enumerate() {
        *feature = ops::scale(feature.clone(), strength).map_err(|e| e.to_string())?;
        comparison.tensor(&format!("feature{i}"), &nchw(feature)?);
    }
    let parts = super::parts(case, context)?;
    let unet = UNet::load(&super::params(&parts.weights, "unet", context), parts.network.unet().unwrap())
        .map_err(text)?;
    let (x, timesteps) = (nhwc(case, context, "x")?, context.f32s(case, "t")?);
    let states = super::tensor(case, context, "context")?;
    let condition = unet.condition(&states, added(case, context)?.as_ref()).map_err(text)?;
    let features = features.iter().map(|feature| repeated(feature, timesteps.len(), unet.device()));
    let features = features.collect::<Result<_, _>>()?;
    let additions = UNetAdditions { residuals: None, features };
    let out = unet.forward_added(&x, &timesteps, &condition, additions).map_err(text)?;
    comparison.tensor("out", &nchw(&out)?);
    Ok(())
}

/// A tensor of one image for each of a batch, on a device.
fn repeated(x: &Tensor, batch: usize, device: &Device) -> Result<Tensor, String> {
    let mut dims = x.dims().to_vec();
    dims[0] = batch;
    let all = Tensor::from_f32(&dims, &values(x)?.repeat(batch));
    all.and_then(|all| all.to(device)).map_err(|e| e.to_string())
}

fn control(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let file = ControlFile::open(file(case, context, "control")?).map_err(text)?;
    let net = match file.kind() {
        ControlKind::ControlNet(config) => ControlNet::load(&loaded(file.weights(), context), config),
        ControlKind::ControlLora(config) => {
            let parts = super::parts(case, context)?;
            let unet = (&parts.weights.scope("unet"), parts.network.unet().unwrap());
            let lora = ControlLora::new(file.weights(), config, unet, parts.family.label).map_err(text)?;
            lora.load(&loaded(lora.weights(), context))
        }
        ControlKind::Lllite(config) => return lllite(&file, config, case, context, comparison),
        ControlKind::T2iAdapter(config) => return t2i_adapter(&file, config, case, context, comparison),
    };
    let net = net.map_err(text)?;
    let kind = case.json["control"]["type"].as_str().map(ControlType::named);
    let kind = kind.map(|kind| kind.ok_or("the case has an unknown type")).transpose()?;
    let strength = case.json["control"]["scale"].as_f64().ok_or("the case has no scale")? as f32;
    let (x, timesteps) = (nhwc(case, context, "x")?, context.f32s(case, "t")?);
    let hint = net.embed(&nhwc(case, context, "hint")?).map_err(text)?;
    let hint = repeated(&hint, timesteps.len(), net.device())?;
    let mut condition = net
        .condition(&super::tensor(case, context, "context")?, added(case, context)?.as_ref())
        .map_err(text)?;
    if let Some(kind) = kind {
        net.set_type(&mut condition, kind, timesteps.len()).map_err(text)?;
    }
    let hint = net.typed_hint(hint, kind).map_err(text)?;
    let residuals = net.forward(&x, &timesteps, &hint, &condition, strength).map_err(text)?;
    for (i, state) in residuals.down_blocks.iter().enumerate() {
        comparison.tensor(&format!("down{i}"), &nchw(state)?);
    }
    comparison.tensor("mid", &nchw(&residuals.mid_block)?);
    Ok(())
}

fn lllite(
    file: &ControlFile,
    config: &LlliteConfig,
    case: &Case,
    context: &Context,
    comparison: &mut Comparison<'_>,
) -> Result<(), String> {
    let strength = case.json["control"]["scale"].as_f64().ok_or("the case has no scale")? as f32;
    let parts = super::parts(case, context)?;
    let net = Lllite::load(&loaded(file.weights(), context), config, parts.network.unet().unwrap())
        .map_err(text)?;
    let unet = UNet::load(&super::params(&parts.weights, "unet", context), parts.network.unet().unwrap())
        .map_err(text)?;
    let (x, timesteps) = (nhwc(case, context, "x")?, context.f32s(case, "t")?);
    let embeddings = net.embed(&nhwc(case, context, "hint")?, [x.dims()[1], x.dims()[2]]).map_err(text)?;
    let states = super::tensor(case, context, "context")?;
    let mut condition = unet.condition(&states, added(case, context)?.as_ref()).map_err(text)?;
    let blocks = net.blocks(&embeddings, timesteps.len()).map_err(text)?;
    unet.add_lllite(&mut condition, blocks, strength).map_err(text)?;
    comparison.tensor("out", &nchw(&unet.forward(&x, &timesteps, &condition).map_err(text)?)?);
    Ok(())
}

fn ip_adapter(case: &Case, context: &Context, comparison: &mut Comparison<'_>) -> Result<(), String> {
    let parts = super::parts(case, context)?;
    let file = IpAdapterFile::open(file(case, context, "ip_adapter")?).map_err(text)?;
    let adapter = IpAdapter::load(&loaded(file.weights(), context), file.config()).map_err(text)?;
    let strength = case.json["ip_adapter"]["scale"].as_f64().ok_or("the case has no scale")? as f32;
    let seen = super::tensor(case, context, "seen")?;
    // Each kind of adapter sees one of the two.
    let none = Tensor::zeros(&[1, 1]).map_err(|e| e.to_string())?;
    let seen = match file.config().sees_hidden_states() {
        true => EncodedImage { embedding: none, penultimate: seen },
        false => EncodedImage { embedding: seen, penultimate: none },
    };
    let tokens = adapter.tokens(&seen).map_err(text)?;
    comparison.tensor("tokens", &values(&tokens)?);
    let unet = UNet::load(&super::params(&parts.weights, "unet", context), parts.network.unet().unwrap())
        .map_err(text)?;
    let (x, timesteps) = (nhwc(case, context, "x")?, context.f32s(case, "t")?);
    let added = added(case, context)?;
    let states = super::tensor(case, context, "context")?;
    let mut condition = unet.condition(&states, added.as_ref()).map_err(text)?;
    let without = unet.forward(&x, &timesteps, &condition).map_err(text)?;
    comparison.tensor("out_without", &nchw(&without)?);
    let keys_values = adapter.keys_values(&tokens).map_err(text)?;
    unet.add_image_prompt(&mut condition, keys_values, strength).map_err(text)?;
    comparison.tensor("out", &nchw(&unet.forward(&x, &timesteps, &condition).map_err(text)?)?);
    Ok(())
}
