//! `latent samplers`: the samplers and schedules.

use crate::args::SamplersArgs;
use crate::console::print;
use crate::json_text;
use latent_app::AppError;
use latent_app::samplers::{SamplerList, list};
use serde_json::json;
use std::fmt::Write as _;

/// Lists samplers and schedules.
pub(crate) fn run(args: &SamplersArgs) -> Result<(), AppError> {
    let list = list();
    print(&if args.json { json_text::lines(&json!(list)) } else { text(&list) })
}

fn text(list: &SamplerList) -> String {
    let mut out = String::from("samplers (--sampler)\n");
    for sampler in &list.samplers {
        let _ = writeln!(out, "  {:<18}{}", sampler.name, sampler.about);
    }
    out.push_str("\nschedules (--scheduler)\n");
    for schedule in &list.schedules {
        let _ = writeln!(out, "  {:<21}{}", schedule.name, schedule.about);
    }
    let names = |support: &str| {
        let fits = list.samplers.iter().filter(|sampler| sampler.flow_matching == support);
        fits.map(|sampler| sampler.name).collect::<Vec<_>>().join(", ")
    };
    let (partly, not) = (names("without_eta"), names("none"));
    let _ = write!(
        out,
        "\nWith flow matching models (Stable Diffusion 3, Flux): all but {not};\n{partly} with an eta of 0 alone.\n"
    );
    out.push_str("\nBoth at once, as the webui writes them: --sampler \"DPM++ 2M Karras\".\n");
    out
}
