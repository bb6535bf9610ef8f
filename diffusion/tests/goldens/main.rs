#![forbid(unsafe_code)]
//! Runs every golden case through the engine and compares.
//!
//! ```text
//! cargo test -p latent-diffusion --test goldens [-- PART_OF_A_CASE_NAME]
//! LATENT_GOLDENS=folder cargo test -p latent-diffusion --test goldens
//! ```
//!
//! The cases come from `index.json`, and `spec.json` says which of them must be there. Nothing is listed by hand: new
//! goldens need no change here. Each device has a table, whose last line is `N passed, N failed`; the exit status is 1 where anything failed.
//! `tests/reference/README.md` describes the data. This test has a `main` of its own, so that the table of errors is
//! always shown.

mod kinds;
mod machinery;

use std::any::Any;
use std::collections::BTreeSet;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use kinds::{KINDS, Kind};
use latent_diffusion::tensor::Device;
use machinery::case::Case;
use machinery::compare::Outcome;
use machinery::context::Context;
use machinery::folder::{Folder, VARIABLE, read_json};
use machinery::report::Report;
use machinery::target::Target;
use machinery::{index, required, target};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        println!("goldens: test");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&str> = arguments.iter().filter(|a| !a.starts_with('-')).map(String::as_str).collect();
    match run(&filters) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            println!("FAILED {why}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

/// Checks that everything is there, and runs the cases whose name contains one of the filters (all where there are
/// none) on each device. Prints a table for each and returns the number of failures.
fn run(filters: &[&str]) -> Result<usize, String> {
    let folder = Folder::find(env::var_os(VARIABLE).as_deref())?;
    println!("goldens of {}", folder.goldens.display());
    let mut targets = target::all()?.into_iter();
    let mut failed = 0;
    let run = |target: Target| run_on(target, &folder, filters);
    let mut count = |report: Result<Report, String>| -> Result<(), String> {
        let report = report?;
        println!("{report}");
        failed += report.failed();
        Ok(())
    };
    // The CPU's kernels take all cores.
    targets.next().map_or(Ok(()), |cpu| count(run(cpu)))?;
    // A software adapter compiles its shaders on one.
    thread::scope(|scope| {
        let runs: Vec<_> = targets.map(|target| scope.spawn(|| run(target))).collect();
        let reports = runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err("panicked".into())));
        reports.into_iter().try_for_each(&mut count)
    })?;
    Ok(failed)
}

/// Runs the cases on one device.
fn run_on(target: Target, folder: &Folder, filters: &[&str]) -> Result<Report, String> {
    let spec = read_json(&folder.spec)?;
    let cases = index::read(folder)?;
    // What computes nothing there is the same on every device.
    let is_cpu = target.device == Device::Cpu;
    let kinds = KINDS.iter().filter(|kind| kind.is_on_device || is_cpu);
    let mut report = Report::new(target.name.clone(), kinds.clone().map(|kind| kind.name));
    let context = Context::new(folder.clone()).on(target);
    let mut drawn = BTreeSet::new();
    required::missing(&spec, &cases).into_iter().for_each(|what| report.add_missing(what));
    for case in &cases {
        context.missing(case).into_iter().for_each(|what| report.add_missing(what));
        let id = case.id();
        let kind = kinds.clone().find(|kind| kind.name == case.kind());
        let group = context.target.share.group(case)?;
        if group.is_some_and(|group| !drawn.insert(group)) {
            continue;
        }
        if filters.is_empty() || filters.iter().any(|filter| id.contains(filter)) {
            match kind {
                Some(kind) => {
                    let start = Instant::now();
                    let outcome = outcome(kind, case, &context);
                    report.add(case, outcome, start.elapsed());
                }
                None if KINDS.iter().any(|kind| kind.name == case.kind()) => (),
                None => {
                    let outcome = Outcome::Failed("the harness knows no such kind".into());
                    report.add(case, outcome, Duration::ZERO);
                }
            }
        }
    }
    Ok(report)
}

/// Runs one case; a panic of the engine is a failure of that case alone.
fn outcome(kind: &Kind, case: &Case, context: &Context) -> Outcome {
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
