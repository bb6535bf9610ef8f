//! What the names and shapes in a file tell.

use latent_loader::{Checkpoint, TensorInfo};

/// Prefixes of a UNet's tensors, in single files and folders.
const UNET: &[&str] = &["model.diffusion_model.", "unet."];
/// Prefixes of a VAE's tensors.
const VAE: &[&str] = &["first_stage_model.", "vae."];
/// Prefixes of text encoders' tensors.
const TEXT: &[&str] = &["cond_stage_model.", "conditioner.embedders.", "text_encoder.", "text_encoder_2."];
/// Beginnings of the tables of a noise schedule, which are not needed.
const SCHEDULE: &[&str] = &["alphas_", "betas", "sqrt_", "log_one_minus_", "posterior_", "logvar"];

/// A part of a checkpoint, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// "text encoder", "UNet", "VAE", "EMA copy", "schedule" or "other".
    pub name: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values.
    pub parameters: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Number formats and how many bytes each takes, largest first.
    pub dtypes: Vec<(String, u64)>,
}

/// The telling names and shapes of a checkpoint.
pub struct Facts<'a> {
    checkpoint: &'a Checkpoint,
    /// Channels that the UNet takes.
    pub in_channels: Option<usize>,
    /// Channels of the UNet's first level.
    pub model_channels: Option<usize>,
    /// Rank of a transformer's input projection: 4 for a convolution, 2 for a linear layer.
    pub proj_in_rank: Option<usize>,
    /// Width of the text states.
    pub context_dim: Option<usize>,
    /// Width of the vector added to the time embedding.
    pub added_dim: Option<usize>,
}

impl<'a> Facts<'a> {
    /// Looks at the names and shapes of a checkpoint.
    #[must_use]
    pub fn of(checkpoint: &'a Checkpoint) -> Facts<'a> {
        let shape = |names: &[&str]| names.iter().find_map(|name| checkpoint.get(name)).map(|t| &t.shape);
        let unet_suffix = |suffix: &str| {
            let in_unet =
                |t: &&TensorInfo| UNET.iter().any(|p| t.name.starts_with(p)) && t.name.ends_with(suffix);
            checkpoint.tensors().find(in_unet).map(|t| &t.shape)
        };
        let first = shape(&["model.diffusion_model.input_blocks.0.0.weight", "unet.conv_in.weight"]);
        let added =
            shape(&["model.diffusion_model.label_emb.0.0.weight", "unet.add_embedding.linear_1.weight"]);
        Facts {
            checkpoint,
            in_channels: first.and_then(|s| s.get(1).copied()),
            model_channels: first.and_then(|s| s.first().copied()),
            proj_in_rank: unet_suffix(".proj_in.weight").map(Vec::len),
            context_dim: unet_suffix(".attn2.to_k.weight").and_then(|s| s.get(1).copied()),
            added_dim: added.and_then(|s| s.get(1).copied()),
        }
    }

    /// Whether any tensor's name begins so.
    #[must_use]
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.checkpoint.tensors().any(|t| t.name.starts_with(prefix))
    }

    fn any(&self, test: impl Fn(&str) -> bool) -> bool {
        self.checkpoint.tensors().any(|t| test(&t.name))
    }

    /// One line for a file that is of no known family: what it seems to be, and what to do.
    #[must_use]
    pub fn explain(&self) -> String {
        let lora = |n: &str| n.starts_with("lora_") || n.contains(".lora_") || n.contains("lora_A");
        let control = |n: &str| n.contains("input_hint_block") || n.contains("controlnet_");
        let vae =
            |n: &str| n.starts_with("decoder.") || n.starts_with("encoder.") || n.starts_with("first_stage_");
        let text = |n: &str| n.starts_with("text_model.") || n.starts_with("cond_stage_model.");
        let what = if self.any(lora) {
            "is a LoRA, an addition to a model"
        } else if self.any(control) {
            "is a ControlNet, an addition to a model"
        } else if self.any(|n| n == "emb_params" || n == "clip_l" || n == "clip_g" || n.starts_with('<')) {
            "is a textual inversion, a word for a model"
        } else if self.in_channels.is_some() {
            return format!(
                "holds a UNet of an unknown kind ({} input channels, text width {}); this is no Stable Diffusion model \
                 that is known here",
                self.in_channels.unwrap_or(0),
                self.context_dim.map_or("unknown".into(), |d| d.to_string()),
            );
        } else if self.any(vae) {
            "holds a VAE and no UNet"
        } else if self.any(text) {
            "holds a text encoder and no UNet"
        } else {
            "holds no tensor of a Stable Diffusion model"
        };
        format!("{what}; give a whole checkpoint, with text encoder, UNet and VAE")
    }

    /// The parts of the checkpoint.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        let starts = |name: &str, prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
        let kind = |name: &str| match name {
            n if starts(n, TEXT) => "text encoder",
            n if starts(n, UNET) => "UNet",
            n if starts(n, VAE) => "VAE",
            n if n.starts_with("model_ema.") => "EMA copy",
            n if starts(n, SCHEDULE) => "schedule",
            _ => "other",
        };
        ["text encoder", "UNet", "VAE", "EMA copy", "schedule", "other"]
            .into_iter()
            .map(|name| component(name, self.checkpoint.tensors().filter(|t| kind(&t.name) == name)))
            .filter(|component| component.tensors > 0)
            .collect()
    }
}

fn component<'a>(name: &'static str, tensors: impl Iterator<Item = &'a TensorInfo>) -> Component {
    let mut component = Component { name, tensors: 0, parameters: 0, bytes: 0, dtypes: Vec::new() };
    for tensor in tensors {
        component.tensors += 1;
        component.parameters += tensor.elements() as u64;
        component.bytes += tensor.bytes() as u64;
        let dtype = tensor.dtype.to_string();
        match component.dtypes.iter_mut().find(|(name, _)| *name == dtype) {
            Some((_, bytes)) => *bytes += tensor.bytes() as u64,
            None => component.dtypes.push((dtype, tensor.bytes() as u64)),
        }
    }
    component.dtypes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    component
}
