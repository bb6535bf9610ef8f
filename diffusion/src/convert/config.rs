//! The configurations of a diffusers folder: what diffusers and transformers cannot read from shapes.

use super::NO_FOLDER;
use crate::Error;
use crate::families::{Distillation, Model, NetworkInput};
use crate::samplers::Prediction;
use crate::text::{TextActivation, TextPart};
use crate::tokenizer::{CONTEXT, END, START};
use crate::unet::UNetConfig;
use crate::vae::LatentStatistics;
use latent_loader::{Config, ConfigValue};

/// Length of the embedding of each size in SDXL's added vector.
const SIZE_EMBEDDING: usize = 256;
/// Channels of a head of every CLIP.
const HEAD_WIDTH: usize = 64;

/// `UNet2DConditionModel`.
///
/// # Errors
/// A UNet whose depths that class cannot express.
pub(super) fn unet(model: &Model) -> Result<Config, Error> {
    let unet = model.require_unet(NO_FOLDER)?;
    let levels = unet.block_out_channels.len();
    let up_depths: Vec<Vec<usize>> = (0..levels)
        .rev()
        .map(|i| (0..=unet.layers_per_block).map(|j| unet.up_block_depth(i, j)).collect())
        .collect();
    let up_types = up_depths.iter().map(|d| if d[0] > 0 { "CrossAttnUpBlock2D" } else { "UpBlock2D" });
    let down = |depth: &usize| if *depth > 0 { "CrossAttnDownBlock2D" } else { "DownBlock2D" };
    let is_linear = model.weights.names().any(|name| {
        name.ends_with(".proj_in.weight") && {
            model.weights.shape(name).is_some_and(|shape| shape.len() == 2)
        }
    });
    let side = model.resolution.0.min(model.resolution.1) / model.vae.factor();
    let mut config = Config::from([
        ("_class_name", "UNet2DConditionModel".into()),
        ("act_fn", "silu".into()),
        ("attention_head_dim", heads(unet)),
        ("block_out_channels", (&unet.block_out_channels).into()),
        ("center_input_sample", false.into()),
        ("cross_attention_dim", unet.cross_attention_dim.into()),
        ("down_block_types", unet.transformer_depth.iter().map(down).collect::<Vec<_>>().into()),
        ("downsample_padding", 1.into()),
        ("flip_sin_to_cos", true.into()),
        ("freq_shift", 0.into()),
        ("in_channels", unet.in_channels.into()),
        ("layers_per_block", unet.layers_per_block.into()),
        ("mid_block_scale_factor", 1.into()),
        ("mid_block_type", mid_block_class(unet)),
        ("norm_eps", 1e-5.into()),
        ("norm_num_groups", 32.into()),
        ("out_channels", unet.out_channels.into()),
        ("sample_size", side.into()),
        ("up_block_types", up_types.collect::<Vec<_>>().into()),
        ("use_linear_projection", is_linear.into()),
    ]);
    config.set("transformer_layers_per_block", depths(model)?);
    if unet.up_depth.is_some() {
        let depth = |d: &Vec<usize>| if d[0] > 0 { ConfigValue::from(d) } else { 1usize.into() };
        config.set("reverse_transformer_layers_per_block", up_depths.iter().map(depth).collect::<Vec<_>>());
    }
    if !unet.only_cross_attention.is_empty() {
        config.set("only_cross_attention", &unet.only_cross_attention);
    }
    if let Some(added) = unet.added_dim {
        config.set("addition_embed_type", "text_time");
        config.set("addition_time_embed_dim", SIZE_EMBEDDING);
        config.set("projection_class_embeddings_input_dim", added);
    }
    if let Some(guidance) = unet.time_cond_proj_dim {
        config.set("time_cond_proj_dim", guidance);
    }
    // SD 2.x at 768 pixels overflows half precision without it.
    if is_linear && unet.added_dim.is_none() && model.prediction == Prediction::V {
        config.set("upcast_attention", true);
    }
    Ok(config)
}

/// Heads of each level; a single number where all levels have as many, as in the published models (SD 1.x).
fn heads(unet: &UNetConfig) -> ConfigValue {
    let heads: Vec<usize> =
        unet.block_out_channels.iter().map(|channels| unet.heads.count(*channels)).collect();
    match heads.first() {
        Some(first) if heads.iter().all(|count| count == first) => ConfigValue::from(*first),
        _ => heads.into(),
    }
}

