//! `latent samplers`: the samplers and schedules.

use crate::args::SamplersArgs;
use crate::print;
use latent_app::AppError;
use latent_diffusion::names::Named;
use latent_diffusion::samplers::ALL;
use latent_diffusion::schedule::ScheduleKind;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Lists samplers and schedules.
pub(crate) fn run(args: &SamplersArgs) -> Result<(), AppError> {
    if args.json {
        return print(&format!("{:#}\n", list()));
    }
    let mut out = String::from("samplers (--sampler)\n");
    for sampler in ALL {
        let _ = writeln!(out, "  {:<18}{}", sampler.name(), sampler.about());
    }
    out.push_str("\nschedules (--scheduler)\n");
    for kind in ScheduleKind::ALL {
        let _ = writeln!(out, "  {:<21}{}", kind.name(), kind.about());
    }
    out.push_str("\nBoth at once, as the webui writes them: --sampler \"DPM++ 2M Karras\".\n");
    print(&out)
}

fn list() -> Value {
    let samplers: Vec<Value> = ALL
        .iter()
        .map(|sampler| {
            json!({
                "name": sampler.name(),
                "label": sampler.label(),
                "aliases": sampler.aliases(),
                "about": sampler.about(),
                "scheduler": sampler.default_kind().name(),
                "compat": sampler.default_convention().name(),
                "evaluations": sampler.evaluations(),
            })
        })
        .collect();
    let schedules: Vec<Value> = ScheduleKind::ALL
        .iter()
        .map(|kind| {
            json!({ "name": kind.name(), "label": kind.label(), "aliases": kind.aliases(), "about": kind.about() })
        })
        .collect();
    json!({ "samplers": samplers, "schedules": schedules })
}
