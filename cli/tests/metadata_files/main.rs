//! `latent metadata` on files that are hard on a reader: an answer or one line, and little memory.

#[path = "../common/mod.rs"]
mod common;

mod generator;

use common::Room;
use std::process::Output;

/// Memory that reading metadata may take beside the file itself.
#[cfg(target_os = "linux")]
const MAX_BYTES: u64 = 64 << 20;

/// The number of files, those of a stride through the containers and programs if it is less than all.
fn count() -> usize {
    std::env::var("LATENT_METADATA_FILES").ok().map_or(120, |count| count.parse().unwrap())
}

/// One test, as the system tells the peak memory of all programs that were run together. With `LATENT_METADATA_FOLDER`
/// the files are written there instead, to be measured one by one.
#[test]
fn every_generated_file_takes_little_memory_and_is_read_or_refused() {
    let room = Room::new();
    let folder = std::env::var_os("LATENT_METADATA_FOLDER");
    let (mut read, count) = (0, count());
    for at in 0..count {
        // A prime number, so that few files are of all kinds.
        let (name, bytes) = generator::file(at * 7919 % 10_000);
        if let Some(folder) = &folder {
            std::fs::write(std::path::Path::new(folder).join(name), bytes).unwrap();
            continue;
        }
        room.file(&name, &bytes);
        for args in [&["metadata", &name][..], &["metadata", &name, "--json"]] {
            let output = room.run(args);
            read += usize::from(output.status.success());
            check(&name, &output);
            #[cfg(target_os = "linux")]
            {
                let peak = peak_bytes();
                assert!(peak < MAX_BYTES + bytes.len() as u64, "{name}: {peak} bytes");
            }
        }
        std::fs::remove_file(room.path(&name)).unwrap();
    }
    assert!(folder.is_some() || read > count / 4, "only {read} of {count} files were read");
}

/// It is read, or refused in a line.
#[track_caller]
fn check(name: &str, output: &Output) {
    let error = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => assert!(!output.stdout.is_empty() && error.is_empty(), "{name}: {error}"),
        Some(2) => {
            assert!(output.stdout.is_empty(), "{name}");
            assert!(
                error.lines().count() == 1 && error.len() < 600 && error.contains(name),
                "{name}: {error}"
            );
        }
        code => panic!("{name}: {code:?}: {error}"),
    }
}

/// The most memory that a program took which was run and ended.
#[cfg(target_os = "linux")]
fn peak_bytes() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    usage.max_rss() as u64 * 1024
}
