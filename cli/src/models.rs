//! `latent models`: the model files in the usual folders.

use crate::args::ModelsArgs;
use crate::console::print;
use crate::json_text;
use latent_app::AppError;
use latent_app::models::{ADVICE, ModelEntry, list};
use latent_app::text::{format_bytes, printable};
use latent_loader::Plain;
use serde_json::json;
use std::fmt::Write as _;

pub(crate) fn run(args: &ModelsArgs) -> Result<(), AppError> {
    let mut entries = list(args.models_dir.as_deref())?;
    if args.hash {
        entries.iter_mut().for_each(ModelEntry::compute_hash);
    }
    print(&if args.json { json_text::lines(&json!(entries)) } else { text(&entries) })
}

/// The list, with a heading for each kind.
fn text(entries: &[ModelEntry]) -> String {
    if entries.is_empty() {
        return format!("no model found; {ADVICE}\n");
    }
    let mut out = String::new();
    let mut heading = "";
    for entry in entries {
        if entry.kind_label() != heading {
            heading = entry.kind_label();
            let _ = writeln!(out, "{heading}");
        }
        let hash = entry.short_hash().map_or(String::new(), |hash| format!(", {hash}"));
        let _ = writeln!(
            out,
            "  {}: {}, {}{hash} ({})",
            printable(&entry.name()),
            Plain(&entry.description()),
            format_bytes(entry.bytes),
            printable(&entry.path.display().to_string())
        );
    }
    out
}
