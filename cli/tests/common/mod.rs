//! Runs the program as a person would, in a folder of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]

use latent_benches::{DType, Manifest, synth};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use tempfile::TempDir;

/// The commands that draw.
const DRAWING: [&str; 6] = ["txt2img", "img2img", "inpaint", "outpaint", "edit", "grid"];

/// An empty folder in which the program runs.
pub(crate) struct Room {
    folder: TempDir,
}

impl Room {
    pub(crate) fn new() -> Room {
        Room { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Names of the files that are there.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The program with these arguments. Where it draws, images of the demo model stay in the size that is drawn, which
    /// takes less time: what enlarges them has tests of its own.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let (verb, rest) = args.split_at(args.len().min(1));
        let raw: &[&str] =
            if DRAWING.contains(&verb.first().copied().unwrap_or("")) { &["--raw-size"] } else { &[] };
        self.command_as_given(&[verb, raw, rest].concat())
    }

    /// The program with these arguments and no other.
    pub(crate) fn command_as_given(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_latent"));
        command.args(args).current_dir(self.folder.path()).env_remove("LATENT_ISA").env_remove("LATENT_CONV");
        // Bytes are compared, which only the CPU gives again everywhere.
        // Mesa complains on the standard error where there is none.
        command.env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
        command.env("LATENT_DEVICE", "cpu").env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs what must succeed; its standard output.
    #[track_caller]
    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must be refused as bad input: status 2, nothing on standard output, no file left, and one line that
    /// holds all of `parts`.
    #[track_caller]
    pub(crate) fn refuses(&self, args: &[&str], parts: &[&str]) {
        let before = self.files();
        let output = self.run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
        assert!(error.starts_with("latent: "), "{args:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{args:?}: {error:?} does not hold {part:?}");
        }
        assert_eq!(self.files(), before, "{args:?} left files");
    }
}

/// Waits until a program that was started with `--verbose` and a pipe for its standard error has ended its first stage: it
/// draws, and it listens to signals. The rest of its standard error is read and dropped, so that it never waits.
pub(crate) fn until_it_draws(child: &mut Child) {
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "it ended before it drew");
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
}

/// The demo model's file.
pub(crate) fn demo() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo.safetensors")).unwrap()
}

/// A narrow synthetic checkpoint of a family, as a single file.
pub(crate) fn synthetic(family: &str) -> Vec<u8> {
    synth::bytes(manifest(&format!("{family}-tiny-single")).files().values().next().unwrap(), 1, DType::F16)
}

/// The tensors of such a checkpoint below a prefix, without it, as a file of their own.
pub(crate) fn synthetic_part(family: &str, prefix: &str) -> Vec<u8> {
    let manifest = manifest(&format!("{family}-tiny-single"));
    let entries = manifest.files().values().next().unwrap().iter();
    let below = entries.filter_map(|entry| {
        let mut entry = entry.clone();
        entry.name = entry.name.strip_prefix(prefix)?.to_owned();
        Some(entry)
    });
    synth::bytes(&below.collect::<Vec<_>>(), 1, DType::F16)
}

/// The same as a diffusers folder.
pub(crate) fn synthetic_folder(family: &str, folder: &Path) {
    let manifest = manifest(&format!("{family}-tiny-diffusers"));
    synth::write_checkpoint(&manifest, 1, DType::F16, folder).unwrap();
}

fn manifest(name: &str) -> Manifest {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/reference/manifests");
    Manifest::parse(&std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap()).unwrap()
}

/// A PNG's pixels, and its texts by keyword.
pub(crate) fn read_png(path: &Path) -> (Vec<u8>, Vec<(String, String)>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let info = reader.info();
    let latin1 = info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone()));
    let utf8 = info.utf8_text.iter().map(|t| (t.keyword.clone(), t.get_text().unwrap()));
    (pixels, latin1.chain(utf8).collect())
}

/// A PNG's width and height.
pub(crate) fn png_size(path: &Path) -> (usize, usize) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    (reader.info().width as usize, reader.info().height as usize)
}
