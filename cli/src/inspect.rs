//! `latent inspect`: what a model file is.

use crate::args::InspectArgs;
use crate::memory::{self, MemoryEstimate};
use crate::{hash, print};
use latent_app::AppError;
use latent_diffusion::families::{
    Component, ComponentCheck, ComponentSummary, Family, Identity, MisshapedTensor, Model, ModelKind,
    ModelVariant, Probe,
};
use latent_diffusion::lora::Summary;
use latent_diffusion::names::Named;
use latent_diffusion::text::TextPart;
use latent_diffusion::upscaler::{UpscalerConfig, UpscalerFile};
use latent_loader::{Checkpoint, Layout};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;

pub(crate) fn run(args: &InspectArgs) -> Result<(), AppError> {
    let checkpoint = Arc::new(Checkpoint::open(&args.file)?);
    let mut report = Report::of(&checkpoint);
    report.with_tensors = args.tensors;
    if args.hash && checkpoint.layout() == Layout::SingleFile {
        let hash = hash::sha256(&args.file);
        report.sha256 =
            Some(hash.map_err(|error| AppError::RunTime(format!("{}: {error}", args.file.display())))?);
    }
    print(&if args.json { format!("{:#}\n", report.json()) } else { report.text() })
}

/// Everything that the inspector tells.
struct Report<'a> {
    checkpoint: &'a Checkpoint,
    identity: Identity,
    family: Option<&'static Family>,
    /// Why the file cannot draw, if it cannot.
    problem: Option<String>,
    model: Option<Model>,
    components: Vec<ComponentSummary>,
    memory: Vec<MemoryEstimate>,
    checks: Vec<ComponentCheck>,
    /// The sizes of an upscaler, or why it is none that can be used.
    upscaler: Option<Result<UpscalerConfig, String>>,
    sha256: Option<String>,
    with_tensors: bool,
}