fn mid_block_class(unet: &UNetConfig) -> ConfigValue {
    match (unet.mid_depth, unet.mid_resnets) {
        (0, 0) => ConfigValue::null(),
        (0, _) => "UNetMidBlock2D".into(),
        _ => "UNetMidBlock2DCrossAttn".into(),
    }
}

/// Transformer blocks of each level. The last entry is that of the mid block where the last level has no attention.
fn depths(model: &Model) -> Result<Vec<usize>, Error> {
    let unet = model.require_unet(NO_FOLDER)?;
    let mut depths = unet.transformer_depth.clone();
    let middle = unet.mid_depth;
    if let Some(last) = depths.last_mut() {
        if *last == 0 {
            *last = middle;
        } else if middle > 0 && *last != middle {
            let reason =
                format!("its UNet has {middle} transformer blocks in the mid block and {last} before it");
            let reason =
                format!("{reason}, which no configuration of diffusers can express; write a single file");
            return Err(Error::Unsupported { file: model.weights.label().to_owned(), reason });
        }
    }
    Ok(depths.into_iter().map(|depth| depth.max(1)).collect())
}

/// `AutoencoderKL`.
pub(super) fn vae(model: &Model) -> Config {
    let vae = &model.vae;
    let levels = vae.block_out_channels.len();
    let mut config = Config::from([
        ("_class_name", "AutoencoderKL".into()),
        ("act_fn", "silu".into()),
        ("block_out_channels", (&vae.block_out_channels).into()),
        ("down_block_types", vec!["DownEncoderBlock2D"; levels].into()),
        // SDXL's overflows half precision.
        ("force_upcast", model.takes_sizes().into()),
        ("in_channels", 3.into()),
        ("latent_channels", vae.latent_channels.into()),
        ("layers_per_block", vae.layers_per_block.into()),
        ("norm_num_groups", 32.into()),
        ("out_channels", 3.into()),
        ("sample_size", model.resolution.0.min(model.resolution.1).into()),
        ("scaling_factor", decimal(vae.scaling_factor).into()),
        ("up_block_types", vec!["UpDecoderBlock2D"; levels].into()),
    ]);
    if let Some(LatentStatistics { mean, deviation }) = &vae.statistics {
        for (key, values) in [("latents_mean", mean), ("latents_std", deviation)] {
            config.set(key, values.iter().map(|value| decimal(*value)).collect::<Vec<_>>());
        }
    }
    config
}

/// An `f32` as the shortest decimal number that rounds to it.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// `CLIPTextModel`, of `layers` layers.
pub(super) fn text(part: &TextPart, layers: usize) -> Config {
    let config = &part.config;
    Config::from([
        ("architectures", [class(part)].into()),
        ("attention_dropout", 0.0.into()),
        ("bos_token_id", START.into()),
        ("eos_token_id", END.into()),
        (
            "hidden_act",
            match config.activation {
                TextActivation::QuickGelu => "quick_gelu",
                TextActivation::Gelu => "gelu",
            }
            .into(),
        ),
        ("hidden_size", config.width.into()),
        ("intermediate_size", config.mlp_width.into()),
        ("layer_norm_eps", 1e-5.into()),
        ("max_position_embeddings", CONTEXT.into()),
        ("model_type", "clip_text_model".into()),
        ("num_attention_heads", (config.width / HEAD_WIDTH).into()),
        ("num_hidden_layers", layers.into()),
        ("pad_token_id", part.padding.into()),
        ("projection_dim", config.width.into()),
        ("vocab_size", config.vocabulary.into()),
    ])
}

/// The class of transformers for an encoder.
fn class(part: &TextPart) -> &'static str {
    if part.pooled { "CLIPTextModelWithProjection" } else { "CLIPTextModel" }
}

fn prediction_type(model: &Model) -> ConfigValue {
    ConfigValue::from(if model.prediction == Prediction::V { "v_prediction" } else { "epsilon" })
}

/// A level without what logarithms left of it.
fn rounded(sigma: f64) -> f64 {
    decimal(sigma as f32)
}

