//! Environment variables that change what the program does.

use super::{Finding, FindingState, Machine};
use crate::device::DeviceChoice;
use latent_kernels::Isa;
use latent_kernels::conv2d::Algorithm;
use std::ffi::OsStr;
use std::path::Path;

/// Says what is wrong with a value.
type Check = fn(&str) -> Result<(), String>;

/// A variable.
struct Variable {
    name: &'static str,
    /// What it does.
    purpose: &'static str,
    check: Check,
    /// How it is when the check fails.
    wrong: FindingState,
}

/// Every variable that is read, and those that people expect to be.
const VARIABLES: [Variable; 19] = [
    fatal("LATENT_DEVICE", "the device to draw with", |text| text.parse::<DeviceChoice>().map(drop)),
    fatal("LATENT_ISA", "the instruction set of the kernels", |_| Isa::from_environment().map(drop)),
    fatal("LATENT_CONV", "the algorithm of convolutions", |_| Algorithm::from_environment().map(drop)),
    fatal("LATENT_GPU", "how much of a GPU's features is used", gpu_features),
    any("LATENT_MODELS", "folders of models"),
    Variable {
        check: |text| match text {
            "kitty" | "iterm" | "sixel" | "blocks" => Ok(()),
            _ => Err("is not kitty, iterm, sixel or blocks".into()),
        },
        wrong: FindingState::Problem,
        ..any("LATENT_TERMINAL", "how previews are shown in a terminal")
    },
    Variable {
        check: folder,
        wrong: FindingState::Problem,
        ..any("HF_HOME", "the folder of Hugging Face's cache")
    },
    Variable {
        check: folder,
        wrong: FindingState::Problem,
        ..any("HF_HUB_CACHE", "Hugging Face's cache of models")
    },
    Variable { check: folder, wrong: FindingState::Problem, ..any("HOME", "where models are looked for") },
    any("XDG_CACHE_HOME", "where compiled GPU kernels are kept"),
    Variable { check: folder, wrong: FindingState::Hint, ..any("TMPDIR", "the folder of temporary files") },
    any("TERM", "the kind of terminal"),
    any("TERM_PROGRAM", "the terminal program"),
    any("NO_COLOR", "help and progress without colours"),
    any("VK_DRIVER_FILES", "the only drivers for Vulkan that are loaded"),
    any("VK_ICD_FILENAMES", "the same, by its old name"),
    ignored("RAYON_NUM_THREADS", "name the number of threads with the command that draws"),
    ignored("OMP_NUM_THREADS", "name the number of threads with the command that draws"),
    any("RUST_BACKTRACE", "whether a fault of the program prints where it happened"),
];

const fn any(name: &'static str, purpose: &'static str) -> Variable {
    Variable { name, purpose, check: |_| Ok(()), wrong: FindingState::Fine }
}

const fn fatal(name: &'static str, purpose: &'static str, check: Check) -> Variable {
    Variable { name, purpose, check, wrong: FindingState::Fatal }
}

const fn ignored(name: &'static str, purpose: &'static str) -> Variable {
    Variable { name, purpose, check: |_| Err("is not followed".into()), wrong: FindingState::Hint }
}

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    let value = |variable: &Variable| std::env::var_os(variable.name);
    let set = VARIABLES.iter().filter_map(|variable| Some(finding(machine, variable, &value(variable)?)));
    let mut findings: Vec<_> = set.collect();
    let unset: Vec<_> = VARIABLES.iter().filter(|variable| value(variable).is_none()).collect();
    let ours = |variable: &&&Variable| variable.name.starts_with("LATENT_");
    let names: Vec<_> = unset.iter().filter(ours).map(|variable| variable.name).collect();
    if !names.is_empty() {
        findings.push(Finding::fine("not set", names.join(", ")));
    }
    findings
}

/// A variable that is set.
fn finding(machine: &Machine, variable: &Variable, value: &OsStr) -> Finding {
    let shown = std::env::split_paths(value).map(|path| machine.shown(&path)).collect::<Vec<_>>();
    // Only lists and paths are rewritten; what merely has a colon in it stays as it is.
    let shown = if machine.home.is_some() && value.to_string_lossy().contains(['/', '\\']) {
        shown.join(if cfg!(windows) { ";" } else { ":" })
    } else {
        value.to_string_lossy().into_owned()
    };
    let checked = match value.to_str() {
        // A variable that is empty counts as one that is not set, except where the check says otherwise.
        Some(text) => (variable.check)(text),
        None if variable.wrong == FindingState::Fatal => Err("is not UTF-8".into()),
        None => Ok(()),
    };
    match checked {
        Ok(()) => Finding::fine(variable.name, format!("{shown}: {}", variable.purpose)),
        Err(_) if variable.wrong == FindingState::Hint && variable.name.ends_with("_NUM_THREADS") => {
            Finding::with_advice(variable.name, shown + ": is not followed", variable.wrong, variable.purpose)
        }
        Err(error) => {
            let advice = format!("remove it or correct it; it is for {}", variable.purpose);
            // Some errors name the variable and its value themselves.
            let value = if error.starts_with(variable.name) { error } else { format!("{shown}: {error}") };
            Finding::with_advice(variable.name, value, variable.wrong, advice)
        }
    }
}

fn folder(text: &str) -> Result<(), String> {
    if text.is_empty() || Path::new(text).is_dir() { Ok(()) } else { Err("is not a folder".into()) }
}

#[cfg(feature = "gpu")]
fn gpu_features(_text: &str) -> Result<(), String> {
    latent_diffusion::tensor::gpu::FeatureLevel::from_environment().map(drop)
}

#[cfg(not(feature = "gpu"))]
fn gpu_features(_text: &str) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::machine;

    fn found(name: &str, value: &str) -> Finding {
        let (_folder, machine) = machine(&[]);
        finding(&machine, VARIABLES.iter().find(|variable| variable.name == name).unwrap(), OsStr::new(value))
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(found("LATENT_DEVICE", "gpu:1").state, FindingState::Fine);
        assert_eq!(found("LATENT_DEVICE", "cuda").state, FindingState::Fatal);
        assert_eq!(found("LATENT_TERMINAL", "vt52").state, FindingState::Problem);
        assert_eq!(found("HF_HOME", "/no/such/folder").state, FindingState::Problem);
        let threads = found("RAYON_NUM_THREADS", "8");
        assert_eq!((&threads.value[..], threads.state), ("8: is not followed", FindingState::Hint));
        assert!(threads.advice.is_some());
    }

    #[test]
    fn the_home_folder_is_hidden_in_lists_too() {
        let (folder, machine) = machine(&[]);
        let home = folder.path().join("home/me");
        let value = std::env::join_paths([home.join("a"), "/srv".into(), home]).unwrap();
        let models = VARIABLES.iter().find(|variable| variable.name == "LATENT_MODELS").unwrap();
        let list = ["~/a", "/srv", "~: folders of models"].join(if cfg!(windows) { ";" } else { ":" });
        assert_eq!(finding(&machine, models, &value).value, list);
    }
}
