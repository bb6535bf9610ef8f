//! `latent doctor`: this machine, and what can be done about it.

use crate::args::DoctorArgs;
use crate::{console::print, terminal};
use latent_app::AppError;
use latent_app::doctor::{DoctorReport, DoctorSection, Finding, FindingState, examine};
use serde_json::json;
use std::fmt::Write as _;
use std::io::IsTerminal;

pub(crate) fn run(args: &DoctorArgs) -> Result<(), AppError> {
    let mut report = examine();
    report.sections.push(DoctorSection::new("terminal", streams()));
    print(&if args.json { format!("{:#}\n", json(&report)) } else { text(&report) })?;
    if report.can_draw() {
        return Ok(());
    }
    Err(AppError::RunTime("no image can be drawn here; the report says what stands in the way".into()))
}

fn json(report: &DoctorReport) -> serde_json::Value {
    json!({ "can_draw": report.can_draw(), "sections": report.sections })
}

/// Where the program's texts go, and how a preview can be shown.
fn streams() -> Vec<Finding> {
    let word = |is_terminal: bool| if is_terminal { "a terminal" } else { "not a terminal" };
    let is_terminal = std::io::stdout().is_terminal();
    vec![
        match is_terminal {
            true => {
                Finding::fine("standard output", format!("a terminal; previews as {}", terminal::detected()))
            }
            false => Finding::with_advice(
                "standard output",
                "not a terminal",
                FindingState::Fine,
                "previews can be written to a file; LATENT_TERMINAL names how a terminal shows them all the same",
            ),
        },
        Finding::fine(
            "standard error",
            format!("{}, for progress and errors", word(std::io::stderr().is_terminal())),
        ),
    ]
}

/// The report with a heading for each topic, and what can be done below what was found.
fn text(report: &DoctorReport) -> String {
    let findings = report.sections.iter().flat_map(|section| &section.findings);
    let width =
        findings.map(|finding| finding.name.chars().count()).filter(|width| *width <= 24).max().unwrap_or(0);
    let mut out = String::new();
    for section in &report.sections {
        let _ = writeln!(out, "{}", section.name);
        for finding in &section.findings {
            let mark = match finding.state {
                FindingState::Fine => ' ',
                FindingState::Hint => '-',
                FindingState::Problem => '!',
                FindingState::Fatal => 'X',
            };
            let _ = writeln!(out, "{mark} {:width$}  {}", finding.name, finding.value);
            if let Some(advice) = &finding.advice {
                let _ = writeln!(out, "  {:width$}    {advice}", "");
            }
        }
        out.push('\n');
    }
    let [problems, hints] = [FindingState::Problem, FindingState::Hint].map(|state| report.count(state));
    let can = if report.can_draw() { "Images can be drawn" } else { "No image can be drawn" };
    let _ = writeln!(out, "{can}; {problems} problems (!), {hints} hints (-).");
    out
}
