//! `latent metadata` on files that are hard on a reader: an answer or one line, and little memory.

#[path = "../common/mod.rs"]
mod common;

mod generator;

use common::Room;
use std::process::Output;

/// Memory that reading metadata may take beside the file itself.
const MAX_KIB: usize = 64 << 10;

/// The number of files, those of a stride through the containers and programs if it is less than all.
fn count() -> usize {
    std::env::var("LATENT_METADATA_FILES").ok().map_or(120, |count| count.parse().unwrap())
}

/// With `LATENT_METADATA_FOLDER` the files are written there instead, to be measured one by one.
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
        let max_kib = MAX_KIB + bytes.len() / 1024;
        drop(bytes);
        for args in [&["metadata", &name][..], &["metadata", &name, "--json"]] {
            let output = run(&room, args, max_kib);
            read += usize::from(output.status.success());
            check(&name, &output);
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

/// Runs the program. On Linux it fails where it asks for more memory than it may have; what a program took at most cannot be
/// had there, as that counts the memory of the process which started it.
fn run(room: &Room, args: &[&str], max_kib: usize) -> Output {
    let mut command = room.command(args);
    if cfg!(target_os = "linux") {
        let program = command.get_program().to_owned();
        let environment: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        command = std::process::Command::new("sh");
        command.current_dir(room.path("")).arg("-c").arg(format!("ulimit -d {max_kib}; exec \"$@\""));
        command.arg("sh").arg(program).args(args);
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
    command.output().unwrap()
}
