//! What a person, or the report of a fault, needs to know of a machine: versions, processor, memory, devices, folders and
//! environment variables, each with what can be done about it.
//!
//! Nothing is changed and no file's contents are shown. Paths in the home folder begin with `~`.

mod cpu;
mod devices;
mod environment;
mod folders;
mod memory;
mod versions;

use crate::text::printable;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    /// Nothing need be done.
    #[default]
    Fine,
    /// It works, and could be better.
    Hint,
    /// Something does not work that a person may want.
    Problem,
    /// No image can be drawn.
    Fatal,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub name: String,
    /// What was found, in one line without characters that steer a terminal.
    pub value: String,
    /// How it is.
    pub state: FindingState,
    /// What can be done.
    pub advice: Option<String>,
}

impl Finding {
    /// Something that is fine.
    #[must_use]
    pub fn fine(name: &str, value: impl AsRef<str>) -> Finding {
        Finding {
            name: printable(name),
            value: printable(value.as_ref()),
            state: FindingState::Fine,
            advice: None,
        }
    }

    /// Something of another state, with what can be done.
    #[must_use]
    pub fn with_advice(
        name: &str,
        value: impl AsRef<str>,
        state: FindingState,
        advice: impl Into<String>,
    ) -> Finding {
        Finding { state, advice: Some(advice.into()), ..Finding::fine(name, value) }
    }
}

/// Findings on one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DoctorSection {
    /// The topic.
    pub name: &'static str,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl DoctorSection {
    /// A topic.
    #[must_use]
    pub fn new(name: &'static str, findings: Vec<Finding>) -> DoctorSection {
        DoctorSection { name, findings }
    }
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// The topics.
    pub sections: Vec<DoctorSection>,
}

impl DoctorReport {
    /// Whether an image can be drawn at all.
    #[must_use]
    pub fn can_draw(&self) -> bool {
        self.count(FindingState::Fatal) == 0
    }

    /// How many findings have a state.
    #[must_use]
    pub fn count(&self, state: FindingState) -> usize {
        self.sections
            .iter()
            .flat_map(|section| &section.findings)
            .filter(|finding| finding.state == state)
            .count()
    }
}

/// Looks at this machine. Model files are looked at by their headers alone.
#[must_use]
pub fn examine() -> DoctorReport {
    let machine = Machine::this();
    let sections = vec![
        DoctorSection::new("versions", versions::findings(&machine)),
        DoctorSection::new("processor", cpu::findings(&machine)),
        DoctorSection::new("memory", memory::findings(&machine)),
        DoctorSection::new("devices", devices::findings(&machine)),
        DoctorSection::new("models", folders::models(&machine)),
        DoctorSection::new("folders", folders::others(&machine)),
        DoctorSection::new("environment", environment::findings(&machine)),
    ];
    DoctorReport { sections }
}

/// Where the system's own files are, and whose home is where.
struct Machine {
    root: PathBuf,
    home: Option<PathBuf>,
}

impl Machine {
    fn this() -> Machine {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // A home of one component, such as `/`, would hide nothing and change every path.
        let home = set("HOME").or_else(|| set("USERPROFILE"));
        Machine { root: PathBuf::from("/"), home: home.filter(|home| home.components().count() > 1) }
    }

    /// The text of a small file of the system, such as `proc/meminfo`; nothing where it is missing or cannot be read.
    fn read(&self, path: &str) -> Option<String> {
        use std::io::Read;
        /// More than any such file has on a machine with a thousand cores.
        const MAX_BYTES: u64 = 4 << 20;
        let file = std::fs::File::open(self.root.join(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Names in a folder of the system.
    #[cfg(feature = "gpu")]
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A path, with `~` for the home folder.
    fn shown(&self, path: &Path) -> String {
        match self.home.as_deref().and_then(|home| path.strip_prefix(home).ok()) {
            Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
            Some(rest) => format!("~/{}", rest.display()),
            None => path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose system's files are these.
    pub(super) fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let machine = Machine { root: folder.path().to_owned(), home: Some(folder.path().join("home/me")) };
        (folder, machine)
    }

    #[test]
    fn a_machine_without_the_files_of_linux_is_examined() {
        let (_folder, machine) = machine(&[]);
        for findings in [versions::findings, cpu::findings, memory::findings, devices::findings] {
            assert!(!findings(&machine).is_empty());
        }
    }

    #[test]
    fn whatever_is_not_fine_says_what_to_do() {
        let report = examine();
        for finding in report.sections.iter().flat_map(|section| &section.findings) {
            assert!(finding.state == FindingState::Fine || finding.advice.is_some(), "{finding:?}");
            assert!(!finding.value.contains('\n'), "{finding:?}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["sections"][0]["findings"][0]["name"], "latent");
    }

    #[test]
    fn paths_do_not_show_whose_home_they_are_in() {
        let (folder, machine) = machine(&[]);
        assert_eq!(machine.shown(&folder.path().join("home/me/models/a")), "~/models/a");
        assert_eq!(machine.shown(&folder.path().join("home/me")), "~");
        assert_eq!(machine.shown(Path::new("/srv/models")), "/srv/models");
    }

    #[test]
    fn values_do_not_steer_a_terminal() {
        let finding = Finding::fine("a\u{1b}[2J", "b\u{202e}c\nd");
        assert_eq!((&finding.name[..], &finding.value[..]), ("a\\u{1b}[2J", "b\\u{202e}c\\nd"));
    }
}
