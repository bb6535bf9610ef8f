//! `latent inspect`: what a model file is.

use crate::args::InspectArgs;
use crate::console::print;
use crate::json_text;
use latent_app::AppError;
use latent_app::hash;
use latent_app::inspect::{ModelReport, ReportedSizes, inspect};
use latent_app::model_file::locate;
use latent_app::text::{format_bytes, printable};
use latent_diffusion::families::{ComponentCheck, ComponentSummary, MisshapedTensor, ModelKind};
use latent_diffusion::names::Named;
use latent_loader::Plain;
use serde_json::json;
use std::fmt::Write as _;

/// Maximum number of tensors that are named in a line.
const MAX_NAMES: usize = 5;

pub(crate) fn run(args: &InspectArgs) -> Result<(), AppError> {
    // A file may be given by its name.
    let file = locate(&args.file, None)?;
    let mut report = inspect(&file)?;
    report.lists_tensors = args.tensors;
    if args.hash {
        report.compute_hash(&file)?;
    }
    print(&if args.json { json_text::lines(&json!(report)) } else { text(&report) })
}

/// Lines of a name and a value.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Names and texts of a file may contain what would steer a terminal.
    fn add(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name:<17} {}", Plain(value));
    }
}

fn text(report: &ModelReport) -> String {
    let mut lines = Lines::default();
    what_it_is(report, &mut lines);
    report.components.iter().for_each(|summary| lines.add(report.component_name(summary), &amounts(summary)));
    report.checks.iter().for_each(|check| tensors_checked(check, &mut lines));
    if !report.memory.is_empty() {
        let estimates = report.memory.iter().map(|at| format!("{} at {}", format_bytes(at.bytes), at.side));
        lines.add("memory, estimated", &estimates.collect::<Vec<_>>().join(", "));
    }
    if let Some(model) = &report.model {
        sizes(model, &mut lines);
    }
    if let Some(sha256) = &report.sha256 {
        lines.add("SHA-256", sha256);
        lines.add("short hash", hash::short(sha256));
    }
    // The title and the trainer's settings first: they are what a reader looks for.
    let first = |key: &str| !(key.starts_with("modelspec.") || key.starts_with("ss_"));
    let mut metadata: Vec<_> = report.metadata.iter().collect();
    metadata.sort_by_key(|(key, _)| first(key));
    for (key, value) in metadata {
        lines.add("metadata", &format!("{} = {}", printable(key), printable(value)));
    }
    for tensor in report.tensors.iter().filter(|_| report.lists_tensors) {
        lines.add(
            "tensor",
            &format!("{} {} {:?}", printable(&tensor.name), tensor.dtype.header_name(), tensor.shape),
        );
    }
    lines.0
}

fn what_it_is(report: &ModelReport, lines: &mut Lines) {
    let identity = &report.identity;
    let kind = identity.kind;
    lines.add("file", &report.file);
    lines.add("layout", &format!("{}, {}", report.layout_name(), format_bytes(report.bytes)));
    lines.add("kind", &format!("{}; {}", kind.label(), report.purpose()));
    match (&report.upscaler, &report.problem) {
        (Some(config), _) => lines.add("upscaler", &config.to_string()),
        (None, Some(problem)) if kind == ModelKind::Upscaler => lines.add("cannot enlarge", problem),
        _ => lines.add("family", identity.family_label().as_deref().unwrap_or("unknown")),
    }
    if let Some(lora) = &report.lora {
        lines.add("changes", &lora.to_string());
    }
    if let Some(detected) = identity.distillation {
        lines.add("for few steps", &format!("{}, according to {}", detected.distillation, detected.evidence));
    }
    if let Some(detected) = &identity.prediction {
        let snr = if identity.zero_terminal_snr { ", zero terminal SNR" } else { "" };
        let name = detected.prediction.name();
        lines.add("prediction", &format!("{name}{snr}, according to {}", detected.evidence));
    }
    if !identity.lacks.is_empty() {
        lines.add(
            "lacks",
            &identity.lacks.iter().map(|component| component.name()).collect::<Vec<_>>().join(", "),
        );
    }
    if let (Some(problem), true) = (&report.problem, kind.denoises() || kind == ModelKind::Unknown) {
        lines.add("cannot draw", problem);
    }
}

fn amounts(component: &ComponentSummary) -> String {
    let dtypes = component.dtypes.iter().map(|(dtype, bytes)| format!("{dtype} {}", format_bytes(*bytes)));
    let parameters = component.parameters as f64 / 1e6;
    let dtypes = dtypes.collect::<Vec<_>>().join(", ");
    format!("{} tensors, {parameters:.1} M values, {dtypes}", component.tensors)
}

/// The tensors of a part that are missing, of another shape or not used.
fn tensors_checked(check: &ComponentCheck, lines: &mut Lines) {
    if check.is_exact() {
        return;
    }
    let misshaped: Vec<_> = check.misshaped.iter().map(shapes).collect();
    for (what, names) in
        [("missing", &check.missing), ("of another shape", &misshaped), ("not used", &check.unused)]
    {
        if !names.is_empty() {
            lines.add(what, &format!("{}: {}", check.component, first_names(names)));
        }
    }
}

fn first_names(names: &[String]) -> String {
    let first: Vec<_> = names.iter().take(MAX_NAMES).map(|name| printable(name)).collect();
    let more = if names.len() > MAX_NAMES { ", …" } else { "" };
    let tensors = if names.len() == 1 { "tensor" } else { "tensors" };
    format!("{} {tensors}: {}{more}", names.len(), first.join(", "))
}

fn shapes(tensor: &MisshapedTensor) -> String {
    format!("{} {:?} in place of {:?}", tensor.name, tensor.found, tensor.expected)
}

fn sizes(model: &ReportedSizes, lines: &mut Lines) {
    let ((width, height), vae) = (model.resolution, &model.vae);
    lines.add("images", &format!("{width}x{height}, sides in multiples of {}", model.size_multiple));
    if let Some(unet) = model.network.unet() {
        let widths = &unet.block_out_channels;
        lines.add("UNet widths", &format!("{widths:?}, text width {}", unet.cross_attention_dim));
    }
    lines.add("VAE widths", &format!("{:?}, factor {}", vae.block_out_channels, vae.factor()));
    for config in &model.text {
        lines.add("text layers", &format!("{} of width {}", config.layers, config.width));
    }
}
