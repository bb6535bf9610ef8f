//! `latent inspect`: what a model file is.

use crate::args::InspectArgs;
use crate::error::CliError;
use crate::print;
use latent_diffusion::families::{Component, Facts, Family, Model};
use latent_diffusion::text::TextPart;
use latent_loader::{Checkpoint, Layout};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;

pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    let checkpoint = Arc::new(Checkpoint::open(&args.file)?);
    let report = Report::of(&checkpoint);
    print(&if args.json { format!("{:#}\n", report.json()) } else { report.text() })
}

/// Everything that the inspector tells.
struct Report<'a> {
    checkpoint: &'a Checkpoint,
    family: Option<&'static Family>,
    /// Why the file cannot draw, if it cannot.
    problem: Option<String>,
    model: Option<Model>,
    components: Vec<Component>,
}

impl<'a> Report<'a> {
    fn of(checkpoint: &'a Arc<Checkpoint>) -> Report<'a> {
        let facts = Facts::of(checkpoint);
        let (model, problem) = match Model::detect(checkpoint) {
            Ok(model) => (Some(model), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Report { checkpoint, family: Family::detect(&facts), problem, model, components: facts.components() }
    }

    fn layout(&self) -> &'static str {
        match self.checkpoint.layout() {
            Layout::SingleFile => "single file",
            Layout::DiffusersFolder => "diffusers folder",
        }
    }

    fn json(&self) -> serde_json::Value {
        let components = self.components.iter().map(|c| {
            let dtypes: serde_json::Map<_, _> = c.dtypes.iter().map(|(d, bytes)| (d.clone(), json!(bytes))).collect();
            json!({"name": c.name, "tensors": c.tensors, "parameters": c.parameters, "bytes": c.bytes, "dtypes": dtypes})
        });
        json!({
            "file": self.checkpoint.label(),
            "layout": self.layout(),
            "bytes": self.checkpoint.file_bytes(),
            "tensors": self.checkpoint.tensors().count(),
            "family": self.family.map(|f| f.id),
            "family_name": self.family.map(|f| f.label),
            "can_draw": self.model.is_some(),
            "problem": self.problem,
            "components": components.collect::<Vec<_>>(),
            "model": self.model.as_ref().map(sizes),
            "metadata": self.checkpoint.metadata(),
        })
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(out, "{name:<14}{value}");
        };
        line("file", self.checkpoint.label());
        line("layout", &format!("{}, {}", self.layout(), bytes(self.checkpoint.file_bytes())));
        line("family", self.family.map_or("unknown", |f| f.label));
        if let Some(problem) = &self.problem {
            line("cannot draw", problem);
        }
        for c in &self.components {
            let dtypes: Vec<_> = c.dtypes.iter().map(|(d, n)| format!("{d} {}", bytes(*n))).collect();
            let parameters = format!("{:.1} M values", c.parameters as f64 / 1e6);
            line(c.name, &format!("{} tensors, {parameters}, {}", c.tensors, dtypes.join(", ")));
        }
        if let Some(model) = &self.model {
            let (width, height) = model.resolution;
            let (unet, vae) = (&model.unet, &model.vae);
            line("pictures", &format!("{width}x{height}, sides in multiples of {}", vae.factor()));
            line(
                "UNet widths",
                &format!("{:?}, text width {}", unet.block_out_channels, unet.cross_attention_dim),
            );
            line("VAE widths", &format!("{:?}, factor {}", vae.block_out_channels, vae.factor()));
            for text in model.text.iter().map(|part| &part.config) {
                line("text layers", &format!("{} of width {}", text.layers, text.width));
            }
        }
        for (key, value) in self.checkpoint.metadata() {
            line("metadata", &format!("{} = {}", printable(key), printable(value)));
        }
        out
    }
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
fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// Text from a file, safe for a terminal: control characters escaped, cut at 200 characters.
fn printable(text: &str) -> String {
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
