//! The committed inputs of the fuzz targets, and the crashes that were found, run as ordinary tests.

// The folders that one target makes hold links.
#![cfg(unix)]

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a library of its own there")]
mod bodies;

use std::path::{Path, PathBuf};

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join(target);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(kind: &str, name: &str) -> usize {
    let (_, run) = bodies::ALL.iter().find(|(target, _)| *target == name).expect("a target");
    let files = inputs(kind, name);
    for file in &files {
        let data = std::fs::read(file).unwrap();
        let ran = std::panic::catch_unwind(|| run(&data));
        assert!(ran.is_ok(), "{}", file.display());
    }
    files.len()
}

/// A test for each target: a corpus worth the name, and every crash.
macro_rules! replays {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            assert!(replay("corpus", stringify!($name)) >= 20, "a corpus of some tens of inputs");
            replay("crashes", stringify!($name));
        }
    )* };
}

replays! { header gguf folder lora tokenizer prompt image metadata pickle }

#[test]
fn no_target_is_forgotten() {
    for (target, run) in bodies::ALL {
        assert!(!inputs("corpus", target).is_empty(), "{target}");
        // The shortest inputs of all.
        run(&[]);
        (0..=255).for_each(|byte| run(&[byte]));
    }
}