impl<'a> Report<'a> {
    fn of(checkpoint: &'a Arc<Checkpoint>) -> Report<'a> {
        let probe = Probe::of(checkpoint);
        let identity = probe.identity().clone();
        let (model, problem) = match Model::of(&probe) {
            Ok(model) => (Some(model), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let components = probe.components();
        let checks = match identity.kind {
            ModelKind::Model | ModelKind::Unet | ModelKind::TextEncoder | ModelKind::Vae => {
                ComponentCheck::all(&probe)
            }
            _ => Vec::new(),
        };
        let memory = match identity.kind {
            ModelKind::Model | ModelKind::Unet => {
                memory::needs(&components, checkpoint, probe.model_channels().unwrap_or(320))
            }
            _ => Vec::new(),
        };
        let family = probe.supported_family();
        let upscaler = (identity.kind == ModelKind::Upscaler).then(|| {
            let file = UpscalerFile::of(&probe).map_err(|error| error.to_string())?;
            Ok(file.config().clone())
        });
        Report {
            checkpoint,
            identity,
            family,
            problem,
            model,
            components,
            memory,
            checks,
            upscaler,
            sha256: None,
            with_tensors: false,
        }
    }

    fn layout(&self) -> &'static str {
        match self.checkpoint.layout() {
            Layout::SingleFile => "single file",
            Layout::DiffusersFolder => "diffusers folder",
            Layout::ComponentFolder => "folder of one component",
            Layout::Joined => "several files",
        }
    }

    /// The name of a component; a file of something else has no other component than itself.
    fn name_of(&self, summary: &ComponentSummary) -> &'static str {
        let is_only = self.components.len() == 1 && summary.component == Component::Other;
        if is_only { self.identity.kind.label() } else { summary.component.name() }
    }

    fn json(&self) -> serde_json::Value {
        let identity = &self.identity;
        let components = self.components.iter().map(|c| {
            let dtypes: serde_json::Map<_, _> = c.dtypes.iter().map(|(d, bytes)| (d.clone(), json!(bytes))).collect();
            json!({"name": self.name_of(c), "tensors": c.tensors, "parameters": c.parameters, "bytes": c.bytes, "dtypes": dtypes})
        });
        let mut report = json!({
            "file": self.checkpoint.label(),
            "layout": self.layout(),
            "bytes": self.checkpoint.file_bytes(),
            "header_bytes": self.checkpoint.header_bytes(),
            "tensors": self.checkpoint.tensors().count(),
            "kind": identity.kind.id(),
            "purpose": identity.kind.purpose(),
            "family": self.family.map(|f| f.id).or(identity.family.map(|f| f.id)),
            "family_name": identity.family_label(),
            "base": identity.family.map(|f| f.id),
            "variant": identity.variant.map(ModelVariant::name),
            "distilled": identity.distillation.map(|d| json!({"name": d.distillation.name(), "told_by": d.evidence.label()})),
            "prediction": identity.prediction.as_ref().map(|detected| detected.prediction.name()),
            "prediction_told_by": identity.prediction.as_ref().map(|detected| detected.evidence.label()),
            "zero_terminal_snr": identity.zero_terminal_snr,
            "lacks": identity.lacks.iter().map(|component| component.name()).collect::<Vec<_>>(),
            "can_draw": self.model.is_some(),
            "problem": self.problem,
            "components": components.collect::<Vec<_>>(),
            "tensors_checked": self.checks.iter().map(check_json).collect::<Vec<_>>(),
            "memory_estimate": self.memory.iter().map(|n| json!({"side": n.side, "bytes": n.bytes})).collect::<Vec<_>>(),
            "model": self.model.as_ref().map(sizes),
            "metadata": self.checkpoint.metadata(),
        });
        if let Some(lora) = Summary::of(self.checkpoint).filter(|_| identity.kind == ModelKind::Lora) {
            report["lora"] = json!({"layers": lora.layers, "kinds": lora.kinds, "ranks": lora.ranks});
        }
        match &self.upscaler {
            Some(Ok(config)) => {
                report["upscaler"] = json!({
                    "scale": config.scale(),
                    "blocks": config.blocks,
                    "features": config.features,
                    "growth": config.growth,
                });
            }
            Some(Err(problem)) => report["problem"] = json!(problem),
            None => {}
        }
        if let Some(sha256) = &self.sha256 {
            report["sha256"] = json!(sha256);
            report["short_hash"] = json!(hash::short(sha256));
        }
        if self.with_tensors {
            let list = self.checkpoint.tensors();
            let list = list.map(|t| json!({"name": t.name, "dtype": t.dtype.name(), "shape": t.shape}));
            report["tensor_list"] = list.collect();
        }
        report
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(out, "{name:<17} {value}");
        };
        let identity = &self.identity;
        line("file", self.checkpoint.label());
        line("layout", &format!("{}, {}", self.layout(), bytes(self.checkpoint.file_bytes())));
        line("kind", &format!("{}; {}", identity.kind.label(), identity.kind.purpose()));
        match &self.upscaler {
            Some(Ok(config)) => line("upscaler", &config.to_string()),
            Some(Err(problem)) => line("cannot enlarge", problem),
            None => line("family", identity.family_label().as_deref().unwrap_or("unknown")),
        }
        if let Some(summary) = Summary::of(self.checkpoint).filter(|_| identity.kind == ModelKind::Lora) {
            line("changes", &summary.to_string());
        }
        if let Some(detected) = identity.distillation {
            line("for few steps", &format!("{}, told by {}", detected.distillation, detected.evidence));
        }
        if let Some(detected) = &identity.prediction {
            let snr = if identity.zero_terminal_snr { ", zero terminal SNR" } else { "" };
            line(
                "prediction",
                &format!("{}{snr}, told by {}", detected.prediction.name(), detected.evidence),
            );
        }
        if !identity.lacks.is_empty() {
            let lacks: Vec<_> = identity.lacks.iter().map(|component| component.name()).collect();
            line("lacks", &lacks.join(", "));
        }
        if let (Some(problem), ModelKind::Model | ModelKind::Unet | ModelKind::Unknown) =
            (&self.problem, identity.kind)
        {
            line("cannot draw", problem);
        }
        for c in &self.components {
            let dtypes: Vec<_> = c.dtypes.iter().map(|(d, n)| format!("{d} {}", bytes(*n))).collect();
            let parameters = format!("{:.1} M values", c.parameters as f64 / 1e6);
            line(self.name_of(c), &format!("{} tensors, {parameters}, {}", c.tensors, dtypes.join(", ")));
        }
        for check in self.checks.iter().filter(|check| !check.is_exact()) {
            let misshaped: Vec<_> = check.misshaped.iter().map(shapes).collect();
            for (what, names) in
                [("missing", &check.missing), ("of another shape", &misshaped), ("not used", &check.unused)]
            {
                if !names.is_empty() {
                    line(what, &format!("{}: {}", check.component, first_names(names)));
                }
            }
        }
        if !self.memory.is_empty() {
            let needs: Vec<_> =
                self.memory.iter().map(|n| format!("{} at {}", bytes(n.bytes), n.side)).collect();
            line("memory, estimated", &needs.join(", "));
        }
        if let Some(model) = &self.model {
            let (width, height) = model.resolution;
            let (unet, vae) = (&model.unet, &model.vae);
            line("images", &format!("{width}x{height}, sides in multiples of {}", vae.factor()));
            line(
                "UNet widths",
                &format!("{:?}, text width {}", unet.block_out_channels, unet.cross_attention_dim),
            );
            line("VAE widths", &format!("{:?}, factor {}", vae.block_out_channels, vae.factor()));
            for text in model.text.iter().map(|part| &part.config) {
                line("text layers", &format!("{} of width {}", text.layers, text.width));
            }
        }
        if let Some(sha256) = &self.sha256 {
            line("SHA-256", sha256);
            line("short hash", hash::short(sha256));
        }
        // The title and the trainer's settings first: they are what a reader looks for.
        let first = |key: &str| !(key.starts_with("modelspec.") || key.starts_with("ss_"));
        let mut metadata: Vec<_> = self.checkpoint.metadata().iter().collect();
        metadata.sort_by_key(|(key, _)| first(key));
        for (key, value) in metadata {
            line("metadata", &format!("{} = {}", printable(key), printable(value)));
        }
        if self.with_tensors {
            for tensor in self.checkpoint.tensors() {
                line("tensor", &format!("{} {} {:?}", printable(&tensor.name), tensor.dtype, tensor.shape));
            }
        }
        out
    }
}