/// The class of diffusers for the sampler that a model was published with, and its settings.
pub(super) fn scheduler(model: &Model) -> (&'static str, Config) {
    if let Some(training) = &model.edm {
        let (sigmas, last) = (training.sigmas(), training.sigmas().len() - 1);
        let class = "EDMEulerScheduler";
        let config = Config::from([
            ("_class_name", class.into()),
            ("num_train_timesteps", 1000.into()),
            ("prediction_type", prediction_type(model)),
            ("rho", 7.0.into()),
            ("sigma_data", training.sigma_data().into()),
            ("sigma_max", rounded(sigmas[last]).into()),
            ("sigma_min", rounded(sigmas[0]).into()),
            ("sigma_schedule", "karras".into()),
        ]);
        return (class, config);
    }
    let is_zero = model.training.is_zero_terminal_snr();
    let is_xl = model.takes_sizes();
    let (class, spacing) = match model.distillation {
        Some(Distillation::Lcm | Distillation::Dmd2) => ("LCMScheduler", "leading"),
        Some(Distillation::Tcd) => ("TCDScheduler", "leading"),
        Some(Distillation::Turbo) => ("EulerAncestralDiscreteScheduler", "trailing"),
        Some(Distillation::Hyper | Distillation::HyperCfg) => ("DDIMScheduler", "trailing"),
        Some(Distillation::Lightning | Distillation::StepDistilled) => ("EulerDiscreteScheduler", "trailing"),
        None if is_zero => ("EulerDiscreteScheduler", "trailing"),
        None if is_xl => ("EulerDiscreteScheduler", "leading"),
        None => ("DDIMScheduler", "leading"),
    };
    let mut config = Config::from([
        ("_class_name", class.into()),
        ("beta_end", 0.012.into()),
        ("beta_schedule", "scaled_linear".into()),
        ("beta_start", 0.00085.into()),
        ("num_train_timesteps", 1000.into()),
        ("prediction_type", prediction_type(model)),
        ("steps_offset", 1.into()),
        ("timestep_spacing", spacing.into()),
    ]);
    if class != "EulerAncestralDiscreteScheduler" && class != "EulerDiscreteScheduler" {
        config.set("clip_sample", false);
        config.set("set_alpha_to_one", false);
    }
    if is_zero {
        config.set("rescale_betas_zero_snr", true);
    }
    (class, config)
}

/// `model_index.json`: the pipeline, and the class of each part.
pub(super) fn index(model: &Model, scheduler: &str) -> Config {
    let is_xl = model.takes_sizes();
    let class = match (is_xl, model.input) {
        (true, NetworkInput::Latent) if model.takes_score => "StableDiffusionXLImg2ImgPipeline",
        (true, NetworkInput::Latent) => "StableDiffusionXLPipeline",
        (true, NetworkInput::Inpaint) => "StableDiffusionXLInpaintPipeline",
        (true, NetworkInput::Edit) => "StableDiffusionXLInstructPix2PixPipeline",
        (false, NetworkInput::Latent) => "StableDiffusionPipeline",
        (false, NetworkInput::Inpaint) => "StableDiffusionInpaintPipeline",
        (false, NetworkInput::Edit) => "StableDiffusionInstructPix2PixPipeline",
    };
    let none = ConfigValue::from([ConfigValue::null(), ConfigValue::null()]);
    let mut index = Config::from([
        ("_class_name", class.into()),
        ("scheduler", ["diffusers", scheduler].into()),
        ("unet", ["diffusers", "UNet2DConditionModel"].into()),
        ("vae", ["diffusers", "AutoencoderKL"].into()),
    ]);
    if is_xl {
        index.set("force_zeros_for_empty_prompt", model.zero_negative);
        for name in ["text_encoder", "tokenizer"] {
            index.set(name, none.clone());
        }
        if class == "StableDiffusionXLImg2ImgPipeline" || class == "StableDiffusionXLInpaintPipeline" {
            index.set("requires_aesthetics_score", model.takes_score);
        }
    } else {
        index.set("requires_safety_checker", false);
        for name in ["feature_extractor", "safety_checker"] {
            index.set(name, none.clone());
        }
    }
    for part in &model.text {
        index.set(part.scope, ["transformers", self::class(part)]);
        index.set(tokenizer(part), ["transformers", "CLIPTokenizer"]);
    }
    index
}

/// The folder of the tokenizer of an encoder.
pub(super) fn tokenizer(part: &TextPart) -> String {
    part.scope.replacen("text_encoder", "tokenizer", 1)
}
