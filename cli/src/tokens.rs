//! `latent tokens`: what a prompt becomes before a text encoder sees it.

use crate::args::TokensArgs;
use crate::console::print;
use crate::json_text;
use latent_app::tokens::{LoraTagReport, PromptReport, PromptTextReport, PromptToExplain, TextEncoderReport};
use latent_app::{AppError, model_file};
use latent_diffusion::families::Model;
use latent_loader::{Access, Plain};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;

/// Tokens of a chunk, without start and end.
const CHUNK: usize = 75;

/// Takes a prompt apart and prints it.
pub(crate) fn run(args: &TokensArgs) -> Result<(), AppError> {
    let given = args.prompt.as_ref().or(args.prompt_flag.as_ref()).map_or("", String::as_str);
    let prompt = PromptToExplain::new(given, args.words.wildcards.as_deref(), args.seed, args.steps)?;
    let model = match &args.model {
        Some(path) => {
            let file = model_file::open(Some(path), args.models_dir.as_deref(), Access::Read)?;
            Some(Model::detect(&Arc::new(file.checkpoint))?)
        }
        None => None,
    };
    let embeddings = args.words.embeddings().open(&[prompt.bare()], args.models_dir.as_deref())?;
    let report = prompt.explain(model.as_ref(), &embeddings)?;
    print(&if args.json { json_text::lines(&json!(report)) } else { text(&report) })
}

fn text(report: &PromptReport) -> String {
    let mut out = String::new();
    if report.template.is_some() {
        let _ = writeln!(out, "prompt {:?}", report.prompt);
    }
    for LoraTagReport { name, unet_weight, text_weight, .. } in &report.loras {
        let _ = writeln!(
            out,
            "LoRA {name:?}, weight {unet_weight} in the UNet, {text_weight} in the text encoders"
        );
    }
    for line in report.left_out() {
        let _ = writeln!(out, "{}", Plain(&line));
    }
    for TextEncoderReport { width, layers, padding, .. } in &report.text_encoders {
        let _ =
            writeln!(out, "text encoder of width {width} and {layers} layers, fills up with token {padding}");
    }
    let count = report.subprompts.len();
    for (i, subprompt) in report.subprompts.iter().enumerate() {
        if count > 1 {
            let _ = writeln!(out, "prompt {} of {count}, weight {}", i + 1, subprompt.weight);
        }
        let of_steps = (subprompt.texts.len() > 1).then_some(report.steps);
        subprompt.texts.iter().for_each(|text| text_of_steps(text, of_steps, &mut out));
    }
    out
}

/// A text and its tokens; with its steps if there are several texts in a run of so many steps.
fn text_of_steps(text: &PromptTextReport, of_steps: Option<usize>, out: &mut String) {
    if let Some(steps) = of_steps {
        let ranges = text.steps.iter().map(|[first, last]| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        let _ = write!(out, "steps {} of {steps}: ", ranges.collect::<Vec<_>>().join(", "));
    }
    let _ = writeln!(out, "{:?}", text.text);
    let count = text.chunks.len();
    for (i, tokens) in text.chunks.iter().enumerate() {
        let _ = writeln!(out, "  chunk {} of {count}: {} of {CHUNK} tokens", i + 1, tokens.len());
        for token in tokens {
            let weight =
                if token.weight == 1.0 { String::new() } else { format!("  weight {}", token.weight) };
            let _ = writeln!(out, "    {:>5}  {}{weight}", token.id, token.piece);
        }
    }
}