/// Names that are listed of many.
const FIRST_NAMES: usize = 5;

fn first_names(names: &[String]) -> String {
    let first: Vec<_> = names.iter().take(FIRST_NAMES).map(|name| printable(name)).collect();
    let more = if names.len() > FIRST_NAMES { ", …" } else { "" };
    let tensors = if names.len() == 1 { "tensor" } else { "tensors" };
    format!("{} {tensors}: {}{more}", names.len(), first.join(", "))
}

fn shapes(tensor: &MisshapedTensor) -> String {
    format!("{} {:?} in place of {:?}", tensor.name, tensor.found, tensor.expected)
}

fn check_json(check: &ComponentCheck) -> serde_json::Value {
    let misshaped = check.misshaped.iter();
    let misshaped = misshaped.map(|t| json!({"name": t.name, "expected": t.expected, "found": t.found}));
    json!({
        "part": check.component.name(),
        "missing": check.missing,
        "misshaped": misshaped.collect::<Vec<_>>(),
        "not_used": check.unused,
    })
}

fn sizes(model: &Model) -> serde_json::Value {
    let (unet, vae) = (&model.unet, &model.vae);
    let text = |part: &TextPart| json!({"vocabulary": part.config.vocabulary, "width": part.config.width, "layers": part.config.layers});
    json!({
        "width": model.resolution.0,
        "height": model.resolution.1,
        "size_multiple": vae.factor(),
        "unet": {
            "in_channels": unet.in_channels,
            "block_out_channels": unet.block_out_channels,
            "layers_per_block": unet.layers_per_block,
            "transformer_depth": unet.transformer_depth,
            "cross_attention_dim": unet.cross_attention_dim,
        },
        "vae": {
            "block_out_channels": vae.block_out_channels,
            "layers_per_block": vae.layers_per_block,
            "latent_channels": vae.latent_channels,
            "scaling_factor": vae.scaling_factor,
        },
        "text": model.text.iter().map(text).collect::<Vec<_>>(),
    })
}

/// A number of bytes, for people.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// Text from a file, safe for a terminal: control characters escaped, cut at 200 characters.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .flat_map(|c| {
            let escaped: Vec<char> = if c.is_control() { c.escape_default().collect() } else { vec![c] };
            escaped
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}
