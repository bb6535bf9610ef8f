//! Folders: those in which models are looked for, and those that are written to.

use super::{Finding, FindingState, Machine};
use crate::models::{ADVICE, ModelEntry, search, usual_folders};
use latent_diffusion::families::ModelKind;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files whose headers are read, in all folders together; beyond that they are counted.
const MAX_OPENED: usize = 300;

/// The folders in which models are looked for.
pub(super) fn models(machine: &Machine) -> Vec<Finding> {
    let all: BTreeSet<PathBuf> = usual_folders().into_iter().collect();
    let named: BTreeSet<PathBuf> =
        std::env::var_os("LATENT_MODELS").iter().flat_map(std::env::split_paths).collect();
    let (there, missing): (BTreeSet<_>, BTreeSet<_>) = all.into_iter().partition(|folder| folder.is_dir());
    let is_inside = |folder: &Path| folder.ancestors().skip(1).any(|above| there.contains(above));
    let mut left = MAX_OPENED;
    let mut any = false;
    let mut findings: Vec<Finding> = there
        .iter()
        .filter(|folder| !is_inside(folder))
        .map(|folder| {
            let (finding, is_filled) = contents(&machine.shown(folder), folder, &mut left);
            any |= is_filled;
            finding
        })
        .collect();
    for folder in missing.intersection(&named).filter(|folder| !folder.as_os_str().is_empty()) {
        let advice = "LATENT_MODELS names it: make it, or take it out";
        findings.push(Finding::with_advice(
            &machine.shown(folder),
            "is not a folder",
            FindingState::Problem,
            advice,
        ));
    }
    let others = format!("{} of the usual places are not there", missing.difference(&named).count());
    findings.push(match any {
        true => Finding::fine("other places", others),
        false => {
            Finding::with_advice("other places", others + "; no model was found", FindingState::Hint, ADVICE)
        }
    });
    findings
}

/// What is in a folder of models, and whether there is anything.
fn contents(name: &str, folder: &Path, left: &mut usize) -> (Finding, bool) {
    if let Err(error) = std::fs::read_dir(folder) {
        let value = format!("cannot be read: {error}");
        let advice = "give yourself the right to read it, or name another folder";
        return (Finding::with_advice(name, value, FindingState::Problem, advice), false);
    }
    let found = search(Some(folder));
    let (total, opened) = (found.len(), found.len().min(*left));
    *left -= opened;
    let entries: Vec<_> = found.into_iter().take(opened).map(ModelEntry::open).collect();
    let count = |kind: ModelKind| {
        entries
            .iter()
            .filter(|entry| entry.identity.as_ref().is_ok_and(|identity| identity.kind == kind))
            .count()
    };
    let named =
        [(ModelKind::Model, "models"), (ModelKind::Lora, "LoRAs"), (ModelKind::Embedding, "embeddings")];
    let mut counts: Vec<_> = named.map(|(kind, name)| (count(kind), name)).to_vec();
    let damaged = entries.iter().filter(|entry| entry.identity.is_err()).count();
    let others = opened - damaged - counts.iter().map(|(count, _)| count).sum::<usize>();
    counts.extend([
        (others, "others"),
        (damaged, "that cannot be opened"),
        (total - opened, "not looked at"),
    ]);
    let shown = |(count, name): &(usize, &str)| format!("{count} {name}");
    let is_shown = |(at, (count, _)): &(usize, &(usize, &str))| *at < named.len() || *count > 0;
    let counts: Vec<_> = counts.iter().enumerate().filter(is_shown).map(|(_, count)| shown(count)).collect();
    let value = counts.join(", ");
    let finding = if damaged > 0 {
        let advice =
            "latent models says what is wrong with them; get them again from their source, or remove them";
        Finding::with_advice(name, value, FindingState::Problem, advice)
    } else {
        Finding::fine(name, value)
    };
    (finding, total > 0)
}

/// Folders that are written to.
pub(super) fn others(machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    #[cfg(feature = "gpu")]
    findings.push(match crate::device::pipeline_folder() {
        Some(folder) => {
            let size = format!("holds {}", crate::text::format_bytes(bytes_in(&folder)));
            let advice = "a GPU's kernels are compiled anew in each run: give yourself the right to write it, or name \
                          another by XDG_CACHE_HOME";
            writable(machine, "compiled GPU kernels", &folder, &size, advice)
        }
        None => {
            let advice = "a GPU's kernels are compiled anew in each run; set HOME or XDG_CACHE_HOME";
            Finding::with_advice("compiled GPU kernels", "are not kept", FindingState::Hint, advice)
        }
    });
    if let Ok(folder) = std::env::current_dir() {
        let advice =
            "images are written here unless another name is given: name a folder that you may write to";
        findings.push(writable(machine, "this folder", &folder, "", advice));
    } else {
        let advice = "go to a folder that exists: images are written to it";
        let problem = FindingState::Problem;
        findings.push(Finding::with_advice(
            "this folder",
            "was removed or may not be entered",
            problem,
            advice,
        ));
    }
    let advice = "nothing of Latent is written to it, but drivers may: name another by TMPDIR";
    findings.push(writable(machine, "temporary files", &std::env::temp_dir(), "", advice));
    findings
}

/// Whether a folder, or the one that it would be made in, can be written to: a file without a name is made in it.
fn writable(machine: &Machine, name: &str, folder: &Path, more: &str, advice: &str) -> Finding {
    let shown = machine.shown(folder);
    let there = folder.ancestors().find(|folder| folder.is_dir());
    let result = there.map_or(Ok(()), |there| tempfile::tempfile_in(there).map(drop));
    let parts = match (&result, there == Some(folder)) {
        (Ok(()), true) => vec![shown, more.to_owned(), "can be written to".to_owned()],
        (Ok(()), false) => vec![shown, "is made when it is needed".to_owned()],
        (Err(error), _) => vec![shown, format!("cannot be written to: {}", error.kind())],
    };
    let value = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    match result {
        Ok(()) => Finding::fine(name, value),
        Err(_) => Finding::with_advice(name, value, FindingState::Problem, advice),
    }
}

/// Bytes of the files in a folder, without those in others within.
#[cfg(feature = "gpu")]
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::machine;

    #[test]
    fn files_are_counted_by_kind() {
        let (folder, _machine) = machine(&[("models/a.safetensors", "no"), ("models/b/c.safetensors", "no")]);
        let (finding, is_filled) = contents("x", &folder.path().join("models"), &mut 1);
        assert!(is_filled);
        assert_eq!(
            finding.value,
            "0 models, 0 LoRAs, 0 embeddings, 1 that cannot be opened, 1 not looked at"
        );
        assert_eq!(finding.state, FindingState::Problem);
        let (finding, is_filled) = contents("x", &folder.path().join("nothing"), &mut 1);
        assert!(finding.value.starts_with("cannot be read") && !is_filled);
    }

    #[test]
    fn a_folder_is_tried_without_a_trace() {
        let (folder, machine) = machine(&[("home/me/a/file", "")]);
        let home = folder.path().join("home/me");
        assert_eq!(
            writable(&machine, "x", &home.join("a"), "holds 1 B", "").value,
            "~/a; holds 1 B; can be written to"
        );
        assert_eq!(
            writable(&machine, "x", &home.join("b/c"), "", "").value,
            "~/b/c; is made when it is needed"
        );
        assert_eq!(std::fs::read_dir(home.join("a")).unwrap().count(), 1);
    }
}
