#![forbid(unsafe_code)]
//! Runs every golden case through the engine and compares.
//!
//! ```text
//! cargo test -p latent-diffusion --test goldens [-- PART_OF_A_CASE_NAME]
//! LATENT_GOLDENS=folder cargo test -p latent-diffusion --test goldens
//! ```
//!
//! The cases come from `index.json`, and `spec.json` says which of them must be there. Nothing is listed by hand: new
//! goldens need no change here. The last line is `N passed, N failed`; the exit status is 1 where anything failed.
//! `tests/reference/README.md` describes the data. This test has a `main` of its own, so that the table of errors is
//! always shown.

mod kinds;
mod machinery;

use std::any::Any;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use kinds::KINDS;
use machinery::case::Case;
use machinery::compare::Outcome;
use machinery::context::Context;
use machinery::folder::{Folder, VARIABLE, read_json};
use machinery::report::Report;
use machinery::{index, required};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        println!("goldens: test");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&str> = arguments.iter().filter(|a| !a.starts_with('-')).map(String::as_str).collect();
    match run(&filters) {
        Ok(report) => {
            println!("{report}");
            if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            println!("FAILED {why}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

/// Checks that everything is there, and runs the cases whose name contains one of the filters (all where there are
/// none).
fn run(filters: &[&str]) -> Result<Report, String> {
    let folder = Folder::find(env::var_os(VARIABLE).as_deref())?;
    println!("goldens of {}", folder.goldens.display());
    let spec = read_json(&folder.spec)?;
    let cases = index::read(&folder)?;
    let context = Context::new(folder);
    let mut report = Report::new(KINDS.iter().map(|kind| kind.name));
    required::missing(&spec, &cases).into_iter().for_each(|what| report.add_missing(what));
    for case in &cases {
        context.missing(case).into_iter().for_each(|what| report.add_missing(what));
        let id = case.id();
        if filters.is_empty() || filters.iter().any(|filter| id.contains(filter)) {
            report.add(case, outcome(case, &context));
        }
    }
    Ok(report)
}

/// Runs one case; a panic of the engine is a failure of that case alone.
fn outcome(case: &Case, context: &Context) -> Outcome {
    let Some(kind) = KINDS.iter().find(|kind| kind.name == case.kind()) else {
        return Outcome::Failed(format!("the harness knows no kind {:?}", case.kind()));
    };
    let Some(run) = kind.run else { return Outcome::Unsupported };
    catch_unwind(AssertUnwindSafe(|| run(case, context)))
        .unwrap_or_else(|panic| Outcome::Failed(format!("panicked: {}", panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
