//! A diffusers folder of any files and links.

use super::bytes::{FuzzInput, file};
use super::{assert_one_line, header};
use latent_loader::{Checkpoint, CheckpointLayout, LoadError};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Files that a folder may hold.
const FILES: [&str; 16] = [
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.safetensors.index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "other.safetensors",
];
/// Sub-folders that are always there.
const FOLDERS: [&str; 5] = ["unet", "vae", "text_encoder", "scheduler", "tokenizer"];
/// Where links lead.
const TARGETS: [&str; 6] =
    ["config.json", "../other.safetensors", "../outside.safetensors", "/etc/hostname", "gone", "."];
/// Maximum number of files of a folder.
const MAX_FILES: usize = 8;

/// The input is a list of files: which, how it is made, how long, its contents.
pub fn run(data: &[u8]) {
    // A panic of another thread is reported by that thread.
    let root = root().lock().unwrap_or_else(PoisonError::into_inner);
    let mut input = FuzzInput(data);
    let mut made = Vec::new();
    while !input.0.is_empty() && made.len() < MAX_FILES {
        let path = root.join(input.one_of(&FILES));
        if made.contains(&path) {
            break;
        }
        make(&path, &mut input);
        made.push(path);
    }
    check(&root);
    for path in made {
        fs::remove_file(path).unwrap();
    }
}

fn make(path: &Path, input: &mut FuzzInput<'_>) {
    let (how, len) = (input.byte(), usize::from(input.byte()) * 2);
    match how % 8 {
        0 => std::os::unix::fs::symlink(input.one_of(&TARGETS), path).unwrap(),
        1..4 => fs::write(path, input.take(len)).unwrap(),
        // A header, completed to a file that is as long as it says.
        _ => {
            let mut bytes = file(input.take(len), &[]);
            if let Err(LoadError::Truncated { expected, .. }) = Checkpoint::from_bytes("part", bytes.clone())
                && expected < 1 << 16
            {
                bytes.resize(expected as usize, 0x3c);
            }
            fs::write(path, bytes).unwrap();
        }
    }
}

fn check(root: &Path) {
    let checkpoint = match Checkpoint::open(root) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            assert_one_line(&error);
            assert_eq!(error.to_string(), Checkpoint::open(root).unwrap_err().to_string());
            return;
        }
    };
    assert_eq!(checkpoint.layout(), CheckpointLayout::DiffusersFolder);
    let mut sum = 0;
    for tensor in checkpoint.tensors() {
        let file = checkpoint.file_of(tensor);
        assert!(Path::new(file).starts_with(root), "{file}");
        let (component, _) = tensor.name.split_once('.').expect("a component before each name");
        assert!(FOLDERS.contains(&component), "{component}");
        assert_eq!(checkpoint.read(&tensor.name).unwrap().data.len(), tensor.bytes());
        sum += tensor.bytes() as u64;
    }
    assert_eq!(checkpoint.header_bytes() + sum, checkpoint.file_bytes());
    for name in FOLDERS {
        assert!(checkpoint.config(name).is_none_or(|config| config.to_string().starts_with('{')));
    }
    let again = Checkpoint::open(root).unwrap();
    let names = |of: &Checkpoint| of.tensors().map(|t| (t.name.clone(), t.shape.clone())).collect::<Vec<_>>();
    assert_eq!(names(&again), names(&checkpoint));
    header::recognise(checkpoint, &[]);
}

/// The folder of this process, which one thread has at a time: among the tests' files, or in memory where the system has
/// such a place. A file is next to it for links out of it.
fn root() -> &'static Mutex<PathBuf> {
    static ROOT: OnceLock<Mutex<PathBuf>> = OnceLock::new();
    ROOT.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let base = match option_env!("CARGO_TARGET_TMPDIR") {
            Some(tests) => PathBuf::from(tests),
            None if memory.is_dir() => memory.to_owned(),
            None => std::env::temp_dir(),
        };
        let root = base.join(format!("latent-fuzz-{}", std::process::id())).join("model");
        for name in FOLDERS {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("../outside.safetensors"), file(b"{}", &[])).unwrap();
        Mutex::new(root)
    })
}
